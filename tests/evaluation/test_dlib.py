import importlib
import os
import sys
from pathlib import Path

import pytest
import torch

from dbaf.evaluation.dlib import POINTS, DlibResNet, chip
from dbaf.evaluation.recogniser import Dlib

SHARED = os.environ.get("DBAF_SHARED", "")
needs_shared = pytest.mark.skipif(
    not SHARED, reason="SKIPPED: set DBAF_SHARED to the folder with models/ and tools/ to check real weights"
)


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
    points = POINTS * 1.5 + torch.tensor([120.0, 60.0])
    for x, y in points.round().int().tolist():
        picture[..., y - 3 : y + 3, x - 3 : x + 3] = 1
    cut = chip(picture, points)
    assert cut.shape == (1, 3, 150, 150)
    for x, y in POINTS.int().tolist():
        assert cut[0, 0, y, x] > 0.9
    assert cut.mean() < -0.9


def test_shipped_calibration_is_good_enough_to_judge_privacy() -> None:
    calibration = Dlib().calibration
    assert calibration["tar"]["value"] > 0.85
    assert calibration["far"] == 1e-3
    assert calibration["tar"]["n"] > 1000
    assert 0.4 < calibration["threshold"]["value"] < 0.7


@needs_shared
def test_shipped_weights_agree_with_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(SHARED) / "tools" / "loaders"), *sys.path])
    published = importlib.import_module("dlib_resnet").FaceRec(Path(SHARED) / "models" / "dlib_resnet")
    faces = torch.rand(4, 3, 150, 150, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected, found = published(faces), Dlib().net(faces / 127.5 - 1)
    assert (1 - torch.cosine_similarity(expected, found)).abs().max() < 1e-3
    assert (expected - found).norm(dim=1).max() < 0.01  # the threshold is .54
