"""What is measured: a method takes a photo with faces and gives pictures that a user would have; here, ours.

Every picture goes through the file that a user would save it as before anybody looks at it.
"""

import functools
import hashlib
import io
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from dbaf.faces.face import Face
from dbaf.images import from_pil, read_picture, to_pil, write_png
from dbaf.keys import DRAWS, NONCE_BYTES, Key
from dbaf.stages import Attributes, Identity

if TYPE_CHECKING:
    from dbaf.pipeline import Pipeline

GROUPS = 20  # people are spread over latent keys: one pair of them is luck (two keys: .01 to .35 of 80 photographs)
JPEG_QUALITY = 90


def nonces(group: int) -> list[bytes]:
    """Those of a group of people among which an unlinked picture's is chosen; fixed and public, so that a run can be
    repeated."""
    draws = ["", *(f" {draw}" for draw in range(1, DRAWS))]
    names = [f"dbaf evaluation nonce {group % GROUPS}{draw}" for draw in draws]
    return [hashlib.sha256(name.encode()).digest()[:NONCE_BYTES] for name in names]


def linked_key(group: int) -> Key:
    """The linked key of a group of people; public."""
    return Key(hashlib.sha256(f"dbaf evaluation key {group % GROUPS}".encode()).digest())


def public_key() -> Key:
    """The key of the benchmarks: everybody knows it, so it is of no other use."""
    return Key(hashlib.sha256(b"dbaf benchmark key").digest())


def wrong_key() -> Key:
    """A fixed key that is not the user's; public."""
    return Key(hashlib.sha256(b"dbaf evaluation wrong key").digest())


@dataclass(frozen=True)
class Output:
    """One picture that a method gives.

    Attributes:
        name: `anonymized`; or `linked` (under a linked key), `second` (another key),
            `recovered`, `recovered_looks` (imprint left aside: by KRIA from the looks), `wrong` (recovered with a wrong
            key), `recovered_jpeg` and `recovered_looks_jpeg` (after JPEG) or `reconstructed` (the same identity
            rendered again).
        picture: [1, 3, H, W] in [-1, 1], as read from the saved file.
        mask: [1, 1, H, W], 0 where the method means to leave the picture as it is; None if it does not say.
        seconds: what it took, by stage; empty where that is not measured.
    """

    name: str
    picture: torch.Tensor
    mask: torch.Tensor | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Method(ABC):
    """A way to hide who is on a photo."""

    name: str
    own_detector = False  # it looks for faces itself, so that ours do not count in its time

    @abstractmethod
    def outputs(self, picture: torch.Tensor, faces: list[Face], group: int) -> Iterator[Output]:
        """`anonymized` first, then what else the method can do.

        Args:
            picture: [1, 3, H, W] in [-1, 1], the original.
            faces: at least one, all that our detector finds in it.
            group: chooses among the keys; a person's photos have the same.

        Raises:
            PictureError: the method failed on this photo.
        """


class Dbaf(Method):
    """This project's pipeline: there and, from the saved picture alone, back.

    Args:
        pipeline: with its networks.
        key: the secret.
        refine_steps, keep_looks: as for `Pipeline.anonymize`.
    """

    name = "dbaf"

    def __init__(self, pipeline: "Pipeline", key: Key, refine_steps: int = 0, keep_looks: bool = True) -> None:
        self.pipeline, self.key, self.refine_steps, self.keep_looks = pipeline, key, refine_steps, keep_looks
        self.checked = False

    def outputs(self, picture: torch.Tensor, faces: list[Face], group: int) -> Iterator[Output]:
        """See `Method`; the second key is the same secret with a nonce of the next group's."""
        pipeline, clock = self.pipeline, Stopwatch()
        with clock("encode"):
            encoding = pipeline.encode(picture, faces, self.refine_steps)
        with clock("disentangle"):
            identity, attributes = pipeline.disentangle(encoding)
        with clock("choose"):
            right = self._chosen(faces, identity, attributes, group)
        with clock("key"):
            other = pipeline.anonymize_identity(identity, self.key, right, keep_looks=self.keep_looks)
        with clock("render"):
            made = pipeline.render(picture, faces, other, attributes)
        anonymized, mask = through_png(made.picture), made.mask
        self._check(picture, anonymized, right)
        yield Output("anonymized", anonymized, mask, clock.seconds)
        second = self._chosen(faces, identity, attributes, group + 1)
        for name, key, one in (("linked", linked_key(group), None), ("second", self.key, second)):
            other = pipeline.anonymize_identity(identity, key, one, keep_looks=self.keep_looks)
            yield Output(name, through_png(pipeline.render(picture, faces, other, attributes).picture))
        yield Output("reconstructed", through_png(pipeline.render(picture, faces, identity, attributes).picture))
        del encoding, identity, attributes, made
        ways = {"recovered": (self.key, True), "recovered_looks": (self.key, False)}
        yield from self._recover(anonymized, ways | {"wrong": (wrong_key(), True)}, right)
        after_jpeg = {f"{name}_jpeg": way for name, way in ways.items()}
        yield from self._recover(through_jpeg(anonymized), after_jpeg, right)

    def _chosen(self, faces: list[Face], identity: Identity, attributes: Attributes, group: int) -> bytes:
        """The nonce of this group that an unlinked picture of these faces gets."""
        return self.pipeline.choose_nonce(faces, identity, attributes, self.key, nonces(group), self.keep_looks)

    def _recover(self, picture: torch.Tensor, ways: dict[str, tuple[Key, bool]], right: bytes) -> Iterator[Output]:
        """What each way, a key and whether imprints count, makes of the picture alone; unchanged without a face."""
        pipeline, faces = self.pipeline, self.pipeline.detect(picture)
        if not faces:
            yield from (Output(name, picture) for name in ways)
            return
        encoded = functools.cache(lambda steps: pipeline.disentangle(pipeline.encode(picture, faces, steps)))
        for name, (key, imprint) in ways.items():
            for taken in dict.fromkeys((0, self.refine_steps)):  # as `Pipeline.recover`: imprints need no refinement
                identity, attributes = encoded(taken)
                former = pipeline.recover_identity(identity, key, right, imprint, self.keep_looks)
                if all(former.restored):
                    break
            yield Output(name, through_png(pipeline.render(picture, faces, former, attributes).picture))

    def _check(self, picture: torch.Tensor, anonymized: torch.Tensor, right: bytes) -> None:
        """Once: the stages that were timed give what `Pipeline.anonymize` gives to users."""
        if self.checked or self.refine_steps:  # on a GPU an optimisation does not repeat bit for bit
            return
        whole = self.pipeline.anonymize(to_pil(picture), self.key, right, keep_looks=self.keep_looks).picture
        if not torch.equal(anonymized, through_png(whole)):
            raise AssertionError("Pipeline.anonymize() and its stages give different pictures: this is a bug.")
        self.checked = True


@dataclass
class Stopwatch:
    """Seconds by stage, added up."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def through_png(picture: torch.Tensor) -> torch.Tensor:
    """Save as PNG as users do, and read again: [1, 3, H, W] with 8 bits a channel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        write_png(path, to_pil(picture))
        return read_picture(path).rgb


def through_jpeg(picture: torch.Tensor) -> torch.Tensor:
    """The picture after JPEG with quality `JPEG_QUALITY`."""
    data = io.BytesIO()
    to_pil(picture).save(data, "JPEG", quality=JPEG_QUALITY)
    with Image.open(data) as image:
        return from_pil(image).rgb
