"""A stand-in for the networks: 'anonymizing' adds key-dependent noise that 'recovering' takes away again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import dbaf.cli.pictures
from dbaf.errors import NoFaceError
from dbaf.faces import Face
from dbaf.keys import Key

Nonces = bytes | Sequence[bytes] | None


@dataclass
class FakeResult:
    picture: torch.Tensor
    faces: list[str]
    imprinted: list[bool] = field(default_factory=lambda: [True])
    suspects: list[Face] = field(default_factory=list)
    restored: list[bool] = field(default_factory=lambda: [False])
    nonce: bytes | None = None

    @property
    def mask(self) -> torch.Tensor:
        return torch.ones_like(self.picture[:, :1])


class FakePipeline:
    """Grey-level arithmetic on uint8, so that there and back is exact. A black picture has no face, none an imprint."""

    def _shift(self, image: torch.Tensor, key: Key | None, nonce: bytes | None, sign: int) -> FakeResult:
        assert image.dtype == torch.float32
        assert image.shape[:2] == (1, 3)
        if image.max() == -1:
            raise NoFaceError("No face found.")
        height, width = image.shape[2:]
        steps = torch.zeros(height * width, dtype=torch.long)
        if key:  # a step per pixel: two keys never agree by chance
            noise = (key.latent_noise(nonce).flatten().abs() * 1e6).long()
            steps = noise[torch.arange(height * width) % len(noise)]
        values = ((image + 1) * 127.5).round().long() + sign * steps.view(height, width)
        return FakeResult((values % 256).float() / 127.5 - 1, ["face"])

    def anonymize(
        self, image: torch.Tensor, key: Key, nonce: Nonces = None, refine_steps: int = 0, **_: Any
    ) -> FakeResult:
        chosen = nonce if nonce is None or isinstance(nonce, bytes) else nonce[-1]  # by luck, as far as callers know
        return replace(self._shift(image, key, chosen, 1), nonce=chosen)

    def detect(self, picture: torch.Tensor) -> list[str]:
        return [] if picture.max() == -1 else ["face"]

    def imprints(self, picture: torch.Tensor, faces: list[str]) -> list[bytes | None]:
        return [None for _ in faces]

    def suspects(self, picture: torch.Tensor, known: list[Face], min_face: float = 40) -> list[Face]:
        return []

    def recover(
        self, image: torch.Tensor, key: Key, nonce: bytes | None = None, refine_steps: int = 0, **_: Any
    ) -> FakeResult:
        return self._shift(image, key, nonce, -1)

    def reconstruct(self, image: torch.Tensor, refine_steps: int = 0) -> FakeResult:
        return self._shift(image, None, None, 0)


def use_fake(monkeypatch: pytest.MonkeyPatch, kind: type[FakePipeline] = FakePipeline) -> None:
    monkeypatch.setattr(dbaf.cli.pictures, "load_pipeline", lambda device, model: kind())


def portrait(path: Path, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> Path:
    """Write a small picture with a gradient."""
    path.parent.mkdir(parents=True, exist_ok=True)
    gradient = Image.linear_gradient("L").resize(size)
    bands = [gradient.point([(v * (i + 1)) % 256 for v in range(256)]) for i in range(len(mode))]
    (gradient if len(mode) == 1 else Image.merge(mode, bands)).save(path)
    return path


def black(path: Path) -> Path:
    """Write a small picture without a face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path
