"""Colour and sharpness of a new face matched to the picture that it is put into."""

import math

import torch
import torch.nn.functional as F

REACH = 0.10  # sigma of the correction's blur, of the square: far coarser than any feature of a face
OUTLIER = 0.35  # log ratio from the common one at which skin against hair or background stops counting
LIMIT = math.log(2.0)  # largest gain
DIFFERENT = 0.25  # difference, of the range of 2, from which two surroundings are different things
COARSEST = 32  # px of the square, where octaves in which detail is compared end: eyes and mouths are larger than they
LEAST, MOST = 0.6, 1.6  # of the factors on detail
DARK = 0.03  # added to both sides of a ratio, so that nearly black pixels have one


def seam_gain(old: torch.Tensor, new: torch.Tensor, band: torch.Tensor) -> torch.Tensor:
    """Smooth log gain [1, 3, S, S] that gives the new face the light and colour that the picture has at the seam.

    Only the seam is compared, never the inside of the face, and only coarsely: no feature of the old face comes back.

    Args:
        old: [1, 3, S, S] in [-1, 1], the picture under the FFHQ square.
        new: the same of the new face.
        band: [1, 1, S, S], weight of each pixel: large at the seam, 0 elsewhere.
    """
    if float(band.sum()) <= 0:
        return torch.zeros_like(new)
    ratio = torch.log(((old + 1) / 2 + DARK) / ((new + 1) / 2 + DARK))  # [1, 3, S, S]
    common = ratio[:, :, band[0, 0] > 0.5 * band.amax()].median(dim=2).values[..., None, None]
    # what differs much from the common ratio is another thing (hair, an ear, the wall), not another light
    weight = band * torch.exp(-((ratio - common).square().mean(dim=1, keepdim=True)) / OUTLIER**2)
    sigma = REACH * band.shape[-1]
    total = _blur(weight, sigma)
    floor = 0.05 * float(total.amax()) + 1e-6  # deep inside, where the seam is far, the common ratio takes over
    local = (_blur(weight * (ratio - common), sigma)) / (total + floor)
    return (common + local).clamp(-LIMIT, LIMIT)


def agreement(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """How alike two pictures [1, 3, S, S] look from afar: [1, 1, S, S], 1 the same, 0 different things."""
    apart = _blur((old - new).abs().amax(dim=1, keepdim=True), 0.012 * old.shape[-1])
    return torch.exp(-((apart / DIFFERENT).square()))


def apply_gain(patch: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Picture [1, 3, H, W] in [-1, 1] under the log gain of `seam_gain`; what is dark stays dark."""
    return (((patch + 1) / 2 + DARK) * gain.exp() - DARK).clamp(0, 1) * 2 - 1


def match_detail(new: torch.Tensor, old: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """A new face that is as sharp, or as soft, as the old one was.

    Of each band of a Laplacian pyramid (Burt & Adelson 1983) one number is compared, its mean contrast in the whole
    face, so that no feature of the old face comes back.

    Args:
        new, old: [1, 3, S, S] in [-1, 1].
        inside: [1, 1, S, S], weight of each pixel.

    Returns:
        [1, 3, S, S] in [-1, 1].
    """
    bands = []
    while new.shape[-1] > COARSEST:
        size = new.shape[-1]
        new_half, old_half, inside_half = (F.avg_pool2d(one, 2, ceil_mode=True) for one in (new, old, inside))
        band, wanted = (one - _enlarged(half, size) for one, half in ((new, new_half), (old, old_half)))
        factor = ((inside * wanted).abs().sum() + 1e-6) / ((inside * band).abs().sum() + 1e-6)
        bands.append(band * factor.clamp(LEAST, MOST))
        new, old, inside = new_half, old_half, inside_half
    for band in reversed(bands):
        new = _enlarged(new, band.shape[-1]) + band
    return new.clamp(-1, 1)


def _enlarged(picture: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(picture, size=size, mode="bilinear", align_corners=False)


def _blur(picture: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur, zero outside."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).to(picture)
    taps = (taps / taps.sum()).expand(picture.shape[1], 1, 1, -1)
    picture = F.conv2d(F.pad(picture, (radius, radius, 0, 0)), taps, groups=picture.shape[1])
    return F.conv2d(F.pad(picture, (0, 0, radius, radius)), taps.transpose(2, 3), groups=picture.shape[1])
