"""Augmentation of generated faces towards photographs, of photographs, and things in front of faces."""

import torch
import torch.nn.functional as F

TURN, ZOOM, SHIFT = 0.04, 0.04, 0.02  # radians, share, half sides: what an alignment may be off
BEND = 0.03  # half sides, the largest standard deviation of the knots of a bent face
KNOTS = 5  # a side


def deform(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Faces that lie and are built a little differently: turned, shifted, scaled and bent, half of them mirrored.

    Args:
        x: [B, 3, S, S], any value range.
        rng: draws everything.

    Returns:
        [B, 3, S, S]; at the edge of a picture its border is repeated.
    """
    batch, size = len(x), x.shape[-1]

    def uniform(limit: float) -> torch.Tensor:
        return torch.empty(batch).uniform_(-limit, limit, generator=rng)

    turn, zoom = uniform(TURN), 1 + uniform(ZOOM)
    side = torch.where(torch.rand(batch, generator=rng) < 0.5, 1.0, -1.0)
    rows = [torch.stack([side * zoom, -turn, uniform(SHIFT)], 1), torch.stack([side * turn, zoom, uniform(SHIFT)], 1)]
    knots = BEND * torch.rand(batch, 1, 1, 1, generator=rng) * torch.randn(batch, 2, KNOTS, KNOTS, generator=rng)
    bend = F.interpolate(knots.to(x), size=size, mode="bicubic", align_corners=True)
    grid = F.affine_grid(torch.stack(rows, 1).to(x), list(x.shape), align_corners=False) + bend.permute(0, 2, 3, 1)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def relight(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Other contrast, light and tint in each picture [B, 3, S, S] in [-1, 1]; the result leaves the range a little."""

    def uniform(low: float, high: float, channels: int = 1) -> torch.Tensor:
        return torch.empty(len(x), channels, 1, 1).uniform_(low, high, generator=rng).to(x)

    return x * uniform(0.85, 1.15) + uniform(-0.12, 0.12) + uniform(-0.04, 0.04, 3)


def soften(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """The softness of small photographs: pictures [B, 3, S, S] by way of 72 to 200 px."""
    size = int(torch.randint(72, 200, (1,), generator=rng))
    small = F.interpolate(x, size=size, mode="bilinear", antialias=True)
    return F.interpolate(small, size=x.shape[-1], mode="bilinear")


def augment(x: torch.Tensor, mask: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Make generated faces look more like photographs; the code they stand for stays the same.

    Args:
        x: [B, 3, 256, 256] in [-1, 1].
        mask: [B, 1, 256, 256], what the encoder may see of them.
        rng: draws everything.

    Returns:
        [B, 3, 256, 256], masked.
    """
    batch = len(x)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.empty(batch, *shape, 1, 1).uniform_(low, high, generator=rng)

    turn = torch.empty(batch).uniform_(-0.04, 0.04, generator=rng)
    shift = torch.empty(batch, 2).uniform_(-0.03, 0.03, generator=rng)
    zoom = torch.empty(batch).uniform_(0.96, 1.04, generator=rng)
    rows = [torch.stack([zoom, -turn, shift[:, 0]], 1), torch.stack([turn, zoom, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    x = F.grid_sample(torch.cat([x, mask], 1), grid, padding_mode="reflection", align_corners=False)
    x, mask = x[:, :3], x[:, 3:]
    if torch.rand(1, generator=rng) < 0.5:
        x = soften(x, rng)
    if torch.rand(1, generator=rng) < 0.3:
        height, width = torch.randint(30, 110, (2,), generator=rng).tolist()
        top, left = torch.randint(60, 200, (2,), generator=rng).tolist()
        x = x.clone()
        x[:, :, top : top + height, left : left + width] = uniform(-1, 1, 3)
    x = relight(x, rng)
    return mask * (x + 0.03 * torch.randn(x.shape, generator=rng)).clamp(-1, 1)


def occlude(
    x: torch.Tensor, others: torch.Tensor, rng: torch.Generator, share: float = 0.7
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put a soft-edged ellipse or bar of another picture in front of some faces.

    Args:
        x: [B, 3, S, S] in [-1, 1].
        others: [B, 3, S, S], where the occluders' texture comes from.
        rng: draws everything.
        share: of the faces that are occluded.

    Returns:
        Pictures [B, 3, S, S] and the occluders' mask [B, 1, S, S] in [0, 1].
    """
    batch, size = len(x), x.shape[-1]

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.empty(batch, 1, 1).uniform_(low, high, generator=rng).to(x)

    steps = ((torch.arange(size) + 0.5) / size).to(x)
    across, down = steps[None, None, :] - uniform(0.25, 0.75), steps[None, :, None] - uniform(0.3, 0.85)
    angle = uniform(-1.5, 1.5)
    u = (across * angle.cos() + down * angle.sin()) / uniform(0.08, 0.3)
    v = (down * angle.cos() - across * angle.sin()) / uniform(0.04, 0.15)
    bar = torch.rand(batch, 1, 1, generator=rng).to(x) < 0.5
    reach = torch.where(bar, torch.maximum(u.abs(), v.abs()), (u.square() + v.square()).sqrt())
    mask = ((1 - reach) / 0.15 + 0.5).clamp(0, 1)
    mask = mask * (torch.rand(batch, 1, 1, generator=rng).to(x) < share)
    mask = mask[:, None]
    return x + mask * (others - x), mask
