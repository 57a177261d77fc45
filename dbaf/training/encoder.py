"""Train the compact encoder on generated pairs and on photographs.

    python -m dbaf.training.encoder --backbone mobilenet_v2.pth --recogniser MobileFaceNet.tflite

Generated pairs: regression of W+ in units of the deviation of w, under augmentation towards photographs.
Photographs have no code; there the latent critics compare what the code stands for with what the photo shows, and from
`pictures_from` on a 128 px preview of some codes is compared with the photo itself: recogniser, MobileNetV2 features,
face mesh, pixels. As in e4e (Tov et al., arXiv 2102.02766), codes are pulled together over the styles (its delta
regularisation) and kept where sampled codes lie. Settings: `config.toml`. Resumes from its last checkpoint.

    python -m dbaf.training.encoder --finish ...

goes on from the bundle's encoder with half of the pairs from `dbaf.training.composites`, and with a loss on the
identity coordinates of the bundle's KRIA, on which recovery depends. KRIA is then to be fitted anew, and MAAR, which
takes the backbone's maps, to be trained.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dbaf.encoders.compact import SIZE, CompactEncoder
from dbaf.encoders.mobilenet import MobileNetV2
from dbaf.faces import FaceFinder
from dbaf.faces.mask import inner_mask
from dbaf.faces.mesh import INPUT
from dbaf.generators import load_generator
from dbaf.training.augment import augment
from dbaf.training.common import DEVICE, LICENCE, Run, compiled, load_cid, load_kria, settings
from dbaf.training.critics import LatentCritic, load_critic
from dbaf.training.latent import off_manifold
from dbaf.training.mobilefacenet import MobileFaceNet
from dbaf.training.observe import mesh_view, reaches
from dbaf.training.photos import load_photos, scaled
from dbaf.training.synthetic import load_pairs
from dbaf.weights.bundle import bundle_folder, load_part, save_part

HELD_OUT = 200
IMAGENET_STD = (0.229, 0.224, 0.225)
FROZEN = 4  # layers of the backbone
SMALL = 128  # px of the previews
EYES = 0.26  # distance of the eyes in sides of the mesh's view


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


class Pool:
    """Pictures with known codes, as `load_pairs` gives them; the first HELD_OUT are never drawn."""

    def __init__(self, folder: Path, finder: FaceFinder) -> None:
        self.pictures, self.wplus = load_pairs(folder)  # [N, 3, 256, 256] uint8, [N, L, 512]
        self.reach = reaches(self.pictures, finder)

    def draw(self, count: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented pictures [count, 3, 256, 256] and codes [count, L, 512]."""
        index = HELD_OUT + torch.randint(len(self.wplus) - HELD_OUT, (count,), generator=rng)
        return augment(scaled(self.pictures[index]), inner_mask(self.reach[index], SIZE), rng), self.wplus[index]

    def held_out(self) -> Iterator[torch.Tensor]:
        """Batches [B, 3, 256, 256] of the pictures that are never drawn, in order."""
        for pictures, reach in zip(self.pictures[:HELD_OUT].split(20), self.reach[:HELD_OUT].split(20), strict=True):
            yield scaled(pictures) * inner_mask(reach, SIZE)


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
    finder = FaceFinder.from_bundle(bundle).to(DEVICE)
    pools = [Pool(folder, finder) for folder in ([args.pairs, args.composites] if args.finish else [args.pairs])]
    photos = load_photos(args.photos)
    shown = critic.project(photos["attributes"].to(DEVICE)).clamp(-4, 4)
    embeddings = photos["embeddings"].to(DEVICE)
    meshes = photos["meshes"].to(DEVICE)

    config: dict[str, Any] = {"styles": generator.styles, "active": generator.active, "dim": generator.dim}
    encoder = CompactEncoder(**config)
    if args.finish:
        encoder.load_state_dict(load_part(bundle, "encoder")[0])
        encoder.backbone.eval()  # its normalisation has settled
        cid, kria = load_cid(bundle), load_kria(bundle)
    else:
        start_from_imagenet(encoder.backbone, args.backbone)
        encoder.mean_wplus.copy_(generator.mean_w)
        encoder.scale.copy_(critic.scale)
    encoder.backbone.features[:FROZEN].requires_grad_(False)  # edges and textures; half the cost of a step
    encoder.to(DEVICE)
    average = AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    optimiser = torch.optim.AdamW(encoder.parameters(), setting.peak_rate, weight_decay=0.02)
    run = Run(Path("runs") / stage, {"encoder": encoder, "average": average, "optimiser": optimiser}, setting.steps)
    preview = compiled(lambda code: generator.preview(code, size=SMALL))
    embed, look, encode = compiled(recogniser.embed_ffhq), compiled(judge), compiled(encoder)
    trace = compiled(finder.landmarks)

    def coordinates(codes: torch.Tensor) -> torch.Tensor:
        return kria.coordinates(codes - cid(codes))

    def paired(codes: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        losses = {
            "regression": F.smooth_l1_loss(critic.features(codes), critic.features(target)),
            "known": 1 - F.cosine_similarity(critic.identity(codes), critic.identity(target)).mean(),
        }
        if args.finish:
            losses["coordinates"] = F.smooth_l1_loss(coordinates(codes), coordinates(target))
        return losses

    def photographed(codes: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "identity": 1 - (critic.identity(codes) * embeddings[index]).sum(1).mean(),
            "attributes": F.smooth_l1_loss(critic.attributes(codes), shown[index]),
            "prior": off_manifold(critic, codes),
            "delta": spread(critic, codes),
        }

    def rendered(codes: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the codes of some photographs look like, beside the photographs, on the part that the encoder saw."""
        picture, mask = preview(codes).float(), inner_mask(photos["reach"][index], SMALL).to(DEVICE)
        photo = mask * F.interpolate(scaled(photos["pictures"][index]).to(DEVICE), size=SMALL, mode="area")
        with torch.autocast(DEVICE.type, enabled=False):  # bfloat16 would round to a pixel
            large = F.interpolate(picture, size=SIZE, mode="bilinear")
            points = trace(mesh_view(large))[0][..., :2] / INPUT
        return {
            "likeness": 1 - (embed(picture) * embeddings[index]).sum(1).mean(),
            "perceptual": perceptual(look(mask * picture), look(photo)) / mask.mean(),  # grey is like grey
            "landmarks": (points - meshes[index]).abs().mean() / EYES,
            "pixel": (mask * picture - photo).abs().sum() / (3 * mask.sum()),
        }

    def seen(index: torch.Tensor) -> torch.Tensor:
        """Photographs [B, 3, 256, 256] as the encoder sees them."""
        return scaled(photos["pictures"][index]) * inner_mask(photos["reach"][index], SIZE)

    @torch.no_grad()
    def draw_sheet() -> None:
        """Photographs above what the averaged encoder makes of them."""
        every = len(photos["pictures"]) // 8
        shown = seen(torch.arange(0, 8 * every, every)).to(DEVICE)
        average.eval()
        run.sheet(F.interpolate(shown, size=SMALL, mode="area"), generator.preview(average(shown)[0], size=SMALL))
        average.train()

    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        rate = setting.peak_rate * min(1, (run.step + 1) / 100) * (1 - run.step / setting.decay)
        for group in optimiser.param_groups:
            group["lr"] = rate
        drawn = [pool.draw(setting.batch // len(pools), rng) for pool in pools]
        target = torch.cat([wplus for _, wplus in drawn]).to(DEVICE)
        real = torch.randint(len(photos["pictures"]), (setting.batch,), generator=rng)
        x = torch.cat([*(pictures for pictures, _ in drawn), seen(real)]).to(DEVICE)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            codes = encode(x.contiguous(memory_format=torch.channels_last))[0].float()
            losses = paired(codes[: setting.batch], target) | photographed(codes[setting.batch :], real)
            if run.step >= setting.pictures_from:
                few = slice(setting.batch, setting.batch + setting.rendered)
                losses |= rendered(codes[few], real[: setting.rendered])
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
    for pool in pools:
        with torch.no_grad():
            codes = torch.cat([best(x.to(DEVICE))[0] for x in pool.held_out()])
            losses = paired(codes, pool.wplus[:HELD_OUT].to(DEVICE))
        found = ", ".join(f"{name} {float(loss):.4f}" for name, loss in losses.items())
        print(f"unseen pairs, n = {HELD_OUT}: {found}")
    save_part(bundle, "encoder", best.cpu().state_dict(), config, f"{LICENCE}; backbone from MobileNetV2, BSD-3-Clause")


if __name__ == "__main__":
    main()
