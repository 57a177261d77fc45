"""What of an identity code goes with what the face does: a part of the attributes.

CID leaves some of the expression in the identity code, and a key that reflected it would turn a smile into its
opposite. How a person's identity code moves with mouth, eyes and brows, a linear function of their `gestures`, is
therefore taken out and given to the attributes. The paper has no such part; it asks this of CID's losses alone.
"""

import torch
from torch import nn

from dbaf.cid import CID
from dbaf.faces.gestures import GESTURES


class GestureCode(nn.Module):
    """Gestures -> the part of a W+ code that goes with them.

    Args:
        styles: L.
        dim: width of W+.
    """

    centre: torch.Tensor
    along: torch.Tensor

    def __init__(self, styles: int, dim: int = 512) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(GESTURES))  # of people at large
        self.register_buffer("along", torch.zeros(GESTURES, styles, dim))  # how the mean code moves with each

    def forward(self, gestures: torch.Tensor) -> torch.Tensor:
        """gestures [B, GESTURES] in distances of the eyes -> [B, L, dim], 0 for those of people at large."""
        return torch.einsum("bg,gld->bld", gestures - self.centre, self.along)


def attribute_code(
    cid: CID, gesture_code: GestureCode | None, latent: torch.Tensor, gestures: torch.Tensor
) -> torch.Tensor:
    """The attribute part [B, L, dim] of W+ codes [B, L, dim] of faces that do `gestures` [B, GESTURES]; the rest is the
    identity code."""
    found = cid(latent)
    return found if gesture_code is None else found + gesture_code(gestures)
