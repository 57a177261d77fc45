"""Many pictures: which ones there are, where each result goes, and one failure not stopping the rest."""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from dbaf.capsule import embed, extract
from dbaf.errors import DbafError, NoFaceError, PictureError
from dbaf.files import replacing, sweep
from dbaf.images import Picture, read_picture, to_pil, write_png

# What is taken from a folder. The second line cannot be read: better a reported failure than a photo silently left out
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .bmp .gif .avif .jp2 .j2k .jpx .ppm .pgm .pbm .pnm"
    " .heic .heif .jxl .psd .tga .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf".split()
)

MOST_BYTES = 2**31  # of a file that is read whole: 200 megapixels and their capsule take less


@dataclass(frozen=True)
class Task:
    """One picture to process."""

    source: Path
    target: Path
    problem: str | None = None
    """Why it cannot be processed, known before the start."""


@dataclass(frozen=True)
class Processed:
    """What a pipeline made of one picture."""

    image: Image.Image | None
    """None: there are only `pieces`."""
    faces: int
    record: dict[str, Any] | None = None
    message: str | None = None
    """Something the user should know."""
    capsule: bytes | None = None
    """To go into the PNG file."""
    sidecar: bytes | None = None
    """A capsule to go into a file beside it."""
    pieces: tuple[Image.Image, ...] = ()
    """Parts of a picture that are written on their own, as `<stem>.face1.png`, ..."""


@dataclass(frozen=True)
class Outcome:
    """What became of one picture; `asdict` of it is its entry in the JSON report."""

    input: str
    output: str | None
    status: Literal["written", "copied", "there", "faceless", "failed"]
    faces: int
    seconds: float
    message: str | None

    @property
    def ok(self) -> bool:
        """The output exists."""
        return self.status in ("written", "copied", "there")

    asdict = asdict


def plan(inputs: Iterable[Path], out: Path) -> list[Task]:
    """List the pictures of files and folders with their outputs `out/<sub-folders>/<stem>.png`.

    In folders, hidden files, other kinds of files and what lies in `out` are left out, links to folders not followed;
    sub-folders are kept. A picture whose output would be that of another one, or would be an input, gets a `problem`.
    """
    found: dict[Path, Path] = {}  # real path -> path under `out`; a picture given twice counts once
    sources: dict[Path, Path] = {}
    for given in inputs:
        pictures = _walk(given, out) if given.is_dir() else [given]
        for source in pictures:
            relative = source.relative_to(given) if given.is_dir() else Path(source.name)
            found.setdefault(source.resolve(), out / relative.with_suffix(".png"))
            sources.setdefault(source.resolve(), source)
    # casefold: two names that differ in case are one file on Windows, macOS and memory cards
    uses = Counter(str(target).casefold() for target in found.values())
    originals = {_identity(real) for real in found} - {None}
    tasks = []
    for real, target in found.items():
        problem = None
        if _identity(target) in originals:
            problem = f"Its output {target} is an input, and inputs are never touched. Choose another output folder."
        elif uses[str(target).casefold()] > 1:
            problem = f"Several inputs would be written to {target}. Rename them or process them one at a time."
        tasks.append(Task(sources[real], target, problem))
    return tasks


