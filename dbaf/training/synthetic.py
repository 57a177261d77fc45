"""Generated training pairs with exact codes: W+ and the picture that the generator makes of it.

    python -m dbaf.training.synthetic --count 4000 --seed 0 --out runs/synthetic

Shards of 200 pairs; a shard that exists is skipped, so a second run goes on where the first stopped, and several
processes with different seeds share the work. With `--codes`, from `dbaf.training.codes`, the people are not random
ones but mixtures of encoded photographs: what the encoder says of real people, with a picture that it fits exactly.
"""

import argparse
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from dbaf.generators import Generator, load_generator
from dbaf.training.codes import load_codes
from dbaf.training.common import DEVICE, compiled
from dbaf.weights.bundle import bundle_folder

SHARD = 200
BATCH = 8
TRUNCATION = (0.5, 1.0)
STRETCH = (0.7, 1.2)
MIXED = 0.5  # share of codes that change person at a random style


def sample_wplus(generator: Generator, count: int, rng: torch.Generator) -> torch.Tensor:
    """Random W+ codes [count, L, 512], on the CPU: truncated, half of them mixed from two people."""
    z = torch.randn(2 * count, generator.dim, generator=rng)
    psi = torch.empty(2 * count, 1).uniform_(*TRUNCATION, generator=rng)
    mean = generator.mean_w.cpu()
    w = mean + psi * (generator.mapping(z.to(generator.mean_w)).cpu() - mean)  # [2 * count, 512]
    first, second = generator.widen(w).unflatten(0, (2, count)).unbind(0)  # [count, L, 512]
    crossing = torch.randint(1, generator.styles, (count, 1), generator=rng)
    crossing[torch.rand(count, 1, generator=rng) > MIXED] = generator.styles
    return torch.where((torch.arange(generator.styles) < crossing)[..., None], first, second)


def sample_encoded(codes: torch.Tensor, mean: torch.Tensor, count: int, rng: torch.Generator) -> torch.Tensor:
    """Codes [count, L, 512] from a bank of encoded photographs: stretched or shrunk, half of them mixed from two."""
    styles = codes.shape[1]
    index = torch.randint(len(codes), (2, count), generator=rng)
    stretch = torch.empty(2, count, 1, 1).uniform_(*STRETCH, generator=rng)
    first, second = mean + stretch * (codes[index] - mean)  # [count, L, 512] each
    crossing = torch.randint(1, styles, (count, 1), generator=rng)
    crossing[torch.rand(count, 1, generator=rng) > MIXED] = styles
    return torch.where((torch.arange(styles) < crossing)[..., None], first, second)


def load_pairs(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs in a folder: pictures [N, 3, 256, 256] uint8, codes [N, L, 512] float32."""
    shards = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    return torch.cat([s["pictures"] for s in shards]), torch.cat([s["wplus"] for s in shards]).float()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/synthetic"))
    parser.add_argument("--codes", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    generator = load_generator(bundle_folder("mobile")).to(DEVICE)
    bank = load_codes(args.codes) if args.codes else None
    preview = compiled(generator.preview)
    for index in track(range(args.count // SHARD), "shards"):
        path = args.out / f"{args.seed:03d}-{index:04d}.safetensors"
        if path.exists():
            continue
        rng = torch.Generator().manual_seed(1000 * args.seed + index)
        if bank is None:
            wplus = sample_wplus(generator, SHARD, rng)
        else:
            wplus = sample_encoded(bank, generator.mean_w.cpu(), SHARD, rng)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            pictures = torch.cat(
                [preview(part.to(DEVICE)).float().cpu() for part in wplus.split(BATCH)]
            )  # [SHARD, 3, 256, 256]
        pictures = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().contiguous()
        save_file({"pictures": pictures, "wplus": wplus.half()}, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)


if __name__ == "__main__":
    main()
