"""Bytes in pixels: there, unseen, through JPEG, and nowhere else."""

import io

import pytest
import torch
from PIL import Image

from dbaf.images import from_pil, to_pil
from dbaf.imprint.channel import FAINT, FIRM, PARITY, read, whole_blocks, write

DATA = bytes(range(48))


def ellipse(height: int, width: int, x: float, y: float, rx: float, ry: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 < 1


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """Soft shapes with a little grain [1, 3, 150, 187] on the 8-bit grid."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 15, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(150, 187), mode="bicubic") * 1.4 - 0.7
    return from_pil(to_pil(smooth + 0.02 * torch.randn(smooth.shape, generator=generator))).rgb


@pytest.fixture(scope="module")
def mask() -> torch.Tensor:
    return ellipse(150, 187, 90, 80, 45, 60)


def jpeg(picture: torch.Tensor, quality: int) -> torch.Tensor:
    data = io.BytesIO()
    to_pil(picture).save(data, "JPEG", quality=quality)
    with Image.open(data) as image:
        return from_pil(image).rgb


@pytest.mark.parametrize("length", [36, 48, 80])
def test_comes_back_from_png_and_jpeg(picture: torch.Tensor, mask: torch.Tensor, length: int) -> None:
    data = bytes(255 - i for i in range(length))
    written = write(picture, whole_blocks(mask), data)
    assert written is not None
    near = whole_blocks(ellipse(150, 187, 92, 78, 48, 57))  # as a detector would see the face again
    assert read(from_pil(to_pil(written)).rgb, near, length) == data
    assert read(jpeg(written, 90), near, length) == data


def test_is_faint_and_stays_inside(picture: torch.Tensor, mask: torch.Tensor) -> None:
    written = write(picture, whole_blocks(mask), DATA)
    assert written is not None
    assert torch.equal(written[:, :, ~mask], picture[:, :, ~mask])
    change = (written - picture)[:, :, mask] * 127.5
    assert 0 < change.square().mean() < 255**2 / 10**4  # 40 dB
    assert torch.equal(written, from_pil(to_pil(written)).rgb)  # on the grid


def test_of_a_frame_is_fainter_and_comes_back_from_png(picture: torch.Tensor, mask: torch.Tensor) -> None:
    firm, faint = (write(picture, whole_blocks(mask), DATA, step) for step in (FIRM, FAINT))
    assert firm is not None
    assert faint is not None
    noise = [float((written - picture)[:, :, mask].square().mean().sqrt()) * 127.5 for written in (firm, faint)]
    assert noise[1] < 0.4 * noise[0]
    near = whole_blocks(ellipse(150, 187, 92, 78, 48, 57))
    assert read(from_pil(to_pil(faint)).rgb, near, len(DATA)) == DATA


def test_is_not_found_where_none_is(picture: torch.Tensor, mask: torch.Tensor) -> None:
    blocks = whole_blocks(mask)
    for empty in (picture, torch.zeros_like(picture), -torch.ones_like(picture)):
        assert read(empty, blocks, len(DATA)) is None
    written = write(picture, blocks, DATA)
    assert written is not None
    assert read(written, blocks, 36) is None
    assert read(written, torch.zeros_like(blocks), len(DATA)) is None


def test_damage_is_noticed(picture: torch.Tensor, mask: torch.Tensor) -> None:
    blocks = whole_blocks(mask)
    written = write(picture, blocks, DATA)
    assert written is not None
    half = torch.nn.functional.interpolate(written, scale_factor=0.9, mode="bilinear")
    assert read(half, whole_blocks(mask)[: half.shape[2] // 8, : half.shape[3] // 8], len(DATA)) is None
    noisy = written + 0.1 * torch.randn(written.shape, generator=torch.Generator().manual_seed(0))
    assert read(noisy, blocks, len(DATA)) in (None, DATA)


def test_small_masks_have_no_room(picture: torch.Tensor) -> None:
    small = whole_blocks(ellipse(150, 187, 90, 80, 15, 20))
    assert write(picture, small, DATA) is None
    assert write(picture, torch.zeros_like(small), DATA) is None


def test_two_faces_do_not_disturb_each_other(picture: torch.Tensor) -> None:
    left, right = (whole_blocks(ellipse(150, 187, x, 75, 44, 60)) for x in (45, 140))
    other = DATA[::-1]
    written = write(picture, left, DATA)
    assert written is not None
    written = write(written, right, other)
    assert written is not None
    assert (read(written, left, 48), read(written, right, 48)) == (DATA, other)


def test_longest_code_word_fits_the_field() -> None:
    assert 64 + 16 + PARITY <= 255


def test_blocks_that_were_not_written_to_have_no_say(picture: torch.Tensor, mask: torch.Tensor) -> None:
    """A fringe or a mask stays as it is, and must not confuse the reader, who sees the whole face."""
    written_to = mask.clone()
    written_to[:56] = False  # the upper third
    written = write(picture, whole_blocks(written_to), DATA)
    assert written is not None
    assert read(written, whole_blocks(mask), len(DATA)) == DATA
    assert read(jpeg(written, 90), whole_blocks(mask), len(DATA)) == DATA
