"""Stage 2: fit KRIA's identity coordinates on encoded photographs.

    python -m dbaf.training.anonymize --utkface UTKFACE

Each style group's identity codes are whitened along their principal components. The directions in which what must stay
changes most (`dbaf.training.keep`: skin colour, what the face does, sex, age, origin; glasses) are taken out again,
since a face that no longer suits neck, hair and the occasion looks wrong; in what is left of them no key moves
everybody, since whole crowds would look alike and odd. All others are the coordinates that a key turns. The codes are
those of `dbaf.training.codes`. Takes minutes. Prints how much of the identity codes of photographs that were left out
lies in the coordinates.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dbaf.faces import FaceFinder
from dbaf.generators import load_generator
from dbaf.kria import KRIA, KeyedTurn
from dbaf.training.codes import load_coded
from dbaf.training.common import LICENCE, load_cid, load_encoder
from dbaf.training.keep import labelled, moving, visible
from dbaf.training.latent import GROUPS
from dbaf.training.observe import bridge_line
from dbaf.training.photos import scaled
from dbaf.weights.bundle import bundle_folder, save_part

COMPONENTS = (48, 64, 12)  # principal components of each group; more make odder faces: mottled, with sunglasses
LEFT = (3, 4, 3)  # directions of a group that are taken out
STRETCH, MOVE = 1.1, 0.9
LABELLED, SHOWN = 800, 50  # photographs with sex, age and origin, and those at which it is measured what shows
GLASSES = 0.1  # difference that they make to `bridge_line`, on average
CHECKED = 60  # photographs left out of the fit


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


def fit(turn: KeyedTurn, components: Components, shows: torch.Tensor, goes: torch.Tensor, rng: torch.Generator) -> None:
    """Choose the coordinates of one group: as many as `turn` has.

    Args:
        turn: is filled in.
        components: of the group, some more than `turn` has coordinates.
        shows: change of what must stay by each code entry [Q, width].
        goes: change of the mean code with what must stay [P, width].
        rng: draws what mixes the key.
    """
    write = components.directions * components.deviation  # write @ coordinates of unit variance = code
    read = components.directions / components.deviation
    stays = torch.cat([shows @ write, goes @ read])  # [Q + P, count]
    left = stays.shape[1] - turn.rank
    leading = torch.linalg.svd(stays, full_matrices=False).Vh[:left]
    axes = torch.linalg.qr(leading.T, mode="complete").Q[:, left:]  # [count, rank]
    rest = torch.linalg.svd(stays @ axes, full_matrices=False).Vh[: len(stays) - left]
    turn.centre.copy_(components.centre)
    turn.whiten.copy_(read @ axes)
    turn.colour.copy_((write @ axes).T)
    turn.mixer.copy_(torch.randn(turn.mixer.shape, generator=rng))
    mover = torch.randn(turn.mover.shape, generator=rng) / len(turn.mover) ** 0.5
    turn.mover.copy_(mover - mover @ rest.T @ rest)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    parser.add_argument("--utkface", type=Path, required=True, help="photographs named age_sex_origin_...")
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    bundle = bundle_folder("mobile")
    generator, finder = load_generator(bundle), FaceFinder.from_bundle(bundle)
    encoder, cid = load_encoder(bundle).cpu(), load_cid(bundle).cpu()
    coded = load_coded(args.photos, args.codes)
    encoded = coded["wplus"]
    identity = torch.cat([part - cid(part) for part in encoded.split(250)])

    components = [
        Components.of(part, count) for part, count in zip(grouped(identity[CHECKED:]), COMPONENTS, strict=True)
    ]
    with torch.enable_grad():
        shows = grouped(visible(encoded[CHECKED : CHECKED + SHOWN], generator, finder))
    effects = [(show @ (c.directions * c.deviation)).square().sum(1) for show, c in zip(shows, components, strict=True)]
    total = torch.stack(effects).sum(0).sqrt()[:, None]
    people, labels = labelled(args.utkface, LABELLED, encoder, finder)
    apart = torch.cat([part - cid(part) for part in people.split(50)])
    glasses = torch.cat([bridge_line(scaled(part)) for part in coded["pictures"].split(100)])[:, None] / GLASSES
    moves = torch.cat([moving(apart.flatten(1), labels), moving(identity.flatten(1), glasses)])
    goes = grouped(moves.unflatten(1, apart.shape[1:]))

    ranks = [count - left for count, left in zip(COMPONENTS, LEFT, strict=True)]
    config: dict[str, Any] = {"groups": GROUPS, "ranks": ranks, "stretch": STRETCH, "move": MOVE, "dim": generator.dim}
    kria = KRIA(**config)
    for turn, group, show, go, part in zip(
        kria.turns, components, shows, goes, grouped(identity[:CHECKED]), strict=True
    ):
        assert isinstance(turn, KeyedTurn)
        fit(turn, group, show / total, go, rng)
        turn.key_centre.copy_(generator.mean_w)
        turn.key_scale.copy_(encoder.scale)
        inside = (turn.read(part) @ turn.colour).square().sum() / (part - turn.centre).square().sum()
        print(f"{turn.rank} coordinates hold {inside:.2f} of the variance, n = {CHECKED}")
    save_part(bundle, "kria", kria.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
