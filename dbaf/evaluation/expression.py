"""The expression of a face in seven classes: a mini-Xception trained on FER-2013.

Arriaga, Plöger & Valdenegro, "Real-time convolutional neural networks for emotion and gender classification", 2017
(arXiv 1710.07557; github.com/oarriaga/face_classification, MIT).

No judge is perfect: of 150 photos of lfw/val it gave .91 the same class after JPEG with quality 50, and .95 when the
face was cut out, enlarged to 512 px and put back, the face found anew each time.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.evaluation.align import warp
from dbaf.faces.face import Face

CLASSES = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")
SIZE = 64
LUMA = (0.299, 0.587, 0.114)
REACH = 1.15  # side of the square cut out, in longer sides of the box around the mesh


class Separable(nn.Module):
    """A depthwise and a pointwise convolution."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.point = nn.Conv2d(inner, outer, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.point(self.depth(x))


class Block(nn.Module):
    """Two separable convolutions and a pooling, beside a strided shortcut: half the side."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inner, outer, 1, 2)
        self.first = Separable(inner, outer)
        self.second = Separable(outer, outer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(F.relu(self.first(F.relu(x))))
        rows, columns = (side % 2 for side in y.shape[2:])
        # TensorFlow's padding: on even sides only at the far end
        y = F.pad(y, (columns, 1, rows, 1), value=float("-inf"))
        return F.max_pool2d(y, 3, 2) + self.shortcut(x)


class ExpressionNet(nn.Module):
    """Grey faces to the logits of `CLASSES`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 2)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.block1 = Block(64, 128)
        self.block2 = Block(128, 256)
        self.classify = nn.Conv2d(256, len(CLASSES), 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, 7] of grey faces x [B, 1, 64, 64] in [-1, 1]."""
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.classify(self.block2(self.block1(x))).mean((2, 3))


def grey_face(picture: torch.Tensor, face: Face) -> torch.Tensor:
    """The upright square around a face as the network expects it.

    Args:
        picture: [1, 3, H, W] in [-1, 1].

    Returns:
        [1, 1, 64, 64] in [-1, 1]
    """
    x0, y0, x1, y1 = face.box
    side = max(x1 - x0, y1 - y0) * REACH
    scale = SIZE / side
    shift_x, shift_y = side / 2 - (x0 + x1) / 2, side / 2 - (y0 + y1) / 2
    matrix = torch.tensor([[scale, 0, shift_x * scale], [0, scale, shift_y * scale]], dtype=torch.float64)
    grey = (picture * picture.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return warp(grey, matrix, SIZE, oversample=max(1, int(-(-1 // scale))))
