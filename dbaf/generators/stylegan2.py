"""StyleGAN2, config-f (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", arXiv 1912.04958).

In plain tensor code: the filters of the released compiled extensions are a convolution with the kernel [1, 3, 3, 1].
Weights of others are converted by `dbaf.weights.convert_stylegan2`.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.equal_linear import GAIN, SLOPE, EqualLinear

BLUR = (1.0, 3.0, 3.0, 1.0)
DEPTH = 8  # layers of the mapping network
RATE = 0.01  # at which they learn
EPSILON = 1e-8


class Mapping(nn.Module):
    """z -> w: fully connected layers on the normalised z."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(EqualLinear(dim, dim, RATE, active=True) for _ in range(DEPTH)))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """z ~ N(0, I) [B, dim] -> w [B, dim]."""
        return self.layers(z * torch.rsqrt(z.square().mean(1, keepdim=True) + EPSILON))


class ModulatedConv(nn.Module):
    """Convolution whose input channels a style scales; demodulation makes its output one of unit variance again.

    The scales go to the maps before and after the convolution and not into the kernel: the same by linearity, and a
    batch shares one kernel.

    Args:
        dim: width of w.
        inner: channels of the input.
        outer: channels of the output.
        size: side of the kernel.
        up: double the size of the map.
        demodulate: as above.
    """

    kernel: torch.Tensor

    def __init__(self, dim: int, inner: int, outer: int, size: int, up: bool = False, demodulate: bool = True) -> None:
        super().__init__()
        self.up, self.demodulate = up, demodulate
        self.affine = EqualLinear(dim, inner, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outer, inner, size, size))
        self.register_buffer("kernel", blur_kernel(), persistent=False)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """x [B, inner, h, w], w [B, dim] -> [B, outer, h, w], or twice that size."""
        style = self.affine(w)  # [B, inner]
        weight = self.weight / self.weight[0].numel() ** 0.5
        x = x * style[:, :, None, None]
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [B, outer, 2h + 1, 2w + 1]
            x = F.conv2d(x, self.kernel.expand(len(weight), -1, -1, -1), padding=1, groups=len(weight))
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if self.demodulate:
            power = style.square() @ weight.square().sum((2, 3)).T  # [B, outer]
            x = x * torch.rsqrt(power + EPSILON)[:, :, None, None]
        return x


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, activation."""

    noise: torch.Tensor

    def __init__(self, dim: int, inner: int, outer: int, size: int, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(dim, inner, outer, 3, up)
        self.strength = nn.Parameter(torch.zeros(1))  # of the noise
        self.bias = nn.Parameter(torch.zeros(outer))
        self.register_buffer("noise", torch.zeros(1, 1, size, size))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """x [B, inner, h, w], w [B, dim], noise [B, outer, size, size] or the stored one -> [B, outer, size, size]."""
        x = self.conv(x, w) + self.strength * (self.noise if noise is None else noise)
        return GAIN * F.leaky_relu(x + self.bias[:, None, None], SLOPE)


class StyledImage(nn.Module):
    """Modulated 1x1 convolution to RGB, added to the picture of half the size."""

    kernel: torch.Tensor

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(dim, inner, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("kernel", blur_kernel().expand(3, 1, -1, -1).contiguous(), persistent=False)

    def forward(self, x: torch.Tensor, w: torch.Tensor, half: torch.Tensor | None = None) -> torch.Tensor:
        """x [B, inner, h, w], w [B, dim], half [B, 3, h / 2, w / 2] -> [B, 3, h, w]."""
        x = self.conv(x, w) + self.bias[:, None, None]
        return x if half is None else x + F.conv_transpose2d(half, self.kernel, stride=2, padding=1, groups=3)


class Block(nn.Module):
    """Two styled convolutions, of which the first doubles the size, and what they add to the picture."""

    def __init__(self, dim: int, inner: int, outer: int, size: int) -> None:
        super().__init__()
        self.conv1 = StyledConv(dim, inner, outer, size, up=True)
        self.conv2 = StyledConv(dim, outer, outer, size)
        self.image = StyledImage(dim, outer)

    def forward(
        self, x: torch.Tensor, picture: torch.Tensor, styles: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """x [B, inner, h, w], picture [B, 3, h, w], styles [B, 3, dim] -> the same at twice the size."""
        x = self.conv1(x, styles[:, 0], noise)
        x = self.conv2(x, styles[:, 1], noise)
        return x, self.image(x, styles[:, 2], picture)


class StyleGAN2(nn.Module):
    """z -> w -> W+ -> picture. Neighbouring blocks share a style: the image of one takes that of the next one's conv1.

    Args:
        channels: of the maps at 4 px and of every following block, each twice the size of the last. Config-f has
            512 up to 64 px, then 256, 128, 64, 32.
        dim: width of z and w.
    """

    mean_w: torch.Tensor

    def __init__(self, channels: list[int], dim: int = 512) -> None:
        super().__init__()
        self.dim = dim
        self.mapping = Mapping(dim)
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.first = StyledConv(dim, channels[0], channels[0], 4)
        self.image = StyledImage(dim, channels[0])
        self.blocks = nn.ModuleList(
            Block(dim, inner, outer, 2 ** (index + 3)) for index, (inner, outer) in enumerate(pairwise(channels))
        )
        self.register_buffer("mean_w", torch.zeros(dim))

    @property
    def styles(self) -> int:
        """Number of entries L of a W+ code."""
        return 2 * len(self.blocks) + 2

    @property
    def active(self) -> list[int]:
        """Indices of the W+ entries that reach the picture: all."""
        return list(range(self.styles))

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        return 2 ** (len(self.blocks) + 2)

    def widen(self, w: torch.Tensor) -> torch.Tensor:
        """w [B, dim] -> the same code at every style, W+ [B, L, dim]."""
        return w[:, None].expand(-1, self.styles, -1)

    def preview(
        self, wplus: torch.Tensor, noise: dict[int, torch.Tensor] | None = None, size: int = 256
    ) -> torch.Tensor:
        """The picture at a smaller size: [B, 3, size, size]. No cheaper than `forward`."""
        return F.interpolate(self(wplus, noise), size=size, mode="area")

    def forward(self, wplus: torch.Tensor, noise: dict[int, torch.Tensor] | None = None) -> torch.Tensor:
        """Render.

        Args:
            wplus: W+ codes [B, L, dim].
            noise: resolution in px -> map [B, C, px, px] that takes the place of the stored noise of the two
                convolutions at that resolution (MAAR); their learned strength applies to it as well.

        Returns:
            Pictures [B, 3, size, size], nominally in [-1, 1], not clamped.
        """
        noise = noise or {}
        x = self.first(self.constant.expand(len(wplus), -1, -1, -1), wplus[:, 0])
        picture = self.image(x, wplus[:, 1])
        for index, block in enumerate(self.blocks):
            styles = wplus[:, 2 * index + 1 : 2 * index + 4]
            x, picture = block(x, picture, styles, noise.get(2 * x.shape[-1]))
        return picture


def blur_kernel() -> torch.Tensor:
    """[1, 1, 4, 4] of sum 4: each of the four pixels that one becomes gets its share."""
    line = torch.tensor(BLUR)
    return 4 * (line[:, None] * line / line.sum() ** 2)[None, None]
