"""Losses on W+ codes shared by the two stages; DBAF (arXiv 2311.08786), moved to latent space."""

import torch
import torch.nn.functional as F

from dbaf.generators import Generator
from dbaf.training.critics import LatentCritic

GROUPS = (7, 6, 10)  # styles of the mobile generator that are coarse (4..16 px), medium (32, 64 px), fine


def contrastive(one: torch.Tensor, other: torch.Tensor, same: bool) -> torch.Tensor:
    """DBAF's margin hinge on d = 1 - cos of unit embeddings [B, D]: same pairs d, different pairs max(.5 - d, 0)."""
    distance = 1 - (one * other).sum(1)
    return (distance if same else (0.5 - distance).clamp(min=0)).mean()


def off_manifold(critic: LatentCritic, wplus: torch.Tensor) -> torch.Tensor:
    """Squared offset from the mean latent, beyond what sampled codes show, in units of the deviation of w."""
    energy = critic.features(wplus).unflatten(1, (len(critic.active), -1)).square().mean(2)  # [B, active]
    return (energy - 1).clamp(min=0).mean()


def kept(critic: LatentCritic, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Change of the predicted attributes, and of the fine styles (texture, colour) themselves."""
    fine = sum(GROUPS[:2])
    change = ((new - old)[:, fine:] / critic.scale).square().mean()
    return F.smooth_l1_loss(critic.attributes(new), critic.attributes(old)) + 0.2 * change


def random_keys(generator: Generator, count: int, rng: torch.Generator) -> torch.Tensor:
    """Latent keys of `count` random secrets [count, 3, 512]."""
    z = torch.randn(3 * count, generator.dim, generator=rng)
    return generator.mapping(z.to(generator.mean_w)).unflatten(0, (count, 3))
