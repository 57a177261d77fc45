"""Sealing and opening: bit for bit or an error, for every mode, key and kind of damage."""

import dataclasses
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dbaf.capsule import Opened, describe, open_capsule, rewrap, seal
from dbaf.capsule.format import MAX_WRAPS, MODES, Capsule, padded_size, parse
from dbaf.capsule.pixels import compress, decompress
from dbaf.capsule.seal import _content_keys, _decrypt
from dbaf.errors import CapsuleError, ChangedPictureError, SecretError
from dbaf.images import read_picture, to_pil, write_png
from dbaf.keys import Key

KEYS = [Key(bytes([number]) * 32) for number in range(4)]
MODEL = hashlib.sha256(b"a manifest").digest()
REGIONS = [(30, 4, 40, 20), (3, 2, 17, 19)]


def picture(mode: str = "RGB", size: tuple[int, int] = (43, 29), seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)), dtype=np.uint8)
    return Image.fromarray(noise[..., 0] if mode == "L" else noise)


def replaced(original: Image.Image, regions: list[tuple[int, int, int, int]] = REGIONS) -> Image.Image:
    output = original.copy()
    for region in regions:
        output.paste(tuple(range(len(original.mode))) if len(original.mode) > 1 else 7, region)
    return output


def same(opened: Opened, original: Image.Image) -> bool:
    assert opened.image is not None
    assert opened.image.mode == original.mode
    return opened.image.tobytes() == original.tobytes()


@pytest.fixture(scope="module")
def original() -> Image.Image:
    return picture()


@pytest.fixture(scope="module")
def output(original: Image.Image) -> Image.Image:
    return replaced(original)


@pytest.fixture(scope="module")
def capsule(original: Image.Image, output: Image.Image) -> bytes:
    return seal(original, output, REGIONS, KEYS[:2], MODEL)


@pytest.mark.parametrize("mode", MODES)
def test_comes_back_bit_for_bit_through_a_file(mode: str, tmp_path: Path) -> None:
    original = picture(mode)
    output = replaced(original)
    capsule = seal(original, output, REGIONS, KEYS[:1], MODEL)
    write_png(tmp_path / "a.png", output)
    read = read_picture(tmp_path / "a.png")
    opened = open_capsule(capsule, to_pil(read.rgb, read.alpha, read.grey), KEYS[0])
    assert same(opened, original)
    assert [region for region, _ in opened.faces] == sorted(REGIONS)
    for region, face in opened.faces:
        assert face.tobytes() == original.crop(region).tobytes()


@settings(max_examples=60)
@given(st.data())
def test_any_picture_and_regions_come_back(data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(MODES))
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    regions = []
    for _ in range(data.draw(st.integers(1, 6))):
        x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        regions.append((x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))))
    original = picture(mode, (width, height), data.draw(st.integers(0, 99)))
    output = replaced(original, regions)
    assert same(open_capsule(seal(original, output, regions, KEYS[:1], MODEL), output, KEYS[0]), original)


def test_every_recipient_opens_and_nobody_else(capsule: bytes, original: Image.Image, output: Image.Image) -> None:
    for key in KEYS[:2]:
        assert same(open_capsule(capsule, output, key), original)
    for force in (False, True):
        with pytest.raises(CapsuleError, match="not one of its keys, or its bytes were changed"):
            open_capsule(capsule, output, KEYS[2], force)


def test_no_changed_byte_goes_unnoticed(capsule: bytes, original: Image.Image, output: Image.Image) -> None:
    """One recipient: another one's wrap may be damaged without harm, which the next test shows."""
    single = rewrap(capsule, KEYS[0], remove=[KEYS[1]])
    for place in [*range(400), *range(400, len(single), 53), len(single) - 1]:
        damaged = bytearray(single)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(CapsuleError) as caught:
            open_capsule(bytes(damaged), output, KEYS[0], force=True)
        assert not isinstance(caught.value, ChangedPictureError)


