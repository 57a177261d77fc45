"""Bytes in the pixels of a face, so faint that nobody sees them and, but for clips, firm enough to outlive JPEG.

Quantisation index modulation (Chen and Wornell, 2001): in every 8 x 8 block that lies in the face's mask, the low
frequencies of the luma are moved to even multiples of half a step for a 0 and to odd ones for a 1. Blocks are those
of JPEG. The bits go round, so that every bit stands in many places; what is left wrong, a Reed-Solomon code mends.
There is no secret here: anybody can read the bytes, and they are worth nothing without the key.
"""

import hashlib
import math
from contextlib import suppress

import torch
from reedsolo import ReedSolomonError, RSCodec

BLOCK = 8
# (v, u): the frequencies that JPEG 90 quantises by 5 levels at most
CARRIERS = (
    *((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0)),
    *((0, 4), (1, 3), (2, 2), (3, 1), (4, 0), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0)),
)
# grey levels: an error of less than a quarter of a step is harmless
FIRM = 12.0  # outlives JPEG
FAINT = 4.0  # outlives rounding only; from frame to frame FIRM's noise is as strong as a camera's, and is seen
PARITY = 24  # bytes; half as many wrong ones are mended
ROOM = 1.2  # carriers a bit that there must be
LUMA = (0.299, 0.587, 0.114)
_ROW = (math.sqrt(5) - 1) / 2  # share of the bits by which a row of blocks is ahead of the one above


def whole_blocks(mask: torch.Tensor) -> torch.Tensor:
    """The blocks [H // 8, W // 8] bool all of whose pixels are in a mask [H, W] bool."""
    return _blocks(mask.cpu()).flatten(2).all(2)


def write(picture: torch.Tensor, blocks: torch.Tensor, data: bytes, step: float = FIRM) -> torch.Tensor | None:
    """Put bytes into a picture.

    Args:
        picture: [1, 3, H, W] in [-1, 1], on the 8-bit grid in these blocks.
        blocks: [H // 8, W // 8] bool, the blocks that may change.
        data: at most 255 - PARITY bytes.
        step: FIRM or FAINT.

    Returns:
        A new picture; None if the blocks have no room.
    """
    bits = _bits(data)
    window = _window(blocks)
    if window is None:
        return None
    top, left, usable = window
    places = _places(top, left, usable, len(bits))  # [N, C]
    if places.numel() < ROOM * len(bits):
        return None
    area = _area(picture, top, left, usable)
    levels = _levels(area)
    spectrum = _dct(_blocks(_luma(levels))[usable])  # [N, 8, 8]
    old = _carriers(spectrum)
    offset = bits[places] * (step / 2)
    new = ((old - offset) / step).round() * step + offset
    change = torch.zeros_like(spectrum)
    for index, (v, u) in enumerate(CARRIERS):
        change[:, v, u] = new[:, index] - old[:, index]
    added = levels.new_zeros(*usable.shape, BLOCK, BLOCK)
    added[usable] = _dct(change, inverse=True)
    changed = (levels + _joined(added)).clamp(0, 255).round().to(picture) / 127.5 - 1
    result = picture.clone()
    inside = _joined(usable[..., None, None].expand(*usable.shape, BLOCK, BLOCK)).to(picture.device)
    _area(result, top, left, usable).copy_(torch.where(inside, changed, area[0])[None])
    return result


def read(picture: torch.Tensor, blocks: torch.Tensor, *lengths: int) -> bytes | None:
    """Take bytes out of a picture [1, 3, H, W] in [-1, 1].

    Args:
        picture: as it was written, or after JPEG; not scaled, turned or cropped.
        blocks: [H // 8, W // 8] bool, those that `write` was given, and others.
        lengths: how many bytes there may be; the first that makes sense counts.

    Returns:
        None if there are none, or they are damaged. What somebody else wrote comes back too.
    """
    window = _window(blocks)
    if window is None:
        return None
    top, left, usable = window
    carriers = _carriers(_dct(_blocks(_luma(_levels(_area(picture, top, left, usable))))[usable]))  # [N, C]
    for step in (FIRM, FAINT):
        angle = carriers * (2 * math.pi / step)
        # a block that was written to has all its carriers near multiples of half a step; others have no say
        written = torch.cos(2 * angle).mean(1, keepdim=True).clamp(min=0)
        votes = (written * torch.cos(angle)).flatten()  # positive: a 0, negative: a 1
        for length in lengths:
            count = (length + PARITY) * 8
            places = _places(top, left, usable, count).flatten()
            tally = torch.zeros(count, dtype=torch.float64).index_add(0, places, votes)
            with suppress(ReedSolomonError):
                return bytes(RSCodec(PARITY).decode(_whitened(_packed(tally < 0)))[0])
    return None


