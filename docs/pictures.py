#!/usr/bin/env python3
"""The pictures of help pages (web/docs), templates (workflows) and the registry, of people who do not exist.

    python docs/pictures.py

Written anew whenever the weights change; four minutes on two cores.
"""

from pathlib import Path

import torch
from PIL import Image, ImageDraw

from dbaf.album import Album
from dbaf.capsule import mask_regions
from dbaf.capsule.regions import Region
from dbaf.clip import anonymize_clip
from dbaf.demo import SIDE, TRUNCATION, generated_face, group_photo
from dbaf.faces import Selection, crop
from dbaf.faces.choose import by_number
from dbaf.faces.draw import draw_faces
from dbaf.faces.mask import inner_mask, reach, to_square
from dbaf.faces.proportions import as_rendered
from dbaf.images import to_pil
from dbaf.keys import Key
from dbaf.mix import mix_identities
from dbaf.pipeline import Pipeline
from dbaf.stages import Identity, Result

ROOT = Path(__file__).resolve().parents[1]
KEY, OTHER_KEY = Key(bytes(range(32))), Key(bytes(range(1, 33)))
PERSON, DONOR = 3, 2  # seeds
TILE, CAPTION, GAP = 200, 22, 6  # px
LEGIBLE = 44  # px of a caption of a template, which the template browser shows small
LARGEST = 60_000  # bytes
INK, PAPER = "#222", "white"


