"""Coverage-guided fuzzing of everything that reads capsules: only its own errors, and never another picture.

    pip install atheris
    python benchmarks/fuzz_capsule.py --runs 1000000

The inputs are capsules, PNG files, and what encryption keeps from a fuzzer's sight: compressed pixels, and head and
text of a capsule, which are then sealed with the right key, as a recipient who means harm could. libFuzzer mutates a
valid one of each, and goes on from what it learns.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dbaf.capsule"]):
    from dbaf.capsule import describe, embed, extract, open_capsule, rewrap, seal
    from dbaf.capsule.format import padded_size, parse
    from dbaf.capsule.pixels import compress, decompress

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from PIL import Image

from dbaf.errors import DbafError
from dbaf.keyfile import derive
from dbaf.keys import Key

KEY, OTHER = Key(bytes(32)), Key(bytes([1]) * 32)
REGION = (2, 1, 9, 8)
TEXT = 8000  # bytes at most of a sealed text


def pictures() -> tuple[Image.Image, Image.Image]:
    """An original and an output that differs within `REGION`."""
    original = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8))
    output = original.copy()
    output.paste((1, 2, 3), REGION)
    return original, output


ORIGINAL, OUTPUT = pictures()


def look(data: bytes) -> None:
    """One execution: the first byte says what the others are."""
    kind, data = data[:1], data[1:]
    try:
        if kind == b"Z":
            decompress(data, [(7, 7)], 3)
            return
        if kind == b"S":
            opened = open_capsule(sealed_with_the_key(data), OUTPUT, KEY, force=True)
            assert all(face.size == (x1 - x0, y1 - y0) for (x0, y0, x1, y1), face in opened.faces), "another size"
            return
        capsule = extract(data) if kind == b"P" else data
        if capsule is None:
            return
        describe(capsule)
        opened = open_capsule(capsule, OUTPUT, KEY, force=True)
        assert opened.image is None or opened.image.tobytes() == ORIGINAL.tobytes(), "another picture"
        assert all(face.tobytes() == ORIGINAL.crop(region).tobytes() for region, face in opened.faces), "another face"
        rewrap(capsule, KEY, add=[OTHER])
    except DbafError:
        pass


def sealed_with_the_key(data: bytes) -> bytes:
    """A capsule of a head (its length in two bytes, then itself) and a text of anybody's making, sealed under `KEY`."""
    end = 2 + int.from_bytes(data[:2], "big")
    head, text, content, salt = data[2:end], data[end:][:TEXT], bytes(32), bytes(16)
    identity, context = head[10:26], head[:26]
    commitment = derive(content, identity, b"dbaf/1/capsule/commit")
    head = head[:90] + commitment + head[122:-4] + (len(text) + 16).to_bytes(4, "big")
    wrap = salt + ChaCha20Poly1305(KEY.wrap_key(salt)).encrypt(bytes(12), content, context)
    payload = ChaCha20Poly1305(derive(content, identity, b"dbaf/1/capsule/payload")).encrypt(bytes(12), text, head)
    return head + b"\1" + wrap + payload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000)
    arguments = parser.parse_args()
    capsule = seal(ORIGINAL, OUTPUT, [REGION], [KEY, OTHER], bytes(32))
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "a.png"
        OUTPUT.save(png)
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        (corpus / "capsule").write_bytes(b"C" + capsule)
        (corpus / "png").write_bytes(b"P" + embed(png.read_bytes(), capsule))
        pixels = compress([ORIGINAL.crop(REGION)])
        (corpus / "pixels").write_bytes(b"Z" + pixels)
        head, text = parse(capsule).head_bytes, len(pixels).to_bytes(4, "big") + pixels
        sealed = len(head).to_bytes(2, "big") + head + text + bytes(padded_size(len(text)) - len(text))
        assert open_capsule(sealed_with_the_key(sealed), OUTPUT, KEY).image is not None
        (corpus / "sealed").write_bytes(b"S" + sealed)
        atheris.Setup([sys.argv[0], f"-runs={arguments.runs}", "-seed=1", "-max_len=8192", str(corpus)], look)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
