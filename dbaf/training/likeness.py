"""The encoder's last stage: every photograph through a picture.

    python -m dbaf.training.likeness --backbone mobilenet_v2.pth --recogniser MobileFaceNet.tflite \
        --expressions face_expression_model-weights_manifest.json

Goes on from the bundle's encoder. Each code is rendered, and the preview compared with the photograph on the part that
the encoder saw: recogniser, MobileNetV2 features, expression, face mesh and what the face does, pixels. Codes are held
near those that the encoder gave before, where sampled codes lie. Half of the photographs are mirrored, all are under
other light, some are softer; in some a part is blanked, as it is where something is in front of a face. Settings:
`config.toml`. Resumes from its last checkpoint. MAAR, which takes the backbone's maps, is to be trained afterwards.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dbaf.encoders.compact import SIZE
from dbaf.encoders.mobilenet import MobileNetV2
from dbaf.faces import FaceFinder
from dbaf.faces.mask import inner_mask
from dbaf.faces.mesh import INPUT
from dbaf.generators import load_generator
from dbaf.training.augment import occlude, relight, soften
from dbaf.training.common import DEVICE, LICENCE, Run, compiled, load_encoder, settings
from dbaf.training.encoder import EYES, FROZEN, SMALL, perceptual, start_from_imagenet
from dbaf.training.faceapi import ExpressionFeatures
from dbaf.training.mobilefacenet import MobileFaceNet
from dbaf.training.observe import gestures, mesh_view
from dbaf.training.photos import load_photos, scaled
from dbaf.weights.bundle import bundle_folder, load_part, save_part

BLANKED = 0.25  # share of the photographs of which a part is
MIRRORED = 0.5  # share of them
SOFT = 0.3  # share of the batches
BACKBONE_RATE = 0.25  # of the learning rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--backbone", type=Path, required=True, help="torchvision MobileNetV2 state dict")
    parser.add_argument("--recogniser", type=Path, required=True, help="MobileFaceNet.tflite")
    parser.add_argument("--expressions", type=Path, required=True, help="of face-api.js, see dbaf.training.faceapi")
    parser.add_argument("--run", type=Path, default=Path("runs/likeness"))
    args = parser.parse_args()
    torch.manual_seed(0)
    setting = settings("likeness")
    bundle = bundle_folder("mobile")
    generator = load_generator(bundle).requires_grad_(False).to(DEVICE)
    recogniser = MobileFaceNet.from_tflite(args.recogniser).to(DEVICE)
    expressions = ExpressionFeatures.from_tfjs(args.expressions).to(DEVICE)
    judge = MobileNetV2().eval().requires_grad_(False)
    start_from_imagenet(judge, args.backbone)
    judge.to(DEVICE)
    finder = FaceFinder.from_bundle(bundle).to(DEVICE)
    photos = load_photos(args.photos)
    meshes, embeddings = photos["meshes"].to(DEVICE), photos["embeddings"].to(DEVICE)
    before, encoder = load_encoder(bundle), load_encoder(bundle)
    encoder.requires_grad_(True).backbone.features[:FROZEN].requires_grad_(False)
    average = AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    backbone = [p for p in encoder.backbone.parameters() if p.requires_grad]
    head = [p for name, p in encoder.named_parameters() if not name.startswith("backbone.")]
    shares = [{"params": head, "share": 1.0}, {"params": backbone, "share": BACKBONE_RATE}]
    optimiser = torch.optim.AdamW(shares, setting.peak_rate, weight_decay=0.02)
    run = Run(args.run, {"encoder": encoder, "average": average, "optimiser": optimiser}, setting.steps)
    preview = compiled(lambda code: generator.preview(code, size=SMALL))
    encode = compiled(encoder)
    embed, look, trace = compiled(recogniser.embed_ffhq), compiled(judge), compiled(finder.landmarks)
    feel = compiled(lambda crops: F.normalize(expressions(crops)[0].float(), dim=1))

    def losses_of(index: torch.Tensor, rng: torch.Generator) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
        """Losses of some photographs, and rows for the contact sheet."""
        mask = inner_mask(photos["reach"][index], SIZE)
        photo = relight(scaled(photos["pictures"][index]), rng).clamp(-1, 1)
        mirrored = torch.rand(len(index), 1, 1, 1, generator=rng) < MIRRORED
        shown = soften(photo, rng) if torch.rand(1, generator=rng) < SOFT else photo
        blank = occlude(photo, photo, rng, BLANKED)[1]
        seen = shown * mask * (1 - blank)
        seen = torch.where(mirrored, seen.flip(3), seen).to(DEVICE)
        codes = encode(seen)[0].float()
        with torch.no_grad():
            former = before(seen)[0]
        picture = preview(codes).float()
        picture = torch.where(mirrored.to(DEVICE), picture.flip(3), picture)  # as the photograph lies
        small = F.interpolate(mask, size=SMALL, mode="area").to(DEVICE)
        whole = F.interpolate(photo.to(DEVICE), size=SMALL, mode="area")
        target = small * whole
        with torch.autocast(DEVICE.type, enabled=False):  # bfloat16 would round to a pixel
            large = F.interpolate(picture, size=SIZE, mode="bilinear")
            points = trace(mesh_view(large))[0][..., :2] / INPUT
        offset = (codes - encoder.mean_w)[:, encoder.active] / encoder.scale  # [B, active, dim]
        losses = {
            "likeness": 1 - (embed(picture) * embeddings[index]).sum(1).mean(),
            "perceptual": perceptual(look(small * picture), look(target)) / small.mean(),  # grey is like grey
            "expression": 1 - (feel(picture) * feel(whole)).sum(1).mean(),
            "gestures": (gestures(points) - gestures(meshes[index])).abs().mean(),
            "landmarks": (points - meshes[index]).abs().mean() / EYES,
            "pixel": (small * picture - target).abs().sum() / (3 * small.sum()),
            "former": ((codes - former)[:, encoder.active] / encoder.scale).square().mean(),
            "prior": (offset.square().mean(2) - 1).clamp(min=0).mean(),
        }
        return losses, [target, picture.detach()]

    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = (
                group["share"] * setting.peak_rate * min(1, (run.step + 1) / 30) * (1 - run.step / setting.decay)
            )
        index = torch.randint(len(photos["pictures"]), (setting.batch,), generator=rng)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            losses, rows = losses_of(index, rng)
        optimiser.zero_grad()
        torch.stack([setting.weights[name] * loss for name, loss in losses.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(head + backbone, 1.0)
        optimiser.step()
        average.update_parameters(encoder)
        if run.log(**losses):
            run.sheet(*rows)
    run.save()
    best = average.module.eval().cpu().state_dict()
    save_part(
        bundle, "encoder", best, load_part(bundle, "encoder")[1], f"{LICENCE}; backbone from MobileNetV2, BSD-3-Clause"
    )


if __name__ == "__main__":
    main()
