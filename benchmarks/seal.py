"""Sealed recovery on many pictures: is it exact, is damage ever missed, what does it cost?

    python benchmarks/seal.py PHOTOS... --count 500 --out benchmarks/seal.json

PHOTOS: pictures or folders of them. Each is anonymized, sealed (every third one beside the picture, as RGBA or grey in
turn), written, read and opened again, and compared bit for bit. Then, for each picture, 1 % of the bytes of its capsule
are flipped, once all over and once in the payload alone: nothing may open. Times are shares of what anonymizing takes,
in the same run.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from statistics import mean

from PIL import Image

from dbaf.batch import find_capsule, plan, sidecar_of
from dbaf.capsule import embed, mask_regions, open_capsule, seal
from dbaf.errors import CapsuleError, DbafError
from dbaf.evaluation.methods import public_key
from dbaf.files import replacing
from dbaf.images import Picture, from_pil, read_picture, to_pil, write_png
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.progress import progress_bar

FLIPPED = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("seal.json"))
    arguments = parser.parse_args()
    rng = random.Random(0)
    sources = [task.source for task in plan(arguments.photos, arguments.out)]
    rng.shuffle(sources)
    pipeline, key = Pipeline.from_pretrained("mobile"), public_key()
    rows: list[dict[str, float]] = []
    left_out: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, progress_bar("seal", arguments.count) as (update, _):
        for source in sources:
            if len(rows) == arguments.count:
                break
            try:
                rows.append(one(source, len(rows), pipeline, key, Path(folder), rng))
            except DbafError as error:  # no face, mostly
                left_out[type(error).__name__] = left_out.get(type(error).__name__, 0) + 1
            update(len(rows), arguments.count, source.name)
    report = {
        "pictures": len(rows),
        "left_out": left_out,
        "exact": sum(row["exact"] for row in rows),
        "damaged": 2 * len(rows),
        "damaged_that_opened": sum(row["opened"] for row in rows),
        "faces": sum(row["faces"] for row in rows),
        "seal_time_of_anonymizing": round(sum(r["seal"] for r in rows) / sum(r["anonymize"] for r in rows), 4),
        "open_time_of_anonymizing": round(sum(r["open"] for r in rows) / sum(r["anonymize"] for r in rows), 4),
        "capsule_bytes_a_face": round(sum(r["bytes"] for r in rows) / sum(r["faces"] for r in rows)),
        "capsule_bytes_of_raw_regions": round(mean(r["bytes"] / r["raw"] for r in rows), 4),
    }
    with replacing(arguments.out) as file:
        file.write((json.dumps(report, indent=1) + "\n").encode())
    print(json.dumps(report, indent=1))


def one(source: Path, number: int, pipeline: Pipeline, key: Key, folder: Path, rng: random.Random) -> dict[str, float]:
    """There and back with one picture, and with its capsule damaged."""
    picture = varied(read_picture(source), number)
    original = to_pil(picture.rgb, picture.alpha, picture.grey)
    start = time.perf_counter()
    result = pipeline.anonymize(picture.rgb, key)
    anonymized = time.perf_counter()
    output = to_pil(result.picture, picture.alpha, picture.grey)
    regions = mask_regions(result.mask)
    capsule = seal(original, output, regions, [key], pipeline.digest)
    sealed = time.perf_counter()
    path = folder / f"{number}.png"
    if number % 3:
        write_png(path, output, add=lambda png: embed(png, capsule))
    else:
        write_png(path, output)
        sidecar_of(path).write_bytes(capsule)
    found, saved = find_capsule(path), read_picture(path)
    assert found is not None
    again = to_pil(saved.rgb, saved.alpha, saved.grey)
    before = time.perf_counter()
    back = open_capsule(found[0], again, key).image
    opened = time.perf_counter()
    assert back is not None
    for left in folder.iterdir():
        left.unlink()
    return {
        "exact": back.mode == original.mode and back.tobytes() == original.tobytes(),
        "opened": sum(opens(damaged(capsule, begin, rng), again, key) for begin in (0, len(capsule) // 2)),
        "faces": len(result.faces),
        "anonymize": anonymized - start,
        "seal": sealed - anonymized,
        "open": opened - before,
        "bytes": len(capsule),
        "raw": sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in regions) * len(original.getbands()),
    }


def varied(picture: Picture, number: int) -> Picture:
    """Every fifth picture with alpha, every seventh one grey."""
    if number % 5 == 0:
        picture.alpha = ((picture.rgb[:, :1] + 1) * 127.5).round() / 255
    if number % 7 == 0:
        picture.grey = True
        picture.rgb = from_pil(to_pil(picture.rgb, None, True)).rgb
    return picture


def damaged(capsule: bytes, begin: int, rng: random.Random) -> bytes:
    """With `FLIPPED` of its bytes from `begin` on changed."""
    changed = bytearray(capsule)
    for place in rng.sample(range(begin, len(changed)), max(1, round(FLIPPED * (len(changed) - begin)))):
        changed[place] ^= rng.randrange(1, 256)
    return bytes(changed)


def opens(capsule: bytes, output: Image.Image, key: Key) -> bool:
    """Whether anything comes out."""
    try:
        open_capsule(capsule, output, key, force=True)
    except CapsuleError:
        return False
    return True


if __name__ == "__main__":
    main()
