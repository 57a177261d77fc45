"""The pictures of an IMAGE, worked on one by one: each by itself, as an album, or as the frames of a clip."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from dbaf.album import Album
from dbaf.clip import Progress as ClipProgress
from dbaf.errors import NoFaceError, PictureError
from dbaf.faces import Selection
from dbaf.pipeline import Pipeline, Progress
from dbaf.stages import Result

from .border import Pictures, check_counts, clip_progress, each_picture_within
from .device import ready
from .sockets import KEEP, STOP, PerPicture

Faces = PerPicture[Selection] | None
Held = Sequence[torch.Tensor | None]  # of each face, from `Album.held`
Work = Callable[[torch.Tensor, Selection | None, Progress], Result]


def one_by_one(
    model: Pipeline, image: torch.Tensor, faces: Faces, without_face: str, work: Work
) -> Iterator[Result | None]:
    """What `work` makes of each picture of an IMAGE; None where there is nothing to do and the user allowed it.

    Raises:
        NoFaceError, PictureError: with the number of the picture.
    """
    pictures = _checked(model, image, faces)
    for index, step in each_picture_within(len(pictures)):
        yield _made(pictures, faces, without_face, work, index, step)


def album(
    model: Pipeline, image: torch.Tensor, faces: Faces, without_face: str, min_face: int, work: Callable[..., Result]
) -> Iterator[Result | None]:
    """The same, after a look at all pictures for who is in several of them; `work` is told by `held: Held`."""
    pictures = _checked(model, image, faces)
    people, count = Album(model, min_face), len(pictures)
    for number, step in each_picture_within(2 * count):  # both rounds in one progress bar
        index = number % count
        if number < count:
            with _numbered(index, count):
                people.look(index, pictures[index], None if faces is None else faces[index], step)
        else:
            yield _made(pictures, faces, without_face, partial(work, held=people.held(index)), index, step)


def clip(
    model: Pipeline,
    image: torch.Tensor,
    faces: Faces,
    without_face: str,
    follow: Callable[[Pictures, ClipProgress], Iterator[Result]],
) -> Iterator[Result]:
    """What `follow` makes of the frames of an IMAGE, all together. Raises as `one_by_one` does."""
    frames = _checked(model, image, faces)
    results = follow(frames, clip_progress(len(frames)))
    for index in range(len(frames)):
        with _numbered(index, len(frames)):
            result = next(results)
        if not result.faces and without_face == STOP and faces is None:
            raise _nobody(index, len(frames))
        yield result


def _checked(model: Pipeline, image: torch.Tensor, faces: Faces) -> Pictures:
    """The pictures of an IMAGE, with the networks ready and the faces theirs."""
    ready(model)
    pictures = Pictures(image)
    if faces is not None:
        check_counts(image=pictures, faces=faces)
    return pictures


def _made(pictures: Pictures, faces: Faces, without_face: str, work: Work, index: int, step: Progress) -> Result | None:
    """What `work` makes of one of the pictures; see `one_by_one`."""
    try:
        with _numbered(index, len(pictures)):
            return work(pictures[index], None if faces is None else faces[index], step)
    except NoFaceError:
        if without_face == STOP and faces is None:  # else DBAF Detect Faces has asked
            raise _nobody(index, len(pictures)) from None
        return None


@contextmanager
def _numbered(index: int, count: int) -> Iterator[None]:
    """Errors about a picture say which one it is."""
    try:
        yield
    except PictureError as error:
        raise type(error)(f"Picture {index + 1} of {count}: {error}") from None


def _nobody(index: int, count: int) -> NoFaceError:
    return NoFaceError(
        f"No face was found in picture {index + 1} of {count}. Take it out, lower 'min_face', or set 'without_face' to "
        f"'{KEEP}' if nobody is in it."
    )
