import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dbaf.errors import WeightsError
from dbaf.evaluation.recognisers import DLIB_MANIFEST, DLIB_POINTS, DlibResNet, dlib_chip, read_tfjs

SHARED = os.environ.get("DBAF_SHARED", "")
needs_shared = pytest.mark.skipif(not SHARED, reason="set DBAF_SHARED to the folder with models/ to check real weights")


def write_tfjs(folder: Path, data: bytes) -> Path:
    weights = [
        {"name": "a", "shape": [2], "dtype": "float32"},
        {"name": "b", "shape": [1, 3], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1}},
    ]
    (folder / "x.bin").write_bytes(data)
    (folder / DLIB_MANIFEST).write_text(json.dumps([{"paths": ["x.bin"], "weights": weights}]))
    return folder / DLIB_MANIFEST


def test_read_tfjs(tmp_path: Path) -> None:
    data = np.array([1.5, -2], np.float32).tobytes() + bytes([0, 1, 4])
    tensors = read_tfjs(write_tfjs(tmp_path, data))
    assert tensors["a"].tolist() == [1.5, -2.0]
    assert tensors["b"].tolist() == [[-1.0, -0.5, 1.0]]


def test_short_or_missing_weights_are_named(tmp_path: Path) -> None:
    manifest = write_tfjs(tmp_path, b"123")
    with pytest.raises(WeightsError, match=DLIB_MANIFEST):
        read_tfjs(manifest)
    with pytest.raises(WeightsError, match="nowhere"):
        DlibResNet.from_tfjs(tmp_path / "nowhere")
    write_tfjs(tmp_path, np.zeros(2, np.float32).tobytes() + bytes(3))
    with pytest.raises(WeightsError, match="does not hold dlib"):
        DlibResNet.from_tfjs(tmp_path)


def test_network_shapes_and_independence_of_the_batch() -> None:
    torch.manual_seed(0)
    net = DlibResNet().eval()
    faces = torch.rand(3, 3, 150, 150) * 2 - 1
    with torch.no_grad():
        together, alone = net(faces), net(faces[1:2])
    assert together.shape == (3, 128)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)


def test_chip_brings_the_points_to_their_places() -> None:
    picture = -torch.ones(1, 3, 400, 500)
    points = DLIB_POINTS * 1.5 + torch.tensor([120.0, 60.0])
    for x, y in points.round().int().tolist():
        picture[..., y - 3 : y + 3, x - 3 : x + 3] = 1
    chip = dlib_chip(picture, points)
    assert chip.shape == (1, 3, 150, 150)
    for x, y in DLIB_POINTS.int().tolist():
        assert chip[0, 0, y, x] > 0.9
    assert chip.mean() < -0.9


@needs_shared
def test_real_weights_tell_people_apart() -> None:
    net = DlibResNet.from_tfjs(Path(SHARED) / "models" / "dlib_resnet")
    torch.manual_seed(0)
    out = net(torch.rand(2, 3, 150, 150) * 2 - 1)
    assert out.isfinite().all()
    assert 0.2 < out.norm(dim=1).mean() < 3
