"""Compact encoder: a 256 px face to W+, and the feature maps that MAAR takes.

The task is e4e's (Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", arXiv 2102.02766): W+ as
offsets from the mean latent. The network is ours: one learned query a style attends over the maps of a MobileNetV2.
"""

import torch
from torch import nn

from dbaf.encoders.mobilenet import CHANNELS, MobileNetV2
from dbaf.transformer import CrossBlock

SIZE = 256  # px, side of the input
FEATURES = {16: 16, 32: 8, 64: 4}  # px -> stride of the map that MAAR takes
FEATURE_CHANNELS = {size: CHANNELS[stride] for size, stride in FEATURES.items()}
TOKENS = (16, 32)  # strides of the maps that the queries attend to


class CompactEncoder(nn.Module):
    """Picture -> W+ and feature maps.

    Args:
        styles: L, the length of W+.
        active: entries of W+ that reach the picture; the others stay at the mean.
        dim: width of W+.
        width: width of the queries.
        depth: number of attention blocks.
        heads: attention heads a block.
    """

    covered = True  # it gets to see the part of a face that is replaced, and nothing else
    feedback = 0.5  # share of its error on its own reconstruction that is taken off, see `dbaf.encoders.refine`
    mean_wplus: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, styles: int, active: list[int], dim: int = 512, width: int = 384, depth: int = 3, heads: int = 6
    ) -> None:
        super().__init__()
        self.styles, self.active = styles, active
        self.backbone = MobileNetV2()
        self.tokens = nn.ModuleDict({str(s): nn.Conv2d(CHANNELS[s], width, 1) for s in TOKENS})
        self.places = nn.ParameterDict(
            {str(s): nn.Parameter(0.02 * torch.randn(1, (SIZE // s) ** 2, width)) for s in TOKENS}
        )
        self.queries = nn.Parameter(0.02 * torch.randn(1, len(active), width))
        self.blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.offset = nn.Linear(width, dim)
        self.register_buffer("mean_wplus", torch.zeros(styles, dim))  # what offsets are counted from
        self.register_buffer("scale", torch.ones(dim))  # standard deviation of w: offsets are predicted in its units

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Encode aligned faces.

        Args:
            pictures: [B, 3, 256, 256] in [-1, 1], FFHQ alignment.

        Returns:
            W+ codes [B, L, dim], and maps px -> [B, C, px, px] at 16, 32 and 64 px.
        """
        maps = self.backbone(pictures)
        tokens = [self.tokens[str(s)](maps[s]).flatten(2).mT + self.places[str(s)] for s in TOKENS]
        context = torch.cat(tokens, 1)  # [B, 16 * 16 + 8 * 8, width]
        x = self.queries.expand(len(pictures), -1, -1)  # [B, active, width]
        for block in self.blocks:
            x = block(x, context)
        offsets = self.offset(self.norm(x)) * self.scale  # [B, active, dim]
        wplus = self.mean_wplus.repeat(len(pictures), 1, 1)  # [B, L, dim]
        wplus = wplus.index_add(1, torch.tensor(self.active, device=wplus.device), offsets)
        return wplus, {size: maps[stride] for size, stride in FEATURES.items()}
