"""The face recogniser that judges privacy: dlib's ResNet (King 2017, dlib.net). It is never a training loss."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.evaluation.align import similarity, warp

SIZE = 150
# Eyes, nose tip and mouth corners in dlib's face chip, whose inner two thirds are the unit square.
_CHIP = [[0.2255, 0.216], [0.7547, 0.216], [0.490, 0.5156], [0.254, 0.780], [0.726, 0.780]]
POINTS = (torch.tensor(_CHIP, dtype=torch.float64) + 0.25) / 1.5 * SIZE
MEAN = (122.782, 117.001, 104.298)  # RGB, of 0..255
# name of the blocks, channels in and out, blocks that keep the side, whether one that halves it stands before them
PLAN = (("32", 32, 32, 3, False), ("64", 32, 64, 3, True), ("128", 64, 128, 2, True), ("256", 128, 256, 2, True))


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut. Going down: half the side; the shortcut is pooled and zero-padded."""

    def __init__(self, inputs: int, outputs: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2 if down else 1, 0 if down else 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.down:
            x = F.avg_pool2d(x, 2)
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))  # one smaller on even sides
        return F.relu(x + y)


class DlibResNet(nn.Module):
    """Aligned faces to 128-d embeddings; compare by Euclidean distance, small = same person."""

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = nn.Conv2d(3, 32, 7, 2)
        self.blocks = nn.ModuleDict()
        for name, inputs, outputs, count, down in PLAN:
            if down:
                self.blocks[f"conv{name}_down"] = Block(inputs, outputs, True)
            for number in range(1, count + 1):
                self.blocks[f"conv{name}_{number}"] = Block(outputs, outputs, False)
        self.blocks["conv256_down_out"] = Block(256, 256, True)
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings [B, 128] of aligned faces x [B, 3, 150, 150], RGB in [-1, 1], as `chip()` cuts them."""
        mean = x.new_tensor(MEAN)[:, None, None]
        x = ((x + 1) * 127.5 - mean) / 256
        x = F.max_pool2d(F.relu(self.conv32_down(x)), 3, 2)
        for block in self.blocks.values():
            x = block(x)
        return self.fc(x.mean((2, 3)))


def chip(picture: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Cut a face out as dlib's recogniser expects it: the alignment decides whether the recogniser sees anything.

    Args:
        picture: [1, 3, H, W] in [-1, 1].
        points: [5, 2] eyes, nose tip, mouth corners (image-left first), in pixels.

    Returns:
        [1, 3, 150, 150] in [-1, 1]
    """
    matrix = similarity(points, POINTS)
    shrink = float(1 / torch.linalg.det(matrix[:, :2]).sqrt())
    return warp(picture, matrix, SIZE, oversample=max(1, math.ceil(shrink)))
