"""`dbaf key`: new keys, telling them apart, and who may open a sealed picture."""

import os
from pathlib import Path

import pytest
from commands import dbaf_, pixels
from fakes import portrait

from dbaf.keys import Key, new_key_file


def test_key_new(tmp_path: Path) -> None:
    result = dbaf_("key", "new", tmp_path / "key")
    assert result.exit_code == 0
    assert os.name != "posix" or (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    Key.from_file(tmp_path / "key")
    assert (tmp_path / "key").read_text().split()[-2] not in result.output


def test_show_tells_keys_apart(keys: list[Path]) -> None:
    shown = {dbaf_("key", "show", key).output for key in keys}
    assert len(shown) == 3
    assert all(len(line.split()[-1]) == 8 for line in shown)


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
