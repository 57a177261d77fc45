"""Pictures of every kind in, clean PNG out."""

import io
import json
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from dbaf import images
from dbaf.errors import PictureError
from dbaf.images import (
    UNSTATED,
    from_pil,
    make_record,
    read_picture,
    record_keeps_looks,
    record_nonce,
    record_refine_steps,
    to_pil,
    write_png,
)

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], -1)


def values(rgb: torch.Tensor) -> np.ndarray:
    """[1, 3, H, W] in [-1, 1] -> [H, W, 3] uint8."""
    return np.asarray(to_pil(rgb))


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    data, found = path.read_bytes()[8:], []
    while data:
        (length,) = struct.unpack(">I", data[:4])
        found.append((data[4:8], data[8 : 8 + length]))
        data = data[12 + length :]
    return found


@given(st.sampled_from(["RGB", "RGBA", "L", "LA"]), st.integers(0, 2**32 - 1))
def test_every_8_bit_value_survives_the_round_trip(mode: str, seed: int) -> None:
    bands = len(mode)
    data = np.random.default_rng(seed).integers(0, 256, (7, 9, bands), dtype=np.uint8)
    source = Image.fromarray(data[..., 0] if bands == 1 else data, mode)
    picture = from_pil(source)
    assert picture.rgb.dtype == torch.float32
    assert picture.rgb.shape == (1, 3, 7, 9)
    assert picture.grey == (mode in ("L", "LA"))
    back = to_pil(picture.rgb, picture.alpha, picture.grey)
    assert back.mode == mode
    assert back.tobytes() == source.tobytes()


def test_range_and_clamping() -> None:
    rgb = from_pil(Image.fromarray(COLOURS)).rgb
    assert rgb.min() == -1
    assert rgb.max() == 1
    assert values(torch.full((1, 3, 1, 1), 7.0)).tolist() == [[[255] * 3]]
    assert values(torch.full((1, 3, 1, 1), -7.0)).tolist() == [[[0] * 3]]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".jpg", ".avif", ".jp2", ".ppm", ".gif"])
def test_file_formats(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".avif" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow has no AVIF")
    smooth = Image.fromarray(COLOURS).resize((64, 48), Image.Resampling.BICUBIC)
    smooth.save(path, **({"lossless": True} if suffix == ".webp" else {}))
    difference = np.abs(values(read_picture(path).rgb).astype(int) - np.asarray(smooth)).mean()
    assert difference < (8 if suffix in (".jpg", ".avif", ".gif", ".jp2") else 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["RGB.jpg", "RGB.png", "I;16.png", "RGB.tif", "L.webp"])
def test_exif_orientation(orientation: int, kind: str, tmp_path: Path) -> None:
    mode, path = kind.split(".")[0], tmp_path / f"a.{kind.split('.')[1]}"
    # upright: 32 wide, 16 high; quarters of different brightness
    upright = np.kron(np.array([[0, 85], [170, 255]], np.uint8), np.ones((8, 16), np.uint8))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    image = Image.fromarray(stored.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, **({"lossless": True} if kind.endswith("webp") else {}))
    result = values(read_picture(path).rgb)[..., 0].astype(int)
    assert result.shape == (16, 32)
    assert np.abs(result - upright).mean() < 2


def save_16_bit(path: Path, big_endian: bool = False) -> None:
    """All grey levels as 16 bits, v * 257."""
    wide = RAMP.astype(np.uint16) * 257
    big = Image.frombytes("I;16B", (16, 16), wide.astype(">u2").tobytes())
    (big if big_endian else Image.fromarray(wide)).save(path)


@pytest.mark.parametrize(
    ("name", "big_endian"),
    [("a.png", False), ("a.tif", False), ("b.tif", True)],
    ids=["png", "tiff", "tiff big endian"],
)
def test_16_bit_grey_is_scaled_not_clipped(name: str, big_endian: bool, tmp_path: Path) -> None:
    save_16_bit(tmp_path / name, big_endian)
    picture = read_picture(tmp_path / name)
    assert picture.grey
    assert (values(picture.rgb) == RAMP[..., None]).all()


def test_16_bit_rgb_png(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + (COLOURS[y].astype(">u2") * 257).astype(">u2").tobytes() for y in range(16))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    assert (values(read_picture(tmp_path / "a.png").rgb) == COLOURS).all()


def test_modes_that_are_not_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP)
    assert (values(from_pil(Image.fromarray(RAMP.astype(np.int32) * 257)).rgb) == RAMP[..., None]).all()
    assert (values(from_pil(Image.fromarray(RAMP.astype(np.float32))).rgb) == RAMP[..., None]).all()
    assert (values(from_pil(Image.fromarray(RAMP.astype(np.float32) / 255)).rgb) == RAMP[..., None]).all()
    bilevel = from_pil(grey.convert("1"))
    assert bilevel.grey
    assert set(np.unique(values(bilevel.rgb))) == {0, 255}
    for strange in (-1.0, 1e6, np.nan, np.inf):
        with pytest.raises(PictureError, match="grey values run from"):
            from_pil(Image.fromarray(np.full((2, 2), strange, np.float32)))
    colour = Image.fromarray(COLOURS)
    assert np.abs(values(from_pil(colour.convert("YCbCr")).rgb).astype(int) - COLOURS).max() <= 3
    assert np.abs(values(from_pil(colour.convert("LAB")).rgb).astype(int) - COLOURS).mean() < 6


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(suffix: str, tmp_path: Path) -> None:
    """Also Adobe's inverted CMYK JPEG, which is what Pillow writes."""
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"red{suffix}")
    red = values(read_picture(tmp_path / f"red{suffix}").rgb)[4, 4].astype(int)
    assert red[0] > 200
    assert red[1:].max() < 60


