"""The rectangles of a picture that a mask touches."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Region = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, x right, y down; x1 and y1 lie just outside."""

_BLOCK = 16


def mask_regions(mask: "torch.Tensor") -> list[Region]:
    """Bounding rectangles of the connected parts of a mask, merged where they overlap.

    Parts nearer than about 16 pixels count as one.

    Args:
        mask: [1, 1, H, W]; everything that is not exactly 0 belongs to a part.

    Returns:
        Rectangles that overlap nowhere and hold every non-zero pixel, left to right, then top to bottom.
    """
    touched = mask[0, 0].ne(0).cpu().numpy()  # [H, W]
    height, width = touched.shape
    rows, columns = np.arange(0, height, _BLOCK), np.arange(0, width, _BLOCK)
    blocks = np.logical_or.reduceat(np.logical_or.reduceat(touched, rows, 0), columns, 1)
    left = {(int(row), int(column)) for row, column in np.argwhere(blocks)}
    found = []
    while left:
        part = [left.pop()]
        for row, column in part:  # grows while it is walked
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            part.extend(near)
        y0, x0 = (min(axis) * _BLOCK for axis in zip(*part, strict=True))
        y1, x1 = ((max(axis) + 1) * _BLOCK for axis in zip(*part, strict=True))
        inside = touched[y0:y1, x0:x1]
        ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        found.append((int(x0 + xs[0]), int(y0 + ys[0]), int(x0 + xs[-1] + 1), int(y0 + ys[-1] + 1)))
    return merge(found)


def merge(regions: list[Region]) -> list[Region]:
    """Replace overlapping rectangles by their common bounding rectangle until none overlap; sorted."""
    merged: list[Region] = []
    for region in regions:
        while overlapping := [other for other in merged if _overlap(region, other)]:
            merged = [other for other in merged if other not in overlapping]
            x0, y0, x1, y1 = zip(region, *overlapping, strict=True)
            region = min(x0), min(y0), max(x1), max(y1)
        merged.append(region)
    return sorted(merged)


def _overlap(a: Region, b: Region) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
