"""Choosing faces: by number, by order, by a painted mask; and that slips are errors."""

import pytest
import torch

from dbaf.errors import PictureError
from dbaf.faces import Face, Selection
from dbaf.faces.choose import RANKS, by_mask, by_number, by_rank, parse_numbers


def face(x: float, y: float, side: float) -> Face:
    mesh = torch.rand(468, 3, generator=torch.Generator().manual_seed(0))
    mesh = (mesh - mesh.amin(0)) / (mesh.amax(0) - mesh.amin(0))
    return Face.from_mesh(mesh * side + torch.tensor([x, y, 0]), 0.9)


FACES = [face(0, 50, 10), face(40, 0, 30), face(80, 20, 20)]  # left to right, in a picture of 100 x 100


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1", {1}), (" 1,3 - 5 ", {1, 3, 4, 5}), ("2;2 7", {2, 7}), ("3-3", {3})],
)
def test_numbers(text: str, numbers: set[int]) -> None:
    assert parse_numbers(text) == numbers


@pytest.mark.parametrize(
    "text", ["", "0", "x", "1,", "5-3", "-1", "1-", "1.5", "99999999999999", "1-99999999", "\u0663"]
)
def test_slips_in_numbers_are_errors(text: str) -> None:
    with pytest.raises(PictureError, match="is no number of a face"):
        parse_numbers(text)


def test_a_number_that_is_not_there_is_an_error() -> None:
    assert by_number(FACES, {1, 3}) == [True, False, True]
    with pytest.raises(PictureError, match="There is no face 4: the picture has 3"):
        by_number(FACES, {2, 4})


@pytest.mark.parametrize(
    ("rank", "first"),
    [("largest", 1), ("nearest the middle", 1), ("leftmost", 0), ("rightmost", 2), ("topmost", 1), ("bottommost", 0)],
)
def test_ranks(rank: str, first: int) -> None:
    assert by_rank(FACES, rank, 1, 100, 100) == [index == first for index in range(3)]
    assert by_rank(FACES, rank, 9, 100, 100) == [True] * 3
    assert by_rank([], rank, 1, 100, 100) == []


def test_every_rank_is_tried_above() -> None:
    assert len(RANKS) == 6


def test_equal_faces_are_taken_left_first() -> None:
    assert by_rank([face(x, 0, 10) for x in (0, 20, 40)], "largest", 2, 50, 50) == [True, True, False]


def test_a_mask_chooses_what_it_covers() -> None:
    mask = torch.zeros(100, 100)
    mask[:12, 40:70] = 1  # 12 of 30 rows of the second face
    mask[20:24, 80:] = 1  # 4 of 20 rows of the third
    assert by_mask(FACES, mask) == [False, True, False]
    assert by_mask(FACES, torch.ones(100, 100)) == [True] * 3
    assert by_mask([face(200, 200, 10)], torch.ones(100, 100)) == [False]  # outside the picture


def test_a_selection_keeps_order_and_parts_all() -> None:
    selection = Selection(FACES, [True, False, True])
    assert selection.chosen == [FACES[0], FACES[2]]
    assert selection.spared == [FACES[1]]
