"""What else people use to hide faces, under the same harness: classical filters, and the PyPI tool `deface`."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

from dbaf.errors import PictureError
from dbaf.evaluation.methods import Method, Output, through_png
from dbaf.faces.face import Face
from dbaf.images import read_picture, to_pil, write_png

GROWTH = 0.15  # of the longer side of the box around the mesh, added on every side: forehead and ears too
SIGMA = 0.1  # of the blur, in longer sides of the box
BLOCKS = 10  # mosaic tiles across the face
DEFACE_TIMEOUT = 300  # s a photo


class Filter(Method):
    """Replaces the rectangle around every face."""

    def outputs(self, picture: torch.Tensor, faces: list[Face], group: int) -> Iterator[Output]:
        """See `Method`; there is no key and no way back."""
        start = time.perf_counter()
        result, mask = picture.clone(), picture.new_zeros(1, 1, *picture.shape[2:])
        for face in faces:
            x0, y0, x1, y1 = _grown(face, *picture.shape[2:])
            if x0 < x1 and y0 < y1:
                result[..., y0:y1, x0:x1] = self.replace(result, face, (x0, y0, x1, y1))
                mask[..., y0:y1, x0:x1] = 1
        seconds = {"replace": time.perf_counter() - start}
        yield Output("anonymized", through_png(result), mask, seconds)

    def replace(self, picture: torch.Tensor, face: Face, box: tuple[int, int, int, int]) -> torch.Tensor:
        """What takes the place of the rectangle x0, y0, x1, y1 of a picture: [1, 3, y1 - y0, x1 - x0]."""
        raise NotImplementedError


class Blur(Filter):
    """A Gaussian blur whose width is `SIGMA` of the face."""

    name = "blur"

    def replace(self, picture: torch.Tensor, face: Face, box: tuple[int, int, int, int]) -> torch.Tensor:
        """See `Filter`."""
        sigma = max(SIGMA * _side(face), 0.5)
        reach = math.ceil(3 * sigma)
        x0, y0, x1, y1 = box
        steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
        kernel = torch.exp(-steps.square() / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).to(picture)
        region = _continued(picture, x0 - reach, y0 - reach, x1 + reach, y1 + reach)
        channels = [
            F.conv2d(F.conv2d(c, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1)) for c in region.split(1, 1)
        ]
        return torch.cat(channels, 1)


class Pixelate(Filter):
    """A mosaic of `BLOCKS` tiles across the face."""

    name = "pixelate"

    def replace(self, picture: torch.Tensor, face: Face, box: tuple[int, int, int, int]) -> torch.Tensor:
        """See `Filter`."""
        x0, y0, x1, y1 = box
        tile = max(2, round(_side(face) / BLOCKS))
        rows, columns = math.ceil((y1 - y0) / tile), math.ceil((x1 - x0) / tile)
        region = picture[..., y0:y1, x0:x1]
        padding = (0, columns * tile - (x1 - x0), 0, rows * tile - (y1 - y0))
        tiles = F.avg_pool2d(F.pad(region, padding, mode="replicate"), tile)
        return tiles.repeat_interleave(tile, 2).repeat_interleave(tile, 3)[..., : y1 - y0, : x1 - x0]


class Box(Filter):
    """A black box."""

    name = "box"

    def replace(self, picture: torch.Tensor, face: Face, box: tuple[int, int, int, int]) -> torch.Tensor:
        """See `Filter`."""
        x0, y0, x1, y1 = box
        return picture.new_full((1, 3, y1 - y0, x1 - x0), -1.0)


class Deface(Method):
    """The command `deface` of PyPI as a user runs it: a file in, a file out, all settings at their defaults."""

    name = "deface"
    own_detector = True

    def outputs(self, picture: torch.Tensor, faces: list[Face], group: int) -> Iterator[Output]:
        """See `Method`; it leaves a photo as it is where it finds no face."""
        command = deface_command()
        if command is None:
            raise PictureError(DEFACE_MISSING)
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "photo.png", Path(folder) / "photo_anonymized.png"
            write_png(source, to_pil(picture))
            start = time.perf_counter()
            try:
                done = subprocess.run(
                    [command, str(source)], capture_output=True, timeout=DEFACE_TIMEOUT, text=True, errors="replace"
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise PictureError(f"deface failed: {error}") from error
            seconds = {"command": time.perf_counter() - start}
            if done.returncode or not target.is_file():
                last = (done.stderr.strip().splitlines() or ["it wrote no picture"])[-1]
                raise PictureError(f"deface failed: {last}")
            yield Output("anonymized", read_picture(target).rgb, None, seconds)


DEFACE_MISSING = "not installed; get it with: pip install deface"


@cache
def deface_command() -> str | None:
    """Where `deface` lies: beside this Python, else on the PATH; None if it is not installed."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("deface", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))


@cache
def deface_version() -> str | None:
    """Version of the installed `deface`; None if it is not installed or does not start."""
    command = deface_command()
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, "--version"], capture_output=True, timeout=DEFACE_TIMEOUT, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def peers() -> list[Method]:
    """All that can run here; `deface` only if it is installed."""
    filters: list[Method] = [Blur(), Pixelate(), Box()]
    return [*filters, Deface()] if deface_version() else filters


def _side(face: Face) -> float:
    x0, y0, x1, y1 = face.box
    return max(x1 - x0, y1 - y0)


def _grown(face: Face, height: int, width: int) -> tuple[int, int, int, int]:
    """The box of a face and `GROWTH` around it, in whole pixels, inside the picture."""
    x0, y0, x1, y1 = face.box
    margin = GROWTH * _side(face)
    return (
        max(0, math.floor(x0 - margin)),
        max(0, math.floor(y0 - margin)),
        min(width, math.ceil(x1 + margin)),
        min(height, math.ceil(y1 + margin)),
    )


def _continued(picture: torch.Tensor, x0: int, y0: int, x1: int, y1: int) -> torch.Tensor:
    """A rectangle of a picture, which its border pixels continue beyond its edges."""
    rows = torch.arange(y0, y1).clamp(0, picture.shape[2] - 1)
    columns = torch.arange(x0, x1).clamp(0, picture.shape[3] - 1)
    return picture.index_select(2, rows.to(picture.device)).index_select(3, columns.to(picture.device))
