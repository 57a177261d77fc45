"""CID: contrastive identity disentanglement (DBAF, arXiv 2311.08786).

Splits a W+ code into an attribute code A, the network's output, and an identity code I = w - A. One transformer a
style group, over the style axis. (The released code attends over the batch, so that neighbours change a picture.)
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
    """

    mean_w: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, groups: tuple[int, ...], dim: int = 512, depth: int = 2, heads: int = 8, mlp: int = 1024
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.embed = nn.Linear(dim, dim)
        self.places = nn.Parameter(0.02 * torch.randn(1, sum(groups), dim))
        self.stacks = nn.ModuleList(
            nn.Sequential(*(SelfBlock(dim, heads, mlp) for _ in range(depth)), nn.LayerNorm(dim), nn.Linear(dim, dim))
            for _ in groups
        )
        self.register_buffer("mean_w", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))  # standard deviation of w

    def forward(self, wplus: torch.Tensor) -> torch.Tensor:
        """W+ [B, L, dim] -> attribute code A [B, L, dim]; the identity code is wplus - A."""
        x = self.embed((wplus - self.mean_w) / self.scale) + self.places
        parts = [stack(part) for stack, part in zip(self.stacks, x.split(self.groups, 1), strict=True)]
        return self.mean_w + self.scale * torch.cat(parts, 1)