@settings(max_examples=300)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=80), st.integers(0, 80))
def test_spliced_bytes_give_an_error_or_the_original(
    capsule: bytes, original: Image.Image, output: Image.Image, place: int, new: bytes, cut: int
) -> None:
    place %= len(capsule)
    hostile = capsule[:place] + new + capsule[place + cut :]
    try:
        assert same(open_capsule(hostile, output, KEYS[0]), original)
    except CapsuleError:
        return
    wraps = len(capsule) - len(parse(capsule).payload) - 2 * 64
    assert wraps <= place < wraps + 2 * 64 or hostile == capsule  # only in the other recipient's wrap


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 200))
def test_arbitrary_bytes_are_refused(capsule: bytes, output: Image.Image, tail: bytes, kept: int) -> None:
    hostile = capsule[:kept] + tail
    if hostile != capsule:
        for use in (describe, lambda data: open_capsule(data, output, KEYS[0]), lambda data: rewrap(data, KEYS[0])):
            with pytest.raises(CapsuleError):
                use(hostile)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 131, 132, 148, 168, 180, 300, -1])
def test_truncated(size: int, capsule: bytes) -> None:
    with pytest.raises(CapsuleError, match=r"ends too early|starts with other bytes"):
        describe(capsule[:size])


def put(capsule: bytes, place: int, new: bytes) -> bytes:
    return capsule[:place] + new + capsule[place + len(new) :]


@pytest.mark.parametrize(
    ("place", "new", "message"),
    [
        (0, b"PK", "no DBAF capsule"),
        (8, b"\0\2", "format version 2.*update"),
        (122, b"\xff" * 8, "4294967295 x 4294967295"),
        (122, bytes(4), "0 x 29"),
        (130, b"\5", "5 colour channels"),
        (131, b"\xff\xff", "65535 regions"),
        (131, b"\0\0", "0 regions"),
        (133, b"\xff" * 4, "a region outside"),
        (133 + 8, bytes(4), "a region outside"),
        (133, bytes(8) + b"\0\0\0\x2b\0\0\0\x1d", "regions larger than the picture"),
        (165, b"\xff" * 4, "ends too early"),
        (169, b"\x11", "17 recipients"),
        (169, b"\0", "0 recipients"),
        (169, b"\1", "bytes after its end"),
    ],
)
def test_limits_are_checked_before_anything_is_made(place: int, new: bytes, message: str, capsule: bytes) -> None:
    with pytest.raises(CapsuleError, match=message):
        describe(put(capsule, place, new))


def test_changed_picture_is_an_error_and_force_gives_the_faces(
    capsule: bytes, original: Image.Image, output: Image.Image
) -> None:
    touched = output.copy()
    touched.putpixel((0, 0), (1, 2, 3))
    for changed in (touched, output.convert("L"), output.resize((20, 20)), output.transpose(Image.Transpose.ROTATE_90)):
        with pytest.raises(ChangedPictureError, match="--force"):
            open_capsule(capsule, changed, KEYS[0])
        opened = open_capsule(capsule, changed, KEYS[0], force=True)
        assert opened.image is None
        assert [face.tobytes() for _, face in opened.faces] == [original.crop(r).tobytes() for r in sorted(REGIONS)]
    assert same(open_capsule(capsule, output, KEYS[0], force=True), original)


def test_metadata_of_the_output_does_not_come_along(capsule: bytes, output: Image.Image) -> None:
    output = output.copy()
    output.info["comment"] = "who"
    opened = open_capsule(capsule, output, KEYS[0])
    assert opened.image is not None
    assert not opened.image.info


def test_capsules_of_two_pictures_do_not_mix(capsule: bytes, original: Image.Image, output: Image.Image) -> None:
    other = seal(original, output, REGIONS, KEYS[:2], MODEL)
    assert other != capsule
    mine, theirs = parse(capsule), parse(other)
    for mixed in (
        mine.head_bytes + bytes([2]) + b"".join(theirs.wraps) + mine.payload,
        mine.head_bytes + bytes([2]) + b"".join(mine.wraps) + theirs.payload,
        put(capsule, 26, hashlib.sha256(b"another model").digest()),
        put(capsule, 58, bytes(32)),
    ):
        with pytest.raises(CapsuleError, match="does not open"):
            open_capsule(mixed, output, KEYS[0])


