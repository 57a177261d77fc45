"""An album of real people: whether a person's photos get one new face, and who is taken for whom.

    python benchmarks/album.py --lfw LFW --count 400 --out benchmarks/album.json

LFW: a folder a person, photos in it; people that training has not seen. Two photos each of `count` / 2 people make one
album under one public key; of each photo the main face is replaced. Outputs are judged as saved PNGs. The recogniser
that judges is the one by which the album knows people again: whom it does not know, it does not accept either.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from dbaf.album import Album, same_people
from dbaf.evaluation.dataset import choose, photos_in
from dbaf.evaluation.methods import public_key, through_png
from dbaf.evaluation.recogniser import Dlib
from dbaf.evaluation.report import write_json
from dbaf.evaluation.verification import all_pairs, pair_share, share
from dbaf.faces import Selection, main_face
from dbaf.images import read_picture
from dbaf.pipeline import Pipeline
from dbaf.progress import progress_bar


def main() -> None:
    arguments = parse()
    pipeline, judge = Pipeline.from_pretrained(arguments.model, arguments.device), Dlib()
    threshold = judge.calibration["threshold"]["value"]
    album, chosen = Album(pipeline), {}
    photos = choose(photos_in(arguments.lfw, arguments.out.parent), arguments.count)
    with progress_bar("album", 2 * len(photos)) as (update, _):
        for number, photo in enumerate(photos, 1):
            picture = read_picture(photo.path).rgb
            found = pipeline.detect(picture)
            if found:
                face = main_face(found, picture)
                chosen[photo] = Selection(found, [one is face for one in found])
                album.look(photo, picture, chosen[photo])
            update(number, 2 * len(photos), photo.label)
        originals, outputs, people = [], [], []
        for number, (photo, faces) in enumerate(chosen.items(), len(photos) + 1):
            picture = read_picture(photo.path).rgb
            made = pipeline.anonymize(picture, public_key(), faces=faces, held=album.held(photo))
            saved = through_png(made.picture)
            again = pipeline.detect(saved)
            place = faces.chosen[0]
            middle = place.points.mean(0)
            nearest = min(again, key=lambda one, at=middle: float((one.points.mean(0) - at).norm()), default=place)  # type: ignore[misc]
            originals.append(judge.embed(picture, place.points))
            outputs.append(judge.embed(saved, nearest.points))
            people.append(photo.person)
            update(number, 2 * len(photos), photo.label)

    seen = torch.stack([one.embedding for one in album.seen])
    groups = torch.tensor(same_people(seen, list(range(len(seen)))))
    known = all_pairs(groups[:, None].double(), people)  # a distance of 0: grouped
    same, strangers = known.where(known.genuine), known.where(~known.genuine)
    pairs = all_pairs(torch.stack(outputs).double(), people)
    genuine, impostor = pairs.where(pairs.genuine), pairs.where(~pairs.genuine)
    apart = (torch.stack(originals).double() - torch.stack(outputs).double()).norm(dim=1)
    report: dict[str, Any] = {
        "version": 1,
        "recogniser": judge.name,
        "threshold": threshold,
        "photos": len(people),
        "people": len(set(people)),
        "same_person_known_again": pair_share(same.distance == 0, same).as_json(),
        "strangers_taken_for_one": pair_share(strangers.distance == 0, strangers, draws=200).as_json(),
        "same_person_one_new_face": pair_share(genuine.distance <= threshold, genuine).as_json(),
        "strangers_one_new_face": pair_share(impostor.distance <= threshold, impostor, draws=200).as_json(),
        "leak": share(apart <= threshold, people).as_json(),
    }
    write_json(arguments.out, report)
    for name, figure in report.items():
        print(name, figure)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="folder of folders of photos, one a person")
    parser.add_argument("--count", type=int, default=400, help="photos, two a person")
    parser.add_argument("--model", default="mobile", help="name or folder of the model bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("album.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
