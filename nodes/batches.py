"""The pictures of an IMAGE, worked on one by one: each by itself, or as the frames of a clip."""

from collections.abc import Callable, Iterator

import torch

from dbaf.clip import Progress as ClipProgress
from dbaf.errors import NoFaceError, PictureError
from dbaf.faces import Selection
from dbaf.pipeline import Pipeline, Progress
from dbaf.stages import Result

from .border import Pictures, check_counts, clip_progress, each_picture_within
from .device import ready
from .sockets import KEEP, STOP, PerPicture

Faces = PerPicture[Selection] | None


def album(
    model: Pipeline,
    image: torch.Tensor,
    faces: Faces,
    without_face: str,
    work: Callable[[torch.Tensor, Selection | None, Progress], Result],
) -> Iterator[Result | None]:
    """What `work` makes of each picture of an IMAGE; None where there is nothing to do and the user allowed it.

    Raises:
        NoFaceError, PictureError: with the number of the picture.
    """
    pictures = _checked(model, image, faces)
    for index, step in each_picture_within(len(pictures)):
        try:
            made = work(pictures[index], None if faces is None else faces[index], step)
        except NoFaceError:
            if without_face == STOP and faces is None:  # else DBAF Detect Faces has asked
                raise _nobody(index, len(pictures)) from None
            made = None
        except PictureError as error:
            raise type(error)(f"Picture {index + 1} of {len(pictures)}: {error}") from None
        yield made


def clip(
    model: Pipeline,
    image: torch.Tensor,
    faces: Faces,
    without_face: str,
    follow: Callable[[Pictures, ClipProgress], Iterator[Result]],
) -> Iterator[Result]:
    """What `follow` makes of the frames of an IMAGE, all together. Raises as `album` does."""
    frames = _checked(model, image, faces)
    results = follow(frames, clip_progress(len(frames)))
    for index in range(len(frames)):
        try:
            result = next(results)
        except PictureError as error:
            raise type(error)(f"Picture {index + 1} of {len(frames)}: {error}") from None
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


def _nobody(index: int, count: int) -> NoFaceError:
    return NoFaceError(
        f"No face was found in picture {index + 1} of {count}. Take it out, lower 'min_face', or set 'without_face' to "
        f"'{KEEP}' if nobody is in it."
    )
