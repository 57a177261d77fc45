"""What a face does, on meshes drawn by hand."""

import math

import torch

from dbaf.faces import Face
from dbaf.faces.gestures import GESTURES, gestures, gestures_of

OPEN, WIDE, CURVED, LEFT, RIGHT, INNER, OUTER, APART = range(GESTURES)


def mesh(**moved: tuple[float, float]) -> torch.Tensor:
    """[468, 3] of a face 100 px between the eyes; `p13=(0, -4)` moves point 13 by (0, -4) px."""
    points = torch.zeros(468, 3)
    points[:, :2] = torch.tensor([200.0, 250.0])
    places = {33: (130, 200), 133: (170, 200), 362: (230, 200), 263: (270, 200)}
    places |= {159: (150, 194), 145: (150, 206), 386: (250, 194), 374: (250, 206)}
    places |= {160: (140, 195), 158: (160, 195), 153: (160, 205), 144: (140, 205)}
    places |= {385: (240, 195), 387: (260, 195), 373: (260, 205), 380: (240, 205)}
    places |= {55: (180, 170), 285: (220, 170), 70: (120, 170), 300: (280, 170)}
    places |= {13: (200, 300), 14: (200, 302), 61: (170, 300), 291: (230, 300), 4: (200, 250)}
    for index, place in places.items():
        points[index, :2] = torch.tensor(place, dtype=torch.float32)
    for name, move in moved.items():
        points[int(name[1:]), :2] += torch.tensor(move)
    return points


def read(**moved: tuple[float, float]) -> torch.Tensor:
    """[GESTURES]"""
    return gestures_of(Face.from_mesh(mesh(**moved), 1.0))[0]


def changed(**moved: tuple[float, float]) -> set[int]:
    """Which gestures a movement changes."""
    return set(((read(**moved) - read()).abs() > 1e-4).nonzero().flatten().tolist())


def test_each_gesture_is_read_off_its_own_feature() -> None:
    assert changed(p14=(0, 10)) == {OPEN, CURVED}  # the corners stay, and lie higher than the middle of the open mouth
    assert changed(p55=(0, -8), p285=(0, -8)) == {INNER}
    assert changed(p70=(0, -8), p300=(0, -8)) == {OUTER}
    assert changed(p55=(-5, 0), p285=(5, 0)) == {APART}
    assert changed(p159=(0, -3)) == {LEFT}
    assert changed(p386=(0, -3)) == {RIGHT}
    # the corners are among the points that place the square, which may tilt nothing: both move alike
    assert read(p61=(-10, 0), p291=(10, 0))[WIDE] > read()[WIDE] + 0.1
    assert read(p61=(0, -6), p291=(0, -6))[CURVED] < read()[CURVED] - 0.05


def test_gestures_are_in_distances_of_the_eyes() -> None:
    assert abs(float(read(p14=(0, 10))[OPEN]) - 0.12) < 1e-3


def test_size_place_and_roll_of_a_face_do_not_matter() -> None:
    upright = mesh(p14=(0, 10), p55=(0, -8))
    angle = math.radians(25)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    other = upright.clone()
    other[:, :2] = upright[:, :2] @ turn.T * 0.4 + torch.tensor([300.0, 90.0])
    one, two = (gestures_of(Face.from_mesh(points, 1.0)) for points in (upright, other))
    torch.testing.assert_close(one, two, atol=2e-3, rtol=0)


def test_faces_in_a_batch_do_not_matter_to_each_other() -> None:
    both = torch.stack([mesh()[:, :2], mesh(p14=(0, 10))[:, :2]])
    torch.testing.assert_close(gestures(both)[1:], gestures(both[1:]))
