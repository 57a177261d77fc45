"""The rectangles around what a mask touches."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from dbaf.capsule.regions import mask_regions, merge


def test_one_rectangle_a_face() -> None:
    mask = torch.zeros(1, 1, 100, 130)
    mask[..., 10:20, 5:9] = 0.001
    mask[..., 60:99, 80:130] = 1
    assert mask_regions(mask) == [(5, 10, 9, 20), (80, 60, 130, 99)]
    assert mask_regions(torch.zeros(1, 1, 5, 5)) == []


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 70)), max_size=12))
def test_hold_every_touched_pixel_and_overlap_nowhere(points: list[tuple[int, int]]) -> None:
    mask = torch.zeros(1, 1, 71, 91)
    for x, y in points:
        mask[0, 0, y, x] = 0.5
    count = torch.zeros(71, 91)
    for x0, y0, x1, y1 in mask_regions(mask):
        count[y0:y1, x0:x1] += 1
    assert count.max() <= 1
    assert (count[mask[0, 0] > 0] == 1).all()


def test_overlapping_chain_becomes_one() -> None:
    assert merge([(0, 0, 2, 2), (3, 3, 5, 5), (10, 0, 11, 1), (1, 1, 4, 4)]) == [(0, 0, 5, 5), (10, 0, 11, 1)]
    assert merge([(0, 0, 2, 2), (2, 0, 4, 2)]) == [(0, 0, 2, 2), (2, 0, 4, 2)]
