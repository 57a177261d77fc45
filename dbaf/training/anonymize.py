"""Stage 2: fit what of a code goes with gestures, and KRIA's identity coordinates, on encoded photographs.

    python -m dbaf.training.anonymize --backbone mobilenet_v2.pth \
        --agesex age_gender_model-weights_manifest.json --expressions face_expression_model-weights_manifest.json

How the identity code of a person moves with the gestures of the face, from one photograph to another, is the part
"gestures"; what follows is fitted on what it leaves of the codes. (Between people, mouths and brows differ in their
build, too.)

Photographs of people who look like women and who look like men are kept apart by a score, a linear function of the
identity code that no key changes; nor does any what is read as age, as glasses, as hair in the forehead, which would
end at the edge of a new face, and the colour of the skin, which must suit the neck. What is read off photographs' codes
says little about new faces. So a first KRIA's new faces are rendered and looked at as well (`dbaf.training.looks`), and
what has changed in them is read off the change of the code.

Where looks are to be kept no key changes perceived origin, either: people of several origins are several crowds, not
one with a middle. A reflection across that gave black women the features of white ones, in their own skin, and faces
like nobody's. What tells origins apart, by Fisher's discriminants of photographs of which it is known, is kept exactly.

The codes' principal components are whitened for each crowd, and what must stay is taken out. Those of the directions
left that tell people apart best, by the share of their variance that lies between photographs of one person, are the
coordinates that a key turns, in this order. The others show light, colour and sharpness rather than somebody: a new
face that has those of the photograph looks as if it had been in it.

What a recogniser sees of somebody is read off the coordinates' components, so that of several new faces one can be
chosen that looks least like the old one.

The codes are those of `dbaf.training.codes`. Takes half an hour on two cores. Prints how much of the identity codes of
photographs that were left out lies in the coordinates, and how far looks change all the same.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from dbaf.errors import DbafError
from dbaf.faces.gestures import gestures
from dbaf.faces.occlusion import OcclusionNet
from dbaf.generators import load_generator
from dbaf.gesture_code import GestureCode
from dbaf.kria import KRIA, Crowd, KeyedTurn
from dbaf.training.codes import load_coded
from dbaf.training.common import LICENCE, compiled, load_cid, load_encoder
from dbaf.training.keep import fringes, visible
from dbaf.training.latent import random_keys
from dbaf.training.looks import LOOKS, Looks
from dbaf.training.observe import in_square
from dbaf.training.photos import ORIGINS, UNKNOWN
from dbaf.training.synthetic import BATCH
from dbaf.weights.bundle import bundle_folder, load_network, save_part

COMPONENTS, RANK = 400, 300  # of all codes; coordinates of each crowd
STRETCH, MOVE, LIMIT = 1.2, 1.0, 1.3
READINGS = (*LOOKS, "fringe", "red", "green", "blue")
KEPT = ("man", "age", "glasses", "fringe", "red", "green", "blue")  # read off a code, kept exactly
FREE = KEPT[2:]  # where looks need not be kept
LOOKED, MADE, JUDGED = 3000, 2400, 400  # photographs and new faces to look at, and new faces at the end
SHOWN = 50  # photographs at which it is measured how the colour of the skin goes with the code
CHECKED = 60  # photographs left out of the fit
FEWEST = 50  # photographs of an origin, of women or men
COMMON = 0.3  # share of a crowd's covariance that is everybody's
FLOOR = 0.02  # of the mean variance, added to that of every direction
READ_FROM, RIDGE = 200, 200.0  # principal components from which looks are read, and what is added to their squares


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


def recognised(components: torch.Tensor, embeddings: torch.Tensor, crowds: torch.Tensor) -> torch.Tensor:
    """How a recogniser's embeddings [N, D] of photographs follow from the components [N, C] of their codes: [C, D].

    But for what tells the means of some of them apart, of the same number >= 0 in `crowds` [N]: what looks least like
    somebody shall not be sought among people of another sex or origin.
    """
    means = torch.stack([embeddings[crowds == number].mean(0) for number in crowds[crowds >= 0].unique()])
    differ = torch.linalg.svd(means - means.mean(0), full_matrices=False).Vh[:-1]  # one direction fewer than means
    seen = embeddings - embeddings.mean(0)
    return reading(components - components.mean(0), seen - seen @ differ.T @ differ).T


def within(values: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Values [N, W] of photographs, less the mean of each of their groups [N]: of the people in them, or of crowds."""
    _, who, count = groups.unique(return_inverse=True, return_counts=True)
    total = values.new_zeros(len(count), values.shape[1]).index_add_(0, who, values)
    return values - (total / count[:, None])[who]