def test_palette_and_keyed_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOURS).quantize(8)
    palette.save(tmp_path / "a.png")
    assert (values(read_picture(tmp_path / "a.png").rgb) == np.asarray(palette.convert("RGB"))).all()
    palette.save(tmp_path / "b.png", transparency=3)
    picture = read_picture(tmp_path / "b.png")
    assert picture.alpha is not None
    assert ((picture.alpha[0, 0].numpy() == 0) == (np.asarray(palette) == 3)).all()
    Image.fromarray(COLOURS).save(tmp_path / "c.png", transparency=tuple(int(v) for v in COLOURS[2, 2]))
    keyed = read_picture(tmp_path / "c.png")
    assert keyed.alpha is not None
    assert keyed.alpha[0, 0, 2, 2] == 0
    assert (values(keyed.rgb) == COLOURS).all()


def test_colour_profile_is_applied_and_not_kept(tmp_path: Path) -> None:
    """A profile with the red and blue primaries swapped must swap the channels; sRGB must change nothing."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = {srgb[i : i + 4]: i for i in range(132, 132 + 12 * srgb[131], 12)}
    swapped = bytearray(srgb)
    for one, other in ((b"rXYZ", b"bXYZ"), (b"bXYZ", b"rXYZ")):
        swapped[tags[one] + 4 : tags[one] + 12] = srgb[tags[other] + 4 : tags[other] + 12]
    name = srgb.find("sRGB".encode("utf-16-be"))
    swapped = bytearray(bytes(swapped).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be")))
    assert name > 0
    colour = Image.fromarray(COLOURS)
    for suffix, profile, expected in ((".png", srgb, COLOURS), (".png", bytes(swapped), COLOURS[..., ::-1])):
        colour.save(tmp_path / f"a{suffix}", icc_profile=profile)
        result = values(read_picture(tmp_path / f"a{suffix}").rgb).astype(int)
        assert np.abs(result - expected).max() <= (0 if profile == srgb else 2)
    colour.save(tmp_path / "bad.png", icc_profile=b"no profile")
    assert (values(read_picture(tmp_path / "bad.png").rgb) == COLOURS).all()


def test_frames_and_pages(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(PictureError, match="3 frames"):
            read_picture(tmp_path / name)
    frames[0].save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert values(read_picture(tmp_path / "phone.jpg").rgb)[4, 4].tolist()[0] > 200


def bomb(path: Path, width: int, height: int) -> Path:
    """A grey PNG of that size in a few hundred kB."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def test_a_100_megapixel_picture_reads_and_201_is_a_clear_error(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no DecompressionBombWarning either
        assert read_picture(bomb(tmp_path / "large.png", 12_500, 8_000)).rgb.shape == (1, 3, 8_000, 12_500)
        with pytest.raises(PictureError, match=r"huge\.png has 20100 x 10000 = 201 megapixels"):
            read_picture(bomb(tmp_path / "huge.png", 20_100, 10_000))
    assert limit == Image.MAX_IMAGE_PIXELS


