"""People of one picture: how often two of their new faces are taken for one person, as if all were of one family.

    python benchmarks/group.py --lfw LFW --count 60 --out benchmarks/group.json

LFW: a folder a person, photos in it; people that training has not seen. A picture is four photos of four people, two by
two. It is pseudonymised as users do it, unlinked and linked, under public keys, and judged as a saved PNG.
"""

import argparse
import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from dbaf.evaluation.dataset import SEED, Photo, photos_in
from dbaf.evaluation.methods import linked_key, public_key, through_png
from dbaf.evaluation.recogniser import Dlib
from dbaf.evaluation.report import write_json
from dbaf.evaluation.verification import share
from dbaf.faces import main_face
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
            four = [read_picture(photo.path).rgb for photo in photos[4 * number : 4 * number + 4]]
            picture = two_by_two(four)
            found = pipeline.detect(picture)
            nonces = public_key().nonces_of(b"group %d" % number)
            saved = {
                "originals": picture,
                "unlinked": through_png(pipeline.anonymize(picture, public_key(), nonces).picture),
                "linked": through_png(pipeline.anonymize(picture, linked_key(number)).picture),
            }
            places = [points.mean(0) for points in main_points(pipeline, four)]
            for name, one in saved.items():
                faces = [face.points for face in (found if name == "originals" else pipeline.detect(one))]
                own = [min(faces, key=lambda points, at=at: float((points.mean(0) - at).norm())) for at in places]  # type: ignore[misc]
                rows = [judge.embed(one, points) for points in own]
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


def main_points(pipeline: Pipeline, four: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The five points [5, 2], in pixels of `two_by_two`, of each tile's main face, if it has one."""
    points = []
    for index, tile in enumerate(four):
        if faces := pipeline.detect(tile):
            height, width = tile.shape[2:]
            corner = torch.tensor([index % 2 * width, index // 2 * height])
            points.append(main_face(faces, tile).points + corner)
    return points


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="folder of folders of photos, one a person")
    parser.add_argument("--count", type=int, default=60, help="pictures of four people")
    parser.add_argument("--model", default="mobile", help="name or folder of the model bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("group.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
