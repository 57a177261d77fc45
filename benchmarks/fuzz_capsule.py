"""Coverage-guided fuzzing of everything that reads capsules: only its own errors, and never another picture.

    pip install atheris
    python benchmarks/fuzz_capsule.py --runs 1000000

The inputs are capsules, PNG files, and the compressed pixels that encryption keeps from a fuzzer's sight; libFuzzer
mutates a valid one of each, and goes on from what it learns.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dbaf.capsule"]):
    from dbaf.capsule import describe, embed, extract, open_capsule, rewrap, seal
    from dbaf.capsule.pixels import compress, decompress

import numpy as np
from PIL import Image

from dbaf.errors import DbafError
from dbaf.keys import Key

KEY, OTHER = Key(bytes(32)), Key(bytes([1]) * 32)
REGION = (2, 1, 9, 8)


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
        (corpus / "pixels").write_bytes(b"Z" + compress([ORIGINAL.crop(REGION)]))
        atheris.Setup([sys.argv[0], f"-runs={arguments.runs}", "-seed=1", "-max_len=8192", str(corpus)], look)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
