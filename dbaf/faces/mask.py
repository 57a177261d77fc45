"""The part of a picture that a new face takes: the outline of the face, from the hairline to below the jaw, feathered.

Everything here is in *square* coordinates: 0 to 1 across the FFHQ square of the face, upright.
"""

import math

import torch
import torch.nn.functional as F

MARGIN = 0.5  # the mask is drawn over -0.5 to 1.5, so that it may be turned without leaving its canvas
CANVAS = 512  # px
WIDE, NARROW = 0.05, 0.0125  # feather where old and new surroundings agree, and where not; of the square
SOFT = 0.025  # ... and of `inner_mask`
FOREHEAD = 1.06  # the mesh ends a little below most hairlines; measured from the eyes
JAW = 1.02  # ... and the contour of the jaw itself must be covered; measured from the eyes
CHEEKS = 1.01  # measured from the middle of the face
DIRECTIONS = 96
AT_ONCE = 4096  # places; all pixels of a large face, by DIRECTIONS, would take gigabytes
COARSE = 64  # px, on which `inner_mask` is drawn


def to_square(points: torch.Tensor, quad: torch.Tensor) -> torch.Tensor:
    """Points [N, 2] in picture pixels -> [N, 2] float64 across the square `quad` [4, 2]."""
    axes = torch.stack([quad[3] - quad[0], quad[1] - quad[0]])
    moved: torch.Tensor = torch.linalg.solve(axes.T, (points.detach().cpu().double() - quad[0]).T)
    return moved.T


def outline_distance(mesh: torch.Tensor) -> torch.Tensor:
    """Distance [CANVAS, CANVAS] from the outline around a face mesh, negative inside, as a share of the square.

    The outline is the convex hull of the widened mesh: a hull follows profiles, where the mesh's own oval folds.

    Args:
        mesh: [468, 2] in square coordinates.
    """
    steps = _steps()
    distance = torch.full((CANVAS, CANVAS), -math.inf, dtype=torch.float64)
    for (x, y), far in zip(_normals().T.tolist(), reach(_widened(mesh)).tolist(), strict=True):
        distance = torch.maximum(distance, steps[None, :] * x + steps[:, None] * y - far)
    return distance


