"""`dbaf anonymize --clip`: the pictures of one folder as the frames of a clip."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dbaf.errors import NoFaceError, PictureError

if TYPE_CHECKING:
    import torch

    from dbaf.stages import Result


def check_clip(inputs: list[Path], skip_existing: bool) -> None:
    """BadParameter unless the options go together."""
    if len(inputs) != 1 or not inputs[0].is_dir():
        raise typer.BadParameter("A clip is one folder of frames, in the order of their names.", param_hint="--clip")
    if skip_existing:
        raise typer.BadParameter(
            "A clip cannot go on in the middle: who is who is known from its first frame on only. Start anew with "
            "--overwrite.",
            param_hint="--skip-existing",
        )


def clip_results(
    sources: list[Path], follow: "Callable[[Iterator[torch.Tensor]], Iterator[Result]]"
) -> "Callable[[Path], Result]":
    """What gives the result of each frame, asked for in their order; frames are read when they are needed.

    Args:
        sources: the frames.
        follow: makes a result of each picture [1, 3, H, W] in [-1, 1].
    """
    from dbaf.images import read_picture

    # after an error there are no more results
    results = zip(sources, follow(read_picture(source).rgb for source in sources), strict=False)

    def result_of(source: Path) -> "Result":
        for path, result in results:
            if path == source:
                return result
        raise PictureError("The clip ended at an earlier frame, which failed. Mend that one, or take it out.")

    return result_of


def check_face(result: "Result") -> None:
    """NoFaceError if there was nobody in the frame, as for a picture by itself."""
    if not result.faces:
        raise NoFaceError("No face was found in the frame.")
