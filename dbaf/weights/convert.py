"""MobileStyleGAN from the PyPI wheel `random-face`, read without OpenVINO, into the parts of a bundle.

The wheel carries two OpenVINO IR networks: an `.xml` graph whose `Const` layers give offset, size and shape
of every tensor in the `.bin`. Names of trained tensors survived the export; folded ones (pointwise
convolutions with their demodulation, noise) are recognised by their place in the graph.
"""

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dbaf.errors import WeightsError
from dbaf.generators.mobile import MobileGenerator
from dbaf.weights.bundle import save_part

LICENCE = "Apache-2.0; MobileStyleGAN-FFHQ by Sergei Belousov, from the PyPI wheel random-face 2021.7.21.1"
MEAN_SAMPLES = 65_536
ACTIVATION_GAIN = 2**0.5


def convert_mobilestylegan(wheel: Path, out: Path) -> None:
    """Write the part `generator` of the bundle `out` from the wheel `random_face-*.whl`.

    Raises:
        WeightsError: the file is no such wheel, or its graph is not the one known.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            mapping = dict(_constants(archive, "MappingNetwork"))
            synthesis = list(_constants(archive, "SynthesisNetwork"))
    except (OSError, KeyError, zipfile.BadZipFile, ElementTree.ParseError) as error:
        raise WeightsError(
            f"{wheel} is not the wheel 'random-face' ({error}). Get it with: pip download --no-deps random-face"
        ) from error
    tensors = _mapping(mapping) | _synthesis(synthesis)
    channels, dim = _channels(tensors), tensors["mapping.layers.0.weight"].shape[1]
    generator = MobileGenerator(channels, dim)
    expected = {name: tuple(t.shape) for name, t in generator.state_dict().items() if name != "mean_w"}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if wrong := sorted(set(expected.items()) ^ set(found.items())):
        raise WeightsError(f"{wheel} holds another network than MobileStyleGAN-FFHQ; first differences: {wrong[:5]}")
    generator.load_state_dict(tensors, strict=False)
    with torch.no_grad():
        z = torch.randn(MEAN_SAMPLES, dim, generator=torch.Generator().manual_seed(0))
        generator.mean_w.copy_(generator.mapping(z).double().mean(0))
    # fp16 moves pixels by up to 0.03 (0.1 through the mapping network): too much
    save_part(out, "generator", generator.state_dict(), {"channels": channels, "dim": dim}, LICENCE, half=False)


def _constants(archive: zipfile.ZipFile, network: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and value of the float constants of a network, in the order of its graph."""
    data = archive.read(f"random_face/data/{network}.bin")
    root = ElementTree.fromstring(archive.read(f"random_face/data/{network}.xml"))
    for layer in root.findall("layers/layer"):
        fields = layer.find("data")
        if layer.get("type") == "Const" and fields is not None and fields.get("element_type") == "f32":
            shape = [int(n) for n in fields.get("shape", "").split(",") if n.strip()]
            count, offset = int(fields.get("size", 0)) // 4, int(fields.get("offset", 0))
            array = np.frombuffer(data, np.float32, count, offset).reshape(shape)
            yield layer.get("name", ""), torch.from_numpy(array.copy())


def _mapping(constants: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Eight (weight, bias, ..., gain) groups; the gain after an activation folds into weight and bias."""
    weights = [t for t in constants.values() if t.dim() == 2 and t.shape[0] > 1]
    biases = [t for t in constants.values() if t.dim() == 1 and len(t) > 1]
    tensors = {}
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        tensors[f"mapping.layers.{index}.weight"] = weight * ACTIVATION_GAIN
        tensors[f"mapping.layers.{index}.bias"] = bias * ACTIVATION_GAIN
    return tensors


def _synthesis(constants: list[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    conv = affine = ""
    scales: dict[str, float] = {}  # 1 / sqrt(fan in), which follows each modulation
    for name, value in constants:
        if match := re.fullmatch(r"m\.(.+?)\.(?:conv\.)?modulation\.(weight|bias)", name):
            affine, kind = _rename(match[1]) + (".up" if match[1].endswith(".up") else ".affine"), match[2]
            tensors[f"{affine}.{kind}"] = value.flatten() if kind == "bias" else value
            if match[1].endswith(".up") and kind == "bias":
                for part in ("weight", "bias"):
                    tensors[f"{affine}.{part}"] = tensors[f"{affine}.{part}"] * 0.5  # see inverse_haar
        elif name.startswith("Constant_") and value.shape == (1, 1, 1, 1):
            scales[affine.removesuffix(".affine")] = value.item()
        elif name == "m.input.input":
            tensors["constant"], conv = value, "first"
        elif match := re.fullmatch(r"m\.(.+)\.conv\.weight_dw", name):
            conv = _rename(match[1])
            tensors[f"{conv}.conv.0.weight"] = value.flatten(0, 1) * scales[conv]
        elif name.endswith("_copy"):
            tensors[f"{conv}.conv.{0 if conv == 'first' else 1}.weight"] = value * (
                scales[conv] if conv == "first" else 1
            )
        elif value.dim() == 4 and value.shape[:2] == (1, 1) and value.shape[2] > 1:
            tensors[f"{conv}.noise"] = value
        elif name.endswith("to_img.conv.weight"):
            tensors["to_image.conv.weight"] = value * scales["to_image"] * 0.5
        elif name.endswith("to_img.bias"):
            tensors["to_image.conv.bias"] = value.flatten() * 0.5
        elif match := re.fullmatch(r"m\.(.+)\.bias", name):
            tensors[f"{conv}.conv.{0 if conv == 'first' else 1}.bias"] = value.flatten()
    return tensors


def _rename(name: str) -> str:
    """Module path of the release -> ours."""
    if name.endswith("to_img"):
        return "to_image"
    return {"conv1": "first"}.get(name, name.replace("layers.", "blocks.").removesuffix(".up"))


def _channels(tensors: dict[str, torch.Tensor]) -> list[int]:
    blocks = sum(name.endswith(".up.weight") for name in tensors)
    return [tensors["constant"].shape[1]] + [tensors[f"blocks.{b}.conv2.conv.1.weight"].shape[0] for b in range(blocks)]
