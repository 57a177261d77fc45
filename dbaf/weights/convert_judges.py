"""Turn published networks that judge pictures into the bundle of the judges: recogniser, expression, perception.

    python -m dbaf weights convert judges FOLDER dbaf/weights/judges

FOLDER holds `dlib_resnet/face_recognition_model-weights_manifest.json` (tfjs export of @vladmandic/face-api),
`emotion/emotion.json` (tfjs; oarriaga/face_classification) and `mobilenet_v2/mobilenet_v2-b0353104.pth` (torchvision).
"""

from pathlib import Path
from typing import Any

import torch

from dbaf.errors import WeightsError
from dbaf.evaluation.dlib import DlibResNet
from dbaf.evaluation.expression import ExpressionNet
from dbaf.evaluation.perceptual import PerceptualNet
from dbaf.weights.bundle import save_part
from dbaf.weights.tfjs import read_tfjs

DLIB = Path("dlib_resnet/face_recognition_model-weights_manifest.json")
EXPRESSION = Path("emotion/emotion.json")
PERCEPTUAL = Path("mobilenet_v2/mobilenet_v2-b0353104.pth")
DLIB_LICENCE = "CC0-1.0, dlib_face_recognition_resnet_model_v1 by Davis King; as packed in @vladmandic/face-api (MIT)"
EXPRESSION_LICENCE = "MIT, mini-Xception of github.com/oarriaga/face_classification; as converted by V. Mandic"
PERCEPTUAL_LICENCE = "BSD-3-Clause, MobileNetV2 (ImageNet, V1 weights) of torchvision"

# A recogniser is worth what it tells apart on real photos. Taken by `dbaf.evaluation.calibration.calibrate` with this
# project's detector and alignment on people of LFW that no training here has seen; benchmarks/privacy.py takes it anew.
CALIBRATION: dict[str, Any] = {
    "data": "lfw/val",
    "photos": 1891,
    "people": 873,
    "far": 0.001,
    "threshold": {"value": 0.5388, "low": 0.526, "high": 0.5514, "n": 1775595},
    "tar": {"value": 0.9432, "low": 0.8933, "high": 0.9659, "n": 11400},
}


def convert_judges(source: Path, out: Path) -> None:
    """Write the parts `dlib_resnet`, `emotion` and `perceptual` of the bundle `out`.

    Args:
        source: folder laid out as in the head of this file.
        out: bundle folder, made if missing.

    Raises:
        WeightsError: a file is missing or not what it should be; names it.
    """
    dlib, emotion = convert_dlib(source / DLIB), convert_expression(source / EXPRESSION)
    perceptual = convert_perceptual(source / PERCEPTUAL)
    save_part(out, "dlib_resnet", dlib, {"calibration": CALIBRATION}, DLIB_LICENCE)
    save_part(out, "emotion", emotion, {}, EXPRESSION_LICENCE)
    save_part(out, "perceptual", perceptual, {}, PERCEPTUAL_LICENCE)


def convert_dlib(manifest: Path) -> dict[str, torch.Tensor]:
    """State dict of `DlibResNet`; the learned scale and shift behind every convolution are folded into it.

    Raises:
        WeightsError: the files are missing or hold another network.
    """
    tensors = read_tfjs(manifest)
    state: dict[str, torch.Tensor] = {}
    net = DlibResNet()
    try:
        for name, module in net.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                place = name.removeprefix("blocks.").replace(".", "/")
                scale = tensors[f"{place}/scale/weights"]
                state[f"{name}.weight"] = _kernel(tensors[f"{place}/conv/filters"]) * scale[:, None, None, None]
                state[f"{name}.bias"] = tensors[f"{place}/conv/bias"] * scale + tensors[f"{place}/scale/biases"]
        state["fc.weight"] = tensors["fc"].T.contiguous()
        net.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{manifest} does not hold dlib's face recogniser: {error!r}.") from error
    return state


def convert_expression(source: Path) -> dict[str, torch.Tensor]:
    """State dict of `ExpressionNet`.

    Raises:
        WeightsError: the files are missing or hold another network.
    """
    tensors = {name.removeprefix("StatefulPartitionedCall/model_1/"): t for name, t in read_tfjs(source).items()}
    plain = {"conv1": 1, "conv2": 2, "block1.shortcut": 3, "block2.shortcut": 4}
    # the export lost the names of the depthwise kernels
    separable = {"block1.first": 9, "block1.second": 15, "block2.first": 26, "block2.second": 32}
    state: dict[str, torch.Tensor] = {}
    try:
        for name, number in plain.items():
            state[f"{name}.weight"] = _kernel(tensors[f"conv2d_{number}/Conv2D_weights"])
            state[f"{name}.bias"] = tensors[f"conv2d_{number}/Conv2D_bn_offset"]
        for number, (name, unknown) in enumerate(separable.items(), 1):
            state[f"{name}.depth.weight"] = tensors[f"unknown_{unknown}"].permute(2, 3, 0, 1)  # [h, w, C, 1]
            place = f"separable_conv2d_{number}/separable_conv2d"
            state[f"{name}.point.weight"] = _kernel(tensors[f"{place}_weights"])
            state[f"{name}.point.bias"] = tensors[f"{place}_bn_offset"]
        state |= {"classify.weight": _kernel(tensors["unknown_43"]), "classify.bias": tensors["unknown_44"]}
        ExpressionNet().load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{source} does not hold the expression network: {error!r}.") from error
    return state


def convert_perceptual(source: Path) -> dict[str, torch.Tensor]:
    """State dict of `PerceptualNet`: the first layers of torchvision's MobileNetV2.

    Raises:
        WeightsError: the file is missing or another checkpoint.
    """
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
        wanted = PerceptualNet().state_dict()
        return {name: state[name].reshape(tensor.shape) for name, tensor in wanted.items()}
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{source} is not torchvision's MobileNetV2 checkpoint: {error!r}.") from error


def _kernel(weight: torch.Tensor) -> torch.Tensor:
    """TensorFlow's [height, width, in, out] -> [out, in, height, width]."""
    return weight.permute(3, 2, 0, 1)
