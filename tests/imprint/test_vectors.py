"""The committed picture and frame: the library and a second implementation read the same imprint from them."""

import base64
import io
import json
import random
from pathlib import Path

import pytest
import second
import torch
from PIL import Image

from dbaf.images import from_pil
from dbaf.imprint import LatentCode, open_imprint
from dbaf.imprint.channel import read
from dbaf.keys import Key
from dbaf.weights.bundle import bundle_folder, load_network

FILE = json.loads((Path(__file__).parents[1] / "vectors" / "imprint.json").read_text())


@pytest.mark.parametrize("length", [192, 20])
@pytest.mark.parametrize("first", [0x00, 0x80], ids=["natural", "whole"])
def test_both_decode_the_same(length: int, first: int) -> None:
    coder = load_network(bundle_folder("mobile"), "imprint", LatentCode)
    code = bytes(random.Random(length).randrange(256) for _ in range(length))
    code = bytes([code[0] & 0x7F | first]) + code[1:]
    coordinates = torch.tensor([second.decode(code, coder.importance.tolist(), coder.natural)])
    assert (coder.unpack(code) - coder.latent(coordinates)[0]).abs().max() < 1e-5


@pytest.mark.parametrize(("name", "step"), [("png", 12), ("frame", 4)])
def test_both_read_and_open_it(name: str, step: int) -> None:
    with Image.open(io.BytesIO(base64.b64decode(FILE[name]))) as image:
        image.load()
    sealed, code, weights = (bytes.fromhex(FILE[name]) for name in ("sealed", "code", "weights"))
    blocks = [tuple(block) for block in FILE["blocks"]]
    covered = torch.zeros(image.height // 8, image.width // 8, dtype=torch.bool)
    for row, column in blocks:
        covered[row, column] = True
    assert read(from_pil(image).rgb, covered, len(sealed)) == sealed
    assert second.read_imprint(image, blocks, len(sealed), step) == sealed
    assert open_imprint(sealed, Key(bytes.fromhex(FILE["master"])), weights) == code
    assert second.open_imprint(sealed, bytes.fromhex(FILE["master"]), weights) == code
    assert second.open_imprint(sealed, bytes(32), weights) is None