def full_of_metadata(path: Path) -> list[bytes]:
    """A JPEG with all that may tell on somebody; returns texts that must not be in the output."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x010F] = "DESCRIPTION-LEAK", "ARTIST-LEAK", "CAMERA-LEAK"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0USERCOMMENT-LEAK"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 14.0), 29: "GPSDATE-LEAK"})
    thumbnail = io.BytesIO()
    Image.new("RGB", (4, 4)).save(thumbnail, "JPEG", comment=b"THUMB-LEAK")
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>XMP-LEAK</x:xmpmeta>"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"ICC-LEAK"
    photo = Image.fromarray(COLOURS)
    photo.save(path, exif=exif, xmp=xmp, icc_profile=profile, comment=b"COMMENT-LEAK", dpi=(123, 123))
    with path.open("ab") as file:  # as phones append a motion photo
        file.write(thumbnail.getvalue() + b"TRAILER-LEAK")
    return [b"LEAK", b"Exif", b"xmp", b"ICC", b"JFIF"]


def test_nothing_but_pixels_and_record_is_written(tmp_path: Path) -> None:
    traces = full_of_metadata(tmp_path / "in.jpg")
    original = (tmp_path / "in.jpg").read_bytes()
    assert original.count(b"LEAK") >= 8
    with Image.open(tmp_path / "in.jpg") as opened:  # also when the user's own PIL picture is handed over
        opened.info["transparency"] = (1, 2, 3)
        write_png(tmp_path / "direct.png", opened)
    picture = read_picture(tmp_path / "in.jpg")
    assert picture.record is None
    write_png(tmp_path / "out.png", to_pil(picture.rgb), make_record(None))
    for name, kinds in (("direct.png", {b"IHDR", b"IDAT", b"IEND"}), ("out.png", {b"IHDR", b"tEXt", b"IDAT", b"IEND"})):
        data = (tmp_path / name).read_bytes()
        assert {kind for kind, _ in chunks(tmp_path / name)} == kinds
        assert not any(trace in data for trace in traces)
    assert (tmp_path / "in.jpg").read_bytes() == original


def test_png_text_and_tiff_tags_of_the_source_are_dropped_too(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "LEAK")
    info.add_itxt("Comment", "LEAK")
    info.add_text("prompt", '{"workflow": "LEAK"}')
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[315] = "LEAK"
    Image.fromarray(COLOURS).save(tmp_path / "a.png", pnginfo=info)
    Image.fromarray(COLOURS).save(tmp_path / "b.tif", tiffinfo=tags)
    for name in ("a.png", "b.tif"):
        picture = read_picture(tmp_path / name)
        write_png(tmp_path / "out" / name, to_pil(picture.rgb), make_record(bytes(16)))
        assert b"LEAK" not in (tmp_path / "out" / name).read_bytes()


@pytest.mark.parametrize("nonce", [None, bytes(range(16))])
def test_record_comes_back_from_the_file(nonce: bytes | None, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", Image.fromarray(COLOURS), make_record(nonce))
    record = read_picture(tmp_path / "a.png").record
    assert record == make_record(nonce)
    assert record_nonce(record) == nonce
    json.dumps(record)


def test_a_record_need_not_state_the_linkage() -> None:
    assert record_nonce(UNSTATED) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "damaged"),
        ("[1]", "damaged"),
        ("{}", "damaged"),
        ('{"linkage":"linked"}', "damaged"),
        ('{"version":2}', "version 2"),
        ('{"version":1,"linkage":"unlinked"}', "damaged"),
        ('{"version":1,"linkage":"unlinked","nonce":"AAAA"}', "damaged"),
        ('{"version":1,"linkage":"unlinked","nonce":7}', "damaged"),
        ('{"version":1,"linkage":"other","nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}', "damaged"),
    ],
)
def test_damaged_record_is_noticed_and_not_taken_for_linked(text: str, message: str, tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("dbaf", text)
    Image.fromarray(COLOURS).save(tmp_path / "a.png", pnginfo=info)
    record = read_picture(tmp_path / "a.png").record
    assert record is not None
    with pytest.raises(PictureError, match=message):
        record_nonce(record)


def test_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.png"
    write_png(path, Image.new("RGB", (2, 2), "red"))
    before = path.read_bytes()
    with pytest.raises(PictureError, match="not overwritten"):
        write_png(path, Image.new("RGB", (2, 2), "blue"))
    assert path.read_bytes() == before
    write_png(path, Image.new("RGB", (2, 2), "blue"), overwrite=True)
    assert values(read_picture(path).rgb)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
def test_interrupted_write_leaves_neither_half_nor_temporary_file(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "old.png", Image.new("RGB", (2, 2), "red"))
    before = (tmp_path / "old.png").read_bytes()

    def half(self: Image.Image, file: io.BufferedWriter, *_: object, **__: object) -> None:
        file.write(b"\x89PNG half")
        raise error

    monkeypatch.setattr(Image.Image, "save", half)
    for name in ("new.png", "old.png"):
        with pytest.raises((KeyboardInterrupt, PictureError, MemoryError)):
            write_png(tmp_path / name, Image.new("RGB", (2, 2)), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == before


def test_argument_of_from_pil_is_not_changed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(COLOURS[:8]).save(stream, "PNG", exif=exif)
    image = Image.open(stream)
    first = from_pil(image)
    assert image.size == (16, 8)
    assert torch.equal(from_pil(image).rgb, first.rgb)


def test_reading_in_threads(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(8)]
    for path in paths:
        Image.fromarray(COLOURS).save(path)
    results: list[torch.Tensor] = []
    threads = [threading.Thread(target=lambda p=p: results.append(images.read_picture(p).rgb)) for p in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize(("found", "steps"), [(40, 40), (0, 0), (None, 0), (-1, 0), (10**9, 0), ("40", 0)])
def test_record_names_refinement_steps_within_reason(found: object, steps: int) -> None:
    assert record_refine_steps(make_record(None) | {"refine_steps": found}) == steps
    assert record_refine_steps(make_record(bytes(16), 7)) == 7
    assert "refine_steps" not in make_record(None)


def test_record_tells_whether_looks_were_kept() -> None:
    assert record_keeps_looks(make_record(None))
    assert "looks" not in make_record(None)
    assert not record_keeps_looks(make_record(bytes(16), keep_looks=False))
    assert record_keeps_looks(make_record(None) | {"looks": ["free"]})