def _bits(data: bytes) -> torch.Tensor:
    """Code word of `data` [N] of 0.0 and 1.0, whitened: a smooth face, which reads as zeros, is then no code word."""
    word = _whitened(RSCodec(PARITY).encode(data))
    return torch.tensor([byte >> (7 - bit) & 1 for byte in word for bit in range(8)], dtype=torch.float64)


def _packed(bits: torch.Tensor) -> bytes:
    """[8 n] bool, most significant first -> n bytes."""
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1])
    return bytes((bits.view(-1, 8) * powers).sum(1).tolist())


def _whitened(word: bytes) -> bytes:
    """Add a fixed pad, or take it off."""
    return bytes(a ^ b for a, b in zip(word, hashlib.shake_256(b"dbaf/1/imprint").digest(len(word)), strict=True))


def _window(blocks: torch.Tensor) -> tuple[int, int, torch.Tensor] | None:
    """First row and column of the smallest rectangle that holds all blocks, and the rectangle; None without any."""
    rows, columns = (blocks.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
    if not rows:
        return None
    return rows[0], columns[0], blocks[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].cpu()


def _area(picture: torch.Tensor, top: int, left: int, usable: torch.Tensor) -> torch.Tensor:
    """The pixels of a rectangle of blocks, a view."""
    y, x, (rows, columns) = top * BLOCK, left * BLOCK, usable.shape
    return picture[:, :, y : y + rows * BLOCK, x : x + columns * BLOCK]


def _places(top: int, left: int, usable: torch.Tensor, count: int) -> torch.Tensor:
    """Which of `count` bits the carriers of the usable blocks hold [N, C]: any patch of enough blocks holds all."""
    rows, columns = usable.nonzero().T
    start = (rows + top) * round(count * _ROW) + (columns + left) * len(CARRIERS)
    return (start[:, None] + torch.arange(len(CARRIERS))) % count


def _levels(picture: torch.Tensor) -> torch.Tensor:
    """[1, 3, H, W] in [-1, 1] -> 8-bit levels [3, H, W] float64."""
    return ((picture[0].detach().cpu().double() + 1) * 127.5).round().clamp(0, 255)


def _luma(levels: torch.Tensor) -> torch.Tensor:
    """[3, H, W] -> [H, W]."""
    return torch.einsum("c,chw->hw", torch.tensor(LUMA, dtype=levels.dtype), levels)


def _blocks(plane: torch.Tensor) -> torch.Tensor:
    """[H, W] -> its whole blocks [h, w, 8, 8]."""
    return plane.unfold(0, BLOCK, BLOCK).unfold(1, BLOCK, BLOCK)


def _joined(blocks: torch.Tensor) -> torch.Tensor:
    """[h, w, 8, 8] -> [8 h, 8 w]."""
    return blocks.permute(0, 2, 1, 3).reshape(blocks.shape[0] * BLOCK, blocks.shape[1] * BLOCK)


def _carriers(spectrum: torch.Tensor) -> torch.Tensor:
    """[..., 8, 8] -> [..., C]."""
    v, u = torch.tensor(CARRIERS).T
    return spectrum[..., v, u]


def _dct(blocks: torch.Tensor, inverse: bool = False) -> torch.Tensor:
    """Orthonormal two-dimensional DCT-II of [..., 8, 8], JPEG's, or its inverse."""
    n = torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos((2 * n[None, :] + 1) * n[:, None] * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)  # [k, n]
    basis[0] /= math.sqrt(2)
    return basis.T @ blocks @ basis if inverse else basis @ blocks @ basis.T