@pytest.mark.parametrize(
    ("change", "text", "message"),
    [
        ({"width": 99}, b"", "geometry is not that of its own picture"),
        ({"channels": 1, "regions": ((0, 0, 43, 29),)}, b"", "do not fill"),
        ({}, b"\xff" * 4, "another length than it says"),
        ({}, b"\0\0\0\0", "no clean padding"),
        ({}, b"\0\0\0\1\0", "no clean padding"),
    ],
)
def test_malformed_by_somebody_with_a_key(change: dict, text: bytes, message: str, output: Image.Image) -> None:
    """A recipient can seal what they like for the others; it must still be an error."""
    original = picture()
    parts = parse(seal(original, output, REGIONS, KEYS[:2], MODEL))
    content, plain = _decrypt(parts, KEYS[1])
    payload_key, _ = _content_keys(content, parts.head.id)
    head = dataclasses.replace(parts.head, **change)
    payload = ChaCha20Poly1305(payload_key).encrypt(bytes(12), text + plain[len(text) :], head.pack())
    with pytest.raises(CapsuleError, match=message):
        open_capsule(Capsule(head, head.pack(), parts.wraps, payload).pack(), output, KEYS[0])


def test_keys_rotate_without_touching_picture_and_payload(
    capsule: bytes, original: Image.Image, output: Image.Image
) -> None:
    rotated = rewrap(capsule, KEYS[0], add=[KEYS[2], KEYS[1]], remove=[KEYS[0]])
    assert parse(rotated).head_bytes == parse(capsule).head_bytes
    assert parse(rotated).payload == parse(capsule).payload
    assert describe(rotated)["recipients"] == 2  # KEYS[1] was one already
    for key in KEYS[1:3]:
        assert same(open_capsule(rotated, output, key), original)
    with pytest.raises(CapsuleError, match="does not open"):
        open_capsule(rotated, output, KEYS[0])


def test_rewrap_refuses_what_would_lock_everybody_out_or_does_not_fit(capsule: bytes) -> None:
    with pytest.raises(SecretError, match="0 would be left"):
        rewrap(capsule, KEYS[0], remove=KEYS[:2])
    with pytest.raises(SecretError, match="does not open this capsule"):
        rewrap(capsule, KEYS[0], remove=[KEYS[3]])
    with pytest.raises(SecretError, match="17 would be left"):
        rewrap(capsule, KEYS[0], add=[Key.generate() for _ in range(MAX_WRAPS - 1)])
    with pytest.raises(CapsuleError, match="does not open"):
        rewrap(capsule, KEYS[3], add=[KEYS[3]])
    with pytest.raises(CapsuleError, match="does not open"):  # a damaged payload is not dressed up as a new capsule
        rewrap(put(capsule, len(capsule) - 1, bytes([capsule[-1] ^ 1])), KEYS[0], add=[KEYS[3]])


def test_what_cannot_come_back_bit_for_bit_is_not_sealed(original: Image.Image, output: Image.Image) -> None:
    key = KEYS[:1]
    for bad, message in (
        ((original, output, REGIONS[:1], key, MODEL), "outside of the regions, first at 3, 2"),
        ((original, output.convert("L"), REGIONS, key, MODEL), "differ in size or mode"),
        ((original, output.resize((9, 9)), REGIONS, key, MODEL), "differ in size or mode"),
        ((original.convert("P"), output.convert("P"), REGIONS, key, MODEL), "mode P"),
        ((original, output, [], key, MODEL), "1 to 1024 regions"),
        ((original, output, [(0, 0, 44, 9)], key, MODEL), "not inside"),
        ((original, output, [(5, 5, 5, 9)], key, MODEL), "empty"),
        ((original, output, REGIONS, key, b"short"), "32 bytes"),
    ):
        with pytest.raises(CapsuleError, match=message):
            seal(*bad)
    for count in (0, MAX_WRAPS + 1):
        with pytest.raises(SecretError, match="1 to 16 keys"):
            seal(original, output, REGIONS, [KEYS[0]] * count, MODEL)


