"""Following faces and smoothing what is measured."""

import torch

from dbaf.faces import Face
from dbaf.faces.track import iou, match, smoothing

CODES = torch.eye(4)


def face(x: float, y: float = 50.0) -> Face:
    mesh = torch.rand(468, 3, generator=torch.Generator().manual_seed(1)) * 40
    return Face.from_mesh(mesh + torch.tensor([x, y, 0.0]), 0.9)


def test_overlap_of_boxes() -> None:
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == 2 / 6
    assert iou((0, 0, 2, 2), (5, 5, 6, 6)) == 0


def test_faces_are_found_again_whatever_their_order() -> None:
    before, now = [face(0), face(100)], [face(105), face(4), face(200)]
    assert match(before, CODES[:2], now, CODES[[1, 0, 2]]) == [1, 0, None]
    assert match([], CODES[:0], now, CODES[:3]) == [None] * 3
    assert match(before, CODES[:2], [], CODES[:0]) == []


def test_looks_decide_where_places_do_not() -> None:
    before, now = [face(0), face(10)], [face(5), face(6)]
    assert match(before, CODES[:2], now, CODES[[1, 0]]) == [1, 0]


def test_another_person_in_the_same_place_is_another_person() -> None:
    assert match([face(0)], CODES[:1], [face(0)], CODES[1:2]) == [None]


def test_one_face_is_one_face() -> None:
    assert match([face(0)], CODES[:1], [face(8), face(2)], CODES[[0, 0]]) == [None, 0]


def test_smoothing_keeps_steady_motion_and_takes_noise_away() -> None:
    times = list(range(10, 19))
    line = torch.tensor(times, dtype=torch.float64) * 3 + 7
    noise = torch.randn(4000, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for time in (10, 14, 18):  # also where a track begins and ends
        weights = smoothing(times, time)
        assert torch.allclose(weights @ line, torch.tensor(time * 3 + 7.0, dtype=torch.float64))
    assert (noise @ smoothing(times, 14)).std() < 0.5
    gap = [10, 11, 17, 18]
    assert torch.allclose(
        smoothing(gap, 11) @ (torch.tensor(gap, dtype=torch.float64) * 3), torch.tensor(33.0).double()
    )
    assert smoothing([5], 5).tolist() == [1.0]
