"""What the encoder makes of photographs: a bank of W+ codes of real people for the stages after it.

    python -m dbaf.training.codes

The codes are pictures of real people in another form: the file never enters the repository.
"""

import argparse
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from dbaf.encoders.compact import SIZE
from dbaf.errors import DbafError
from dbaf.faces.mask import inner_mask
from dbaf.training.common import DEVICE, compiled, load_encoder
from dbaf.training.photos import load_photos, scaled
from dbaf.weights.bundle import bundle_folder


def load_codes(path: Path) -> torch.Tensor:
    """The bank of codes [N, L, 512], in the order of `load_photos`."""
    return load_file(path)["wplus"].float()


def load_coded(photos: Path, codes: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Photographs [N, 3, 256, 256] uint8 and their codes [N, L, 512].

    Raises:
        DbafError: the codes are those of another number of photographs.
    """
    pictures, bank = load_photos(photos)["pictures"], load_codes(codes)
    if len(pictures) != len(bank):
        raise DbafError(f"{codes} holds {len(bank)} codes for {len(pictures)} photographs. Run dbaf.training.codes.")
    return pictures, bank


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--out", type=Path, default=Path("runs/codes.safetensors"))
    args = parser.parse_args()
    encode = compiled(load_encoder(bundle_folder("mobile")))
    photos = load_photos(args.photos)
    wplus = []
    for index in track(torch.arange(len(photos["pictures"])).split(16), "encoding"):
        x = scaled(photos["pictures"][index]) * inner_mask(photos["reach"][index], SIZE)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            wplus.append(encode(x.to(DEVICE))[0].float().cpu())
    save_file({"wplus": torch.cat(wplus).half()}, args.out)


if __name__ == "__main__":
    main()
