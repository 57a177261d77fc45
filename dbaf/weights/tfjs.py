"""Reads the weights of TensorFlow.js models: graph models (`model.json`) and bare weight manifests, and their .bin."""

import json
import math
from pathlib import Path

import numpy as np
import torch

from dbaf.errors import WeightsError


def read_tfjs(source: Path) -> dict[str, torch.Tensor]:
    """All tensors by name, fp32, in TensorFlow's layout (a convolution's kernel is [height, width, in, out]).

    Args:
        source: the .json; the binary files that it names lie beside it. Quantized weights are expanded.

    Raises:
        WeightsError: a file is missing, short or no such model; names it.
    """
    try:
        content = json.loads(source.read_text())
        tensors: dict[str, torch.Tensor] = {}
        for group in content["weightsManifest"] if isinstance(content, dict) else content:
            data = b"".join((source.parent / path).read_bytes() for path in group["paths"])
            start = 0
            for entry in group["weights"]:
                packing = entry.get("quantization", entry)
                stored = np.dtype(packing["dtype"])
                array = np.frombuffer(data, stored, math.prod(entry["shape"]), start).reshape(entry["shape"])
                start += array.nbytes
                values = array.astype(np.float32)
                if "scale" in packing:
                    values = values * np.float32(packing["scale"]) + np.float32(packing["min"])
                tensors[entry["name"]] = torch.from_numpy(values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{source} is not a complete tfjs model with its .bin beside it: {error!r}.") from error
    return tensors
