"""One photo through the whole chain, as a user has it: every step reads the saved file of the step before.

`measure()` gives a JSON-able record a photo (embeddings are biometric data: keep records private),
`dbaf.evaluation.summary` turns records into figures.
"""

import hashlib
import io
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from dbaf.evaluation.recognisers import DlibResNet, dlib_chip
from dbaf.evaluation.utility import landmark_error, rotation_error, untouched_outside
from dbaf.faces.face import Face
from dbaf.images import from_pil, read_picture, to_pil, write_png
from dbaf.keys import Key

if TYPE_CHECKING:
    from dbaf.pipeline import Pipeline

KEYS = 5  # people are spread over a few keys, so that no figure hangs on one lucky key
JPEG_QUALITY = 90


@dataclass
class Judge:
    """The detector and the recogniser that look at originals and outputs alike."""

    pipeline: "Pipeline"
    recogniser: DlibResNet

    def faces(self, picture: torch.Tensor, min_face: float = 40.0) -> list[Face]:
        """All faces of a picture [1, 3, H, W] from `min_face` px upwards."""
        return self.pipeline.detect(picture, min_face)

    @torch.inference_mode()
    def embedding(self, picture: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """[128] of the face with these five points [5, 2]."""
        return self.recogniser(dlib_chip(picture.cpu(), points.cpu()))[0]


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


def benchmark_keys() -> list[Key]:
    """The `KEYS` fixed keys of the benchmark; public, so of no other use."""
    return [Key(hashlib.sha256(f"dbaf benchmark key {number}".encode()).digest()) for number in range(KEYS)]


def main_face(faces: list[Face], picture: torch.Tensor) -> Face:
    """The face nearest to the centre of the picture [1, 3, H, W]: the one that a portrait data set names."""
    height, width = picture.shape[2:]
    middle = torch.tensor([width / 2, height / 2])
    return min(faces, key=lambda face: float((face.points.mean(0) - middle).norm()))


def face_at(faces: list[Face], place: Face) -> Face | None:
    """The face whose centre is nearest to that of `place`; None if none is within half a face."""
    x0, y0, x1, y1 = place.box
    centre = place.points.mean(0)
    near = [f for f in faces if float((f.points.mean(0) - centre).norm()) < max(x1 - x0, y1 - y0) / 2]
    return min(near, key=lambda face: float((face.points.mean(0) - centre).norm()), default=None)


@torch.inference_mode()
def measure(path: Path, judge: Judge, keys: list[Key], key: int, extras: bool) -> dict[str, Any]:
    """Anonymize a photo (with two keys), recover it (with the right and with a wrong key), look at every output.

    Args:
        path: the photo.
        judge: the pipeline under test and the recogniser.
        keys: from `benchmark_keys()`.
        key: which of them this photo is anonymized with; the next one is the second key, the one after is wrong.
        extras: also re-render without a change of identity, and recover through JPEG.

    Returns:
        `{"faces": 0}` if no face is found, else also:
        `size` (inter-ocular distance, px), `embedding` and `found` by output name (`original`, `anonymized`,
        `second`, `recovered`, `wrong`, `reconstructed`, `recovered_jpeg`), `landmarks` and `rotation` of
        `anonymized`, `recovered`; `untouched`, `seconds` (of all faces, by stage) and `peak_bytes`.
    """
    original = read_picture(path).rgb
    clock = Stopwatch()
    pipeline = judge.pipeline
    with clock("detect"):
        faces = judge.faces(original)
    if not faces:
        return {"faces": 0}
    subject = main_face(faces, original)
    record: dict[str, Any] = {
        "faces": len(faces),
        "key": key,
        "size": float((subject.points[1] - subject.points[0]).norm()),
        "embedding": {"original": _plain(judge.embedding(original, subject.points))},
        "found": {"original": True},
        "landmarks": {},
        "rotation": {},
    }
    right, second, wrong = (keys[(key + step) % KEYS] for step in range(3))

    x0, y0, x1, y1 = subject.box
    large = max(40.0, max(x1 - x0, y1 - y0) / 2)  # looking for this face alone is several times faster

    def look(name: str, picture: torch.Tensor, min_face: float = large) -> list[Face]:
        seen = judge.faces(picture, min_face)
        face = face_at(seen, subject)
        # Where no face is found the recogniser still gets its look, at the old place: hiding is not a success.
        record["embedding"][name] = _plain(judge.embedding(picture, (face or subject).points))
        record["found"][name] = face is not None
        if face is not None and name in ("anonymized", "recovered"):
            record["landmarks"][name] = landmark_error(subject.mesh, face.mesh)
            record["rotation"][name] = rotation_error(subject.mesh, face.mesh)
        return seen

    with clock("encode"):
        encoding = pipeline.encode(original, faces)
    with clock("disentangle"):
        identity, attributes = pipeline.disentangle(encoding)
    outputs = {}
    for name, chosen in (("anonymized", right), ("second", second)):
        with clock("key") if name == "anonymized" else _untimed():
            other = pipeline.anonymize_identity(identity, chosen)
        with clock("render") if name == "anonymized" else _untimed():
            picture, mask = pipeline.render(original, faces, other, attributes)
        outputs[name] = through_png(picture)
        if name == "anonymized":
            record["untouched"] = untouched_outside(original, outputs[name], mask.cpu())
    seen = look("anonymized", outputs["anonymized"], 40.0)
    look("second", outputs["second"])

    recovered = recover(pipeline, outputs["anonymized"], seen, [right, wrong])
    look("recovered", through_png(recovered[0]))
    look("wrong", through_png(recovered[1]))
    if extras:
        look("reconstructed", through_png(pipeline.render(original, faces, identity, attributes)[0]))
        shared = through_jpeg(outputs["anonymized"])
        look("recovered_jpeg", through_png(recover(pipeline, shared, judge.faces(shared), [right])[0]))
    record["seconds"] = clock.seconds
    record["peak_bytes"] = peak_bytes()
    return record


def recover(pipeline: "Pipeline", picture: torch.Tensor, faces: list[Face], keys: list[Key]) -> list[torch.Tensor]:
    """The recovered picture [1, 3, H, W] for each key, from the picture alone; unchanged where no face is found."""
    if not faces:
        return [picture] * len(keys)
    identity, attributes = pipeline.disentangle(pipeline.encode(picture, faces))
    return [
        pipeline.render(picture, faces, pipeline.recover_identity(identity, key), attributes)[0].cpu() for key in keys
    ]


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


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _untimed() -> Iterator[None]:
    yield


def _plain(embedding: torch.Tensor) -> list[float]:
    return [round(float(value), 6) for value in embedding]
