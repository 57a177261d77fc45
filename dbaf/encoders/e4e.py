"""e4e, the encoder of the paper's model: Tov et al., "Designing an Encoder for StyleGAN Image Manipulation"
(arXiv 2102.02766), on an IR-SE50 backbone with a feature pyramid.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.encoders.irse50 import IRSE50
from dbaf.equal_linear import EqualLinear

FEATURES = {16: 16, 32: 8, 64: 4}  # px -> stride of the backbone's map that MAAR takes
STYLES = {16: 3, 32: 4}  # px of the pyramid's map -> how many styles are read off it; all others off the one at 64 px


class StyleBlock(nn.Module):
    """Reads a style off a map: convolutions down to one pixel, then a linear layer."""

    def __init__(self, inner: int, dim: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(size.bit_length() - 1):
            layers += [nn.Conv2d(dim if index else inner, dim, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, inner, size, size] -> [B, dim]."""
        return self.linear(self.convs(x).flatten(1))


class E4E(nn.Module):
    """Picture -> W+ and feature maps.

    Args:
        styles: L, the length of W+.
        width: of the backbone: channels at stride 2.
        dim: width of W+.
    """

    covered = False  # it gets to see all of an aligned square
    feedback = 0.0  # as released
    mean_wplus: torch.Tensor

    def __init__(self, styles: int, width: int = 64, dim: int = 512) -> None:
        super().__init__()
        self.styles = styles
        self.backbone = IRSE50(width)
        sizes = [px for px, count in STYLES.items() for _ in range(count)]
        sizes += [64] * (styles - len(sizes))
        self.sizes = sizes  # the map of each style
        self.blocks = nn.ModuleList(StyleBlock(8 * width, dim, px) for px in sizes)
        self.lateral = nn.ModuleDict({str(px): nn.Conv2d(128 * width // px, 8 * width, 1) for px in (32, 64)})
        self.register_buffer("mean_wplus", torch.zeros(styles, dim))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Encode aligned faces.

        Args:
            pictures: [B, 3, 256, 256] in [-1, 1], FFHQ alignment.

        Returns:
            W+ codes [B, L, dim], and maps px -> [B, C, px, px] at 16, 32 and 64 px; C is 512, 256, 128.
        """
        maps = self.backbone(pictures)
        features = {px: maps[stride] for px, stride in FEATURES.items()}
        pyramid = {16: features[16]}
        for px, lateral in self.lateral.items():
            coarser = F.interpolate(pyramid[int(px) // 2], scale_factor=2, mode="bilinear", align_corners=True)
            pyramid[int(px)] = coarser + lateral(features[int(px)])
        read = torch.stack([block(pyramid[px]) for block, px in zip(self.blocks, self.sizes, strict=True)], 1)
        first, deltas = read[:, :1], read[:, 1:]  # one style for all, and what the others differ by
        return self.mean_wplus + torch.cat([first, first + deltas], 1), features
