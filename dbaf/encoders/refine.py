"""Latent optimisation from the encoder's guess, for users who have time: it follows a face more closely.

As in Abdal et al., "Image2StyleGAN" (arXiv 1904.03189), with the generator's preview in place of the whole picture,
and the encoder's own maps for perceptual features, so that it needs no other network.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from dbaf.encoders.compact import CompactEncoder
from dbaf.generators.mobile import MobileGenerator

RATE = 0.05  # of Adam, in standard deviations of w
SMALL, LARGE = 128, 256  # px of the previews; the last quarter of the steps sees the large one
PIXELS, PERCEPTUAL, PULL = 1.0, 1.0, 0.01


@torch.inference_mode(False)  # ComfyUI runs nodes in it, where there are no gradients
@torch.enable_grad()
def refine(
    generator: MobileGenerator,
    encoder: CompactEncoder,
    picture: torch.Tensor,
    wplus: torch.Tensor,
    steps: int,
    stepped: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Improve the code of one face.

    Args:
        generator, encoder: of one bundle, frozen.
        picture: [1, 3, 256, 256] in [-1, 1], FFHQ alignment.
        wplus: the encoder's code [1, L, dim] of it.
        steps: of Adam; 40 are a good number.
        stepped: called after each step.

    Returns:
        W+ code [1, L, dim].
    """
    picture, wplus = picture.clone(), wplus.clone()  # those made in inference mode cannot take part
    offset = torch.zeros_like(wplus, requires_grad=True)  # in standard deviations of w
    optimiser = torch.optim.Adam([offset], RATE, betas=(0.9, 0.99))
    active = wplus.new_zeros(wplus.shape[1], 1)
    active[encoder.active] = 1
    targets = {size: F.interpolate(picture, size=size, mode="area") for size in (SMALL, LARGE)}
    features = {size: _features(encoder, target) for size, target in targets.items()}
    for step in range(steps):
        size = SMALL if step < 0.75 * steps else LARGE
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, 4 * (1 - step / steps))
        rendered = generator.preview(wplus + offset * encoder.scale, size=size)
        weights = face_weights(size).to(rendered)
        error = weights * (rendered - targets[size])
        pixels = error.abs().mean() + F.avg_pool2d(error, size // 32).abs().mean()
        pairs = zip(_features(encoder, rendered), features[size], strict=True)
        perceptual = torch.stack([(one - other).square().sum(1).mean() for one, other in pairs]).mean()
        loss = PIXELS * pixels + PERCEPTUAL * perceptual + PULL * offset.square().mean()
        optimiser.zero_grad()
        loss.backward()
        assert offset.grad is not None
        offset.grad *= active
        optimiser.step()
        stepped()
    return (wplus + offset * encoder.scale).detach()


def face_weights(size: int) -> torch.Tensor:
    """[1, 1, size, size] of mean 1: the face counts five times as much as the rest of an FFHQ crop."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    inside = ((x - 0.5) / 0.3).square() + ((y - 0.55) / 0.38).square() < 1
    weights = torch.where(inside, 1.0, 0.2)
    return (weights / weights.mean())[None, None]


def _features(encoder: CompactEncoder, picture: torch.Tensor) -> list[torch.Tensor]:
    """Maps of the backbone at strides 4, 8 and 16, of unit length in every place."""
    maps = encoder.backbone(picture)
    return [F.normalize(maps[stride], dim=1) for stride in (4, 8, 16)]
