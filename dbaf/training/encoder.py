"""Train the compact encoder on generated pairs and on photographs.

    python -m dbaf.training.encoder --backbone mobilenet_v2.pth --recogniser MobileFaceNet.tflite

Generated pairs: regression of W+ in units of the deviation of w, under augmentation towards photographs.
Photographs have no code; there the latent critics compare what the code stands for with what the photo shows, and from
`pictures_from` on a 128 px preview of some codes is compared with the photo itself: recogniser, MobileNetV2 features,
pixels. As in e4e (Tov et al., arXiv 2102.02766), codes are pulled together over the styles (its delta
regularisation) and kept where sampled codes lie. Settings: `config.toml`. Resumes from its last checkpoint.

    python -m dbaf.training.encoder --finish ...

goes on from the bundle's encoder with half of the pairs from `dbaf.training.composites`. MAAR, which takes the
backbone's maps, is to be trained after it.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dbaf.encoders.compact import CompactEncoder
from dbaf.encoders.mobilenet import MobileNetV2
from dbaf.encoders.refine import face_weights
from dbaf.generators import load_generator
from dbaf.training.augment import augment
from dbaf.training.common import DEVICE, LICENCE, Run, compiled, settings
from dbaf.training.critics import LatentCritic, load_critic
from dbaf.training.latent import off_manifold
from dbaf.training.mobilefacenet import MobileFaceNet
from dbaf.training.photos import load_photos
from dbaf.training.synthetic import load_pairs
from dbaf.weights.bundle import bundle_folder, load_part, save_part

HELD_OUT = 200
IMAGENET_STD = (0.229, 0.224, 0.225)
FROZEN = 4  # layers of the backbone
SMALL = 128  # px of the previews


def start_from_imagenet(backbone: MobileNetV2, path: Path) -> None:
    """Load torchvision's MobileNetV2 and fold its input normalisation, so that the input is in [-1, 1]."""
    state = {k: v for k, v in torch.load(path, weights_only=True).items() if k.startswith("features.")}
    state = {k: v for k, v in state.items() if not k.startswith("features.18.")}
    backbone.load_state_dict(state)
    weight = backbone.get_parameter("features.0.0.weight")
    with torch.no_grad():
        weight.mul_(0.5 / torch.tensor(IMAGENET_STD)[:, None, None])


def perceptual(one: dict[int, torch.Tensor], other: dict[int, torch.Tensor]) -> torch.Tensor:
    """Distance of MobileNetV2 maps, unit length in every place, strides 4 to 16."""
    return torch.stack(
        [(F.normalize(one[s], dim=1) - F.normalize(other[s], dim=1)).square().sum(1).mean() for s in (4, 8, 16)]
    ).mean()


def spread(critic: LatentCritic, wplus: torch.Tensor) -> torch.Tensor:
    """e4e's delta regularisation: squared distance of the styles from their mean, in units of the deviation of w."""
    styles = critic.features(wplus).unflatten(1, (len(critic.active), -1))
    return (styles - styles.mean(1, keepdim=True)).square().mean()


