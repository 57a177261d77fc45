"""What is in front of a face, or on top of it, and is no facial skin: hair, hats, masks, hands, frames of glasses.

Such pixels stay in the picture as they are. The network is ours: a MobileNetV2 (`dbaf.encoders.mobilenet`) up to stride
16, and a feature pyramid (Lin et al., arXiv 1612.03144) back to stride 2.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.encoders.mobilenet import CHANNELS, TAPS, MobileNetV2
from dbaf.faces.face import BROWS, LEFT_EYE, RIGHT_EYE

SIZE = 256  # px of the aligned face that it looks at
STRIDES = (2, 4, 8, 16)
STRIDE_2 = 1  # index in MobileNetV2's `features` of the last layer at that stride
WIDTH = {2: 16} | CHANNELS
# probabilities from which a place counts as in front of a face, from which it counts whole, and which a thing in front
# reaches somewhere if it is beneath the nose: hands, masks and long hair reach .99 there, beards and highlights .98
FRONT = (0.35, 0.65, 0.985)
STRANDS = (0.15, 0.4, 0.15)  # of hair in a new face: a place too many costs little, a strand that is cut off is seen
BELOW = 0.62  # of the square: that is beneath the nose
GROWTH = 40  # steps of growth from the edge of a face, each by two of 128 pixels
SPREAD, SOFT = 14, 6  # px by which hair of new faces is widened, and over which its edge is softened
CLEAR = 0.03  # what is above the eyebrows begins so far from them, in sides of the square


class OcclusionNet(nn.Module):
    """Aligned face -> how much of each place is in front of it.

    Args:
        width: channels of the pyramid.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.taps = {STRIDE_2: 2} | {index: stride for index, stride in TAPS.items() if stride <= max(STRIDES)}
        self.features = nn.Sequential(*list(MobileNetV2().features)[: max(self.taps) + 1])
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(WIDTH[s], width, 1) for s in STRIDES})
        self.smooth = nn.ModuleDict(
            {
                str(s): nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.Conv2d(width, width, 1))
                for s in STRIDES
            }
        )
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, 256, 256] in [-1, 1], FFHQ alignment -> logits [B, 1, 128, 128]; positive: in front."""
        maps, x = {}, pictures
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps[self.taps[index]] = x
        top: torch.Tensor | None = None
        for stride in reversed(STRIDES):
            level = self.lateral[str(stride)](maps[stride])
            if top is not None:
                level = level + F.interpolate(top, scale_factor=2.0, mode="bilinear", align_corners=False)
            top = F.relu(level + self.smooth[str(stride)](level))
        return self.head(top)

    @torch.no_grad()
    def front(
        self, pictures: torch.Tensor, inside: torch.Tensor, counts: tuple[float, float, float] = FRONT
    ) -> torch.Tensor:
        """What is in front of faces and stays.

        Args:
            pictures: [B, 3, 256, 256] in [-1, 1], FFHQ alignment.
            inside: [B, 1, 256, 256] in [0, 1], `inner_mask` of the faces. What does not reach its edge is a feature of
                the face, or a highlight: hair, hands and masks come from somewhere. So is, beneath the nose, what the
                network is nowhere sure of.
            counts: FRONT or STRANDS.

        Returns:
            [B, 1, 256, 256] in [0, 1].
        """
        low, high, sure = counts
        found = self(pictures).sigmoid()  # [B, 1, 128, 128]
        inner = F.interpolate(inside, size=found.shape[-1], mode="area")
        reached = connected(found > low, inner < 1)
        certain = connected(reached, (found > sure) & (inner > 0))
        certain[:, :, : round(BELOW * found.shape[-1])] = True
        found = F.interpolate(found * (reached & certain), size=SIZE, mode="bilinear", align_corners=False)
        ramp = ((found - low) / (high - low)).clamp(0, 1)
        return ramp * ramp * (3 - 2 * ramp)


def connected(room: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The part of `room` that hangs together with `start`, both [B, 1, S, S] or [1, S, S] bool, as is the result."""
    space = room.float()
    grown = space * start
    for _ in range(GROWTH):
        before, grown = grown, space * F.max_pool2d(grown, 5, 1, 2)
        if torch.equal(before, grown):
            break
    return grown > 0


def above_brows(mesh: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """What lies above the eyebrows of a mesh [468, 2] in square coordinates: [1, 1, size, size] in [0, 1]."""
    brows = mesh[list(BROWS)].float().cpu()
    brows = brows[brows[:, 0].argsort()]
    steps = (torch.arange(size) + 0.5) / size
    right = torch.searchsorted(brows[:, 0].contiguous(), steps).clamp(1, len(brows) - 1)
    (x0, y0), (x1, y1) = brows[right - 1].T, brows[right].T
    share = ((steps - x0) / (x1 - x0).clamp(min=1e-6)).clamp(0, 1)  # level beyond the outer ends
    line = y0 + share * (y1 - y0)  # [size]
    return ((line[None, :] - steps[:, None]) / CLEAR).clamp(0, 1)[None, None]


def around_features(mesh: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """Where hair hangs into a face, above the eyebrows and beside the eyes of a mesh [468, 2] in square coordinates.

    Returns:
        [1, 1, size, size] in [0, 1]. Frames of glasses, moustaches and lips are elsewhere.
    """
    steps = (torch.arange(size) + 0.5) / size
    left, right = float(mesh[LEFT_EYE[0], 0]), float(mesh[RIGHT_EYE[3], 0])  # outer corners
    beside = torch.maximum(left - steps, steps - right) / CLEAR - 0.5
    return torch.maximum(above_brows(mesh, size), beside.clamp(0, 1)[None, None, None, :])


def spread(front: torch.Tensor) -> torch.Tensor:
    """What is in front [B, 1, 256, 256] in [0, 1], wider by SPREAD pixels, with a soft edge."""
    wide = F.max_pool2d(front, 2 * (SPREAD + SOFT) + 1, 1, SPREAD + SOFT)
    return F.avg_pool2d(wide, 2 * SOFT + 1, 1, SOFT, count_include_pad=False)
