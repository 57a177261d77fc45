"""Networks of face-api.js that see expressions, age and sex. Training only: not shipped.

github.com/vladmandic/face-api, MIT: `npm pack @vladmandic/face-api`, then `package/model/face_expression_model-*` and
`age_gender_model-*`.
"""

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.errors import WeightsError
from dbaf.weights.tfjs import read_tfjs

SIZE = 112
MEAN = (122.782, 117.001, 104.298)  # of the channels, in bytes
WIDTHS = (32, 64, 128, 256)
FACE = (0.28, 0.94, 0.17, 0.83)  # top, bottom, left, right of the face in an FFHQ crop, as a detector would frame it


def face_view(crops: torch.Tensor) -> torch.Tensor:
    """FFHQ crops [B, 3, S, S] in [-1, 1] -> what the networks of face-api.js look at [B, 3, 112, 112]."""
    top, bottom, left, right = (round(share * crops.shape[-1]) for share in FACE)
    face = crops[..., top:bottom, left:right]
    x = F.interpolate(face, size=SIZE, mode="bilinear", antialias=face.shape[-1] > SIZE)
    return ((x + 1) * 127.5 - x.new_tensor(MEAN)[:, None, None]) / 255


class Same(nn.Conv2d):
    """With TensorFlow's padding, the odd pixel right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        before, after = missing // 2, missing - missing // 2
        return super().forward(F.pad(x, (before, after, before, after)))


def separable(inner: int, outer: int, stride: int = 1) -> nn.Sequential:
    """A depthwise and a pointwise convolution."""
    return nn.Sequential(Same(inner, inner, 3, stride, groups=inner, bias=False), nn.Conv2d(inner, outer, 1))


class FaceApi(nn.Module):
    """A frozen network of face-api.js."""

    @classmethod
    def from_tfjs(cls, path: Path) -> Self:
        """With the weights of a tfjs manifest, which come in the order of the parameters.

        Raises:
            WeightsError: the file is missing or holds another network.
        """
        net, tensors = cls(), list(read_tfjs(path).values())
        slots = list(net.parameters())
        for index, tensor in enumerate(tensors):
            if tensor.dim() == 4:  # depthwise kernels are [h, w, channels, 1], others [h, w, in, out]
                depthwise = index < len(slots) and slots[index].shape[1:2] == (1,) and tensor.shape[3] == 1
                tensors[index] = tensor.permute(2, 3, 0, 1) if depthwise else tensor.permute(3, 2, 0, 1)
            elif tensor.dim() == 2:
                tensors[index] = tensor.T
        if [tensor.shape for tensor in tensors] != [slot.shape for slot in slots]:
            raise WeightsError(f"{path} holds another network. Give the weights manifest of face-api.js for this one.")
        with torch.no_grad():
            for slot, tensor in zip(slots, tensors, strict=True):
                slot.copy_(tensor)
        return net.requires_grad_(False).eval()


class Dense(nn.Module):
    """Four separable convolutions; each but the second sees the sum of all before it."""

    def __init__(self, inner: int, outer: int, stride: int, first: bool) -> None:
        super().__init__()
        start: nn.Module = Same(inner, outer, 3, stride) if first else separable(inner, outer, stride)
        self.convs = nn.ModuleList([start, *(separable(outer, outer, 1) for _ in range(3))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *others = self.convs
        x = F.relu(first(x))
        total = x
        for conv in others:
            total = total + conv(x)
            x = F.relu(total)
        return x


class ExpressionFeatures(FaceApi):
    """FFHQ crops to what tells the expression (`face_expression_model`): the encoder's loss. Differentiable.

    Evaluation has another judge, of another design and trained on other photographs (`dbaf.evaluation.expression`).
    """

    def __init__(self) -> None:
        super().__init__()
        inner = (3, *WIDTHS)
        self.blocks = nn.Sequential(*(Dense(inner[index], width, 2, index == 0) for index, width in enumerate(WIDTHS)))
        self.classify = nn.Linear(WIDTHS[-1], 7)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [B, 256] and the logits [B, 7] of FFHQ crops [B, 3, S, S] in [-1, 1]."""
        features = self.blocks(face_view(crops)).mean((2, 3))  # 7 px a side
        return features, self.classify(features)


class Reduction(nn.Module):
    """Two separable convolutions and a pooling, beside a strided shortcut: half the side."""

    def __init__(self, inner: int, outer: int, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.separables = nn.ModuleList([separable(inner, outer), separable(outer, outer)])
        self.shortcut = Same(inner, outer, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.separables[1](F.relu(self.separables[0](x if self.first else F.relu(x))))
        odd = y.shape[-1] % 2
        return F.max_pool2d(F.pad(y, (odd, 1, odd, 1), value=float("-inf")), 3, 2) + self.shortcut(x)


class Middle(nn.Module):
    """Three separable convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.separables = nn.ModuleList(separable(width, width) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for convolution in self.separables:
            y = convolution(F.relu(y))
        return x + y


class AgeSexNet(FaceApi):
    """FFHQ crops to age and sex: labels for KRIA's fit, `age_gender_model`.

    Of 400 photographs of UTKFace it gave .98 their sex, and ages 5.6 years off on average.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = Same(3, 32, 3, 2)
        self.blocks = nn.Sequential(
            Reduction(32, 64, first=True), Reduction(64, 128), Middle(128), Middle(128), Reduction(128, 256)
        )
        self.end = separable(256, 512)
        self.age, self.sex = nn.Linear(512, 1), nn.Linear(512, 2)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Age in years [B], and the probability of looking like a man [B], of FFHQ crops [B, 3, S, S] in [-1, 1]."""
        x = F.relu(self.end(self.blocks(F.relu(self.start(face_view(crops))))))
        features = F.avg_pool2d(x, SIZE // 16).flatten(1)
        return self.age(features)[:, 0], self.sex(features).softmax(1)[:, 0]
