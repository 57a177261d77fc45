"""The encoder's losses: zero where they should be, and looking at the face first."""

import torch

from dbaf.training.critics import LatentCritic
from dbaf.training.encoder import perceptual, spread


def test_perceptual_distance_ignores_strength_and_sees_direction() -> None:
    maps = {s: torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(s)) for s in (4, 8, 16)}
    assert perceptual(maps, {s: 3 * m for s, m in maps.items()}) < 1e-6
    assert torch.isclose(perceptual(maps, {s: -m for s, m in maps.items()}), torch.tensor(4.0))


def test_spread_is_zero_for_one_w_and_one_for_independent_styles() -> None:
    critic = LatentCritic(list(range(20)), dim=64)
    w = torch.randn(3, 1, 64, generator=torch.Generator().manual_seed(0))
    assert spread(critic, w.expand(3, 20, 64)) < 1e-6
    free = torch.randn(64, 20, 64, generator=torch.Generator().manual_seed(1))
    assert abs(float(spread(critic, free)) - 0.95) < 0.02
