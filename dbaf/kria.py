"""KRIA: key-authorized reversible identity anonymization (DBAF, arXiv 2311.08786).

One MLP a style group maps an identity code and a latent key to another identity code. The same network, applied
again with the same key, brings the first one back: I = KRIA(KRIA(I, key), key).
"""

from itertools import pairwise

import torch
from torch import nn

SLOPE = 0.2


class KRIA(nn.Module):
    """(identity code, latent key) -> identity code.

    Args:
        groups: number of consecutive styles in the coarse, medium and fine group; they sum to L.
        dim: width of the codes.
        hidden: widths of the hidden layers of each group's MLP.
    """

    mean_w: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, groups: tuple[int, ...], dim: int = 512, hidden: tuple[int, ...] = (1024, 1024, 512, 512)
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.mlps = nn.ModuleList(_mlp((2 * dim, *hidden, dim)) for _ in groups)
        self.register_buffer("mean_w", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))  # standard deviation of w

    def forward(self, identity: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Anonymize or recover.

        Args:
            identity: identity codes I [B, L, dim].
            key: latent keys, one w for each style group [B, groups, dim].

        Returns:
            Identity codes [B, L, dim].
        """
        parts = []
        for index, (mlp, part) in enumerate(zip(self.mlps, identity.split(self.groups, 1), strict=True)):
            latent = ((key[:, index] - self.mean_w) / self.scale)[:, None].expand_as(part)  # [B, l, dim]
            parts.append(mlp(torch.cat([part / self.scale, latent], -1)) * self.scale)
        return torch.cat(parts, 1)


def _mlp(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])
