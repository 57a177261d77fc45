import math

import pytest
import torch

from dbaf.evaluation.utility import landmark_error, rotation_error, untouched_outside


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


def test_untouched_outside() -> None:
    original = torch.rand(1, 3, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:4, 2:4] = 0.5
    output = original.clone()
    output[..., 2:4, 2:4] = 0
    assert untouched_outside(original, output, mask)
    output[0, 0, 7, 7] += 1e-6
    assert not untouched_outside(original, output, mask)
