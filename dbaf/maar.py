"""MAAR: multi-scale attentional attribute retention (DBAF, arXiv 2311.08786).

Encoder feature maps at 16, 32 and 64 px, weighted by channel and spatial attention (CBAM, Woo et al.,
arXiv 1807.06521), take the place of the generator's noise, so that what W+ cannot say stays in the picture.
"""

import torch
from torch import nn


class CBAM(nn.Module):
    """Channel attention, then spatial attention."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.channel = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1), nn.ReLU(), nn.Conv2d(channels // reduction, channels, 1)
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, C, h, w] -> [B, C, h, w]."""
        mean, peak = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self.channel(mean) + self.channel(peak))
        statistics = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)  # [B, 2, h, w]
        return x * torch.sigmoid(self.spatial(statistics))


class MAAR(nn.Module):
    """Feature maps of the encoder -> maps for the generator's noise inputs.

    Args:
        channels: px (a string, as in JSON) -> channels of the encoder's map at that size.
        dim: channels of the generator's layers at those sizes.
    """

    def __init__(self, channels: dict[str, int], dim: int = 512) -> None:
        super().__init__()
        self.scales = nn.ModuleDict(
            {px: nn.Sequential(nn.Conv2d(inner, dim, 1), CBAM(dim)) for px, inner in channels.items()}
        )
        self.gain = nn.ParameterDict({px: nn.Parameter(torch.zeros(1, dim, 1, 1)) for px in channels})

    def forward(self, features: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """px -> encoder map [B, C, px, px] to px -> noise map [B, dim, px, px]."""
        return {int(px): self.gain[px] * scale(features[int(px)]) for px, scale in self.scales.items()}