def run(
    tasks: Iterable[Task],
    process: Callable[[Picture, Path], Processed],
    overwrite: bool = False,
    copy_faceless: bool = False,
    skip_existing: bool = False,
) -> Iterator[Outcome]:
    """Process pictures one after another; an `Exception` in one is its outcome and the rest goes on.

    Args:
        tasks: from `plan`.
        process: takes a picture and its path; raises NoFaceError if there is no face.
        overwrite: replace existing outputs (inputs are never replaced).
        copy_faceless: write the pixels of a picture without a face as they are; otherwise nothing is written.
        skip_existing: leave pictures whose output is there: go on with what was interrupted.
    """
    tasks = list(tasks)
    for folder in {task.target.parent for task in tasks}:
        sweep(folder)
    for task in tasks:
        start = time.perf_counter()
        status: Literal["written", "copied", "there", "faceless", "failed"]
        faces, message = 0, task.problem
        try:
            if task.problem:
                raise PictureError(task.problem)
            if skip_existing and task.target.is_file():
                yield Outcome(str(task.source), str(task.target), "there", 0, 0.0, None)
                continue
            if os.path.lexists(task.target) and not overwrite:  # before the work; write_png checks again
                raise PictureError(f"{task.target} exists; --overwrite replaces it.")
            picture = read_picture(task.source)
            try:
                processed = process(picture, task.source)
                _write(task.target, processed, overwrite, skip_existing)
                status, faces, message = "written", processed.faces, processed.message
            except NoFaceError:
                status, message = (
                    "faceless",
                    "No face found. Nothing was written; --copy-faceless copies such pictures.",
                )
                if copy_faceless:
                    pixels = to_pil(picture.rgb, picture.alpha, picture.grey)
                    write_png(task.target, pixels, picture.record, overwrite)
                    status, message = "copied", "No face found; pixels copied, without metadata."
        except DbafError as error:
            status, message = "failed", str(error)
        except Exception as error:  # out of memory, a bug: one picture must not cost the others
            status, message = "failed", f"{type(error).__name__}: {error}"
        output = str(task.target) if status in ("written", "copied") else None
        yield Outcome(str(task.source), output, status, faces, round(time.perf_counter() - start, 3), message)


def sidecar_of(picture: Path) -> Path:
    """Where the capsule of a picture lies if it is not in the file itself."""
    return picture.with_name(f"{picture.name}.dbaf")


def find_capsule(picture: Path) -> tuple[bytes, Path] | None:
    """The capsule in a picture file, or else beside it, and the file that holds it.

    Raises:
        PictureError: a file cannot be read or is too large, or the capsule in it is damaged; names the file.
    """
    beside = sidecar_of(picture)
    try:
        capsule = extract(_whole(picture))
        if capsule is not None:
            return capsule, picture
        return (_whole(beside), beside) if beside.is_file() else None
    except OSError as error:
        raise PictureError(f"Cannot read {error.filename}: {error.strerror}.") from error
    except PictureError as error:
        raise PictureError(f"{picture}: {error}") from error


def _whole(file: Path) -> bytes:
    """Its bytes, unless they are too many: whoever sends a file must not fill the memory."""
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise PictureError(f"{file.name} has {size / 1e9:.1f} GB, more than any picture or capsule of ours.")
    return file.read_bytes()


def _write(target: Path, processed: Processed, overwrite: bool, resumed: bool) -> None:
    """Everything that belongs to one result. The picture comes last: when it is there, so is the rest.

    If not, and the run goes on where one was `resumed`, the rest is what that one left, and is replaced.
    """
    rest = overwrite or resumed
    for number, piece in enumerate(processed.pieces, 1):
        write_png(target.with_name(f"{target.stem}.face{number}.png"), piece, None, rest)
    if processed.sidecar is not None:
        with replacing(sidecar_of(target), rest) as file:
            file.write(processed.sidecar)
    if processed.image is not None:
        capsule = processed.capsule
        add = None if capsule is None else lambda png: embed(png, capsule)
        write_png(target, processed.image, processed.record, overwrite, add)


def _walk(folder: Path, out: Path) -> list[Path]:
    """Pictures below a folder, by name and number, without hidden ones and without those in `out` if it lies below."""
    pictures = []
    skip = out.resolve()
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() != skip)
        shown = [f for f in files if not f.startswith(".") and Path(f).suffix.lower() in SUFFIXES]
        pictures += [here / f for f in sorted(shown, key=natural)]
    return pictures


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Orders frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)], name


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file under any of its names (links, upper and lower case); None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
