"""A new face laid where the old one lies and bent to its contour, so that no second jaw line and no second background
shows; and its mouth to what the old one does, more exactly than a code says it."""

import torch
import torch.nn.functional as F

from dbaf.faces.align import similarity
from dbaf.faces.face import LEFT_EYE, NOSE_TIP, RIGHT_EYE, five_points
from dbaf.faces.mask import hull_points

GRID = 64  # px, side at which the bend is worked out; it is smooth
CONTOUR = 36  # points of it
LIMIT, LIPS_LIMIT = 0.12, 0.02  # largest displacement of a point of the contour and of the mouth, of the square
STIFFNESS = 1e-3  # of the spline: features of a profile lie close to its contour
# what keeps its shape: the features make the new identity
FEATURES = (*LEFT_EYE, *RIGHT_EYE, NOSE_TIP, 1, 6)
# what does not: a mouth's corners and the inner edges of its lips, and points of the outer edges, each with the inner
# point that it goes with, so that lips are as full as they were
MOUTH = (61, 291, 78, 308, 80, 82, 13, 312, 310, 88, 87, 14, 317, 318)
LIPS = {37: 82, 0: 13, 267: 312, 84: 87, 17: 14, 314: 317}


def bend(patch: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Move the contour of the face in a patch to that of the old face, its features, as a whole, to the old ones, and
    its mouth towards the shape of the old one.

    A thin-plate spline (Bookstein 1989) through points of the contour, the features, the mouth and the border, which
    stays. The features are moved by the similarity that takes the eyes to the old ones. The contour of the face so laid
    is moved along rays from the middle, to the old one. Contours are those of hulls: of a face that is turned, the
    mesh's own oval lies on the hidden cheek, and its edge is elsewhere. The mouth is moved towards the shape of the old
    one: smiles as far as LIPS_LIMIT, while lips that close or part do so about half way, since the spline is smooth.

    Args:
        patch: [1, 3, S, S] in [-1, 1].
        new: mesh of the face in the patch [468, 2], in square coordinates (0 to 1).
        old: mesh of the face that it replaces [468, 2], in square coordinates.

    Returns:
        [1, 3, S, S] in [-1, 1].
    """
    new, old = new.detach().cpu().double(), old.detach().cpu().double()
    matrix, middle = similarity(five_points(new)[:2], five_points(old)[:2]), old.mean(0)
    whole = new @ matrix[:, :2].T + matrix[:, 2]
    speaking = _shortened((old - whole)[[*MOUTH, *LIPS.values()]], LIPS_LIMIT)
    moved = whole[[*MOUTH, *LIPS]] + speaking
    target, source = hull_points(old, middle, CONTOUR), hull_points(whole, middle, CONTOUR)
    source = torch.linalg.solve(matrix[:, :2], (source - matrix[:, 2]).T).T
    move = _shortened(source - target, LIMIT)  # where to look for what belongs at `target`
    side = torch.linspace(0, 1, 5, dtype=torch.float64)
    border = torch.cartesian_prod(side, side)
    border = border[((border == 0) | (border == 1)).any(1)]  # [16, 2]
    laid = torch.cat([whole[list(FEATURES)], moved])
    points = torch.cat([target, laid, border])
    moves = torch.cat([move, new[[*FEATURES, *MOUTH, *LIPS]] - laid, torch.zeros_like(border)])
    places = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    grid = torch.cartesian_prod(places, places).flip(1)  # [GRID * GRID, 2], x first
    field = _spline(points, moves, grid).view(GRID, GRID, 2).permute(2, 0, 1)[None]
    size = patch.shape[-1]
    field = F.interpolate(field.to(patch), size=size, mode="bilinear", align_corners=False)[0]  # [2, S, S]
    steps = (torch.arange(size, device=patch.device, dtype=patch.dtype) + 0.5) / size
    look = torch.stack([steps[None, :] + field[0], steps[:, None] + field[1]], dim=-1)[None]  # [1, S, S, 2]
    return F.grid_sample(patch, look * 2 - 1, mode="bicubic", padding_mode="border", align_corners=False).clamp(-1, 1)


def _shortened(moves: torch.Tensor, most: float) -> torch.Tensor:
    """Displacements [N, 2], none of them longer than `most`."""
    return moves * (most / moves.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1)


def _spline(points: torch.Tensor, values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Thin-plate spline with `values` [N, D] at `points` [N, 2], read at `places` [M, 2]: [M, D]."""
    count = len(points)
    system = torch.zeros(count + 3, count + 3, dtype=torch.float64)
    system[:count, :count] = _kernel(points, points) + STIFFNESS * torch.eye(count, dtype=torch.float64)
    system[:count, count] = 1
    system[:count, count + 1 :] = points
    system[count:, :count] = system[:count, count:].T
    known = torch.cat([values, values.new_zeros(3, values.shape[1])])
    weights = torch.linalg.solve(system, known)
    plane = torch.cat([torch.ones(len(places), 1, dtype=torch.float64), places], dim=1)
    return _kernel(places, points) @ weights[:count] + plane @ weights[count:]


def _kernel(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """r**2 log r of all distances: [N, M]."""
    squared = (one[:, None] - other[None]).square().sum(-1)
    return 0.5 * squared * squared.clamp(min=1e-18).log()
