"""Privacy, utility and speed of a model on real and on generated people, as one JSON report.

    python benchmarks/privacy.py --lfw LFW --portraits PORTRAITS --recogniser DLIB_RESNET --out benchmarks/privacy.json

LFW: a folder a person, photos in it (Labeled Faces in the Wild; use people that training has not seen).
PORTRAITS: a folder of photos, every one of another person. DLIB_RESNET: the recogniser's folder, see
`dbaf.evaluation.recognisers`. Results a photo are kept in --cache, so that an interrupted run goes on where it
stopped; they hold face embeddings of real people: keep that folder private. The report holds none.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import dbaf
from dbaf.errors import PictureError
from dbaf.evaluation.privacy import KEYS, Judge, benchmark_keys, main_face, measure, through_png
from dbaf.evaluation.recognisers import DlibResNet
from dbaf.evaluation.summary import MIN_TAR, summarise
from dbaf.evaluation.verification import FAR, verification
from dbaf.images import read_picture, to_pil
from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import MANIFEST, bundle_folder

SEED = 0
EXTRA_EVERY = 4  # reconstruction and JPEG recovery cost two more renders: every fourth photo has them
PICTURES = {".jpg", ".jpeg", ".png"}


def main() -> None:
    arguments = parse()
    torch.manual_seed(SEED)
    pipeline = Pipeline.from_pretrained(arguments.model, device=arguments.device)
    judge = Judge(pipeline, DlibResNet.from_tfjs(arguments.recogniser))
    cache = arguments.cache / version(arguments.model)
    cache.mkdir(parents=True, exist_ok=True)

    photos = pictures(arguments.lfw)
    gallery = embed(photos, judge, arguments.cache / f"originals-{version(arguments.model, faces_only=True)}.pt")
    threshold, tar = verification(gallery[0], gallery[2])
    print(f"dlib_resnet: TAR {tar.value:.3f} at FAR {FAR:g} (n = {tar.n}), threshold {threshold.value:.3f}")
    if tar.value < MIN_TAR:
        print(f"VOID: a recogniser with a TAR below {MIN_TAR} says nothing about privacy.")
    report: dict[str, Any] = {
        "model": {"name": arguments.model, "manifest_sha256": digest([bundle_folder(arguments.model) / MANIFEST])},
        "machine": machine(arguments.device),
        "recogniser": {
            "name": "dlib_resnet",
            "compared_by": "Euclidean distance, five-point similarity alignment",
            "far": FAR,
            "threshold": threshold.as_json(),
            "tar_on_real_pairs": tar.as_json(),
            "photos": len(gallery[1]),
            "valid": tar.value >= MIN_TAR,
        },
        "keys": KEYS,
        "intervals": "95 % bootstrap over people",
    }
    sets = {"lfw": choose(photos, arguments.count)}
    if arguments.portraits:
        sets["portraits"] = pictures(arguments.portraits)
    for name, chosen in sets.items():
        chosen = chosen[: arguments.limit]
        # A portrait folder has no folder a person: every photo is its own person.
        people = [path.parent.name if name == "lfw" else path.stem for path in chosen]
        records = run(name, chosen, people, judge, cache)
        labels = [label(path) for path in chosen]
        report[name] = summarise(labels, people, records, threshold.value, gallery if name == "lfw" else None)
        write(arguments.out, report)
        shown = ("face_found", "face_found_in_output", "leak", "recovered", "wrong_key", "diversity")
        print(name, {figure: report[name].get(figure, {}).get("value") for figure in shown}, flush=True)
    print(f"Written: {arguments.out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="folder of folders of photos, one a person")
    parser.add_argument("--portraits", type=Path, help="folder of photos of different people")
    parser.add_argument("--recogniser", type=Path, required=True, help="folder of dlib's recogniser (tfjs)")
    parser.add_argument("--count", type=int, default=300, help="photos of LFW, two a person")
    parser.add_argument("--limit", type=int, help="only so many photos of each set, to try things out")
    parser.add_argument("--model", default="mobile", help="name or folder of the model bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "dbaf-privacy")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("privacy.json"))
    return parser.parse_args()


def pictures(folder: Path) -> list[Path]:
    """Every picture under a folder, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise SystemExit(f"No photos under {folder}.")
    return found


