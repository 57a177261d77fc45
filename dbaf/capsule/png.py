"""The private PNG chunk that carries a capsule, read strictly and replaced without touching the pixels."""

import struct
import zlib
from pathlib import Path

from dbaf.capsule.format import MOST_BYTES
from dbaf.errors import PictureError

# ancillary, private, and *not* safe to copy: a program that changes pixels must leave it out (PNG specification, 5.4)
CHUNK = b"dbAF"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")


def chunks(data: bytes, name: str) -> list[tuple[bytes, int, int]]:
    """Type, start and end (with length, type and CRC) of every chunk of a PNG file, up to IEND.

    Raises:
        PictureError: `data` is no PNG file or truncated; `name` says which one.
    """
    if not data.startswith(_SIGNATURE):
        raise PictureError(f"{name} is no PNG file.")
    found, place = [], len(_SIGNATURE)
    while True:
        if place + 12 > len(data):
            raise PictureError(f"{name} is truncated: it ends within its chunks.")
        length, kind = _HEAD.unpack_from(data, place)
        end = place + 12 + length
        if length >= 1 << 31 or end > len(data):
            raise PictureError(f"{name} is truncated or damaged: a chunk is longer than the file.")
        found.append((kind, place, end))
        if kind == b"IEND":
            return found
        place = end


def read_capsule(path: Path) -> bytes | None:
    """The bytes of the capsule in a PNG file; None if there is none or it is no PNG.

    Raises:
        PictureError: the file cannot be read; it is damaged; it holds several capsules, or one that is.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                return None
            file.seek(0)
            data = file.read()
    except OSError as error:
        raise PictureError(f"Cannot read {path}: {error.strerror}.") from error
    places = [(start, end) for kind, start, end in chunks(data, str(path)) if kind == CHUNK]
    if not places:
        return None
    if len(places) > 1:
        raise PictureError(f"{path} holds {len(places)} capsules, where one is expected: somebody changed the file.")
    start, end = places[0]
    if end - start > MOST_BYTES:
        raise PictureError(f"{path} holds a capsule of {end - start} bytes; the limit is {MOST_BYTES}.")
    if struct.pack(">I", zlib.crc32(data[start + 4 : end - 4])) != data[end - 4 : end]:
        raise PictureError(f"The capsule in {path} is damaged (its CRC is wrong). Take another copy of the picture.")
    return data[start + 8 : end - 4]


def read_sidecar(path: Path) -> bytes | None:
    """The bytes of a capsule in a file of its own; None if there is no such file. PictureError: it cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PictureError(f"{path} is too large for a capsule; the limit is {MOST_BYTES} bytes.")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PictureError(f"Cannot read {path}: {error.strerror}.") from error


def with_capsule(data: bytes, capsule: bytes, name: str) -> bytes:
    """A PNG file with its capsule replaced, or added before IEND; every other byte stays. Errors as `chunks`."""
    parts = [data[: len(_SIGNATURE)]]
    for kind, start, end in chunks(data, name):
        if kind == b"IEND":
            body = CHUNK + capsule
            parts.append(struct.pack(">I", len(capsule)) + body + struct.pack(">I", zlib.crc32(body)))
        if kind != CHUNK:
            parts.append(data[start:end])
    return b"".join(parts)
