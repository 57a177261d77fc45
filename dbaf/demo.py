"""The main job, shown on generated people: a group photo, anonymized, and brought back with right and wrong keys."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from dbaf.capsule import embed, extract, mask_regions, open_capsule, seal
from dbaf.images import read_picture, to_pil, write_png
from dbaf.keys import Key, new_nonces
from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import bundle_digest

SEEDS = (3, 1, 2, 24)
TRUNCATION = 0.7
SIDE = 448  # px, each person in the group photo
FEATHER = 64  # px, where neighbours melt into one another
CAPTION = 28  # px
CAPTIONS = {
    "original": "original",
    "anonymized": "anonymized",
    "unsealed": "unsealed with the key: the original, bit for bit",
    "recovered": "recovered with the key from the pixels alone, without the seal",
    "wrong_key": "the same with a wrong key",
}


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
    """Write the group photo, what is made of it, and a `comparison` of all as PNG files into `out`.

    `anonymized` carries the sealed original, from which `unsealed` comes; `recovered` and `wrong_key` come from its
    pixels alone. Every step after the first starts from the saved picture, as a user's would.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline.from_pretrained("mobile")
    key, wrong_key = Key.generate(), Key.generate()
    times = {"load": time.perf_counter() - started}

    rows: dict[str, Image.Image] = {}

    def save(name: str, image: Image.Image, add: Callable[[bytes], bytes] | None = None) -> torch.Tensor:
        write_png(out / f"{name}.png", image, overwrite=True, add=add)
        rows[name] = image
        times[name] = time.perf_counter() - started - sum(times.values())
        return read_picture(out / f"{name}.png").rgb

    original = save("original", to_pil(group_photo(pipeline)))
    result = pipeline.anonymize(original, key, new_nonces())
    model = bytes.fromhex(bundle_digest("mobile"))
    capsule = seal(to_pil(original), result.image, mask_regions(result.mask), [key], model)
    anonymized = save("anonymized", result.image, lambda png: embed(png, capsule))
    stored = extract((out / "anonymized.png").read_bytes())
    assert stored is not None
    exact = open_capsule(stored, to_pil(anonymized), key).image
    assert exact is not None
    save("unsealed", exact)
    save("recovered", pipeline.recover(anonymized, key, result.nonce).image)
    save("wrong_key", pipeline.recover(anonymized, wrong_key, result.nonce).image)
    write_png(out / "comparison.png", _comparison(rows), overwrite=True)
    print(f"{out}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items()))  # noqa: T201
    print(f"unsealed is the original bit for bit: {exact.tobytes() == to_pil(original).tobytes()}")  # noqa: T201


def _comparison(pictures: dict[str, Image.Image]) -> Image.Image:
    """The pictures below one another, each with its name above it."""
    width, height = next(iter(pictures.values())).size
    sheet = Image.new("RGB", (width, len(pictures) * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(pictures.items()):
        top = index * (height + CAPTION)
        draw.text((8, top + 4), CAPTIONS[name], fill="black", font_size=18)
        sheet.paste(picture, (0, top + CAPTION))
    return sheet
