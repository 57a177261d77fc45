"""Sealing and opening: ChaCha20-Poly1305 (RFC 8439) under keys that HKDF (RFC 5869) derives for one use each."""

import secrets
import struct
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from PIL import Image

from dbaf.capsule.format import ID_BYTES, MODES, MOST_RECIPIENTS, VERSION, Capsule, Region
from dbaf.capsule.regions import changed_regions, cut, picture_hash, uncut
from dbaf.errors import PictureError, SecretError
from dbaf.keys import KEY_BYTES, Key, derive

_ONCE = bytes(12)  # every key encrypts one message, so the nonce may be constant
_SALT_BYTES = 16
_LENGTH = struct.Struct(">Q")
SMALLEST = 4096  # bytes: the least that a sealed text takes
WRONG = "The capsule does not open: another key, or it was tampered with. Nothing was written."


class ChangedPictureError(PictureError):
    """The picture is no longer the one that was sealed, so that putting the regions back would not restore it."""


def seal(original: Image.Image, output: Image.Image, keys: Sequence[Key], model: bytes) -> bytes:
    """Seal all that differs between a picture and its pseudonymised version.

    Args:
        original, output: of one mode ("L", "LA", "RGB" or "RGBA") and size, 8 bits deep.
        keys: 1 to 16 recipients; each can open the capsule alone.
        model: 32 bytes that name the model, see `dbaf.weights.bundle.bundle_hash`.

    Returns:
        The bytes of a capsule.

    Raises:
        PictureError: too many or no recipients.
    """
    if not 1 <= len(keys) <= MOST_RECIPIENTS:
        raise PictureError(f"A capsule has 1 to {MOST_RECIPIENTS} recipients; {len(keys)} were given.")
    regions = changed_regions(original, output)
    content = secrets.token_bytes(KEY_BYTES)
    identifier = secrets.token_bytes(ID_BYTES)
    blank = Capsule(identifier, (), model, picture_hash(output), output.size, output.mode, regions, b"")
    wraps = tuple(_wrap(blank, content, key) for key in keys)
    text = cut(original, regions)
    text = _LENGTH.pack(len(text)) + text
    text += bytes(padded_length(len(text)) - len(text))
    sealed = _payload_cipher(content, blank).encrypt(_ONCE, text, blank.bound + blank.header)
    return Capsule(identifier, wraps, model, blank.picture, blank.size, blank.mode, regions, sealed).to_bytes()


def unseal(data: bytes, picture: Image.Image, key: Key) -> Image.Image:
    """The original picture, bit for bit.

    Args:
        data: the bytes of a capsule.
        picture: the pseudonymised picture that it came with.
        key: of one of its recipients.

    Raises:
        SecretError: another key, or somebody tampered with the capsule; the two cannot be told apart.
        ChangedPictureError: the picture was changed (scaled, cropped, a JPEG, ...). `sealed_regions` still works.
        PictureError: `data` is no capsule, or damaged.
    """
    capsule = Capsule.from_bytes(data)
    pieces = _open(capsule, key)
    if picture.mode not in MODES or picture_hash(picture) != capsule.picture:
        raise ChangedPictureError(
            "The picture was changed after it was sealed, so that the original cannot be put together again. "
            "Its sealed faces can still be written on their own, with --force."
        )
    restored = picture.copy()
    for region, piece in zip(capsule.regions, pieces, strict=True):
        restored.paste(piece, region.box)
    return restored


def sealed_regions(data: bytes, key: Key) -> list[tuple[Region, Image.Image]]:
    """The sealed parts of the original, whatever became of the picture. Errors as in `unseal`."""
    capsule = Capsule.from_bytes(data)
    return list(zip(capsule.regions, _open(capsule, key), strict=True))


def add_recipient(data: bytes, key: Key, other: Key) -> bytes:
    """The capsule, which `key` opens, for one more recipient. Errors as in `unseal`, and if there are too many."""
    capsule = Capsule.from_bytes(data)
    content, _ = _unwrap(capsule, key)
    return capsule.with_wraps((*capsule.wraps, _wrap(capsule, content, other))).to_bytes()


def rotate(data: bytes, old: Key, new: Key) -> bytes:
    """The capsule with a recipient's key replaced; other recipients stay. Errors as in `unseal`.

    Whoever kept a copy of the former capsule can open that with the old key: keys change, the past does not.
    """
    capsule = Capsule.from_bytes(data)
    content, index = _unwrap(capsule, old)
    wraps = list(capsule.wraps)
    wraps[index] = _wrap(capsule, content, new)
    return capsule.with_wraps(tuple(wraps)).to_bytes()


def describe(data: bytes, picture: Image.Image) -> dict[str, Any]:
    """What a capsule says to everybody; nothing secret. Errors as `Capsule.from_bytes`.

    Args:
        data: the bytes of a capsule.
        picture: that it came with.
    """
    capsule = Capsule.from_bytes(data)
    return {
        "version": VERSION,
        "bytes": len(data),
        "recipients": len(capsule.wraps),
        "model": capsule.model.hex(),
        "regions": [(r.x, r.y, r.width, r.height) for r in capsule.regions],
        "picture_unchanged": picture.mode in MODES and picture_hash(picture) == capsule.picture,
    }


def padded_length(length: int) -> int:
    """Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019): at most 12 % longer."""
    length = max(length, SMALLEST)
    exponent = length.bit_length() - 1
    low = exponent - exponent.bit_length()  # bits that become zero
    return -(-length >> low) << low


def _payload_cipher(content: bytes, capsule: Capsule) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(content, capsule.identifier, b"dbaf/1/capsule/payload"))


def _wrap(capsule: Capsule, content: bytes, key: Key) -> bytes:
    salt = secrets.token_bytes(_SALT_BYTES)
    return salt + ChaCha20Poly1305(key.wrap_key(salt)).encrypt(_ONCE, content, capsule.bound)


def _unwrap(capsule: Capsule, key: Key) -> tuple[bytes, int]:
    """Content key and number of the recipient. Every wrap is tried, so that time does not tell which one it was."""
    found: list[tuple[bytes, int]] = []
    for index, wrap in enumerate(capsule.wraps):
        cipher = ChaCha20Poly1305(key.wrap_key(wrap[:_SALT_BYTES]))
        try:
            found.append((cipher.decrypt(_ONCE, wrap[_SALT_BYTES:], capsule.bound), index))
        except InvalidTag:
            continue
    if not found:
        raise SecretError(WRONG)
    return found[0]


def _open(capsule: Capsule, key: Key) -> list[Image.Image]:
    content, _ = _unwrap(capsule, key)
    try:
        text = _payload_cipher(content, capsule).decrypt(_ONCE, capsule.sealed, capsule.bound + capsule.header)
    except InvalidTag:
        raise SecretError(WRONG) from None
    length = _LENGTH.unpack_from(text)[0] if len(text) >= _LENGTH.size else 0
    return uncut(text[_LENGTH.size : _LENGTH.size + length], capsule.regions, capsule.mode)
