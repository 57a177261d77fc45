"""KRIA: key-authorized reversible identity anonymization (the role it has in DBAF, arXiv 2311.08786).

It maps an identity code and a latent key to another identity code, and applied again with the same key it brings the
first one back: I = KRIA(KRIA(I, key), key). The paper trains an MLP to do so. Here it is an involution by
construction: in each style group a reflection across a subspace that the key chooses, in the whitened coordinates
that carry identity. It is exact, moves a likely code to an equally likely one, and does not amplify the error that
encoding the anonymized picture brings. (The paper's MLP, given the same minutes on a CPU, gave everybody the key's
face and lost the way back; see CHANGELOG.)
"""

import torch
from torch import nn


class KRIA(nn.Module):
    """(identity code, latent key) -> identity code.

    Args:
        groups: number of consecutive styles in the coarse, medium and fine group; they sum to L.
        ranks: identity coordinates of each group.
        dim: width of the codes.
    """

    def __init__(self, groups: tuple[int, ...], ranks: tuple[int, ...], dim: int = 512) -> None:
        super().__init__()
        self.groups = list(groups)
        self.reflections = nn.ModuleList(
            Reflection(styles * dim, rank, dim) for styles, rank in zip(groups, ranks, strict=True)
        )

    def forward(self, identity: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Anonymize or recover.

        Args:
            identity: identity codes I [B, L, dim].
            key: latent keys, one w for each style group [B, groups, dim].

        Returns:
            Identity codes [B, L, dim].
        """
        parts = identity.split(self.groups, 1)
        turned = [
            reflect(part.flatten(1), key[:, index]).view_as(part)
            for index, (reflect, part) in enumerate(zip(self.reflections, parts, strict=True))
        ]
        return torch.cat(turned, 1)

    def coordinates(self, identity: torch.Tensor) -> torch.Tensor:
        """The whitened identity coordinates [B, sum of ranks] that a key turns, of identity codes [B, L, dim]."""
        coordinates = []
        for reflect, part in zip(self.reflections, identity.split(self.groups, 1), strict=True):
            assert isinstance(reflect, Reflection)
            coordinates.append(reflect.read(part.flatten(1)))
        return torch.cat(coordinates, 1)

    def hold(self, identity: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
        """Identity codes [B, L, dim] with those coordinates that a key turns taken from other codes [B, L, dim]."""
        change = self.coordinates(held) - self.coordinates(identity)
        moves = []
        for reflect in self.reflections:
            assert isinstance(reflect, Reflection)
            part, change = change.split([reflect.rank, change.shape[1] - reflect.rank], 1)
            moves.append((part @ reflect.colour).view(len(identity), -1, identity.shape[-1]))
        return identity + torch.cat(moves, 1)


class Reflection(nn.Module):
    """Reflects the whitened identity coordinates of one style group across a subspace.

    The part of a code that lies in the subspace changes its sign. It has two thirds of the dimensions, so that the
    new identity leans away from the old one, and two keys' from each other's, as much as possible at once.
    """

    centre: torch.Tensor
    whiten: torch.Tensor
    colour: torch.Tensor
    key_centre: torch.Tensor
    key_scale: torch.Tensor
    mixer: torch.Tensor

    def __init__(self, width: int, rank: int, dim: int) -> None:
        super().__init__()
        self.rank, self.turned = rank, 2 * rank // 3
        self.register_buffer("centre", torch.zeros(width))  # mean identity code
        self.register_buffer("whiten", torch.zeros(width, rank))  # code -> coordinates of unit variance
        self.register_buffer("colour", torch.zeros(rank, width))  # and back: colour @ whiten = 1
        self.register_buffer("key_centre", torch.zeros(dim))
        self.register_buffer("key_scale", torch.ones(dim))
        self.register_buffer("mixer", torch.zeros(dim, rank * self.turned))  # key -> spanning vectors

    def read(self, code: torch.Tensor) -> torch.Tensor:
        """code [B, width] -> whitened coordinates [B, rank]."""
        return (code - self.centre) @ self.whiten

    def forward(self, code: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """code [B, width], key [B, dim] -> [B, width]."""
        x = self.read(code)  # [B, rank]
        span = ((key - self.key_centre) / self.key_scale) @ self.mixer
        basis = torch.linalg.qr(span.view(len(key), self.rank, self.turned)).Q  # [B, rank, turned]
        inside = torch.einsum("brk,bsk,bs->br", basis, basis, x)  # projection of x, the same for any basis of the span
        return code - 2 * inside @ self.colour