def test_description_names_no_key_and_no_pixel(capsule: bytes) -> None:
    told = describe(capsule)
    assert told == {
        "version": 1,
        "bytes": len(capsule),
        "recipients": 2,
        "width": 43,
        "height": 29,
        "mode": "RGB",
        "regions": [[3, 2, 17, 19], [30, 4, 40, 20]],
        "model_sha256": MODEL.hex(),
        "picture_sha256": told["picture_sha256"],
    }


def test_neither_key_nor_pixels_can_be_seen(capsule: bytes, original: Image.Image, output: Image.Image) -> None:
    assert bytes([0]) * 32 not in capsule[:170]
    assert bytes([1]) * 16 not in capsule
    for x0, y0, x1, _ in REGIONS:
        assert original.crop((x0, y0, x1, y0 + 1)).tobytes()[:8] not in capsule
    assert "Image" not in repr(open_capsule(capsule, output, KEYS[0]))
    with pytest.raises(CapsuleError) as caught:
        open_capsule(capsule, output, KEYS[2])
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_capsules_for_one_key_share_nothing_but_what_is_said_in_clear(
    capsule: bytes, original: Image.Image, output: Image.Image
) -> None:
    other = seal(original, output, REGIONS, KEYS[:2], MODEL)
    mine, theirs = parse(capsule), parse(other)
    assert mine.head.id != theirs.head.id
    assert mine.head.commitment != theirs.head.commitment
    for a, b in zip(mine.wraps, theirs.wraps, strict=True):
        assert a[:16] != b[:16]
        assert a[16:] != b[16:]
    assert len(capsule) == len(other)


def test_wiped_key_and_wrong_salt(capsule: bytes, output: Image.Image) -> None:
    key = Key.generate()
    for salt in (b"", bytes(15), bytes(17)):
        with pytest.raises(SecretError, match="16 bytes"):
            key.wrap_key(salt)
    key.wipe()
    with pytest.raises(SecretError, match="wiped"):
        open_capsule(capsule, output, key)


@given(st.integers(0, 2**34) | st.integers(0, 20_000))
def test_size_classes_are_few_and_cost_less_than_12_percent(size: int) -> None:
    padded = padded_size(size)
    assert size <= padded < max(4097, 1.12 * size)
    assert padded_size(padded) == padded
    if size >= 4096:  # Padmé as the paper has it
        exponent = math.floor(math.log2(size))
        last_bits = exponent - (math.floor(math.log2(exponent)) + 1)
        assert padded == (size + 2**last_bits - 1) & ~(2**last_bits - 1)


@settings(max_examples=100)
@given(st.binary(max_size=200), st.integers(1, 4), st.integers(1, 9))
def test_decompression_is_bounded_and_damage_an_error(data: bytes, channels: int, side: int) -> None:
    with pytest.raises(CapsuleError):
        decompress(data, [(side, side)], channels)


def test_bomb_and_surplus_are_refused() -> None:
    black = Image.new("RGB", (2000, 2000))
    bomb = compress([black])
    assert len(bomb) < 50_000
    for data, sizes in (
        (bomb, [(10, 10)]),
        (bomb + b"x", [(2000, 2000)]),
        (bomb[:-1], [(2000, 2000)]),
        (bomb, [(2000, 2001)]),
        (bomb, [(2000, 1999)]),
    ):
        with pytest.raises(CapsuleError):
            decompress(data, sizes, 3)
    assert decompress(bomb, [(2000, 2000)], 3)[0].tobytes() == black.tobytes()
