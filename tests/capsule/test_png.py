"""The chunk in the PNG file: it travels, it is replaced alone, and a file that somebody meddled with is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dbaf.capsule.png import CHUNK, chunks, read_capsule, read_sidecar, with_capsule
from dbaf.errors import PictureError
from dbaf.images import make_record, read_picture, write_png


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
    write_png(tmp_path / "a.png", image, make_record(None), capsule=b"the capsule")
    return tmp_path / "a.png"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_the_capsule_travels_and_the_picture_stays_readable(picture: Path) -> None:
    assert read_capsule(picture) == b"the capsule"
    read = read_picture(picture)
    assert read.record == make_record(None)
    assert read.rgb.shape == (1, 3, 10, 10)


def test_replacing_it_leaves_every_other_byte(picture: Path) -> None:
    before = picture.read_bytes()
    after = with_capsule(before, b"another one", "a.png")
    (picture.parent / "b.png").write_bytes(after)
    assert read_capsule(picture.parent / "b.png") == b"another one"

    def others(data: bytes) -> list[bytes]:
        return [data[start:end] for kind, start, end in chunks(data, "x") if kind != CHUNK]

    assert others(after) == others(before)


def test_none_is_no_error(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    assert read_capsule(tmp_path / "a.png") is None
    assert read_capsule(tmp_path / "a.jpg") is None
    assert read_sidecar(tmp_path / "a.png.dbaf") is None


def test_meddled_files_are_refused(picture: Path) -> None:
    data = picture.read_bytes()
    end = len(data) - 12  # IEND
    place = data.index(CHUNK)
    wrong_crc = data[: place + 6] + bytes([data[place + 6] ^ 1]) + data[place + 7 :]
    for broken, message in (
        (data[:end] + chunk(CHUNK, b"second") + data[end:], "holds 2 capsules"),
        (wrong_crc, "CRC"),
        (data[:-15], "truncated"),
        (data[: place - 4] + struct.pack(">I", 0x7FFFFFFF) + data[place:], "longer than the file"),
    ):
        picture.write_bytes(broken)
        with pytest.raises(PictureError, match=message):
            read_capsule(picture)


def test_the_chunk_says_what_it_is() -> None:
    """Ancillary and private, so that readers skip it; unsafe to copy, so that editors that change pixels drop it."""
    flags = [bool(letter & 0x20) for letter in CHUNK]
    assert flags == [True, True, False, False]
