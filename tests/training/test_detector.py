"""Scenes that the detector learns from, and what it is told about them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dbaf.faces.detector import OUTPUTS
from dbaf.pipeline import Pipeline
from dbaf.training.detector import SIDE, anywhere, distance, put


def test_a_crop_lies_where_it_was_put() -> None:
    """Its middle is where the matrix has its zero, and it covers about its side's square."""
    for seed in range(5):
        side, matrix = anywhere(np.random.default_rng(seed), 300.0)
        scene = put(torch.zeros(1, 3, SIDE, SIDE), torch.ones(1, 3, 256, 256), side, matrix)[0, 0]
        centre = -torch.linalg.inv(matrix[:, :2]) @ matrix[:, 2]  # -1 to 1
        column, row = ((centre + 1) / 2 * SIDE).int().tolist()
        assert scene[row, column] == pytest.approx(1, abs=0.01)
        assert 0 < float(scene.sum()) < 1.05 * side**2
    assert float(put(torch.zeros(1, 3, SIDE, SIDE), torch.ones(1, 3, 9, 9), 100.0, middle(100.0)).sum()) == (
        pytest.approx(3 * 100**2, rel=0.03)
    )


def middle(side: float) -> torch.Tensor:
    """The matrix of an upright square in the middle of a scene."""
    return torch.tensor([[SIDE / side, 0, 0], [0, SIDE / side, 0]])


def test_no_face_is_far_from_a_face_a_covered_one_less_and_a_copy_not_at_all(
    pipeline: Pipeline, portrait: torch.Tensor
) -> None:
    small = F.interpolate(portrait, size=256, mode="area").clamp(-1, 1)
    covered = small.clone()
    covered[:, :, 130:] = 0.3
    ground = torch.zeros(1, 3, SIDE, SIDE)
    detector = pipeline.finder.detector
    with torch.no_grad():
        bare, again, other, nobody = (
            detector(put(ground, picture, 200.0, middle(200.0)))
            for picture in (small, small, covered, torch.full_like(small, 0.3))
        )
    far, further, near = distance(other, bare), distance(nobody, bare), distance(again, bare)
    assert float(near["places"]) == float(near["scores"]) == 0
    assert float(far["places"]) > 0.01
    assert 0.1 < float(far["scores"]) < float(further["scores"])
    assert float(further["scores"]) > 0.5


def test_boxes_count_only_where_the_teacher_sees_a_face() -> None:
    shape = (1, sum(OUTPUTS), 4, 4)
    wanted = torch.full(shape, -9.0)
    mine = wanted.clone()
    mine[:, 2:] += 5
    assert float(distance([mine], [wanted])["places"]) == 0
    wanted[:, :2, 1, 2] = mine[:, :2, 1, 2] = 9.0
    assert float(distance([mine], [wanted])["places"]) > 1
