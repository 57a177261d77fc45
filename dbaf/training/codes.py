"""What the encoder makes of photographs: a bank of W+ codes of real people for the stages after it.

    python -m dbaf.training.codes

The codes are pictures of real people in another form: the file never enters the repository.
"""

import argparse
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from dbaf.training.common import DEVICE, compiled, load_encoder
from dbaf.training.photos import load_photos
from dbaf.weights.bundle import bundle_folder

EVERY = 2  # photographs: every second one is plenty


def load_codes(path: Path) -> torch.Tensor:
    """The bank of codes [N, L, 512] of every `EVERY`-th photograph, in the order of `load_photos`."""
    return load_file(path)["wplus"].float()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--out", type=Path, default=Path("runs/codes.safetensors"))
    args = parser.parse_args()
    encode = compiled(load_encoder(bundle_folder("mobile")))
    pictures = load_photos(args.photos)["pictures"][::EVERY]
    with torch.autocast(DEVICE.type, torch.bfloat16):
        wplus = torch.cat(
            [encode(x.to(DEVICE).float() / 127.5 - 1)[0].float().cpu() for x in track(pictures.split(16), "encoding")]
        )
    save_file({"wplus": wplus.half()}, args.out)


if __name__ == "__main__":
    main()
