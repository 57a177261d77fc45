"""A model bundle: one folder of safetensors shards and a `manifest.json` with the sha256 of every shard.

A *part* (generator, encoder, cid, ...) is one network. Its config and licence travel in the metadata of its
shards, so nothing but the files says which network to build.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dbaf.errors import WeightsError

Network = TypeVar("Network", bound=torch.nn.Module)

SHARD_BYTES = 14_000_000  # no committed file may exceed 15 MB
MANIFEST = "manifest.json"
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
EMBEDDED = Path(__file__).parent  # dbaf/weights/<family>/ ships with the package


def bundle_folder(
    name: str,
    places: Sequence[Path] = (),
    local_files_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Folder of the bundle `name`.

    Args:
        name: a folder in one of the places, an embedded family (`"mobile"`), a path to a folder, or a bundle on the
            Hugging Face Hub (`"owner/name"`, `"owner/name@revision"`), in this order.
        places: folders of bundles that come first.
        local_files_only: download nothing.
        progress: called with (bytes done, bytes in all) of a download.

    Raises:
        WeightsError: there is none, or it cannot be downloaded; names the folders that were searched.
    """
    from dbaf.weights import hub  # which builds on this file

    folders = [*(place / name for place in places), EMBEDDED / name, Path(name).absolute()]
    for folder in folders:
        if (folder / MANIFEST).is_file():
            return folder
    searched = f"Looked for {MANIFEST} in {', '.join(map(str, folders))}."
    if Path(name).exists() or hub.parse(name) is None:
        raise WeightsError(
            f"No model bundle '{name}'. {searched} Use the embedded family 'mobile', or give the path of a bundle "
            "folder or owner/name on the Hugging Face Hub."
        )
    try:
        return hub.fetch(name, local_files_only, progress=progress)
    except WeightsError as error:
        raise WeightsError(f"Model '{name}' is not on this computer. {searched} {error}") from error


def bundle_digest(name: str) -> str:
    """SHA-256, in hexadecimal, of a bundle's manifest, which names the sha256 of every shard. Errors as above."""
    return hashlib.sha256((bundle_folder(name) / MANIFEST).read_bytes()).hexdigest()


def parts(folder: Path) -> list[str]:
    """Names of the parts that a bundle holds, sorted."""
    return sorted({entry["part"] for entry in read_manifest(folder)["shards"].values()})


class Part(NamedTuple):
    """What a bundle tells of a network: bytes on disk, and licence with origin (None: a file is missing)."""

    size: int
    licence: str | None


def describe_parts(folder: Path) -> dict[str, Part]:
    """Name -> description of every part, sorted; reads no weights.

    Raises:
        WeightsError: the manifest cannot be read.
    """
    found: dict[str, Part] = {}
    for name, entry in sorted(read_manifest(folder)["shards"].items()):
        size, licence = found.get(entry["part"], Part(0, None))
        if licence is None and (folder / name).is_file():
            try:
                with safe_open(folder / name, framework="numpy") as shard:
                    licence = json.loads(shard.metadata()["dbaf"])["licence"]
            except (SafetensorError, KeyError, TypeError, ValueError) as error:
                raise _no_shard(folder / name, error) from error
        found[entry["part"]] = Part(size + entry["bytes"], licence)
    return dict(sorted(found.items()))


def load_part(folder: Path, part: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Read one network: its tensors (as fp32) and its config. The sha256 of every shard is checked.

    Raises:
        WeightsError: the part is unknown, or a shard is missing, short or altered; names the file.
    """
    shards = {name: e for name, e in read_manifest(folder)["shards"].items() if e["part"] == part}
    if not shards:
        raise WeightsError(f"The bundle {folder} has no part '{part}'; it has: {', '.join(parts(folder))}.")
    tensors: dict[str, torch.Tensor] = {}
    config: dict = {}
    for name, entry in sorted(shards.items()):
        check_shard(folder / name, entry)
        try:
            with safe_open(folder / name, framework="pt") as shard:
                about = json.loads(shard.metadata()["dbaf"])
                for key in shard.keys():
                    tensor = shard.get_tensor(key)
                    tensors[key] = tensor.float() if tensor.is_floating_point() else tensor
                config = about["config"]
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise _no_shard(folder / name, error) from error
    return tensors, config


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
        WeightsError: as `load_part`; or the kind is not known, or configuration and tensors are not those of a network.
    """
    tensors, config = load_part(folder, part)
    if isinstance(kinds, Mapping):
        kind = config.pop("kind", next(iter(kinds)))
        if kind not in kinds:
            known = ", ".join(kinds)
            raise WeightsError(f"{folder}: '{part}' is of the kind '{kind}'; this version knows {known}. Update DBAF.")
        kinds = kinds[kind]
    try:
        network = kinds(**config)
        network.load_state_dict(tensors)
    except Exception as error:  # numbers and shapes are whatever the files of a stranger say
        said = str(error).splitlines()[0]
        raise WeightsError(
            f"{folder}: '{part}' is no network of this version of DBAF ({type(error).__name__}: {said}). Update DBAF. "
            f"{_remedy(folder)}"
        ) from error
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
        WeightsError: a tensor holds NaN or infinity, or numbers too large for fp16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool((tensor.half() if half else tensor).isfinite().all()):
            what = "too large for fp16" if bool(tensor.isfinite().all()) else "not finite"
            raise WeightsError(f"{part}: {key} is {what}. Nothing was written to {folder}.")
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
    manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else {"shards": {}}
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


def read_manifest(folder: Path) -> dict:
    """The manifest of a bundle: `shards` is a file's name -> `part`, `bytes`, `sha256`.

    Raises:
        WeightsError: it is missing, damaged or no manifest of ours; a shard's name leads out of the folder.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"Cannot read {folder / MANIFEST}: {error}. {_remedy(folder)}") from error
    try:
        for name, entry in manifest["shards"].items():
            if not SHARD.fullmatch(name) or not {"part", "bytes", "sha256"} <= entry.keys():
                raise ValueError(name)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder / MANIFEST} does not list the shards of a DBAF bundle. {_remedy(folder)}"
        ) from error
    return manifest


def check_shard(path: Path, entry: dict) -> None:
    """Compare a file with its entry in the manifest.

    Raises:
        WeightsError: it is missing, short or altered; names it and says how to get it anew.
    """
    remedy = _remedy(path.parent)
    if not path.is_file():
        raise WeightsError(f"Weight file missing: {path}. {remedy}")
    data = path.read_bytes()
    if len(data) != entry["bytes"]:
        raise WeightsError(f"Weight file {path} has {len(data)} bytes instead of {entry['bytes']}. {remedy}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise WeightsError(f"Weight file {path} was altered: its sha256 is not the manifest's. {remedy}")


def _no_shard(path: Path, error: Exception) -> WeightsError:
    why = f"{type(error).__name__}: {error}"
    return WeightsError(f"{path} is no shard of a DBAF bundle ({why}). {_remedy(path.parent)}")


def _remedy(folder: Path) -> str:
    """How to get the original files of a bundle back."""
    from dbaf.weights import hub

    if folder.parent == EMBEDDED:
        return "Reinstall the package or run 'git checkout -- dbaf/weights' in a clone to get the original file back."
    if source := hub.name_of(folder):
        return f"To get it anew, run: {source.command}"
    return "Copy the folder anew from where it came from."
