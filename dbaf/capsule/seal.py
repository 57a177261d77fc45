"""Sealing, opening, and changing who can open."""

import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from PIL import Image

from dbaf.capsule.format import (
    ID_BYTES,
    MAX_REGIONS,
    MAX_WRAPS,
    TAG_BYTES,
    Capsule,
    Head,
    padded_size,
    parse,
)
from dbaf.capsule.pixels import channels_of, compress, decompress, picture_hash
from dbaf.capsule.regions import Region, merge
from dbaf.errors import CapsuleError, ChangedPictureError, SecretError
from dbaf.images import MAX_PIXELS
from dbaf.keys import KEY_BYTES, Key

_SALT_BYTES = 16
_LENGTH_BYTES = 4  # of the compressed pixels, at the payload's start
_NONCE = bytes(12)  # every cipher key here is used for one message only


@dataclass(frozen=True)
class Opened:
    """What a capsule gave back."""

    image: Image.Image | None = field(repr=False)
    """The whole picture, bit for bit as it was sealed; None if the output was changed since (only with force)."""
    faces: list[tuple[Region, Image.Image]] = field(repr=False)
    """The sealed rectangles, left to right, with their pixels: original whatever happened to the output."""


def seal(
    original: Image.Image, output: Image.Image, mask_regions: list[Region], keys: Sequence[Key], model: bytes
) -> bytes:
    """Encrypt what `output` no longer shows of `original`, so that each of the keys brings it back bit for bit.

    Args:
        original: the picture as the library read it (`to_pil` of `read_picture`): mode L, LA, RGB or RGBA.
        output: the picture that will be published; same size and mode.
        mask_regions: rectangles that hold every pixel in which the two differ (`dbaf.capsule.mask_regions`).
        keys: 1 to 16 recipients.
        model: SHA-256 of the manifest of the model bundle, 32 bytes; stored and authenticated.

    Returns:
        The capsule, for `embed` or a file of its own.

    Raises:
        CapsuleError: the pictures do not fit each other, there is nothing to seal, or a limit is passed.
        SecretError: no key or more than 16, or one was wiped.
    """
    if not 1 <= len(keys) <= MAX_WRAPS:
        raise SecretError(f"A capsule has 1 to {MAX_WRAPS} keys; {len(keys)} were given.")
    if len(model) != 32:
        raise CapsuleError(f"A model hash has 32 bytes; {len(model)} were given.")
    regions = _checked_regions(original, output, mask_regions)
    pixels = compress([original.crop(region) for region in regions])
    text = len(pixels).to_bytes(_LENGTH_BYTES, "big") + pixels
    text += bytes(padded_size(len(text)) - len(text))

    content, capsule_id = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(ID_BYTES)
    payload_key, commitment = _content_keys(content, capsule_id)
    size = len(text) + TAG_BYTES
    head = Head(
        capsule_id,
        bytes(model),
        picture_hash(output),
        commitment,
        original.width,
        original.height,
        channels_of(original),
        tuple(regions),
        size,
    )
    head_bytes = head.pack()
    payload = ChaCha20Poly1305(payload_key).encrypt(_NONCE, text, head_bytes)
    capsule = Capsule(head, head_bytes, (), payload)
    wraps = tuple(_wrap(content, key, capsule.wrap_context) for key in keys)
    return Capsule(head, head_bytes, wraps, payload).pack()


def open_capsule(capsule: bytes, output: Image.Image, key: Key, force: bool = False) -> Opened:
    """Bring the original back.

    Args:
        capsule: what `seal` or `rewrap` gave.
        output: the picture that it was sealed for, unchanged.
        key: one of the keys it was sealed for.
        force: give the sealed faces even if `output` was changed since.

    Raises:
        CapsuleError: malformed; or the key is not one of the capsule's, or any of its bytes were changed.
        ChangedPictureError: `output` is not the picture it was sealed for, and not `force`.
        SecretError: the key was wiped.
    """
    parts = parse(capsule)
    head = parts.head
    text = _decrypt(parts, key)[1]
    unchanged = hmac.compare_digest(picture_hash(output), head.picture)
    if not unchanged and not force:
        raise ChangedPictureError(
            "The picture is not the one that this capsule was sealed for, or it was changed since: the whole picture "
            "cannot come back. The sealed faces can, as pictures of their own: run it again with --force."
        )
    length = int.from_bytes(text[:_LENGTH_BYTES], "big")
    pixels, padding = text[_LENGTH_BYTES : _LENGTH_BYTES + length], text[_LENGTH_BYTES + length :]
    if len(pixels) != length or padding.strip(b"\0"):
        raise CapsuleError(
            "The capsule is malformed: its payload has another length than it says, or no clean padding."
        )
    sizes = [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in head.regions]
    faces = list(zip(head.regions, decompress(pixels, sizes, head.channels), strict=True))
    if not unchanged:
        return Opened(None, faces)
    if (head.width, head.height, head.channels) != (*output.size, channels_of(output)):
        raise CapsuleError("The capsule is malformed: its geometry is not that of its own picture.")
    image = Image.frombytes(output.mode, output.size, output.tobytes())  # no metadata of the output
    for region, face in faces:
        image.paste(face, region[:2])
    return Opened(image, faces)


