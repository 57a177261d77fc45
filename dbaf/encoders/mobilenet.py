"""MobileNetV2, the backbone of the compact encoder (Sandler et al., arXiv 1801.04381).

Parameter names follow torchvision, whose ImageNet weights (BSD-3-Clause) the encoder's training starts from.
"""

import torch
from torch import nn

# expansion, channels, repeats, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
TAPS = {3: 4, 6: 8, 13: 16, 17: 32}  # index in `features` -> stride of its output
CHANNELS = {4: 24, 8: 32, 16: 96, 32: 320}


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; a skip connection where the shape allows it."""

    def __init__(self, inner: int, outer: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inner * expansion
        expand = [_conv(inner, width, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            _conv(width, width, 3, stride, groups=width),
            nn.Conv2d(width, outer, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.skip = stride == 1 and inner == outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


class MobileNetV2(nn.Module):
    """Feature maps of a picture at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 32, 3, 2)]
        width = 32
        for expansion, channels, repeats, stride in STAGES:
            for index in range(repeats):
                layers.append(InvertedResidual(width, channels, stride if index == 0 else 1, expansion))
                width = channels
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        """x [B, 3, H, W] in [-1, 1] -> stride s -> map [B, CHANNELS[s], H / s, W / s]."""
        maps = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                maps[TAPS[index]] = x
        return maps


def _conv(inner: int, outer: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outer),
        nn.ReLU6(inplace=True),
    )