def pool_batch(
    pool: tuple[torch.Tensor, torch.Tensor], count: int, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augmented pictures [count, 3, 256, 256] and codes [count, L, 512] of a pool, without its held-out part."""
    index = HELD_OUT + torch.randint(len(pool[1]) - HELD_OUT, (count,), generator=rng)
    return augment(pool[0][index].float() / 127.5 - 1, rng), pool[1][index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=Path("runs/synthetic"))
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--critic", type=Path, default=Path("runs/critics.safetensors"))
    parser.add_argument("--backbone", type=Path, required=True, help="torchvision MobileNetV2 state dict")
    parser.add_argument("--recogniser", type=Path, required=True, help="MobileFaceNet.tflite")
    parser.add_argument("--finish", action="store_true", help="the last stage, with composites")
    parser.add_argument("--composites", type=Path, default=Path("runs/composites"))
    args = parser.parse_args()
    torch.manual_seed(0)
    stage = "finish" if args.finish else "encoder"
    setting = settings(stage)
    bundle = bundle_folder("mobile")
    generator, critic = load_generator(bundle).requires_grad_(False).to(DEVICE), load_critic(args.critic).to(DEVICE)
    recogniser = MobileFaceNet.from_tflite(args.recogniser).to(DEVICE)
    judge = MobileNetV2().eval().requires_grad_(False)
    start_from_imagenet(judge, args.backbone)
    judge.to(DEVICE)
    pools = [load_pairs(folder) for folder in ([args.pairs, args.composites] if args.finish else [args.pairs])]
    photos = load_photos(args.photos)
    shown = critic.project(photos["attributes"].to(DEVICE)).clamp(-4, 4)
    embeddings = photos["embeddings"].to(DEVICE)

    config: dict[str, Any] = {"styles": generator.styles, "active": generator.active, "dim": generator.dim}
    encoder = CompactEncoder(**config)
    if args.finish:
        encoder.load_state_dict(load_part(bundle, "encoder")[0])
        encoder.backbone.eval()  # its normalisation has settled
    else:
        start_from_imagenet(encoder.backbone, args.backbone)
        encoder.mean_w.copy_(generator.mean_w)
        encoder.scale.copy_(critic.scale)
    encoder.backbone.features[:FROZEN].requires_grad_(False)  # edges and textures; half the cost of a step
    encoder.to(DEVICE)
    average = AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    optimiser = torch.optim.AdamW(encoder.parameters(), setting.peak_rate, weight_decay=0.02)
    run = Run(Path("runs") / stage, {"encoder": encoder, "average": average, "optimiser": optimiser})
    preview = compiled(lambda code: generator.preview(code, size=SMALL))
    embed, look, encode = compiled(recogniser.embed_ffhq), compiled(judge), compiled(encoder)
    weights = face_weights(SMALL).to(DEVICE)

    def paired(codes: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "regression": F.smooth_l1_loss(critic.features(codes), critic.features(target)),
            "known": 1 - F.cosine_similarity(critic.identity(codes), critic.identity(target)).mean(),
        }

    def photographed(codes: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "identity": 1 - (critic.identity(codes) * embeddings[index]).sum(1).mean(),
            "attributes": F.smooth_l1_loss(critic.attributes(codes), shown[index]),
            "prior": off_manifold(critic, codes),
            "delta": spread(critic, codes),
        }

    def rendered(codes: torch.Tensor, photo: torch.Tensor, embedding: torch.Tensor) -> dict[str, torch.Tensor]:
        picture = preview(codes).float()
        photo = F.interpolate(photo, size=SMALL, mode="area")
        return {
            "likeness": 1 - (embed(picture) * embedding).sum(1).mean(),
            "perceptual": perceptual(look(picture), look(photo)),
            "pixel": (weights * (picture - photo).abs()).mean(),
        }

    @torch.no_grad()
    def draw_sheet() -> None:
        """Photographs above what the averaged encoder makes of them."""
        shown = photos["pictures"][:: len(photos["pictures"]) // 8][:8].to(DEVICE).float() / 127.5 - 1
        average.eval()
        run.sheet(F.interpolate(shown, size=SMALL, mode="area"), generator.preview(average(shown)[0], size=SMALL))
        average.train()

    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        rate = setting.peak_rate * min(1, (run.step + 1) / 100) * (1 - run.step / setting.decay)
        for group in optimiser.param_groups:
            group["lr"] = rate
        drawn = [pool_batch(pool, setting.batch // len(pools), rng) for pool in pools]
        target = torch.cat([wplus for _, wplus in drawn]).to(DEVICE)
        real = torch.randint(len(photos["pictures"]), (setting.batch,), generator=rng)
        photo = photos["pictures"][real].float() / 127.5 - 1
        x = torch.cat([*(pictures for pictures, _ in drawn), photo]).to(DEVICE)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            codes = encode(x.contiguous(memory_format=torch.channels_last))[0].float()
            losses = paired(codes[: setting.batch], target) | photographed(codes[setting.batch :], real)
            if run.step >= setting.pictures_from:
                few = slice(setting.batch, setting.batch + setting.rendered)
                first = slice(setting.rendered)
                losses |= rendered(codes[few], x[few], embeddings[real[first]])
        optimiser.zero_grad()
        torch.stack([setting.weights[name] * loss for name, loss in losses.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(encoder)
        if run.log(**losses, rate=rate):
            draw_sheet()
    run.save()
    draw_sheet()
    best = average.module.eval()
    for pictures, wplus in pools:
        with torch.no_grad():
            codes = torch.cat([best(x.to(DEVICE).float() / 127.5 - 1)[0] for x in pictures[:HELD_OUT].split(20)])
        found = ", ".join(
            f"{name} {float(loss):.4f}" for name, loss in paired(codes, wplus[:HELD_OUT].to(DEVICE)).items()
        )
        print(f"unseen pairs, n = {HELD_OUT}: {found}")
    save_part(bundle, "encoder", best.cpu().state_dict(), config, f"{LICENCE}; backbone from MobileNetV2, BSD-3-Clause")


if __name__ == "__main__":
    main()
