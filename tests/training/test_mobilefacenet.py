import os
from pathlib import Path

import pytest
import torch

from dbaf.errors import WeightsError
from dbaf.evaluation.align import ARCFACE_112
from dbaf.training.mobilefacenet import FFHQ_POINTS, MobileFaceNet, arcface_view

SHARED = os.environ.get("DBAF_SHARED", "")


def test_embeddings_have_unit_length_and_carry_gradients() -> None:
    net = MobileFaceNet().eval()
    crops = (torch.rand(3, 3, 256, 256) * 2 - 1).requires_grad_()
    out = net.embed_ffhq(crops)
    assert out.shape == (3, 192)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(3))
    out[:, 0].sum().backward()
    assert crops.grad is not None
    assert crops.grad.abs().sum() > 0


@pytest.mark.parametrize("side", [128, 256, 1024])
def test_view_brings_the_landmarks_to_their_places(side: int) -> None:
    crop = torch.full((1, 3, side, side), -1.0)
    radius = side // 64
    for x, y in (FFHQ_POINTS * side).round().int().tolist():
        crop[..., y - radius : y + radius, x - radius : x + radius] = 1
    view = arcface_view(crop)
    assert view.shape == (1, 3, 112, 112)
    for x, y in ARCFACE_112.tolist():
        assert view[0, 0, round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].amax() > 0.5


def test_wrong_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tflite", reason="pip install tflite")
    with pytest.raises(WeightsError, match=r"nothing\.tflite"):
        MobileFaceNet.from_tflite(tmp_path / "nothing.tflite")
    (tmp_path / "bad.tflite").write_bytes(b"not a model at all, only text")
    with pytest.raises(WeightsError, match=r"bad\.tflite"):
        MobileFaceNet.from_tflite(tmp_path / "bad.tflite")


@pytest.mark.skipif(not SHARED, reason="set DBAF_SHARED to the folder with models/ to check real weights")
def test_real_weights_agree_with_the_generic_tflite_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tflite", reason="pip install tflite")
    monkeypatch.syspath_prepend(str(Path(SHARED) / "tools" / "loaders"))
    import tflite_torch

    path = Path(SHARED) / "models" / "mobilefacenet" / "MobileFaceNet.tflite"
    pixels = torch.randint(0, 256, (2, 112, 112, 3), generator=torch.Generator().manual_seed(0)).float()
    expected = tflite_torch.Net(str(path))((pixels - 127.5) / 128)
    actual = MobileFaceNet.from_tflite(path)((pixels / 127.5 - 1).permute(0, 3, 1, 2))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)
