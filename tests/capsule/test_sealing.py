"""Capsules: bit-exact there and back, for every recipient and for nobody else, and nothing else than an error."""

import secrets
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dbaf.capsule import (
    Capsule,
    ChangedPictureError,
    Region,
    add_recipient,
    describe,
    rotate,
    seal,
    sealed_regions,
    unseal,
)
from dbaf.capsule.format import MODES, MOST_RECIPIENTS
from dbaf.capsule.regions import changed_regions
from dbaf.capsule.sealing import SMALLEST, padded_length
from dbaf.errors import DbafError, PictureError, SecretError
from dbaf.keys import Key

MODEL = bytes(range(32))
OWNER, OFFICER, STRANGER = (Key(bytes([n]) * 32) for n in (1, 2, 3))


def pair(mode: str = "RGB", size: tuple[int, int] = (150, 110)) -> tuple[Image.Image, Image.Image]:
    """A picture, and the same with two places painted over."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], len(mode)), dtype=np.uint8)
    changed = pixels.copy()
    changed[10:40, 20:50] ^= 0x55
    changed[80:100, 120:150] ^= 0x33
    return tuple(Image.fromarray(p if len(mode) > 1 else p[..., 0], mode) for p in (pixels, changed))  # type: ignore[return-value]


def same(one: Image.Image, other: Image.Image) -> bool:
    return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


@pytest.mark.parametrize("mode", MODES)
def test_every_recipient_gets_the_original_bit_for_bit(mode: str) -> None:
    original, output = pair(mode)
    capsule = seal(original, output, [OWNER, OFFICER], MODEL)
    for key in (OWNER, OFFICER):
        assert same(unseal(capsule, output, key), original)


def test_another_key_and_tampering_give_one_message() -> None:
    original, output = pair()
    capsule = seal(original, output, [OWNER], MODEL)
    altered = capsule[:-1] + bytes([capsule[-1] ^ 1])
    messages = set()
    for data, key in ((capsule, STRANGER), (altered, OWNER)):
        with pytest.raises(SecretError) as caught:
            unseal(data, output, key)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_changed_picture_is_told_and_its_faces_still_open() -> None:
    original, output = pair()
    capsule = seal(original, output, [OWNER], MODEL)
    for changed in (output.resize((75, 55)), output.convert("L"), output.transpose(Image.Transpose.ROTATE_90)):
        with pytest.raises(ChangedPictureError, match="--force"):
            unseal(capsule, changed, OWNER)
        assert not describe(capsule, changed)["picture_unchanged"]
    regions = sealed_regions(capsule, OWNER)
    assert [region for region, _ in regions] == [Region(20, 10, 30, 30), Region(120, 80, 30, 20)]
    for region, piece in regions:
        assert same(piece, original.crop(region.box))


def test_the_key_comes_before_the_state_of_the_picture() -> None:
    """Whoever has no key does not learn more than `inspect` tells."""
    original, output = pair()
    with pytest.raises(SecretError):
        unseal(seal(original, output, [OWNER], MODEL), output.resize((9, 9)), STRANGER)


def test_recipients_are_added_and_keys_rotated_without_touching_the_rest() -> None:
    original, output = pair()
    capsule = seal(original, output, [OWNER], MODEL)
    shared = add_recipient(capsule, OWNER, OFFICER)
    assert same(unseal(shared, output, OFFICER), original)
    assert same(unseal(shared, output, OWNER), original)
    rotated = rotate(shared, OWNER, STRANGER)
    assert same(unseal(rotated, output, STRANGER), original)
    assert same(unseal(rotated, output, OFFICER), original)
    with pytest.raises(SecretError):
        unseal(rotated, output, OWNER)
    assert Capsule.from_bytes(rotated).sealed == Capsule.from_bytes(capsule).sealed
    with pytest.raises(SecretError):
        rotate(capsule, STRANGER, OFFICER)


def test_the_number_of_recipients_is_limited() -> None:
    original, output = pair()
    many = [Key.generate() for _ in range(MOST_RECIPIENTS)]
    capsule = seal(original, output, many, MODEL)
    assert same(unseal(capsule, output, many[-1]), original)
    for keys in ([], [*many, OWNER]):
        with pytest.raises(PictureError, match="1 to 16"):
            seal(original, output, keys, MODEL)
    with pytest.raises(PictureError, match="1 to 16"):
        add_recipient(capsule, many[0], OWNER)


def test_wraps_of_one_capsule_do_not_fit_another() -> None:
    original, output = pair()
    one, other = (Capsule.from_bytes(seal(original, output, [OWNER], MODEL)) for _ in range(2))
    with pytest.raises(SecretError):
        unseal(other.with_wraps(one.wraps).to_bytes(), output, OWNER)


def test_two_capsules_of_one_picture_share_nothing() -> None:
    original, output = pair()
    one, other = (Capsule.from_bytes(seal(original, output, [OWNER], MODEL)) for _ in range(2))
    assert one.identifier != other.identifier
    assert one.wraps[0][:16] != other.wraps[0][:16]
    assert one.sealed[:64] != other.sealed[:64]


@given(st.integers(0, 1 << 40))
def test_padding_hides_the_length_and_costs_little(length: int) -> None:
    padded = padded_length(length)
    assert padded >= max(length, SMALLEST)
    assert padded <= max(1.12 * length, SMALLEST)
    assert padded_length(padded) == padded


def test_a_picture_without_changes_seals_nothing_and_opens() -> None:
    original, _ = pair()
    capsule = seal(original, original, [OWNER], MODEL)
    assert Capsule.from_bytes(capsule).regions == ()
    assert same(unseal(capsule, original, OWNER), original)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 199), st.integers(0, 149)), max_size=12))
def test_regions_are_disjoint_and_hold_every_change(places: list[tuple[int, int]]) -> None:
    original = Image.new("L", (200, 150))
    output = original.copy()
    for place in places:
        output.putpixel(place, 255)
    regions = changed_regions(original, output)
    painted = np.zeros((150, 200), dtype=int)
    for region in regions:
        x0, y0, x1, y1 = region.box
        painted[y0:y1, x0:x1] += 1
    assert painted.max(initial=0) <= 1
    assert (painted[np.asarray(output) > 0] == 1).all()


def damaged(data: bytes) -> Iterator[bytes]:
    """Truncations, flipped bits, noise, and counters that lie."""
    random = np.random.default_rng(1)
    for _ in range(150):
        cut = bytearray(data[: random.integers(0, len(data))])
        flipped = bytearray(data)
        flipped[random.integers(0, len(data))] ^= 1 << int(random.integers(0, 8))
        yield bytes(cut)
        yield bytes(flipped)
    yield secrets.token_bytes(500)
    start = 26 + 64
    for place, value in ((25, b"\xff"), (25, b"\0"), (8, b"\x02"), (start + 64, bytes(8)), (start + 72, b"\x09")):
        yield data[:place] + value + data[place + len(value) :]
    yield data[: start + 73] + struct.pack(">H", 65535) + data[start + 75 :]


def test_damage_is_an_error_and_never_another_picture() -> None:
    original, output = pair(size=(150, 110))
    capsule = seal(original, output, [OWNER], MODEL)
    for data in damaged(capsule):
        with pytest.raises(DbafError) as caught:
            unseal(data, output, OWNER)
        assert type(caught.value) in (PictureError, SecretError, ChangedPictureError)


def test_later_versions_are_named() -> None:
    original, output = pair()
    capsule = seal(original, output, [OWNER], MODEL)
    with pytest.raises(PictureError, match="version 2: update"):
        Capsule.from_bytes(capsule[:8] + b"\x02" + capsule[9:])
