"""The fully connected layer of the StyleGAN papers and of what builds on them: e4e, and the MLP of DBAF's KRIA."""

import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.2
GAIN = 2**0.5  # keeps the variance over the activation


class EqualLinear(nn.Module):
    """Linear layer whose weights are stored at unit variance and scaled when used, so that all of them learn at the
    same rate (Karras et al., "Progressive Growing of GANs", arXiv 1710.10196, section 4.1).

    Args:
        inner: width of the input.
        outer: width of the output.
        rate: of learning, relative to other layers.
        bias: to start from.
        active: a leaky ReLU follows.
    """

    def __init__(self, inner: int, outer: int, rate: float = 1.0, bias: float = 0.0, active: bool = False) -> None:
        super().__init__()
        self.rate, self.active = rate, active
        self.weight = nn.Parameter(torch.randn(outer, inner) / rate)
        self.bias = nn.Parameter(torch.full((outer,), bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., inner] -> [..., outer]."""
        x = F.linear(x, self.weight * (self.rate / self.weight.shape[1] ** 0.5), self.bias * self.rate)
        return GAIN * F.leaky_relu(x, SLOPE) if self.active else x
