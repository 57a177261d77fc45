"""The released networks of DBAF (github.com/mrzhu-cool/DBAF, MIT) into parts of a bundle.

    python -m dbaf weights convert dbaf FOLDER OUT      all four files, or one of them

They fit an e4e for as many styles, which is converted for itself: `convert_e4e`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dbaf.cid import CID
from dbaf.errors import WeightsError
from dbaf.kria_mlp import MlpKRIA
from dbaf.maar import MAAR
from dbaf.weights.checkpoint import (
    Converted,
    check,
    digest,
    read_checkpoint,
    rename,
    shape,
    state_dict,
    write_parts,
)
from dbaf.weights.convert_stylegan2 import LICENCE as STYLEGAN2_LICENCE
from dbaf.weights.convert_stylegan2 import convert_generator

LICENCE = (
    "MIT, DBAF by its authors (github.com/mrzhu-cool/DBAF); trained on faces, some of them of FFHQ (CC-BY-NC-SA-4.0)"
)
FILES = (
    "best_model_w_disentanglement.pth",
    "best_model_id_mlp.pth",
    "best_model_attr_block.pth",
    "best_model_decoder_finetune.pth",
)
GROUPS = (4, 4)  # styles of the coarse and the medium group; all others are fine
HEAD_DIM = 64
MAPS = {"c3": "16", "c2": "32", "c1": "64"}  # their name of an encoder's map -> its size in px
NORM, NORM_EPSILON = ("weight", "bias", "running_mean", "running_var"), 1e-5

State = dict[str, torch.Tensor]


def convert_dbaf(source: Path, out: Path, half: bool = False) -> None:
    """Write the parts `cid`, `kria`, `maar` and `generator` of the bundle `out`, or one of them.

    Args:
        source: folder with the four files of the release, or one such file under any name.
        out: bundle folder, made if missing.
        half: store the tensors as fp16.

    Raises:
        WeightsError: a file is missing or not what it should be; lists all that is wrong, nothing is written.
    """
    paths = [source / name for name in FILES] if source.is_dir() else [source]
    converted, wrong = [], []
    for path in paths:
        try:
            converted.append(_convert(path))
        except WeightsError as error:
            wrong.append(str(error))
    if wrong:
        raise WeightsError("\n".join(wrong))
    write_parts(out, converted, half)


def _convert(path: Path) -> Converted:
    """One file, whose tensors say which network it holds."""
    converters: dict[str, Callable[[Path, State], Converted]] = {
        "pos_embedding": _cid,
        "mapper.0.model.0.weight": _kria,
        "conv_c1.weight": _maar,
        "input.input": lambda path, state: convert_generator(path, state, f"{LICENCE}; {STYLEGAN2_LICENCE}"),
    }
    state = state_dict(path, read_checkpoint(path))
    for tell, convert in converters.items():
        if tell in state:
            return convert(path, state)
    raise WeightsError(f"{path} holds none of DBAF's networks: no tensor {', '.join(converters)}.")


def _cid(path: Path, state: State) -> Converted:
    styles, _, dim = shape(path, state, "pos_embedding", 3)
    inner = shape(path, state, "layers.0.transformer.layers.0.0.fn.to_qkv.weight", 2)[0] // 3
    mlp = shape(path, state, "layers.0.transformer.layers.0.1.fn.net.0.weight", 2)[0]
    depth = sum(name.startswith("layers.0.") and name.endswith("to_qkv.weight") for name in state)
    block, ours = r"layers\.([012])\.transformer\.layers\.(\d+)\.", r"stacks.\1.\2."
    tensors = rename(
        path,
        state,
        [
            (r"linear_w\.(weight|bias)", r"embed.\1"),
            (r"pos_embedding", "places"),
            (block + r"0\.norm\.(weight|bias)", ours + r"norm1.\3"),
            (block + r"0\.fn\.to_qkv\.weight", ours + "qkv"),  # taken apart below
            (block + r"0\.fn\.to_out\.0\.(weight|bias)", ours + r"attention.out.\3"),
            (block + r"1\.norm\.(weight|bias)", ours + r"norm2.\3"),
            (block + r"1\.fn\.net\.0\.(weight|bias)", ours + r"mlp.0.\3"),
            (block + r"1\.fn\.net\.3\.(weight|bias)", ours + r"mlp.2.\3"),
        ],
    )
    for name in [name for name in tensors if name.endswith(".qkv")]:
        shape(path, tensors, name, 2)
        place, qkv = name.removesuffix("qkv") + "attention.", tensors.pop(name)
        tensors[f"{place}query.weight"], tensors[f"{place}key_value.weight"] = qkv[:inner], qkv[inner:]
    tensors |= {"places": tensors["places"].transpose(0, 1), "mean_w": torch.zeros(dim), "scale": torch.ones(dim)}
    config: dict[str, Any] = {
        "groups": [*GROUPS, styles - sum(GROUPS)],
        "dim": dim,
        "depth": depth,
        "heads": inner // HEAD_DIM,
        "mlp": mlp,
        "head_dim": HEAD_DIM,
        "attends": False,
        "projects": False,
    }
    with torch.device("meta"):
        network = CID(**config)
    return Converted("cid", check(path, tensors, network), config, LICENCE, digest(path))


def _kria(path: Path, state: State) -> Converted:
    layers = sum(name.startswith("mapper.0.model.") and name.endswith(".weight") for name in state)
    widths = [shape(path, state, f"mapper.0.model.{index}.weight", 2)[0] for index in range(layers)]
    tensors = rename(path, state, [(r"mapper\.([012])\.model\.(\d+)\.(weight|bias)", r"mappers.\1.\2.\3")])
    config: dict[str, Any] = {"groups": list(GROUPS), "hidden": widths[:-1], "dim": widths[-1]}
    with torch.device("meta"):
        network = MlpKRIA(**config)
    return Converted("kria", check(path, tensors, network), {"kind": "mlp"} | config, LICENCE, digest(path))


def _maar(path: Path, state: State) -> Converted:
    dim = shape(path, state, "conv_c1.weight", 4)[0]
    channels = {px: shape(path, state, f"conv_{name}.weight", 4)[1] for name, px in MAPS.items()}
    # batch counters matter to nobody; what else is dropped here is reshaped or folded below
    rules: list[tuple[str, str | None]] = [(r".*\.num_batches_tracked", None)]
    for name, px in MAPS.items():
        gate, ours = rf"cbam_{name}\.", f"scales.{px}."
        rules += [
            (rf"conv_{name}\.(weight|bias)", ours + r"0.\1"),
            (gate + r"ChannelGate\.mlp\.1\.bias", ours + "1.channel.0.bias"),
            (gate + r"ChannelGate\.mlp\.3\.bias", ours + "1.channel.2.bias"),
            (gate + r"(?:ChannelGate\.mlp\.[13]|SpatialGate\.spatial\.conv)\.weight", None),
            (gate + rf"SpatialGate\.spatial\.bn\.(?:{'|'.join(NORM)})", None),
        ]
    tensors = rename(path, state, rules)
    for name, px in MAPS.items():
        for layer in (1, 3):  # linear layers on the means over a map: 1x1 convolutions
            weight, ours = f"cbam_{name}.ChannelGate.mlp.{layer}.weight", f"scales.{px}.1.channel.{layer - 1}.weight"
            size = shape(path, state, weight, 2)
            tensors[ours] = state[weight].reshape(*size, 1, 1)
        spatial = f"cbam_{name}.SpatialGate.spatial."
        shape(path, state, f"{spatial}conv.weight", 4)
        for key in NORM:
            if shape(path, state, f"{spatial}bn.{key}", 1) != (1,):
                raise WeightsError(f"{path}: {spatial}bn.{key} is not of the one channel that it should be.")
        gain, shift, mean, variance = (state[f"{spatial}bn.{key}"] for key in NORM)
        gain = gain / (variance + NORM_EPSILON).sqrt()
        # theirs looks at the maximum and the mean over the channels, ours at the mean and the maximum
        tensors[f"scales.{px}.1.spatial.weight"] = state[f"{spatial}conv.weight"].flip(1) * gain
        tensors[f"scales.{px}.1.spatial.bias"] = shift - mean * gain
    tensors |= {f"gain.{px}": torch.ones(1, dim, 1, 1) for px in channels}
    with torch.device("meta"):
        network = MAAR(channels, dim)
    config = {"channels": channels, "dim": dim}
    return Converted("maar", check(path, tensors, network), config, LICENCE, digest(path))
