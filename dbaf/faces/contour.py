"""A new face laid where the old one lies and bent to its contour, so that no second jaw line and no second background
shows; its features get other proportions."""

import torch
import torch.nn.functional as F

from dbaf.faces.align import similarity
from dbaf.faces.face import five_points
from dbaf.faces.mask import hull_points
from dbaf.faces.proportions import FEATURES, moved_by

GRID = 64  # px, side at which the bend is worked out; it is smooth
CONTOUR = 36  # points of it
LIMIT = 0.12  # largest displacement of a contour point, of the square
STIFFNESS = 1e-3  # of the spline: features of a profile lie close to its contour


def bend(
    patch: torch.Tensor, new: torch.Tensor, old: torch.Tensor, proportions: torch.Tensor | None = None
) -> torch.Tensor:
    """Move the contour of the face in a patch to that of the old face, and its features, as a whole, to the old ones.

    A thin-plate spline (Bookstein 1989) through points of the contour, the features and the border, which stays. The
    features are moved by the similarity that takes the eyes to the old ones; mouths, which smile or not, have no say.
    The contour of the face so laid is moved along rays from the middle, to the old one. Contours are those of hulls: of
    a face that is turned, the mesh's own oval lies on the hidden cheek, and its edge is elsewhere.

    Args:
        patch: [1, 3, S, S] in [-1, 1].
        new: mesh of the face in the patch [468, 2], in square coordinates (0 to 1).
        old: mesh of the face that it replaces [468, 2], in square coordinates.
        proportions: by which its features are moved besides, [8] in [-1, 1]; see `dbaf.faces.proportions`.

    Returns:
        [1, 3, S, S] in [-1, 1].
    """
    new, old = new.detach().cpu().double(), old.detach().cpu().double()
    features, matrix = new[list(FEATURES)], similarity(five_points(new)[:2], five_points(old)[:2])
    whole = new @ matrix[:, :2].T + matrix[:, 2]
    laid, middle = whole[list(FEATURES)], old.mean(0)
    if proportions is not None:
        laid = laid + moved_by(whole, proportions)
    target, source = hull_points(old, middle, CONTOUR), hull_points(whole, middle, CONTOUR)
    source = torch.linalg.solve(matrix[:, :2], (source - matrix[:, 2]).T).T
    move = source - target  # where to look for what belongs at `target`
    length = move.norm(dim=1, keepdim=True).clamp(min=1e-9)
    move = move * (LIMIT / length).clamp(max=1)
    side = torch.linspace(0, 1, 5, dtype=torch.float64)
    border = torch.cartesian_prod(side, side)
    border = border[((border == 0) | (border == 1)).any(1)]  # [16, 2]
    points = torch.cat([target, laid, border])
    moves = torch.cat([move, features - laid, torch.zeros_like(border)])
    places = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    grid = torch.cartesian_prod(places, places).flip(1)  # [GRID * GRID, 2], x first
    field = _spline(points, moves, grid).view(GRID, GRID, 2).permute(2, 0, 1)[None]
    size = patch.shape[-1]
    field = F.interpolate(field.to(patch), size=size, mode="bilinear", align_corners=False)[0]  # [2, S, S]
    steps = (torch.arange(size, device=patch.device, dtype=patch.dtype) + 0.5) / size
    look = torch.stack([steps[None, :] + field[0], steps[:, None] + field[1]], dim=-1)[None]  # [1, S, S, 2]
    return F.grid_sample(patch, look * 2 - 1, mode="bicubic", padding_mode="border", align_corners=False).clamp(-1, 1)


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
