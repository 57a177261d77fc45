"""YuNet, a face detector of 75,000 parameters (Wu, Peng & Yu 2023, doi 10.1007/s11633-023-1423-y), in plain PyTorch.

Weights: libfacedetection.train, Apache-2.0, batch normalisation folded into the convolutions on conversion.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

STRIDES = (8, 16, 32)
OUTPUTS = (1, 1, 4, 10)  # channels: face logit, object logit, box, five points


@dataclass(frozen=True)
class Candidates:
    """N detections: boxes [N, 4] as x0, y0, x1, y1, points [N, 5, 2] in the order of `Face.points`, scores [N]."""

    boxes: torch.Tensor
    points: torch.Tensor
    scores: torch.Tensor


class Separable(nn.Module):
    """1x1 convolution, 3x3 depthwise convolution, then a ReLU unless it is a head."""

    def __init__(self, channels: int, out_channels: int, head: bool = False) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, out_channels, 1)
        self.depth = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depth(self.point(x))
        return x if self.head else F.relu_(x)


class YuNet(nn.Module):
    """Detector of faces of about 10 to 300 px with five landmarks, anchor-free, at strides 8, 16 and 32."""

    def __init__(self, width: int = 64, stem: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, stride=2, padding=1)
        self.stem_out = Separable(stem, stem)
        pairs = [(stem, width)] + [(width, width)] * 4
        self.stages = nn.ModuleList(
            nn.Sequential(Separable(inner, inner), Separable(inner, outer)) for inner, outer in pairs
        )
        self.laterals = nn.ModuleList(Separable(width, width) for _ in STRIDES)
        self.shared = nn.ModuleList(Separable(width, width) for _ in STRIDES)
        self.heads = nn.ModuleList(Separable(width, sum(OUTPUTS), head=True) for _ in STRIDES)

    def forward(self, picture: torch.Tensor) -> list[torch.Tensor]:
        """Raw maps [B, 16, h, w] at strides 8, 16 and 32; their channels are those of `OUTPUTS`.

        Args:
            picture: [B, 3, H, W] in [-1, 1], H and W multiples of 32.
        """
        x = (picture.flip(1) + 1) * 127.5  # trained on BGR, 0 to 255
        x = x.contiguous(memory_format=torch.channels_last)  # 3.5 times as fast on CPU
        x = F.max_pool2d(self.stem_out(F.relu_(self.stem(x))), 2)  # stride 4
        x = F.max_pool2d(self.stages[1](self.stages[0](x)), 2)  # stride 8
        fine = self.stages[2](x)
        middle = self.stages[3](F.max_pool2d(fine, 2))
        coarse = self.stages[4](F.max_pool2d(middle, 2))
        coarse = self.laterals[2](coarse)
        middle = self.laterals[1](middle + F.interpolate(coarse, scale_factor=2.0))
        fine = self.laterals[0](fine + F.interpolate(middle, scale_factor=2.0))
        levels = zip((fine, middle, coarse), self.shared, self.heads, strict=True)
        return [head(shared(level)) for level, shared, head in levels]

    def candidates(self, picture: torch.Tensor, threshold: float) -> Candidates:
        """Every cell of a picture [1, 3, H, W] whose score reaches the threshold, in pixels of that picture, on CPU."""
        height, width = picture.shape[-2:]
        picture = F.pad(picture, (0, -width % 32, 0, -height % 32))  # 0 is mid-grey
        boxes, points, scores = [], [], []
        for stride, maps in zip(STRIDES, self(picture), strict=True):
            face, thing, box_map, point_map = maps[0].split(OUTPUTS)
            score = (face.sigmoid() * thing.sigmoid()).sqrt()[0]  # [h, w]
            row, column = torch.nonzero(score >= threshold, as_tuple=True)
            cell = torch.stack([column, row], dim=1).to(score)  # [N, 2]
            box = box_map[:, row, column].T  # [N, 4]
            centre, half = (
                (cell + box[:, :2]) * stride,
                box[:, 2:].clamp(max=10).exp() * stride / 2,
            )
            boxes.append(torch.cat([centre - half, centre + half], dim=1))
            offsets = point_map[:, row, column].T.reshape(-1, 5, 2)
            points.append((cell[:, None] + offsets) * stride)
            scores.append(score[row, column])
        return Candidates(torch.cat(boxes).cpu(), torch.cat(points).cpu(), torch.cat(scores).cpu())
