"""A second implementation, written from `docs/format.md` with the standard library alone.

It reads the committed vectors, so that they are not just what the code happens to do.
"""

import hashlib
import hmac
import struct
import zlib


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return hmac.digest(hmac.digest(salt or bytes(32), key, "sha256"), info + b"\1", "sha256")


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
