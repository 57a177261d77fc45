"""`anonymize --album`, with stand-ins for the networks; who is who is tested in `test_album.py`."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import dbaf_
from fakes import FakePipeline, FakeResult, Nonces, portrait, use_fake
from typer.testing import Result

import dbaf.album
from dbaf.images import read_picture
from dbaf.keys import Key

steps: list[tuple[str, str]] = []
"""What was done, in order: ("look", name of the picture) and ("hold", what was held)."""


class NotingPipeline(FakePipeline):
    def anonymize(
        self, image: torch.Tensor, key: Key, nonce: Nonces = None, refine_steps: int = 0, **options: Any
    ) -> FakeResult:
        steps.append(("hold", options["held"]))
        return super().anonymize(image, key, nonce, refine_steps)


class FakeAlbum:
    def __init__(self, pipeline: FakePipeline, min_face: float) -> None:
        pass

    def look(self, source: Hashable, picture: torch.Tensor) -> None:
        assert isinstance(source, Path)
        steps.append(("look", source.name))

    def held(self, source: Hashable) -> str:
        assert isinstance(source, Path)
        return f"people of {source.name}"


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake(monkeypatch, NotingPipeline)
    monkeypatch.setattr(dbaf.album, "Album", FakeAlbum)
    steps.clear()


@pytest.fixture
def folder(key: Path) -> Path:
    """Two pictures, in a folder beside the key."""
    portrait(key.with_name("in") / "a.png")
    portrait(key.with_name("in") / "b.png", (20, 16))
    return key.with_name("in")


def anonymize(folder: Path, name: str, *options: str, key: bool = True) -> Result:
    key_file = ["--key-file", folder.with_name("key")] if key else []
    return dbaf_("anonymize", folder, "-o", folder.with_name(name), *key_file, "--album", *options)


def linkage(folder: Path, name: str) -> str:
    record = read_picture(folder.parent / name / "a.png").record
    assert record is not None
    return str(record["linkage"])


def test_all_pictures_are_looked_at_before_the_first_is_rendered(folder: Path) -> None:
    assert anonymize(folder, "safe").exit_code == 0
    assert steps == [
        ("look", "a.png"),
        ("look", "b.png"),
        ("hold", "people of a.png"),
        ("hold", "people of b.png"),
    ]
    assert linkage(folder, "safe") == "linked"


def test_what_was_done_before_still_counts_in_an_album(folder: Path) -> None:
    assert anonymize(folder, "safe").exit_code == 0
    portrait(folder / "c.png", (28, 16))
    steps.clear()
    assert anonymize(folder, "safe", "--skip-existing").exit_code == 0
    assert [what for step, what in steps if step == "look"] == ["a.png", "b.png", "c.png"]
    assert [what for step, what in steps if step == "hold"] == ["people of c.png"]


def test_a_damaged_picture_costs_an_album_only_itself(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"no picture")
    result = anonymize(folder, "safe")
    assert result.exit_code == 1
    assert "1 written" in result.output
    assert steps == [("look", "b.png"), ("hold", "people of b.png")]


def test_an_output_of_ours_is_nobody_in_an_album(folder: Path) -> None:
    assert anonymize(folder, "safe").exit_code == 0
    steps.clear()
    assert anonymize(folder.parent / "safe", "twice").exit_code == 1
    assert steps == []


def test_linkage_has_the_last_word(folder: Path) -> None:
    assert anonymize(folder, "unlinked", "--linkage", "unlinked").exit_code == 0
    assert linkage(folder, "unlinked") == "unlinked"
    assert steps == [("hold", None), ("hold", None)]
    assert anonymize(folder, "irreversible", "--linkage", "irreversible", key=False).exit_code == 0
    assert ("hold", "people of a.png") in steps


def test_a_clip_is_no_album(folder: Path) -> None:
    result = anonymize(folder, "safe", "--clip")
    assert result.exit_code == 2
    assert not (folder.parent / "safe").exists()
