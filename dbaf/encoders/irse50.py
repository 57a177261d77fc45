"""IR-SE50, the backbone of e4e: a residual network with squeeze and excitation, made for face recognition.

As in InsightFace_Pytorch by TreB1eN (MIT): Deng et al., "ArcFace" (arXiv 1801.07698); Hu et al.,
"Squeeze-and-Excitation Networks" (arXiv 1709.01507).
"""

import torch
from torch import nn

REPEATS = (3, 4, 14, 3)  # residual blocks a stage; each stage halves the map, all but the first double its channels
SQUEEZE = 16


class Excitation(nn.Module):
    """Scales every channel by what the means of all of them say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // SQUEEZE, 1, bias=False)
        self.excite = nn.Conv2d(channels // SQUEEZE, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, C, h, w] -> [B, C, h, w]."""
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    """Two convolutions with excitation, and a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.shortcut = (
            nn.MaxPool2d(1, stride)  # leaves pixels out
            if inner == outer
            else nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        )
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inner),
            nn.Conv2d(inner, outer, 3, padding=1, bias=False),
            nn.PReLU(outer),
            nn.Conv2d(outer, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            Excitation(outer),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, inner, h, w] -> [B, outer, h / stride, w / stride]."""
        return self.residual(x) + self.shortcut(x)


class IRSE50(nn.Module):
    """Feature maps of a picture at strides 2, 4, 8 and 16.

    Args:
        width: channels at stride 2; they double with every stage.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))
        self.stages = nn.ModuleDict()
        inner = width
        for index, repeats in enumerate(REPEATS):
            outer = width * 2**index
            blocks = [Residual(inner, outer, 2), *(Residual(outer, outer, 1) for _ in range(repeats - 1))]
            self.stages[str(2 ** (index + 1))] = nn.Sequential(*blocks)
            inner = outer

    def forward(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        """x [B, 3, H, W] in [-1, 1] -> stride s -> map [B, width * s / 2, H / s, W / s]."""
        x = self.stem(x)
        maps = {}
        for stride, stage in self.stages.items():
            maps[int(stride)] = x = stage(x)
        return maps
