"""The bytes of a capsule: what is public, what is wrapped, what is sealed. Nothing here decrypts."""

import struct
from dataclasses import dataclass, replace

from dbaf.errors import PictureError

MAGIC = b"DBAF-CAP"
VERSION = 1
ID_BYTES = 16
WRAP_BYTES = 16 + 32 + 16  # salt, content key, tag
MOST_RECIPIENTS = 16
MOST_REGIONS = 4096
MOST_BYTES = 1 << 30  # of a whole capsule: a chunk that claims more is hostile
MODES = ("L", "LA", "RGB", "RGBA")
_START = struct.Struct(">8sB16sB")  # magic, version, id, number of wraps
_HEADER = struct.Struct(">32s32sIIBH")  # model, picture, width, height, mode, number of regions
_REGION = struct.Struct(">IIII")  # x, y, width, height


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom, as PIL has them."""
        return self.x, self.y, self.x + self.width, self.y + self.height


@dataclass(frozen=True)
class Capsule:
    """A parsed capsule.

    Attributes:
        identifier: 16 random bytes.
        wraps: for each recipient 64 bytes: the salt of the wrap key, and the content key under it.
        model: SHA-256 of the model that made the picture.
        picture: `picture_hash` of the pseudonymised picture.
        size: width, height.
        mode: of `MODES`.
        regions: what is sealed.
        sealed: ciphertext and tag.
    """

    identifier: bytes
    wraps: tuple[bytes, ...]
    model: bytes
    picture: bytes
    size: tuple[int, int]
    mode: str
    regions: tuple[Region, ...]
    sealed: bytes

    @property
    def bound(self) -> bytes:
        """What wraps are bound to: magic, version, identifier."""
        return MAGIC + bytes([VERSION]) + self.identifier

    @property
    def header(self) -> bytes:
        """The public description; authenticated together with `bound`, but not with the wraps, so that keys change."""
        mode = MODES.index(self.mode)
        fixed = _HEADER.pack(self.model, self.picture, *self.size, mode, len(self.regions))
        return fixed + b"".join(_REGION.pack(r.x, r.y, r.width, r.height) for r in self.regions)

    def to_bytes(self) -> bytes:
        """Serialise."""
        start = _START.pack(MAGIC, VERSION, self.identifier, len(self.wraps))
        return b"".join([start, *self.wraps, self.header, self.sealed])

    def with_wraps(self, wraps: tuple[bytes, ...]) -> "Capsule":
        """The same capsule for other recipients.

        Raises:
            PictureError: none, or more than `MOST_RECIPIENTS`.
        """
        if not 1 <= len(wraps) <= MOST_RECIPIENTS:
            raise PictureError(f"A capsule has 1 to {MOST_RECIPIENTS} recipients; it would have {len(wraps)}.")
        return replace(self, wraps=wraps)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Capsule":
        """Parse; the inverse of `to_bytes`. Lengths are checked before anything is copied.

        Raises:
            PictureError: no capsule, of a later version, or damaged.
        """
        if len(data) < _START.size or data[: len(MAGIC)] != MAGIC:
            raise PictureError("This is no DBAF capsule: it does not start with its mark.")
        _, version, identifier, count = _START.unpack_from(data)
        if version != VERSION:
            raise PictureError(f"The capsule has format version {version}: update this software.")
        header_at = _START.size + count * WRAP_BYTES
        regions_at = header_at + _HEADER.size
        if not 1 <= count <= MOST_RECIPIENTS or len(data) < regions_at or len(data) > MOST_BYTES:
            raise _damaged()
        model, picture, width, height, mode, number = _HEADER.unpack_from(data, header_at)
        sealed_at = regions_at + number * _REGION.size
        if number > MOST_REGIONS or mode >= len(MODES) or not width or not height or len(data) < sealed_at + 16:
            raise _damaged()
        places = range(regions_at, sealed_at, _REGION.size)
        regions = tuple(Region(*_REGION.unpack_from(data, place)) for place in places)
        for region in regions:
            _, _, right, bottom = region.box
            if not region.width or not region.height or right > width or bottom > height:
                raise _damaged()
        starts = range(_START.size, header_at, WRAP_BYTES)
        wraps = tuple(data[start : start + WRAP_BYTES] for start in starts)
        sealed = data[sealed_at:]
        return cls(identifier, wraps, model, picture, (width, height), MODES[mode], regions, sealed)


def _damaged() -> PictureError:
    return PictureError("The capsule is damaged: its lengths do not fit together. Take another copy of the picture.")
