"""How well what is in front of a face is kept: photos of people in face masks, whose outlines were checked by hand.

    python benchmarks/occluders.py PHOTOS --out benchmarks/occluders.json

`benchmarks/occluders/NAME.png` is white where the photo PHOTOS/NAME.* shows a cloth over the face. (Proposed by the
colours of cloth and skin, as the training labels are for other people's photos; each was looked at, and bad ones were
left out.) Every photo is anonymized, and the cloth compared with the original: by the whole pipeline, without MAAR,
without the network that sees occluders, and without both.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from dbaf.evaluation.ablation import Change, load, no_maar, no_occlusion
from dbaf.evaluation.methods import public_key
from dbaf.evaluation.report import write_json
from dbaf.evaluation.verification import mean, median, share
from dbaf.faces import Face, main_face
from dbaf.faces.mask import covered
from dbaf.images import read_picture
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.process import keep_freed_memory

VARIANTS: dict[str, tuple[Change, ...]] = {
    "all": (),
    "without MAAR": (no_maar,),
    "without the occlusion network": (no_occlusion,),
    "without both": (no_maar, no_occlusion),
}
MASKS = Path(__file__).with_name("occluders")
ENOUGH = 25.0  # dB
EXACT = 99.0  # dB, for no difference at all


def psnr(one: torch.Tensor, other: torch.Tensor, where: torch.Tensor) -> float:
    """Of pictures [1, 3, H, W] in [-1, 1] where a mask [H, W] is true, in dB, at most EXACT."""
    error = float((one - other)[0][:, where].double().square().mean())
    return min(EXACT, 10 * math.log10(4 / error)) if error else EXACT


def examine(pipeline: Pipeline, photo: Path, cloth: torch.Tensor, key: Key) -> dict[str, float] | None:
    """Figures of one photo, whose cloth is [H, W] bool; None without a face."""
    picture = read_picture(photo).rgb
    faces = pipeline.detect(picture)
    if not faces:
        return None
    face: Face = main_face(faces, picture)
    made = pipeline.anonymize(picture, key)
    bare = covered(face.mesh[:, :2], face.quad, *cloth.shape) & ~cloth
    return {"psnr": psnr(picture, made.picture, cloth), "replaced": float(made.mask[0, 0][bare].mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    keep_freed_memory()
    by_name = {photo.stem: photo for photo in args.photos.iterdir()}
    key = public_key()
    report: dict[str, Any] = {"masks": len(list(MASKS.glob("*.png")))}
    for name, changes in VARIANTS.items():
        pipeline, found = load("mobile", changes), []
        for path in track(sorted(MASKS.glob("*.png")), name):
            cloth = torch.from_numpy(np.array(Image.open(path)))
            found.append(examine(pipeline, by_name[path.stem], cloth, key))
        people = [path.stem for path, one in zip(sorted(MASKS.glob("*.png")), found, strict=True) if one]
        seen = {what: torch.tensor([one[what] for one in found if one]) for what in ("psnr", "replaced")}
        report[name] = {
            "psnr_of_the_cloth_db": median(seen["psnr"], people).as_json(),
            "at_least_25_db": share(seen["psnr"] >= ENOUGH, people).as_json(),
            "rest_of_the_face_replaced": mean(seen["replaced"], people).as_json(),
            "no_face_found": len(found) - len(people),
        }
        print(name, report[name])
    write_json(args.out, report)


if __name__ == "__main__":
    main()
