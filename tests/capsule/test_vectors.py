"""The committed capsule, read by this software and by a second reader that follows `docs/format.md`."""

import hashlib
import hmac
import io
import json
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from PIL import Image

from dbaf.capsule import unseal
from dbaf.keys import Key

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "capsule.json").read_text())
CAPSULE = bytes.fromhex(VECTOR["capsule"])
SIZE = (VECTOR["width"], VECTOR["height"])
PIXELS = bytes.fromhex(VECTOR["picture_rgb"])


def hkdf(secret: bytes, salt: bytes, label: bytes) -> bytes:
    return hmac.digest(hmac.digest(salt, secret, "sha256"), label + b"\1", "sha256")


def read_by_the_page(data: bytes, master: bytes, number: int) -> list[tuple[tuple[int, ...], Image.Image]]:
    """Regions and their original pixels, for the recipient of this number."""
    magic, version, identifier, count = struct.unpack_from(">8sB16sB", data)
    assert (magic, version) == (b"DBAF-CAP", 1)
    assert number < count
    bound = magic + bytes([version]) + identifier
    wrap = data[26 + 64 * number : 26 + 64 * (number + 1)]
    key = hkdf(master, wrap[:16], b"dbaf/1/capsule/wrap")
    content = ChaCha20Poly1305(key).decrypt(bytes(12), wrap[16:], bound)
    start = 26 + 64 * count
    _, picture, width, height, mode, regions = struct.unpack_from(">32s32sIIBH", data, start)
    assert mode == 2
    assert hashlib.sha256(b"dbaf/1/picture" + struct.pack(">BII", mode, width, height) + PIXELS).digest() == picture
    end = start + 75 + 16 * regions
    places = [struct.unpack_from(">IIII", data, start + 75 + 16 * index) for index in range(regions)]
    cipher = ChaCha20Poly1305(hkdf(content, identifier, b"dbaf/1/capsule/payload"))
    payload = cipher.decrypt(bytes(12), data[end:], bound + data[start:end])
    (length,) = struct.unpack_from(">Q", payload)
    assert set(payload[8 + length :]) <= {0}
    found, at = [], 8
    for place in places:
        (size,) = struct.unpack_from(">I", payload, at)
        found.append((place, Image.open(io.BytesIO(payload[at + 4 : at + 4 + size]))))
        at += 4 + size
    assert at == 8 + length
    return found


@pytest.mark.parametrize("number", range(len(VECTOR["masters"])))
def test_both_readers_give_the_original(number: int) -> None:
    master = bytes.fromhex(VECTOR["masters"][number])
    picture = Image.frombytes("RGB", SIZE, PIXELS)
    restored = unseal(CAPSULE, picture, Key(master))
    assert hashlib.sha256(restored.tobytes()).hexdigest() == VECTOR["original_sha256"]
    by_hand = picture.copy()
    for (x, y, _, _), piece in read_by_the_page(CAPSULE, master, number):
        by_hand.paste(piece, (x, y))
    assert by_hand.tobytes() == restored.tobytes()
