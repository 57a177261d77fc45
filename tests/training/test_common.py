"""A training run goes on where it was, and never keeps a diverged state."""

from pathlib import Path

import pytest
import torch

from dbaf.errors import DbafError
from dbaf.training.common import Run


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    run = Run(tmp_path, {"layer": layer}, steps=9, every=0)
    assert run.log(loss=1.0)
    other = torch.nn.Linear(2, 2)
    again = Run(tmp_path, {"layer": other}, steps=9)
    assert again.step == 1
    assert torch.equal(other.weight, layer.weight)


def test_a_finished_run_is_not_continued(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    Run(tmp_path, {"layer": layer}, steps=1, every=0).log(loss=1.0)
    with pytest.raises(DbafError, match="finished, at step 1"):
        Run(tmp_path, {"layer": layer}, steps=1)


def test_a_diverged_run_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    run = Run(tmp_path, {"layer": layer}, steps=9, every=0)
    run.log(loss=1.0)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(RuntimeError, match="loss is nan at step 2"):
        run.log(loss=torch.tensor(float("nan")))
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept
