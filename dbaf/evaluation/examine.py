"""One photo through every method, and what the judges see in the pictures that come out.

Records are JSON-able. They hold face embeddings and small pictures of faces: biometric data, to be kept private.
"""

import base64
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dbaf.evaluation.expression import CLASSES, ExpressionNet, grey_face
from dbaf.evaluation.methods import Dbaf, Method
from dbaf.evaluation.perceptual import SIZE, PerceptualNet
from dbaf.evaluation.recogniser import JUDGES, Recogniser, embedding
from dbaf.evaluation.utility import background_psnr, landmark_error, rotation_error, squares
from dbaf.faces.align import crop
from dbaf.faces.face import Face, main_face
from dbaf.images import read_picture, to_pil
from dbaf.weights.bundle import bundle_folder, load_part

if TYPE_CHECKING:
    from dbaf.pipeline import Pipeline

SMALLEST = 40.0  # px, faces that are looked for in the original
THUMBNAIL = 144  # px
USEFUL = ("anonymized", "recovered")  # the outputs whose utility is measured
SHOWN = ("anonymized", "recovered")  # the outputs that get a thumbnail


@dataclass
class Judges:
    """Who looks at originals and outputs alike."""

    pipeline: "Pipeline"
    recogniser: Recogniser
    expression: ExpressionNet
    perceptual: PerceptualNet

    @classmethod
    def load(cls, pipeline: "Pipeline", recogniser: Recogniser) -> "Judges":
        """With the shipped networks for expression and perception; `pipeline` gives the face detector."""
        folder = bundle_folder(JUDGES)
        expression, perceptual = ExpressionNet(), PerceptualNet()
        expression.load_state_dict(load_part(folder, "emotion")[0])
        perceptual.load_state_dict(load_part(folder, "perceptual")[0])
        for net in (expression, perceptual):
            net.requires_grad_(False).eval()
        return cls(pipeline, recogniser, expression, perceptual)

    def faces(self, picture: torch.Tensor, min_face: float = SMALLEST) -> list[Face]:
        """All faces of a picture [1, 3, H, W] from `min_face` px upwards."""
        return self.pipeline.detect(picture, min_face)

    def embed(self, picture: torch.Tensor, points: torch.Tensor) -> list[float]:
        """[D] of the face with these five points [5, 2], comparable by Euclidean distance."""
        return embedding(self.recogniser, picture, points)

    def expression_of(self, picture: torch.Tensor, face: Face) -> str:
        """The likeliest of `CLASSES`, from the face and its mirror image: one look alone wavers."""
        cut = grey_face(picture.cpu(), face)
        scores = self.expression(torch.cat([cut, cut.flip(3)])).softmax(1).mean(0)
        return CLASSES[int(scores.argmax())]

    def difference(self, one: torch.Tensor, other: torch.Tensor, face: Face) -> float:
        """Perceptual distance of two pictures at the FFHQ square of a face."""
        crops = [crop(picture, face.quad, SIZE).cpu() for picture in (one, other)]
        return float(self.perceptual.distance(*crops))


@dataclass(frozen=True)
class Original:
    """A photo as the judges see it before anything happens to it; `record` goes into the cache."""

    picture: torch.Tensor
    faces: list[Face]
    seconds: float
    record: dict[str, Any]


@torch.inference_mode()
def look_at_original(path: Path, judges: Judges) -> Original:
    """Find the faces of a photo and embed the one that is meant.

    The record is `{"faces": 0}`, or also has `embedding` [D], `expression` and `size` (inter-ocular distance, px).

    Raises:
        PictureError: the photo cannot be read.
    """
    picture = read_picture(path).rgb
    start = time.perf_counter()
    faces = judges.faces(picture)
    seconds = time.perf_counter() - start
    record: dict[str, Any] = {"faces": len(faces)}
    if faces:
        face = main_face(faces, picture)
        record |= {
            "embedding": judges.embed(picture, face.points),
            "expression": judges.expression_of(picture, face),
            "size": round(float((face.points[1] - face.points[0]).norm()), 1),
        }
    return Original(picture, faces, seconds, record)


@torch.inference_mode()
def examine(original: Original, method: Method, judges: Judges, group: int) -> dict[str, Any]:
    """A record of one method on one photo with a face.

    Args:
        original: with at least one face.
        group: which key the photo gets, see `Method.outputs`.

    Returns:
        `faces`, `group`; by name of the output (and `original`) `embedding`, `found`, `thumbnail` (JPEG, base64), and
        `utility` (`landmarks`, `rotation`, `expression` agreement, `perceptual`; None where no face was found);
        `background_psnr` (None = untouched), `seconds` of all faces by stage, `threads` and `peak_bytes`.
    """
    picture, faces = original.picture, original.faces
    subject = main_face(faces, picture)
    record: dict[str, Any] = {
        "faces": len(faces),
        "group": group,
        "embedding": {"original": original.record["embedding"]},
        "found": {},
        "utility": {},
        "thumbnail": {"original": thumbnail(picture, subject)},
    }
    x0, y0, x1, y1 = subject.box
    large = max(SMALLEST, max(x1 - x0, y1 - y0) / 2)  # looking for this face alone is several times faster
    for output in method.outputs(picture, faces, group):
        face = face_at(judges.faces(output.picture, large), subject)
        # Where no face is found the recogniser still gets its look, at the old place: hiding is not a success.
        record["embedding"][output.name] = judges.embed(output.picture, (face or subject).points)
        record["found"][output.name] = face is not None
        if output.name in USEFUL:
            record["utility"][output.name] = {
                "landmarks": landmark_error(subject.mesh, face.mesh) if face else None,
                "rotation": rotation_error(subject.mesh, face.mesh) if face else None,
                "expression": bool(
                    face and judges.expression_of(output.picture, face) == original.record["expression"]
                ),
                "perceptual": judges.difference(picture, output.picture, subject),
            }
        if output.name in SHOWN:
            record["thumbnail"][output.name] = thumbnail(output.picture, subject)
        if output.name == "anonymized":
            mask = squares(faces, *picture.shape[2:]) if output.mask is None else output.mask.cpu()
            record["background_psnr"] = background_psnr(picture, output.picture, mask)
            record["seconds"] = output.seconds if method.own_detector else {"detect": original.seconds} | output.seconds
    record["threads"] = torch.get_num_threads()
    # the process is shared: of a peer it would say nothing
    record["peak_bytes"] = peak_bytes() if isinstance(method, Dbaf) else None
    return record


def face_at(faces: list[Face], place: Face) -> Face | None:
    """The face whose centre is nearest to that of `place`; None if none is within half a face."""
    x0, y0, x1, y1 = place.box
    centre = place.points.mean(0)
    near = [f for f in faces if float((f.points.mean(0) - centre).norm()) < max(x1 - x0, y1 - y0) / 2]
    return min(near, key=lambda face: float((face.points.mean(0) - centre).norm()), default=None)


def thumbnail(picture: torch.Tensor, face: Face) -> str:
    """A small JPEG of the FFHQ square of a face, in base64."""
    data = io.BytesIO()
    to_pil(crop(picture, face.quad, THUMBNAIL)).save(data, "JPEG", quality=80)
    return base64.b64encode(data.getvalue()).decode()


def peak_bytes() -> int | None:
    """The most memory that this process has held so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
