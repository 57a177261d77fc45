"""Pre-norm transformer blocks over style tokens. Attention never crosses the batch axis."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn


class Attention(nn.Module):
    """Multi-head attention of x to a context; `head_dim` is the width of a head, width / heads if None."""

    def __init__(self, width: int, heads: int, head_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        inner = width if head_dim is None else heads * head_dim
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(width, 2 * inner, bias=False)
        self.out = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """x [B, N, width], context [B, M, width] -> [B, N, width]."""
        query = rearrange(self.query(x), "b n (h d) -> b h n d", h=self.heads)
        key, value = rearrange(self.key_value(context), "b m (two h d) -> two b h m d", two=2, h=self.heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(rearrange(mixed, "b h n d -> b n (h d)"))


class SelfBlock(nn.Module):
    """Self-attention, then an MLP, each on the normalised input and added to it."""

    def __init__(self, width: int, heads: int, mlp: int, head_dim: int | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_dim)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, N, width] -> [B, N, width]."""
        y = self.norm1(x)
        x = x + self.attention(y, y)
        return x + self.mlp(self.norm2(x))


class CrossBlock(nn.Module):
    """Attention to a context, then a self-attention block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.norm_context = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.block = SelfBlock(width, heads, 2 * width)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """x [B, N, width], context [B, M, width] -> [B, N, width]."""
        return self.block(x + self.attention(self.norm(x), self.norm_context(context)))
