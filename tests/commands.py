"""`dbaf` as a user calls it, and looking at the files that it wrote."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from dbaf.cli import app


def dbaf_(*arguments: object) -> Result:
    """Run `dbaf` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def names(folder: Path) -> list[str]:
    """The files of a folder and of those in it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pixels(path: Path) -> np.ndarray:
    """The 8-bit values of a picture as it is stored."""
    with Image.open(path) as image:
        return np.asarray(image)