def choose(photos: list[Path], count: int) -> list[Path]:
    """The first two photos of `count / 2` people who have two or more; the people are drawn with a fixed seed."""
    by_person: dict[str, list[Path]] = {}
    for path in photos:
        by_person.setdefault(path.parent.name, []).append(path)
    people = sorted(name for name, own in by_person.items() if len(own) >= 2)
    drawn = random.Random(SEED).sample(people, min(len(people), count // 2))
    return [path for name in drawn for path in by_person[name][:2]]


def label(path: Path) -> str:
    """Name of a photo that does not depend on where the data lie."""
    return f"{path.parent.name}/{path.name}"


def embed(photos: list[Path], judge: Judge, file: Path) -> tuple[torch.Tensor, list[str], list[str]]:
    """Embeddings, labels and people of all photos in which a face is found; kept in `file`."""
    labels = [label(path) for path in photos]
    if file.is_file():
        stored = torch.load(file, weights_only=True)
        if stored["asked"] == labels:
            return stored["embeddings"], stored["labels"], stored["people"]
    rows, kept, people = [], [], []
    for number, path in enumerate(photos):
        picture = read_picture(path).rgb
        faces = judge.faces(picture)
        if faces:
            rows.append(judge.embedding(picture, main_face(faces, picture).points))
            kept.append(label(path))
            people.append(path.parent.name)
        if number % 200 == 0:
            print(f"originals: {number}/{len(photos)}", flush=True)
    embeddings = torch.stack(rows)
    torch.save({"asked": labels, "embeddings": embeddings, "labels": kept, "people": people}, f"{file}.tmp")
    os.replace(f"{file}.tmp", file)
    return embeddings, kept, people


def run(name: str, photos: list[Path], people: list[str], judge: Judge, cache: Path) -> list[dict[str, Any]]:
    """A record for every photo, from the cache where there is one."""
    keys = benchmark_keys()
    key_of = {person: number % KEYS for number, person in enumerate(dict.fromkeys(people))}
    records = []
    start, fresh = time.perf_counter(), 0
    for number, (path, person) in enumerate(zip(photos, people, strict=True)):
        place = (name, label(path), key_of[person], number % EXTRA_EVERY == 0)
        file = cache / f"{hashlib.sha256(repr(place).encode()).hexdigest()[:24]}.json"
        if not file.is_file():
            if fresh == 0:
                check_chain(path, judge, keys)
            write(file, measure(path, judge, keys, key_of[person], extras=number % EXTRA_EVERY == 0))
            fresh += 1
            each = (time.perf_counter() - start) / fresh
            if fresh % 5 == 0:
                rest = each * (len(photos) - number - 1) / 60
                print(f"{name}: {number + 1}/{len(photos)}, {each:.1f} s a photo, {rest:.0f} min left", flush=True)
        records.append(json.loads(file.read_text()))
    return records


@torch.inference_mode()
def check_chain(path: Path, judge: Judge, keys: list[Any]) -> None:
    """The benchmark walks stage by stage to time them: that must give what `Pipeline.anonymize` gives to users."""
    pipeline, picture = judge.pipeline, read_picture(path).rgb
    faces = pipeline.detect(picture)
    if not faces:
        return
    identity, attributes = pipeline.disentangle(pipeline.encode(picture, faces))
    staged, _ = pipeline.render(picture, faces, pipeline.anonymize_identity(identity, keys[0]), attributes)
    whole = pipeline.anonymize(to_pil(picture), keys[0]).picture
    if not torch.equal(through_png(staged), through_png(whole)):
        raise PictureError(f"{path}: Pipeline.anonymize() and its stages give different pictures.")


def version(model: str, faces_only: bool = False) -> str:
    """Twelve digits that change when the weights or the code behind a record change."""
    package = Path(dbaf.__path__[0])
    if faces_only:
        code = [*package.glob("faces/*.py"), *(package / "evaluation" / f"{n}.py" for n in ("align", "recognisers"))]
        shards = [*bundle_folder(model).glob("detector*"), *bundle_folder(model).glob("landmarks*")]
        return digest(code + shards)[:12]
    apart = {"training", "weights"}
    code = [p for p in package.rglob("*.py") if p.relative_to(package).parts[0] not in apart]
    code = [p for p in code if p.name not in ("cli.py", "batch.py", "__main__.py", "summary.py", "verification.py")]
    return digest([*code, bundle_folder(model) / MANIFEST])[:12]


def digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(file.read_bytes())
    return whole.hexdigest()


def machine(device: str) -> dict[str, Any]:
    """Where the seconds were taken."""
    cuda = device != "cpu" and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "cpu": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def write(path: Path, report: dict[str, Any]) -> None:
    """Write JSON; the file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
