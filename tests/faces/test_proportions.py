"""Proportions, on a made-up mesh that looks ahead, and on the same one turned and grown."""

import math

import pytest
import torch

from dbaf.faces.face import BROWS, LEFT_EYE, RIGHT_EYE, five_points
from dbaf.faces.proportions import COUNT, FEATURES, MOUTH, NOSE, WINGS, as_rendered, moved_by


def face() -> torch.Tensor:
    """[468, 2], eyes at y = 0 and 100 apart, the mouth at y = 100."""
    mesh = torch.zeros(468, 2, dtype=torch.float64)
    corners = [(-20, 0), (-8, -6), (8, -6), (20, 0), (8, 6), (-8, 6)]
    for eye, x in ((LEFT_EYE, -50), (RIGHT_EYE, 50)):
        mesh[list(eye)] = torch.tensor(corners, dtype=torch.float64) + torch.tensor([x, 0])
    mesh[list(BROWS)] = torch.stack([torch.linspace(-80, 80, len(BROWS)), torch.full((len(BROWS),), -30.0)], 1).double()
    mesh[list(NOSE)] = torch.tensor([0.0, 55]).double()
    mesh[[98, 129]], mesh[[327, 358]] = torch.tensor([-20.0, 55]).double(), torch.tensor([20.0, 55]).double()
    mesh[list(MOUTH)] = torch.tensor([0.0, 100]).double()
    mesh[61], mesh[291] = torch.tensor([-40.0, 100]).double(), torch.tensor([40.0, 100]).double()
    return mesh


def moved(mesh: torch.Tensor, which: int, amount: float = 1) -> torch.Tensor:
    """The mesh with one of its proportions changed."""
    proportions = as_rendered(1)[0]
    proportions[which] = amount
    mesh = mesh.clone()
    mesh[list(FEATURES)] += moved_by(mesh, proportions)
    return mesh


def width(mesh: torch.Tensor, left: int, right: int) -> float:
    return float((mesh[right] - mesh[left]).norm())


def test_no_proportions_move_nothing() -> None:
    assert not moved_by(face(), as_rendered(1)[0]).any()


def test_each_does_what_its_name_says() -> None:
    old = face()
    longer, lower, tipped, wider, broader, larger, slanted, raised = (moved(old, which) for which in range(COUNT))
    assert longer[4, 1] == pytest.approx(55 + 5)
    assert longer[61, 1] == pytest.approx(100 + 5)
    assert lower[4, 1] == 55
    assert lower[61, 1] == pytest.approx(100 + 4.5)
    assert tipped[4, 1] == pytest.approx(55 + 5)
    assert tipped[2, 1] == 55
    assert width(wider, WINGS[1], WINGS[3]) == pytest.approx(40 * 1.14)
    assert width(broader, 61, 291) == pytest.approx(80 * 1.13)
    assert width(larger, 33, 133) == pytest.approx(40 * 1.17)
    for outer, inner in ((33, 133), (263, 362)):
        assert slanted[outer, 1] < -2 < 2 < slanted[inner, 1]
    assert raised[66, 1] == pytest.approx(-30 - 5)


@pytest.mark.parametrize("which", range(COUNT))
def test_pupils_stay_and_minus_is_the_other_way(which: int) -> None:
    old = face()
    there, other = moved(old, which), moved(old, which, -1)
    assert not torch.equal(there, old)
    torch.testing.assert_close(there + other, 2 * old)
    torch.testing.assert_close(five_points(there)[:2], five_points(old)[:2])


def test_faces_turned_and_grown_are_changed_alike() -> None:
    turn = 3 * torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]], dtype=torch.float64)
    proportions = torch.tensor([1.0, -1, -1, 1, 1, -1, 1, -1])
    torch.testing.assert_close(moved_by(face() @ turn.T + 7, proportions), moved_by(face(), proportions) @ turn.T)
