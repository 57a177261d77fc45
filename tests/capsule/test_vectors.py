"""The committed capsules: the library and a second implementation open them to the same bytes."""

import base64
import itertools
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import second
from PIL import Image

from dbaf.capsule import extract, open_capsule, seal
from dbaf.capsule.format import parse
from dbaf.errors import CapsuleError
from dbaf.images import read_picture, record_nonce, to_pil
from dbaf.keys import Key

FILE = json.loads((Path(__file__).parents[1] / "vectors" / "capsule.json").read_text())
STRANGER = bytes(32)
vectors = pytest.mark.parametrize("vector", FILE["vectors"], ids=lambda v: v["name"])


def samples(vector: dict, name: str) -> bytes:
    return base64.b64decode(vector[name])


def picture(vector: dict, name: str) -> Image.Image:
    return Image.frombytes(vector["mode"], tuple(vector["size"]), samples(vector, name))


@vectors
def test_second_implementation_from_the_documentation_opens_it(vector: dict) -> None:
    capsule, output = samples(vector, "capsule"), samples(vector, "output")
    for master in vector["masters"]:
        assert second.open_capsule(capsule, output, bytes.fromhex(master)) == samples(vector, "original")
    assert second.open_capsule(capsule, output, STRANGER) is None


@vectors
def test_library_opens_it(vector: dict) -> None:
    capsule, output = samples(vector, "capsule"), picture(vector, "output")
    for master in vector["masters"]:
        opened = open_capsule(capsule, output, Key(bytes.fromhex(master)))
        assert opened.image is not None
        assert opened.image.tobytes() == samples(vector, "original")
        assert [list(region) for region, _ in opened.faces] == vector["regions"]
    with pytest.raises(CapsuleError, match="does not open"):
        open_capsule(capsule, output, Key(STRANGER))


@vectors
def test_the_same_randomness_gives_the_same_capsule(vector: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the deflated bytes, which may differ between versions of zlib."""
    random: Iterator[str] = itertools.chain([vector["content_key"], vector["id"]], vector["wrap_salts"])
    monkeypatch.setattr(secrets, "token_bytes", lambda count: bytes.fromhex(next(random)))
    keys = [Key(bytes.fromhex(master)) for master in vector["masters"]]
    regions = [tuple(region) for region in vector["regions"]]
    model = bytes.fromhex(vector["model"])
    again = parse(seal(picture(vector, "original"), picture(vector, "output"), regions, keys, model))
    committed = parse(samples(vector, "capsule"))
    assert again.head_bytes == committed.head_bytes
    assert again.wraps == committed.wraps
    assert next(random, None) is None


def test_png_with_record_and_capsule(tmp_path: Path) -> None:
    """The PNG of the file holds the first vector."""
    png, vector = base64.b64decode(FILE["png"]), FILE["vectors"][0]
    assert extract(png) == second.capsule_in_png(png) == samples(vector, "capsule")
    (tmp_path / "a.png").write_bytes(png)
    read = read_picture(tmp_path / "a.png")
    assert to_pil(read.rgb, read.alpha, read.grey).tobytes() == samples(vector, "output")
    assert read.record is not None
    assert record_nonce(read.record) == bytes(range(16))
