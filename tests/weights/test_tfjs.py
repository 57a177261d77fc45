import json
from pathlib import Path

import numpy as np
import pytest

from dbaf.errors import WeightsError
from dbaf.weights.tfjs import read_tfjs


def write(folder: Path, data: bytes, graph: bool = False) -> Path:
    packed = {"dtype": "uint8", "scale": 0.5, "min": -1}
    weights = [
        {"name": "a", "shape": [2], "dtype": "float32"},
        {"name": "b", "shape": [1, 3], "dtype": "float32", "quantization": packed},
        {"name": "c", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
    ]
    manifest = [{"paths": ["x.bin"], "weights": weights}]
    (folder / "x.bin").write_bytes(data)
    (folder / "x.json").write_text(json.dumps({"weightsManifest": manifest} if graph else manifest))
    return folder / "x.json"


@pytest.mark.parametrize("graph", [False, True])
def test_manifests_and_graph_models(graph: bool, tmp_path: Path) -> None:
    data = np.array([1.5, -2], np.float32).tobytes() + bytes([0, 1, 4]) + np.array([0.25, 3], np.float16).tobytes()
    tensors = read_tfjs(write(tmp_path, data, graph))
    assert tensors["a"].tolist() == [1.5, -2.0]
    assert tensors["b"].tolist() == [[-1.0, -0.5, 1.0]]
    assert tensors["c"].tolist() == [0.25, 3.0]


def test_short_missing_and_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"x\.json"):
        read_tfjs(write(tmp_path, b"123"))
    with pytest.raises(WeightsError, match=r"none\.json"):
        read_tfjs(tmp_path / "none.json")
    (tmp_path / "y.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"y\.json"):
        read_tfjs(tmp_path / "y.json")
