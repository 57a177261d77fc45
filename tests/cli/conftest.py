"""Every command runs on a stand-in for the networks."""

from pathlib import Path

import pytest
from fakes import use_fake

from dbaf.keys import new_key_file


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake(monkeypatch)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key_file(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def keys(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("owner", "officer", "stranger")]
    for path in paths:
        new_key_file(path)
    return paths
