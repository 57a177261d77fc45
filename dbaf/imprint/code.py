"""W+ codes to few bytes and back: coordinates that faces depend on, each with as many bits as it is worth.

The first are those, of encoded photographs, in which the look of a face changes most: the leading directions of what
gradients of identity and feature maps see of the codes (reduced-rank regression; Izenman, "Reduced-rank regression for
the multivariate linear model", 1975). Principal components of the codes, which know nothing of looks, take three times
as many. The others are leading gradients outside of these: refinement moves along all; without it codes lie along the
first ones.

Every coordinate has unit variance and is close to normal, so it takes the uniform quantiser that is best for those
(Max, "Quantizing for minimum distortion", 1960). Bits go where they take most of the error away.
"""

import hashlib

import torch
from torch import nn

# bits -> step of the best uniform quantiser of a standard normal, and the error that it leaves
STEPS = {1: 1.5957691, 2: 0.9956867, 3: 0.5860194, 4: 0.3352006, 5: 0.1881389, 6: 0.1040637}
EVERYTHING = 0.1  # weight of the codes' principal components, beside gradients of mean length 1
ERRORS = {0: 1.0, 1: 0.363380, 2: 0.118846, 3: 0.037440, 4: 0.011543, 5: 0.003495, 6: 0.001040}


class LatentCode(nn.Module):
    """W+ codes [L, dim] to bytes.

    Args:
        components: coordinates.
        natural: how many of them, the first, are of encoded photographs.
        spread: how far refined codes lie from the encoder's along the others, as a standard deviation.
        lengths: bytes of the codes that it makes, the longest first.
        styles: L.
        dim: width of the codes.
    """

    centre: torch.Tensor
    importance: torch.Tensor
    reading: torch.Tensor
    writing: torch.Tensor

    def __init__(
        self, components: int, natural: int, spread: float, lengths: tuple[int, ...], styles: int, dim: int = 512
    ) -> None:
        super().__init__()
        self.natural, self.spread, self.lengths, self.shape = natural, spread, tuple(lengths), (styles, dim)
        self.register_buffer("centre", torch.zeros(styles * dim))
        self.register_buffer("importance", torch.ones(components))  # relative; of the look's squared change
        self.register_buffer("reading", torch.zeros(natural, styles * dim))  # rows: (code - centre) -> coordinate
        self.register_buffer("writing", torch.zeros(components, styles * dim))  # and back; the others are their own

    @torch.no_grad()
    def fit(self, latent: torch.Tensor, gradients: torch.Tensor) -> None:
        """Choose the coordinates.

        Args:
            latent: W+ codes [N, L, dim] of photographs.
            gradients: [M, L * dim] of what matters about faces, by their W+ codes.
        """
        codes = latent.flatten(1)
        self.centre.copy_(codes.mean(0))
        codes = codes - self.centre
        _, _, axes = torch.pca_lowrank(codes, min(2 * self.natural, len(codes)), center=False, niter=6)
        # what few gradients do not show may matter in other faces: a little of everything that codes do
        seen = torch.cat([gradients / gradients.norm(dim=1).mean(), EVERYTHING * axes.T])  # [M + 2 natural, L * dim]
        views, sizes, _ = torch.linalg.svd(seen @ codes.T / len(codes) ** 0.5, full_matrices=False)
        read = (views[:, : self.natural] / sizes[: self.natural]).T @ seen  # [natural, L * dim]
        write = (codes @ read.T).T @ codes / len(codes)  # the mean code that goes with a coordinate
        inside = torch.linalg.qr(read.T).Q
        _, _, leading = torch.linalg.svd(gradients - gradients @ inside @ inside.T, full_matrices=False)
        others = leading[: len(self.writing) - self.natural]  # they move no coordinate of the first
        self.writing.copy_(torch.cat([write, self.spread * others]))
        self.reading.copy_(read)
        importance = (gradients @ self.writing.T).square().mean(0)
        self.importance.copy_(importance / importance.mean())

    @property
    def digest(self) -> bytes:
        """16 bytes that name these weights."""
        digest = hashlib.sha256()
        for tensor in (self.centre, self.importance, self.reading, self.writing):
            digest.update(tensor.half().cpu().numpy().tobytes())
        return digest.digest()[:16]

    def coordinates(self, latent: torch.Tensor) -> torch.Tensor:
        """W+ codes [B, L, dim] -> coordinates [B, components] of about unit variance."""
        off = latent.flatten(1).to(self.centre) - self.centre
        natural = off @ self.reading.T  # [B, natural]
        rest = off - natural @ self.writing[: self.natural]
        return torch.cat([natural, rest @ self.writing[self.natural :].T / self.spread**2], 1)

    def latent(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Coordinates [B, components] -> W+ codes [B, L, dim]."""
        return (self.centre + coordinates @ self.writing).view(-1, *self.shape)

    def pack(self, latent: torch.Tensor, length: int) -> bytes:
        """W+ code [L, dim] -> `length` bytes: of all coordinates, or of the natural ones alone if that is closer."""
        values = self.coordinates(latent[None])[0]

        def error(data: bytes) -> float:
            """The look's, of what comes back."""
            off = self.coordinates(self.unpack(data)[None])[0] - values
            return float((self.importance * off.square()).sum())

        return min((self._write(values, length, whole) for whole in (False, True)), key=error)

    def _write(self, values: torch.Tensor, length: int, whole: bool) -> bytes:
        """Coordinates [components] -> bytes, the first bit of which is `whole`."""
        number, count = int(whole), 1
        for value, bits in zip(values.tolist(), self._bits(length, whole), strict=True):
            if bits:
                level = round(value / STEPS[bits] + (2**bits - 1) / 2)
                number = number << bits | min(max(level, 0), 2**bits - 1)
                count += bits
        return (number << 8 * length - count).to_bytes(length, "big")

    def unpack(self, data: bytes) -> torch.Tensor:
        """Bytes of one of the `lengths` -> W+ code [L, dim]."""
        allotted = self._bits(len(data), whole=data[0] >= 128)
        number = int.from_bytes(data, "big") >> 8 * len(data) - 1 - sum(allotted)
        values = []
        for bits in reversed(allotted):
            level = number & (2**bits - 1)
            values.append((level - (2**bits - 1) / 2) * STEPS[bits] if bits else 0.0)
            number >>= bits
        return self.latent(torch.tensor([values[::-1]]).to(self.centre))[0]

    def _bits(self, length: int, whole: bool) -> list[int]:
        """Bits of every coordinate: each in turn goes where it takes most of the look's squared error away."""
        worth = self.importance.double().cpu()
        if not whole:
            worth[self.natural :] = 0
        errors = torch.tensor(list(ERRORS.values()), dtype=torch.float64)
        gains = worth[:, None] * (errors[:-1] - errors[1:])  # [components, 6], each row falls
        best = gains.flatten().argsort(descending=True, stable=True)[: 8 * length - 1]
        chosen = torch.zeros(gains.numel()).scatter_(0, best, 1.0).view_as(gains) * (gains > 0)
        return chosen.sum(1).int().tolist()
