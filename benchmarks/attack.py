"""What pairs of originals and outputs under one linked key give away: an attacker learns the key's transform from them.

    python benchmarks/attack.py LFW --count 128 --out benchmarks/attack.json

LFW: a folder a person, photos in it. The attacker has the weights and this source, but not the key. One photo each of
`count` people is pseudonymised under the key, saved and encoded again, as the attacker would. From some of these pairs
KRIA's transform is estimated, by orthogonal Procrustes with what the attacker knows of it: a reflection, which changes
the sign of a known number of directions of each part, a scale (encoders read codes too near the mean) and a move. It
is then undone for the other people, of whom the attacker looks for the nearest in a gallery: the originals themselves,
and other photos of the same people. The right key and a wrong one stand beside it. All in KRIA's own coordinates, where
there is no recogniser or generator to lose anything.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dbaf.errors import PictureError
from dbaf.evaluation.dataset import Photo, choose, photos_in
from dbaf.evaluation.methods import public_key, through_png, wrong_key
from dbaf.evaluation.report import write_json
from dbaf.evaluation.verification import share
from dbaf.faces.face import Face, main_face
from dbaf.images import read_picture
from dbaf.keys import Key
from dbaf.kria import KRIA, KeyedTurn
from dbaf.pipeline import Pipeline
from dbaf.progress import progress_bar

KNOWN = (1, 4, 16, 32, 64)  # pairs that the attacker has
DRAWS = 5  # of which pairs these are


def undo(
    outputs: torch.Tensor, known: torch.Tensor, seen: torch.Tensor, ranks: Sequence[int], turned: Sequence[int]
) -> torch.Tensor:
    """What the transform that fits pairs best makes of outputs.

    Args:
        outputs: coordinates [M, D].
        known: those [N, D] of the originals of some pairs.
        seen: those of their outputs.
        ranks: coordinates of each part; they sum to D.
        turned: how many directions of each part change their sign.
    """
    undone, sizes = [], list(ranks)
    for z, x, y, flips in zip(
        outputs.split(sizes, 1), known.split(sizes, 1), seen.split(sizes, 1), turned, strict=True
    ):
        # one pair tells nothing of a move
        x0, y0 = (some.mean(0) if len(known) > 1 else torch.zeros_like(some[0]) for some in (x, y))
        fit = (x - x0).T @ (y - y0)
        _, axes = torch.linalg.eigh(fit + fit.T)  # ascending: those that agree least change their sign
        signs = torch.ones(x.shape[1], dtype=x.dtype)
        signs[:flips] = -1
        turn = axes * signs @ axes.T
        scale = ((y - y0) * ((x - x0) @ turn)).sum() / (x - x0).square().sum()
        undone.append((z - y0) / scale @ turn + x0)
    return torch.cat(undone, 1)


def found(guesses: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """[N] bool: whether the gallery's entry that is most alike is the right one; both [N, D]."""
    cosines = torch.nn.functional.normalize(guesses, dim=1) @ torch.nn.functional.normalize(gallery, dim=1).T
    return cosines.argmax(1) == torch.arange(len(guesses))


@torch.no_grad()
def look(pipeline: Pipeline, photo: Photo, keys: Sequence[Key] | None) -> torch.Tensor:
    """Coordinates [1, D] of who is on a photo; with keys [1 + len(keys), D]: also of the output under the first key,
    as undone by each."""
    kria = pipeline.kria
    assert isinstance(kria, KRIA)
    picture = read_picture(photo.path).rgb
    faces = _main(pipeline, picture)
    identity, attributes = pipeline.disentangle(pipeline.encode(picture, faces))
    rows = [kria.coordinates(identity.code)]
    if keys is not None:
        other = pipeline.anonymize_identity(identity, keys[0], imprint=False)
        output = through_png(pipeline.render(picture, faces, other, attributes).picture)
        again, _ = pipeline.disentangle(pipeline.encode(output, _main(pipeline, output)))
        rows.append(kria.coordinates(again.code))
        rows += [kria.coordinates(pipeline.recover_identity(again, key, imprint=False).code) for key in keys]
    return torch.cat(rows).double()


def _main(pipeline: Pipeline, picture: torch.Tensor) -> list[Face]:
    """The face that is meant, alone."""
    faces = pipeline.detect(picture)
    if not faces:
        raise PictureError("No face was found.")
    return [main_face(faces, picture)]


def parts_of(kria: KRIA) -> tuple[list[int], list[int]]:
    """Coordinates of each part, and how many directions of each change their sign under a linked key."""
    return kria.ranks, [turn.flips(unlinked=False) for turn in kria.turns if isinstance(turn, KeyedTurn)]


def measure(rows: torch.Tensor, gallery: torch.Tensor, ranks: Sequence[int], turned: Sequence[int]) -> dict[str, Any]:
    """Figures of the attack.

    Args:
        rows: [N, 4, D]: original, output, output undone with the right and with a wrong key.
        gallery: [N, D], other photos of the same people.
        ranks, turned: see `undo`.
    """
    generator, most = torch.Generator().manual_seed(0), max(KNOWN)
    report: dict[str, Any] = {"people": len(rows), "gallery": len(rows) - most, "draws": DRAWS}
    hits: dict[str, list[torch.Tensor]] = {}
    people: list[str] = []
    for _ in range(DRAWS):
        order = torch.randperm(len(rows), generator=generator)
        some, rest = rows[order[:most]], rows[order[most:]]
        people += [str(int(number)) for number in order[most:]]
        guesses = {"output itself": rest[:, 1], "right key": rest[:, 2], "wrong key": rest[:, 3]}
        guesses["output's opposite"] = -rest[:, 1]  # a reflection of most coordinates points away from the original
        for count in KNOWN:
            guesses[f"{count} pairs"] = undo(rest[:, 1], some[:count, 0], some[:count, 1], ranks, turned)
        for name, guess in guesses.items():
            hits.setdefault(f"{name}, same photo", []).append(found(guess, rest[:, 0]))
            hits.setdefault(f"{name}, another photo", []).append(found(guess, gallery[order[most:]]))
        hits.setdefault("original, another photo", []).append(found(rest[:, 0], gallery[order[most:]]))
    return report | {"found_at_1": {name: share(torch.cat(some), people).as_json() for name, some in hits.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--count", type=int, default=128, help="people, with two photos each")
    parser.add_argument("--model", default="mobile")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("attack.json"))
    arguments = parser.parse_args()
    pipeline = Pipeline.from_pretrained(arguments.model)
    keys = (public_key(), wrong_key())
    by_person: dict[str, list[Photo]] = {}
    for photo in choose(photos_in(arguments.lfw, arguments.out.parent), 2 * arguments.count):
        by_person.setdefault(photo.person, []).append(photo)
    rows, gallery = [], []
    with progress_bar("attack", len(by_person)) as (update, _):
        for person, photos in by_person.items():
            try:
                pair = look(pipeline, photos[0], keys), look(pipeline, photos[1], None)[0]
            except (PictureError, IndexError):  # no face, or no second photo
                continue
            rows.append(pair[0])
            gallery.append(pair[1])
            update(len(rows), len(by_person), person)
    assert isinstance(pipeline.kria, KRIA)
    ranks, turned = parts_of(pipeline.kria)
    report = {"model_sha256": pipeline.digest.hex(), "ranks": ranks, "turned": turned}
    report |= measure(torch.stack(rows), torch.stack(gallery), ranks, turned)
    write_json(arguments.out, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
