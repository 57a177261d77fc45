"""Proportions of a face: where nose and mouth sit between eyes and chin, how wide they are, how large and slanted the
eyes are, how high the brows.

Generators work on faces whose eyes and mouths were laid on the same places, so that a new face has the old one's
proportions, whatever its identity code says; and face recognisers tell people apart by them. So a key moves each of
them one way or the other, little enough that faces look natural. Pupils stay, as gaze and the FFHQ square need them.
"""

import torch

from dbaf.faces.face import BROWS, LEFT_EYE, LEFT_MOUTH, RIGHT_EYE, RIGHT_MOUTH, five_points

ROOT, BRIDGE = 6, 197  # of the nose
WINGS = (98, 129, 327, 358)  # the nostrils' outer ends, left and right
TIP = (1, 4, 5)
NOSE = (*TIP, 2, 94, *WINGS)
MOUTH = (LEFT_MOUTH, RIGHT_MOUTH, 0, 17, 37, 84, 267, 314)
# what keeps its shape, but for its proportions: the features make the new identity
FEATURES = (*LEFT_EYE, *RIGHT_EYE, *BROWS, ROOT, BRIDGE, *NOSE, *MOUTH)
# how far each of the eight is moved; lengths as shares of the way from the eyes to the mouth, sizes of what they are
FACE_LENGTH = 0.05  # nose and mouth further down
LIP_LENGTH = 0.045  # the mouth further below the nose
TIP_LENGTH = 0.05  # the tip of the nose further below its root, nostrils where they are
NOSE_WIDTH, MOUTH_WIDTH = 0.14, 0.13  # wider
EYE_SIZE = 0.17  # larger
EYE_SLANT = 0.13  # outer corners further up, in radians
BROW_HEIGHT = 0.05  # brows further up
COUNT = 8


def as_rendered(faces: int) -> torch.Tensor:
    """Proportions [F, COUNT] of faces that are to stay as they are."""
    return torch.zeros(faces, COUNT)


def moved_by(mesh: torch.Tensor, proportions: torch.Tensor) -> torch.Tensor:
    """How far proportions move the FEATURES of a face.

    Args:
        mesh: [468, 2], x right, y down.
        proportions: [COUNT] in [-1, 1], in the order of the constants above: 1 as far as they say, -1 the other way.

    Returns:
        [len(FEATURES), 2], in units of the mesh.
    """
    length, lip, tip, nose, mouth, size, slant, brows = proportions.tolist()
    left_eye, right_eye, _, left_mouth, right_mouth = five_points(mesh)
    across, middle = right_eye - left_eye, (left_mouth + right_mouth) / 2
    down = middle - (left_eye + right_eye) / 2
    moved = torch.zeros_like(mesh)
    moved[list(NOSE)] += FACE_LENGTH * length * down
    moved[BRIDGE] += FACE_LENGTH * length * down / 2
    moved[list(MOUTH)] += (FACE_LENGTH * length + LIP_LENGTH * lip) * down
    moved[list(TIP)] += TIP_LENGTH * tip * down
    axis = across / across.norm()
    for points, centre, wider in (
        (WINGS, mesh[list(WINGS)].mean(0), NOSE_WIDTH * nose),
        (MOUTH, middle, MOUTH_WIDTH * mouth),
    ):
        moved[list(points)] += wider * ((mesh[list(points)] - centre) @ axis)[:, None] * axis
    for eye, side in ((LEFT_EYE, 1), (RIGHT_EYE, -1)):
        x, y = (mesh[list(eye)] - mesh[list(eye)].mean(0)).unbind(1)
        turned = torch.stack([-y, x], dim=1)
        moved[list(eye)] += EYE_SIZE * size * torch.stack([x, y], dim=1) + EYE_SLANT * slant * side * turned
    moved[list(BROWS)] -= BROW_HEIGHT * brows * down
    return moved[list(FEATURES)]
