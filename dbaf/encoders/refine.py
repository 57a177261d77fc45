"""From the encoder's guess to a code that follows the face more closely.

`feedback` runs for encoders of ours: what the encoder makes of its own reconstruction tells in which direction it errs.
In ReStyle (Alaluf et al., arXiv 2104.02699) a network is trained to look at both; the plain difference does here.

`refine` is for users who have time: latent optimisation as in Abdal et al., "Image2StyleGAN" (arXiv 1904.03189), with
the generator's preview in place of the whole picture, and the encoder's own maps for perceptual features, so that it
needs no other network. It moves the code along the axes of `LatentCode` only: what it finds, an imprint can carry.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from dbaf.encoders import Encoder
from dbaf.generators import Generator
from dbaf.imprint import LatentCode

RATE = 0.1  # of Adam, in standard deviations of each component
SMALL, LARGE = 128, 256  # px of the previews; the last quarter of the steps sees the large one
PIXELS, PERCEPTUAL, PULL = 1.0, 1.0, 0.01
LEAST = 0.01  # share of the picture that counts at least: of a face behind a mask and a hat nothing may be left


def feedback(generator: Generator, encoder: Encoder, seen: torch.Tensor, wplus: torch.Tensor) -> torch.Tensor:
    """Correct the encoder's codes by what it makes of their pictures.

    Args:
        generator, encoder: of one bundle.
        seen: [B, 1, 256, 256] in [0, 1], the part of the pictures that the encoder saw.
        wplus: its codes [B, L, dim] of them.

    Returns:
        W+ codes [B, L, dim].
    """
    echo, _ = encoder(generator.preview(wplus) * seen)
    return wplus + encoder.feedback * (wplus - echo)


@torch.inference_mode(False)  # ComfyUI runs nodes in it, where there are no gradients
@torch.enable_grad()
def refine(
    generator: Generator,
    encoder: Encoder,
    components: LatentCode,
    picture: torch.Tensor,
    seen: torch.Tensor,
    wplus: torch.Tensor,
    steps: int,
    stepped: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Improve the code of one face.

    Args:
        generator, encoder, components: of one bundle, frozen.
        picture: [1, 3, 256, 256] in [-1, 1], FFHQ alignment.
        seen: [1, 1, 256, 256] in [0, 1], the part of it that counts: it is all that will be replaced.
        wplus: the encoder's code [1, L, dim] of that.
        steps: of Adam; 40 are a good number.
        stepped: called after each step.

    Returns:
        W+ code [1, L, dim].
    """
    picture, seen = picture * seen, seen.clone()  # those made in inference mode cannot take part
    start = components.coordinates(wplus.clone())  # [1, components]
    offset = torch.zeros_like(start, requires_grad=True)
    optimiser = torch.optim.Adam([offset], RATE, betas=(0.9, 0.99))
    targets = {size: F.interpolate(picture, size=size, mode="area") for size in (SMALL, LARGE)}
    parts = {size: F.interpolate(seen, size=size, mode="area") for size in (SMALL, LARGE)}
    features = {size: feature_maps(encoder, target) for size, target in targets.items()}
    for step in range(steps):
        size = SMALL if step < 0.75 * steps else LARGE
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, 4 * (1 - step / steps))
        rendered = generator.preview(components.latent(start + offset), size=size) * parts[size]
        error = (rendered - targets[size]) / parts[size].mean().clamp(min=LEAST)
        pixels = error.abs().mean() + F.avg_pool2d(error, size // 32).abs().mean()
        pairs = zip(feature_maps(encoder, rendered), features[size], strict=True)
        perceptual = torch.stack([(one - other).square().sum(1).mean() for one, other in pairs]).mean()
        loss = PIXELS * pixels + PERCEPTUAL * perceptual + PULL * offset.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        stepped()
    return components.latent(start + offset).detach()


def feature_maps(encoder: Encoder, picture: torch.Tensor) -> list[torch.Tensor]:
    """Maps of the backbone at strides 4, 8 and 16, of unit length in every place."""
    maps = encoder.backbone(picture)
    return [F.normalize(maps[stride], dim=1) for stride in (4, 8, 16)]
