from pathlib import Path

import pytest
import torch
from toggling import COLOUR

from dbaf.errors import DbafError
from dbaf.evaluation.calibration import calibrate, calibration_for, large_enough
from dbaf.evaluation.recogniser import Dlib, load_recogniser


def crowd(noise: float) -> tuple[torch.Tensor, list[str]]:
    """Two photos each of 120 people: enough for a threshold of their own."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(120, 8, generator=generator).repeat_interleave(2, 0)
    return centres + noise * torch.randn(240, 8, generator=generator), [str(n // 2) for n in range(240)]


def test_a_large_set_gives_its_own_threshold() -> None:
    calibration = calibration_for(Dlib(), *crowd(0.01), "here")
    assert calibration.own
    assert calibration.tar.value == 1
    assert calibration.withheld is None
    assert (calibration.photos, calibration.people) == (240, 120)


def test_a_small_set_takes_the_stored_one(tmp_path: Path) -> None:
    embeddings, people = crowd(0.01)
    calibration = calibration_for(Dlib(), embeddings[:10], people[:10], "here")
    assert not calibration.own
    assert calibration.data == "lfw/val"
    (tmp_path / "mine.py").write_text(COLOUR)
    with pytest.raises(DbafError, match="too small"):
        calibration_for(load_recogniser(tmp_path / "mine.py"), embeddings[:10], people[:10], "here")


def test_a_blind_recogniser_says_nothing_about_privacy() -> None:
    withheld = calibrate(*crowd(5.0), "here").withheld
    assert withheld is not None
    assert "too blind" in withheld


def test_how_many_are_enough() -> None:
    pairs = [str(n // 2) for n in range(46)]
    assert large_enough(pairs)
    assert not large_enough(pairs[:44])  # 946 impostor pairs
    assert not large_enough([str(n) for n in range(1000)])
