"""MobileStyleGAN: StyleGAN2-FFHQ distilled into depthwise convolutions and inverse Haar wavelets.

Method: Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image
Synthesis", arXiv 2104.04767. The weights come from the PyPI wheel `random-face` (Apache-2.0) and are
converted by `dbaf.weights.convert`: demodulation, equalised learning rate and the wavelet's factor are
folded into them, and the noise inputs are constants.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.2


class Mapping(nn.Module):
    """z -> w: eight fully connected layers on the normalised z."""

    def __init__(self, dim: int = 512, layers: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """z ~ N(0, I) [B, dim] -> w [B, dim]."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return x


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution by a constant kernel. PyTorch's own gradient takes five times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """x [B, C, h, w], kernel [C, 1, 3, 3] -> [B, C, h, w]."""
        ctx.save_for_backward(kernel)
        ctx.dtype = x.dtype  # under autocast the result has another
        return F.conv2d(x, kernel, padding=1, groups=len(kernel))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The same with the kernel turned around."""
        (kernel,) = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        turned = kernel.flip(2, 3).to(gradient.dtype)
        return F.conv2d(gradient, turned, padding=1, groups=len(kernel)).to(ctx.dtype), None


def depthwise(x: torch.Tensor, style: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """x [B, C, h, w] times its style [B, C], each channel convolved with its kernel [C, 1, 3, 3] -> [B, C, h, w]."""
    if len(x) == 1 and not torch.is_grad_enabled():  # the kernel is much smaller than the map
        return F.conv2d(x, kernel * style.view(-1, 1, 1, 1), padding=1, groups=len(kernel))
    x = x * style[:, :, None, None]
    if x.requires_grad and not kernel.requires_grad and not torch.compiler.is_compiling():
        return _Depthwise.apply(x, kernel)
    return F.conv2d(x, kernel, padding=1, groups=len(kernel))


class StyledConv(nn.Module):
    """Modulate, convolve, add noise and bias, activate."""

    noise: torch.Tensor

    def __init__(self, dim: int, inner: int, outer: int, size: int, separable: bool = True) -> None:
        super().__init__()
        self.affine = nn.Linear(dim, inner)
        if separable:
            separate = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
            self.conv = nn.Sequential(separate, nn.Conv2d(inner, outer, 1))
        else:
            self.conv = nn.Sequential(nn.Conv2d(inner, outer, 3, padding=1))
        self.register_buffer("noise", torch.zeros(1, 1, size, size))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """x [B, inner, h, w], w [B, dim], noise [B, outer, h, w] or the constant one -> [B, outer, h, w]."""
        style = self.affine(w)
        if len(self.conv) > 1:
            x = depthwise(x, style, self.conv[0].get_parameter("weight"))
        else:
            x = x * style[:, :, None, None]
        x = self.conv[-1](x)
        x += self.noise if noise is None else noise  # in place: these maps are large
        return F.leaky_relu_(x, SLOPE)

    def coarse(self, x: torch.Tensor, w: torch.Tensor, halvings: int) -> torch.Tensor:
        """Approximation of `forward` at 1 / 2**halvings of its size: exact for the linear part of a smooth x."""
        separate, pointwise = self.conv
        assert isinstance(separate, nn.Conv2d)
        stretch = x.new_tensor([[0.5, 0, 0], [0.5, 1, 0.5], [0, 0, 0.5]])
        stretch = torch.linalg.matrix_power(stretch, halvings).to(separate.weight)
        x = depthwise(x, self.affine(w), stretch @ separate.weight @ stretch.T)
        x = pointwise(x)
        x += F.avg_pool2d(self.noise, 2**halvings)
        return F.leaky_relu_(x, SLOPE)


class UpBlock(nn.Module):
    """Inverse Haar wavelet to twice the size, then two styled convolutions."""

    def __init__(self, dim: int, inner: int, outer: int, size: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, inner)
        self.conv1 = StyledConv(dim, inner // 4, outer, size)
        self.conv2 = StyledConv(dim, outer, outer, size)

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, v: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x [B, inner, h, w], styles w (up and conv1) and v (conv2) [B, dim] -> [B, outer, 2h, 2w]."""
        x = inverse_haar(x * self.up(w)[:, :, None, None])  # [B, inner / 4, 2h, 2w]
        return self.conv2(self.conv1(x, w, noise), v, noise)


