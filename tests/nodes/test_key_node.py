"""DBAF Key: names in the graph, secrets outside."""

import os
from pathlib import Path
from typing import Any

import pytest

from dbaf.errors import SecretError
from dbaf.keys import Key, new_key_file

ENVIRONMENT = "environment variable"
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def folder(host: Any) -> Path:
    folder = host.root / "user" / "__dbaf_keys"
    folder.mkdir(parents=True)
    return folder


def choices(nodes: dict[str, Any]) -> list[str]:
    return nodes["DBAF_Key"].define_schema().inputs[0].options


def opened(nodes: dict[str, Any], name: str) -> Key:
    (key,) = nodes["DBAF_Key"].execute(name).args
    assert isinstance(key, Key)
    return key


def same(first: Key, second: Key) -> bool:
    return bool((first.latent_noise() == second.latent_noise()).all())


def test_files_are_offered_by_name(folder: Path, nodes: dict[str, Any]) -> None:
    new_key_file(folder / "family")
    new_key_file(folder / "archive.key")
    (folder / ".hidden").write_text("x")
    (folder / "sub").mkdir()
    assert choices(nodes) == [ENVIRONMENT, "archive.key", "family"]
    assert same(opened(nodes, "family"), Key.from_file(folder / "family"))


def test_folder_is_made_and_private(host: Any, nodes: dict[str, Any]) -> None:
    assert choices(nodes) == [ENVIRONMENT]
    assert (host.root / "user" / "__dbaf_keys").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["../outside", "gone", "/etc/hostname", ""])
def test_only_files_of_the_folder(folder: Path, nodes: dict[str, Any], name: str) -> None:
    new_key_file(folder.parent / "outside")
    with pytest.raises(SecretError, match="no key of this name"):
        nodes["DBAF_Key"].execute(name)


def test_environment(folder: Path, nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SecretError, match="neither DBAF_KEY nor DBAF_KEY_FILE"):
        nodes["DBAF_Key"].execute(ENVIRONMENT)
    new_key_file(folder / "a")
    new_key_file(folder / "b")
    monkeypatch.setenv("DBAF_KEY_FILE", str(folder / "a"))
    assert same(opened(nodes, ENVIRONMENT), Key.from_file(folder / "a"))
    monkeypatch.setenv("DBAF_KEY", (folder / "b").read_text())
    assert same(opened(nodes, ENVIRONMENT), Key.from_file(folder / "b"))


def test_passphrase_comes_from_the_environment(
    folder: Path, nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key_file(folder / "raw")
    new_key_file(folder / "locked", PASSPHRASE)
    (folder / "damaged").write_text((folder / "raw").read_text()[:-2])
    with pytest.raises(SecretError, match="environment variable DBAF_PASSPHRASE"):
        nodes["DBAF_Key"].execute("locked")
    monkeypatch.setenv("DBAF_PASSPHRASE", PASSPHRASE)
    assert same(opened(nodes, "locked"), Key.from_file(folder / "locked", PASSPHRASE))
    assert same(opened(nodes, "raw"), Key.from_file(folder / "raw"))  # needs none: not an error
    with pytest.raises(SecretError, match="damaged"):
        nodes["DBAF_Key"].execute("damaged")
    monkeypatch.setenv("DBAF_PASSPHRASE", "another one entirely")
    with pytest.raises(SecretError) as error:
        nodes["DBAF_Key"].execute("locked")
    assert "another" not in str(error.value)


def test_fingerprint_is_stable_and_tells_nothing(folder: Path, nodes: dict[str, Any]) -> None:
    path = folder / "family"
    new_key_file(path)
    node = nodes["DBAF_Key"]
    first = node.fingerprint_inputs("family")
    assert first == node.fingerprint_inputs("family") == str(path.stat().st_mtime_ns)
    os.utime(path, ns=(1, 1))
    assert node.fingerprint_inputs("family") == "1"
    assert node.fingerprint_inputs(ENVIRONMENT) == ""
