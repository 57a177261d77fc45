"""The capsule's bytes: what is written, and a reader that checks every length before it believes it.

Nothing here needs a key, and nothing here is secret; `docs/format.md` has the table.
"""

import struct
from dataclasses import dataclass
from typing import Any

from dbaf.capsule.regions import Region
from dbaf.errors import CapsuleError
from dbaf.images import MAX_PIXELS

MAGIC = b"\x89DBAF\r\n\x1a"  # as PNG's: a transfer as text damages it
VERSION = 1
MODES = ("L", "LA", "RGB", "RGBA")  # by number of channels - 1
ID_BYTES = 16
WRAP_BYTES = 64  # salt 16, sealed content key 32, tag 16
TAG_BYTES = 16
MAX_WRAPS = 16
MAX_REGIONS = 1024
MIN_PADDED = 4096

_START = struct.Struct(">8sH")
_FIXED = struct.Struct(">16s32s32s32sIIBH")
_REGION = struct.Struct(">4I")
_LENGTH = struct.Struct(">I")
_WRAPS_AT = len(MAGIC) + 2 + ID_BYTES  # the wraps are bound to the bytes before this: magic, version, id


@dataclass(frozen=True)
class Head:
    """What the payload is authenticated with; whoever has the capsule can read it."""

    id: bytes
    """16 random bytes, the salt of the payload's keys."""
    model: bytes
    """SHA-256 of the manifest of the model bundle that made the picture."""
    picture: bytes
    """Hash of the output picture, see `dbaf.capsule.pixels.picture_hash`."""
    commitment: bytes
    """Of the content key: no capsule opens to different things for different recipients."""
    width: int
    height: int
    channels: int
    regions: tuple[Region, ...]
    payload_bytes: int
    """Of the sealed payload, with its tag."""

    def pack(self) -> bytes:
        """The bytes of the capsule before the wraps."""
        numbers = (self.width, self.height, self.channels, len(self.regions))
        return b"".join(
            (
                _START.pack(MAGIC, VERSION),
                _FIXED.pack(self.id, self.model, self.picture, self.commitment, *numbers),
                *(_REGION.pack(*region) for region in self.regions),
                _LENGTH.pack(self.payload_bytes),
            )
        )

    @property
    def pixel_bytes(self) -> int:
        """Of all regions, uncompressed."""
        return self.channels * sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.regions)


@dataclass(frozen=True)
class Capsule:
    """The parts of a capsule, lengths and limits checked, nothing decrypted."""

    head: Head
    head_bytes: bytes
    wraps: tuple[bytes, ...]
    payload: bytes

    @property
    def wrap_context(self) -> bytes:
        """Associated data of every wrap."""
        return self.head_bytes[:_WRAPS_AT]

    def pack(self) -> bytes:
        """The whole capsule. The wraps are sorted: their order tells nothing about who came first."""
        return b"".join((self.head_bytes, bytes([len(self.wraps)]), *sorted(self.wraps), self.payload))


def parse(data: bytes) -> Capsule:
    """Take a capsule apart.

    Raises:
        CapsuleError: no capsule, a later version, truncated, bytes too many, or out of the limits.
    """
    rest = memoryview(data)

    def take(count: int) -> memoryview:
        nonlocal rest
        if count > len(rest):
            raise CapsuleError("The capsule is damaged: it ends too early. Take your copy of it.")
        taken, rest = rest[:count], rest[count:]
        return taken

    if data[: len(MAGIC)] != MAGIC:
        raise CapsuleError("This is no DBAF capsule: it starts with other bytes.")
    _, version = _START.unpack(take(_START.size))
    if version != VERSION:
        raise CapsuleError(f"The capsule has format version {version}; this software reads {VERSION}: update it.")
    identity, model, picture, commitment, width, height, channels, count = _FIXED.unpack(take(_FIXED.size))
    _limit(0 < width * height <= MAX_PIXELS, f"a picture of {width} x {height} pixels")
    _limit(1 <= channels <= len(MODES), f"{channels} colour channels")
    _limit(1 <= count <= MAX_REGIONS, f"{count} regions")
    regions = tuple(_REGION.iter_unpack(take(count * _REGION.size)))
    inside = all(x0 < x1 <= width and y0 < y1 <= height for x0, y0, x1, y1 in regions)
    _limit(inside, "a region outside of the picture")
    (payload_bytes,) = _LENGTH.unpack(take(_LENGTH.size))
    head = Head(identity, model, picture, commitment, width, height, channels, regions, payload_bytes)
    _limit(head.pixel_bytes <= width * height * channels, "regions larger than the picture")
    head_bytes = data[: len(data) - len(rest)]
    (wraps,) = take(1)
    _limit(1 <= wraps <= MAX_WRAPS, f"{wraps} recipients")
    wrapped = bytes(take(wraps * WRAP_BYTES))
    payload = bytes(take(payload_bytes))
    if rest:
        raise CapsuleError("The capsule is damaged: there are bytes after its end. Take your copy of it.")
    parts = tuple(wrapped[i : i + WRAP_BYTES] for i in range(0, len(wrapped), WRAP_BYTES))
    return Capsule(head, bytes(head_bytes), parts, payload)


def describe(capsule: bytes) -> dict[str, Any]:
    """What anybody can read in a capsule, as JSON-ready values. It names no key and tells nothing about one.

    These values are authenticated only when the capsule is opened.

    Raises:
        CapsuleError: as for `parse`.
    """
    parts = parse(capsule)
    head = parts.head
    return {
        "version": VERSION,
        "bytes": len(capsule),
        "recipients": len(parts.wraps),
        "width": head.width,
        "height": head.height,
        "mode": MODES[head.channels - 1],
        "regions": [list(region) for region in head.regions],
        "model_sha256": head.model.hex(),
        "picture_sha256": head.picture.hex(),
    }


def padded_size(size: int) -> int:
    """The size class of `size` bytes: at least 4096, then Padmé, which adds less than 12 %.

    Source: Nikitin, Barman, Lueks, Underwood, Hubaux, Ford, "Reducing Metadata Leakage from Encrypted Files and
    Communication with PURBs", PoPETs 2019, section 4.
    """
    size = max(size, MIN_PADDED)
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def _limit(fine: bool, what: str) -> None:
    if not fine:
        raise CapsuleError(f"The capsule is damaged: it names {what}. Take your copy of it.")
