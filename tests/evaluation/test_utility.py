import math

import pytest
import torch
from toggling import face

from dbaf.evaluation.utility import background_psnr, landmark_error, rotation_error, squares


def mesh() -> torch.Tensor:
    return torch.rand(468, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([100.0, 130.0, 60.0])


def test_landmark_error_of_a_shift() -> None:
    original = mesh()
    original[[33, 133], :2] = torch.tensor([20.0, 50.0])
    original[[263, 362], :2] = torch.tensor([80.0, 50.0])
    assert landmark_error(original, original) == 0
    assert landmark_error(original, original + torch.tensor([0.0, 6.0, 0.0])) == pytest.approx(0.1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_error_finds_the_angle(axis: int) -> None:
    """A turn about y is yaw, about x pitch, about z roll; size and place do not matter."""
    angle = math.radians(17)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = [
        torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]),
        torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]),
        torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]),
    ][axis]
    angles = rotation_error(mesh(), mesh() @ turn.T * 1.3 + 40)
    expected = [0.0, 0.0, 0.0]
    expected[axis] = 17.0
    assert angles == pytest.approx(expected, abs=1e-3)


def test_background_psnr() -> None:
    original = torch.zeros(1, 3, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:4, 2:4] = 0.5
    output = original.clone()
    output[..., 2:4, 2:4] = 1
    assert background_psnr(original, output, mask) is None
    output[mask.expand_as(output) == 0] = 0.2
    assert background_psnr(original, output, mask) == pytest.approx(20)  # a tenth of the range
    assert background_psnr(original, output, torch.ones_like(mask)) is None


def test_squares_hold_the_faces_and_not_the_corners() -> None:
    mask = squares([face(50, 60)], 120, 160)
    assert mask.shape == (1, 1, 120, 160)
    assert mask[0, 0, 60, 50] == 1
    assert mask[0, 0, 0, 0] == mask[0, 0, -1, -1] == 0
