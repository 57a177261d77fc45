"""What the encoder may see of a face: all of its middle, and nothing of what stays in an anonymized picture."""

import math

import torch
from torch.profiler import ProfilerActivity, profile

from dbaf.faces.mask import covered, hull_points, inner_mask, reach


def ellipse(width: float, height: float) -> torch.Tensor:
    """468 points on an ellipse in the middle of the square."""
    angle = torch.arange(468) * (2 * math.pi / 468)
    return torch.stack([0.5 + width * angle.cos(), 0.5 + height * angle.sin()], 1)


def test_the_mask_ends_within_the_outline() -> None:
    mask = inner_mask(reach(ellipse(0.2, 0.3))[None], 256)[0, 0]
    steps = (torch.arange(256) + 0.5) / 256 - 0.5
    radius = ((steps[None] / 0.2).square() + (steps[:, None] / 0.3).square()).sqrt()
    assert mask[radius > 1.03].max() == 0
    assert mask[radius < 0.8].min() == 1
    assert 0 <= mask.min()
    assert mask.max() <= 1


def test_masks_of_a_batch_are_those_of_the_faces_alone() -> None:
    both = torch.stack([ellipse(0.2, 0.3), ellipse(0.1, 0.2)])
    together = inner_mask(reach(both), 64)
    assert together.shape == (2, 1, 64, 64)
    for mask, mesh in zip(together, both, strict=True):
        assert torch.equal(mask[None], inner_mask(reach(mesh)[None], 64))


def test_rays_end_at_the_hull_whatever_the_middle() -> None:
    for middle in ([0.5, 0.5], [0.58, 0.35]):
        found = hull_points(ellipse(0.2, 0.3), torch.tensor(middle), 36) - 0.5
        radius = ((found[:, 0] / 0.2).square() + (found[:, 1] / 0.3).square()).sqrt()
        torch.testing.assert_close(radius, torch.ones(36), atol=0.01, rtol=0)
    angles = torch.atan2(found[:, 1] + 0.15, found[:, 0] - 0.08) % (2 * math.pi)
    torch.testing.assert_close(angles, torch.arange(36) * (2 * math.pi / 36), atol=1e-4, rtol=0)


def test_a_large_face_takes_little_memory() -> None:
    """One of 2,500 px took 5.9 GB when all of its pixels were compared with all sides of the outline at once."""
    size = 1024
    angle = torch.linspace(0, 2 * math.pi, 468)
    mesh = size * (0.5 + 0.3 * torch.stack([angle.cos(), angle.sin()], dim=1))
    quad = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]], dtype=torch.float64) * size
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        inside = covered(mesh, quad, size, size)
    assert 0.2 < inside.float().mean() < 0.6
    assert max(event.self_cpu_memory_usage for event in run.events()) < 100 * size**2
