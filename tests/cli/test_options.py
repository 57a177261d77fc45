"""What the commands ask for: wrong usage, and keys from the environment."""

from pathlib import Path

import pytest
from commands import dbaf_, names, pixels
from fakes import portrait

from dbaf.keys import new_key_file


@pytest.mark.parametrize(
    "arguments",
    [
        ["anonymize", "a.png", "-o", "out"],  # no key
        ["anonymize", "a.png", "-o", "out", "--key-file", "key", "--key-env", "DBAF_TEST_KEY"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "missing"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "a.png"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "key", "--passphrase-env", "DBAF_TEST_NOT_SET"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "key", "--linkage", "loose"],
        ["anonymize", "a.png", "--key-file", "key"],  # no output folder
        ["anonymize", "-o", "out", "--key-file", "key"],  # no input
        ["recover", "missing.png", "-o", "out", "--key-file", "key"],
        ["recover", "a.png", "-o", "a.png", "--key-file", "key"],  # a file as output folder
        ["reconstruct", "empty", "-o", "out"],
        ["reconstruct", "a.png", "-o", "out", "--device", "tpu"],
        ["reconstruct", "a.png", "-o", "out", "--key-file", "key"],
        ["weights", "convert", "other", "a.png", "out"],
        ["key", "new", "key"],  # exists
        ["unknown"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_writes_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DBAF_TEST_NOT_SET", raising=False)
    portrait(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    new_key_file(tmp_path / "key")
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    result = dbaf_(*arguments)
    assert result.exit_code == 2
    assert result.output.strip()
    assert "Traceback" not in result.output
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    assert not (tmp_path / "out").exists()


def test_key_and_passphrase_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBAF_TEST_PASS", "correct horse battery")
    assert dbaf_("key", "new", tmp_path / "key", "--passphrase-env", "DBAF_TEST_PASS").exit_code == 0
    monkeypatch.setenv("DBAF_TEST_KEY", (tmp_path / "key").read_text())
    source = portrait(tmp_path / "a.png")
    file = ["--key-file", tmp_path / "key", "--passphrase-env", "DBAF_TEST_PASS"]
    variable = ["--key-env", "DBAF_TEST_KEY", "--passphrase-env", "DBAF_TEST_PASS"]
    assert dbaf_("anonymize", source, "-o", tmp_path / "anon", *file).exit_code == 0
    assert dbaf_("recover", tmp_path / "anon", "-o", tmp_path / "back", *variable).exit_code == 0
    assert (pixels(tmp_path / "back" / "a.png") == pixels(source)).all()
    monkeypatch.setenv("DBAF_TEST_PASS", "correct horse batterY")
    result = dbaf_("recover", tmp_path / "anon", "-o", tmp_path / "wrong", *file)
    assert result.exit_code == 2
    assert "does not open" in result.output
