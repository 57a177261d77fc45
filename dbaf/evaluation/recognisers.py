"""The face recogniser that judges privacy: dlib's ResNet. It is never a training loss.

Weights are not shipped: the user gives the folder with the tfjs export of @vladmandic/face-api (CC0),
`face_recognition_model-weights_manifest.json` and `face_recognition_model.bin`.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dbaf.errors import WeightsError
from dbaf.evaluation.align import similarity, warp

DLIB_MANIFEST = "face_recognition_model-weights_manifest.json"
DLIB_SIZE = 150
# Eyes, nose tip and mouth corners in dlib's face chip, whose inner two thirds are the unit square.
_CHIP = [[0.2255, 0.216], [0.7547, 0.216], [0.490, 0.5156], [0.254, 0.780], [0.726, 0.780]]
DLIB_POINTS = (torch.tensor(_CHIP, dtype=torch.float64) + 0.25) / 1.5 * DLIB_SIZE
DLIB_MEAN = (122.782, 117.001, 104.298)  # RGB, of 0..255


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
    """Aligned faces to 128-d embeddings; compare by Euclidean distance, small = same person (King 2017, dlib.net)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = nn.Conv2d(3, 32, 7, 2)
        plan = [
            ("32", 32, 32, 3, False),
            ("64", 32, 64, 3, True),
            ("128", 64, 128, 2, True),
            ("256", 128, 256, 2, True),
        ]
        self.blocks = nn.ModuleDict()
        for name, inputs, outputs, count, down in plan:
            if down:
                self.blocks[f"conv{name}_down"] = Block(inputs, outputs, True)
            for number in range(1, count + 1):
                self.blocks[f"conv{name}_{number}"] = Block(outputs, outputs, False)
        self.blocks["conv256_down_out"] = Block(256, 256, True)
        self.fc = nn.Linear(256, 128, bias=False)

    @classmethod
    def from_tfjs(cls, folder: str | Path) -> "DlibResNet":
        """Build the network with the weights of a folder; frozen, in evaluation mode.

        Raises:
            WeightsError: a file is missing, short, or holds another network; names the folder and the file.
        """
        net = cls()
        tensors = read_tfjs(Path(folder) / DLIB_MANIFEST)
        try:
            with torch.no_grad():
                for name, module in net.named_modules():
                    if isinstance(module, nn.Conv2d):
                        prefix = name.removeprefix("blocks.").replace(".", "/")
                        # A learned scale and shift follow every convolution: folded into it.
                        scale = tensors[f"{prefix}/scale/weights"]
                        weight = tensors[f"{prefix}/conv/filters"].permute(3, 2, 0, 1)  # [out, in, h, w]
                        module.weight.copy_(weight * scale[:, None, None, None])
                        bias = tensors[f"{prefix}/conv/bias"]
                        assert module.bias is not None
                        module.bias.copy_(bias * scale + tensors[f"{prefix}/scale/biases"])
                net.fc.weight.copy_(tensors["fc"].T)
        except (KeyError, RuntimeError) as error:
            raise WeightsError(f"{folder} does not hold dlib's face recogniser ({error}). Give that folder.") from error
        return net.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings of aligned faces.

        Args:
            x: [B, 3, 150, 150] RGB in [-1, 1], as `dlib_chip()` cuts them.

        Returns:
            [B, 128]
        """
        mean = x.new_tensor(DLIB_MEAN)[:, None, None]
        x = ((x + 1) * 127.5 - mean) / 256
        x = F.max_pool2d(F.relu(self.conv32_down(x)), 3, 2)
        for block in self.blocks.values():
            x = block(x)
        return self.fc(x.mean((2, 3)))


def dlib_chip(picture: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Cut a face out as dlib's recogniser expects it: the alignment decides whether the recogniser sees anything.

    Args:
        picture: [1, 3, H, W] in [-1, 1].
        points: [5, 2] eyes, nose tip, mouth corners (image-left first), in pixels.

    Returns:
        [1, 3, 150, 150] in [-1, 1]
    """
    matrix = similarity(points, DLIB_POINTS)
    shrink = float(1 / torch.linalg.det(matrix[:, :2]).sqrt())
    return warp(picture, matrix, DLIB_SIZE, oversample=max(1, math.ceil(shrink)))


def read_tfjs(manifest: Path) -> dict[str, torch.Tensor]:
    """Tensors (fp32, TensorFlow's layout) of a tfjs weights manifest and the binary files beside it.

    Raises:
        WeightsError: a file is missing, short or not a manifest; names it.
    """
    try:
        groups = json.loads(manifest.read_text())
        tensors: dict[str, torch.Tensor] = {}
        for group in groups:
            data = b"".join((manifest.parent / path).read_bytes() for path in group["paths"])
            start = 0
            for entry in group["weights"]:
                packing = entry.get("quantization")
                dtype = np.dtype(packing["dtype"] if packing else entry["dtype"])
                values = np.frombuffer(data, dtype, math.prod(entry["shape"]), start).astype(np.float32)
                start += values.size * dtype.itemsize
                if packing:
                    values = values * packing["scale"] + packing["min"]
                tensors[entry["name"]] = torch.from_numpy(values.astype(np.float32).reshape(entry["shape"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"Cannot read the tfjs weights {manifest}: {error}. Give the complete folder.") from error
    return tensors
