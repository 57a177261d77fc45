"""What clip mode gives: identity and landmarks from frame to frame, of a clip of generated people, and memory.

    python benchmarks/clip.py crossing     # two people who cross, turn and laugh: input, pictures, clip
    python benchmarks/clip.py memory       # one person, 1,000 small frames

Each writes its part of `benchmarks/clip.json`. `--sheet` also writes a picture of a few frames to look at.
"""

import argparse
import hashlib
import json
import math
import resource
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import dbaf.networks
from dbaf.clip import anonymize_clip
from dbaf.errors import NoFaceError
from dbaf.evaluation.examine import peak_bytes
from dbaf.evaluation.recogniser import Dlib
from dbaf.faces import Face
from dbaf.files import replacing
from dbaf.images import to_pil
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Encoding

RESULTS = Path(__file__).with_name("clip.json")
KEY = Key(bytes(range(32)))

FRAMES = 120
HEIGHT, WIDTH = 384, 640  # px
NOISE = 1.5  # grey levels of sensor noise
PEOPLE = (3, 1)  # seeds; the second one walks in front
SAMPLES = 160  # faces from which the directions of W are fitted
TURN, LAUGH = 3.5, 3.0  # how far people go along these directions, either way


@torch.no_grad()
def directions(pipeline: Pipeline) -> torch.Tensor:
    """Directions [2, dim] of W along which a face turns and opens its mouth, by ridge regression on its mesh."""
    generator = pipeline.generator
    z = torch.randn(SAMPLES, generator.dim, generator=torch.Generator().manual_seed(7))
    codes = generator.mean_w + 0.7 * (generator.mapping(z) - generator.mean_w)
    usual = torch.tensor([[98.0, 120], [158, 120], [128, 150], [105, 180], [151, 180]])  # in a 256 px FFHQ square
    measured = []
    for code in codes.split(1):
        mesh = pipeline.finder.retrace(generator.preview(generator.widen(code)).clamp(-1, 1), usual).mesh
        measured.append(torch.stack([mesh[454, 2] - mesh[234, 2], (mesh[14] - mesh[13])[:2].norm()]))
    values = torch.stack(measured)
    values = (values - values.mean(0)) / values.std(0)
    offsets = codes - generator.mean_w
    kernel = offsets @ offsets.T
    ridge = 0.1 * kernel.diagonal().mean() * torch.eye(len(kernel))
    found = (offsets.T @ torch.linalg.solve(kernel + ridge, values)).T
    return found / found.norm(dim=1, keepdim=True)


@torch.no_grad()
def person(pipeline: Pipeline, seed: int, turn: torch.Tensor, laugh: torch.Tensor) -> torch.Tensor:
    """A generated portrait [1, 3, 256, 256] in [-1, 1], moved along two directions [dim] of W."""
    generator = pipeline.generator
    z = torch.randn(1, generator.dim, generator=torch.Generator().manual_seed(seed))
    code = generator.widen(generator.mean_w + 0.7 * (generator.mapping(z) - generator.mean_w)).clone()  # [1, L, dim]
    code[:, :8] += turn
    code[:, :14] += laugh
    return generator.preview(code).clamp(-1, 1)


def place(canvas: torch.Tensor, portrait: torch.Tensor, x: float, y: float, side: float, angle: float) -> torch.Tensor:
    """Lay the oval middle of a portrait [1, 3, S, S] over a canvas [1, 3, H, W]; x, y, side in px, angle in radians."""
    height, width = canvas.shape[-2:]
    steps = (torch.arange(256) + 0.5) / 128 - 1
    radius = (steps[None, :].square() + steps[:, None].square()).sqrt()
    oval = ((0.97 - radius) / 0.08).clamp(0, 1).expand(1, 1, 256, 256)
    cos, sin = math.cos(angle) / side, math.sin(angle) / side
    shift_x, shift_y = width - 2 * x, height - 2 * y
    theta = torch.tensor(
        [
            [cos * width, sin * height, cos * shift_x + sin * shift_y],
            [-sin * width, cos * height, cos * shift_y - sin * shift_x],
        ]
    )
    grid = F.affine_grid(theta[None], [1, 4, height, width], align_corners=False)
    laid = F.grid_sample(torch.cat([portrait, oval], 1), grid, mode="bicubic", align_corners=False)
    alpha = laid[:, 3:].clamp(0, 1)
    return canvas + alpha * (laid[:, :3] - canvas)


