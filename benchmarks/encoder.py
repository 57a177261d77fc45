"""What the encoder alone can do: encode and render, no MAAR, no paste, without and with refinement.

With refinement also what the key brings back of the refined face from the saved picture, in the way of the product.

    python benchmarks/encoder.py --lfw LFW --portraits PORTRAITS --jobs 2 --out benchmarks/encoder.json

LFW: a folder a person, photos in it; people that training has not seen. PORTRAITS: a folder of photos of different
people; with --sheet they are drawn above their reconstructions, so those must be generated people.

The rendering fills the face's whole FFHQ square in the photo, so that recogniser, landmarks and expression are read
from both at the same resolution. Results a photo are kept in --cache (private: face embeddings).
"""

import argparse
import base64
import functools
import hashlib
import io
import math
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dbaf.evaluation.cache import Cache, method_version
from dbaf.evaluation.calibration import calibration_for
from dbaf.evaluation.dataset import Photo, choose, photos_in
from dbaf.evaluation.examine import Judges, face_at, look_at_original, thumbnail
from dbaf.evaluation.methods import public_key
from dbaf.evaluation.recogniser import Dlib
from dbaf.evaluation.report import heading, write_json
from dbaf.evaluation.run import Setup
from dbaf.evaluation.summary import calibration_json
from dbaf.evaluation.utility import landmark_error, rotation_error, squares
from dbaf.evaluation.verification import mean, median, share
from dbaf.faces import Face, Selection, main_face
from dbaf.faces.align import warp
from dbaf.faces.mask import to_square
from dbaf.images import from_pil, to_pil
from dbaf.pipeline import Pipeline
from dbaf.progress import progress_bar
from dbaf.stages import Encoding

COLUMNS = 10  # pairs in a row of the sheet


def place(picture: torch.Tensor, patch: torch.Tensor, face: Face) -> torch.Tensor:
    """A photo [1, 3, H, W] whose FFHQ square of a face is the patch [1, 3, S, S], edge and all."""
    height, width = picture.shape[2:]
    low, high = face.quad.amin(0).floor().long().clamp(min=0), face.quad.amax(0).ceil().long()
    (x0, y0), (x1, y1) = low.tolist(), (min(int(high[0]), width), min(int(high[1]), height))
    corners = torch.tensor([[x0, y0], [x0, y1], [x1, y1], [x1, y0]], dtype=torch.float64)
    part = warp(patch.cpu(), to_square(corners, face.quad) * patch.shape[-1], y1 - y0, x1 - x0)
    result = picture.clone()
    result[:, :, y0:y1, x0:x1] = part
    return torch.where(squares([face], height, width) > 0, result, picture)


