"""People of one picture: how often two of their new faces are taken for one person, as if all were of one family.

    python benchmarks/group.py --lfw LFW --count 50 --out benchmarks/group.json

LFW: a folder a person, photos of one size in it; people that training has not seen. A picture is four photos of four
people, two by two. It is pseudonymised as users do it, unlinked and linked, under public keys, and judged as a saved
PNG.
"""

import argparse
import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from dbaf.evaluation.dataset import SEED, Photo, photos_in
from dbaf.evaluation.examine import face_at
from dbaf.evaluation.methods import linked_key, public_key, through_png
from dbaf.evaluation.recogniser import Dlib
from dbaf.evaluation.report import write_json
from dbaf.evaluation.verification import share
from dbaf.faces.face import Face
from dbaf.images import read_picture
from dbaf.pipeline import Pipeline
from dbaf.progress import progress_bar


def main() -> None:
    arguments = parse()
    pipeline, judge = Pipeline.from_pretrained(arguments.model, arguments.device), Dlib()
    threshold = judge.calibration["threshold"]["value"]
    photos = strangers(photos_in(arguments.lfw, arguments.out.parent), 4 * arguments.count)
    hits: dict[str, list[bool]] = {"originals": [], "unlinked": [], "linked": []}
    whose: list[str] = []
    with progress_bar("group", len(photos) // 4) as (update, _):
        for number in range(len(photos) // 4):
            picture = two_by_two([read_picture(photo.path).rgb for photo in photos[4 * number : 4 * number + 4]])
            found = pipeline.detect(picture)
            nonces = public_key().nonces_of(b"group %d" % number)
            saved = {
                "originals": picture,
                "unlinked": through_png(pipeline.anonymize(picture, public_key(), nonces).picture),
                "linked": through_png(pipeline.anonymize(picture, linked_key(number)).picture),
            }
            people = main_faces(found, *picture.shape[2:])
            for name, one in saved.items():
                seen = found if name == "originals" else pipeline.detect(one)
                rows = [judge.embed(one, (face_at(seen, place) or place).points) for place in people]
                hits[name] += [float((a - b).norm()) <= threshold for a, b in combinations(rows, 2)]
            whose += [str(number)] * (len(hits["originals"]) - len(whose))
            update(number + 1, len(photos) // 4, photos[4 * number].label)
    report: dict[str, Any] = {
        "version": 1,
        "recogniser": judge.name,
        "threshold": threshold,
        "pictures": len(photos) // 4,
        "intervals": "95 % bootstrap over pictures",
        "two_people_taken_for_one": {name: share(torch.tensor(own), whose).as_json() for name, own in hits.items()},
    }
    write_json(arguments.out, report)
    for name, figure in report["two_people_taken_for_one"].items():
        print(name, figure)


def strangers(photos: Sequence[Photo], count: int) -> list[Photo]:
    """One photo each of at most `count` people, in an order that is the same on every machine."""
    firsts = {photo.person: photo for photo in reversed(photos)}
    people = sorted(firsts)
    return [firsts[person] for person in random.Random(SEED).sample(people, min(count, len(people)))]


def two_by_two(four: Sequence[torch.Tensor]) -> torch.Tensor:
    """One picture [1, 3, 2 H, 2 W] of four [1, 3, H, W]."""
    return torch.cat([torch.cat(list(four[:2]), 3), torch.cat(list(four[2:]), 3)], 2)


def main_faces(found: Sequence[Face], height: int, width: int) -> list[Face]:
    """Of the faces in a picture of four, `height` x `width` pixels, in each quarter that nearest its middle."""
    people = []
    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        middle = torch.tensor([(2 * x + 1) * width / 4, (2 * y + 1) * height / 4])
        away = [(face.points.mean(0) - middle).abs() for face in found]
        inside = [(float(d.norm()), index) for index, d in enumerate(away) if d[0] < width / 4 and d[1] < height / 4]
        people += [found[index] for _, index in sorted(inside)[:1]]
    return people


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="folder of folders of photos, one a person")
    parser.add_argument("--count", type=int, default=50, help="pictures of four people")
    parser.add_argument("--model", default="mobile", help="name or folder of the model bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("group.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
