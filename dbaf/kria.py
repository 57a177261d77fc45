"""KRIA: key-authorized reversible identity anonymization (the role it has in DBAF, arXiv 2311.08786).

It maps an identity code and a latent key to another identity code, and back again. The paper trains one MLP to do both.
Here it is exact by construction: in each style group, the whitened coordinates that carry identity are reflected across
a subspace that the key chooses, stretched, moved by what else the key chooses, and held within a limit. The reflection
takes the new identity away from the old one; the move keeps two keys' faces apart, and the stretch people under one
key; far beyond what is found in people, faces look odd. (The paper's MLP, given the same minutes on a CPU, gave
everybody the key's face and lost the way back; see CHANGELOG.)

People who look like women and people who look like men have coordinates of their own: a reflection across the middle of
all gave women beards. A score tells them apart that no key changes, so that it is the same on the way back. Those of
both together serve who wants faces of any sex and age.
"""

import torch
from torch import nn

SHORT = 0.995  # of the limit: beyond it, where only errors lie, the way back would lead three limits away and further
CROWDS = 3  # people with a score up to 0 (women), above 0 (men), and all of them


class KRIA(nn.Module):
    """(identity code, latent key) -> identity code.

    Args:
        groups: number of consecutive styles in the coarse, medium and fine group; they sum to L.
        ranks: identity coordinates of each group.
        stretch: factor on the coordinates.
        move: standard deviation, over keys, of what is added to them.
        limit: largest coordinate of a new identity.
        dim: width of the codes.
    """

    score: torch.Tensor
    middle: torch.Tensor

    def __init__(
        self,
        groups: tuple[int, ...],
        ranks: tuple[int, ...],
        stretch: float,
        move: float,
        limit: float,
        dim: int = 512,
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.crowds = nn.ModuleList(Crowd(groups, ranks, stretch, move, limit, dim) for _ in range(CROWDS))
        self.register_buffer("score", torch.zeros(sum(groups), dim))
        self.register_buffer("middle", torch.zeros(()))

    def forward(
        self, identity: torch.Tensor, key: torch.Tensor, back: bool = False, keep_looks: bool = True
    ) -> torch.Tensor:
        """Anonymize or recover.

        Args:
            identity: identity codes I [B, L, dim].
            key: latent keys, one w for each style group [B, groups, dim].
            back: recover.
            keep_looks: keep perceived sex and age; the same for there and back.

        Returns:
            Identity codes [B, L, dim].
        """
        codes = zip(identity.split(1), key.split(1), strict=True)
        return torch.cat([self.crowd(one, keep_looks)(one, its, back) for one, its in codes])

    def hold(self, identity: torch.Tensor, held: torch.Tensor, keep_looks: bool = True) -> torch.Tensor:
        """Identity codes [B, L, dim] with those coordinates that a key turns, and the score, taken from others' [B, L,
        dim]."""
        return torch.cat(
            [
                self.crowd(other, keep_looks).hold(one, other, self.scored(other) - self.scored(one))
                for one, other in zip(identity.split(1), held.split(1), strict=True)
            ]
        )

    def coordinates(self, identity: torch.Tensor) -> torch.Tensor:
        """The whitened coordinates [B, sum of ranks] that a key turns, of identity codes [B, L, dim], each's own."""
        return torch.cat([self.crowd(one, True).coordinates(one) for one in identity.split(1)])

    def scored(self, identity: torch.Tensor) -> torch.Tensor:
        """Of a code [1, L, dim]: below 0 for who looks like a woman, above for who looks like a man."""
        return (identity * self.score).sum() - self.middle

    def crowd(self, identity: torch.Tensor, keep_looks: bool) -> "Crowd":
        """The people among whom the new identity of a code [1, L, dim] is."""
        crowd = self.crowds[int(self.scored(identity) > 0) if keep_looks else -1]
        assert isinstance(crowd, Crowd)
        return crowd


class Crowd(nn.Module):
    """Identity coordinates of one kind of people, for one code at a time. Arguments as for `KRIA`."""

    along: torch.Tensor

    def __init__(
        self, groups: tuple[int, ...], ranks: tuple[int, ...], stretch: float, move: float, limit: float, dim: int
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.turns = nn.ModuleList(
            KeyedTurn(styles * dim, rank, stretch, move, limit, dim) for styles, rank in zip(groups, ranks, strict=True)
        )
        self.register_buffer("along", torch.zeros(sum(groups), dim))  # raises the score by 1, and no coordinate

    def parts(self, identity: torch.Tensor) -> list[tuple["KeyedTurn", torch.Tensor]]:
        """The turn of each style group, and what of a code [1, L, dim] belongs to it [1, width]."""
        split = identity.split(self.groups, 1)
        return [(turn, part.flatten(1)) for turn, part in zip(self.turns, split, strict=True)]  # type: ignore[misc]

    def forward(self, identity: torch.Tensor, key: torch.Tensor, back: bool) -> torch.Tensor:
        """As `KRIA.forward`, with B = 1."""
        turned = [turn(part, key[:, index], back) for index, (turn, part) in enumerate(self.parts(identity))]
        return torch.cat(turned, 1).view_as(identity)

    def coordinates(self, identity: torch.Tensor) -> torch.Tensor:
        """As `KRIA.coordinates`, with B = 1."""
        return torch.cat([turn.read(part) for turn, part in self.parts(identity)], 1)

    def hold(self, identity: torch.Tensor, held: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        """As `KRIA.hold`, with B = 1; `more` is what the score rises by."""
        raised = identity + more * self.along
        pairs = zip(self.parts(raised), self.parts(held), strict=True)
        moves = [(turn.read(other) - turn.read(part)) @ turn.colour for (turn, part), (_, other) in pairs]
        return raised + torch.cat(moves, 1).view_as(identity)


class KeyedTurn(nn.Module):
    """Reflects, stretches, moves and limits the whitened identity coordinates of one style group.

    The part of a code that lies in the key's subspace changes its sign. With half of the dimensions the new coordinates
    would not correlate with the old ones, over keys, nor with those under another key. The subspace has 7 of 10, since
    what stays in a picture speaks for the old identity; with more, two keys' faces are too much alike. A random
    matrix mixes the key and what it gives when its entries are passed on round and round: vectors that span the
    subspace.
    """

    centre: torch.Tensor
    whiten: torch.Tensor
    colour: torch.Tensor
    key_centre: torch.Tensor
    key_scale: torch.Tensor
    mixer: torch.Tensor
    mover: torch.Tensor

    def __init__(self, width: int, rank: int, stretch: float, move: float, limit: float, dim: int) -> None:
        super().__init__()
        self.rank, self.turned = rank, 7 * rank // 10
        self.stretch, self.move, self.limit = stretch, move, limit
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
        if back:
            free = self.limit * torch.atanh((x / self.limit).clamp(-SHORT, SHORT))
            y = reflected((free - move) / self.stretch, basis)
        else:
            y = self.limit * torch.tanh((self.stretch * reflected(x, basis) + move) / self.limit)
        return code + (y - x) @ self.colour


def reflected(x: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """x [B, rank] across the complement of the span of `basis` [B, rank, turned]; the same for any basis of it."""
    return x - 2 * torch.einsum("brk,bsk,bs->br", basis, basis, x)
