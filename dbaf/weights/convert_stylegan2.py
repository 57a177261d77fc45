"""StyleGAN2 in the layout of github.com/rosinality/stylegan2-pytorch into the part `generator` of a bundle.

python -m dbaf weights convert stylegan2 stylegan2-ffhq-config-f.pt OUT
"""

from pathlib import Path
from typing import Any

import torch

from dbaf.errors import WeightsError
from dbaf.generators.stylegan2 import DEPTH, Mapping, StyleGAN2, blur_kernel
from dbaf.weights.checkpoint import (
    Converted,
    Rules,
    check,
    digest,
    read_checkpoint,
    rename,
    shape,
    state_dict,
    write_parts,
)

LICENCE = (
    "LicenseRef-NVIDIA-Source-Code-License-NC (non-commercial), StyleGAN2 by NVIDIA; trained on FFHQ, whose data are "
    "CC-BY-NC-SA-4.0"
)
MEAN_SAMPLES = 65_536

CONV = (  # their name within a styled convolution or an RGB head, and ours
    (r"conv\.weight", "conv.weight"),
    (r"conv\.modulation\.(weight|bias)", r"conv.affine.\1"),
)
STYLED = (*CONV, (r"noise\.weight", "strength"), (r"activate\.bias", "bias"))
IMAGE = (*CONV, (r"bias", "bias"))


def convert_stylegan2(source: Path, out: Path, half: bool = False) -> None:
    """Write the part `generator` of the bundle `out`.

    Args:
        source: .pt file with `g_ema` and, if the authors left it there, `latent_avg`.
        out: bundle folder, made if missing.
        half: store the tensors as fp16.

    Raises:
        WeightsError: the file is not what it should be; nothing is written.
    """
    checkpoint = read_checkpoint(source)
    tensors = state_dict(source, checkpoint, "g_ema")
    mean_w = checkpoint.get("latent_avg")
    if mean_w is not None and not isinstance(mean_w, torch.Tensor):
        raise WeightsError(f"{source}: 'latent_avg' is no tensor.")
    write_parts(out, [convert_generator(source, tensors, LICENCE, mean_w)], half)


def convert_generator(
    source: Path, state: dict[str, torch.Tensor], licence: str, mean_w: torch.Tensor | None = None
) -> Converted:
    """The generator from a state dict; without the mean latent it is taken anew. Raises WeightsError."""
    blocks = sum(name.startswith("to_rgbs.") and name.endswith(".conv.weight") for name in state)
    first = shape(source, state, "input.input", 4)[1]
    channels = [first, *(shape(source, state, f"convs.{2 * b + 1}.conv.weight", 5)[1] for b in range(blocks))]
    dim = shape(source, state, "style.1.weight", 2)[0]
    kernels = [name for name in state if name.endswith(".kernel")]
    if other := [name for name in kernels if not _is_blur(state[name])]:
        raise WeightsError(f"{source} filters with another kernel than [1, 3, 3, 1]: {', '.join(other)}.")
    tensors = rename(source, state, _rules(blocks))
    for name, tensor in tensors.items():
        if name.endswith(".conv.weight"):
            tensors[name] = tensor.squeeze(0)  # [1, O, I, k, k]
        elif name.endswith("image.bias"):
            tensors[name] = tensor.flatten()  # [1, 3, 1, 1]
    tensors["mean_w"] = torch.zeros(dim) if mean_w is None else mean_w.flatten()
    config: dict[str, Any] = {"channels": channels, "dim": dim}
    with torch.device("meta"):
        network = StyleGAN2(**config)
    tensors = check(source, tensors, network)
    if mean_w is None:
        tensors["mean_w"] = _mean(tensors, dim)
    return Converted("generator", tensors, {"kind": "stylegan2"} | config, licence, digest(source))


def _rules(blocks: int) -> Rules:
    """Their names -> ours. Kernels are constants of ours; one is checked to be that."""
    rules: list[tuple[str, str | None]] = [(r"(?:convs\.\d+\.conv\.blur|to_rgbs\.\d+\.upsample)\.kernel", None)]
    rules += [(rf"style\.{i + 1}\.(weight|bias)", rf"mapping.layers.{i}.\1") for i in range(DEPTH)]
    rules += [(r"input\.input", "constant"), (r"noises\.noise_0", "first.noise")]
    places = [("conv1", "first", STYLED), ("to_rgb1", "image", IMAGE)]
    for block in range(blocks):
        for number in (1, 2):
            conv = f"blocks.{block}.conv{number}"
            places.append((f"convs.{2 * block + number - 1}", conv, STYLED))
            rules.append((rf"noises\.noise_{2 * block + number}", f"{conv}.noise"))
        places.append((f"to_rgbs.{block}", f"blocks.{block}.image", IMAGE))
    for theirs, ours, names in places:
        rules += [(theirs.replace(".", r"\.") + r"\." + pattern, f"{ours}.{name}") for pattern, name in names]
    return rules


def _is_blur(kernel: torch.Tensor) -> bool:
    expected = blur_kernel()[0, 0]
    return kernel.shape == expected.shape and torch.allclose(kernel.float(), expected, atol=1e-5)


def _mean(tensors: dict[str, torch.Tensor], dim: int) -> torch.Tensor:
    """The mean latent [dim] over many mapped z."""
    mapping = Mapping(dim)
    mapping.load_state_dict({n.removeprefix("mapping."): t for n, t in tensors.items() if n.startswith("mapping.")})
    z = torch.randn(MEAN_SAMPLES, dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return mapping(z).double().mean(0).float()
