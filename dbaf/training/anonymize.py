"""Stage 2: fit what of a code goes with gestures, and KRIA's identity coordinates, on encoded photographs.

    python -m dbaf.training.anonymize --utkface UTKFACE --backbone mobilenet_v2.pth \
        --agesex age_gender_model-weights_manifest.json --expressions face_expression_model-weights_manifest.json

Photographs of people who look like women and who look like men are kept apart by a score, a linear function of the
identity code that no key changes; nor does any what is read as age, as glasses and as hair in the forehead, which
would end at the edge of a new face. What is read off photographs' codes
says little about new faces. So a first KRIA's new faces are rendered and looked at as well (`dbaf.training.looks`), and
what has changed in them is read off the change of the code.

How the mean identity code moves with the gestures of the face, perceived sex held, is the part "gestures"; what follows
is fitted on what it leaves of the codes. Each crowd's and style group's codes are whitened along their principal
components. The directions in which what must stay changes most (`dbaf.training.keep`: skin colour, what the face does,
age, origin; glasses) are taken out again, since a face that no longer suits neck, hair and the occasion looks wrong; in
what is left of them no key moves everybody, since whole crowds would look alike and odd. All others are the coordinates
that a key turns. The codes are those of `dbaf.training.codes`. Takes half an hour on one core. Prints how much of the
identity codes of photographs that were left out lies in the coordinates, and how far looks change all the same.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from dbaf.faces import FaceFinder
from dbaf.faces.gestures import GESTURES, gestures
from dbaf.faces.occlusion import OcclusionNet
from dbaf.generators import load_generator
from dbaf.gesture_code import GestureCode
from dbaf.kria import KRIA, Crowd, KeyedTurn
from dbaf.training.codes import load_coded
from dbaf.training.common import LICENCE, compiled, load_cid, load_encoder
from dbaf.training.keep import fringes, labelled, moving, visible
from dbaf.training.latent import GROUPS, random_keys
from dbaf.training.looks import LOOKS, Looks
from dbaf.training.observe import in_square
from dbaf.training.synthetic import BATCH
from dbaf.weights.bundle import bundle_folder, load_network, save_part

COMPONENTS = (64, 88, 16)  # principal components of each group; more make odder faces
LEFT = (3, 4, 3)  # directions of a group that are taken out
STRETCH, MOVE, LIMIT = 1.35, 1.3, 4.2
READINGS = (*LOOKS, "fringe")
KEPT = ("man", "age", "glasses", "fringe")  # read off a code, kept exactly; with expressions two keys' faces are alike
MADE, JUDGED = 2400, 400  # new faces that are looked at, and how many at the end
LABELLED, SHOWN = 800, 50  # photographs with age and origin, and those at which it is measured what shows
CHECKED = 60  # photographs left out of the fit
READ_FROM, RIDGE = 200, 200.0  # principal components from which looks are read, and what is added to their squares


@dataclass
class Components:
    """Principal components of one group's identity codes [N, width]."""

    centre: torch.Tensor  # [width]
    deviation: torch.Tensor  # [count]
    directions: torch.Tensor  # [width, count], orthonormal

    @classmethod
    def of(cls, codes: torch.Tensor, count: int) -> "Components":
        """Fit."""
        centre = codes.mean(0)
        _, deviation, directions = torch.pca_lowrank(codes - centre, count, center=False, niter=6)
        return cls(centre, deviation / len(codes) ** 0.5, directions)


def grouped(codes: torch.Tensor) -> list[torch.Tensor]:
    """[B, L, dim] -> for each group [B, l * dim]."""
    return [part.flatten(1) for part in codes.split(list(GROUPS), 1)]


