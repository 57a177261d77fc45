"""KRIA as the paper has it (DBAF, arXiv 2311.08786): one MLP a style group, trained to be its own inverse.

It maps the identity code of a style, beside the key's latent, to another identity code, and under the same key about
back again: I ~ KRIA(KRIA(I, key), key). `dbaf.kria.KRIA` has an exact way back, and is what `mobile` uses.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.equal_linear import EqualLinear
from dbaf.kria import KRIA

RATE = 0.01  # of learning


class MlpKRIA(nn.Module):
    """(identity code, latent key) -> identity code.

    Args:
        groups: number of consecutive styles in the coarse and the medium group; all others are fine.
        hidden: widths of the hidden layers.
        dim: width of the codes.
    """

    def __init__(self, groups: list[int], hidden: tuple[int, ...] = (2048, 1024, *5 * (512,)), dim: int = 512) -> None:
        super().__init__()
        self.groups = list(groups)
        self.mappers = nn.ModuleList(
            nn.Sequential(
                *(EqualLinear(a, b, RATE, active=True) for a, b in pairwise([2 * dim, *hidden])),
                nn.Linear(hidden[-1], dim),
            )
            for _ in range(len(groups) + 1)
        )

    def forward(
        self,
        identity: torch.Tensor,
        key: torch.Tensor,
        back: bool = False,
        keep_looks: bool = True,
        unlinked: bool = False,
    ) -> torch.Tensor:
        """Anonymize or recover.

        Args:
            identity: identity codes I [B, L, dim].
            key: latent keys, one w for each style group [B, groups, dim].
            back: recover; the same network does that.
            keep_looks, unlinked: of no effect; what the network keeps, it has learnt.

        Returns:
            Identity codes [B, L, dim].
        """
        parts = identity.split([*self.groups, identity.shape[1] - sum(self.groups)], 1)
        mapped = [
            mapper(torch.cat([part, key[:, index : index + 1].expand_as(part)], 2))  # [B, styles, 2 dim] -> dim
            for index, (mapper, part) in enumerate(zip(self.mappers, parts, strict=True))
        ]
        return torch.cat(mapped, 1)

    def hold(self, identity: torch.Tensor, held: torch.Tensor, keep_looks: bool = True) -> torch.Tensor:
        """As `KRIA.hold`; an MLP turns the whole code."""
        return held

    def telling(self, identity: torch.Tensor) -> torch.Tensor:
        """As `KRIA.telling`, but the codes' mean over the styles, which need not be 0 over people."""
        return identity.mean(1)

    def resemblance(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """As `KRIA.resemblance`, but by the codes themselves."""
        return F.cosine_similarity(one.flatten(1), other.flatten(1))


KINDS: Mapping[str, Callable[..., KRIA | MlpKRIA]] = {"turn": KRIA, "mlp": MlpKRIA}
