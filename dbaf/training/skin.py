"""Colour tells what is no skin: hair and hats above the eyebrows, and face masks. Labels without a labeller."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from dbaf.faces.occlusion import above_brows, connected

# outlines in the face mesh of skin that is nearly always bare
BARE = (
    (117, 118, 119, 100, 126, 142, 36, 205, 187, 123),
    (346, 347, 348, 329, 355, 371, 266, 425, 411, 352),
    (6, 122, 196, 3, 51, 45, 4, 275, 281, 248, 419, 351),
)
DARK = 0.04  # added to colours before the logarithm
LEAST = (0.22, 0.06, 0.06)  # deviation of brightness and of two colour ratios that skin is always granted
FAR, SHARP = 2.6, 3.0  # deviations from which it is something else, and how sharply
SHINE = 2.5  # so much more may skin be brighter than usual than darker
CLOTHS, SKINS = 4, 3  # colours of a face mask, and of the skin around the eyes
BELOW = 0.035  # a face mask begins so far below the eyes, of the square


def not_skin(picture: torch.Tensor, mesh: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """How much of each place above the eyebrows is no skin.

    Args:
        picture: [3, S, S] in [-1, 1], FFHQ alignment.
        mesh: [468, 2] of its face, in square coordinates.
        inside: [S, S] bool, the outline of the face.

    Returns:
        [S, S] in [0, 1]; 0 below the eyebrows.
    """
    size = picture.shape[-1]
    logs = torch.log((picture + 1) / 2 + DARK)
    brightness = 0.3 * logs[0] + 0.59 * logs[1] + 0.11 * logs[2]
    colour = torch.stack([brightness, logs[0] - logs[1], logs[1] - logs[2]])  # [3, S, S]
    outlines = Image.new("L", (size, size))
    draw = ImageDraw.Draw(outlines)
    for points in BARE:
        draw.polygon([(x * size, y * size) for x, y in mesh[list(points)].tolist()], fill=1)
    bare = colour[:, torch.from_numpy(np.array(outlines)) > 0]  # [3, N]
    if bare.shape[1] == 0:
        return torch.zeros(size, size)
    middle = bare.median(1).values[:, None]
    deviation = 1.48 * (bare - middle).abs().median(1).values + torch.tensor(LEAST)
    apart = (colour - middle[..., None]) / deviation[:, None, None]
    apart[0] = torch.where(apart[0] > 0, apart[0] / SHINE, apart[0])
    away = apart.square().sum(0).sqrt()
    found = torch.sigmoid((away - FAR) * SHARP) * above_brows(mesh, size)[0, 0]
    return found * _from_outside(found > 0.5, inside)


def cloth(picture: torch.Tensor, mesh: torch.Tensor, inside: torch.Tensor, certain: torch.Tensor) -> torch.Tensor:
    """Where a face mask is, by the colours of a part that it surely covers and of the skin around the eyes.

    Args:
        picture: [3, S, S] in [-1, 1], FFHQ alignment.
        mesh: [468, 2] of its face, in square coordinates.
        inside: [S, S] bool, the outline of the face.
        certain: [S, S] bool, where the face mask surely is.

    Returns:
        [S, S] bool.
    """
    size = picture.shape[-1]
    soft = F.avg_pool2d(picture[None], 3, 1, 1)[0]
    colour = torch.stack([soft.mean(0), 2 * (soft[0] - soft[1]), 2 * (soft[1] - soft[2])])  # [3, S, S]
    rows = (torch.arange(size)[:, None] + 0.5) / size
    eyes, brows = mesh[[33, 133, 362, 263], 1].mean(), mesh[[105, 334], 1].mean()
    skin = inside & (rows < eyes) & (rows > brows - 0.06)
    pixels = colour.flatten(1).T  # [S * S, 3]
    as_cloth, as_skin = (
        torch.cdist(pixels, _centres(colour[:, part].T, count)).amin(1).view(size, size)
        for part, count in ((certain, CLOTHS), (skin, SKINS))
    )
    found = ((as_cloth < as_skin) | certain) & inside & (rows > eyes + BELOW)
    found = F.avg_pool2d(found.float()[None, None], 9, 1, 4)[0, 0] > 0.5
    grown = connected(found[None], certain[None])[0]
    closed = -F.max_pool2d(-F.max_pool2d(grown[None, None].float(), 7, 1, 3), 7, 1, 3)
    return (closed[0, 0] > 0) & inside


def _centres(points: torch.Tensor, count: int) -> torch.Tensor:
    """k-means: `count` centres [count, D] of points [N, D]."""
    centres = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:count]]
    for _ in range(15):
        nearest = torch.cdist(points, centres).argmin(1)
        own = [points[nearest == index] for index in range(len(centres))]
        centres = torch.stack([part.mean(0) if len(part) else old for part, old in zip(own, centres, strict=True)])
    return centres


def _from_outside(found: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The part of `found` [S, S] bool that hangs together with what is found outside of `inside` [S, S] bool.

    Hair and hats come in from outside; what does not is a highlight or a wrinkle.
    """
    return F.max_pool2d(connected(found[None], ~inside[None])[None].float(), 5, 1, 2)[0, 0]
