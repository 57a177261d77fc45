"""Truncated, altered and foreign files: an error that names them, never anything else."""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dbaf.errors import PictureError
from dbaf.images import read_picture

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], -1)


@pytest.mark.parametrize("keep", [0, 1, 20, 60, 200, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".gif", ".bmp"])
def test_truncated_file_is_named(suffix: str, keep: float, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(PictureError, match=rf"broken\{suffix}"):
        read_picture(path)


@given(st.data())
def test_altered_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF"]))
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOURS).save(stream, kind, **({} if kind == "GIF" else {"exif": exif}))
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "altered"
        path.write_bytes(content)
        warnings.simplefilter("ignore")
        with contextlib.suppress(PictureError):
            read_picture(path)


def test_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "page.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name in ("text.jpg", "page.png", "missing.png", "."):
        with pytest.raises(PictureError):
            read_picture(tmp_path / name)
