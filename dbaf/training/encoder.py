"""Train the compact encoder on generated pairs.

    python -m dbaf.training.encoder --backbone mobilenet_v2.pth --steps 1500

Regression of W+ in units of the deviation of w, an identity term through the latent critic, and augmentation
(light, blur, noise, small shifts, occluding patches) towards photographs. Resumes from its last checkpoint.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dbaf.encoders.compact import CompactEncoder
from dbaf.generators import load_generator
from dbaf.training.common import Run
from dbaf.training.critics import load_critic
from dbaf.training.synthetic import load_pairs
from dbaf.weights.bundle import bundle_folder, save_part

LICENCE = "Apache-2.0; trained by this project on generated faces, backbone from ImageNet MobileNetV2 (BSD-3-Clause)"
HELD_OUT = 200
PEAK_RATE = 6e-4
IMAGENET_STD = (0.229, 0.224, 0.225)
FROZEN = 4  # layers of the backbone


def start_from_imagenet(encoder: CompactEncoder, path: Path) -> None:
    """Load torchvision's MobileNetV2 and fold its input normalisation, so that the input is in [-1, 1]."""
    state = {k: v for k, v in torch.load(path, weights_only=True).items() if k.startswith("features.")}
    state = {k: v for k, v in state.items() if not k.startswith("features.18.")}
    encoder.backbone.load_state_dict(state)
    weight = encoder.backbone.get_parameter("features.0.0.weight")
    with torch.no_grad():
        weight.mul_(0.5 / torch.tensor(IMAGENET_STD)[:, None, None])
    encoder.backbone.features[:FROZEN].requires_grad_(False)  # edges and textures; half the cost of a step


def augment(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Make generated faces [B, 3, 256, 256] look more like photographs; the code they stand for stays the same."""
    batch = len(x)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.empty(batch, *shape, 1, 1).uniform_(low, high, generator=rng)

    turn = torch.empty(batch).uniform_(-0.04, 0.04, generator=rng)
    shift = torch.empty(batch, 2).uniform_(-0.03, 0.03, generator=rng)
    zoom = torch.empty(batch).uniform_(0.96, 1.04, generator=rng)
    rows = [torch.stack([zoom, -turn, shift[:, 0]], 1), torch.stack([turn, zoom, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    if torch.rand(1, generator=rng) < 0.5:  # the softness of small photographs
        size = int(torch.randint(72, 200, (1,), generator=rng))
        x = F.interpolate(F.interpolate(x, size=size, mode="bilinear", antialias=True), size=256, mode="bilinear")
    if torch.rand(1, generator=rng) < 0.3:
        height, width = torch.randint(30, 110, (2,), generator=rng).tolist()
        top, left = torch.randint(60, 200, (2,), generator=rng).tolist()
        x = x.clone()
        x[:, :, top : top + height, left : left + width] = uniform(-1, 1, 3)
    x = x * uniform(0.85, 1.15, 1) + uniform(-0.12, 0.12, 1) + uniform(-0.04, 0.04, 3)
    return (x + 0.03 * torch.randn(x.shape, generator=rng)).clamp(-1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=Path("runs/synthetic"))
    parser.add_argument("--critic", type=Path, default=Path("runs/critics.safetensors"))
    parser.add_argument("--backbone", type=Path, required=True, help="torchvision MobileNetV2 state dict")
    parser.add_argument("--run", type=Path, default=Path("runs/encoder"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)
    folder = bundle_folder("mobile")
    generator, critic = load_generator(folder), load_critic(args.critic)
    pictures, wplus = load_pairs(args.pairs)

    config: dict[str, Any] = {"styles": generator.styles, "active": generator.active, "dim": generator.dim}
    encoder = CompactEncoder(**config)
    start_from_imagenet(encoder, args.backbone)
    encoder.mean_w.copy_(generator.mean_w)
    encoder.scale.copy_(critic.scale)
    average = AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    optimiser = torch.optim.AdamW(encoder.parameters(), PEAK_RATE, weight_decay=0.02)
    run = Run(args.run, {"encoder": encoder, "average": average, "optimiser": optimiser})

    def losses(network: torch.nn.Module, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codes = network(x)[0].float()
        regression = F.smooth_l1_loss(critic.features(codes), critic.features(target))
        identity = 1 - F.cosine_similarity(critic.identity(codes), critic.identity(target)).mean()
        return regression, identity

    while run.step < args.steps:
        rng = torch.Generator().manual_seed(run.step)
        rate = PEAK_RATE * min(1, (run.step + 1) / 100) * (1 - run.step / args.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        index = HELD_OUT + torch.randint(len(wplus) - HELD_OUT, (args.batch,), generator=rng)
        x = augment(pictures[index].float() / 127.5 - 1, rng)
        with torch.autocast("cpu", torch.bfloat16):
            regression, identity = losses(
                encoder.train(), x.contiguous(memory_format=torch.channels_last), wplus[index]
            )
        optimiser.zero_grad()
        (regression + 0.3 * identity).backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(encoder)
        run.log(regression=regression, identity=identity, rate=rate)
    run.save()
    best = average.module.eval()
    with torch.no_grad():
        x = pictures[:HELD_OUT].float() / 127.5 - 1
        checks = [losses(best, a, b) for a, b in zip(x.split(20), wplus[:HELD_OUT].split(20), strict=True)]
    regression, identity = torch.tensor(checks).mean(0)
    print(f"unseen pairs, n = {HELD_OUT}: regression {regression:.4f}, predicted identity cosine {1 - identity:.3f}")
    save_part(folder, "encoder", best.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
