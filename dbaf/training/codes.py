"""What encoder and feedback make of photographs: a bank of W+ codes of real people for the stages after it.

    python -m dbaf.training.codes

Those of people with several photographs come first, since what differs between them is not who they are, then those
of known origin; the others are drawn at random. The codes are pictures of real people in another form: the file never
enters the repository.
"""

import argparse
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from dbaf.encoders.compact import SIZE
from dbaf.encoders.refine import feedback
from dbaf.errors import DbafError
from dbaf.faces.mask import inner_mask
from dbaf.generators import load_generator
from dbaf.training.common import DEVICE, compiled, load_encoder
from dbaf.training.photos import UNKNOWN, load_photos, scaled
from dbaf.weights.bundle import bundle_folder


def load_codes(path: Path) -> torch.Tensor:
    """The bank of codes [N, L, 512]."""
    return load_file(path)["wplus"].float()


def load_coded(photos: Path, codes: Path) -> dict[str, torch.Tensor]:
    """What `load_photos` gives of the photographs that have codes, and `wplus` [N, L, 512].

    Raises:
        DbafError: there are fewer photographs than there were.
    """
    loaded, coded = load_photos(photos), load_file(codes)
    if coded["index"].max() >= len(loaded["pictures"]):
        raise DbafError(f"{codes} is not of the photographs in {photos}. Run dbaf.training.codes.")
    return {name: values[coded["index"]] for name, values in loaded.items()} | {"wplus": coded["wplus"].float()}


def chosen(people: torch.Tensor, origins: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers of `count` of the photographs of people [N] of origins [N], in random order.

    People who are in several are preferred, then those whose origin is known.
    """
    rng = torch.Generator().manual_seed(0)
    shuffled = torch.randperm(len(people), generator=rng)
    _, who, times = people[shuffled].unique(return_inverse=True, return_counts=True)
    several = times[who] > 1
    known = ~several & (origins[shuffled] != UNKNOWN)
    index = torch.cat([shuffled[several], shuffled[known], shuffled[~several & ~known]])[:count]
    return index[torch.randperm(len(index), generator=rng)]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--count", type=int, default=9000, help="of them")
    parser.add_argument("--out", type=Path, default=Path("runs/codes.safetensors"))
    args = parser.parse_args()
    bundle = bundle_folder("mobile")
    generator, encoder = load_generator(bundle).to(DEVICE), load_encoder(bundle)
    encode = compiled(lambda x, seen: feedback(generator, encoder, seen, encoder(x)[0]))
    photos = load_photos(args.photos)
    index = chosen(photos["people"], photos["origins"], args.count)
    wplus = []
    for part in track(index.split(8), "encoding"):
        seen = inner_mask(photos["reach"][part], SIZE)
        x = scaled(photos["pictures"][part]) * seen
        with torch.autocast(DEVICE.type, torch.bfloat16):
            wplus.append(encode(x.to(DEVICE), seen.to(DEVICE)).float().cpu())
    save_file({"wplus": torch.cat(wplus).half(), "index": index}, args.out)


if __name__ == "__main__":
    main()
