"""Where in a picture the imprint of a face lies."""

import torch

from dbaf.faces import Face
from dbaf.faces.mask import to_square, within_outline
from dbaf.imprint.channel import BLOCK, read, whole_blocks, write
from dbaf.imprint.seal import TAG_BYTES


def read_face(picture: torch.Tensor, face: Face, lengths: tuple[int, ...]) -> bytes | None:
    """The sealed W+ code in the pixels of a face of a picture [1, 3, H, W] in [-1, 1]; None if there is none.

    Args:
        picture: the whole of it: blocks are counted from its corner.
        face: one of its faces.
        lengths: of the codes that may be sealed, in bytes.
    """
    blocks = _covered(face, picture.shape[-2] // BLOCK, picture.shape[-1] // BLOCK)
    for length in lengths:
        sealed = read(picture, blocks, length + TAG_BYTES)
        if sealed is not None:
            return sealed
    return None


def write_face(picture: torch.Tensor, mask: torch.Tensor, imprints: list[bytes]) -> tuple[torch.Tensor, bool]:
    """Put the first of some sealed codes that fits into a face.

    Args:
        picture: [1, 3, H, W] in [-1, 1].
        mask: [H, W] bool, the pixels that belong to the face.
        imprints: the longest first.

    Returns:
        A new picture on the 8-bit grid within the mask, and whether one did fit.
    """
    blocks = whole_blocks(mask)
    for sealed in imprints:
        written = write(picture, blocks, sealed)
        if written is not None:
            return written, True
    return picture, False


def _covered(face: Face, rows: int, columns: int) -> torch.Tensor:
    """Blocks [rows, columns] bool whose middle lies inside the outline of a face."""
    covered = torch.zeros(rows, columns, dtype=torch.bool)
    corners = face.quad / BLOCK
    low, high = corners.amin(0).floor().int().clamp(min=0).tolist(), corners.amax(0).ceil().int().tolist()
    x0, x1, y0, y1 = low[0], min(high[0], columns), low[1], min(high[1], rows)
    if x0 >= x1 or y0 >= y1:
        return covered
    y, x = torch.meshgrid(torch.arange(y0, y1), torch.arange(x0, x1), indexing="ij")
    middles = (torch.stack([x, y], -1).flatten(0, 1) + 0.5) * BLOCK
    inside = within_outline(to_square(face.mesh[:, :2], face.quad), to_square(middles, face.quad))
    covered[y0:y1, x0:x1] = inside.view(y1 - y0, x1 - x0)
    return covered
