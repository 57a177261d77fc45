"""Where in a picture the imprint of a face lies."""

import torch

from dbaf.faces import Face
from dbaf.faces.mask import covered
from dbaf.imprint.channel import BLOCK, FIRM, read, whole_blocks, write
from dbaf.imprint.seal import TAG_BYTES


def read_face(picture: torch.Tensor, face: Face, lengths: tuple[int, ...]) -> bytes | None:
    """The sealed W+ code in the pixels of a face of a picture [1, 3, H, W] in [-1, 1]; None if there is none.

    Args:
        picture: the whole of it: blocks are counted from its corner.
        face: one of its faces.
        lengths: of the codes that may be sealed, in bytes.
    """
    rows, columns = picture.shape[-2] // BLOCK, picture.shape[-1] // BLOCK
    blocks = covered(face.mesh[:, :2], face.quad, rows, columns, BLOCK)
    return read(picture, blocks, *(length + TAG_BYTES for length in lengths))


def write_face(
    picture: torch.Tensor, mask: torch.Tensor, imprints: list[bytes], step: float = FIRM
) -> tuple[torch.Tensor, bool]:
    """Put the first of some sealed codes that fits into a face.

    Args:
        picture: [1, 3, H, W] in [-1, 1].
        mask: [H, W] bool, the pixels that belong to the face.
        imprints: the longest first.
        step: see `channel`.

    Returns:
        A new picture on the 8-bit grid within the mask, and whether one did fit.
    """
    blocks = whole_blocks(mask)
    for sealed in imprints:
        written = write(picture, blocks, sealed, step)
        if written is not None:
            return written, True
    return picture, False