def covariance(values: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """That of values [N, W] about the mean of each of their groups [N]: [W, W]."""
    spread = within(values, groups)
    return spread.T @ spread / max(1, len(spread) - len(groups.unique()))


def with_gestures(identity: torch.Tensor, doing: torch.Tensor, people: torch.Tensor) -> GestureCode:
    """How identity codes [N, L, dim] of one of the people [N] move with gestures [N, GESTURES]."""
    code = GestureCode(*identity.shape[1:])
    code.centre.copy_(doing.mean(0))
    slopes = torch.linalg.lstsq(within(doing, people), within(identity.flatten(1), people)).solution
    code.along.copy_(slopes.view_as(code.along))
    return code


def steadied(own: torch.Tensor, common: torch.Tensor) -> torch.Tensor:
    """The covariance of one crowd [W, W], drawn to that of all, and no direction all but without variance.

    A thousand photographs say too little about the directions in which a crowd differs least: other people of it are
    1.3 deviations out there, by their own covariance alone.
    """
    mixed = own.lerp(common, COMMON)
    return mixed + FLOOR * mixed.diagonal().mean() * torch.eye(len(mixed))


def apart(codes: torch.Tensor, origins: torch.Tensor) -> torch.Tensor:
    """How the means of components [N, components] of photographs of each of ORIGINS [N] differ from those of the
    first: [len(ORIGINS) - 1, components].

    Raises:
        DbafError: there are fewer than FEWEST photographs of some origin.
    """
    for number, name in enumerate(ORIGINS):
        if (count := int((origins == number).sum())) < FEWEST:
            raise DbafError(
                f"{count} photographs labelled {name} are too few. Encode more of UTKFace, whose names tell."
            )
    means = [codes[origins == number].mean(0) for number in range(len(ORIGINS))]
    return torch.stack(means[1:]) - means[0]


def fit(
    crowd: Crowd,
    codes: torch.Tensor,
    common: torch.Tensor,
    noise: torch.Tensor,
    exact: torch.Tensor,
    between: torch.Tensor,
) -> None:
    """Choose the coordinates of one crowd: as many as it has.

    Args:
        crowd: is filled in.
        codes: components of the codes of photographs [N, components].
        common: covariance [components, components] of all photographs about the means of their crowds.
        noise: that of all photographs about the means of those who are in them.
        exact: linear functions of the components that keep their values [E, components]; `along` raises the first.
        between: differences of means [D, components]. What tells those apart best keeps its value, too.

    Raises:
        DbafError: there are too few photographs.
    """
    if len(codes) <= 2 * codes.shape[1]:
        raise DbafError(f"{len(codes)} photographs are too few for {codes.shape[1]} components. Encode more.")
    crowd.centre.copy_(codes.mean(0))
    variance, directions = torch.linalg.eigh(steadied(codes.T.cov(), common))
    write, read = directions * variance.sqrt(), directions / variance.sqrt()  # write @ white coordinates = components
    kept = torch.cat([exact @ write, between @ read])  # of white coordinates
    axes = torch.linalg.qr(kept.T, mode="complete").Q[:, len(kept) :]
    seen = (read @ axes).T @ noise @ (read @ axes)
    axes = axes @ torch.linalg.eigh(seen).eigenvectors[:, : crowd.whiten.shape[1]]  # those that differ least come first
    crowd.whiten.copy_(read @ axes)
    crowd.colour.copy_((write @ axes).T)
    crowd.along.copy_(write @ kept[0] / kept[0].square().sum())


@torch.no_grad()
def coordinates(
    identity: torch.Tensor, people: torch.Tensor, origins: torch.Tensor, readings: torch.Tensor, kria: KRIA
) -> None:
    """Fill in the coordinates of a KRIA.

    Args:
        identity: codes [N, L, dim], less what goes with gestures, the first CHECKED of which are left out of the fit.
        people: who is in the photographs [N].
        origins: theirs [N], numbers of ORIGINS, or UNKNOWN.
        readings: linear functions of the identity code, [len(READINGS), L * dim].
        kria: its score, its keys and what they give stay.
    """
    scores = kria.scored(identity)
    codes = identity.flatten(1)
    left_out, train = codes[:CHECKED], slice(CHECKED, None)
    kria.mean.copy_(codes[train].mean(0).view_as(kria.mean))
    centred = codes - kria.mean.flatten()
    basis = torch.pca_lowrank(centred[train], kria.basis.shape[-1], center=False, niter=4)[2]  # [L * dim, components]
    kria.basis.copy_(basis.view_as(kria.basis))
    components = centred @ basis
    common = covariance(components[train], scores[train].sign())
    noise = covariance(components[train], people[train])
    for crowd, sign in zip(kria.crowds, (-1, 1, 0), strict=True):
        assert isinstance(crowd, Crowd)
        ours = scores.sign() * sign >= 0
        ours[:CHECKED] = False
        exact = readings[[READINGS.index(name) for name in (KEPT if sign else FREE)]]
        between = apart(components[ours], origins[ours]) if sign else components[:0]
        fit(crowd, components[ours], common, noise, exact @ basis, between)
        if not sign:
            crowd.along.zero_()  # of any score
        part = left_out[scores[:CHECKED].sign() * sign >= 0] - kria.mean.flatten()
        part = part - crowd.centre @ basis.T
        held = (part @ basis @ crowd.whiten @ crowd.colour).square().sum() / part.square().sum()
        print(f"the coordinates hold {held:.2f} of the variance, n = {len(part)}")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    parser.add_argument("--backbone", type=Path, required=True, help="torchvision MobileNetV2 state dict")
    parser.add_argument("--agesex", type=Path, required=True, help="of face-api.js, see dbaf.training.faceapi")
    parser.add_argument("--expressions", type=Path, required=True, help="of face-api.js")
    parser.add_argument("--one-stage", action="store_true", help="fit KRIA on whole codes, not on what CID leaves")
    args = parser.parse_args()
    torch.manual_seed(0)
    bundle = bundle_folder("mobile")
    generator = load_generator(bundle)
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
    seeing = load_network(bundle, "occlusion", OcclusionNet)
    fringe = fringes(coded["pictures"][:LOOKED], coded["meshes"][:LOOKED], seeing)
    looks = looked_at(encoded[:LOOKED])
    attributes = torch.zeros_like(encoded)
    doing, people, train = gestures(in_square(coded["meshes"])), coded["people"], slice(CHECKED, None)
    if not args.one_stage:
        attributes = torch.cat([cid(part) for part in encoded.split(250)])
        goes = with_gestures((encoded - attributes)[train], doing[train], people[train])
        save_part(bundle, "gestures", goes.state_dict(), {"styles": encoded.shape[1], "dim": generator.dim}, LICENCE)
        attributes += goes(doing)
    identity = encoded - attributes
    with torch.enable_grad():
        skin = visible(encoded[CHECKED : CHECKED + SHOWN], generator).flatten(1)

    config: dict[str, Any] = {
        "styles": encoded.shape[1],
        "components": COMPONENTS,
        "rank": RANK,
        "stretch": STRETCH,
        "move": MOVE,
        "limit": LIMIT,
        "dim": generator.dim,
    }
    kria, rng = KRIA(**config), torch.Generator().manual_seed(0)
    for turn in (turn for turn in kria.turns if isinstance(turn, KeyedTurn)):
        turn.key_centre.copy_(generator.mean_w)
        turn.key_scale.copy_(encoder.scale)
        turn.mixer.copy_(torch.randn(turn.mixer.shape, generator=rng))
        turn.mover.copy_(torch.randn(turn.mover.shape, generator=rng) / generator.dim**0.5)

    def changed(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What KRIA changes in the codes [count, L * dim] of photographs, and in their looks [count, len(LOOKS)]."""
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.randint(CHECKED, len(looks), (count,), generator=rng)
        old, keys = identity[chosen], random_keys(generator, count, rng)
        new = torch.cat([kria(one, key) for one, key in zip(old.split(1), keys.split(1), strict=True)])
        change = looked_at(new + attributes[chosen]) - looks[chosen]
        for name, part in zip(LOOKS, (change.square().mean(0).sqrt() / looks.std(0)).tolist(), strict=True):
            print(f"{name} changes by {part:.2f} of the deviation between photographs, n = {count}")
        return (new - old).flatten(1), change

    ours = identity[train][: len(looks) - CHECKED].flatten(1)
    codes, seen = [ours - ours.mean(0)], [looks[train] - looks[train].mean(0)]
    hanging = reading(codes[0], fringe[train] - fringe[train].mean())  # [1, L * dim]

    def refit() -> None:
        readings = torch.cat([reading(torch.cat(codes), torch.cat(seen)), hanging, skin])
        man = readings[READINGS.index("man")]
        kria.score.copy_(man.view_as(kria.score))
        kria.middle.copy_((ours @ man).mean() - looks[train, LOOKS.index("man")].mean())
        coordinates(identity, people, coded["origins"], readings, kria)

    refit()
    change, difference = changed(MADE, seed=0)
    codes.append(change)
    seen.append(difference)
    refit()
    changed(JUDGED, seed=1)
    crowds = torch.where(coded["origins"] == UNKNOWN, -1, 2 * coded["origins"] + (kria.scored(identity) > 0))
    read = recognised(kria.components(identity[train]), coded["embeddings"][train], crowds[train])
    kria.recognised.copy_(read)
    save_part(bundle, "kria", kria.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
