"""Where a face lies in a picture, and how that square is cut out: the FFHQ alignment.

Coordinates are continuous pixels: x right, y down, the centre of the first pixel at (0.5, 0.5).
"""

import math

import torch
import torch.nn.functional as F


def ffhq_quad(points: torch.Tensor) -> torch.Tensor:
    """Crop square of a face as the authors of FFHQ define it (Karras et al. 2019, arXiv 1812.04948, appendix A).

    Args:
        points: [5, 2] image-left eye, image-right eye, nose tip, image-left and image-right mouth corner, in pixels.

    Returns:
        [4, 2] float64: top-left, bottom-left, bottom-right, top-right; a rolled face gives a rolled square.
    """
    left_eye, right_eye, _, left_mouth, right_mouth = points.detach().cpu().double()
    eyes = (left_eye + right_eye) / 2
    eye_to_eye = right_eye - left_eye
    eye_to_mouth = (left_mouth + right_mouth) / 2 - eyes
    x = eye_to_eye - _quarter_turn(eye_to_mouth)
    length = torch.linalg.norm(x)
    # the direction mixes both axes, so that neither a profile nor an open mouth tips the square
    reach = torch.maximum(torch.linalg.norm(eye_to_eye) * 2.0, torch.linalg.norm(eye_to_mouth) * 1.8)
    x = x / length.clamp(min=1e-9) * reach
    y = _quarter_turn(x)
    centre = eyes + eye_to_mouth * 0.1
    return torch.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def similarity(points: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Least-squares similarity (rotation, uniform scale, shift; no mirroring) that takes `points` to `target`.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991;
    in two dimensions the solution is a division of complex numbers.

    Args:
        points: [N, 2] x right, y down; N >= 2 and not all equal.
        target: [N, 2] in the coordinates to reach.

    Returns:
        [2, 3] float64: `target ~ points @ M[:, :2].T + M[:, 2]`.

    Raises:
        ValueError: the shapes differ or all points coincide.
    """
    points, target = points.double(), target.double()
    if points.shape != target.shape or points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"similarity() needs two [N, 2] tensors, got {list(points.shape)} and {list(target.shape)}")
    centre, target_centre = points.mean(0), target.mean(0)
    p, q = points - centre, target - target_centre
    spread = (p * p).sum()
    if spread <= 0:
        raise ValueError("similarity() needs at least two different points")
    a = (p * q).sum() / spread  # scale * cos
    b = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum() / spread  # scale * sin
    linear = torch.stack([torch.stack([a, -b]), torch.stack([b, a])])
    return torch.cat([linear, (target_centre - linear @ centre)[:, None]], 1)


def square(centre: torch.Tensor, side: float, angle: float) -> torch.Tensor:
    """Corners [4, 2] float64 (order of `ffhq_quad`) of a square: `centre` [2], `side` in pixels, `angle` in radians."""
    x = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64) * (side / 2)
    y = _quarter_turn(x)
    centre = centre.detach().cpu().double()
    return torch.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def crop(picture: torch.Tensor, quad: torch.Tensor, size: int) -> torch.Tensor:
    """Cut an aligned square out of a picture.

    Args:
        picture: [1, C, H, W].
        quad: [4, 2] top-left, bottom-left, bottom-right, top-right, in pixels; may reach outside the picture, which
            is then continued by reflection.
        size: side of the result in pixels.

    Returns:
        [1, C, size, size], band-limited when the square shrinks, within the value range of the picture.
    """
    return warp(picture, quad, size, size)


def warp(source: torch.Tensor, quad: torch.Tensor, height: int, width: int, mirrored: bool = True) -> torch.Tensor:
    """Resample the parallelogram `quad` of a picture to `height` x `width`.

    Only the part under the parallelogram is touched, so the cost does not depend on the size of the picture.

    Args:
        source: [1, C, H, W] float.
        quad: [4, 2] corners in pixels of `source`, in the order of `crop`.
        mirrored: continue the picture by reflection, as FFHQ does; otherwise by its border pixels, so that half a
            face at the edge is not completed to another one.

    Returns:
        [1, C, height, width], never outside the value range of the part it was made from.
    """
    quad = quad.detach().cpu().double()
    scale = max(
        _length(quad[3] - quad[0]) / width, _length(quad[1] - quad[0]) / height
    )  # source pixels per output pixel
    fine = 2 if scale > 1.001 else 1  # when shrinking, sample twice as fine and average
    region, origin = _cut(source, quad, 3 + math.ceil(2 * scale), mirrored)
    low, high = region.amin(), region.amax()
    factor_x = factor_y = 1.0
    if scale > fine:  # prefilter: bring the region down to the sampling step
        rows, columns = region.shape[-2:]
        small = (
            max(2, round(rows * fine / scale)),
            max(2, round(columns * fine / scale)),
        )
        region = F.interpolate(region, size=small, mode="bilinear", antialias=True, align_corners=False)
        factor_y, factor_x = small[0] / rows, small[1] / columns
    corners = (quad - origin) * torch.tensor([factor_x, factor_y], dtype=torch.float64)
    grid = _grid(corners, height * fine, width * fine, region)
    out = F.grid_sample(region, grid, mode="bicubic", padding_mode="border", align_corners=False)
    if fine > 1:
        out = F.avg_pool2d(out, fine)
    return torch.minimum(torch.maximum(out, low), high)  # bicubic overshoots at hard edges


def _grid(corners: torch.Tensor, height: int, width: int, region: torch.Tensor) -> torch.Tensor:
    """Sampling grid [1, height, width, 2] for `grid_sample` over the parallelogram `corners` of `region`."""
    rows, columns = region.shape[-2:]
    u = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    v = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    x_axis, y_axis = corners[3] - corners[0], corners[1] - corners[0]
    axes = []
    for axis, extent in ((0, columns), (1, rows)):
        # float64 until here: at 6000 px a float32 coordinate is off by a visible thousandth
        position = corners[0, axis] + (x_axis[axis] * u)[None, :] + (y_axis[axis] * v)[:, None]  # [height, width]
        axes.append((position * 2 / extent - 1).to(region))
    return torch.stack(axes, dim=-1)[None]


def _cut(source: torch.Tensor, quad: torch.Tensor, margin: int, mirrored: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounding rectangle of `quad` plus `margin`, continued beyond the picture; with its top-left corner [2]."""
    x0, y0 = (math.floor(v) - margin for v in quad.amin(dim=0).tolist())
    x1, y1 = (math.ceil(v) + margin for v in quad.amax(dim=0).tolist())
    height, width = source.shape[-2:]
    region = source[..., max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        rows, columns = _indices(y0, y1, height, mirrored), _indices(x0, x1, width, mirrored)
        region = source.index_select(2, rows.to(source.device)).index_select(3, columns.to(source.device))
    return region, torch.tensor([x0, y0], dtype=torch.float64)


def _indices(start: int, stop: int, extent: int, mirrored: bool) -> torch.Tensor:
    """Indices start..stop-1 brought into 0..extent-1: d c b a | a b c d | d c b a, or a a a a | a b c d | d d d d."""
    if not mirrored:
        return torch.arange(start, stop).clamp(0, extent - 1)
    index = torch.arange(start, stop) % (2 * extent)
    return torch.where(index < extent, index, 2 * extent - 1 - index)


def _quarter_turn(vector: torch.Tensor) -> torch.Tensor:
    """[2] vector turned by 90 degrees: right becomes down."""
    return torch.stack([-vector[1], vector[0]])


def _length(vector: torch.Tensor) -> float:
    return float(torch.linalg.norm(vector))
