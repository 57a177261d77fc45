"""W+ codes to few bytes and back: principal components, each with as many bits as it is worth.

Every coordinate has unit variance and is close to normal, so it takes the uniform quantiser that is best for those
(Max, "Quantizing for minimum distortion", 1960). Bits go where they take most of the error away.
"""

import hashlib

import torch
from torch import nn

# bits -> step of the best uniform quantiser of a standard normal, and the error that it leaves
STEPS = {1: 1.5957691, 2: 0.9956867, 3: 0.5860194, 4: 0.3352006, 5: 0.1881389, 6: 0.1040637}
ERRORS = {0: 1.0, 1: 0.363380, 2: 0.118846, 3: 0.037440, 4: 0.011543, 5: 0.003495, 6: 0.001040}


class LatentCode(nn.Module):
    """W+ codes [L, dim] to bytes.

    Args:
        components: coordinates.
        lengths: bytes of the codes that it makes, the longest first.
        styles: L.
        dim: width of the codes.
    """

    centre: torch.Tensor
    deviation: torch.Tensor
    directions: torch.Tensor

    def __init__(self, components: int, lengths: tuple[int, ...], styles: int, dim: int = 512) -> None:
        super().__init__()
        self.lengths, self.shape = tuple(lengths), (styles, dim)
        self.register_buffer("centre", torch.zeros(styles * dim))
        self.register_buffer("deviation", torch.ones(components))
        self.register_buffer("directions", torch.zeros(components, styles * dim))  # orthonormal rows

    @torch.no_grad()
    def fit(self, latent: torch.Tensor) -> None:
        """Set the coordinates to the principal components of W+ codes [N, L, dim]."""
        codes = latent.flatten(1)
        self.centre.copy_(codes.mean(0))
        _, _, directions = torch.pca_lowrank(codes - self.centre, len(self.deviation), center=False, niter=6)
        self.directions.copy_(directions.T)
        self.deviation.copy_(((codes - self.centre) @ directions).std(0))

    @property
    def digest(self) -> bytes:
        """16 bytes that name these weights."""
        digest = hashlib.sha256()
        for tensor in (self.centre, self.deviation, self.directions):
            digest.update(tensor.half().cpu().numpy().tobytes())
        return digest.digest()[:16]

    def pack(self, latent: torch.Tensor, length: int) -> bytes:
        """W+ code [L, dim] -> `length` bytes."""
        values = (self.directions @ (latent.flatten().to(self.centre) - self.centre)) / self.deviation
        number = count = 0
        for value, bits in zip(values.tolist(), self._bits(length), strict=True):
            if bits:
                level = round(value / STEPS[bits] + (2**bits - 1) / 2)
                number = number << bits | min(max(level, 0), 2**bits - 1)
                count += bits
        return (number << 8 * length - count).to_bytes(length, "big")

    def unpack(self, data: bytes) -> torch.Tensor:
        """Bytes of one of the `lengths` -> W+ code [L, dim]."""
        allotted = self._bits(len(data))
        number = int.from_bytes(data, "big") >> 8 * len(data) - sum(allotted)
        values = []
        for bits in reversed(allotted):
            level = number & (2**bits - 1)
            values.append((level - (2**bits - 1) / 2) * STEPS[bits] if bits else 0.0)
            number >>= bits
        scaled = torch.tensor(values[::-1]).to(self.centre) * self.deviation
        return (self.centre + scaled @ self.directions).view(self.shape)

    def _bits(self, length: int) -> list[int]:
        """Bits of every coordinate: each in turn goes where it takes most of the squared error away."""
        variance = self.deviation.square().tolist()
        bits = [0] * len(variance)
        gains = [value * (ERRORS[0] - ERRORS[1]) for value in variance]
        for _ in range(8 * length):
            best = max(range(len(gains)), key=gains.__getitem__)
            if gains[best] <= 0:  # all have as many as there can be
                break
            bits[best] += 1
            now = bits[best]
            gains[best] = variance[best] * (ERRORS[now] - ERRORS[now + 1]) if now < max(STEPS) else 0.0
        return bits
