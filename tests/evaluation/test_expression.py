import importlib
import os
import sys
from pathlib import Path

import pytest
import torch
from toggling import face

from dbaf.evaluation.expression import CLASSES, ExpressionNet, grey_face
from dbaf.evaluation.recogniser import JUDGES
from dbaf.faces import FaceFinder
from dbaf.weights.bundle import bundle_folder, load_part

SHARED = os.environ.get("DBAF_SHARED", "")


@pytest.fixture(scope="module")
def net() -> ExpressionNet:
    net = ExpressionNet()
    net.load_state_dict(load_part(bundle_folder(JUDGES), "emotion")[0])
    return net.requires_grad_(False).eval()


def test_the_square_around_the_face_is_cut_out() -> None:
    picture = -torch.ones(1, 3, 200, 300)
    picture[..., 63:97, 103:137] = 1  # the face is 30 px wide, around (120, 80); a little more is cut out
    cut = grey_face(picture, face(120, 80))
    assert cut.shape == (1, 1, 64, 64)
    assert cut.mean() > 0.9
    assert grey_face(picture, face(120, 80, 60)).mean() < 0


def test_a_generated_person_smiles(net: ExpressionNet, portrait: torch.Tensor) -> None:
    small = torch.nn.functional.interpolate(portrait, size=512, mode="bilinear", antialias=True)
    (found,) = FaceFinder.from_bundle(bundle_folder("mobile")).find(small)
    scores = net(grey_face(small, found)).softmax(1)[0]
    assert CLASSES[int(scores.argmax())] in ("happy", "neutral")
    assert scores.max() > 0.4


@pytest.mark.skipif(not SHARED, reason="SKIPPED: set DBAF_SHARED to check against the published network")
def test_shipped_weights_agree_with_the_published_ones(net: ExpressionNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(SHARED) / "tools" / "loaders"), *sys.path])
    published = importlib.import_module("tfjs").Net(str(Path(SHARED) / "models" / "emotion" / "emotion.json"))
    faces = torch.rand(3, 64, 64, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = published(faces, ["Identity"])[0]
    torch.testing.assert_close(net(faces.permute(0, 3, 1, 2)).softmax(1), expected, atol=1e-3, rtol=0)
