"""KRIA: key-authorized reversible identity anonymization (the role it has in DBAF, arXiv 2311.08786).

It maps an identity code and a latent key to another identity code, and back again. The paper trains one MLP to do both.
Here it is exact by construction: those of the code's principal components that tell people apart, whitened, are
reflected across subspaces that the key chooses, moved by what else the key chooses, and held within a distance of the
middle. So new codes are about as far out as those of people are, whatever the old ones were like: faces further out
look odd. All styles are turned together, since a face whose coarse and fine styles are of two people looks odd, too;
light, colour and sharpness, which differ from photograph to photograph, stay. (The paper's MLP, given the same minutes
on a CPU, gave everybody the key's face and lost the way back; see docs/experiments.md.)

People who look like women and people who look like men have coordinates of their own: a reflection across the middle of
all gave women beards. A score tells them apart that no key changes, so that it is the same on the way back. Those of
both together serve who wants faces of any sex, age and origin.

What tells origins apart is no coordinate of women or of men: a reflection across the middle of all gave people with
dark skin the features of pale ones, and faces that are like nobody's. Those of everybody have it.

How alike two people look is read off their codes as well, by a linear reading of what a face recogniser sees.
"""

import torch
import torch.nn.functional as F
from torch import nn

SHORT = 0.97  # of the limit: no new identity is further out, so a picture that reads so was read with errors
# Root mean square of all coordinates: of women and men, and by those of everybody. Fewer than 1 of 100 photographs are
# further out. Who is so on the way back was led there by a wrong key, or read with errors, to where faces look odd, and
# is drawn to where people usually are
FARTHEST, USUAL = (1.3, 1.3, 1.4), 1.0
PARTS = 3  # of the coordinates, each with its own part of the key: telling people apart best, less, and least
RECOGNISED = 192  # numbers by which the recogniser of training, MobileFaceNet, tells faces apart
LINKED, UNLINKED = 0.7, 0.6  # share of the dimensions of each part that a key reflects


