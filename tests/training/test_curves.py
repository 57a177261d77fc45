"""Reading the logs of training runs."""

import json
from pathlib import Path

import pytest

curves = pytest.importorskip("dbaf.training.curves", reason="matplotlib is not installed")


def test_of_a_step_logged_twice_the_last_counts(tmp_path: Path) -> None:
    rows = [
        {"step": 20, "seconds": 1, "rate": 0.1, "loss": 3.0},
        {"step": 40, "seconds": 2, "rate": 0.1, "loss": 2.0, "late": 9.0},
        {"step": 40, "seconds": 1, "rate": 0.1, "loss": 1.0, "late": 8.0},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert curves.read_log(tmp_path / "log.jsonl") == {"loss": ([20, 40], [3.0, 1.0]), "late": ([40], [8.0])}


def test_smoothing_keeps_a_constant_and_the_length() -> None:
    for count in (1, 4, 40):
        assert curves.smooth([2.0] * count) == pytest.approx([2.0] * count)
