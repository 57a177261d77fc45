"""KRIA: key-authorized reversible identity anonymization (the role it has in DBAF, arXiv 2311.08786).

It maps an identity code and a latent key to another identity code, and back again. The paper trains one MLP to do both.
Here it is exact by construction: in each style group, the whitened coordinates that carry identity are reflected across
a subspace that the key chooses, stretched, and moved by what else the key chooses. The reflection takes the new
identity away from the old one; the move keeps two keys' faces apart, and the stretch people under one key. (The paper's
MLP, given the same minutes on a CPU, gave everybody the key's face and lost the way back; see CHANGELOG.)
"""

import torch
from torch import nn


class KRIA(nn.Module):
    """(identity code, latent key) -> identity code.

    Args:
        groups: number of consecutive styles in the coarse, medium and fine group; they sum to L.
        ranks: identity coordinates of each group.
        stretch: factor on the coordinates.
        move: standard deviation, over keys, of what is added to them.
        dim: width of the codes.
    """

    def __init__(
        self, groups: tuple[int, ...], ranks: tuple[int, ...], stretch: float, move: float, dim: int = 512
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.turns = nn.ModuleList(
            KeyedTurn(styles * dim, rank, stretch, move, dim) for styles, rank in zip(groups, ranks, strict=True)
        )

    def forward(self, identity: torch.Tensor, key: torch.Tensor, back: bool = False) -> torch.Tensor:
        """Anonymize or recover.

        Args:
            identity: identity codes I [B, L, dim].
            key: latent keys, one w for each style group [B, groups, dim].
            back: recover.

        Returns:
            Identity codes [B, L, dim].
        """
        parts = identity.split(self.groups, 1)
        turned = [
            turn(part.flatten(1), key[:, index], back).view_as(part)
            for index, (turn, part) in enumerate(zip(self.turns, parts, strict=True))
        ]
        return torch.cat(turned, 1)

    def coordinates(self, identity: torch.Tensor) -> torch.Tensor:
        """The whitened identity coordinates [B, sum of ranks] that a key turns, of identity codes [B, L, dim]."""
        coordinates = []
        for turn, part in zip(self.turns, identity.split(self.groups, 1), strict=True):
            assert isinstance(turn, KeyedTurn)
            coordinates.append(turn.read(part.flatten(1)))
        return torch.cat(coordinates, 1)

    def hold(self, identity: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
        """Identity codes [B, L, dim] with those coordinates that a key turns taken from other codes [B, L, dim]."""
        change = self.coordinates(held) - self.coordinates(identity)
        moves = []
        for turn in self.turns:
            assert isinstance(turn, KeyedTurn)
            part, change = change.split([turn.rank, change.shape[1] - turn.rank], 1)
            moves.append((part @ turn.colour).view(len(identity), -1, identity.shape[-1]))
        return identity + torch.cat(moves, 1)


class KeyedTurn(nn.Module):
    """Reflects, stretches and moves the whitened identity coordinates of one style group.

    The part of a code that lies in the key's subspace changes its sign. With half of the dimensions the new coordinates
    would not correlate with the old ones, over keys, nor with those under another key. The subspace has three fifths,
    since what else an encoder sees in the picture speaks for the old identity (`benchmarks/attack.py`). A random matrix
    mixes the key and what it gives when its entries are passed on round and round: vectors that span the subspace.
    """

    centre: torch.Tensor
    whiten: torch.Tensor
    colour: torch.Tensor
    key_centre: torch.Tensor
    key_scale: torch.Tensor
    mixer: torch.Tensor
    mover: torch.Tensor

    def __init__(self, width: int, rank: int, stretch: float, move: float, dim: int) -> None:
        super().__init__()
        self.rank, self.turned, self.stretch, self.move = rank, 3 * rank // 5, stretch, move
        self.register_buffer("centre", torch.zeros(width))  # mean identity code
        self.register_buffer("whiten", torch.zeros(width, rank))  # code -> coordinates of unit variance
        self.register_buffer("colour", torch.zeros(rank, width))  # and back: colour @ whiten = 1
        self.register_buffer("key_centre", torch.zeros(dim))
        self.register_buffer("key_scale", torch.ones(dim))
        self.register_buffer("mixer", torch.zeros(dim, rank))  # key -> a vector of the span
        self.register_buffer("mover", torch.zeros(dim, rank))  # key -> move, of unit variance over keys

    def read(self, code: torch.Tensor) -> torch.Tensor:
        """code [B, width] -> whitened coordinates [B, rank]."""
        return (code - self.centre) @ self.whiten

    def forward(self, code: torch.Tensor, key: torch.Tensor, back: bool) -> torch.Tensor:
        """code [B, width], key [B, dim] -> [B, width]."""
        key = (key - self.key_centre) / self.key_scale
        span = torch.stack([key.roll(places, 1) @ self.mixer for places in range(self.turned)], 2)
        basis = torch.linalg.qr(span).Q  # [B, rank, turned]
        move = self.move * (key @ self.mover)  # [B, rank]
        x = self.read(code)
        y = reflected((x - move) / self.stretch, basis) if back else self.stretch * reflected(x, basis) + move
        return code + (y - x) @ self.colour


def reflected(x: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """x [B, rank] across the complement of the span of `basis` [B, rank, turned]; the same for any basis of it."""
    return x - 2 * torch.einsum("brk,bsk,bs->br", basis, basis, x)
