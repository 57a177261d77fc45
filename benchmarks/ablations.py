"""What each part of the pipeline does for privacy and likeness: the same photos and keys, one part changed at a time.

    python benchmarks/ablations.py --lfw LFW --count 60 --trained BUNDLES --out benchmarks/ablations.json

LFW: a folder a person, photos in it; people that training has not seen. "Identity removed" gives everybody the mean
identity, so that what the recogniser still accepts came through the attributes: with MAAR, through its maps too.

BUNDLES: a folder of bundles whose CID or KRIA was trained otherwise, all on the same photographs: see
docs/training.md. In one stage nothing is disentangled before it is anonymized: KRIA turns the code itself.
"""

import argparse
import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from dbaf.evaluation import ablation
from dbaf.evaluation.calibration import calibration_for
from dbaf.evaluation.dataset import Photo, choose, photos_in
from dbaf.evaluation.examine import Judges, face_at, look_at_original
from dbaf.evaluation.methods import linked_key, through_png
from dbaf.evaluation.recogniser import Dlib
from dbaf.evaluation.report import write_json
from dbaf.evaluation.summary import calibration_json
from dbaf.evaluation.utility import landmark_error
from dbaf.evaluation.verification import all_pairs, mean, pair_share, share
from dbaf.faces.face import main_face
from dbaf.process import keep_freed_memory

VARIANTS: dict[str, tuple[ablation.Change, ...]] = {
    "all": (),
    "KRIA only reflects": (ablation.plain_kria,),
    "proportions as rendered": (ablation.no_proportions,),
    "without MAAR": (ablation.no_maar,),
    "without the occlusion network": (ablation.no_occlusion,),
    "without the gesture code": (ablation.no_gesture_code,),
    "identity removed": (ablation.identity_removed,),
    "identity removed, without MAAR": (ablation.identity_removed, ablation.no_maar),
}
TRAINED: dict[str, tuple[str, tuple[ablation.Change, ...]]] = {  # with the folder of each one's bundle
    "two stages, trained again": ("two-stages", ()),
    "one stage": ("one-stage", (ablation.no_cid,)),
    "CID without attention": ("no-attention", ()),
}


@torch.inference_mode()
def examine(photo: Photo, judges: Judges, group: int) -> dict[str, Any] | None:
    """Embeddings and utility of one photo under two keys; None without a face."""
    original = look_at_original(photo.path, judges)
    if not original.faces:
        return None
    picture, pipeline = original.picture, judges.pipeline
    subject = main_face(original.faces, picture)
    identity, attributes = pipeline.disentangle(pipeline.encode(picture, [subject]))
    record: dict[str, Any] = {"person": photo.person, "group": group, "original": original.record["embedding"]}
    for name, number in (("first", group), ("second", group + 1)):
        other = pipeline.anonymize_identity(identity, linked_key(number))
        made = through_png(pipeline.render(picture, [subject], other, attributes).picture)
        face = face_at(judges.faces(made), subject)
        record[name] = judges.embed(made, (face or subject).points)
        if name == "first":
            record["landmarks"] = landmark_error(subject.mesh, face.mesh) if face else None
            record["agrees"] = bool(face and judges.expression_of(made, face) == original.record["expression"])
    return record


def figures(records: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    people = [record["person"] for record in records]
    original, first, second = (
        torch.tensor([record[name] for record in records], dtype=torch.float64)
        for name in ("original", "first", "second")
    )
    one_key = [record for record in records if record["group"] == 0]
    pairs = all_pairs(torch.tensor([r["first"] for r in one_key], dtype=torch.float64), [r["person"] for r in one_key])
    strangers = pairs.where(~pairs.genuine)
    away = (original - first).norm(dim=1)
    seen = [record for record in records if record["landmarks"] is not None]
    return {
        "leak": share(away <= threshold, people).as_json(),
        "distance_to_original": mean(away, people).as_json(),
        "two_keys": share((first - second).norm(dim=1) <= threshold, people).as_json(),
        "strangers_under_one_key": pair_share(strangers.distance <= threshold, strangers).as_json(),
        "landmark_error_iod": mean(
            torch.tensor([r["landmarks"] for r in seen], dtype=torch.float64), [r["person"] for r in seen]
        ).as_json(),
        "expression_agreement": share(torch.tensor([r["agrees"] for r in records]), people).as_json(),
    }


def variant(
    photos: list[Photo], groups: dict[str, int], threshold: float, job: tuple[str, tuple[ablation.Change, ...]]
) -> dict[str, Any]:
    """The figures of one variant.

    Args:
        photos: at which it is measured.
        groups: of the people in them, each with its own key.
        threshold: distance up to which the recogniser takes two faces for one person.
        job: its bundle, and what is changed in the pipeline.
    """
    bundle, changes = job
    keep_freed_memory()
    torch.set_num_threads(1)
    judges = Judges.load(ablation.load(bundle, changes), Dlib())
    found = [examine(photo, judges, groups[photo.person]) for photo in photos]
    return figures([record for record in found if record], threshold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--trained", type=Path, help="folder of bundles that were trained otherwise")
    parser.add_argument("--count", type=int, default=60, help="photos, two a person")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    calibration = calibration_for(Dlib(), torch.zeros(0, 1), [], "stored")
    photos = choose(photos_in(args.lfw, args.out.parent), args.count)
    groups = {person: number % 2 for number, person in enumerate(dict.fromkeys(photo.person for photo in photos))}
    report: dict[str, Any] = {"photos": len(photos), "recogniser": calibration_json(calibration)}
    jobs = {name: ("mobile", changes) for name, changes in VARIANTS.items()}
    if args.trained:
        jobs |= {name: (str(args.trained / folder), changes) for name, (folder, changes) in TRAINED.items()}
    work = functools.partial(variant, photos, groups, calibration.threshold.value)
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        for name, found in zip(jobs, pool.map(work, jobs.values()), strict=True):
            report[name] = found
            print(name, found, flush=True)
            write_json(args.out, report)


if __name__ == "__main__":
    main()