class KRIA(nn.Module):
    """(identity code, latent key) -> identity code.

    Args:
        styles: L.
        components: principal components of the codes.
        rank: coordinates of a code, whitened: of variance 1 in people at large; at most `components`.
        stretch: factor on the coordinates.
        move: standard deviation, over keys, of what is added to each of them.
        limit: the largest root mean square of a new identity's coordinates, in each part.
        dim: width of the codes.
    """

    mean: torch.Tensor
    basis: torch.Tensor
    score: torch.Tensor
    middle: torch.Tensor
    recognised: torch.Tensor

    def __init__(
        self, styles: int, components: int, rank: int, stretch: float, move: float, limit: float, dim: int = 512
    ) -> None:
        super().__init__()
        self.ranks = [len(part) for part in torch.arange(rank).tensor_split(PARTS)]
        self.crowds = nn.ModuleList(Crowd(components, rank, farthest) for farthest in FARTHEST)
        self.turns = nn.ModuleList(KeyedTurn(part, stretch, move, limit, dim) for part in self.ranks)
        self.register_buffer("mean", torch.zeros(styles, dim))
        self.register_buffer("basis", torch.zeros(styles, dim, components))  # orthonormal
        self.register_buffer("score", torch.zeros(styles, dim))
        self.register_buffer("middle", torch.zeros(()))
        self.register_buffer("recognised", torch.zeros(components, RECOGNISED))

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
            key: latent keys, one w for each part of the coordinates [B, PARTS, dim].
            back: recover; exact for who is not further out than FARTHEST and whose new identity is short of the limit.
            keep_looks: keep perceived sex, age and origin; the same for there and back.
            unlinked: the key is a nonce's, of which one is chosen that hides well; the same for there and back.

        Returns:
            Identity codes [B, L, dim].
        """
        return torch.cat(
            [
                self._turned(one, its, self.crowd(one, keep_looks), back, unlinked)
                for one, its in zip(identity.split(1), key.split(1), strict=True)
            ]
        )

    def hold(self, identity: torch.Tensor, held: torch.Tensor, keep_looks: bool = True) -> torch.Tensor:
        """Identity codes [B, L, dim] with those coordinates that a key turns, and the score, taken from others' [B, L,
        dim]."""
        whole = []
        for one, other in zip(identity.split(1), held.split(1), strict=True):
            crowd = self.crowd(other, keep_looks)
            raised = one + self.written((self.scored(other) - self.scored(one)) * crowd.along)
            whole.append(self._with(raised, crowd, crowd.read(self.components(other))))
        return torch.cat(whole)

    def coordinates(self, identity: torch.Tensor) -> torch.Tensor:
        """The whitened coordinates [B, rank] that a key turns, of identity codes [B, L, dim], each's own."""
        return torch.cat([self.crowd(one, True).read(self.components(one)) for one in identity.split(1)])

    def telling(self, identity: torch.Tensor) -> torch.Tensor:
        """Those of the coordinates of codes [B, L, dim] that tell people apart best: [B, n], of mean 0 over people."""
        return self.coordinates(identity)[:, : self.ranks[0]]

    def resemblance(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """How alike people look to a face recogniser, by their identity codes [B, L, dim]: cosines [B]."""
        return F.cosine_similarity(self.components(one) @ self.recognised, self.components(other) @ self.recognised)

    def scored(self, identity: torch.Tensor) -> torch.Tensor:
        """Of codes [B, L, dim], [B]: below 0 for who looks like a woman, above for who looks like a man."""
        return (identity * self.score).sum((1, 2)) - self.middle

    def crowd(self, identity: torch.Tensor, keep_looks: bool) -> "Crowd":
        """The people among whom the new identity of a code [1, L, dim] is."""
        crowd = self.crowds[int(self.scored(identity) > 0) if keep_looks else -1]
        assert isinstance(crowd, Crowd)
        return crowd

    def middle_of(self, identity: torch.Tensor) -> torch.Tensor:
        """The mean identity code [1, L, dim] of the crowd that a code [1, L, dim] is like."""
        return self.mean + self.written(self.crowd(identity, True).centre)

    def turned(self, x: torch.Tensor, key: torch.Tensor, back: bool = False, unlinked: bool = False) -> torch.Tensor:
        """Whitened coordinates x [B, rank] under keys [B, PARTS, dim], there or back: [B, rank]."""
        parts = zip(self.turns, x.split(self.ranks, 1), key.unbind(1), strict=True)
        return torch.cat([turn(part, its, back, unlinked) for turn, part, its in parts], 1)

    def _turned(
        self, identity: torch.Tensor, key: torch.Tensor, crowd: "Crowd", back: bool, unlinked: bool
    ) -> torch.Tensor:
        x = self.turned(crowd.read(self.components(identity)), key, back, unlinked)
        return self._with(identity, crowd, crowd.among_people(x) if back else x)

    def _with(self, identity: torch.Tensor, crowd: "Crowd", x: torch.Tensor) -> torch.Tensor:
        """An identity code [1, L, dim] with coordinates x [1, rank]."""
        for _ in range(2):  # weights are rounded to fp16, so that once leaves an error of some thousandths
            change = x - crowd.read(self.components(identity))
            identity = identity + self.written(change @ crowd.colour)
        return identity

    def components(self, identity: torch.Tensor) -> torch.Tensor:
        """Identity codes [B, L, dim] -> [B, components]."""
        return torch.einsum("bld,ldc->bc", identity - self.mean, self.basis)

    def written(self, components: torch.Tensor) -> torch.Tensor:
        """The change [B, L, dim] of codes that goes with one of their components [B, components], or [components]."""
        return torch.einsum("bc,ldc->bld", torch.atleast_2d(components), self.basis)


class Crowd(nn.Module):
    """Identity coordinates of one kind of people: with a score up to 0 (women), above 0 (men), or all of them.

    Args:
        components, rank: as for `KRIA`.
        farthest: root mean square of the coordinates that few of these people exceed.
    """

    centre: torch.Tensor
    whiten: torch.Tensor
    colour: torch.Tensor
    along: torch.Tensor

    def __init__(self, components: int, rank: int, farthest: float) -> None:
        super().__init__()
        self.farthest = farthest
        self.register_buffer("centre", torch.zeros(components))  # their mean
        self.register_buffer("whiten", torch.zeros(components, rank))  # components -> coordinates of unit variance
        self.register_buffer("colour", torch.zeros(rank, components))  # and back: colour @ whiten = 1
        self.register_buffer("along", torch.zeros(components))  # raises the score by 1, and no coordinate

    def read(self, components: torch.Tensor) -> torch.Tensor:
        """components [B, components] -> whitened coordinates [B, rank]."""
        return (components - self.centre) @ self.whiten

    def among_people(self, x: torch.Tensor) -> torch.Tensor:
        """Whitened coordinates x [B, rank]; who is further out than `farthest` is drawn to a size of USUAL."""
        size = size_of(x)
        return x * torch.where(size > self.farthest, USUAL / size, 1)


class KeyedTurn(nn.Module):
    """Reflects, stretches, moves and limits some of the whitened coordinates: a part of them.

    What lies in the key's subspace changes its sign. With half of the dimensions the new coordinates would not
    correlate with the old ones, over keys, nor with those under another key. The subspace has LINKED of them, since
    what stays in a picture speaks for the old identity; with more, two keys' faces are too much alike. Of unlinked keys
    one is chosen that leads away from the old identity, so UNLINKED do, which gives more natural faces. A random matrix
    mixes the key and what it gives when its entries are passed on round and round: vectors that span the subspace.
    """

    key_centre: torch.Tensor
    key_scale: torch.Tensor
    mixer: torch.Tensor
    mover: torch.Tensor

    def __init__(self, rank: int, stretch: float, move: float, limit: float, dim: int) -> None:
        super().__init__()
        self.stretch, self.move, self.limit = stretch, move, limit
        self.register_buffer("key_centre", torch.zeros(dim))
        self.register_buffer("key_scale", torch.ones(dim))
        self.register_buffer("mixer", torch.zeros(dim, rank))  # key -> a vector of the span
        self.register_buffer("mover", torch.zeros(dim, rank))  # key -> move, of unit variance over keys

    def flips(self, unlinked: bool) -> int:
        """How many directions change their sign."""
        return round((UNLINKED if unlinked else LINKED) * self.mixer.shape[1])

    def forward(self, x: torch.Tensor, key: torch.Tensor, back: bool, unlinked: bool) -> torch.Tensor:
        """coordinates [B, rank], key [B, dim] -> [B, rank]."""
        key = (key - self.key_centre) / self.key_scale
        span = torch.stack([key.roll(places, 1) for places in range(self.flips(unlinked))], 1) @ self.mixer
        basis = torch.linalg.qr(span.transpose(1, 2)).Q  # [B, rank, turned]
        move = self.move * (key @ self.mover)  # [B, rank]
        if back:
            size = size_of(x) / self.limit
            free = x / size * torch.atanh(size.clamp(max=SHORT))
            return reflected((free - move) / self.stretch, basis)
        free = self.stretch * reflected(x, basis) + move
        size = size_of(free) / self.limit
        return free / size * torch.tanh(size)


def size_of(x: torch.Tensor) -> torch.Tensor:
    """The root mean square [B, 1] of each x [B, rank]."""
    return x.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)


def reflected(x: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """x [B, rank] across the complement of the span of `basis` [B, rank, turned]; the same for any basis of it."""
    return x - 2 * torch.einsum("brk,bsk,bs->br", basis, basis, x)
