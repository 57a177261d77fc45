"""The encoder's last stage: every photograph through a picture.

    python -m dbaf.training.likeness --backbone mobilenet_v2.pth --recogniser MobileFaceNet.tflite \
        --expressions face_expression_model-weights_manifest.json

Goes on from the bundle's encoder. Photographs are deformed, so that they show people whom nobody has seen, and a
quarter of the faces are generated. Each is encoded as in use, feedback and all; the code is rendered, and the preview
compared with the picture on the part that the encoder saw: recogniser, MobileNetV2 features, expression, face mesh and
what the face does, pixels. Some get new identities as keys give them (`dbaf.training.exchange`): two with the same
coordinates must look like one person, neither like who they were, and each must do what the old face did; and the
encoder must give the code that the picture was made of again, at first sight, above all the coordinates. Codes are held
near those that the encoder gave before, where sampled codes lie. All are under other light, some are softer; in some a
part is blanked, as it is where something is in front of a face. At the end the fine styles are moved back most of the
way by which they have drifted: photographs are softer than the generator's faces, and previews do not show what that
does to skin. Settings: `config.toml`. Resumes from its last checkpoint. Afterwards come `codes`, `anonymize`, `maar`
(which takes the backbone's maps) and `imprint`.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dbaf.encoders.compact import SIZE, CompactEncoder
from dbaf.encoders.mobilenet import MobileNetV2
from dbaf.encoders.refine import feedback
from dbaf.faces import FaceFinder
from dbaf.faces.gestures import gestures
from dbaf.faces.mask import inner_mask, reach
from dbaf.faces.mesh import INPUT
from dbaf.generators import Generator, load_generator
from dbaf.training.augment import deform, occlude, relight, soften
from dbaf.training.common import (
    DEVICE,
    LICENCE,
    Run,
    compiled,
    load_cid,
    load_encoder,
    load_gestures,
    load_kria,
    settings,
)
from dbaf.training.encoder import EYES, FROZEN, perceptual, start_from_imagenet
from dbaf.training.exchange import Exchange
from dbaf.training.faceapi import ExpressionFeatures
from dbaf.training.latent import random_keys
from dbaf.training.mobilefacenet import MobileFaceNet
from dbaf.training.observe import in_square, mesh_view
from dbaf.training.photos import load_photos, scaled
from dbaf.training.synthetic import sample_wplus
from dbaf.weights.bundle import bundle_folder, load_part, save_part

BLANKED = 0.25  # share of the faces of which a part is
SOFT = 0.3  # share of the batches
MARGIN = 0.05  # cosine of the recogniser's embeddings down to which a new face is pushed away from the old one
GRAIN = 0.03  # noise in pictures of new faces, which in use come from files and have been scaled
BACKBONE_RATE = 0.5  # of the learning rate
TEXTURE = 16  # the first style that is moved back, of the block of 256 px
MOVED_BACK = 0.6  # share of their mean drift; with all of it skin is freckled
DRIFT = 200  # photographs over which that is taken


@torch.no_grad()
def move_back(
    encoder: CompactEncoder, before: CompactEncoder, generator: Generator, pictures: torch.Tensor, seen: torch.Tensor
) -> None:
    """Move the fine styles' mean towards the codes that another encoder gives.

    Args:
        encoder: is changed.
        before: the other one.
        generator: of both, for feedback.
        pictures: faces [N, 3, 256, 256] in [-1, 1].
        seen: what encoders get to see of them [N, 1, 256, 256] in [0, 1].
    """

    def mean(one: CompactEncoder) -> torch.Tensor:
        pairs = zip(pictures.split(8), seen.split(8), strict=True)
        return torch.cat([feedback(generator, one, part, one(x * part)[0]) for x, part in pairs]).mean(0)  # [L, dim]

    encoder.mean_wplus[TEXTURE:] += MOVED_BACK * (mean(before) - mean(encoder))[TEXTURE:]


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
    exchange = Exchange(load_cid(bundle), load_gestures(bundle), load_kria(bundle)).to(DEVICE)
    photos = load_photos(args.photos)["pictures"]  # [N, 3, 256, 256] uint8
    before, encoder = load_encoder(bundle), load_encoder(bundle)
    encoder.requires_grad_(True).backbone.features[:FROZEN].requires_grad_(False)
    average = AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    backbone = [p for p in encoder.backbone.parameters() if p.requires_grad]
    head = [p for name, p in encoder.named_parameters() if not name.startswith("backbone.")]
    shares = [{"params": head, "share": 1.0}, {"params": backbone, "share": BACKBONE_RATE}]
    optimiser = torch.optim.AdamW(shares, setting.peak_rate, weight_decay=0.02)
    run = Run(args.run, {"encoder": encoder, "average": average, "optimiser": optimiser}, setting.steps)
    preview, encode = compiled(generator.preview), compiled(encoder)
    embed, look, trace = compiled(recogniser.embed_ffhq), compiled(judge), compiled(finder.landmarks)
    feel = compiled(lambda crops: F.normalize(expressions(crops)[0].float(), dim=1))

    def points_of(pictures: torch.Tensor) -> torch.Tensor:
        """Face meshes [B, 468, 2] in sides of the mesh's view."""
        with torch.autocast(DEVICE.type, enabled=False):  # bfloat16 would round to a pixel
            return trace(mesh_view(pictures))[0][..., :2] / INPUT

    @torch.no_grad()
    def drawn(rng: torch.Generator) -> torch.Tensor:
        """Photographs and generated faces [batch, 3, 256, 256] in [-1, 1]."""
        index = torch.randint(len(photos), (setting.batch - setting.generated,), generator=rng)
        real = deform(scaled(photos[index].to(DEVICE)), rng)
        made = preview(sample_wplus(generator, setting.generated, rng).to(DEVICE)).float()
        return relight(torch.cat([real, made]), rng).clamp(-1, 1)

    def losses_of(photo: torch.Tensor, rng: torch.Generator) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
        """Losses of some faces, and rows for the contact sheet."""
        with torch.no_grad():
            points = points_of(photo)
            mask = inner_mask(reach(in_square(points)), SIZE)
            target, person, feeling = mask * photo, embed(photo), feel(photo)
            features = look(target)
            shown = soften(photo, rng) if torch.rand(1, generator=rng) < SOFT else photo
            part = mask * (1 - occlude(photo, photo, rng, BLANKED)[1])
            former = before(shown * part)[0]
        first = encode(shown * part)[0].float()
        echo = encode(preview(first).float() * part)[0].float()
        codes = first + encoder.feedback * (first - echo)  # as `feedback` does, but for autocast
        picture = preview(codes).float()
        found = points_of(picture)
        offset = (codes - encoder.mean_wplus)[:, encoder.active] / encoder.scale  # [B, active, dim]
        losses = {
            "likeness": 1 - (embed(picture) * person).sum(1).mean(),
            "perceptual": perceptual(look(mask * picture), features) / mask.mean(),  # grey is like grey
            "expression": 1 - (feel(picture) * feeling).sum(1).mean(),
            "gestures": (gestures(found) - gestures(points)).abs().mean(),
            "landmarks": (found - points).abs().mean() / EYES,
            "pixel": (mask * picture - target).abs().sum() / (3 * mask.sum()),
            "former": ((first - former)[:, encoder.active] / encoder.scale).square().mean(),
            "prior": (offset.square().mean(2) - 1).clamp(min=0).mean(),
        }
        few = slice(setting.exchanged)
        new, renewed = new_people(codes[few], points[few], part[few], person[few], feeling[few], rng)
        return losses | new, [row[few][:8] for row in (target, picture.detach(), renewed)]

    def new_people(
        codes: torch.Tensor,
        points: torch.Tensor,
        part: torch.Tensor,
        person: torch.Tensor,
        feeling: torch.Tensor,
        rng: torch.Generator,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Losses of faces that get new identities, and what they look like."""
        doing, keys = gestures(points), random_keys(generator, len(codes), rng)
        with torch.autocast(DEVICE.type, enabled=False):
            new = exchange.exchanged(codes, doing, keys)
        picture = preview(new.codes).float()
        found, someone = points_of(picture), embed(picture)
        grain = GRAIN * torch.randn(picture.shape, generator=rng).to(picture)
        again = encode((picture.detach() + grain).clamp(-1, 1) * part)[0].float()
        with torch.autocast(DEVICE.type, enabled=False):
            read = exchange.read(exchange.identity(again, gestures(found).detach()), new.men)
        first, second = someone.chunk(2)
        return {
            "new_expression": 1 - (feel(picture) * feeling).sum(1).mean(),
            "new_gestures": (gestures(found) - doing).abs().mean(),
            "away": ((someone * person).sum(1) - MARGIN).clamp(min=0).mean(),
            "together": (new.alike * (1 - (first * second).sum(1))).mean(),
            "read": F.smooth_l1_loss(read, new.coordinates),
            "again": ((again - new.codes.detach())[:, encoder.active] / encoder.scale).square().mean(),
        }, picture.detach()

    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = (
                group["share"] * setting.peak_rate * min(1, (run.step + 1) / 30) * (1 - run.step / setting.decay)
            )
        with torch.autocast(DEVICE.type, torch.bfloat16):
            losses, rows = losses_of(drawn(rng), rng)
        optimiser.zero_grad()
        torch.stack([setting.weights[name] * loss for name, loss in losses.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(head + backbone, 1.0)
        optimiser.step()
        average.update_parameters(encoder)
        if run.log(**losses):
            run.sheet(*rows)
    run.save()
    best = average.module.eval()
    assert isinstance(best, CompactEncoder)
    index = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0))[:DRIFT]
    with torch.no_grad():
        some = scaled(photos[index].to(DEVICE))
        seen = torch.cat([inner_mask(reach(in_square(points_of(part))), SIZE) for part in some.split(8)])
    move_back(best, before, generator, some, seen)
    state, config = best.cpu().state_dict(), load_part(bundle, "encoder")[1]
    save_part(bundle, "encoder", state, config, f"{LICENCE}; backbone from MobileNetV2, BSD-3-Clause")


if __name__ == "__main__":
    main()
