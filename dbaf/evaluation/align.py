"""Similarity alignment of a face from five points, as face recognisers expect it."""

import torch
import torch.nn.functional as F

# Where ArcFace-style recognisers want eyes, nose tip and mouth corners, in pixels of their 112 px input
# (Deng et al., ArcFace, arXiv 1801.07698; pixel centres at +0.5).
ARCFACE_112 = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=torch.float64,
)


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


def warp(picture: torch.Tensor, matrix: torch.Tensor, size: int, oversample: int = 1) -> torch.Tensor:
    """Resample a picture through an affine map; differentiable in the picture.

    Args:
        picture: [B, C, H, W], any value range.
        matrix: [2, 3] from picture pixels to output pixels (as `similarity()` gives it; pixel centres at +0.5).
        size: side of the square output, in pixels.
        oversample: samples per output pixel and axis, averaged. 2 or more avoids aliasing when shrinking.

    Returns:
        [B, C, size, size]; outside the picture its border is repeated.
    """
    height, width = picture.shape[2:]
    linear, shift = matrix[:, :2].double(), matrix[:, 2].double()
    inverse = torch.linalg.inv(linear)
    # Normalised output coordinates -> output pixels -> picture pixels -> normalised picture coordinates.
    half, unit = size / 2, torch.tensor([2 / width, 2 / height], dtype=torch.float64, device=matrix.device)
    theta = torch.cat([inverse * half, (inverse @ (half - shift))[:, None]], 1) * unit[:, None]
    theta[:, 2] -= 1
    batch = picture.shape[0]
    side = size * oversample
    theta = theta.to(picture)[None].expand(batch, 2, 3)
    grid = F.affine_grid(theta, [batch, 1, side, side], align_corners=False)
    sampled = F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, oversample) if oversample > 1 else sampled
