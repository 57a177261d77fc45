"""MobileFaceNet, the face recogniser behind the identity losses. Training only: its weights are not shipped.

Chen et al., "MobileFaceNets", arXiv 1804.07573. Weights come from a TFLite file given by the user; reading it
needs the package `tflite` (`pip install tflite`).
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dbaf.errors import WeightsError
from dbaf.evaluation.align import ARCFACE_112, similarity, warp

# Mean place of eyes, nose tip and mouth corners in an FFHQ-aligned crop, as shares of its side: measured with
# `dbaf.faces` on 584 press photos and made symmetrical.
FFHQ_POINTS = torch.tensor(
    [[0.378, 0.474], [0.622, 0.474], [0.5, 0.602], [0.395, 0.736], [0.605, 0.736]], dtype=torch.float64
)

# expansion channels, output channels, stride of every bottleneck
BOTTLENECKS = [
    (128, 64, 2),
    *[(128, 64, 1)] * 4,
    (256, 128, 2),
    *[(256, 128, 1)] * 6,
    (512, 128, 2),
    *[(256, 128, 1)] * 2,
]


class Conv(nn.Module):
    """Convolution with TensorFlow's "same" padding (extra pixel right and below), then PReLU if wanted."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, prelu: bool = True
    ) -> None:
        super().__init__()
        # Input sides are even wherever stride is 2, so "same" pads 0 before and 1 after there.
        self.uneven = stride == 2
        padding = 0 if self.uneven else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
        self.prelu = nn.PReLU(outputs) if prelu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prelu(self.conv(F.pad(x, (0, 1, 0, 1)) if self.uneven else x))


class Bottleneck(nn.Module):
    """Inverted residual: expand, depthwise, project without activation; a skip where the shape stays."""

    def __init__(self, inputs: int, expansion: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = Conv(inputs, expansion)
        self.depthwise = Conv(expansion, expansion, 3, stride, groups=expansion)
        self.project = Conv(expansion, outputs, prelu=False)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class MobileFaceNet(nn.Module):
    """Faces to 192-d embeddings; compare by cosine. Differentiable, any batch size."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            Conv(3, 64, 3, 2),
            Conv(64, 64, 3, groups=64),
            Conv(64, 64, prelu=False),
        ]
        channels = 64
        for expansion, outputs, stride in BOTTLENECKS:
            layers.append(Bottleneck(channels, expansion, outputs, stride))
            channels = outputs
        layers.append(Conv(channels, 512))
        layers.append(nn.Conv2d(512, 512, 7, groups=512))
        layers.append(nn.Conv2d(512, 512, 1))
        layers.append(nn.Conv2d(512, 192, 1))
        self.layers = nn.Sequential(*layers)

    @classmethod
    def from_tflite(cls, path: str | Path) -> "MobileFaceNet":
        """Build the network with the weights of a TFLite file; frozen, in evaluation mode, channels last.

        Raises:
            WeightsError: the file is missing, is not TFLite, or holds another network.
            ImportError: the package `tflite` is not installed.
        """
        net = cls()
        slots = list(net.parameters())
        tensors = _tflite_parameters(Path(path))
        shapes = [list(t.shape) for t in tensors]
        if shapes != [list(p.shape) for p in slots]:
            raise WeightsError(f"{path} is not the 192-d MobileFaceNet: its layers have other shapes. Use that file.")
        with torch.no_grad():
            for slot, tensor in zip(slots, tensors, strict=True):
                slot.copy_(tensor)
        nn.utils.convert_conv2d_weight_memory_format(net, torch.channels_last)
        return net.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings before normalisation.

        Args:
            x: [B, 3, 112, 112] RGB in [-1, 1], aligned to `ARCFACE_112`.

        Returns:
            [B, 192]
        """
        x = x.contiguous(memory_format=torch.channels_last)
        return self.layers(x * (127.5 / 128)).flatten(1)  # trained on (byte - 127.5) / 128

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Unit-norm embeddings [B, 192] of ArcFace-aligned faces [B, 3, 112, 112] in [-1, 1]."""
        return F.normalize(self(x).float(), dim=1)

    def embed_ffhq(self, crops: torch.Tensor) -> torch.Tensor:
        """Unit-norm embeddings [B, 192] of FFHQ-aligned crops [B, 3, S, S] in [-1, 1]."""
        return self.embed(arcface_view(crops))


def arcface_view(crops: torch.Tensor) -> torch.Tensor:
    """The 112 px ArcFace view of FFHQ-aligned crops, by one fixed similarity for all faces; differentiable.

    A detector inside the loss would follow the generator's mistakes; a fixed view does not.

    Args:
        crops: [B, 3, S, S] in [-1, 1], any S (256 in training).

    Returns:
        [B, 3, 112, 112] in [-1, 1]
    """
    side = crops.shape[-1]
    matrix = similarity(FFHQ_POINTS * side, ARCFACE_112)
    # At 256 px the view shrinks the crop about 1.7 times: two samples per pixel and axis are enough.
    shrink = float(1 / torch.linalg.det(matrix[:, :2]).sqrt())
    return warp(crops, matrix, 112, oversample=max(1, round(shrink)))


def _tflite_parameters(path: Path) -> list[torch.Tensor]:
    """Weights, biases and PReLU slopes of a TFLite graph, in the order in which it runs them and in torch's layout."""
    import tflite  # only training reads TFLite files

    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror}. Give the MobileFaceNet.tflite file.") from error
    if data[4:8] != b"TFL3":
        raise WeightsError(f"{path} is not a TFLite file. Give the MobileFaceNet.tflite file.")
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)

    def constant(index: int) -> torch.Tensor | None:
        tensor = graph.Tensors(index)
        buffer = model.Buffers(tensor.Buffer())
        if not buffer.DataLength() or tensor.Type() != tflite.TensorType.FLOAT32:
            return None
        values = np.frombuffer(buffer.DataAsNumpy().tobytes(), np.float32).reshape(tensor.ShapeAsNumpy())
        return torch.from_numpy(values.copy())

    parameters: list[torch.Tensor] = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        opcode = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(opcode.BuiltinCode(), opcode.DeprecatedBuiltinCode())
        values = [constant(int(i)) for i in operator.InputsAsNumpy() if i >= 0]
        weights = [v for v in values if v is not None]
        if kind == tflite.BuiltinOperator.CONV_2D:  # [out, h, w, in]
            parameters += [weights[0].permute(0, 3, 1, 2), weights[1]]
        elif kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D:  # [1, h, w, channels]
            parameters += [weights[0].permute(3, 0, 1, 2), weights[1]]
        elif kind == tflite.BuiltinOperator.MUL:
            # The file writes PReLU as relu(x) + c (x - |x|), and x - |x| = 2 min(x, 0).
            parameters.append(2 * weights[0])
    return parameters