def within_outline(mesh: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Which of the places [N, 2] lie inside the outline around a face mesh [468, 2]: [N] bool."""
    normals, far = _normals().to(places), reach(_widened(mesh)).to(places)
    return torch.cat([(some @ normals <= far).all(-1) for some in places.split(AT_ONCE)])


def covered(mesh: torch.Tensor, quad: torch.Tensor, rows: int, columns: int, cell: int = 1) -> torch.Tensor:
    """Which cells of a picture, counted from its corner, have their middle inside the outline of a face.

    Args:
        mesh: [468, 2] in pixels of the picture.
        quad: its FFHQ square [4, 2].
        rows, columns: how many cells there are.
        cell: their side in pixels.

    Returns:
        [rows, columns] bool.
    """
    inside = torch.zeros(rows, columns, dtype=torch.bool)
    corners = quad / cell
    low, high = corners.amin(0).floor().int().clamp(min=0).tolist(), corners.amax(0).ceil().int().tolist()
    x0, x1, y0, y1 = low[0], min(high[0], columns), low[1], min(high[1], rows)
    if x0 >= x1 or y0 >= y1:
        return inside
    y, x = torch.meshgrid(torch.arange(y0, y1), torch.arange(x0, x1), indexing="ij")
    middles = (torch.stack([x, y], -1).flatten(0, 1) + 0.5) * cell
    within = within_outline(to_square(mesh, quad), to_square(middles, quad))
    inside[y0:y1, x0:x1] = within.view(y1 - y0, x1 - x0)
    return inside


def soft_mask(distance: torch.Tensor, agreement: torch.Tensor) -> torch.Tensor:
    """Mask [1, 1, CANVAS, CANVAS] float32: 1 inside the outline, falling to 0 outside it, 0 outside the square.

    Args:
        distance: as `outline_distance` gives it.
        agreement: [1, 1, CANVAS, CANVAS], 1 where old and new picture look alike, so that a wide feather hides the
            seam, 0 where they show different things, so that a wide feather would show both: there the seam keeps to
            the contour of the face, where an edge is natural.
    """
    steps = _steps()
    edge = torch.minimum(steps, 1 - steps) / WIDE  # a new face exists only inside its square
    inside = torch.minimum(edge[None, :], edge[:, None])
    width = NARROW + (WIDE - NARROW) * agreement[0, 0].cpu().double()
    ramp = torch.minimum(1 - distance / width, inside).clamp(0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).to(agreement)[None, None]


def reach(mesh: torch.Tensor) -> torch.Tensor:
    """How far the hull of face meshes [..., 468, 2] reaches in DIRECTIONS directions: [..., DIRECTIONS]."""
    return (mesh @ _normals().to(mesh)).amax(dim=-2)


def hull_points(mesh: torch.Tensor, middle: torch.Tensor, count: int) -> torch.Tensor:
    """Where rays from a point `middle` [2] leave the hull of a mesh [468, 2], to all sides: [count, 2].

    A ray that starts outside the hull and leads away ends where it starts.
    """
    angles = torch.arange(count, dtype=mesh.dtype) * (2 * math.pi / count)
    rays = torch.stack([angles.cos(), angles.sin()], 1)  # [count, 2]
    ahead = rays @ _normals().to(mesh)  # [count, DIRECTIONS]
    far = (reach(mesh - middle).clamp(min=0) / ahead.clamp(min=1e-9)).masked_fill(ahead <= 0, math.inf)
    return middle + far.amin(1, keepdim=True) * rays


def inner_mask(reached: torch.Tensor, size: int) -> torch.Tensor:
    """The part of a square that a new face covers whole: inside the hull of the old mesh, with a soft edge.

    Args:
        reached: [B, DIRECTIONS] from `reach`, of meshes in square coordinates.
        size: px.

    Returns:
        [B, 1, size, size] in [0, 1], 0 wherever pixels of the surroundings may show.
    """
    steps = (torch.arange(COARSE) + 0.5).to(reached) / COARSE
    distance = reached.new_full((len(reached), COARSE, COARSE), -math.inf)
    for (x, y), far in zip(_normals().T.tolist(), reached.T, strict=True):
        distance = torch.maximum(distance, steps[None, None, :] * x + steps[None, :, None] * y - far[:, None, None])
    distance = F.interpolate(distance[:, None], size=size, mode="bilinear", align_corners=False)  # [B, 1, size, size]
    return (-distance / SOFT).clamp(0, 1)


def seam_band(distance: torch.Tensor) -> torch.Tensor:
    """Weight [1, 1, CANVAS, CANVAS] float32 of the places whose colours are compared: just inside the outline."""
    return (1 - (distance / WIDE / 1.6 + 0.5).square()).clamp(min=0).float()[None, None]


def _normals() -> torch.Tensor:
    """Unit vectors [2, DIRECTIONS]: the support function of a hull is taken along them."""
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (2 * math.pi / DIRECTIONS)
    return torch.stack([angles.cos(), angles.sin()])


def _steps() -> torch.Tensor:
    """Square coordinates [CANVAS] of the pixel centres of the canvas."""
    return (torch.arange(CANVAS, dtype=torch.float64) + 0.5) / CANVAS * (1 + 2 * MARGIN) - MARGIN


def canvas_corners(corners: torch.Tensor) -> torch.Tensor:
    """Square coordinates [N, 2] -> pixels of the canvas."""
    return (corners + MARGIN) * (CANVAS / (1 + 2 * MARGIN))


def _widened(mesh: torch.Tensor) -> torch.Tensor:
    """The mesh [468, 2] stretched up to the hairline and a little beyond jaw and cheeks."""
    x, y = mesh[:, 0], mesh[:, 1]
    middle, eyes = (x.amin() + x.amax()) / 2, mesh[[33, 133, 362, 263], 1].mean()
    y = torch.where(y < eyes, eyes + (y - eyes) * FOREHEAD, eyes + (y - eyes) * JAW)
    return torch.stack([middle + (x - middle) * CHEEKS, y], dim=1)
