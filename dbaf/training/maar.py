"""Train MAAR with pictures: the encoder's maps must give back what its W+ code lost.

    python -m dbaf.training.maar --steps 300

Generated faces with coloured occluders; the code comes from the occluded picture, and so do the maps. The picture
rendered from both must be the occluded picture again. Everything but MAAR is frozen. Resumes.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from dbaf.encoders.compact import FEATURE_CHANNELS, CompactEncoder
from dbaf.generators import load_generator
from dbaf.maar import MAAR
from dbaf.training.common import Run
from dbaf.training.encoder import augment
from dbaf.training.synthetic import load_pairs
from dbaf.weights.bundle import bundle_folder, load_part, save_part

LICENCE = "Apache-2.0; trained by this project on generated faces"
PEAK_RATE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=Path("runs/synthetic"))
    parser.add_argument("--run", type=Path, default=Path("runs/maar"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    folder = bundle_folder("mobile")
    generator = load_generator(folder)
    tensors, encoder_config = load_part(folder, "encoder")
    encoder = CompactEncoder(**encoder_config)
    encoder.load_state_dict(tensors)
    encoder.eval().requires_grad_(False)
    config: dict[str, Any] = {
        "channels": {str(px): channels for px, channels in FEATURE_CHANNELS.items()},
        "dim": generator.dim,
    }
    maar = MAAR(**config)
    optimiser = torch.optim.Adam(maar.parameters(), PEAK_RATE)
    run = Run(args.run, {"maar": maar, "optimiser": optimiser})
    pictures = load_pairs(args.pairs)[0] if run.step < args.steps else torch.empty(0)
    while run.step < args.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * min(1, (run.step + 1) / 20) * (1 - run.step / args.steps)
        index = torch.randint(len(pictures), (args.batch,), generator=rng)
        x = augment(pictures[index].float() / 127.5 - 1, rng)
        wplus, maps = encoder(x)
        rendered = generator.preview(wplus, maar(maps))
        pixel = F.l1_loss(rendered, x)
        coarse = F.l1_loss(F.avg_pool2d(rendered, 8), F.avg_pool2d(x, 8))
        loss = pixel + coarse
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(maar.parameters(), 1.0)
        optimiser.step()
        run.log(pixel=pixel, coarse=coarse)
    run.save()
    save_part(folder, "maar", maar.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
