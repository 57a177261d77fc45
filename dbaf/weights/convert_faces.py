"""Turn the published face detector and face mesh into the bundle parts "detector" and "landmarks".

    python -m dbaf weights convert faces FOLDER dbaf/weights/mobile

`yunet_n.pth`: github.com/ShiqiYu/libfacedetection.train. `facemesh.json`: the MediaPipe face mesh as a tfjs graph
model (468 points, 192 px input), with its .bin beside it.
"""

import re
from pathlib import Path

import torch

from dbaf.errors import WeightsError
from dbaf.faces.detector import YuNet
from dbaf.faces.mesh import FaceMesh, Residual
from dbaf.weights.bundle import save_part
from dbaf.weights.tfjs import read_tfjs

DETECTOR_LICENCE = "Apache-2.0, YuNet (yunet_n) of github.com/ShiqiYu/libfacedetection.train"
HEADS = ("cls", "obj", "bbox", "kps")  # the order of dbaf.faces.detector.OUTPUTS
LANDMARKS_LICENCE = "Apache-2.0, MediaPipe face mesh, Google LLC"


def convert_faces(source: Path, out: Path) -> None:
    """Write the parts `detector` and `landmarks` of the bundle `out`.

    Args:
        source: folder with YuNet's `yunet_n.pth`, and MediaPipe's `facemesh.json` and its `.bin`.
        out: bundle folder, made if missing.

    Raises:
        WeightsError: a file is missing or not what it should be.
    """
    for name in ("yunet_n.pth", "facemesh.json"):
        if not (source / name).is_file():
            raise WeightsError(f"{source / name} is missing: put yunet_n.pth, facemesh.json and its .bin there.")
    save_part(
        out, "detector", convert_detector(source / "yunet_n.pth"), {"kind": "yunet"}, DETECTOR_LICENCE, half=False
    )
    save_part(out, "landmarks", convert_landmarks(source / "facemesh.json"), {"kind": "facemesh"}, LANDMARKS_LICENCE)


def convert_detector(source: Path) -> dict[str, torch.Tensor]:
    """State dict of `dbaf.faces.detector.YuNet` from the authors' checkpoint, batch normalisation folded in.

    Raises:
        WeightsError: the file is not that checkpoint.
    """
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)["state_dict"]
        tensors = _conv_bn(state, "backbone.model0.conv1", "backbone.model0.bn1", "stem")
        tensors |= _separable(state, "backbone.model0.conv2", "stem_out")
        for stage in range(5):
            for half in range(2):
                tensors |= _separable(
                    state,
                    f"backbone.model{stage + 1}.conv{half + 1}",
                    f"stages.{stage}.{half}",
                )
        for level in range(3):
            tensors |= _separable(state, f"neck.lateral_convs.{level}", f"laterals.{level}")
            tensors |= _separable(state, f"bbox_head.multi_level_share_convs.{level}.0", f"shared.{level}")
            # the four heads of a level work on the same map: side by side they are one
            heads = [_separable(state, f"bbox_head.multi_level_{name}.{level}", "") for name in HEADS]
            tensors |= {f"heads.{level}{key}": torch.cat([head[key] for head in heads]) for key in heads[0]}
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{source} is not the YuNet checkpoint yunet_n.pth: {error!r}.") from error
    YuNet().load_state_dict(tensors)
    return tensors


def convert_landmarks(source: Path) -> dict[str, torch.Tensor]:
    """State dict of `dbaf.faces.mesh.FaceMesh` from the tfjs graph model `source` (.json).

    Raises:
        WeightsError: the file is not that model.
    """
    weights = _by_layer(read_tfjs(source))
    tensors: dict[str, torch.Tensor] = {}
    model = FaceMesh()
    # Layers of the released graph are numbered in the order of construction: trunk, mesh, contours, presence.
    numbers = {"conv2d": 0, "depthwise_conv2d": 0, "p_re_lu": 0}

    def take(kind: str) -> dict[str, torch.Tensor]:
        numbers[kind] += 1
        return {part: tensor for (name, part), tensor in weights.items() if name == f"{kind}_{numbers[kind]}"}

    def convert(name: str, layer: torch.nn.Module) -> None:
        if isinstance(layer, Residual):
            (depth,) = take("depthwise_conv2d").values()  # [3, 3, C, 1]
            tensors[f"{name}.depth.weight"] = depth.permute(2, 3, 0, 1)
            convert(f"{name}.point", layer.point)
            convert(f"{name}.act", layer.act)
        elif isinstance(layer, torch.nn.Conv2d):
            for tensor in take("conv2d").values():
                if tensor.dim() == 4:  # [kh, kw, in, out]
                    tensors[f"{name}.weight"] = tensor.permute(3, 2, 0, 1)
                else:
                    tensors[f"{name}.bias"] = tensor
        elif isinstance(layer, torch.nn.PReLU):
            (slope,) = take("p_re_lu").values()
            tensors[f"{name}.weight"] = slope.flatten()

    for part in ("stem", "trunk", "mesh", "presence"):
        if part == "presence":  # step over the contour head: 4 blocks, a squeeze and an output
            numbers = {kind: number + skip for (kind, number), skip in zip(numbers.items(), (6, 4, 5), strict=True)}
        for index, layer in enumerate(getattr(model, part)):
            convert(f"{part}.{index}", layer)
    model.load_state_dict(tensors)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _by_layer(tensors: dict[str, torch.Tensor]) -> dict[tuple[str, str], torch.Tensor]:
    """The weights of numbered layers by (layer, rest of the name)."""
    matches = {name: re.search(r"/((?:depthwise_)?conv2d_\d+|p_re_lu_\d+)/(.+)$", name) for name in tensors}
    return {(match[1], match[2]): tensors[name] for name, match in matches.items() if match}


def _conv_bn(state: dict[str, torch.Tensor], conv: str, norm: str, name: str) -> dict[str, torch.Tensor]:
    """One convolution with the batch normalisation behind it folded in (if there is one)."""
    weight, bias = state[f"{conv}.weight"], state[f"{conv}.bias"]
    if f"{norm}.weight" in state:
        gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
        weight = weight * gain[:, None, None, None]
        bias = (bias - state[f"{norm}.running_mean"]) * gain + state[f"{norm}.bias"]
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _separable(state: dict[str, torch.Tensor], source: str, name: str) -> dict[str, torch.Tensor]:
    point = {f"{name}.point.{key}": state[f"{source}.conv1.{key}"] for key in ("weight", "bias")}
    # in the backbone's first stage the normalisation belongs to the block, elsewhere to the pair
    return point | _conv_bn(state, f"{source}.conv2", f"{source}.bn", f"{name}.depth")
