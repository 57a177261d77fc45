"""Networks with made-up weights, shaped as trained ones are, and photographs made of others."""

import torch

from dbaf.kria import FARTHEST, KRIA, Crowd


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def in_a_mirror(photo: torch.Tensor) -> torch.Tensor:
    """A photo [1, 3, H, W] in [-1, 1] in a mirror and in dim, blue light."""
    dim = photo * torch.tensor([0.55, 0.6, 0.75])[:, None, None] - 0.2
    return dim.flip(3).clamp(-1, 1)


def fitted_kria() -> KRIA:
    """Of 41 components, whose coordinates, others for each crowd, do not move the score."""
    components, rank = 41, 30
    kria = KRIA(7, components, rank, stretch=1.1, move=0.9, limit=3.0, dim=32)
    kria.score.copy_(noise(7, 32) / 15)
    score = kria.score.view(1, -1)
    basis = torch.linalg.qr(torch.cat([score, noise(components - 1, 7 * 32, seed=1)]).T).Q  # [L * dim, components]
    kria.basis.copy_(basis.view_as(kria.basis))
    score = score @ basis
    kria.recognised.copy_(noise(*kria.recognised.shape, seed=8))
    for number, crowd in enumerate(kria.crowds):
        assert isinstance(crowd, Crowd)
        directions = noise(components, rank, seed=number)
        axes = torch.linalg.qr(torch.cat([score.T, directions], 1)).Q[:, 1:]
        crowd.centre.copy_(noise(components, seed=len(FARTHEST) + number))
        crowd.whiten.copy_(axes / 2)  # coordinates of about 1, as those of people
        crowd.colour.copy_(2 * axes.T)
        crowd.along.copy_(score[0] / score.square().sum())
    for turn in kria.turns:
        turn.mixer.copy_(noise(*turn.mixer.shape))
        turn.mover.copy_(noise(*turn.mover.shape) / len(turn.mover) ** 0.5)
    return kria.eval()
