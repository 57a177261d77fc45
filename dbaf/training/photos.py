"""Real photographs for training: FFHQ crops with what the recogniser and the face mesh see in them.

    python -m dbaf.training.photos lfw/train utkface occluded/train --recogniser MobileFaceNet.tflite

Photographs in one sub-folder are of one person, others each of somebody else. UTKFace's names tell perceived origin.
The face nearest the middle of each photo. Shards of 200; a shard that exists is skipped, and `--part 0/2` and
`--part 1/2` share the work between two processes. Photographs of real people: the folder never enters the repository.
"""

import argparse
import hashlib
import re
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from dbaf.encoders.compact import SIZE
from dbaf.errors import DbafError, PictureError
from dbaf.faces import FaceFinder, crop, main_face
from dbaf.faces.mask import reach
from dbaf.faces.mesh import POINTS
from dbaf.images import read_picture
from dbaf.training.mobilefacenet import MobileFaceNet
from dbaf.training.observe import in_square, observe
from dbaf.weights.bundle import bundle_folder

SHARD = 200
ORIGINS, UNKNOWN = ("White", "Black", "Asian", "Indian"), -1  # as UTKFace calls them
SUFFIXES = {".jpg", ".jpeg", ".png"}


def load_photos(folder: Path, shards: str = "*") -> dict[str, torch.Tensor]:
    """Shards of a folder.

    Args:
        folder: written by this script.
        shards: glob pattern of their names.

    Returns:
        pictures [N, 3, 256, 256] uint8, embeddings [N, 192], attributes [N, RAW] raw, meshes [N, 468, 2] in sides of
        the mesh's view, reach [N, DIRECTIONS] for `inner_mask`, people [N] int64, the same for photographs of the same,
        origins [N] int64, see `origin`.

    Raises:
        DbafError: a shard is of a version that did not know origins.
    """
    paths = sorted(folder.glob(f"{shards}.safetensors"))
    loaded = [load_file(path) for path in paths]
    for path, shard in zip(paths, loaded, strict=True):
        if "origins" not in shard:
            raise DbafError(
                f"{path} is of a version that did not know origins. Delete it and run dbaf.training.photos."
            )
    photos = {name: torch.cat([shard[name] for shard in loaded]) for name in loaded[0]}
    photos["meshes"] = photos["attributes"][:, : 2 * POINTS].unflatten(1, (POINTS, 2))
    photos["reach"] = reach(in_square(photos["meshes"]))
    return photos


def scaled(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 -> float in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def person(photo: Path, folder: Path) -> int:
    """A number of 64 bits for who is in a photograph of a folder: that of its sub-folder, or its own."""
    who = photo if photo.parent == folder else photo.parent
    return int.from_bytes(hashlib.sha256(who.relative_to(folder).as_posix().encode()).digest()[:8], "big", signed=True)


def origin(photo: Path) -> int:
    """Perceived origin by the name of a photograph of UTKFace, age_sex_origin_time: a number of `ORIGINS`, or UNKNOWN.

    UTKFace's fifth kind mixes all others, and counts as unknown.
    """
    match = re.match(r"\d+_[01]_([0-3])_\d+", photo.name)
    return int(match[1]) if match else UNKNOWN


def central_face(path: Path, finder: FaceFinder) -> torch.Tensor | None:
    """FFHQ crop [1, 3, 256, 256] in [-1, 1] of the face nearest the middle of a photo; None if there is none."""
    try:
        picture = read_picture(path).rgb
    except PictureError as error:
        print(error)
        return None
    faces = finder.find(picture)
    if not faces:
        return None
    return crop(picture, main_face(faces, picture).quad, SIZE)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--recogniser", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/photos"))
    parser.add_argument("--part", default="0/1", help="i/n: every n-th shard, from the i-th")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    finder = FaceFinder.from_bundle(bundle_folder("mobile"))
    recogniser = MobileFaceNet.from_tflite(args.recogniser)
    part, parts = map(int, args.part.split("/"))
    for folder in args.folders:
        name = "-".join(folder.parts[-2:])
        photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        photos = [photos[i] for i in torch.randperm(len(photos), generator=torch.Generator().manual_seed(0))]
        starts = range(part * SHARD, len(photos), parts * SHARD)
        for start in track(starts, name):
            path = args.out / f"{name}-{start // SHARD:04d}.safetensors"
            if path.exists():
                continue
            seen = {photo: central_face(photo, finder) for photo in photos[start : start + SHARD]}
            squares = {photo: square for photo, square in seen.items() if square is not None}
            if not squares:
                continue
            people = torch.tensor([person(photo, folder) for photo in squares])
            origins = torch.tensor([origin(photo) for photo in squares])
            pictures = ((torch.cat(list(squares.values())).clamp(-1, 1) + 1) * 127.5).round().byte()
            embeddings, attributes = observe(pictures, recogniser, finder)
            shard = {"pictures": pictures, "embeddings": embeddings, "attributes": attributes}
            shard |= {"people": people, "origins": origins}
            save_file(shard, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").rename(path)


if __name__ == "__main__":
    main()
