"""Stage 2: fit KRIA's identity coordinates on encoded photographs.

    python -m dbaf.training.anonymize --utkface UTKFACE --agesex age_gender_model-weights_manifest.json

Photographs of people who look like women and who look like men are kept apart by a score, a linear function of the
identity code that no key changes; nor does any what is read as age and as glasses. Each crowd's and style group's codes
are whitened along their principal components. The directions in which what must stay changes most
(`dbaf.training.keep`: skin colour, what the face does, age, origin; glasses) are taken out again, since a face that no
longer suits neck, hair and the occasion looks wrong; in what is left of them no key moves everybody, since whole crowds
would look alike and odd. All others are the coordinates that a key turns. The codes are those of
`dbaf.training.codes`. Takes minutes. Prints how much of the identity codes of photographs that were left out lies in
the coordinates, and how well what is kept is read.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dbaf.faces import FaceFinder
from dbaf.generators import load_generator
from dbaf.kria import KRIA, Crowd, KeyedTurn
from dbaf.training.codes import load_coded
from dbaf.training.common import LICENCE, load_cid, load_encoder
from dbaf.training.faceapi import AgeSexNet
from dbaf.training.keep import YEARS, labelled, moving, visible
from dbaf.training.latent import GROUPS
from dbaf.training.observe import bridge_line
from dbaf.training.photos import scaled
from dbaf.weights.bundle import bundle_folder, save_part

COMPONENTS = (64, 88, 16)  # principal components of each group; more make odder faces
LEFT = (3, 4, 3)  # directions of a group that are taken out
STRETCH, MOVE, LIMIT = 1.2, 1.0, 4.0
KEPT = ("man", "age", "glasses")  # what is read off a code and kept exactly
LABELLED, SHOWN = 800, 50  # photographs with age and origin, and those at which it is measured what shows
GLASSES = 0.1  # difference that they make to `bridge_line`, on average
CHECKED = 60  # photographs left out of the fit
READ, RIDGE = 200, 50.0  # principal components from which the score is read, and what is added to their squares


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


def reading(codes: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The linear function of codes [N, width] that foretells a label [N], by ridge regression on principal components.

    Returns:
        weights [width], and what is to be taken from weights @ code.
    """
    components = Components.of(codes, min(READ, codes.shape[1] // 2))
    read = components.directions / components.deviation
    white = (codes - components.centre) @ read
    ridge = white.T @ white + RIDGE * torch.eye(white.shape[1])
    weights = read @ torch.linalg.solve(ridge, white.T @ (label - label.mean()))
    return weights, weights @ components.centre - label.mean()


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


@torch.no_grad()
def looked_at(pictures: torch.Tensor, net: AgeSexNet) -> dict[str, torch.Tensor]:
    """Of photographs [N, 3, 256, 256] uint8: "man", 1 or -1, and "age", in units of YEARS, [N] each."""
    parts = []
    for part in pictures.split(50):
        both = torch.cat([scaled(part), scaled(part).flip(3)])
        parts.append(torch.stack(net(both)).view(2, 2, -1).mean(1))  # [age or sex, N]
    age, man = torch.cat(parts, 1)
    return {"man": (man > 0.5).float() * 2 - 1, "age": age / YEARS}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    parser.add_argument("--utkface", type=Path, required=True, help="photographs named age_sex_origin_...")
    parser.add_argument("--agesex", type=Path, required=True, help="of face-api.js, see dbaf.training.faceapi")
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    bundle = bundle_folder("mobile")
    generator, finder = load_generator(bundle), FaceFinder.from_bundle(bundle)
    encoder, cid = load_encoder(bundle).cpu(), load_cid(bundle).cpu()
    coded = load_coded(args.photos, args.codes)
    encoded = coded["wplus"]
    identity = torch.cat([part - cid(part) for part in encoded.split(250)])
    with torch.enable_grad():
        shows = grouped(visible(encoded[CHECKED : CHECKED + SHOWN], generator, finder))
    people, labels = labelled(args.utkface, LABELLED, encoder, finder)
    people = torch.cat([part - cid(part) for part in people.split(50)])
    glasses = torch.cat([bridge_line(scaled(part)) for part in coded["pictures"].split(100)])[:, None] / GLASSES
    looks = looked_at(coded["pictures"], AgeSexNet.from_tfjs(args.agesex)) | {"glasses": glasses[:, 0]}

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
    train = identity[CHECKED:].flatten(1)
    readings = {name: reading(train, label[CHECKED:]) for name, label in looks.items()}
    kria.score.copy_(readings["man"][0].view_as(kria.score))
    kria.middle.copy_(readings["man"][1])
    for name, (weights, middle) in readings.items():
        pair = torch.stack([identity[:CHECKED].flatten(1) @ weights - middle, looks[name][:CHECKED]])
        print(f"{name} is read with a correlation of {torch.corrcoef(pair)[0, 1]:.2f}, n = {CHECKED}")
    scores = [torch.stack([kria.scored(one) for one in codes.split(1)]) for codes in (identity, people)]
    kept = torch.stack([readings[name][0] for name in KEPT]).view(len(KEPT), *identity.shape[1:])
    for crowd, sign in zip(kria.crowds, (-1, 1, 0), strict=True):
        assert isinstance(crowd, Crowd)
        ours, theirs = (score.sign() * sign >= 0 for score in scores)
        ours[:CHECKED] = False
        codes, which = identity[ours], labels[theirs] if sign else labels[theirs, 1:]  # of any age in the last crowd
        moves = torch.cat([moving(people[theirs].flatten(1), which), moving(codes.flatten(1), glasses[ours])])
        goes = grouped(moves.unflatten(1, codes.shape[1:]))
        components = [Components.of(part, count) for part, count in zip(grouped(codes), COMPONENTS, strict=True)]
        effects = [(s @ (c.directions * c.deviation)).square().sum(1) for s, c in zip(shows, components, strict=True)]
        total = torch.stack(effects).sum(0).sqrt()[:, None]
        exact = grouped(kept if sign else kept[KEPT.index("glasses") :])
        left_out = identity[:CHECKED][scores[0][:CHECKED].sign() * sign >= 0]
        for turn, group, one, show, go, part in zip(
            crowd.turns, components, exact, shows, goes, grouped(left_out), strict=True
        ):
            assert isinstance(turn, KeyedTurn)
            fit(turn, group, one, show / total, go, rng)
            turn.key_centre.copy_(generator.mean_w)
            turn.key_scale.copy_(encoder.scale)
            inside = (turn.read(part) @ turn.colour).square().sum() / (part - turn.centre).square().sum()
            print(f"{turn.rank} coordinates hold {inside:.2f} of the variance, n = {len(part)}")
        if sign:
            crowd.along.copy_(raising(grouped(kria.score[None]), components).view_as(crowd.along))
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
