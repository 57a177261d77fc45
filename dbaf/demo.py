"""The main job, shown on generated people: a group photo, anonymized, and recovered with a right and a wrong key."""

import time
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from dbaf.images import read_picture, to_pil, write_png
from dbaf.keys import Key
from dbaf.pipeline import Pipeline

SEEDS = (3, 1, 2, 24)
TRUNCATION = 0.7
SIDE = 448  # px, each person in the group photo
FEATHER = 64  # px, where neighbours melt into one another
CAPTION = 28  # px


def group_photo(pipeline: Pipeline, seeds: tuple[int, ...] = SEEDS) -> torch.Tensor:
    """Generated people side by side: [1, 3, SIDE, W] in [-1, 1], on the 8-bit grid."""
    step = SIDE - FEATHER
    total = torch.zeros(1, 3, SIDE, step * len(seeds) + FEATHER)
    weight = torch.zeros(1, 1, 1, total.shape[-1])
    ramp = torch.linspace(0, 1, FEATHER + 2)[1:-1]
    window = torch.cat([ramp, torch.ones(SIDE - 2 * FEATHER), ramp.flip(0)])
    for index, seed in enumerate(seeds):
        person = generated_face(pipeline, seed)
        person = torch.nn.functional.interpolate(person, size=SIDE, mode="bicubic", antialias=True)
        total[..., index * step : index * step + SIDE] += person * window
        weight[..., index * step : index * step + SIDE] += window
    return (((total / weight).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@torch.no_grad()
def generated_face(pipeline: Pipeline, seed: int) -> torch.Tensor:
    """A person who does not exist [1, 3, 1024, 1024] in [-1, 1]."""
    generator = pipeline.generator
    z = torch.randn(1, generator.dim, generator=torch.Generator().manual_seed(seed))
    w = generator.mean_w + TRUNCATION * (generator.mapping(z.to(pipeline.device)) - generator.mean_w)
    return generator(generator.widen(w)).clamp(-1, 1).cpu()


def run(out: Path) -> None:
    """Write `original`, `anonymized`, `recovered`, `wrong_key` and `comparison` as PNG files into `out`.

    Every step after the first starts from the saved picture, as a user's would.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline.from_pretrained("mobile")
    key, wrong_key = Key.generate(), Key.generate()
    times = {"load": time.perf_counter() - started}

    def save(name: str, picture: torch.Tensor) -> torch.Tensor:
        write_png(out / f"{name}.png", to_pil(picture), overwrite=True)
        return read_picture(out / f"{name}.png").rgb

    rows = {"original": save("original", group_photo(pipeline))}
    for name, source, secret in (
        ("anonymized", "original", key),
        ("recovered", "anonymized", key),
        ("wrong_key", "anonymized", wrong_key),
    ):
        before = time.perf_counter()
        work = pipeline.anonymize if name == "anonymized" else pipeline.recover
        rows[name] = save(name, work(rows[source], secret).picture)
        times[name] = time.perf_counter() - before
    write_png(out / "comparison.png", _comparison(rows), overwrite=True)
    print(f"{out}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items()))  # noqa: T201


def _comparison(rows: dict[str, torch.Tensor]) -> Image.Image:
    """The pictures below one another, each with its name above it."""
    pictures = {name: to_pil(row) for name, row in rows.items()}
    width, height = next(iter(pictures.values())).size
    sheet = Image.new("RGB", (width, len(rows) * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(pictures.items()):
        top = index * (height + CAPTION)
        draw.text((8, top + 4), name.replace("_", " "), fill="black", font_size=18)
        sheet.paste(picture, (0, top + CAPTION))
    return sheet
