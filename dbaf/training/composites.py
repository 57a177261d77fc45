"""What recovery gets to see: photographs with another person's face pasted in, and the code of that face.

    python -m dbaf.training.composites --count 2000

Every other shard of 200: an encoded photograph through KRIA under random keys, as it will be. The others: the whole
identity code of another photograph, so that nothing about the first gives it away. Rendered, pasted with the library's
own `paste`, 8 bits deep. The encoder learns on them to read the codes of anonymized faces. Photographs of real people:
the folder never enters the repository.
"""

import argparse
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import save_file

from dbaf.encoders.compact import SIZE
from dbaf.faces import FaceFinder, paste
from dbaf.faces.align import crop
from dbaf.faces.contour import bend
from dbaf.faces.gestures import gestures
from dbaf.faces.mask import reach, to_square
from dbaf.generators import load_generator
from dbaf.gesture_code import attribute_code
from dbaf.training.codes import load_coded
from dbaf.training.common import DEVICE, compiled, load_cid, load_gestures, load_kria
from dbaf.training.latent import random_keys
from dbaf.training.observe import in_square
from dbaf.training.photos import scaled
from dbaf.training.synthetic import BATCH, SHARD
from dbaf.weights.bundle import bundle_folder

# eyes, nose tip and mouth corners in an FFHQ crop of 256 px: about there in every face
POINTS = torch.tensor([[98.0, 120], [158, 120], [128, 155], [104, 185], [152, 185]])


def pasted(finder: FaceFinder, photo: torch.Tensor, face: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A generated face [1, 3, 256, 256] pasted into an FFHQ crop [1, 3, 256, 256], cropped anew and rounded.

    Returns:
        The picture [1, 3, 256, 256] and the reach [1, DIRECTIONS] of its face, for `inner_mask`.
    """
    old = finder.retrace(photo, POINTS)
    patch = crop(face, old.quad, SIZE)
    mesh = finder.retrace(patch, to_square(old.points, old.quad) * SIZE).mesh
    patch = bend(patch, mesh[:, :2] / SIZE, to_square(old.mesh[:, :2], old.quad))
    whole = paste(photo, patch, old)[0]
    new = finder.retrace(whole, old.points)
    picture = ((crop(whole, new.quad, SIZE).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return picture, reach(to_square(new.mesh[:, :2], new.quad))[None].float()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    parser.add_argument("--out", type=Path, default=Path("runs/composites"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    folder = bundle_folder("mobile")
    generator, finder = load_generator(folder).to(DEVICE), FaceFinder.from_bundle(folder)
    cid, goes, kria = load_cid(folder), load_gestures(folder), load_kria(folder)
    coded = load_coded(args.photos, args.codes)
    photos, bank, doing = coded["pictures"], coded["wplus"], gestures(in_square(coded["meshes"]))
    preview = compiled(generator.preview)
    for index in track(range(args.count // SHARD), "shards"):
        path = args.out / f"{args.seed:03d}-{index:04d}.safetensors"
        if path.exists():
            continue
        rng = torch.Generator().manual_seed(1000 * args.seed + index)
        chosen = torch.randint(len(bank), (SHARD,), generator=rng)
        others = torch.randint(len(bank), (SHARD,), generator=rng)
        own, other = bank[chosen].to(DEVICE), bank[others].to(DEVICE)
        attributes = attribute_code(cid, goes, own, doing[chosen].to(DEVICE))
        identity = other - attribute_code(cid, goes, other, doing[others].to(DEVICE))
        keyed = kria(own - attributes, random_keys(generator, SHARD, rng))
        wplus = (keyed if index % 2 else identity) + attributes
        with torch.autocast(DEVICE.type, torch.bfloat16):
            faces = torch.cat([preview(part).float().cpu() for part in wplus.split(BATCH)]).clamp(-1, 1)
        pictures = [
            pasted(finder, scaled(photo[None]), face[None])[0]
            for photo, face in zip(photos[chosen], faces, strict=True)
        ]
        whole = ((torch.cat(pictures) + 1) * 127.5).round().byte()
        save_file({"pictures": whole, "wplus": wplus.half().cpu()}, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)


if __name__ == "__main__":
    main()
