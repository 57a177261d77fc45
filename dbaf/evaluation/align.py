"""Similarity alignment of a face from five points, as face recognisers expect it."""

import torch
import torch.nn.functional as F

from dbaf.faces.align import similarity

__all__ = ["ARCFACE_112", "similarity", "warp"]  # what a recogniser's file needs

# Where ArcFace-style recognisers want eyes, nose tip and mouth corners, in pixels of their 112 px input
# (Deng et al., ArcFace, arXiv 1801.07698; pixel centres at +0.5).
ARCFACE_112 = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=torch.float64,
)


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
