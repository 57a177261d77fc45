"""New people for the encoder to disentangle: codes of photographs with other identity coordinates, as a key gives them.

Stage 1 of the paper (DBAF, arXiv 2311.08786) asks that the identity of an output follows the identity source, and all
else the attribute source. Our KRIA writes whole identity coordinates, so that what is asked of CID there is asked of
the encoder here: to put into the coordinates who somebody is, and nothing else.
"""

from typing import NamedTuple

import torch
from torch import nn

from dbaf.cid import CID
from dbaf.gesture_code import GestureCode, attribute_code
from dbaf.kria import KRIA, Crowd


class Exchanged(NamedTuple):
    """Codes with new identities.

    codes: W+ codes [B, L, dim]; what was kept of the old ones has a gradient, what was replaced has none.
    coordinates: the identity coordinates [B, rank] written into them, without a gradient.
    men: whether each is of the crowd of those who look like men [B] bool.
    alike: whether the n-th of the first half and of the second have the same coordinates [B / 2] bool.
    """

    codes: torch.Tensor
    coordinates: torch.Tensor
    men: torch.Tensor
    alike: torch.Tensor


class Exchange(nn.Module):
    """Exchanges identity coordinates in batches. Crowds are kept, as with `keep_looks` of KRIA.

    Args:
        cid, gesture_code, kria: of one bundle, frozen.
    """

    def __init__(self, cid: CID, gesture_code: GestureCode, kria: KRIA) -> None:
        super().__init__()
        self.cid, self.gesture_code, self.kria = cid, gesture_code, kria

    def identity(self, codes: torch.Tensor, gestures: torch.Tensor) -> torch.Tensor:
        """Identity codes [B, L, dim] of W+ codes [B, L, dim] of faces that do `gestures` [B, GESTURES]."""
        return codes - attribute_code(self.cid, self.gesture_code, codes, gestures)

    def read(self, identity: torch.Tensor, men: torch.Tensor) -> torch.Tensor:
        """Coordinates [B, rank] of identity codes [B, L, dim] in the crowds that `men` [B] bool says."""
        components = self.kria.components(identity)
        women_s, men_s = (crowd.read(components) for crowd in self._crowds())
        return torch.where(men[:, None], men_s, women_s)

    def write(self, codes: torch.Tensor, change: torch.Tensor, men: torch.Tensor) -> torch.Tensor:
        """Codes [B, L, dim] with coordinates changed by `change` [B, rank] in their crowds; to some thousandths, since
        weights are rounded to fp16."""
        women_s, men_s = (change @ crowd.colour for crowd in self._crowds())  # [B, components]
        return codes + self.kria.written(torch.where(men[:, None], men_s, women_s))

    def exchanged(self, codes: torch.Tensor, gestures: torch.Tensor, keys: torch.Tensor) -> Exchanged:
        """New identities, in pairs that share theirs where both are of one crowd.

        Args:
            codes: W+ codes [B, L, dim], an even number of them.
            gestures: what the faces do [B, GESTURES].
            keys: latent keys [B, PARTS, dim]. Of a pair that shares its identity, that of the first gives it.
        """
        half = len(codes) // 2
        identity = self.identity(codes, gestures)
        men = self.kria.scored(identity) > 0
        old = self.read(identity, men)
        new = self.kria.turned(old.detach(), keys)  # [B, rank]
        alike = men[:half] == men[half:]
        new = torch.cat([new[:half], new[:half].where(alike[:, None], new[half:])])
        return Exchanged(self.write(codes, new - old, men), new, men, alike)

    def _crowds(self) -> list[Crowd]:
        """Those who look like women, and those who look like men."""
        return [crowd for crowd in self.kria.crowds[:2] if isinstance(crowd, Crowd)]
