"""Bending a face to another contour, on meshes that are ellipses."""

import torch

from dbaf.faces.contour import bend
from dbaf.faces.face import LEFT_EYE, LEFT_MOUTH, NOSE_TIP, OVAL, RIGHT_EYE, RIGHT_MOUTH


def mesh(width: float, height: float) -> torch.Tensor:
    """[468, 2]: contour on an ellipse about the middle of the square, everything else near the middle."""
    points = torch.full((468, 2), 0.5, dtype=torch.float64)
    angle = torch.arange(len(OVAL), dtype=torch.float64) / len(OVAL) * 2 * torch.pi
    points[list(OVAL)] += torch.stack([angle.sin() * width, -angle.cos() * height], dim=1)
    points[list(LEFT_EYE)] += torch.tensor([-0.07, -0.08])
    points[list(RIGHT_EYE)] += torch.tensor([0.07, -0.08])
    points[NOSE_TIP] += torch.tensor([0.0, 0.04])
    return points


def dot(x: float, y: float, size: int = 200) -> torch.Tensor:
    """A smooth spot at (x, y) of the square, [1, 3, size, size] in [-1, 1]."""
    steps = (torch.arange(size) + 0.5) / size
    spot = torch.exp(-((steps[None, :] - x).square() + (steps[:, None] - y).square()) / 0.015**2)
    return (2 * spot - 1).expand(1, 3, size, size).clone()


def brightest(picture: torch.Tensor) -> tuple[float, float]:
    place = int(picture[0, 0].argmax())
    size = picture.shape[-1]
    return (place % size + 0.5) / size, (place // size + 0.5) / size


def test_the_same_contour_changes_nothing() -> None:
    patch = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(bend(patch, mesh(0.2, 0.3), mesh(0.2, 0.3)), patch, atol=1e-4)


def test_the_contour_moves_to_the_old_one() -> None:
    x, y = brightest(bend(dot(0.5, 0.75), mesh(0.18, 0.25), mesh(0.22, 0.31)))
    assert abs(x - 0.5) < 0.01
    assert abs(y - 0.81) < 0.015


def test_of_a_turned_face_the_edge_moves_and_not_the_oval_on_its_hidden_side() -> None:
    new, old = mesh(0.18, 0.28), mesh(0.18, 0.28)
    cheek = next(index for index in range(468) if index not in OVAL and (new[index] == 0.5).all())
    new[cheek], old[cheek] = torch.tensor([0.72, 0.55]), torch.tensor([0.77, 0.55])  # beyond the oval
    x, y = brightest(bend(dot(0.72, 0.55), new, old))
    assert abs(x - 0.77) < 0.01
    assert abs(y - 0.55) < 0.015


def test_features_and_border_stay() -> None:
    for x, y in ((0.43, 0.42), (0.57, 0.42), (0.5, 0.54), (0.97, 0.03)):
        found = brightest(bend(dot(x, y), mesh(0.18, 0.25), mesh(0.22, 0.31)))
        assert abs(found[0] - x) < 0.015
        assert abs(found[1] - y) < 0.015


def test_features_are_laid_where_the_old_ones_lie_and_keep_their_shape() -> None:
    new, old = mesh(0.2, 0.3), mesh(0.2, 0.3)
    old[[*LEFT_EYE, *RIGHT_EYE, NOSE_TIP, LEFT_MOUTH, RIGHT_MOUTH]] += torch.tensor([0.02, -0.01])
    old[NOSE_TIP] += torch.tensor([0.0, 0.03])  # a nose of another length
    for x, y in ((0.43, 0.42), (0.57, 0.42), (0.5, 0.54)):
        found = brightest(bend(dot(x, y), new, old))
        assert abs(found[0] - x - 0.02) < 0.01
        assert abs(found[1] - y + 0.01) < 0.01


def test_far_contours_are_not_followed_all_the_way() -> None:
    patch = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    bent = bend(patch, mesh(0.1, 0.1), mesh(0.45, 0.45))
    assert bent.isfinite().all()
    assert bent.abs().max() <= 1
