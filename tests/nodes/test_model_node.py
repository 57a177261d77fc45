"""Load DBAF Model: which models can be chosen, and which folder is taken."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from weights.hub_server import Hub, Repo, serve, use

from dbaf.errors import WeightsError
from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import EMBEDDED, MANIFEST, save_part


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were loaded; nothing is."""
    folders: list[Path] = []
    monkeypatch.setattr(Pipeline, "from_pretrained", lambda name, device: folders.append(Path(name)))
    return folders


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub, server = serve()
    use(hub, str(tmp_path / "cache"), monkeypatch)
    yield hub
    server.shutdown()
    server.server_close()


def model(folder: Path, part: str = "generator") -> Path:
    save_part(folder, part, {"x": torch.ones(2)}, {}, "MIT")
    return folder


def choices(nodes: dict[str, Any]) -> list[str]:
    return nodes["DBAF_LoadModel"].define_schema().inputs[0].options


def test_only_models_can_be_chosen(nodes: dict[str, Any], tmp_path: Path) -> None:
    assert choices(nodes) == ["mobile"]
    model(tmp_path / "models" / "dbaf" / "mine")
    model(tmp_path / "models" / "dbaf" / "judges_of_mine", "dlib_resnet")
    damaged = model(tmp_path / "models" / "dbaf" / "damaged") / MANIFEST
    damaged.write_text("{")  # chosen, it is an error; but the pack loads
    assert choices(nodes) == ["damaged", "mine", "mobile"]


def test_a_local_folder_wins(nodes: dict[str, Any], tmp_path: Path, loaded: list[Path]) -> None:
    node = nodes["DBAF_LoadModel"]
    node.execute("mobile")
    mine = model(tmp_path / "models" / "dbaf" / "mobile")
    assert choices(nodes) == ["mobile"]
    node.execute("mobile")
    assert loaded == [EMBEDDED / "mobile", mine]


def test_a_model_of_the_hub(nodes: dict[str, Any], host: Any, hub: Hub, tmp_path: Path, loaded: list[Path]) -> None:
    source = model(tmp_path / "source")
    repo = hub.repos["some-one/faces"] = Repo()
    commit = repo.commit({path.name: path.read_bytes() for path in source.iterdir()})
    node = nodes["DBAF_LoadModel"]
    node.execute("mobile", " some-one/faces ")
    node.execute("mobile", f"some-one/faces@{commit}")
    assert loaded[-1].name == commit
    assert host.progress[0] == host.progress[1] > 100
    hub.log.clear()
    mine = tmp_path / "models" / "dbaf" / "some-one" / "faces"
    shutil.copytree(source, mine)  # for a machine without network
    node.execute("mobile", "some-one/faces")
    assert loaded[-1] == mine
    assert not hub.log


def test_a_failed_download_is_one_clear_sentence(
    nodes: dict[str, Any], hub: Hub, tmp_path: Path, loaded: list[Path]
) -> None:
    with pytest.raises(WeightsError, match="no such repository") as error:
        nodes["DBAF_LoadModel"].execute("mobile", "no/body")
    text = str(error.value)
    assert str(tmp_path / "models" / "dbaf" / "no/body") in text
    assert "python -m dbaf weights fetch no/body --revision main" in text
    assert "\n" not in text
    assert not loaded


def test_a_download_can_be_cancelled(
    nodes: dict[str, Any], host: Any, hub: Hub, tmp_path: Path, loaded: list[Path]
) -> None:
    source = model(tmp_path / "source")
    model(source, "encoder")
    repo = hub.repos["some-one/faces"] = Repo()
    repo.commit({path.name: path.read_bytes() for path in source.iterdir()})
    host.cancel_after = 1
    with pytest.raises(Exception, match=r"^$") as stopped:
        nodes["DBAF_LoadModel"].execute("mobile", "some-one/faces")
    assert type(stopped.value).__name__ == "CancelledError"
    assert not loaded


@pytest.mark.parametrize("name", ["/etc", "../../elsewhere", "some/../../where", "one", "https://huggingface.co/a/b"])
def test_a_workflow_cannot_name_any_folder(nodes: dict[str, Any], loaded: list[Path], name: str) -> None:
    with pytest.raises(WeightsError, match="'hub' takes owner/name"):
        nodes["DBAF_LoadModel"].execute("mobile", name)
    assert not loaded
