"""The capsule as a chunk of a PNG file.

The chunk is `dbAf`: ancillary (d: a reader that does not know it shows the picture), private (b), and safe to copy
(f). Strictly a chunk that depends on the pixels is unsafe to copy; but ours carries the picture's hash, so it notices
a changed picture itself, and in a changed picture it may hold the last copy of the original faces. It stands before
IEND, so that a viewer has the pixels first. Few editors copy it in practice; Pillow drops it.
"""

import struct
import zlib
from collections.abc import Iterator

from dbaf.errors import CapsuleError

CHUNK = b"dbAf"
MAX_CHUNK = 2**31 - 1  # PNG's limit
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def embed(png: bytes, capsule: bytes) -> bytes:
    """The PNG file with the capsule in it, in place of one that it had.

    Raises:
        CapsuleError: no PNG file, a damaged one, or a capsule over 2 GiB.
    """
    if len(capsule) > MAX_CHUNK:
        raise CapsuleError("The capsule is too large for a PNG chunk (2 GiB). Seal into a sidecar file.")
    if not png.startswith(_SIGNATURE):
        raise CapsuleError("This is no PNG file; a capsule can only be embedded in PNG.")
    check = zlib.crc32(capsule, zlib.crc32(CHUNK))
    parts: list[bytes | memoryview] = [_SIGNATURE]
    for kind, whole in _chunks(png):
        if kind == b"IEND":
            parts += [struct.pack(">I4s", len(capsule), CHUNK), capsule, struct.pack(">I", check)]
        if kind != CHUNK:
            parts.append(whole)
    return b"".join(parts)


def extract(png: bytes) -> bytes | None:
    """The capsule of a PNG file; None if it has none or is no PNG file. Bytes after the file's end do not matter.

    Raises:
        CapsuleError: the PNG's structure is damaged, or it has several capsules, or one whose check sum is wrong.
    """
    if not png.startswith(_SIGNATURE):
        return None
    found = [whole for kind, whole in _chunks(png) if kind == CHUNK]
    if len(found) > 1:
        raise CapsuleError(f"The PNG file has {len(found)} capsules; one was expected. Take your copy of it.")
    if not found:
        return None
    (check,) = struct.unpack(">I", found[0][-4:])
    if zlib.crc32(found[0][4:-4]) != check:
        raise CapsuleError("The capsule in the PNG file is damaged: its check sum is wrong. Take your copy of it.")
    return bytes(found[0][8:-4])


def _chunks(png: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and whole bytes of every chunk up to IEND; lengths are checked against the file, nothing is copied."""
    view, start = memoryview(png), len(_SIGNATURE)
    while True:
        if start + 12 > len(view):
            raise CapsuleError("The PNG file is damaged: it ends too early.")
        length, kind = struct.unpack_from(">I4s", view, start)
        end = start + 12 + length
        if length > MAX_CHUNK or end > len(view) or not kind.isalpha():
            raise CapsuleError("The PNG file is damaged: a chunk has no valid type or is longer than the file.")
        if (start == len(_SIGNATURE)) != (kind == b"IHDR"):
            raise CapsuleError("The PNG file is damaged: it does not start with one header.")
        yield kind, view[start:end]
        if kind == b"IEND":
            return
        start = end
