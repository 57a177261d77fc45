"""Which photos benchmarks/privacy.py takes: the same on every machine, wherever the data lie."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "privacy.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("privacy_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(folder: Path) -> Path:
    for person in range(40):
        for photo in range(person % 4 + 1):
            path = folder / f"person_{person:02d}" / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (folder / "LICENSE").touch()
    return folder


def test_two_photos_a_person_and_the_same_everywhere(script: ModuleType, tmp_path: Path) -> None:
    chosen = [script.choose(script.pictures(make(tmp_path / name)), 20) for name in ("here", "there")]
    labels = [[script.label(path) for path in photos] for photos in chosen]
    assert labels[0] == labels[1]
    assert len(labels[0]) == 20
    assert len({label.split("/")[0] for label in labels[0]}) == 10
    assert all(one.split("/")[0] == two.split("/")[0] for one, two in zip(labels[0][::2], labels[0][1::2], strict=True))


def test_never_more_people_than_there_are(script: ModuleType, tmp_path: Path) -> None:
    assert len(script.choose(script.pictures(make(tmp_path)), 1000)) == 60  # 30 people have two photos


def test_empty_folder_is_refused(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No photos"):
        script.pictures(tmp_path)
