"""Weights on disk: what is written comes back, and a damaged shard is named with its remedy."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dbaf.errors import WeightsError
from dbaf.weights import bundle
from dbaf.weights.bundle import MANIFEST, bundle_folder, describe_parts, load_network, load_part, parts, save_part


def tensors() -> dict[str, torch.Tensor]:
    layers = {f"layer{i}": torch.full((10, 20), float(i)) for i in range(5)}
    return layers | {"count": torch.tensor(7)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bundle, "SHARD_BYTES", 1000)
    save_part(tmp_path, "net", tensors(), {"width": 3}, "Apache-2.0")
    return tmp_path


def test_round_trip_over_several_shards(folder: Path) -> None:
    assert len(list(folder.glob("net-*.safetensors"))) > 1
    loaded, config = load_part(folder, "net")
    assert config == {"width": 3}
    assert loaded["layer4"].dtype == torch.float32
    assert loaded.keys() == tensors().keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors().items())


def test_the_same_weights_give_the_same_bytes(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save_part(folder, "net", tensors(), {"width": 3}, "Apache-2.0")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_smaller_version_leaves_nothing_of_the_larger(folder: Path) -> None:
    save_part(folder, "other", {"x": torch.ones(2)}, {}, "Apache-2.0", half=False)
    save_part(folder, "net", {"layer0": torch.ones(3)}, {}, "Apache-2.0")
    names = ["net-00001-of-00001.safetensors", "other-00001-of-00001.safetensors"]
    assert sorted(path.name for path in folder.glob("*.safetensors")) == names
    assert parts(folder) == ["net", "other"]
    assert list(load_part(folder, "net")[0]) == ["layer0"]


@pytest.mark.parametrize("damage", ["missing", "short", "altered"])
def test_a_damaged_shard_is_named(folder: Path, damage: str) -> None:
    shard = sorted(folder.glob("net-*.safetensors"))[1]
    data = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(data[:-1] if damage == "short" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WeightsError, match=shard.name) as error:
        load_part(folder, "net")
    assert "Copy the folder anew" in str(error.value)


def test_unknown_bundle_and_part(folder: Path) -> None:
    with pytest.raises(WeightsError, match="mobile"):
        bundle_folder("no-such-family")
    with pytest.raises(WeightsError, match="net"):
        load_part(folder, "encoder")


def test_a_damaged_manifest_is_named(folder: Path) -> None:
    (folder / bundle.MANIFEST).write_text("{")
    with pytest.raises(WeightsError, match=r"manifest\.json.*Copy the folder anew"):
        load_part(folder, "net")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"shards": []}', '{"shards": {"a.safetensors": 3}}', '{"shards": {"a.pkl": {}}}']
)
def test_a_manifest_of_something_else_is_named(folder: Path, text: str) -> None:
    (folder / bundle.MANIFEST).write_text(text)
    with pytest.raises(WeightsError, match="does not list the shards"):
        parts(folder)


def test_parts_are_described_without_their_weights(folder: Path) -> None:
    (size, licence) = describe_parts(folder)["net"]
    assert size == sum(path.stat().st_size for path in folder.glob("net-*"))
    assert licence == "Apache-2.0"
    for path in folder.glob("net-*"):
        path.unlink()
    assert describe_parts(folder)["net"] == (size, None)


def test_embedded_bundle_is_whole_and_small() -> None:
    folder = bundle_folder("mobile")
    assert parts(folder) == [
        "cid",
        "detector",
        "encoder",
        "generator",
        "gestures",
        "imprint",
        "kria",
        "landmarks",
        "maar",
        "occlusion",
    ]
    for part in parts(folder):
        load_part(folder, part)
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    assert max(sizes) < 15_000_000
    assert sum(sizes) < 120_000_000


def test_the_judges_are_whole_and_small() -> None:
    folder = bundle_folder("judges")
    assert parts(folder) == ["dlib_resnet", "emotion", "perceptual"]
    for part in parts(folder):
        load_part(folder, part)
    assert max(path.stat().st_size for path in folder.glob("*.safetensors")) < 15_000_000


@pytest.mark.parametrize(
    "config",
    [{"out_features": 2}, {"in_features": 2, "out_features": 2, "later": 1}, {"in_features": 3, "out_features": 2}],
)
def test_what_is_no_network_of_ours_is_named(config: dict, tmp_path: Path) -> None:
    save_part(tmp_path, "net", {"weight": torch.ones(2, 2), "bias": torch.ones(2)}, config, "MIT")
    with pytest.raises(WeightsError, match=r"'net' is no network of this version of DBAF .*Update DBAF"):
        load_network(tmp_path, "net", torch.nn.Linear)


@pytest.mark.parametrize("metadata", [None, {"dbaf": "[]"}, {"dbaf": "{"}, {"other": "{}"}])
def test_a_shard_without_our_metadata_is_named(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    """As a stranger's bundle may hold it, with a manifest that fits."""
    save_part(tmp_path, "net", {"x": torch.ones(2)}, {}, "MIT")
    (shard,) = tmp_path.glob("*.safetensors")
    save_file({"x": torch.ones(2)}, shard, metadata)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    data = shard.read_bytes()
    manifest["shards"][shard.name] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    for read in (lambda: load_part(tmp_path, "net"), lambda: describe_parts(tmp_path)):
        with pytest.raises(WeightsError, match=f"{shard.name} is no shard of a DBAF bundle"):
            read()


def test_numbers_that_fp16_cannot_hold_are_not_saved_as_infinity(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(WeightsError, match="net: x is too large for fp16"):
        save_part(folder, "net", {"x": torch.full((2,), 1e5)}, {}, "MIT")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    save_part(folder, "net", {"x": torch.full((2,), 1e5)}, {}, "MIT", half=False)


def test_a_diverged_network_is_not_saved(folder: Path) -> None:
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    with pytest.raises(WeightsError, match="b is not finite"):
        save_part(folder, "net", {"a": torch.zeros(2), "b": torch.tensor([0.0, float("nan")])}, {}, "MIT")
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before
