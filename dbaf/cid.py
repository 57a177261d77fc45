"""CID: contrastive identity disentanglement (DBAF, arXiv 2311.08786).

Splits a W+ code into an attribute code A, the network's output, and an identity code I = w - A. One transformer a
style group, over the style axis.

The released code attends over the batch: it feeds [styles, batch, 512] to a transformer whose tokens are on the second
axis. Its pictures depend on their neighbours, and for one picture, a sequence of length one, each style attends to
nothing but itself. Converted weights are used in that way, `attends: false`, in batches too.
"""

import torch
from torch import nn

from dbaf.transformer import SelfBlock


class CID(nn.Module):
    """W+ -> attribute code.

    Args:
        groups: number of consecutive styles in the coarse, medium and fine group; they sum to L.
        dim: width of W+.
        depth: transformer blocks a group.
        heads: attention heads a block.
        mlp: width of each block's MLP.
        head_dim: width of a head; None: dim / heads.
        attends: the styles of a group attend to each other, or each to itself only.
        projects: each stack ends in a normalisation and a linear layer.
    """

    mean_w: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        groups: tuple[int, ...],
        dim: int = 512,
        depth: int = 2,
        heads: int = 8,
        mlp: int = 1024,
        head_dim: int | None = None,
        attends: bool = True,
        projects: bool = True,
    ) -> None:
        super().__init__()
        self.groups, self.attends = list(groups), attends
        self.embed = nn.Linear(dim, dim)
        self.places = nn.Parameter(0.02 * torch.randn(1, sum(groups), dim))
        self.stacks = nn.ModuleList(
            nn.Sequential(
                *(SelfBlock(dim, heads, mlp, head_dim) for _ in range(depth)),
                *((nn.LayerNorm(dim), nn.Linear(dim, dim)) if projects else ()),
            )
            for _ in groups
        )
        self.register_buffer("mean_w", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))  # standard deviation of w

    def forward(self, wplus: torch.Tensor) -> torch.Tensor:
        """W+ [B, L, dim] -> attribute code A [B, L, dim]; the identity code is wplus - A."""
        x = self.embed((wplus - self.mean_w) / self.scale) + self.places
        parts = []
        for stack, part in zip(self.stacks, x.split(self.groups, 1), strict=True):
            tokens = part if self.attends else part.flatten(0, 1)[:, None]  # [B, styles, dim] or [B * styles, 1, dim]
            parts.append(stack(tokens).view_as(part))
        return self.mean_w + self.scale * torch.cat(parts, 1)
