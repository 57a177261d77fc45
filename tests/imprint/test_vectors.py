"""The committed picture: the library and a second implementation read the same imprint from it."""

import base64
import io
import json
from pathlib import Path

import second
import torch
from PIL import Image

from dbaf.images import from_pil
from dbaf.imprint import open_imprint
from dbaf.imprint.channel import read
from dbaf.keys import Key

FILE = json.loads((Path(__file__).parents[1] / "vectors" / "imprint.json").read_text())


def test_both_read_and_open_it() -> None:
    with Image.open(io.BytesIO(base64.b64decode(FILE["png"]))) as image:
        image.load()
    sealed, code, weights = (bytes.fromhex(FILE[name]) for name in ("sealed", "code", "weights"))
    blocks = [tuple(block) for block in FILE["blocks"]]
    covered = torch.zeros(image.height // 8, image.width // 8, dtype=torch.bool)
    for row, column in blocks:
        covered[row, column] = True
    assert read(from_pil(image).rgb, covered, len(sealed)) == sealed
    assert second.read_imprint(image, blocks, len(sealed)) == sealed
    assert open_imprint(sealed, Key(bytes.fromhex(FILE["master"])), weights) == code
    assert second.open_imprint(sealed, bytes.fromhex(FILE["master"]), weights) == code
    assert second.open_imprint(sealed, bytes(32), weights) is None
