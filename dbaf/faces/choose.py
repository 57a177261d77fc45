"""Which of the faces in a picture to work on. All others are spared: they stay as they are, bit for bit."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dbaf.errors import PictureError
from dbaf.faces.face import Face

COVERED = 0.25  # share of a face's box that a mask must cover to choose it

RANKS: dict[str, Callable[[Face, int, int], float]] = {
    "largest": lambda face, height, width: -(face.box[2] - face.box[0]) * (face.box[3] - face.box[1]),
    "nearest the middle": lambda face, height, width: abs(complex(*_middle(face)) - complex(width, height) / 2),
    "leftmost": lambda face, height, width: _middle(face)[0],
    "rightmost": lambda face, height, width: -_middle(face)[0],
    "topmost": lambda face, height, width: _middle(face)[1],
    "bottommost": lambda face, height, width: -_middle(face)[1],
}
"""Name -> what orders faces of a picture of this height and width; the first in that order has the least."""


@dataclass(frozen=True)
class Selection:
    """The faces of a picture, parted into chosen and spared ones.

    Attributes:
        found: all of them, left to right, so that the number of a face stays the same whoever is chosen.
        taken: for each, whether it is chosen.
        people: for each the number of the person, from 1, where they are followed through a clip.
    """

    found: list[Face]
    taken: list[bool]
    people: list[int] | None = None

    @property
    def numbers(self) -> list[int]:
        """What a preview calls each face."""
        return self.people or list(range(1, len(self.found) + 1))

    @property
    def places(self) -> list[int]:
        """Where each chosen face stands among all, from 0."""
        return [place for place, taken in enumerate(self.taken) if taken]

    @property
    def chosen(self) -> list[Face]:
        """The faces to work on, left to right."""
        return [face for face, taken in zip(self.found, self.taken, strict=True) if taken]

    @property
    def spared(self) -> list[Face]:
        """The faces to leave alone, left to right."""
        return [face for face, taken in zip(self.found, self.taken, strict=True) if not taken]


def parse_numbers(text: str) -> set[int]:
    """`"1, 3-5"` -> {1, 3, 4, 5}.

    Raises:
        PictureError: the text is something else; says what.
    """
    numbers: set[int] = set()
    for part in re.split(r"[,;\s]+", re.sub(r"\s*-\s*", "-", text.strip())):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise PictureError(f"'{part}' is no number of a face. Faces count from 1, left to right: write 1, 3-5.")
        numbers.update(range(first, last + 1))
    return numbers


def by_number(faces: list[Face], numbers: set[int]) -> list[bool]:
    """For each face whether its number, from 1, is one of these.

    Raises:
        PictureError: there is no face of such a number; leaving it out in silence could leave somebody recognisable.
    """
    missing = sorted(number for number in numbers if number > len(faces))
    if missing:
        raise PictureError(f"There is no face {missing[0]}: the picture has {len(faces)}.")
    return [number in numbers for number in range(1, len(faces) + 1)]


def by_rank(faces: list[Face], rank: str, count: int, height: int, width: int) -> list[bool]:
    """For each face whether it is among the first `count` in the order that `RANKS[rank]` gives; ties: left first."""
    order = sorted(range(len(faces)), key=lambda index: RANKS[rank](faces[index], height, width))
    return [index in order[:count] for index in range(len(faces))]


def by_mask(faces: list[Face], mask: torch.Tensor) -> list[bool]:
    """For each face whether a mask [H, W] in [0, 1] of the picture covers a quarter of its box or more."""
    return [_covered(face, mask) >= COVERED for face in faces]


def _covered(face: Face, mask: torch.Tensor) -> float:
    x0, y0, x1, y1 = (max(0, round(value)) for value in face.box)
    inside = mask[y0:y1, x0:x1]
    return float(inside.mean()) if inside.numel() else 0.0


def _middle(face: Face) -> tuple[float, float]:
    return (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