def threads() -> int:
    return max(1, (os.cpu_count() or 1) // arguments().jobs)


@functools.cache
def judges() -> Judges:
    """Loaded once a process."""
    torch.set_num_threads(threads())
    return Judges.load(Pipeline.from_pretrained(arguments().model), Dlib())


@torch.inference_mode()
def examine(photo: Photo, steps: int) -> dict[str, Any]:
    """A record of one photo: `{"faces": 0}`, or what the judges see in the reconstruction."""
    judge = judges()
    original = look_at_original(photo.path, judge)
    if not original.faces:
        return original.record
    face, pipeline = main_face(original.faces, original.picture), judge.pipeline
    start = time.perf_counter()
    encoding = pipeline.encode(original.picture, [face], steps)
    seconds = time.perf_counter() - start
    rendered = place(original.picture, pipeline.generator(encoding.latent).clamp(-1, 1), face)
    # found anew as in the photo: a mesh that is traced from elsewhere differs by more than most reconstructions do
    seen = face_at(judge.faces(rendered), face) or pipeline.finder.retrace(rendered, face.points)
    return original.record | {
        "recovered": recovered(original.picture, face, encoding, steps, judge) if steps else None,
        "reconstructed": judge.embed(rendered, seen.points),
        "landmarks": landmark_error(face.mesh, seen.mesh),
        "rotation": rotation_error(face.mesh, seen.mesh),
        "agrees": judge.expression_of(rendered, seen) == original.record["expression"],
        "seconds": seconds,
        "thumbnails": [thumbnail(original.picture, face), thumbnail(rendered, face)],
    }


def recovered(
    picture: torch.Tensor, face: Face, encoding: Encoding, steps: int, judge: Judges
) -> dict[str, Any] | None:
    """What comes back with the key from the saved picture, refined again where no imprint is read.

    Args:
        picture: the original [1, 3, H, W] in [-1, 1].
        face: that of it which was encoded.
        encoding: of this face alone.
        steps: of refinement.

    Returns:
        `embedding` [D], and whether an `imprint` was read; None if no face is found in the saved picture.
    """
    pipeline = judge.pipeline
    who, attributes = pipeline.disentangle(encoding)
    made = pipeline.render(picture, [face], pipeline.anonymize_identity(who, public_key()), attributes)
    saved = from_pil(to_pil(made.picture)).rgb
    found = face_at(judge.faces(saved), face)
    if found is None:
        return None
    back = pipeline.recover(saved, public_key(), refine_steps=steps, faces=Selection([found], [True]))
    returned = from_pil(back.image).rgb
    seen = face_at(judge.faces(returned), face) or found
    return {"embedding": judge.embed(returned, seen.points), "imprint": back.restored[0]}


def examine_into(cache: Cache, version: str, job: tuple[Photo, int]) -> None:
    """Make the record of a photo that the cache lacks."""
    photo, steps = job
    if not cache.has(version, name_of(photo, steps)):
        cache.put(version, name_of(photo, steps), examine(photo, steps))


def name_of(photo: Photo, steps: int) -> str:
    return f"encoder-{photo.digest[:32]}-{steps}"


def next_stranger(people: list[str], index: int) -> int:
    """Number of the first photo after one, from the start again if need be, that shows somebody else."""
    rest = [*range(index + 1, len(people)), *range(index)]
    return next((other for other in rest if people[other] != people[index]), index)


def figures(photos: list[Photo], records: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Over the photos with a face; n and 95 % intervals over people."""
    kept = [(photo.person, record) for photo, record in zip(photos, records, strict=True) if record["faces"]]
    people = [person for person, _ in kept]
    pairs = torch.tensor([[r["embedding"], r["reconstructed"]] for _, r in kept], dtype=torch.float64)
    distance = (pairs[:, 0] - pairs[:, 1]).norm(dim=1)
    stranger = (pairs[[next_stranger(people, index) for index in range(len(people))], 0] - pairs[:, 1]).norm(dim=1)
    rotation = torch.tensor([r["rotation"] for _, r in kept]).abs()
    rows = {
        "accepted": share(distance <= threshold, people),
        "distance": mean(distance, people),
        "strangers_accepted": share(stranger <= threshold, people),
        "landmark_error_iod": mean(torch.tensor([r["landmarks"] for _, r in kept]), people),
        "expression_agreement": share(torch.tensor([r["agrees"] for _, r in kept]), people),
        "seconds_to_encode": median(torch.tensor([r["seconds"] for _, r in kept]), people),
    }
    if any(r["recovered"] for _, r in kept):
        back = [r["recovered"] or {"embedding": None, "imprint": False} for _, r in kept]
        apart = [
            math.dist(r["embedding"], one["embedding"]) if one["embedding"] else math.inf
            for (_, r), one in zip(kept, back, strict=True)
        ]
        rows["recovered"] = share(torch.tensor(apart) <= threshold, people)
        rows["imprint_read"] = share(torch.tensor([one["imprint"] for one in back]), people)
    rows |= {f"{axis}_error_degrees": median(rotation[:, i], people) for i, axis in enumerate(("yaw", "pitch", "roll"))}
    return {"photos": len(photos), "faces": len(kept)} | {name: figure.as_json() for name, figure in rows.items()}


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """A contact sheet: each original left of its reconstruction."""
    pairs = [
        [Image.open(io.BytesIO(base64.b64decode(code))) for code in record["thumbnails"]]
        for record in records
        if record["faces"]
    ]
    side = pairs[0][0].width
    gap = side // 12
    sheet = Image.new("RGB", (COLUMNS * (2 * side + gap), -(-len(pairs) // COLUMNS) * (side + gap)), "white")
    for number, pair in enumerate(pairs):
        x, y = number % COLUMNS * (2 * side + gap), number // COLUMNS * (side + gap)
        for column, image in enumerate(pair):
            sheet.paste(image, (x + column * side, y))
    sheet.save(path, quality=85)


def main() -> None:
    args = arguments()
    cache = Cache(args.cache)
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    version = method_version("dbaf", args.model, None, public_key()) + source[:8]
    recogniser = Dlib()
    calibration = calibration_for(recogniser, torch.zeros(0, 1), [], "stored")
    about = heading(Setup(public_key, args.model))
    report: dict[str, Any] = {name: about[name] for name in ("model", "machine", "intervals")}
    report |= {"jobs": args.jobs, "threads_a_job": threads()}
    report["recogniser"] = {"name": recogniser.name} | calibration_json(calibration)
    for data, folder, count in (("lfw", args.lfw, args.count), ("portraits", args.portraits, None)):
        photos = choose(photos_in(folder, args.cache), count)
        report[data] = {}
        for steps, part in ((0, photos), (args.refine_steps, photos[: args.refined])):
            if not part:
                continue
            jobs = [(photo, steps) for photo in part]
            work = functools.partial(examine_into, cache, version)
            with (
                progress_bar(data, len(jobs)) as (update, _),
                ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool,
            ):
                for done, _result in enumerate(pool.map(work, jobs), 1):
                    update(done, len(jobs), f"{data}, {steps} steps")
            records = [cache.get(version, name_of(photo, steps)) or {"faces": 0} for photo in part]
            report[data][f"refine_steps_{steps}"] = figures(part, records, calibration.threshold.value)
            write_json(args.out, report)
            print(data, steps, report[data][f"refine_steps_{steps}"], flush=True)
            if data == "portraits" and args.sheet:
                draw(records, args.sheet.with_stem(f"{args.sheet.stem}-{steps}"))
    print(f"Written: {args.out}")


@functools.cache
def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="folder of folders of photos, one a person")
    parser.add_argument("--portraits", type=Path, required=True, help="folder of photos of different people")
    parser.add_argument("--count", type=int, default=500, help="photos of LFW, two a person")
    parser.add_argument("--refine-steps", type=int, default=40)
    parser.add_argument("--refined", type=int, default=500, help="photos of each set that are also refined: slow")
    parser.add_argument("--model", default="mobile", help="name or folder of the model bundle")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "dbaf-evaluation")
    parser.add_argument("--sheet", type=Path, help="contact sheets of the portraits, named -0 and -REFINE_STEPS")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("encoder.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
