"""The MediaPipe face mesh (Kartynnik et al. 2019, arXiv 1907.06724), 468 points from a 192 px crop, in plain PyTorch.

Weights: Google MediaPipe, Apache-2.0. The contour output of the released file is not used here and was left out.
"""

import torch
import torch.nn.functional as F
from torch import nn

INPUT = 192  # px
POINTS = 468


class Residual(nn.Module):
    """3x3 depthwise and 1x1 convolution beside a shortcut; the shortcut is pooled and zero-padded where needed."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, 3, stride, groups=channels, bias=False)
        self.point = nn.Conv2d(channels, out_channels, 1)
        self.act = nn.PReLU(out_channels)
        self.stride = stride
        self.extra = out_channels - channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # "SAME" padding as TensorFlow has it: only right and below when the stride is 2
        pad = (1, 1, 1, 1) if self.stride == 1 else (0, 1, 0, 1)
        y = self.point(self.depth(F.pad(x, pad)))
        if self.stride == 2:
            x = F.max_pool2d(x, 2)
        out: torch.Tensor = self.act(F.pad(x, (0, 0, 0, 0, 0, self.extra)) + y)
        return out


class Head(nn.Sequential):
    """From the 6x6 map of the trunk to a vector: `depth` blocks (the first halves), a squeeze to 32 channels, a 3x3."""

    def __init__(self, depth: int, outputs: int) -> None:
        blocks = [Residual(128, 128, stride=2)] + [Residual(128, 128) for _ in range(depth - 1)]
        squeeze = [nn.Conv2d(128, 32, 1), nn.PReLU(32), Residual(32, 32)]
        super().__init__(*blocks, *squeeze, nn.Conv2d(32, outputs, 3), nn.Flatten())


class FaceMesh(nn.Module):
    """Face crop -> mesh and presence."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 16, 3, stride=2), nn.PReLU(16))  # 96 px
        blocks = [Residual(16, 16), Residual(16, 16)]
        for channels, wider in (
            (16, 32),
            (32, 64),
            (64, 128),
            (128, 128),
        ):  # 48, 24, 12, 6 px
            blocks += [
                Residual(channels, wider, stride=2),
                Residual(wider, wider),
                Residual(wider, wider),
            ]
        self.trunk = nn.Sequential(*blocks)
        self.mesh = Head(3, POINTS * 3)
        self.presence = Head(1, 1)

    def forward(self, crop: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mesh [B, 468, 3] in pixels of the crop and the probability [B] that it shows a face.

        Args:
            crop: [B, 3, 192, 192] in [-1, 1]: an upright face, its mesh box about 2/3 of the side.
        """
        features = self.trunk(self.stem((crop + 1) / 2))
        mesh = self.mesh(features).reshape(-1, POINTS, 3)
        return mesh, self.presence(features)[:, 0].sigmoid()
