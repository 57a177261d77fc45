"""Sealing from the command line: exact recovery, changed pictures, and what is refused."""

import shutil
from pathlib import Path

import pytest
from commands import dbaf_, pixels
from fakes import portrait
from PIL import Image

from dbaf.cli import pictures


def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the networks were loaded")

    monkeypatch.setattr(pictures, "load_pipeline", fail)


@pytest.mark.parametrize("place", ["embed", "sidecar"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_recovery_is_exact_and_takes_no_networks(
    place: str, mode: str, tmp_path: Path, keys: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = portrait(tmp_path / "a.png", (60, 50), mode)
    done = dbaf_("anonymize", source, "-o", tmp_path / "out", "--key-file", keys[0], "--seal", place)
    assert done.exit_code == 0, done.output
    sealed = tmp_path / "out" / "a.png"
    assert sealed.with_name("a.png.dbaf").exists() == (place == "sidecar")
    no_networks(monkeypatch)
    back = dbaf_("recover", sealed, "-o", tmp_path / "back", "--key-file", keys[0])
    assert back.exit_code == 0, back.output
    assert "exactly" in back.output
    assert (pixels(tmp_path / "back" / "a.png") == pixels(source)).all()


def test_a_wrong_key_is_an_error_and_writes_nothing(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png")
    dbaf_("anonymize", source, "-o", tmp_path / "out", "--key-file", keys[0], "--seal", "embed")
    back = dbaf_("recover", tmp_path / "out" / "a.png", "-o", tmp_path / "back", "--key-file", keys[2])
    assert back.exit_code == 1
    assert "key" in back.output
    assert not (tmp_path / "back").exists() or not list((tmp_path / "back").iterdir())


def test_a_changed_picture_is_told_and_forced(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png", (60, 50))
    dbaf_("anonymize", source, "-o", tmp_path / "out", "--key-file", keys[0], "--seal", "sidecar")
    shutil.copy(tmp_path / "out" / "a.png.dbaf", tmp_path / "b.jpg.dbaf")
    Image.open(tmp_path / "out" / "a.png").convert("RGB").save(tmp_path / "b.jpg", quality=90)
    command = ("recover", tmp_path / "b.jpg", "-o", tmp_path / "back", "--key-file", keys[0])
    refused = dbaf_(*command)
    assert refused.exit_code == 1
    assert "--force" in refused.output
    forced = dbaf_(*command, "--force")
    assert forced.exit_code == 0, forced.output
    assert (pixels(tmp_path / "back" / "b.face1.png") == pixels(source)).all()  # here everything was changed
    assert not (tmp_path / "back" / "b.png").exists()


def test_what_an_interrupted_run_left_is_replaced_when_it_goes_on(tmp_path: Path, keys: list[Path]) -> None:
    """The run was killed after the sidecar was written and before the picture was."""
    source = portrait(tmp_path / "a.png")
    command = ("anonymize", source, "-o", tmp_path / "out", "--key-file", keys[0], "--seal", "sidecar")
    assert dbaf_(*command).exit_code == 0
    picture, sidecar = tmp_path / "out" / "a.png", tmp_path / "out" / "a.png.dbaf"
    left = sidecar.read_bytes()
    picture.unlink()
    assert dbaf_(*command).exit_code == 1
    assert sidecar.read_bytes() == left
    assert dbaf_(*command, "--skip-existing").exit_code == 0
    assert dbaf_("recover", picture, "-o", tmp_path / "back", "--key-file", keys[0]).exit_code == 0
    assert (pixels(tmp_path / "back" / "a.png") == pixels(source)).all()


def test_a_recipient_needs_a_seal(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png")
    options = ("--key-file", keys[0], "--recipient", keys[1])
    assert dbaf_("anonymize", source, "-o", tmp_path / "out", *options).exit_code == 2
