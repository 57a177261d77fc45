"""How different two pictures look: a distance of MobileNetV2 features. It is not LPIPS and not comparable with it."""

import torch
from torch import nn

from dbaf.encoders.mobilenet import TAPS, MobileNetV2

SIZE = 256  # px of the aligned face crops that are compared
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in 0..1


class PerceptualNet(nn.Module):
    """ImageNet features at strides 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        depth = max(index for index, stride in TAPS.items() if stride <= 16) + 1
        self.features = nn.Sequential(*list(MobileNetV2().features)[:depth])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps [B, C, H / s, W / s] for s = 4, 8, 16 of pictures x [B, 3, H, W] in [-1, 1]."""
        x = ((x + 1) / 2 - x.new_tensor(MEAN)[:, None, None]) / x.new_tensor(DEVIATION)[:, None, None]
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                maps.append(x)
        return maps

    def distance(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """[B] distances of pictures [B, 3, H, W] in [-1, 1]: 0 = the same, at most 2.

        One minus the cosine of the channel vectors at a place, averaged over places and then over strides.
        """
        pairs = zip(self(one), self(other), strict=True)
        return torch.stack([1 - torch.cosine_similarity(a, b).mean((1, 2)) for a, b in pairs]).mean(0)
