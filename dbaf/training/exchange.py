"""New people for the encoder to disentangle: codes of photographs with other identity coordinates, as a key gives them.

Stage 1 of the paper (DBAF, arXiv 2311.08786) asks that the identity of an output follows the identity source, and all
else the attribute source. Our KRIA writes whole identity coordinates, so that what is asked of CID there is asked of
the encoder here: to put into the coordinates who somebody is, and nothing else.
"""

import torch
from torch import nn

from dbaf.cid import CID
from dbaf.gesture_code import GestureCode, attribute_code
from dbaf.kria import KRIA, Crowd, KeyedTurn, size_of

CORRELATION = -0.4  # of new coordinates with the old ones, by the share of them that keys reflect


class Exchange(nn.Module):
    """Exchanges identity coordinates in batches; what is kept of a code stays differentiable.

    Args:
        cid, gesture_code, kria: of one bundle, frozen. Faces keep their looks.
    """

    centre: torch.Tensor
    whiten: torch.Tensor
    colour: torch.Tensor

    def __init__(self, cid: CID, gesture_code: GestureCode, kria: KRIA) -> None:
        super().__init__()
        self.cid, self.gesture_code, self.kria = cid, gesture_code, kria
        crowds = [crowd for crowd in kria.crowds[:2] if isinstance(crowd, Crowd)]
        self.register_buffer("centre", torch.stack([crowd.centre for crowd in crowds]))  # [2, components]
        self.register_buffer("whiten", torch.stack([crowd.whiten for crowd in crowds]))  # [2, components, rank]
        self.register_buffer("colour", torch.stack([crowd.colour for crowd in crowds]))  # [2, rank, components]

    def read(self, codes: torch.Tensor, gestures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Identity coordinates [B, rank] of W+ codes [B, L, dim] of faces that do `gestures` [B, GESTURES], and the
        crowd [B] of each, 0 or 1."""
        identity = codes - attribute_code(self.cid, self.gesture_code, codes, gestures)
        crowd = ((identity * self.kria.score).sum((1, 2)) > self.kria.middle).long()
        components = torch.einsum("bld,ldc->bc", identity - self.kria.mean, self.kria.basis) - self.centre[crowd]
        return torch.einsum("bc,bcr->br", components, self.whiten[crowd]), crowd

    def draw(self, old: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """Coordinates [B, rank] such as KRIA writes under random keys, from old ones and standard normal numbers [B,
        rank]."""
        turn = self.kria.turns[0]
        assert isinstance(turn, KeyedTurn)
        variance = turn.stretch**2 * (1 - CORRELATION**2) + turn.move**2
        free = CORRELATION * turn.stretch * old + variance**0.5 * fresh
        parts = [(part, size_of(part) / turn.limit) for part in free.split(self.kria.ranks, 1)]
        return torch.cat([part / size * torch.tanh(size) for part, size in parts], 1)

    def write(self, codes: torch.Tensor, change: torch.Tensor, crowd: torch.Tensor) -> torch.Tensor:
        """W+ codes [B, L, dim] with their coordinates changed by `change` [B, rank] in their crowds [B]."""
        components = torch.einsum("br,brc->bc", change, self.colour[crowd])
        return codes + torch.einsum("bc,ldc->bld", components, self.kria.basis)
