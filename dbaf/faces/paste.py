"""Putting a re-rendered face back into its picture."""

import math

import torch
import torch.nn.functional as F

from dbaf.faces.align import crop, warp
from dbaf.faces.colour import agreement, apply_gain, match_detail, seam_gain
from dbaf.faces.face import Face
from dbaf.faces.mask import CANVAS, MARGIN, WIDE, canvas_corners, outline_distance, seam_band, soft_mask, to_square

COARSE = 128  # px, side at which colours are compared
SQUARE = torch.tensor([[0.0, 0], [0, 1], [1, 1], [1, 0]], dtype=torch.float64)
FAINTEST = 1 / 512  # a smaller share would not change an 8-bit pixel


@torch.no_grad()
def paste(
    picture: torch.Tensor,
    patch: torch.Tensor,
    face: Face,
    front: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put a new face in the place of an old one; hair, neck and everything else around it stay.

    Args:
        picture: [1, 3, H, W] in [-1, 1].
        patch: [1, 3, S, S] in [-1, 1], the new face in the FFHQ square of `face`; see `bend`.
        face: the old face, in `picture`.
        front: [1, 1, S, S] in [0, 1] over the FFHQ square of `face`, if known: what is in front of the old face, and
            stays.

    Returns:
        A new picture [1, 3, H, W] and the mask [1, 1, H, W] in [0, 1]. Where the mask is 0, the picture is the same
        bit for bit. Faces that overlap are pasted one after the other, the later one in front.
    """
    quad = face.quad
    distance = outline_distance(to_square(face.mesh[:, :2], quad))

    # what does not need detail is worked out on small copies of the square
    small_old = crop(picture, quad, COARSE)
    small_new = warp(patch, SQUARE * patch.shape[-1], COARSE, COARSE)
    band = warp(seam_band(distance), canvas_corners(SQUARE), COARSE, COARSE).to(picture) * _covered(quad, picture)
    if front is not None:
        band = band * (1 - warp(front, SQUARE * front.shape[-1], COARSE, COARSE).to(band))
    gain = seam_gain(small_old, small_new, band)
    alike = agreement(small_old, apply_gain(small_new, gain))
    mask = soft_mask(distance, warp(alike, ((SQUARE * (1 + 2 * MARGIN)) - MARGIN) * COARSE, CANVAS, CANVAS))
    # colour first: a patch that is darkened loses contrast
    patch = apply_gain(patch, F.interpolate(gain, size=patch.shape[-1], mode="bilinear", align_corners=False))
    patch = match_detail(patch, crop(picture, quad, patch.shape[-1]), _bare(distance, front, patch))

    result, full_mask = picture.clone(), picture.new_zeros(1, 1, *picture.shape[-2:])
    rectangle = _rectangle(mask, quad, picture.shape[-2], picture.shape[-1])
    if rectangle is None:  # the face lies outside the picture
        return result, full_mask
    x0, y0, x1, y1 = rectangle
    corners = to_square(torch.tensor([[x0, y0], [x0, y1], [x1, y1], [x1, y0]]), quad)
    height, width = y1 - y0, x1 - x0
    local_mask = warp(mask, canvas_corners(corners), height, width)
    if front is not None:
        local_mask = local_mask * (1 - warp(front, corners * front.shape[-1], height, width, mirrored=False).to(mask))
    local_mask = torch.where(local_mask < FAINTEST, 0, local_mask)
    new = warp(patch, corners * patch.shape[-1], height, width)
    old = picture[:, :, y0:y1, x0:x1]
    blended = old + local_mask * (new - old)
    result[:, :, y0:y1, x0:x1] = torch.where(local_mask > 0, blended, old)
    full_mask[:, :, y0:y1, x0:x1] = local_mask
    return result, full_mask


def _bare(distance: torch.Tensor, front: torch.Tensor | None, patch: torch.Tensor) -> torch.Tensor:
    """[1, 1, S, S] in [0, 1]: where a patch [1, 3, S, S] takes the place of facial skin, well within the outline."""
    inside = warp((distance < -WIDE).to(patch)[None, None], canvas_corners(SQUARE), patch.shape[-1], patch.shape[-1])
    if front is None:
        return inside
    return inside * (1 - F.interpolate(front.to(patch), size=patch.shape[-1], mode="bilinear", align_corners=False))


def _rectangle(mask: torch.Tensor, quad: torch.Tensor, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Smallest rectangle x0, y0, x1, y1 of the picture that holds the mask drawn on the canvas; None if empty."""
    rows, columns = (mask[0, 0].amax(dim=axis).nonzero().flatten().cpu().double() for axis in (1, 0))
    if not len(rows):
        return None
    unit = (1 + 2 * MARGIN) / CANVAS
    x, y = ((int(v[0]) * unit - MARGIN, (int(v[-1]) + 1) * unit - MARGIN) for v in (columns, rows))
    ends = torch.tensor([[x[0], y[0]], [x[0], y[1]], [x[1], y[1]], [x[1], y[0]]], dtype=torch.float64)
    places = quad[0] + ends @ torch.stack([quad[3] - quad[0], quad[1] - quad[0]])
    low, high = places.amin(dim=0).tolist(), places.amax(dim=0).tolist()
    x0, y0 = max(math.floor(low[0]) - 1, 0), max(math.floor(low[1]) - 1, 0)
    x1, y1 = min(math.ceil(high[0]) + 1, width), min(math.ceil(high[1]) + 1, height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _covered(quad: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """[1, 1, COARSE, COARSE]: 1 where the square `quad` lies on the picture, 0 where it reaches outside."""
    ground = (torch.arange(COARSE, dtype=torch.float64) + 0.5) / COARSE
    x_axis, y_axis = quad[3] - quad[0], quad[1] - quad[0]
    inside = torch.ones(COARSE, COARSE, dtype=torch.bool)
    for axis, extent in ((0, picture.shape[-1]), (1, picture.shape[-2])):
        place = quad[0, axis] + x_axis[axis] * ground[None, :] + y_axis[axis] * ground[:, None]
        inside &= (place >= 0) & (place <= extent)
    return inside.to(picture)[None, None]
