"""PyTorch checkpoints of others: read without running code of theirs, every tensor accounted for."""

import hashlib
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dbaf.errors import WeightsError
from dbaf.weights.bundle import EMBEDDED, describe_parts, load_part, parts, save_part

LISTED = 12  # tensors that an error names of each sort

Rules = Sequence[tuple[str, str | None]]


@dataclass
class Converted:
    """A network, ready to be written into a bundle.

    Attributes:
        part: its name there.
        tensors: state dict.
        config: rebuilds the network.
        licence: SPDX expression and origin.
        sources: name -> sha256 of the files it comes from.
    """

    part: str
    tensors: dict[str, torch.Tensor]
    config: dict
    licence: str
    sources: dict[str, str]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary in a file that `torch.save` wrote, on the CPU. Only tensors and plain values are read.

    Raises:
        WeightsError: the file is missing, damaged, or would have to run code; says what to do.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror or error}.") from error
    if b"dnnlib" in head or b"torch_utils" in head or path.suffix == ".pkl":
        raise WeightsError(
            f"{path} is a pickle in NVIDIA's format, which runs code when it is read. If you trust it, turn it into a "
            ".pt with convert_weight.py of github.com/rosinality/stylegan2-pytorch, and give that."
        )
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # PyTorch's text tells to load it all the same
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it wants to run {name[1]}" if name else "it is damaged, or more than that"
        raise WeightsError(
            f"{path} is not a PyTorch checkpoint of tensors: {what}. "
            "If you trust it, load it where you made it and save its tensors alone."
        ) from None
    except Exception as error:  # a damaged file raises almost anything
        raise WeightsError(
            f"{path} is not a PyTorch checkpoint of tensors: {str(error).splitlines()[0]} Take your copy of it."
        ) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds a {type(found).__name__} instead of a dictionary of tensors.")
    return found


def digest(path: Path) -> dict[str, str]:
    """Name -> sha256 of one file."""
    with path.open("rb") as file:
        return {path.name: hashlib.file_digest(file, "sha256").hexdigest()}


def state_dict(path: Path, checkpoint: Mapping[str, Any], *names: str) -> dict[str, torch.Tensor]:
    """The tensors under a name of a checkpoint, or of the checkpoint itself without one.

    Raises:
        WeightsError: the name is not there, or there is something other than tensors.
    """
    found: Any = checkpoint
    for name in names:
        if not isinstance(found, dict) or name not in found:
            raise WeightsError(f"{path} holds no '{name}', only {', '.join(map(str, checkpoint)) or 'nothing'}.")
        found = found[name]
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: '{names[-1]}' is no dictionary of tensors.")
    other = [name for name, tensor in found.items() if not _plain(tensor)]
    if other:
        raise WeightsError(f"{path} holds other things than plain tensors: {_some(other)}.")
    return {str(name): tensor for name, tensor in found.items()}


def shape(path: Path, tensors: Mapping[str, torch.Tensor], name: str, dims: int) -> tuple[int, ...]:
    """Shape of a tensor that tells how large the network is.

    Raises:
        WeightsError: it is missing or has another number of axes.
    """
    if name not in tensors or tensors[name].dim() != dims:
        raise WeightsError(f"{path} holds another network: it has no tensor {name} of {dims} axes.")
    return tuple(tensors[name].shape)


def rename(path: Path, tensors: Mapping[str, torch.Tensor], rules: Rules) -> dict[str, torch.Tensor]:
    """Tensors under our names.

    Args:
        path: for errors.
        tensors: under the names of others.
        rules: pairs of a regular expression for the whole of a name and what it becomes, the first that fits; None
            drops the tensor.

    Raises:
        WeightsError: names to which no rule fits; lists them.
    """
    renamed, unknown = {}, []
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    for name, tensor in tensors.items():
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(name):
                if replacement is not None:
                    renamed[match.expand(replacement)] = tensor
                break
        else:
            unknown.append(name)
    if unknown:
        raise WeightsError(f"{path} holds tensors that are not known: {_some(unknown)}.")
    return renamed


def check(path: Path, tensors: Mapping[str, torch.Tensor], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Tensors in fp32, made sure to be those of a network.

    Args:
        path: for errors.
        tensors: under our names.
        network: its state dict says what is expected; may be on the device "meta".

    Raises:
        WeightsError: tensors are missing, too many, of another shape, or not finite; lists all of them.
    """
    # how many batches a normalisation has seen matters to nobody, and old checkpoints do not say
    expected = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    common = expected.keys() & tensors.keys()
    wrong = sorted(
        f"{name} {list(tensors[name].shape)} instead of {list(expected[name].shape)}"
        for name in common
        if tensors[name].shape != expected[name].shape
    )
    odd = [n for n in common if not tensors[n].is_floating_point() or not bool(tensors[n].isfinite().all())]
    faults = {
        "are missing": sorted(expected.keys() - tensors.keys()),
        "are not known": sorted(tensors.keys() - expected.keys()),
        "have another shape": wrong,
        "are no finite numbers": sorted(odd),
    }
    said = [f"{len(names)} tensors {what}: {_some(names)}" for what, names in faults.items() if names]
    if said:
        raise WeightsError(f"{path} does not fit (names are ours): {'; '.join(said)}.")
    return {name: tensors[name].to(torch.float32, copy=True) for name in expected}  # no two may share memory


def write_parts(out: Path, converted: Sequence[Converted], half: bool) -> None:
    """Write networks into a bundle, and the embedded face finder beside them, so that the bundle is whole.

    Args:
        out: bundle folder, made if missing.
        converted: the networks.
        half: store them as fp16.
    """
    for one in converted:
        save_part(out, one.part, one.tensors, one.config, one.licence, half, one.sources)
    embedded = describe_parts(EMBEDDED / "mobile")
    for part, small in (("detector", False), ("landmarks", True)):  # the dtypes are those of `convert_faces`
        if part not in parts(out):
            tensors, config = load_part(EMBEDDED / "mobile", part)
            save_part(out, part, tensors, config, str(embedded[part].licence), small)


def _plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def _some(names: Sequence[Any]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(str, names[:LISTED])) + more
