"""The age and sex network of face-api.js: it labels photographs for KRIA's fit. Training only: not shipped.

github.com/vladmandic/face-api, MIT: `npm pack @vladmandic/face-api`, then `package/model/age_gender_model-*`. Of 400
photographs of UTKFace it gave .975 their sex, and ages 5.5 years off on average.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.errors import WeightsError
from dbaf.training.expressions import SIZE, face_view
from dbaf.weights.tfjs import read_tfjs


class Same(nn.Conv2d):
    """With TensorFlow's padding, the odd pixel right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        before, after = missing // 2, missing - missing // 2
        return super().forward(F.pad(x, (before, after, before, after)))


def separable(inner: int, outer: int) -> nn.Sequential:
    """A depthwise and a pointwise convolution."""
    return nn.Sequential(Same(inner, inner, 3, groups=inner, bias=False), nn.Conv2d(inner, outer, 1))


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


class AgeSexNet(nn.Module):
    """FFHQ crops to age and sex. Frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.start = Same(3, 32, 3, 2)
        self.blocks = nn.Sequential(
            Reduction(32, 64, first=True), Reduction(64, 128), Middle(128), Middle(128), Reduction(128, 256)
        )
        self.end = separable(256, 512)
        self.age, self.sex = nn.Linear(512, 1), nn.Linear(512, 2)

    @classmethod
    def from_tfjs(cls, path: Path) -> "AgeSexNet":
        """With the weights of `age_gender_model-weights_manifest.json`.

        Raises:
            WeightsError: the file is missing or holds another network.
        """
        net, tensors = cls(), list(read_tfjs(path).values())
        slots = list(net.parameters())
        if len(slots) != len(tensors):
            raise WeightsError(f"{path} is not face-api's age and gender model. Give its weights manifest.")
        with torch.no_grad():
            for slot, tensor in zip(slots, tensors, strict=True):
                if tensor.dim() == 4:  # depthwise kernels are [h, w, channels, 1], others [h, w, in, out]
                    depthwise = slot.shape[1] == 1 and tensor.shape[3] == 1
                    tensor = tensor.permute(2, 3, 0, 1) if depthwise else tensor.permute(3, 2, 0, 1)
                slot.copy_(tensor.T if tensor.dim() == 2 else tensor)
        return net.requires_grad_(False).eval()

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Age in years [B], and the probability of looking like a man [B], of FFHQ crops [B, 3, S, S] in [-1, 1]."""
        x = F.relu(self.end(self.blocks(F.relu(self.start(face_view(crops))))))
        features = F.avg_pool2d(x, SIZE // 16).flatten(1)
        return self.age(features)[:, 0], self.sex(features).softmax(1)[:, 0]
