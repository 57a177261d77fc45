"""The expression network of face-api.js, behind the encoder's expression loss. Training only: not shipped.

github.com/vladmandic/face-api, MIT: `npm pack @vladmandic/face-api`, then `package/model/face_expression_model-*`.
Evaluation has another judge, of another design and trained on other photographs (`dbaf.evaluation.expression`).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.errors import WeightsError
from dbaf.weights.tfjs import read_tfjs

SIZE = 112
MEAN = (122.782, 117.001, 104.298)  # of the channels, in bytes
WIDTHS = (32, 64, 128, 256)
FACE = (0.28, 0.94, 0.17, 0.83)  # top, bottom, left, right of the face in an FFHQ crop, as a detector would frame it


class Same(nn.Module):
    """A 3x3 convolution with TensorFlow's padding: on even sides with stride 2 only right and below."""

    def __init__(self, inner: int, outer: int, stride: int, groups: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, stride, 0, groups=groups, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = 0 if self.conv.stride[0] == 2 and x.shape[-1] % 2 == 0 else 1
        return self.conv(F.pad(x, (before, 1, before, 1)))


class Dense(nn.Module):
    """Four separable convolutions; each but the second sees the sum of all before it."""

    def __init__(self, inner: int, outer: int, stride: int, first: bool) -> None:
        super().__init__()
        start: nn.Module = Same(inner, outer, stride) if first else separable(inner, outer, stride)
        self.convs = nn.ModuleList([start, *(separable(outer, outer, 1) for _ in range(3))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *others = self.convs
        x = F.relu(first(x))
        total = x
        for conv in others:
            total = total + conv(x)
            x = F.relu(total)
        return x


def separable(inner: int, outer: int, stride: int) -> nn.Sequential:
    """A depthwise and a pointwise convolution."""
    return nn.Sequential(Same(inner, inner, stride, inner, bias=False), nn.Conv2d(inner, outer, 1))


class ExpressionFeatures(nn.Module):
    """FFHQ crops to what tells the expression. Differentiable, frozen."""

    def __init__(self) -> None:
        super().__init__()
        inner = (3, *WIDTHS)
        self.blocks = nn.Sequential(*(Dense(inner[index], width, 2, index == 0) for index, width in enumerate(WIDTHS)))
        self.classify = nn.Linear(WIDTHS[-1], 7)

    @classmethod
    def from_tfjs(cls, path: Path) -> "ExpressionFeatures":
        """With the weights of `face_expression_model-weights_manifest.json`.

        Raises:
            WeightsError: the file is missing or holds another network.
        """
        net, tensors = cls(), list(read_tfjs(path).values())
        slots = list(net.parameters())
        if len(slots) != len(tensors):
            raise WeightsError(f"{path} is not face-api's expression model. Give its weights manifest.")
        with torch.no_grad():
            for slot, tensor in zip(slots, tensors, strict=True):
                if tensor.dim() == 4:  # depthwise kernels are [h, w, channels, 1], others [h, w, in, out]
                    tensor = tensor.permute(2, 3, 0, 1) if tensor.shape[3] == 1 else tensor.permute(3, 2, 0, 1)
                slot.copy_(tensor.T if tensor.dim() == 2 else tensor)
        return net.requires_grad_(False).eval()

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [B, 256] and the logits [B, 7] of FFHQ crops [B, 3, S, S] in [-1, 1]."""
        features = self.blocks(face_view(crops)).mean((2, 3))  # 7 px a side
        return features, self.classify(features)


def face_view(crops: torch.Tensor) -> torch.Tensor:
    """FFHQ crops [B, 3, S, S] in [-1, 1] -> what the networks of face-api.js look at [B, 3, 112, 112]."""
    top, bottom, left, right = (round(share * crops.shape[-1]) for share in FACE)
    face = crops[..., top:bottom, left:right]
    x = F.interpolate(face, size=SIZE, mode="bilinear", antialias=face.shape[-1] > SIZE)
    return ((x + 1) * 127.5 - x.new_tensor(MEAN)[:, None, None]) / 255
