"""Files that appear complete under their name, or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dbaf.errors import PictureError


@contextmanager
def replacing(path: Path, overwrite: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which takes its name when the block ends well; missing folders are made.

    Args:
        path: to write.
        overwrite: replace what is there.
        mode: of the new file, less the process's umask.

    Raises:
        PictureError: the file exists and `overwrite` is False, or it cannot be written.
    """
    temporary = path.with_name(f".dbaf-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _free(path, overwrite)
        with open(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name without the content
        _free(path, overwrite)  # writing took time
        os.replace(temporary, path)
    except OSError as error:
        raise PictureError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:  # also after Ctrl-C
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary files of `replacing` that a process left when it was killed."""
    for path in folder.glob(".dbaf-*.tmp"):
        number = path.name.split("-")[1]
        if number.isdecimal() and not _runs(int(number)):
            with suppress(OSError):
                path.unlink()


def _runs(process: int) -> bool:
    if os.name != "posix":  # os.kill would end it there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _free(path: Path, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise PictureError(f"{path} exists and is not overwritten. Choose another folder or allow overwriting.")
