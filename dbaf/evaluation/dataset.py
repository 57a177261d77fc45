"""Which photos a data set holds, whom they show, and which of them are worked on."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dbaf.batch import plan
from dbaf.errors import PictureError

SEED = 0


@dataclass(frozen=True)
class Photo:
    """One photo of a data set.

    Attributes:
        path: where it lies.
        label: its path below the data set, the same wherever the data set lies.
        person: whom it shows.
    """

    path: Path
    label: str
    person: str

    @cached_property
    def digest(self) -> str:
        """sha256 of the file: what is cached for it holds as long as it does not change.

        Raises:
            PictureError: the file cannot be read.
        """
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise PictureError(f"Cannot read {self.path}: {error.strerror}.") from error


def photos_in(folder: Path, out: Path) -> list[Photo]:
    """Every photo below a folder: a sub-folder is a person; a photo in the folder itself is a person of its own.

    Args:
        folder: the data set.
        out: what lies here is left out, if it lies below `folder`.

    Raises:
        PictureError: there is none.
    """
    found = []
    for task in plan([folder], out):
        below = task.source.relative_to(folder)
        found.append(Photo(task.source, below.as_posix(), below.parent.as_posix() if below.parent.name else below.name))
    if not found:
        raise PictureError(f"No photos in {folder}. Give a folder with photos, or with a sub-folder for every person.")
    return found


def choose(photos: Sequence[Photo], count: int | None) -> list[Photo]:
    """About `count` of the photos, the same on every machine; all of them if `count` is None.

    The first two photos each of people who have two or more, as far as there are such people, so that pairs of one
    person can be compared; then one photo each of the others. People are drawn with a fixed seed.
    """
    if count is None or count >= len(photos):
        return list(photos)
    by_person: dict[str, list[Photo]] = {}
    for photo in photos:
        by_person.setdefault(photo.person, []).append(photo)
    chosen: list[Photo] = []
    for each in (2, 1):
        people = sorted(name for name, own in by_person.items() if min(2, len(own)) == each)
        drawn = random.Random(SEED).sample(people, min(len(people), (count - len(chosen)) // each))
        chosen += [photo for name in drawn for photo in by_person[name][:each]]
    return chosen