def reading(codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The linear functions of centred codes [N, width] that foretell centred labels [N, Q]: [Q, width].

    By ridge regression on principal components.
    """
    directions = torch.pca_lowrank(codes, min(READ_FROM, codes.shape[1] // 2), center=False, niter=6)[2]
    deviation = (codes @ directions).square().mean(0).sqrt()
    read = directions / deviation
    white = codes @ read
    ridge = white.T @ white + RIDGE * torch.eye(white.shape[1])
    return (read @ torch.linalg.solve(ridge, white.T @ labels)).T


def with_gestures(identity: torch.Tensor, doing: torch.Tensor, man: torch.Tensor) -> GestureCode:
    """What of identity codes [N, L, dim] goes with gestures [N, GESTURES], at the same log odds of a man [N, 1]."""
    code = GestureCode(*identity.shape[1:])
    code.centre.copy_(doing.mean(0))
    code.along.copy_(moving(identity.flatten(1), torch.cat([doing, man], 1))[:GESTURES].view_as(code.along))
    return code


def fit(
    turn: KeyedTurn,
    components: Components,
    exact: torch.Tensor,
    shows: torch.Tensor,
    goes: torch.Tensor,
    rng: torch.Generator,
) -> None:
    """Choose the coordinates of one group: as many as `turn` has.

    Args:
        turn: is filled in.
        components: of the group, some more than `turn` has coordinates.
        exact: linear functions of the code that keep their values [E, width].
        shows: change of what must stay by each code entry [Q, width].
        goes: change of the mean code with what must stay [P, width].
        rng: draws what mixes the key.
    """
    write = components.directions * components.deviation  # write @ coordinates of unit variance = code
    read = components.directions / components.deviation
    kept = torch.linalg.qr((exact @ write).T).Q.T  # [E, count]; E may be 0
    stays = torch.cat([shows @ write, goes @ read])  # [Q + P, count]
    stays = stays - stays @ kept.T @ kept
    left = stays.shape[1] - turn.rank - len(kept)
    leading = torch.cat([kept, torch.linalg.svd(stays, full_matrices=False).Vh[:left]])
    axes = torch.linalg.qr(leading.T, mode="complete").Q[:, len(leading) :]  # [count, rank]
    rest = torch.linalg.svd(stays @ axes, full_matrices=False).Vh[: len(stays) - left]
    turn.centre.copy_(components.centre)
    turn.whiten.copy_(read @ axes)
    turn.colour.copy_((write @ axes).T)
    turn.mixer.copy_(torch.randn(turn.mixer.shape, generator=rng))
    mover = torch.randn(turn.mover.shape, generator=rng) / len(turn.mover) ** 0.5
    turn.mover.copy_(mover - mover @ rest.T @ rest)


@dataclass
class Photographs:
    """Encoded photographs, the first CHECKED of which are left out of the fit.

    Attributes:
        identity: codes [N, L, dim], less what goes with gestures.
        looks: labels [N, len(LOOKS)] of their pictures.
        fringe: of `fringes` [N, 1].
        shows: of `visible`, by group.
        people, labels: identity codes [M, L, dim] and labels [M, 4] of `labelled`.
    """

    identity: torch.Tensor
    looks: torch.Tensor
    fringe: torch.Tensor
    shows: list[torch.Tensor]
    people: torch.Tensor
    labels: torch.Tensor


@torch.no_grad()
def coordinates(photos: Photographs, readings: torch.Tensor, kria: KRIA, rng: torch.Generator) -> None:
    """Fill in the coordinates of a KRIA.

    Args:
        photos: that they are of.
        readings: linear functions of the identity code, [len(READINGS), L * dim].
        kria: its `key_centre` and `key_scale` stay.
        rng: draws what mixes the key.
    """
    identity, people, labels = photos.identity, photos.people, photos.labels
    man, glasses = readings[READINGS.index("man")], photos.looks[:, [LOOKS.index("glasses")]]
    train = slice(CHECKED, None)
    kria.score.copy_(man.view_as(kria.score))
    kria.middle.copy_((identity[train].flatten(1) @ man).mean() - photos.looks[train, LOOKS.index("man")].mean())
    scores = [torch.stack([kria.scored(one) for one in codes.split(1)]) for codes in (identity, people)]
    for crowd, sign in zip(kria.crowds, (-1, 1, 0), strict=True):
        assert isinstance(crowd, Crowd)
        ours, theirs = (score.sign() * sign >= 0 for score in scores)
        ours[:CHECKED] = False
        codes, which = identity[ours], labels[theirs] if sign else labels[theirs, 1:]  # of any age in the last crowd
        moves = torch.cat([moving(people[theirs].flatten(1), which), moving(codes.flatten(1), glasses[ours])])
        goes = grouped(moves.unflatten(1, codes.shape[1:]))
        components = [Components.of(part, count) for part, count in zip(grouped(codes), COMPONENTS, strict=True)]
        pairs = zip(photos.shows, components, strict=True)
        effects = [(show @ (c.directions * c.deviation)).square().sum(1) for show, c in pairs]
        total = torch.stack(effects).sum(0).sqrt()[:, None]
        exact = readings[[READINGS.index(name) for name in (KEPT if sign else KEPT[2:])]]
        left_out = identity[:CHECKED][scores[0][:CHECKED].sign() * sign >= 0]
        for turn, group, one, show, go, part in zip(
            crowd.turns,
            components,
            grouped(exact.unflatten(1, identity.shape[1:])),
            photos.shows,
            goes,
            grouped(left_out),
            strict=True,
        ):
            assert isinstance(turn, KeyedTurn)
            fit(turn, group, one, show / total, go, rng)
            inside = (turn.read(part) @ turn.colour).square().sum() / (part - turn.centre).square().sum()
            print(f"{turn.rank} coordinates hold {inside:.2f} of the variance, n = {len(part)}")
        if sign:
            crowd.along.copy_(raising(grouped(kria.score[None]), components).view_as(crowd.along))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    parser.add_argument("--utkface", type=Path, required=True, help="photographs named age_sex_origin_...")
    parser.add_argument("--backbone", type=Path, required=True, help="torchvision MobileNetV2 state dict")
    parser.add_argument("--agesex", type=Path, required=True, help="of face-api.js, see dbaf.training.faceapi")
    parser.add_argument("--expressions", type=Path, required=True, help="of face-api.js")
    args = parser.parse_args()
    torch.manual_seed(0)
    bundle = bundle_folder("mobile")
    generator, finder = load_generator(bundle), FaceFinder.from_bundle(bundle)
    encoder, cid = load_encoder(bundle).cpu(), load_cid(bundle).cpu()
    look, preview = Looks(args.agesex, args.expressions, args.backbone), compiled(generator.preview)

    def looked_at(codes: torch.Tensor) -> torch.Tensor:
        """Labels [N, len(LOOKS)] of the pictures of W+ codes [N, L, dim]."""
        labels = []
        for part in track(codes.split(BATCH), "looks"):
            with torch.autocast("cpu", torch.bfloat16):
                pictures = preview(part).float().clamp(-1, 1)
            labels.append(look(((pictures + 1) * 127.5).byte()))
        return torch.cat(labels)

    coded = load_coded(args.photos, args.codes)
    encoded = coded["wplus"]
    fringe = fringes(coded["pictures"], coded["meshes"], load_network(bundle, "occlusion", OcclusionNet))
    looks = looked_at(encoded)
    attributes = torch.cat([cid(part) for part in encoded.split(250)])
    doing, train = gestures(in_square(coded["meshes"])), slice(CHECKED, None)
    goes = with_gestures((encoded - attributes)[train], doing[train], looks[train, LOOKS.index("man")][:, None])
    save_part(bundle, "gestures", goes.state_dict(), {"styles": encoded.shape[1], "dim": generator.dim}, LICENCE)
    attributes += goes(doing)
    with torch.enable_grad():
        shows = grouped(visible(encoded[CHECKED : CHECKED + SHOWN], generator, finder))
    people, their_gestures, labels = labelled(args.utkface, LABELLED, encoder, finder)
    people = torch.cat([part - cid(part) for part in people.split(50)]) - goes(their_gestures)
    photos = Photographs(encoded - attributes, looks, fringe, shows, people, labels)

    ranks = [count - left - len(KEPT) for count, left in zip(COMPONENTS, LEFT, strict=True)]
    config: dict[str, Any] = {
        "groups": GROUPS,
        "ranks": ranks,
        "stretch": STRETCH,
        "move": MOVE,
        "limit": LIMIT,
        "dim": generator.dim,
    }
    kria = KRIA(**config)
    for turn in (turn for turn in kria.modules() if isinstance(turn, KeyedTurn)):
        turn.key_centre.copy_(generator.mean_w)
        turn.key_scale.copy_(encoder.scale)

    def changed(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What KRIA changes in the codes [count, L * dim] of photographs, and in their looks [count, len(LOOKS)]."""
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.randint(CHECKED, len(encoded), (count,), generator=rng)
        old, keys = photos.identity[chosen], random_keys(generator, count, rng)
        new = torch.cat([kria(one, key) for one, key in zip(old.split(1), keys.split(1), strict=True)])
        change = looked_at(new + attributes[chosen]) - photos.looks[chosen]
        for name, part in zip(LOOKS, (change.square().mean(0).sqrt() / photos.looks.std(0)).tolist(), strict=True):
            print(f"{name} changes by {part:.2f} of the deviation between photographs, n = {count}")
        return (new - old).flatten(1), change

    ours = photos.identity[train].flatten(1)
    codes, seen = [ours - ours.mean(0)], [looks[train] - looks[train].mean(0)]
    hanging = reading(codes[0], fringe[train] - fringe[train].mean())  # [1, L * dim]

    def refit() -> None:
        readings = torch.cat([reading(torch.cat(codes), torch.cat(seen)), hanging])
        coordinates(photos, readings, kria, torch.Generator().manual_seed(0))

    refit()
    change, difference = changed(MADE, seed=0)
    codes.append(change)
    seen.append(difference)
    refit()
    changed(JUDGED, seed=1)
    save_part(bundle, "kria", kria.state_dict(), config, LICENCE)


def raising(exact: list[torch.Tensor], components: list[Components]) -> torch.Tensor:
    """The code [L * dim] that raises a linear function, given by group [1, width], by 1, and no coordinate of `fit`."""
    parts = []
    for one, group in zip(exact, components, strict=True):
        write = group.directions * group.deviation
        parts.append(write @ (one @ write)[0])
    along = torch.cat(parts)
    return along / (torch.cat(exact, 1)[0] @ along)


if __name__ == "__main__":
    main()
