"""What differs between original and pseudonymised picture, cut out and put back without loss."""

import hashlib
import io
import struct

import numpy as np
from PIL import Image

from dbaf.capsule.format import MODES, Region
from dbaf.errors import PictureError

TILE = 32  # px: changed pixels nearer to one another than about this share a rectangle
_LENGTH = struct.Struct(">I")


def picture_hash(image: Image.Image) -> bytes:
    """SHA-256 over the pixels of a picture with their mode and size; nothing else of a file counts."""
    head = b"dbaf/1/picture" + struct.pack(">BII", MODES.index(image.mode), *image.size)
    return hashlib.sha256(head + image.tobytes()).digest()


def changed_regions(original: Image.Image, output: Image.Image) -> tuple[Region, ...]:
    """Disjoint rectangles that hold every pixel in which two pictures of one mode and size differ.

    Raises:
        ValueError: mode or size differ.
    """
    if (original.mode, original.size) != (output.mode, output.size):
        raise ValueError(f"{original.mode} {original.size} and {output.mode} {output.size} cannot be compared")
    differs = np.asarray(original) != np.asarray(output)
    if differs.ndim == 3:
        differs = differs.any(2)  # [H, W]
    rows, columns = -(-differs.shape[0] // TILE), -(-differs.shape[1] // TILE)
    padded = np.zeros((rows * TILE, columns * TILE), dtype=bool)
    padded[: differs.shape[0], : differs.shape[1]] = differs
    tiles = np.asarray(padded.reshape(rows, TILE, columns, TILE).any((1, 3)))
    boxes = [_tight(differs, island) for island in _islands(tiles)]
    return tuple(Region(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in sorted(_merged(boxes)))


def cut(image: Image.Image, regions: tuple[Region, ...]) -> bytes:
    """The pixels of some regions: for each its length (4 bytes, big-endian) and a PNG file."""
    parts = []
    for region in regions:
        file = io.BytesIO()
        image.crop(region.box).save(file, "PNG", optimize=True)
        parts += [_LENGTH.pack(file.tell()), file.getvalue()]
    return b"".join(parts)


def uncut(data: bytes, regions: tuple[Region, ...], mode: str) -> list[Image.Image]:
    """The inverse of `cut`. `data` comes out of an authenticated capsule, and is checked all the same.

    Raises:
        PictureError: `data` is not what `cut` makes of these regions.
    """
    pictures: list[Image.Image] = []
    place = 0
    for region in regions:
        end = place + _LENGTH.size
        length = _LENGTH.unpack(data[place:end])[0] if end <= len(data) else len(data)
        try:
            piece = Image.open(io.BytesIO(data[end : end + length]), formats=("PNG",))
            if (piece.mode, piece.size) != (mode, (region.width, region.height)):  # before it is decoded
                raise ValueError("another picture")
            piece.load()
        except Exception as error:  # decoders raise nearly anything
            raise PictureError("The capsule opens, but does not hold the regions that it names.") from error
        pictures.append(piece)
        place = end + length
    return pictures


def _tight(differs: np.ndarray, island: list[tuple[int, int]]) -> tuple[int, int, int, int]:
    """Smallest box x0, y0, x1, y1 around the changed pixels in some tiles (row, column)."""
    (top, left), (bottom, right) = np.min(island, axis=0) * TILE, (np.max(island, axis=0) + 1) * TILE
    part = differs[top:bottom, left:right]
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    return int(left + columns[0]), int(top + rows[0]), int(left + columns[-1] + 1), int(top + rows[-1] + 1)


def _islands(tiles: np.ndarray) -> list[list[tuple[int, int]]]:
    """Groups of true tiles that touch, also at corners."""
    left = {(int(row), int(column)) for row, column in np.argwhere(tiles)}
    islands = []
    while left:
        island, edge = [], [left.pop()]
        while edge:
            row, column = edge.pop()
            island.append((row, column))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge += near
        islands.append(island)
    return islands


def _merged(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Boxes that overlap become one, until none do."""
    done: list[tuple[int, int, int, int]] = []
    for box in boxes:
        while True:
            other = next((o for o in done if box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3]), None)
            if other is None:
                break
            done.remove(other)
            box = (min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3]))
        done.append(box)
    return done
