"""Which face of one frame is which face of another, and how what is measured in every frame is smoothed in time."""

import math

import torch

from dbaf.faces.face import Face

NEAR = 0.2  # least intersection over union of the boxes of one face in neighbouring frames
ALIKE = 0.5  # least cosine of its codes in them; below it the scene was cut
SIGMA = 2.0  # frames, of the window that smooths


def match(before: list[Face], codes_before: torch.Tensor, now: list[Face], codes: torch.Tensor) -> list[int | None]:
    """For each face of a frame which face of an earlier one it is: boxes that overlap, codes that agree, best first.

    Args:
        before: M faces where they were, or where they are expected.
        codes_before: [M, D] about them, of unit length.
        now: N faces.
        codes: [N, D] of unit length.

    Returns:
        For each of `now` an index into `before`, or None: nobody twice.
    """
    overlap = torch.tensor([[iou(one.box, other.box) for other in before] for one in now]).view(len(now), len(before))
    likeness = (codes @ codes_before.T).cpu()  # [N, M]
    scores = torch.where((overlap >= NEAR) & (likeness >= ALIKE), overlap + likeness, -math.inf)
    found: list[int | None] = [None] * len(now)
    while scores.numel() and float(scores.max()) > -math.inf:
        row, column = divmod(int(scores.argmax()), len(before))
        found[row] = column
        scores[row, :] = scores[:, column] = -math.inf
    return found


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / max(areas - shared, 1e-9)


def smoothing(times: list[int], time: int) -> torch.Tensor:
    """Weights [N] float64 that give, of values measured at N times (frames), the smoothed value at one time.

    They fit a straight line to the values, with a Gaussian weight (local regression: Cleveland 1979). Unlike a mean
    it does not lag where a track begins or ends, nor beside a gap.
    """
    offsets = torch.tensor(times, dtype=torch.float64) - time
    weights = torch.exp(-0.5 * (offsets / SIGMA).square())
    lines = torch.stack([torch.ones_like(offsets), offsets], 1) * weights.sqrt()[:, None]  # [N, 2]
    return torch.linalg.pinv(lines)[0] * weights.sqrt()
