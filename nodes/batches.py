"""The pictures of an IMAGE, or of a list of them, worked on one by one: each by itself, as an album, or as a clip."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import torch

from dbaf.album import Album
from dbaf.clip import Progress as ClipProgress
from dbaf.errors import NoFaceError, PictureError
from dbaf.faces import Selection
from dbaf.pipeline import Pipeline
from dbaf.stages import Result

from .border import Bar, Pictures, check_counts
from .device import ready
from .sockets import ALBUM, KEEP, STOP, PerPicture

Faces = PerPicture[Selection] | None
Held = Sequence[torch.Tensor]  # of each face, from `Album.held`


@dataclass
class Place:
    """Where an IMAGE stands in a list of them: the first of its pictures is number `before` + 1 of `total`.

    `bar` is that of the whole list; `album` knows who is in its pictures, if they are one.
    """

    before: int
    total: int
    bar: Bar
    album: Album | None = None

    @contextmanager
    def numbered(self, index: int) -> Iterator[None]:
        """Errors about a picture of this IMAGE say which one it is."""
        try:
            yield
        except PictureError as error:
            raise type(error)(f"Picture {self.before + index + 1} of {self.total}: {error}") from None

    def nobody(self, index: int) -> NoFaceError:
        return NoFaceError(
            f"No face was found in picture {self.before + index + 1} of {self.total}. Take it out, lower 'min_face', "
            f"or set 'without_face' to '{KEEP}' if nobody is in it."
        )


def alone(image: torch.Tensor) -> Place:
    """The place of an IMAGE that is in no list."""
    return Place(0, len(image), Bar(len(image)))


def each_placed(lists: dict[str, list[Any]]) -> list[tuple[Place, dict[str, Any]]]:
    """What a node that takes lists has to do for each IMAGE: its place, and the inputs that go with it by name.

    Albums are looked at here: pictures of all IMAGEs whose 'batch' is 'album' are one, for each 'model' and 'min_face'.

    Raises:
        PictureError: with the number of the picture, from a look at an album.
    """
    longest = max(map(len, lists.values()))
    # the last entry of a shorter list comes again, as in nodes that ComfyUI calls for each entry
    entries = [{name: some[min(index, len(some) - 1)] for name, some in lists.items()} for index in range(longest)]
    counts = [len(entry["image"]) for entry in entries]
    looks = sum(len(entry["image"]) for entry in entries if entry["batch"] == ALBUM)
    bar, album = Bar(sum(counts) + looks), cache(Album)
    places = [Place(before, sum(counts), bar) for before in accumulate(counts[:-1], initial=0)]
    for place, entry in zip(places, entries, strict=True):
        if entry["batch"] == ALBUM:
            place.album = album(entry["model"], entry["min_face"])
            _look(place, place.album, entry["model"], entry["image"], entry.get("faces"))
    return list(zip(places, entries, strict=True))


def _look(place: Place, album: Album, model: Pipeline, image: torch.Tensor, faces: Faces) -> None:
    pictures = _checked(model, image, faces)
    for index, step in place.bar.pictures(len(pictures)):
        with place.numbered(index):
            album.look(place.before + index, pictures[index], None if faces is None else faces[index], step)


def one_by_one(
    place: Place, model: Pipeline, image: torch.Tensor, faces: Faces, without_face: str, work: Callable[..., Result]
) -> Iterator[Result | None]:
    """What `work` makes of each picture of an IMAGE; None where there is nothing to do and the user allowed it.

    `work` gets the picture, its selection or None, a callback for progress and, in an album, `held: Held`.

    Raises:
        NoFaceError, PictureError: with the number of the picture.
    """
    pictures = _checked(model, image, faces)
    for index, step in place.bar.pictures(len(pictures)):
        held = {} if place.album is None else {"held": place.album.held(place.before + index)}
        try:
            with place.numbered(index):
                result = work(pictures[index], None if faces is None else faces[index], step, **held)
        except NoFaceError:
            if without_face == STOP and faces is None:  # else DBAF Detect Faces has asked
                raise place.nobody(index) from None
            result = None
        yield result


def clip(
    place: Place,
    model: Pipeline,
    image: torch.Tensor,
    faces: Faces,
    without_face: str,
    follow: Callable[[Pictures, ClipProgress], Iterator[Result]],
) -> Iterator[Result]:
    """What `follow` makes of the frames of an IMAGE, all together. Raises as `one_by_one` does."""
    frames = _checked(model, image, faces)
    results = follow(frames, place.bar.clip(len(frames)))
    for index in range(len(frames)):
        with place.numbered(index):
            result = next(results)
        if not result.faces and without_face == STOP and faces is None:
            raise place.nobody(index)
        yield result


def _checked(model: Pipeline, image: torch.Tensor, faces: Faces) -> Pictures:
    """The pictures of an IMAGE, with the networks ready and the faces theirs."""
    ready(model)
    pictures = Pictures(image)
    if faces is not None:
        check_counts(image=pictures, faces=faces)
    return pictures
