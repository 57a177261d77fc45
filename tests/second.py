"""A second implementation, written from `docs/format.md` with the standard library, and AES for imprints.

It reads the committed vectors, so that they are not just what the code happens to do.
"""

import hashlib
import hmac
import itertools
import math
import struct
import zlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from PIL import Image


def hkdf(key: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    secret, made, block = hmac.digest(salt or bytes(32), key, "sha256"), b"", b""
    for number in range(1, length // 32 + 1):
        block = hmac.digest(secret, block + info + bytes([number]), "sha256")
        made += block
    return made


def chacha20(key: bytes, blocks: int) -> bytes:
    """RFC 8439, nonce and counter from zero."""

    def quarter(s: list[int], a: int, b: int, c: int, d: int) -> None:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            s[z] ^= s[x]
            s[z] = (s[z] << turn | s[z] >> 32 - turn) & 0xFFFFFFFF

    out = b""
    for counter in range(blocks):
        start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter, 0, 0, 0]
        state = start[:]
        for _ in range(10):
            for i in range(4):
                quarter(state, i, i + 4, i + 8, i + 12)
            for i in range(4):
                quarter(state, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12)
        out += struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, start, strict=True)))
    return out


def poly1305(key: bytes, message: bytes) -> bytes:
    """RFC 8439."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(message), 16):
        total = (total + int.from_bytes(message[i : i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def unseal(key: bytes, sealed: bytes, data: bytes) -> bytes | None:
    """ChaCha20-Poly1305 with a nonce of zeros; None if the tag does not fit."""
    text, tag = sealed[:-16], sealed[-16:]
    stream = chacha20(key, 1 + -(-len(text) // 64))
    padded = b"".join(part + bytes(-len(part) % 16) for part in (data, text))
    if poly1305(stream[:32], padded + struct.pack("<QQ", len(data), len(text))) != tag:
        return None
    return bytes(a ^ b for a, b in zip(text, stream[64:], strict=False))


def capsule_in_png(png: bytes) -> bytes:
    """The data of the `dbAf` chunk."""
    place = png.index(b"dbAf")
    (length,) = struct.unpack(">I", png[place - 4 : place])
    assert png[place + 8 + length :] == struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return png[place + 4 : place + 4 + length]


def open_capsule(capsule: bytes, output: bytes, master: bytes) -> bytes | None:
    """Samples of the output -> samples of the original; None if the key is not one of the capsule's."""
    magic, version, identity, _, picture, commitment, width, height, channels, count = struct.unpack_from(
        ">8sH16s32s32s32sIIBH", capsule
    )
    assert (magic, version) == (b"\x89DBAF\r\n\x1a", 1)
    regions = [struct.unpack_from(">4I", capsule, 133 + 16 * i) for i in range(count)]
    end = 133 + 16 * count + 4
    head, wraps = capsule[:end], capsule[end + 1 : end + 1 + 64 * capsule[end]]
    payload = capsule[end + 1 + len(wraps) :]
    assert len(payload) == int.from_bytes(head[-4:], "big")
    assert hashlib.sha256(struct.pack(">IIB", width, height, channels) + output).digest() == picture

    for wrap in (wraps[i : i + 64] for i in range(0, len(wraps), 64)):
        content = unseal(hkdf(master, wrap[:16], b"dbaf/1/capsule/wrap"), wrap[16:], capsule[:26])
        if content and hkdf(content, identity, b"dbaf/1/capsule/commit") == commitment:
            break
    else:
        return None
    text = unseal(hkdf(content, identity, b"dbaf/1/capsule/payload"), payload, head)
    assert text is not None
    size = int.from_bytes(text[:4], "big")
    assert not any(text[4 + size :])
    remainders = iter(zlib.decompress(text[4 : 4 + size]))

    original = bytearray(output)
    for x0, y0, x1, y1 in regions:
        wide, high = x1 - x0, y1 - y0
        planes = []
        for _ in range(channels):
            p = [[0] * (wide + 1) for _ in range(high + 1)]  # a row above and a column on the left: zeros
            for y in range(1, high + 1):
                for x in range(1, wide + 1):
                    p[y][x] = (next(remainders) + p[y][x - 1] + p[y - 1][x] - p[y - 1][x - 1]) % 256
            planes.append(p)
        for y in range(high):
            for x in range(wide):
                samples = [p[y + 1][x + 1] for p in planes]
                if channels >= 3:
                    samples[0], samples[2] = (samples[0] + samples[1]) % 256, (samples[2] + samples[1]) % 256
                start = ((y0 + y) * width + x0 + x) * channels
                original[start : start + channels] = bytes(samples)
    assert next(remainders, None) is None
    return bytes(original)


