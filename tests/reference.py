"""Checkpoints in the layout that the authors of StyleGAN2's port, e4e and DBAF released, at any width.

Their weights are the same everywhere: `RandomState` promises its numbers for good. docs/reference.md says how they were
compared with the authors' code.
"""

import math
import re
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from dbaf.encoders.irse50 import REPEATS

Shapes = dict[str, tuple[int, ...]]
State = dict[str, torch.Tensor]

DIM, WIDTH = 32, 16  # of the tiny networks: W+, backbone
CHANNELS = {256: [32, 32, 32, 32, 32, 16, 8], 1024: [32, 32, 32, 32, 32, 16, 8, 8, 4]}
DEPTH, HEADS, MLP = 2, 2, 48  # of CID's transformers
HIDDEN = (64, 48, 32, 32)  # of KRIA's MLPs


def styles(size: int) -> int:
    return 2 * int(math.log2(size)) - 2


def linear(name: str, inner: int, outer: int) -> Shapes:
    return {f"{name}.weight": (outer, inner), f"{name}.bias": (outer,)}


def conv(name: str, inner: int, outer: int, side: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outer, inner, side, side)} | ({f"{name}.bias": (outer,)} if bias else {})


def norm(name: str, width: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{key}": (width,) for key in vectors} | {f"{name}.num_batches_tracked": ()}


def modulated(name: str, dim: int, inner: int, outer: int, side: int) -> Shapes:
    return {f"{name}.weight": (1, outer, inner, side, side)} | linear(f"{name}.modulation", dim, inner)


def generator_shapes(channels: list[int], dim: int) -> Shapes:
    shapes: Shapes = {"input.input": (1, channels[0], 4, 4), "noises.noise_0": (1, 1, 4, 4)}
    for layer in range(1, 9):
        shapes |= linear(f"style.{layer}", dim, dim)

    def styled(name: str, inner: int, outer: int) -> None:
        shapes.update(modulated(f"{name}.conv", dim, inner, outer, 3))
        shapes.update({f"{name}.noise.weight": (1,), f"{name}.activate.bias": (outer,)})

    def image(name: str, inner: int) -> None:
        shapes.update(modulated(f"{name}.conv", dim, inner, 3, 1) | {f"{name}.bias": (1, 3, 1, 1)})

    styled("conv1", channels[0], channels[0])
    image("to_rgb1", channels[0])
    for block, (inner, outer) in enumerate(pairwise(channels)):
        styled(f"convs.{2 * block}", inner, outer)
        styled(f"convs.{2 * block + 1}", outer, outer)
        image(f"to_rgbs.{block}", outer)
        shapes |= {f"convs.{2 * block}.conv.blur.kernel": (4, 4), f"to_rgbs.{block}.upsample.kernel": (4, 4)}
        for number in (1, 2):
            shapes[f"noises.noise_{2 * block + number}"] = (1, 1, 8 * 2**block, 8 * 2**block)
    return shapes


def irse50_shapes(width: int) -> Shapes:
    shapes = conv("input_layer.0", 3, width, 3, bias=False) | norm("input_layer.1", width)
    shapes |= {"input_layer.2.weight": (width,)}
    number, inner = 0, width
    for stage, repeats in enumerate(REPEATS):
        outer = width * 2**stage
        for _ in range(repeats):
            place = f"body.{number}."
            if inner != outer:
                shapes |= conv(f"{place}shortcut_layer.0", inner, outer, 1, bias=False)
                shapes |= norm(f"{place}shortcut_layer.1", outer)
            layers = f"{place}res_layer."
            shapes |= norm(f"{layers}0", inner) | conv(f"{layers}1", inner, outer, 3, bias=False)
            shapes |= {f"{layers}2.weight": (outer,)} | conv(f"{layers}3", outer, outer, 3, bias=False)
            shapes |= norm(f"{layers}4", outer)
            shapes |= conv(f"{layers}5.fc1", outer, outer // 16, 1, bias=False)
            shapes |= conv(f"{layers}5.fc2", outer // 16, outer, 1, bias=False)
            number, inner = number + 1, outer
    return shapes


def e4e_shapes(count: int, width: int, dim: int) -> Shapes:
    shapes = irse50_shapes(width)
    for style in range(count):
        for layer in range(4 if style < 3 else 5 if style < 7 else 6):
            shapes |= conv(f"styles.{style}.convs.{2 * layer}", dim if layer else 8 * width, dim, 3)
        shapes |= linear(f"styles.{style}.linear", dim, dim)
    return shapes | conv("latlayer1", 4 * width, 8 * width, 1) | conv("latlayer2", 2 * width, 8 * width, 1)


def cid_shapes(count: int, dim: int, depth: int, heads: int, mlp: int) -> Shapes:
    shapes: Shapes = {"pos_embedding": (count, 1, dim)} | linear("linear_w", dim, dim)
    for group in range(3):
        for layer in range(depth):
            place = f"layers.{group}.transformer.layers.{layer}."
            shapes |= {f"{place}0.norm.weight": (dim,), f"{place}0.norm.bias": (dim,)}
            shapes |= {f"{place}0.fn.to_qkv.weight": (3 * 64 * heads, dim)}
            shapes |= linear(f"{place}0.fn.to_out.0", 64 * heads, dim)
            shapes |= {f"{place}1.norm.weight": (dim,), f"{place}1.norm.bias": (dim,)}
            shapes |= linear(f"{place}1.fn.net.0", dim, mlp) | linear(f"{place}1.fn.net.3", mlp, dim)
    return shapes


def kria_shapes(hidden: tuple[int, ...], dim: int) -> Shapes:
    shapes: Shapes = {}
    for group in range(3):
        for layer, (inner, outer) in enumerate(pairwise([2 * dim, *hidden, dim])):
            shapes |= linear(f"mapper.{group}.model.{layer}", inner, outer)
    return shapes


def maar_shapes(width: int, dim: int) -> Shapes:
    shapes: Shapes = {}
    for name, inner in (("c3", 8 * width), ("c2", 4 * width), ("c1", 2 * width)):
        shapes |= conv(f"conv_{name}", inner, dim, 1)
        shapes |= linear(f"cbam_{name}.ChannelGate.mlp.1", dim, dim // 16)
        shapes |= linear(f"cbam_{name}.ChannelGate.mlp.3", dim // 16, dim)
        spatial = f"cbam_{name}.SpatialGate.spatial."
        shapes |= conv(f"{spatial}conv", 2, 1, 7, bias=False) | norm(f"{spatial}bn", 1)
    return shapes


def weights(shapes: Mapping[str, tuple[int, ...]]) -> State:
    """Random tensors for names and shapes, each seeded by its name, of a size that keeps activations in bounds."""
    return {name: _tensor(name, tuple(size), shapes) for name, size in shapes.items()}


def _tensor(name: str, size: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(3)
    if name.endswith(".kernel"):
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        return line[:, None] * line / 16
    noise = latents(name, *size)
    if name.endswith("running_var"):
        return 0.5 + noise.square()
    if name.endswith("modulation.bias"):
        return 1 + 0.1 * noise
    if re.search(r"(res_layer\.4|shortcut_layer\.1)\.weight", name):  # or 24 residual blocks grow too far
        return 0.5 + 0.1 * noise
    if len(size) == 1:  # gains about one; strengths, slopes and biases about zero
        return float(name.endswith("weight") and size[0] > 1 and "layer.2" not in name) + 0.1 * noise
    if name.startswith("style.") or _inner_mapper(name, shapes):
        return 100 * noise  # equalised, at a rate of .01
    if len(size) == 5 or re.search(r"modulation|linear\.|^input\.|noises|pos_embedding", name):
        return noise  # equalised, or used as they are
    return noise / math.sqrt(math.prod(size[1:]))


def _inner_mapper(name: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """A layer of KRIA's MLP other than the last, which is not equalised."""
    match = re.fullmatch(r"(mapper\.\d\.model)\.(\d)\.weight", name)
    return match is not None and f"{match[1]}.{int(match[2]) + 1}.weight" in shapes


def picture(count: int = 1) -> torch.Tensor:
    """Smooth noise [count, 3, 256, 256] in [-1, 1]."""
    coarse = np.random.RandomState(7).standard_normal((count, 3, 12, 12))
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse).float(), size=256, mode="bicubic")
    return torch.tanh(smooth)


def latents(name: str, *size: int) -> torch.Tensor:
    """Seeded by a name: [*size]."""
    return torch.from_numpy(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(size)).float()


def save_e4e(path: Path, count: int, width: int = WIDTH, dim: int = DIM) -> None:
    """An e4e checkpoint; of its generator only a few tensors are there."""
    state = {f"encoder.{name}": tensor for name, tensor in weights(e4e_shapes(count, width, dim)).items()}
    state |= {f"decoder.{name}": tensor for name, tensor in weights(modulated("conv1.conv", dim, 8, 8, 3)).items()}
    options = {"encoder_type": "Encoder4Editing", "stylegan_size": 256, "start_from_latent_avg": True}
    torch.save({"state_dict": state, "opts": options, "latent_avg": latents("latent_avg", count, dim)}, path)


def save_release(folder: Path, size: int) -> None:
    """The four files of a DBAF release, tiny."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, shapes in release_shapes(size).items():
        torch.save(weights(shapes), folder / f"best_model_{name}.pth")


def release_shapes(size: int) -> dict[str, Shapes]:
    """File -> names and shapes of a tiny release for pictures of a size."""
    return {
        "w_disentanglement": cid_shapes(styles(size), DIM, DEPTH, HEADS, MLP),
        "id_mlp": kria_shapes(HIDDEN, DIM),
        "attr_block": maar_shapes(WIDTH, DIM),
        "decoder_finetune": generator_shapes(CHANNELS[size], DIM),
    }