def rewrap(capsule: bytes, key: Key, add: Sequence[Key] = (), remove: Sequence[Key] = ()) -> bytes:
    """The same capsule for other keys; picture and payload stay as they are.

    A key that was removed still opens every copy of the earlier capsule.

    Args:
        capsule: what `seal` or `rewrap` gave.
        key: one of its keys.
        add: keys that shall open it, too; one that already does stays as it is.
        remove: keys that shall no longer open it.

    Raises:
        CapsuleError: as for `open_capsule`.
        SecretError: a key to remove does not open the capsule, or none or more than 16 would be left.
    """
    parts = parse(capsule)
    content, _ = _decrypt(parts, key)
    wraps = list(parts.wraps)
    for old in remove:
        kept = [wrap for wrap in wraps if _unwrap(wrap, old, parts.wrap_context) is None]
        if len(kept) == len(wraps):
            raise SecretError("A key to remove does not open this capsule. Nothing was changed.")
        wraps = kept
    for new in add:
        if all(_unwrap(wrap, new, parts.wrap_context) is None for wrap in wraps):
            wraps.append(_wrap(content, new, parts.wrap_context))
    if not 1 <= len(wraps) <= MAX_WRAPS:
        raise SecretError(f"A capsule has 1 to {MAX_WRAPS} keys; {len(wraps)} would be left. Nothing was changed.")
    return Capsule(parts.head, parts.head_bytes, tuple(wraps), parts.payload).pack()


def _checked_regions(original: Image.Image, output: Image.Image, regions: list[Region]) -> list[Region]:
    """Merged; with them the original can be put together from the output."""
    if (original.size, original.mode) != (output.size, output.mode):
        what = [f"{image.width} x {image.height} {image.mode}" for image in (original, output)]
        raise CapsuleError(f"Original ({what[0]}) and output ({what[1]}) differ in size or mode: nothing to seal.")
    channels_of(original)
    width, height = original.size
    if width * height > MAX_PIXELS:
        raise CapsuleError(f"The picture has more than {MAX_PIXELS // 10**6} megapixels. Scale it down first.")
    if not all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in regions):
        raise CapsuleError("A region to seal is empty or not inside of the picture.")
    regions = merge(regions)
    if not 1 <= len(regions) <= MAX_REGIONS:
        raise CapsuleError(f"A capsule has 1 to {MAX_REGIONS} regions; {len(regions)} were given.")
    differs = np.asarray(np.atleast_3d(np.asarray(original) != np.asarray(output)).any(2))  # [H, W]
    for x0, y0, x1, y1 in regions:
        differs[y0:y1, x0:x1] = False
    if differs.any():
        y, x = np.argwhere(differs)[0]
        raise CapsuleError(f"The output differs from the original outside of the regions, first at {x}, {y}.")
    return regions


def _content_keys(content: bytes, capsule_id: bytes) -> tuple[bytes, bytes]:
    """Payload key and commitment."""
    labels = (b"dbaf/1/capsule/payload", b"dbaf/1/capsule/commit")
    payload_key, commitment = (HKDF(SHA256(), 32, capsule_id, label).derive(content) for label in labels)
    return payload_key, commitment


def _wrap(content: bytes, key: Key, context: bytes) -> bytes:
    salt = secrets.token_bytes(_SALT_BYTES)
    return salt + ChaCha20Poly1305(key.wrap_key(salt)).encrypt(_NONCE, content, context)


def _unwrap(wrap: bytes, key: Key, context: bytes) -> bytes | None:
    cipher = ChaCha20Poly1305(key.wrap_key(wrap[:_SALT_BYTES]))
    with suppress(InvalidTag):
        return cipher.decrypt(_NONCE, wrap[_SALT_BYTES:], context)
    return None


def _decrypt(parts: Capsule, key: Key) -> tuple[bytes, bytes]:
    """Content key and payload. A wrong key takes the same steps as a changed byte, and gives the same error."""
    content = secrets.token_bytes(KEY_BYTES)  # opens nothing
    for wrap in parts.wraps:  # all of them
        unwrapped = _unwrap(wrap, key, parts.wrap_context)
        content = content if unwrapped is None else unwrapped
    payload_key, commitment = _content_keys(content, parts.head.id)
    text = None
    with suppress(InvalidTag):
        text = ChaCha20Poly1305(payload_key).decrypt(_NONCE, parts.payload, parts.head_bytes)
    if not hmac.compare_digest(commitment, parts.head.commitment) or text is None:
        raise CapsuleError(
            "The capsule does not open: this key is not one of its keys, or its bytes were changed. "
            "Nothing was brought back."
        )
    return content, text