def read_imprint(image: Image.Image, blocks: list[tuple[int, int]], length: int, step: int = 12) -> bytes | None:
    """The sealed bytes in these blocks (row, column) of an RGB image; None if the code word has errors."""
    carriers = [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0)]
    carriers += [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0)]
    count = 8 * (length + 24)
    tally = [0.0] * count
    for row, column in blocks:
        luma = [[0.0] * 8 for _ in range(8)]
        for y, x in itertools.product(range(8), repeat=2):
            red, green, blue = image.getpixel((8 * column + x, 8 * row + y))
            luma[y][x] = 0.299 * red + 0.587 * green + 0.114 * blue
        for number, (v, u) in enumerate(carriers):
            level = sum(
                luma[y][x] * math.cos((2 * y + 1) * v * math.pi / 16) * math.cos((2 * x + 1) * u * math.pi / 16)
                for x in range(8)
                for y in range(8)
            )
            level *= (1 if v else 0.5**0.5) * (1 if u else 0.5**0.5) / 4
            place = (row * round(count * (5**0.5 - 1) / 2) + 20 * column + number) % count
            tally[place] += math.cos(2 * math.pi * level / step)
    bits = "".join("1" if votes < 0 else "0" for votes in tally)
    word = int(bits, 2) ^ int.from_bytes(hashlib.shake_256(b"dbaf/1/imprint").digest(length + 24), "big")
    letters = word.to_bytes(length + 24, "big")
    for power in range(24):  # every syndrome must be 0
        syndrome, root = 0, 1
        for _ in range(power):
            root = root << 1 ^ (0x11D if root & 0x80 else 0)
        for letter in letters:
            syndrome = times(syndrome, root) ^ letter
        if syndrome:
            return None
    return letters[:length]


def decode(code: bytes, importances: Sequence[float], natural: int) -> list[float]:
    """Coordinates of the code of an imprint."""
    errors = (1, 0.363380, 0.118846, 0.037440, 0.011543, 0.003495, 0.001040)
    steps = (0, 1.5957691, 0.9956867, 0.5860194, 0.3352006, 0.1881389, 0.1040637)
    number = "".join(f"{byte:08b}" for byte in code)
    used = len(importances) if number[0] == "1" else natural
    bits = [0] * len(importances)
    for _ in range(8 * len(code) - 1):
        falls = [importances[i] * (errors[bits[i]] - errors[bits[i] + 1]) if bits[i] < 6 else 0 for i in range(used)]
        if max(falls) > 0:
            bits[falls.index(max(falls))] += 1
    place, values = 1, []
    for count in bits:
        level = int(number[place : place + count] or "0", 2)
        values.append((level - (2**count - 1) / 2) * steps[count])
        place += count
    return values


def times(a: int, b: int) -> int:
    """Product in GF(256) modulo 0x11d."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = a << 1 ^ (0x11D if a & 0x80 else 0), b >> 1
    return product


def open_imprint(sealed: bytes, master: bytes, weights: bytes) -> bytes | None:
    """AES-256-SIV (RFC 5297) with `weights` as the only associated data; only the block cipher is borrowed."""
    key = hkdf(master, b"", b"dbaf/1/imprint", 64)

    def aes(half: bytes, block: bytes) -> bytes:
        return Cipher(algorithms.AES(half), modes.ECB()).encryptor().update(block)

    def double(block: bytes) -> bytes:
        number = int.from_bytes(block, "big") << 1
        return ((number ^ 0x87 if number >> 128 else number) % 2**128).to_bytes(16, "big")

    def xor(one: bytes, two: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(one, two, strict=True))

    def cmac(data: bytes) -> bytes:
        mask = double(aes(key[:32], bytes(16)))
        whole = len(data) % 16 == 0 and data
        padded = data if whole else data + b"\x80" + bytes(-(len(data) + 1) % 16)
        tag = bytes(16)
        for i in range(0, len(padded), 16):
            block = padded[i : i + 16]
            last = i + 16 == len(padded)
            tag = aes(key[:32], xor(tag, xor(block, (mask if whole else double(mask)) if last else bytes(16))))
        return tag

    tag, hidden = sealed[:16], sealed[16:]
    counter = int.from_bytes(tag, "big") & ~(1 << 63 | 1 << 31)
    stream = b"".join(aes(key[32:], ((counter + i) % 2**128).to_bytes(16, "big")) for i in range(-(-len(hidden) // 16)))
    text = bytes(a ^ b for a, b in zip(hidden, stream, strict=False))
    folded = xor(double(cmac(bytes(16))), cmac(weights))
    if len(text) >= 16:
        vector = cmac(text[:-16] + xor(text[-16:], folded))
    else:
        vector = cmac(xor(double(folded), text + b"\x80" + bytes(15 - len(text))))
    return text if vector == tag else None