def strip(
    tiles: list[tuple[str, Image.Image | torch.Tensor]], height: int = TILE, down: bool = False, caption: int = CAPTION
) -> Image.Image:
    """Pictures beside one another, or below, each with its name under it, in a line of `caption` px."""
    images = [image if isinstance(image, Image.Image) else to_pil(image) for _, image in tiles]
    images = [image.resize((round(image.width * height / image.height), height), Image.LANCZOS) for image in images]
    step = height + caption + GAP
    width = max(image.width for image in images) if down else sum(image.width + GAP for image in images) - GAP
    sheet = Image.new("RGB", (width, step * len(images) - GAP if down else height + caption), PAPER)
    draw, x, y = ImageDraw.Draw(sheet), 0, 0
    for (name, _), image in zip(tiles, images, strict=True):
        sheet.paste(image, (x, y))
        draw.text((x + 4, y + height + caption // 7), name, fill=INK, font_size=caption * 2 // 3)
        x, y = (0, y + step) if down else (x + image.width + GAP, 0)
    return sheet


def beside(pictures: list[torch.Tensor]) -> Image.Image:
    """Pictures of one size, without names."""
    gap = torch.ones(1, 3, pictures[0].shape[-2], GAP)
    return to_pil(torch.cat([part for picture in pictures for part in (picture, gap)][:-1], 3))


def save(path: Path, image: Image.Image) -> None:
    """As JPEG, as good as the size allows."""
    for quality in (90, 85, 80, 70, 60):
        image.save(path, "JPEG", quality=quality, optimize=True)
        if path.stat().st_size <= LARGEST:
            return
    raise ValueError(f"{path} is too large.")


def halves(one: Image.Image, other: Image.Image, line: int) -> Image.Image:
    """The upper left half of one picture and the lower right half of another, as large."""
    width, height = one.size
    corner = Image.new("L", one.size)
    ImageDraw.Draw(corner).polygon([(0, 0), (width, 0), (0, height)], fill=255)
    image = Image.composite(one, other, corner)
    ImageDraw.Draw(image).line([(width, 0), (0, height)], fill=PAPER, width=line)
    return image


def small(picture: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(picture, size=SIDE, mode="bicubic", antialias=True).clamp(-1, 1)


def again(pipeline: Pipeline, seed: int, other: int) -> torch.Tensor:
    """A generated person [1, 3, 1024, 1024] in the pose and light of another one."""
    generator = pipeline.generator
    w = [torch.randn(1, generator.dim, generator=torch.Generator().manual_seed(one)) for one in (seed, other)]
    codes = [generator.widen(generator.mean_w + TRUNCATION * (generator.mapping(z) - generator.mean_w)) for z in w]
    code = codes[0].clone()
    code[:, :3], code[:, 14:] = codes[1][:, :3].lerp(code[:, :3], 0.5), codes[1][:, 14:]
    return generator(code).clamp(-1, 1)


def unlinked(pipeline: Pipeline, picture: torch.Tensor, key: Key = KEY, faces: Selection | None = None) -> Result:
    """What DBAF Anonymize Image makes of a picture."""
    return pipeline.anonymize(picture, key, key.nonces_of(to_pil(picture).tobytes()), faces=faces)


def outlined(image: Image.Image, boxes: list[Region]) -> Image.Image:
    for box in boxes:
        ImageDraw.Draw(image).rectangle(box, outline="yellow", width=4)
    return image


@torch.no_grad()
def main() -> None:
    """Write all of them."""
    pipeline = Pipeline.from_pretrained("mobile", device="cpu")
    person, donor, group = (
        small(generated_face(pipeline, PERSON)),
        small(generated_face(pipeline, DONOR)),
        group_photo(pipeline),
    )
    safe, other = unlinked(pipeline, person), unlinked(pipeline, person, OTHER_KEY)
    saved = (((safe.picture + 1) * 127.5).round() / 127.5 - 1).clamp(-1, 1)
    back, wrong = pipeline.recover(saved, KEY), pipeline.recover(saved, OTHER_KEY)
    same = pipeline.reconstruct(person)
    (face,) = pipeline.detect(person)
    identity, attributes = pipeline.disentangle(pipeline.encode(person, [face]))

    def mixed(seed_picture: torch.Tensor, strength: float) -> torch.Tensor:
        towards, _ = pipeline.disentangle(pipeline.encode(seed_picture, pipeline.detect(seed_picture)))
        return pipeline.render(person, [face], mix_identities(identity, towards, strength), attributes).picture

    def average(code: torch.Tensor) -> torch.Tensor:
        return pipeline.generator(code).clamp(-1, 1)

    mean = pipeline.generator.widen(pipeline.generator.mean_w[None])
    mean_attributes = pipeline.cid(mean)
    mean_identity = Identity(mean - mean_attributes, mean, [[]], [False], as_rendered(1))
    square = crop(person, face.quad, 256)
    seen = inner_mask(reach(to_square(face.mesh[:, :2], face.quad))[None].float(), 256)
    sealed = outlined(to_pil(saved), mask_regions(safe.mask))
    found = pipeline.detect(group)
    some = Selection(found, by_number(found, {1, 3}))
    all_new, some_new = unlinked(pipeline, group), unlinked(pipeline, group, faces=some)
    steps = pipeline.anonymize(group, KEY)
    all_back, steps_back = pipeline.recover(all_new.image, KEY), pipeline.recover(steps.image, KEY)
    four_mixed = [(f"strength {value:.2f}", mixed(donor, value)) for value in (0, 0.33, 0.67, 1)]
    grey = group.mean(1, keepdim=True).expand_as(group) * 0.5
    repaint = all_new.mask * all_new.picture + (1 - all_new.mask) * grey

    pages = {
        "LoadModel": strip([(f"person {seed}", small(generated_face(pipeline, seed))) for seed in (1, 2, 24)]),
        "Key": strip([("original", person), ("under one key", safe.picture), ("under another", other.picture)]),
        "AnonymizeImage": strip(
            [("image", person), ("anonymized", safe.picture), ("mask", safe.mask.expand(-1, 3, -1, -1) * 2 - 1)]
        ),
        "RecoverImage": strip(
            [("image", safe.picture), ("recovered", back.picture), ("with a wrong key", wrong.picture)]
        ),
        "Reconstruct": strip([("image", person), ("reconstructed", same.picture)]),
        "DetectFaces": strip([("choose: by number, numbers: 1, 3", draw_faces(to_pil(group), some))]),
        "Encode": strip(
            [
                ("aligned", square),
                ("what the encoder sees", square * seen),
                ("its code, rendered", average(identity.latent)),
            ]
        ),
        "Disentangle": strip(
            [
                ("latent", average(identity.latent)),
                ("identity, else average", average(identity.code + mean_attributes)),
                ("attributes, else average", average(mean_identity.code + attributes.code)),
            ]
        ),
        "Anonymize": strip([("originals", group), ("under one key", steps.picture)], 150, down=True),
        "Recover": strip([("anonymized", steps.picture), ("recovered", steps_back.picture)], 150, down=True),
        "MixIdentities": strip([*four_mixed, ("other", donor)], 150),
        "MAARBlend": strip(
            [("image", person), ("mask", safe.mask.expand(-1, 3, -1, -1) * 2 - 1), ("blended", safe.picture)]
        ),
        "Seal": strip([("original", person), ("image: the frame is sealed", sealed)]),
        "Unseal": strip([("image", safe.picture), ("original, bit for bit", person)]),
        "Load": strip(
            [
                ("safe.png", safe.picture),
                (
                    "its capsule, unsealed",
                    outlined(to_pil(person), mask_regions(safe.mask)),
                ),
            ]
        ),
        "Save": strip([("pixels and capsule", safe.picture), ("pixels only", other.picture)], 220),
    }
    moved = small(again(pipeline, PERSON, DONOR))
    album = [person, donor, moved]
    people = Album(pipeline)
    for number, picture in enumerate(album):
        people.look(number, picture)
    album_safe = [
        pipeline.anonymize(picture, KEY, held=people.held(number)).picture for number, picture in enumerate(album)
    ]
    rows = [beside(row) for row in (album, album_safe)]
    frames = [group[..., at : at + 720] for at in range(0, 480, 60)]
    clip = [result.picture for result in anonymize_clip(pipeline, frames, KEY)]
    film = [beside(row[::3]) for row in (frames, clip)]

    def below(*tiles: tuple[str, Image.Image | torch.Tensor]) -> Image.Image:
        return strip(list(tiles), down=True, caption=LEGIBLE)

    templates = {
        "album": below(("a folder", rows[0]), ("one new face a person", rows[1])),
        "anonymize": below(("original", group), ("anonymized", all_new.picture)),
        "anonymize_steps": below(("original", group), ("anonymized, step by step", steps.picture)),
        "recover": below(("anonymized", all_new.picture), ("recovered", all_back.picture)),
        "recover_steps": below(("anonymized, step by step", steps.picture), ("recovered", steps_back.picture)),
        "choose_faces": below(("who is chosen", draw_faces(to_pil(group), some)), ("finished", some_new.picture)),
        "restyle": below(("original", group), ("new faces stay, grey is repainted", repaint)),
        "mix_identities": strip(
            [four_mixed[0], four_mixed[2], four_mixed[3], ("identity from", donor)], 220, caption=LEGIBLE
        ),
        "compare": below(("original", group), ("anonymized", all_new.picture), ("recovered", all_back.picture)),
        "video": below(("frames", film[0]), ("one new face a person", film[1])),
    }
    pages["LoadFolder"] = strip([("a folder, through DBAF Anonymize Image", rows[0]), ("", rows[1])], 150, down=True)
    for name, image in pages.items():
        save(ROOT / "web" / "docs" / f"DBAF_{name}.jpg", image)
    for name, image in templates.items():
        save(ROOT / "workflows" / f"{name}.jpg", image)
    halves(to_pil(person), safe.image, 6).resize((256, 256), Image.LANCZOS).save(
        ROOT / "docs" / "icon.png", optimize=True
    )
    banner = halves(to_pil(group), all_new.image, 6)
    save(ROOT / "docs" / "banner.jpg", banner.resize((1200, 1200 * banner.height // banner.width), Image.LANCZOS))


if __name__ == "__main__":
    main()
