"""The capsule's chunk in PNG files."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dbaf.capsule import embed, extract
from dbaf.errors import CapsuleError
from dbaf.images import make_record, read_picture, write_png

IMAGE = Image.linear_gradient("L").resize((20, 10)).convert("RGB")
CAPSULE = bytes(range(256)) * 3


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png() -> bytes:
    file = io.BytesIO()
    IMAGE.save(file, "PNG")
    return file.getvalue()


PLAIN = png()
END = chunk(b"IEND", b"")
SEALED = embed(PLAIN, CAPSULE)


def test_goes_in_before_the_end_and_comes_out() -> None:
    assert SEALED == PLAIN[: -len(END)] + chunk(b"dbAf", CAPSULE) + END
    assert extract(SEALED) == CAPSULE
    assert extract(PLAIN) is None
    assert extract(embed(PLAIN, b"")) == b""


def test_picture_and_record_are_read_as_before(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", IMAGE, make_record(None))
    before = read_picture(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(embed((tmp_path / "a.png").read_bytes(), CAPSULE))
    after = read_picture(tmp_path / "a.png")
    assert (after.rgb == before.rgb).all()
    assert after.record == before.record == make_record(None)


def test_pillow_drops_it() -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(SEALED)).save(file, "PNG")
    assert extract(file.getvalue()) is None


def test_a_new_capsule_takes_the_old_ones_place() -> None:
    assert embed(SEALED, b"new") == embed(PLAIN, b"new")


def test_bytes_after_the_end_are_ignored_and_not_kept() -> None:
    assert extract(SEALED + b"trailing") == CAPSULE
    assert embed(SEALED + b"trailing", CAPSULE) == SEALED


def test_other_files_have_none_and_take_none() -> None:
    for data in (b"", b"\xff\xd8\xff\xe0 JFIF", PLAIN[:7]):
        assert extract(data) is None
        with pytest.raises(CapsuleError, match="no PNG"):
            embed(data, CAPSULE)


HEAD = PLAIN[: 8 + 25]
HOSTILE = {
    "two capsules": (HEAD + 2 * chunk(b"dbAf", CAPSULE) + END, "2 capsules"),
    "wrong check sum": (HEAD + chunk(b"dbAf", CAPSULE)[:-1] + b"?" + END, "check sum"),
    "no end": (HEAD + chunk(b"dbAf", CAPSULE), "too early"),
    "only a signature": (PLAIN[:8], "too early"),
    "length of 4 GiB": (HEAD + b"\xff\xff\xff\xff" + chunk(b"dbAf", CAPSULE)[4:] + END, "longer than the file"),
    "length over the file": (HEAD + b"\0\1\0\0" + chunk(b"dbAf", CAPSULE)[4:] + END, "longer than the file"),
    "length of -1": (HEAD + chunk(b"dbAf", CAPSULE)[:-1], "longer than the file"),
    "type of digits": (HEAD + chunk(b"12Af", b"") + END, "no valid type"),
    "no header": (PLAIN[:8] + chunk(b"dbAf", CAPSULE) + END, "header"),
    "two headers": (HEAD + PLAIN[8 : 8 + 25] + END, "header"),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(CapsuleError, match=message):
        extract(data)


@settings(max_examples=300)
@given(st.integers(0, 10**6), st.binary(max_size=40), st.integers(0, 40))
def test_damage_gives_the_capsule_nothing_or_an_error(place: int, new: bytes, cut: int) -> None:
    place %= len(SEALED)
    try:
        found = extract(SEALED[:place] + new + SEALED[place + cut :])
    except CapsuleError:
        return
    assert found in (None, CAPSULE)
