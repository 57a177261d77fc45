"""Train MAAR with pictures: occluders come from the photo, the face from the code.

    python -m dbaf.training.maar

The code goes through CID and KRIA under a random key, so that it is another person's; the maps come from the photo.
Where an occluder is, the rendered picture must be the photo; elsewhere it must be what the code alone gives, so that
MAAR has no reason to carry the old face over. Everything but MAAR is frozen. Settings: `config.toml`. Resumes from its
last checkpoint.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from dbaf.encoders.compact import FEATURE_CHANNELS, SIZE
from dbaf.faces.gestures import gestures
from dbaf.faces.mask import inner_mask
from dbaf.generators import load_generator
from dbaf.gesture_code import attribute_code
from dbaf.maar import MAAR
from dbaf.training.augment import occlude
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
from dbaf.training.latent import random_keys
from dbaf.training.observe import in_square
from dbaf.training.photos import load_photos
from dbaf.weights.bundle import bundle_folder, save_part

SMALL = 128  # px of the rendered previews
KEPT = 0.3  # share of the batches whose identity is not changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--run", type=Path, default=Path("runs/maar"))
    args = parser.parse_args()
    torch.manual_seed(0)
    setting = settings("maar")
    bundle = bundle_folder("mobile")
    generator = load_generator(bundle).requires_grad_(False).to(DEVICE)
    encoder, cid, goes, kria = load_encoder(bundle), load_cid(bundle), load_gestures(bundle), load_kria(bundle)
    config: dict[str, Any] = {
        "channels": {str(px): channels for px, channels in FEATURE_CHANNELS.items()},
        "dim": generator.dim,
    }
    maar = MAAR(**config).to(DEVICE)
    optimiser = torch.optim.Adam(maar.parameters(), setting.peak_rate)
    run = Run(args.run, {"maar": maar, "optimiser": optimiser}, setting.steps)
    data = load_photos(args.photos)
    photos, doing = data["pictures"], gestures(in_square(data["meshes"]))
    # MAAR itself is not compiled: in bfloat16 its maxima are computed twice, not quite alike, and their gradient is NaN
    render = compiled(lambda code, noise=None: generator.preview(code, noise, SMALL))
    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = setting.peak_rate * min(1, (run.step + 1) / 20) * (1 - run.step / setting.steps)
        index, other = torch.randint(len(photos), (2, setting.batch), generator=rng)
        x, front = occlude(photos[index].float() / 127.5 - 1, photos[other].float() / 127.5 - 1, rng)
        mask = inner_mask(data["reach"][index], SIZE)
        x, front, mask = x.to(DEVICE), front.to(DEVICE), mask.to(DEVICE)
        with torch.no_grad():
            wplus, maps = encoder(x * mask)
            if torch.rand(1, generator=rng) > KEPT:
                attributes = attribute_code(cid, goes, wplus, doing[index].to(DEVICE))
                wplus = kria(wplus - attributes, random_keys(generator, setting.batch, rng)) + attributes
        small, front = (F.interpolate(whole, size=SMALL, mode="area") for whole in (x, front * mask))
        with torch.autocast(DEVICE.type, torch.bfloat16):
            with torch.no_grad():
                alone = render(wplus).float()
            rendered = render(wplus, maar(maps)).float()
        on_face = ((1 - front) * (rendered - alone).abs()).mean()
        in_front = (front * (rendered - small).abs()).mean()
        optimiser.zero_grad()
        (on_face + 2 * in_front).backward()
        torch.nn.utils.clip_grad_norm_(maar.parameters(), 1.0)
        optimiser.step()
        if run.log(on_face=on_face, in_front=in_front):
            run.sheet(small, alone, rendered.detach())
    run.save()
    save_part(bundle, "maar", maar.cpu().state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
