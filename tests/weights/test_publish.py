"""Publishing to a Hub on loopback: what goes there, what is refused, and that it comes back the same."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from weights.hub_server import Hub, Repo, serve, use

from dbaf.errors import WeightsError
from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import EMBEDDED, MANIFEST, bundle_digest, save_part
from dbaf.weights.card import model_card
from dbaf.weights.publish import push

NAME = "some-one/faces"
FIGURE = {"value": 0.25, "low": 0.1, "high": 0.4, "n": 77}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub, server = serve()
    use(hub, str(tmp_path / "cache"), monkeypatch)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_part(tmp_path / "bundle", "generator", {"x": torch.ones(2)}, {}, "MIT | odd\nlicence")
    save_part(tmp_path / "bundle", "kria", {"x": torch.ones(3)}, {}, "Apache-2.0")
    return tmp_path / "bundle"


def report(folder: Path, withheld: str | None = None) -> dict:
    return {
        "model": {"name": "faces", "manifest_sha256": bundle_digest(str(folder))},
        "data": "holiday",
        "recogniser": {"name": "dlib_resnet", "far": 0.001, "tar_on_real_pairs": FIGURE, "withheld": withheld},
        "methods": {"dbaf": {"privacy": None if withheld else {"leak": FIGURE}, "utility": {"face_found": FIGURE}}},
    }


def test_the_shipped_model_goes_there_and_comes_back(hub: Hub, tmp_path: Path) -> None:
    mobile = EMBEDDED / "mobile"
    published = push(mobile, NAME)
    pipeline = Pipeline.from_pretrained(NAME, device="cpu", revision=published.name.revision)
    assert pipeline.digest.hex() == bundle_digest(NAME) == bundle_digest("mobile")


def test_what_is_uploaded(hub: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("an earlier card")
    (folder / "LICENSE").write_text("a licence")
    published = push(folder, NAME)
    files = hub.repos[NAME].commits[published.name.revision]
    assert sorted(files) == sorted(published.files) == sorted(path.name for path in folder.iterdir())
    assert files["README.md"].startswith(b"---\nlicense: other\n")
    assert (folder / "README.md").read_text() == "an earlier card"
    assert not hub.repos[NAME].private


def test_shards_of_an_earlier_version_go(hub: Hub, folder: Path, tmp_path: Path) -> None:
    push(folder, NAME)
    save_part(tmp_path / "smaller", "generator", {"x": torch.zeros(2)}, {}, "MIT")
    files = hub.repos[NAME].commits[push(tmp_path / "smaller", NAME).name.revision]
    assert sorted(files) == ["README.md", "generator-00001-of-00001.safetensors", MANIFEST]


@pytest.mark.parametrize("name", ["weights.pkl", "my.key", ".env", "photos", "other.safetensors"])
def test_other_files_are_refused(hub: Hub, folder: Path, name: str) -> None:
    (folder / name).mkdir() if name == "photos" else (folder / name).write_text("x")
    with pytest.raises(WeightsError, match=f"no part of a bundle: {name}.*Nothing was uploaded"):
        push(folder, NAME)
    assert not hub.log


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_damaged_bundles_are_refused(hub: Hub, folder: Path, damage: str) -> None:
    shard = next(folder.glob("kria*"))
    shard.unlink() if damage == "missing" else shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsError, match=shard.name):
        push(folder, NAME)
    assert not hub.log


@pytest.mark.parametrize("name", ["faces", "a/b/c", "a/b@v1", "../b"])
def test_bad_names_are_refused(hub: Hub, folder: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="give owner/name"):
        push(folder, name)
    assert not hub.log


def test_private_stays_private(hub: Hub, folder: Path) -> None:
    push(folder, NAME, private=True)
    assert hub.repos[NAME].private
    push(folder, NAME)
    assert hub.repos[NAME].private
    hub.repos["some-one/open"] = Repo()
    with pytest.raises(WeightsError, match=r"not private\. Nothing was uploaded"):
        push(folder, "some-one/open", private=True)
    assert not hub.repos["some-one/open"].commits


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_without_the_right(hub: Hub, folder: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(WeightsError, match=r"Cannot publish.*HF_TOKEN") as error:
        push(folder, NAME)
    assert "hf_wrong" not in str(error.value)
    assert not hub.repos


def test_figures_of_other_weights_are_refused(hub: Hub, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report(EMBEDDED / "mobile")))
    with pytest.raises(WeightsError, match="about other weights"):
        push(folder, NAME, report=path)
    path.write_text("{}")
    with pytest.raises(WeightsError, match=r"no report\.json"):
        push(folder, NAME, report=path)
    assert not hub.log
    path.write_text(json.dumps(report(folder)))
    published = push(folder, NAME, report=path)
    files = hub.repos[NAME].commits[published.name.revision]
    assert b"| 25.0% | [10.0%, 40.0%] | 77 |" in files["README.md"]


def test_the_card(folder: Path) -> None:
    from huggingface_hub import ModelCard

    text = model_card(folder, NAME, report(folder))
    card = ModelCard(text)
    assert card.data.license == "other"
    assert card.data.library_name == "dbaf"
    assert "pseudonymization" in card.data.tags
    for words in ("MIT | odd licence", "| kria |", "FFHQ", "Misuse", "pseudonymised", bundle_digest(str(folder))):
        assert words in text, words
    assert "| leak: output passes as the original's person | 25.0% |" in text
    assert "Not measured" in model_card(folder, NAME)
    withheld = model_card(folder, NAME, report(folder, withheld="The recogniser is blind."))
    assert "withheld.** The recogniser is blind." in withheld
    assert "leak" not in withheld


def test_a_fetched_bundle_can_be_published_again(hub: Hub, folder: Path, tmp_path: Path) -> None:
    from dbaf.weights.hub import fetch

    first = push(folder, NAME)
    snapshot = fetch(NAME)
    assert push(snapshot, "some-one/copy").files == first.files
    shutil.rmtree(folder)
    assert bundle_digest("some-one/copy") == bundle_digest(NAME)
