"""What a face does, in numbers read off its mesh."""

import torch

from dbaf.faces.face import Face
from dbaf.faces.mask import to_square

EYE_CORNERS = (33, 133, 362, 263)
GESTURES = 8
SPREAD = (0.114, 0.115, 0.061, 0.025, 0.025, 0.054, 0.034, 0.020)  # standard deviations, of 160 photographs of LFW


def gestures(mesh: torch.Tensor) -> torch.Tensor:
    """What a face does: mouth open, wide, curved; left and right eye open; inner and outer brows up, and apart.

    Args:
        mesh: [B, 468, 2], upright.

    Returns:
        [B, GESTURES], in distances of the eyes.
    """
    corners = mesh[:, list(EYE_CORNERS)]
    left, right = corners[:, :2].mean(1), corners[:, 2:].mean(1)
    level, height = (left + right)[:, 1] / 2, mesh[..., 1]

    def apart(one: int, other: int) -> torch.Tensor:
        return (mesh[:, one] - mesh[:, other]).norm(dim=1)

    lengths = (
        apart(13, 14),
        apart(61, 291),
        (height[:, 61] + height[:, 291] - height[:, 13] - height[:, 14]) / 2,
        apart(159, 145),
        apart(386, 374),
        level - (height[:, 55] + height[:, 285]) / 2,
        level - (height[:, 70] + height[:, 300]) / 2,
        apart(55, 285),
    )
    return torch.stack(lengths, 1) / (left - right).norm(dim=1).detach()[:, None]


def gestures_of(face: Face) -> torch.Tensor:
    """`gestures` [1, GESTURES] of a face in a picture, turned upright as its FFHQ square is."""
    return gestures(to_square(face.mesh[:, :2], face.quad)[None].float())
