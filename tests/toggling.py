"""A data set and a pipeline that are simple enough to know every answer.

Identity is the colour of a square in the middle of a photo; a key adds a colour to it and takes the same off again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dbaf.evaluation.examine import Judges
from dbaf.evaluation.expression import ExpressionNet
from dbaf.evaluation.methods import Dbaf, Method
from dbaf.evaluation.peers import Blur
from dbaf.evaluation.recogniser import load_recogniser
from dbaf.evaluation.run import Setup
from dbaf.faces.face import Face
from dbaf.images import to_pil, write_png
from dbaf.keys import Key
from dbaf.stages import Rendering

SIDE = 64
MASTER = b"\xf0\x9fSecretSecretSecret\x00\x01\x02\x03\x04\x05\x06\x07\xffAB\xfe"

COLOUR = """
class Colour:
    name = "colour"
    distance = "euclidean"

    def embed(self, picture, points):
        assert points.shape == (5, 2)
        return picture[0, :, 20:44, 20:44].mean((1, 2))


def recogniser():
    return Colour()
"""
BLIND = COLOUR.replace("picture[0, :, 20:44, 20:44].mean((1, 2))", "picture[0, :, 3, 3] * 1000 % 1")


def face(x: float = 32, y: float = 32, size: float = 30.0) -> Face:
    generator = torch.Generator().manual_seed(0)
    mesh = torch.rand(468, 3, generator=generator) * size + torch.tensor([x - size / 2, y - size / 2, 0.0])
    points = torch.tensor([[-0.2, -0.2], [0.2, -0.2], [0.0, 0.0], [-0.15, 0.2], [0.15, 0.2]]) * size
    half = size / 2
    return Face((x - half, y - half, x + half, y + half), 1.0, points + torch.tensor([x, y]), mesh)


@dataclass
class Colour:
    """An identity: the pixels of the square, and whether an imprint gave them."""

    code: torch.Tensor
    restored: list[bool]


class TogglingPipeline:
    def __init__(self, faces: list[Face] | None = None) -> None:
        self.faces = [face()] if faces is None else faces
        self.renders = 0

    def detect(self, picture: torch.Tensor, min_face: float = 40.0) -> list[Face]:
        return [] if float(picture.max()) == -1 else self.faces  # a black photo has no face

    def encode(self, picture: torch.Tensor, faces: list[Face], refine_steps: int = 0) -> torch.Tensor:
        return picture[:, :, 20:44, 20:44].clone()

    def disentangle(self, encoding: torch.Tensor) -> tuple[Colour, None]:
        return Colour(encoding, [False]), None

    def amount(self, key: Key, nonce: bytes | None, keep_looks: bool) -> torch.Tensor:
        """What is added to each colour [3, 1, 1]; more where looks are free."""
        return (0.2 if keep_looks else 0.6) + key.latent_noise(nonce)[0, :3].abs().fmod(0.4)[:, None, None]

    def choose_nonce(
        self,
        faces: list[Face],
        identity: Colour,
        attributes: None,
        key: Key,
        nonces: list[bytes],
        keep_looks: bool = True,
    ) -> bytes:
        return max(nonces, key=lambda nonce: float(self.amount(key, nonce, keep_looks).sum()))

    def anonymize_identity(self, identity: Colour, key: Key, nonce: bytes | None, keep_looks: bool = True) -> Colour:
        return Colour(identity.code + self.amount(key, nonce, keep_looks), [False])

    def recover_identity(
        self, identity: Colour, key: Key, nonce: bytes | None, imprint: bool = True, keep_looks: bool = True
    ) -> Colour:
        return Colour(identity.code - self.amount(key, nonce, keep_looks), [False])

    def render(self, picture: torch.Tensor, faces: list[Face], identity: Colour, attributes: None) -> Rendering:
        self.renders += 1
        out, mask = picture.clone(), torch.zeros(1, 1, SIDE, SIDE)
        out[:, :, 20:44, 20:44] = identity.code
        mask[:, :, 20:44, 20:44] = 1
        return Rendering(out, mask, mask[0, 0].to(torch.int16) - 1, [False])

    def anonymize(self, image: Any, key: Key, nonce: bytes, keep_looks: bool = True) -> Rendering:
        from dbaf.images import from_pil

        picture = from_pil(image).rgb
        identity, attributes = self.disentangle(self.encode(picture, []))
        return self.render(picture, [], self.anonymize_identity(identity, key, nonce, keep_looks), attributes)


class Difference(torch.nn.Module):
    """Stands in for the perceptual network, which is slow."""

    def distance(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one - other).abs().mean()[None]


def judges(pipeline: Any, recogniser: Path) -> Judges:
    torch.manual_seed(0)
    perceptual: Any = Difference()
    return Judges(pipeline, load_recogniser(recogniser), ExpressionNet().eval(), perceptual)


def secret() -> Key:
    return Key(MASTER)


PIPELINES: list[TogglingPipeline] = []  # one more for every `open()`


class FakeSetup(Setup):
    """Opens the pipeline above; the peers are the blur alone."""

    def open(self) -> tuple[Judges, list[Method]]:
        assert self.recogniser is not None
        PIPELINES.append(TogglingPipeline())
        pipeline: Any = PIPELINES[-1]
        ours = Dbaf(pipeline, self.key(), keep_looks=self.keep_looks)
        methods: list[Method] = [ours, *([Blur()] if self.peers else [])]
        return judges(pipeline, self.recogniser), methods

    def versions(self) -> dict[str, str]:
        versions = {"original": f"original-{self.recogniser.stem if self.recogniser else ''}", "dbaf": "dbaf-1"}
        return versions | ({"blur": "blur-1"} if self.peers else {})


def people(folder: Path, count: int, photos: int) -> Path:
    """Write `photos` photos each of `count` people."""
    generator = torch.Generator().manual_seed(0)
    for person in range(count):
        colour = torch.rand(3, 1, 1, generator=generator) * 0.6 - 0.9
        for number in range(photos):
            picture = torch.rand(1, 3, SIDE, SIDE, generator=generator) - 0.9
            picture[0, :, 20:44, 20:44] = colour + torch.rand(3, 24, 24, generator=generator) * 0.01
            write_png(folder / f"person {person:02d}" / f"{number}.png", to_pil(picture))
    return folder
