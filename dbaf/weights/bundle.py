"""A model bundle: one folder of safetensors shards and a `manifest.json` with the sha256 of every shard.

A *part* (generator, encoder, cid, ...) is one network. Its config and licence travel in the metadata of its
shards, so nothing but the files says which network to build.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dbaf.errors import WeightsError

Network = TypeVar("Network", bound=torch.nn.Module)

SHARD_BYTES = 14_000_000  # no committed file may exceed 15 MB
MANIFEST = "manifest.json"
EMBEDDED = Path(__file__).parent  # dbaf/weights/<family>/ ships with the package


def bundle_folder(name: str) -> Path:
    """Folder of the bundle `name`: an embedded family (`"mobile"`) or a path to a folder.

    Raises:
        WeightsError: neither exists.
    """
    for folder in (EMBEDDED / name, Path(name)):
        if (folder / MANIFEST).is_file():
            return folder
    raise WeightsError(
        f"No model bundle '{name}': looked for {MANIFEST} in {EMBEDDED / name} and {Path(name).absolute()}. "
        "Use the embedded family 'mobile', or give the path of a bundle folder."
    )


def bundle_digest(name: str) -> str:
    """SHA-256, in hexadecimal, of a bundle's manifest, which names the sha256 of every shard. Errors as above."""
    return hashlib.sha256((bundle_folder(name) / MANIFEST).read_bytes()).hexdigest()


def parts(folder: Path) -> list[str]:
    """Names of the parts that a bundle holds, sorted."""
    return sorted({entry["part"] for entry in _manifest(folder)["shards"].values()})


def load_part(folder: Path, part: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Read one network: its tensors (as fp32) and its config. The sha256 of every shard is checked.

    Raises:
        WeightsError: the part is unknown, or a shard is missing, short or altered; names the file.
    """
    shards = {name: e for name, e in _manifest(folder)["shards"].items() if e["part"] == part}
    if not shards:
        raise WeightsError(f"The bundle {folder} has no part '{part}'; it has: {', '.join(parts(folder))}.")
    tensors: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] = {}
    for name, entry in sorted(shards.items()):
        _check(folder / name, entry["bytes"], entry["sha256"])
        try:
            with safe_open(folder / name, framework="pt") as shard:
                metadata = shard.metadata()
                for key in shard.keys():
                    tensor = shard.get_tensor(key)
                    tensors[key] = tensor.float() if tensor.is_floating_point() else tensor
        except SafetensorError as error:
            raise WeightsError(f"{folder / name} is not a safetensors file ({error}). {_REMEDY}") from error
    return tensors, json.loads(metadata["dbaf"])["config"]


def load_network(
    folder: Path,
    part: str,
    kinds: Callable[..., Network] | Mapping[str, Callable[..., Network]],
    device: torch.device | str = "cpu",
) -> Network:
    """Build a network from its stored configuration, with its weights, frozen, for inference.

    Args:
        folder: bundle folder.
        part: name of the network.
        kinds: class of the network, or a class for each `kind` that the configuration may name; the first is that of
            configurations without one.
        device: where to put it.

    Raises:
        WeightsError: as `load_part`; or the kind is not known.
    """
    tensors, config = load_part(folder, part)
    if isinstance(kinds, Mapping):
        kind = config.pop("kind", next(iter(kinds)))
        if kind not in kinds:
            known = ", ".join(kinds)
            raise WeightsError(f"{folder}: '{part}' is of the kind '{kind}'; this version knows {known}. Update DBAF.")
        kinds = kinds[kind]
    network = kinds(**config)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False).to(device)


def save_part(
    folder: Path,
    part: str,
    tensors: dict[str, torch.Tensor],
    config: dict,
    licence: str,
    half: bool = True,
    sources: dict[str, str] | None = None,
) -> None:
    """Write one network as shards under 15 MB and enter them in the manifest; replaces an earlier version.

    Args:
        folder: bundle folder, made if missing.
        part: name of the network, e.g. `"encoder"`.
        tensors: its state dict.
        config: JSON-able arguments that rebuild it.
        licence: SPDX expression and origin, in one line.
        half: store floating-point tensors as fp16.
        sources: name -> sha256 of the files that the tensors were converted from.

    Raises:
        WeightsError: a tensor holds NaN or infinity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsError(f"{part}: {key} is not finite. Nothing was written to {folder}.")
    groups: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if half and tensor.is_floating_point():
            tensor = tensor.half()
        if size and size + tensor.nbytes > SHARD_BYTES:
            groups.append({})
            size = 0
        groups[-1][key] = tensor
        size += tensor.nbytes
    manifest = _manifest(folder) if (folder / MANIFEST).is_file() else {"shards": {}}
    for name in [n for n, e in manifest["shards"].items() if e["part"] == part]:
        del manifest["shards"][name]
        (folder / name).unlink(missing_ok=True)
    # one entry only: safetensors writes several in random order, and the same weights should give the same bytes
    about = {"part": part, "config": config, "licence": licence} | ({"sources": sources} if sources else {})
    metadata = {"dbaf": json.dumps(about, sort_keys=True)}
    for index, group in enumerate(groups, 1):
        name = f"{part}-{index:05d}-of-{len(groups):05d}.safetensors"
        save_file(group, folder / (name + ".tmp"), metadata)
        os.chmod(folder / (name + ".tmp"), 0o644)  # safetensors makes it private
        os.replace(folder / (name + ".tmp"), folder / name)
        data = (folder / name).read_bytes()
        manifest["shards"][name] = {"part": part, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["shards"] = dict(sorted(manifest["shards"].items()))
    temporary = folder / (MANIFEST + ".tmp")
    temporary.write_text(json.dumps(manifest, indent=1) + "\n")
    os.replace(temporary, folder / MANIFEST)


_REMEDY = "Reinstall the package or run 'git checkout -- dbaf/weights' in a clone to get the original file back."


def _manifest(folder: Path) -> dict:
    try:
        return json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"Cannot read {folder / MANIFEST}: {error}. {_REMEDY}") from error


def _check(path: Path, size: int, sha256: str) -> None:
    if not path.is_file():
        raise WeightsError(f"Weight file missing: {path}. {_REMEDY}")
    data = path.read_bytes()
    if len(data) != size:
        raise WeightsError(f"Weight file {path} has {len(data)} bytes instead of {size}. {_REMEDY}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise WeightsError(f"Weight file {path} was altered: its sha256 is not the manifest's. {_REMEDY}")
