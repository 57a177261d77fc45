"""Sealing from the command line: exact recovery, recipients, changed pictures, and what is refused."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import portrait, use_fake
from PIL import Image
from typer.testing import CliRunner, Result

from dbaf.cli import app, pictures
from dbaf.keys import new_key_file


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake(monkeypatch)


@pytest.fixture
def keys(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("owner", "officer", "stranger")]
    for path in paths:
        new_key_file(path)
    return paths


def dbaf_(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


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


def test_recipients_can_be_named_added_and_replaced(tmp_path: Path, keys: list[Path]) -> None:
    owner, officer, stranger = keys
    source = portrait(tmp_path / "a.png")
    options = ("--key-file", owner, "--seal", "embed", "--recipient", officer)
    dbaf_("anonymize", source, "-o", tmp_path / "out", *options)
    sealed = tmp_path / "out" / "a.png"
    before = pixels(sealed)

    def opens(key: Path) -> bool:
        return dbaf_("recover", sealed, "-o", tmp_path / "back", "--key-file", key, "--overwrite").exit_code == 0

    assert [opens(key) for key in keys] == [True, True, False]
    assert dbaf_("key", "wrap", officer, stranger, sealed).exit_code == 0
    assert [opens(key) for key in keys] == [True, True, True]
    (tmp_path / "new").unlink(missing_ok=True)
    new_key_file(tmp_path / "new")
    assert dbaf_("key", "rotate", owner, tmp_path / "new", sealed).exit_code == 0
    assert [opens(key) for key in (*keys, tmp_path / "new")] == [False, True, True, True]
    assert (pixels(sealed) == before).all()
    refused = dbaf_("key", "rotate", owner, stranger, sealed, source)
    assert refused.exit_code == 1
    assert "There is no capsule in it" in refused.output
    assert "0 changed, 2 failed" in refused.output


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


def test_the_second_key_may_have_a_passphrase_too(
    tmp_path: Path, keys: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFICER", "correct horse battery staple")
    officer, source = tmp_path / "locked", portrait(tmp_path / "a.png")
    new_key_file(officer, "correct horse battery staple")
    options = ("-o", tmp_path / "out", "--key-file", keys[0], "--seal", "embed")
    refused = dbaf_("anonymize", source, *options, "--recipient", officer)
    assert refused.exit_code == 2
    assert "dbaf key wrap" in refused.output
    assert dbaf_("anonymize", source, *options).exit_code == 0
    sealed, passphrase = tmp_path / "out" / "a.png", ("--second-passphrase-env", "OFFICER")
    for command in ("wrap", "rotate"):
        refused = dbaf_("key", command, keys[0], officer, sealed)
        assert refused.exit_code == 2
        assert "--second-passphrase-env" in refused.output
        assert dbaf_("key", command, keys[0], officer, sealed, *passphrase).exit_code == 0
    back = dbaf_("recover", sealed, "-o", tmp_path / "back", "--key-file", officer, "--passphrase-env", "OFFICER")
    assert back.exit_code == 0, back.output


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_private_file_stays_private_when_its_keys_change(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png")
    dbaf_("anonymize", source, "-o", tmp_path / "out", "--key-file", keys[0], "--seal", "embed")
    sealed = tmp_path / "out" / "a.png"
    sealed.chmod(0o600)
    assert dbaf_("key", "wrap", keys[0], keys[1], sealed).exit_code == 0
    assert sealed.stat().st_mode & 0o777 == 0o600


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path, keys: list[Path]) -> None:
    picture = portrait(tmp_path / "a.png")
    with (tmp_path / "a.png.dbaf").open("wb") as sidecar:
        sidecar.truncate(100 * 2**30)  # sparse
    for command in (("recover", picture, "-o", tmp_path / "back", "--key-file", keys[0]), ("inspect", picture)):
        result = dbaf_(*command)
        assert result.exit_code == 1
        assert "a.png.dbaf has 107.4 GB" in result.output


def test_inspect_tells_what_a_picture_carries_and_no_secret(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png", (60, 50))
    dbaf_("anonymize", source, "-o", tmp_path / "out", "--key-file", keys[0], "--seal", "embed")
    told = dbaf_("inspect", tmp_path / "out" / "a.png", source)
    assert told.exit_code == 0, told.output
    assert "unlinked" in told.output
    assert "1 recipient(s), picture unchanged" in told.output
    assert "imprints 0 of 1 faces" in told.output
    found = json.loads(dbaf_("inspect", "--json", tmp_path / "out" / "a.png").output)
    assert found["capsule"]["regions"] == [[0, 0, 60, 50]]
    secret = keys[0].read_text().split()[-2]
    assert secret not in told.output


def test_irreversible_takes_no_key_and_does_not_come_back(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png")
    command = ("anonymize", source, "-o", tmp_path / "out", "--linkage", "irreversible")
    assert dbaf_(*command, "--key-file", keys[0]).exit_code == 2
    assert dbaf_(*command, "--seal", "embed").exit_code == 2
    assert dbaf_(*command).exit_code == 0
    back = dbaf_("recover", tmp_path / "out" / "a.png", "-o", tmp_path / "back", "--key-file", keys[0])
    assert back.exit_code == 1
    assert "its key is gone" in back.output


def test_a_recipient_needs_a_seal(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png")
    options = ("--key-file", keys[0], "--recipient", keys[1])
    assert dbaf_("anonymize", source, "-o", tmp_path / "out", *options).exit_code == 2


def test_show_tells_keys_apart(keys: list[Path]) -> None:
    shown = {dbaf_("key", "show", key).output for key in keys}
    assert len(shown) == 3
    assert all(len(line.split()[-1]) == 8 for line in shown)
