"""The demo on networks of paper: what it writes, and that every step starts from a saved picture."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dbaf import demo
from dbaf.images import read_picture, to_pil
from dbaf.keys import Key


class PaperGenerator:
    """z -> a picture of one colour."""

    dim = 512
    mean_w = torch.zeros(512)

    def mapping(self, z: torch.Tensor) -> torch.Tensor:
        return z

    def widen(self, w: torch.Tensor) -> torch.Tensor:
        return w[:, None]

    def __call__(self, wplus: torch.Tensor) -> torch.Tensor:
        return wplus[:, 0, :3, None, None].expand(-1, 3, 64, 64) / 4


class PaperPipeline:
    """Adds or takes away a shade that the key decides."""

    generator = PaperGenerator()
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.given: list[torch.Tensor] = []
        self.keys: list[Key] = []

    def anonymize(self, picture: torch.Tensor, key: Key, nonces: list[bytes]) -> SimpleNamespace:
        return self._shift(picture, key, nonces[-1], 1)

    def recover(self, picture: torch.Tensor, key: Key, nonce: bytes) -> SimpleNamespace:
        return self._shift(picture, key, nonce, -1)

    def _shift(self, picture: torch.Tensor, key: Key, nonce: bytes, sign: int) -> SimpleNamespace:
        self.given.append(picture)
        self.keys.append(key)
        noise = key.latent_noise(nonce)[0, :3, None, None]  # a channel alone is the same for 1 in 20
        shade = 0.05 + 0.2 * noise.sigmoid()
        image = to_pil((picture + sign * shade).clamp(-1, 1))
        return SimpleNamespace(image=image, mask=torch.ones_like(picture[:, :1]), nonce=nonce)


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = PaperPipeline()
    monkeypatch.setattr(demo.Pipeline, "from_pretrained", lambda name: pipeline)
    out = tmp_path / "new" / "demo"
    demo.run(out)
    names = ["anonymized", "comparison", "original", "recovered", "unsealed", "wrong_key"]
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.png" for name in names]
    pictures = {name: read_picture(out / f"{name}.png").rgb for name in names}
    for given, source in zip(pipeline.given, ("original", "anonymized", "anonymized"), strict=True):
        assert torch.equal(given, pictures[source])
    assert torch.equal(pictures["unsealed"], pictures["original"])
    assert (pictures["recovered"] - pictures["original"]).abs().max() < 0.02
    assert not torch.equal(pictures["recovered"], pictures["wrong_key"])
    right, again, wrong = pipeline.keys
    assert right is again
    assert not torch.equal(right.latent_noise(), wrong.latent_noise())
    height, width = pictures["original"].shape[2:]
    assert pictures["comparison"].shape[3] == width
    assert pictures["comparison"].shape[2] > 5 * height
    printed = capsys.readouterr().out
    assert printed.count("\n") == 2
    assert "recovered" in printed
    assert "bit for bit: True" in printed
    demo.run(out)  # a second run replaces the first


def test_the_group_photo_is_on_the_eight_bit_grid() -> None:
    photo = demo.group_photo(PaperPipeline(), seeds=(1, 2))  # type: ignore[arg-type]
    assert photo.shape == (1, 3, demo.SIDE, 2 * demo.SIDE - demo.FEATHER)
    levels = (photo + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