class MobileGenerator(nn.Module):
    """z -> w -> W+ -> picture. W+ has 3 entries a block as in the authors' code; those of the RGB heads that
    training dropped (all but the last) have no effect: see `active`.

    Args:
        channels: output channels at 4 px and of every following block, each twice the size of the last.
        dim: width of z and w.
    """

    mean_w: torch.Tensor

    def __init__(self, channels: list[int], dim: int = 512) -> None:
        super().__init__()
        self.dim = dim
        self.mapping = Mapping(dim)
        self.constant = nn.Parameter(torch.zeros(1, channels[0], 4, 4))
        self.first = StyledConv(dim, channels[0], channels[0], 4, separable=False)
        self.blocks = nn.ModuleList(
            UpBlock(dim, inner, outer, 2 ** (index + 3)) for index, (inner, outer) in enumerate(pairwise(channels))
        )
        self.to_image = StyledImage(dim, channels[-1])
        self.register_buffer("mean_w", torch.zeros(dim))

    @property
    def styles(self) -> int:
        """Number of entries L of a W+ code."""
        return 3 * len(self.blocks) + 2

    @property
    def active(self) -> list[int]:
        """Indices of the W+ entries that reach the picture."""
        used = [0] + [3 * block + k for block in range(len(self.blocks)) for k in (1, 2)]
        return [*used, 3 * len(self.blocks)]

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        return 2 ** (len(self.blocks) + 3)

    def widen(self, w: torch.Tensor) -> torch.Tensor:
        """w [B, dim] -> the same code at every style, W+ [B, L, dim]."""
        return w[:, None].expand(-1, self.styles, -1)

    def hidden(self, wplus: torch.Tensor, size: int, noise: dict[int, torch.Tensor] | None = None) -> torch.Tensor:
        """Feature map at `size` px: W+ [B, L, dim] -> [B, C, size, size]. `noise` as in `forward`."""
        noise = noise or {}
        x = self.first(self.constant.expand(len(wplus), -1, -1, -1), wplus[:, 0])
        for index, block in enumerate(self.blocks):
            if x.shape[-1] >= size:
                break
            x = block(x, wplus[:, 3 * index + 1], wplus[:, 3 * index + 2], noise.get(2 * x.shape[-1]))
        return x

    def preview(
        self, wplus: torch.Tensor, noise: dict[int, torch.Tensor] | None = None, size: int = 256
    ) -> torch.Tensor:
        """Small picture [B, 3, size, size] at a fraction of the cost, for training losses; 256 or 128 px.

        The blocks above `size` run on the low band of their wavelet only, with depthwise kernels stretched to match,
        and the low band of the RGB head is the picture: colours stay those of `forward`.
        """
        x = self.hidden(wplus, size, noise)
        for halvings, block in enumerate(self.blocks[size.bit_length() - 3 :], 1):
            assert isinstance(block, UpBlock)
            index = size.bit_length() - 4 + halvings
            w, v = wplus[:, 3 * index + 1], wplus[:, 3 * index + 2]
            low = x.shape[1] // 4
            x = x[:, :low] * block.up(w)[:, :low, None, None]
            x = block.conv2.coarse(block.conv1.coarse(x, w, halvings), v, halvings)
        head = self.to_image
        return head.conv(x * head.affine(wplus[:, 3 * len(self.blocks)])[:, :, None, None])[:, :3]

    def forward(self, wplus: torch.Tensor, noise: dict[int, torch.Tensor] | None = None) -> torch.Tensor:
        """Render.

        Args:
            wplus: W+ codes [B, L, dim].
            noise: resolution in px -> map [B, C, px, px] that takes the place of the noise of the two
                convolutions at that resolution (MAAR).

        Returns:
            Pictures [B, 3, size, size], nominally in [-1, 1], not clamped.
        """
        x = self.hidden(wplus, self.size // 2, noise)
        return self.to_image(x, wplus[:, 3 * len(self.blocks)])


class StyledImage(nn.Module):
    """Modulated 1x1 convolution to the 12 wavelet bands of an RGB picture."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.affine = nn.Linear(dim, inner)
        self.conv = nn.Conv2d(inner, 12, 1)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """x [B, inner, h, w], w [B, dim] -> RGB [B, 3, 2h, 2w]."""
        return inverse_haar(self.conv(x * self.affine(w)[:, :, None, None]))


def inverse_haar(x: torch.Tensor) -> torch.Tensor:
    """[B, 4C, h, w] -> [B, C, 2h, 2w]. The first C channels are the low band, then (LH, HL, HH) of each channel.

    The wavelet's factor 1/2 is left out: the weights before it carry it. Channels come last in memory, as convolutions
    want it: so this takes a third of the time of `pixel_shuffle`.
    """
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1)
    low = x[..., : channels // 4]
    lh, hl, hh = x[..., channels // 4 :].unflatten(3, (-1, 3)).unbind(4)
    top, bottom, left, right = low + lh, low - lh, hl + hh, hl - hh
    upper, lower = torch.stack([top + left, top - left], 3), torch.stack([bottom + right, bottom - right], 3)
    return torch.stack([upper, lower], 2).view(batch, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)