def ground(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A blurred, coloured wall [1, 3, height, width]."""
    noise = torch.randn(1, 3, 6, 10, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(0.35 * noise, size=(height, width), mode="bicubic").clamp(-1, 1)


def filmed(picture: torch.Tensor, index: int) -> torch.Tensor:
    """A frame as a camera gives it: with noise, on the 8-bit grid."""
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1000 + index)) * NOISE
    return ((picture + 1) * 127.5 + noise).round().clamp(0, 255) / 127.5 - 1


def places(index: int) -> tuple[float, float]:
    """Where the two people of `crossing` are in a frame: x in px."""
    at = index / (FRAMES - 1)
    return 150 + 340 * at, 490 - 340 * at


def crossing(pipeline: Pipeline) -> Iterator[torch.Tensor]:
    """FRAMES frames [1, 3, HEIGHT, WIDTH] in [-1, 1]: two people cross, turn, laugh, tilt their heads, come and go."""
    turn, laugh = directions(pipeline)
    wall = ground(HEIGHT, WIDTH)
    for index in range(FRAMES):
        at = index / (FRAMES - 1)
        wave = [math.sin(2 * math.pi * (rate * at + phase)) for rate, phase in ((1, 0), (2, 0.1), (1.5, 0.4), (2.5, 0))]
        first = person(pipeline, PEOPLE[0], TURN * wave[0] * turn, LAUGH * wave[1] * laugh)
        second = person(pipeline, PEOPLE[1], TURN * wave[2] * turn, LAUGH * wave[3] * laugh)
        left, right = places(index)
        frame = place(wall, first, left, 190 + 10 * wave[1], 250 + 40 * at, 0.12 * wave[2])
        frame = place(frame, second, right, 195 + 12 * wave[3], 290 - 40 * at, 0.12 * wave[0])
        yield filmed(frame, index)


def look_once(pipeline: Pipeline) -> None:
    """Let a pipeline find and encode the faces of a frame once only: both ways do the same there."""
    found: dict[bytes, list[Face]] = {}
    encoded: dict[Face, Encoding] = {}
    detect, encode = pipeline.detect, pipeline.encode

    def detect_once(picture: torch.Tensor, *arguments: Any) -> list[Face]:
        name = hashlib.sha256(stored(picture).numpy().tobytes()).digest()
        if name not in found:
            found[name] = detect(picture, *arguments)
        return found[name]

    def encode_once(picture: torch.Tensor, faces: list[Face], *arguments: Any) -> Encoding:
        for face in faces:
            if face not in encoded:
                encoded[face] = encode(picture, [face], *arguments)
        parts = [encoded[face] for face in faces]
        maps = {px: torch.cat([part.features[px] for part in parts]) for px in parts[0].features}
        fronts = [part.front for part in parts if part.front is not None]
        return Encoding(
            torch.cat([part.latent for part in parts]),
            maps,
            torch.cat([part.gestures for part in parts]),
            [one for part in parts for one in part.imprints],
            torch.cat(fronts) if fronts else None,
        )

    pipeline.detect = detect_once  # type: ignore[method-assign, assignment]
    pipeline.encode = encode_once  # type: ignore[method-assign, assignment]


def pictures(pipeline: Pipeline, frames: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Each frame by itself."""
    for frame in frames:
        try:
            yield pipeline.anonymize(shown(frame), KEY).picture
        except NoFaceError:
            yield shown(frame)


def clip(pipeline: Pipeline, frames: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """All of them together."""
    for result in anonymize_clip(pipeline, map(shown, frames), KEY):
        yield result.picture


def with_and_without_imprints(pictures: Iterator[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Pictures as uint8 [1, 3, H, W], and what they were before the imprints were written: all else is the same."""
    made: list[torch.Tensor] = []
    plain: list[torch.Tensor] = []
    write_face = dbaf.networks.write_face

    def write(picture: torch.Tensor, *arguments: Any) -> tuple[torch.Tensor, bool]:
        if len(plain) == len(made):  # the first face of a frame
            plain.append(stored(picture))
        return write_face(picture, *arguments)

    dbaf.networks.write_face = write  # type: ignore[assignment]
    for picture in pictures:
        made.append(stored(picture))
        plain += made[len(plain) :]  # nobody was there
    dbaf.networks.write_face = write_face
    return made, plain


def stored(picture: torch.Tensor) -> torch.Tensor:
    """[1, 3, H, W] in [-1, 1] -> uint8."""
    return ((picture + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def shown(levels: torch.Tensor) -> torch.Tensor:
    """The other way."""
    return levels / 127.5 - 1


def follow(pipeline: Pipeline, judge: Dlib, frames: list[torch.Tensor]) -> list[dict[int, tuple[Face, torch.Tensor]]]:
    """For each of the two people: number of the frame -> their face and the judge's embedding [128]."""
    seen: list[dict[int, tuple[Face, torch.Tensor]]] = [{}, {}]
    for index, frame in enumerate(frames):
        picture = shown(frame)
        at = places(index)
        apart = abs(at[0] - at[1])
        for face in pipeline.detect(picture):
            x = float(face.points[:, 0].mean())
            # while one is behind the other, the only face is that of the one in front
            who = 1 if apart < 60 else min((0, 1), key=lambda person: abs(at[person] - x))
            seen[who][index] = (face, judge.embed(picture, face.points))
    return seen


def figures(seen: list[dict[int, tuple[Face, torch.Tensor]]]) -> dict[str, Any]:
    """How much identity and landmarks change from frame to frame, of both people together."""
    steps, jitter, apart = [], [], []
    for person in seen:
        for index, (face, code) in person.items():
            if index + 1 in person:
                steps.append(float((person[index + 1][1] - code).norm()))
            if index - 1 in person and index + 1 in person:
                before, after = person[index - 1][0].mesh[:, :2], person[index + 1][0].mesh[:, :2]
                eyes = (face.points[1] - face.points[0]).norm()
                bend = (before - 2 * face.mesh[:, :2] + after).norm(dim=1) / eyes  # [468]
                jitter.append(float(bend.square().mean().sqrt()))
        codes = torch.stack([code for _, code in person.values()])
        apart += torch.pdist(codes).tolist()
    return {
        "faces": sum(map(len, seen)),
        "identity_step": spread(steps),
        "identity_apart": spread(apart),
        "landmark_jitter": spread(jitter),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile, with n."""
    high = statistics.quantiles(values, n=20)[-1]
    return {"median": round(statistics.median(values), 4), "p95": round(high, 4), "n": len(values)}


def likeness(inputs: list[dict[int, tuple[Face, torch.Tensor]]], outputs: list[dict[int, Any]]) -> dict[str, Any]:
    """What stays of identity (distance) and of attributes: correlation with the input, the worse of the two people."""
    distances, kept = [], {"mouth": 1.0, "yaw": 1.0}
    measures: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "mouth": lambda mesh: (mesh[14] - mesh[13])[:2].norm() / (mesh[263] - mesh[33])[:2].norm(),
        "yaw": lambda mesh: (mesh[4] - mesh[234])[0] / (mesh[454] - mesh[234])[0],
    }
    for old, new in zip(inputs, outputs, strict=True):
        both = sorted(old.keys() & new.keys())
        distances += [float((old[index][1] - new[index][1]).norm()) for index in both]
        for name, measure in measures.items():
            pair = torch.stack([torch.stack([measure(side[index][0].mesh) for index in both]) for side in (old, new)])
            kept[name] = min(kept[name], round(float(torch.corrcoef(pair)[0, 1]), 3))
    return {"distance_to_input": spread(distances), "correlation": kept}


@torch.inference_mode()
def run_crossing(pipeline: Pipeline, sheet: Path | None) -> dict[str, Any]:
    """Input, pictures and clip, the last two with and without imprints."""
    judge = Dlib()
    frames = [stored(frame) for frame in crossing(pipeline)]
    inputs = follow(pipeline, judge, frames)
    print("input", json.dumps(figures(inputs)), flush=True)
    report: dict[str, Any] = {"frames": FRAMES, "size": [WIDTH, HEIGHT], "judge": judge.name, "input": figures(inputs)}
    look_once(pipeline)
    rows = [frames]
    for name, method in (("pictures", pictures), ("clip", clip)):
        made = with_and_without_imprints(method(pipeline, frames))
        for outputs, suffix in zip(made, ("", ", no imprints"), strict=True):
            rows.append(outputs)
            seen = follow(pipeline, judge, outputs)
            report[name + suffix] = figures(seen) | likeness(inputs, seen)
            print(name + suffix, json.dumps(report[name + suffix]), flush=True)
    if sheet is not None:
        columns = [torch.cat([row[index] for row in rows], 2) for index in (10, 11, 12, 44, 84, 110)]
        to_pil(shown(torch.cat(columns, 3))).save(sheet)
    return report


@torch.inference_mode()
def run_memory(pipeline: Pipeline, sheet: Path | None) -> dict[str, Any]:
    """Memory of the process after some frames of 256 px, of which a tenth shows a person who comes and goes. Linux."""
    turn, laugh = directions(pipeline)
    angles = [2 * math.pi * index / 10 for index in range(10)]
    portraits = [
        person(pipeline, PEOPLE[0], TURN * math.sin(angle) * turn, LAUGH * math.cos(angle) * laugh) for angle in angles
    ]
    wall = ground(256, 256)

    def frames() -> Iterator[torch.Tensor]:
        for index in range(1000):
            x, y = 128 + 10 * math.sin(index / 9), 128 + 8 * math.cos(index / 7)
            shows = index % 100 < 10
            yield filmed(place(wall, portraits[index % 10], x, y, 230, 0.1) if shows else wall, index)

    peaks: dict[str, int] = {}
    resident: dict[str, int] = {}
    faces = 0
    for count, result in enumerate(anonymize_clip(pipeline, frames(), KEY, min_face=80), 1):
        faces += len(result.faces)
        if count in (10, 100, 200, 500, 1000):
            peaks[str(count)] = round((peak_bytes() or 0) / 1e6)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            resident[str(count)] = round(pages * resource.getpagesize() / 1e6)
            print(count, faces, peaks[str(count)], resident[str(count)], flush=True)
    return {"size": 256, "faces": faces, "peak_mb_after_frames": peaks, "resident_mb_after_frames": resident}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["crossing", "memory"])
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = Pipeline.from_pretrained("mobile", device="cpu")
    run = {"crossing": run_crossing, "memory": run_memory}[arguments.part]
    found = run(pipeline, arguments.sheet)
    report = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    with replacing(RESULTS, overwrite=True) as file:
        file.write((json.dumps(report | {arguments.part: found}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
