"""Bending a face to another contour, on meshes that are ellipses."""

import pytest
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


# points of lips in the MediaPipe face mesh, from left to right
UPPER, LOWER = (80, 82, 13, 312, 310), (88, 87, 14, 317, 318)  # inner edges
ABOVE, BELOW = (37, 0, 267), (84, 17, 314)  # outer edges
SHARES = {78: -0.9, 80: -0.5, 82: -0.2, 13: 0.0, 312: 0.2, 310: 0.5, 308: 0.9} | {
    **{88: -0.5, 87: -0.2, 14: 0.0, 317: 0.2, 318: 0.5, 61: -1.0, 291: 1.0},
    **{37: -0.2, 0: 0.0, 267: 0.2, 84: -0.2, 17: 0.0, 314: 0.2},
}


def with_mouth(face: torch.Tensor, wide: float, apart: float, lips: float) -> torch.Tensor:
    """The mesh with a mouth about (0.5, 0.64), so wide, its lips so far apart and so thick."""
    face = face.clone()
    for point, share in SHARES.items():
        y = apart / 2 * (point in (*LOWER, *BELOW)) - apart / 2 * (point in (*UPPER, *ABOVE))
        y += lips * (point in BELOW) - lips * (point in ABOVE)
        face[point] = torch.tensor([0.5 + share * wide / 2, 0.64 + y])
    return face


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


def test_a_mouth_does_what_the_old_one_did_with_its_own_lips() -> None:
    new = with_mouth(mesh(0.2, 0.3), wide=0.16, apart=0.02, lips=0.03)
    old = with_mouth(mesh(0.2, 0.3), wide=0.19, apart=0.05, lips=0.01)
    for (x, y), (right, down) in {
        (0.58, 0.64): (0.015, 0.0),  # a corner
        (0.5, 0.65): (0.0, 0.015),  # the lower lip's inner edge
        (0.5, 0.68): (0.0, 0.015),  # ... and its outer one, though the old lip was thinner
        (0.5, 0.60): (0.0, -0.015),
    }.items():
        found = brightest(bend(dot(x, y), new, old))
        assert abs(found[0] - x - right) < 0.008
        assert abs(found[1] - y - down) < 0.008


def test_an_open_mouth_closes_at_least_by_a_third_where_the_old_one_was_closed() -> None:
    new = with_mouth(mesh(0.2, 0.3), wide=0.16, apart=0.04, lips=0.02)
    old = with_mouth(mesh(0.2, 0.3), wide=0.16, apart=0.0, lips=0.02)
    upper, lower = (brightest(bend(dot(0.5, y), new, old))[1] for y in (0.62, 0.66))
    assert 0 < lower - upper < 0.027


@pytest.mark.parametrize(("new", "old"), [(0.0, 0.1), (0.1, 0.0)])
def test_pictures_do_not_fold_however_far_apart_lips_are(new: float, old: float) -> None:
    steps = (torch.arange(128) + 0.5) / 64 - 1
    places = torch.stack([*torch.meshgrid(steps, steps, indexing="xy"), torch.zeros(128, 128)])[None]
    meshes = (with_mouth(mesh(0.2, 0.3), wide=0.18, apart=apart, lips=0.02) for apart in (new, old))
    x, y, _ = bend(places, *meshes)[0, :, 8:-8, 8:-8]  # where each pixel comes from
    across, down = (x.diff(dim=1)[:-1], y.diff(dim=1)[:-1]), (x.diff(dim=0)[:, :-1], y.diff(dim=0)[:, :-1])
    assert (across[0] * down[1] - across[1] * down[0] > 0).all()


def test_far_contours_are_not_followed_all_the_way() -> None:
    patch = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    bent = bend(patch, mesh(0.1, 0.1), mesh(0.45, 0.45))
    assert bent.isfinite().all()
    assert bent.abs().max() <= 1
