"""Stage 2: fit KRIA's identity coordinates on encoded photographs, and check it.

    python -m dbaf.training.anonymize --utkface UTKFACE

Each style group's identity codes are whitened along their principal components. To see which of those survive a
picture, they are drawn anew at random, rendered, pasted into the photograph and encoded again. The coordinates that
KRIA turns are the directions that move the predicted recogniser embedding most for what they move of the attributes
and for the error with which they come back. (An error measured along few directions only would not do: every other
direction then looks reliable, because the encoder reads it off the rest of the photograph.) The codes are those of
`dbaf.training.codes`. A few directions are taken out of the coordinates again (`dbaf.training.keep`): those along which
sex, age, origin, skin colour and expression change most, since a face that no longer suits neck and hair looks wrong.
Takes minutes. Prints what the latent critic makes of 60 photographs that were left out: right
key, wrong key, two keys, all through a pasted picture.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from dbaf.encoders.compact import SIZE
from dbaf.faces import FaceFinder
from dbaf.faces.mask import inner_mask
from dbaf.generators import load_generator
from dbaf.kria import KRIA, KeyedTurn
from dbaf.training.codes import load_coded
from dbaf.training.common import LICENCE, load_cid, load_encoder
from dbaf.training.composites import pasted
from dbaf.training.critics import LatentCritic, load_critic
from dbaf.training.keep import labelled, moving, visible
from dbaf.training.latent import GROUPS, random_keys
from dbaf.training.photos import scaled
from dbaf.weights.bundle import bundle_folder, save_part

RANKS = (16, 36, 8)  # the medium styles carry most of the identity
LEFT = (2, 3, 3)  # of them, taken out again. (5, 8, 4) keep skin, sex and age better, but 3 of 40 people leaked
STILL = (6, 12, 5)  # of the others: those in which no key moves everybody, since whole crowds would look alike and odd
STRETCH, MOVE = 1.25, 1.1  # of 30 photographs two of three keys' faces accepted each other in .1, in .3 with 1, 0
COMPONENTS = 48  # principal components of a group among which the coordinates are chosen
SAMPLES = 2000  # encoded photographs
LABELLED, SHOWN = 800, 50  # photographs with sex and age, and those at which it is measured what shows
FLOOR = 1.0  # added to the effect on attributes, in units of its mean: lower keeps more and changes people less
NOISE = 3.0  # weight of the error through a picture
PROBED = 600  # pictures that measure it
CHECKED = 60  # photographs kept for the check


@dataclass
class Components:
    """Principal components of one group's identity codes [N, width]."""

    centre: torch.Tensor  # [width]
    deviation: torch.Tensor  # [COMPONENTS]
    directions: torch.Tensor  # [width, COMPONENTS], orthonormal

    @classmethod
    def of(cls, codes: torch.Tensor) -> "Components":
        """Fit."""
        centre = codes.mean(0)
        _, deviation, directions = torch.pca_lowrank(codes - centre, COMPONENTS, center=False, niter=6)
        return cls(centre, deviation / len(codes) ** 0.5, directions)

    def read(self, codes: torch.Tensor) -> torch.Tensor:
        """codes [B, width] -> coordinates [B, COMPONENTS] of unit variance."""
        return (codes - self.centre) @ (self.directions / self.deviation)

    def write(self, change: torch.Tensor) -> torch.Tensor:
        """Change of coordinates [B, COMPONENTS] -> change of codes [B, width]."""
        return change @ (self.directions * self.deviation).T


def grouped(codes: torch.Tensor) -> list[torch.Tensor]:
    """[B, L, dim] -> for each group [B, l * dim]."""
    return [part.flatten(1) for part in codes.split(list(GROUPS), 1)]


def fit(
    turn: KeyedTurn,
    components: Components,
    identity: torch.Tensor,
    attributes: torch.Tensor,
    errors: torch.Tensor,
    shows: torch.Tensor,
    goes: torch.Tensor,
    left: int,
    still: int,
    rng: torch.Generator,
) -> None:
    """Choose the coordinates of one group.

    Args:
        turn: is filled in.
        components: of the group.
        identity: change of the predicted embedding by each code entry [192, width].
        attributes: change of the predicted attributes by each code entry [ATTRIBUTE_DIMS, width].
        errors: of coordinates that went through a picture [M, COMPONENTS].
        shows: change of what must stay by each code entry [Q, width].
        goes: change of the mean code with what must stay [P, width].
        left: how many directions are left out for them.
        still: in how many of the others, at most, no key moves everybody.
        rng: draws the key's mixer.
    """
    scaled = components.directions * components.deviation  # scaled @ coordinates of unit variance = code
    wanted, unwanted = ((m @ scaled).T @ (m @ scaled) for m in (identity, attributes))
    unwanted = unwanted / unwanted.diagonal().mean() + FLOOR * torch.eye(COMPONENTS)
    unwanted = unwanted + NOISE * errors.T @ errors / len(errors)
    root = torch.linalg.inv(torch.linalg.cholesky(unwanted))  # root @ unwanted @ root.T = 1
    left = min(left, len(shows) + len(goes))
    best = torch.linalg.eigh(root @ wanted @ root.T).eigenvectors[:, -(turn.rank + left) :]  # generalised eigenvectors
    axes = torch.linalg.qr(root.T @ best).Q.T  # [rank + left, COMPONENTS], orthonormal in whitened coordinates
    stays = torch.cat([shows @ scaled, goes @ (components.directions / components.deviation)]) @ axes.T
    leading = torch.linalg.svd(stays, full_matrices=False).Vh[:left]  # [left, rank + left]
    others = torch.linalg.qr(leading.T, mode="complete").Q[:, left:]  # [rank + left, rank]
    axes = others.T @ axes  # [rank, COMPONENTS]
    held = torch.linalg.svd(stays @ others, full_matrices=False).Vh[:still]  # [still, rank]
    turn.centre.copy_(components.centre)
    turn.whiten.copy_((components.directions / components.deviation) @ axes.T)
    turn.colour.copy_(axes @ scaled.T)
    turn.mixer.copy_(torch.randn(turn.mixer.shape, generator=rng))
    mover = torch.randn(turn.mover.shape, generator=rng) / len(turn.mover) ** 0.5
    turn.mover.copy_(mover - mover @ held.T @ held)


def effects(critic: LatentCritic, layer: torch.nn.Linear, styles: int) -> list[torch.Tensor]:
    """Derivative of a critic's layer by every entry of W+: a tensor [outputs, l * dim] a group."""
    weight = layer.weight.unflatten(1, (len(critic.active), -1)) / critic.scale  # [outputs, active, dim]
    whole = torch.zeros(len(weight), styles, weight.shape[-1])
    whole[:, critic.active] = weight
    return grouped(whole)


def probe(
    components: list[Components],
    identity: torch.Tensor,
    reread: Callable[[int, torch.Tensor], torch.Tensor],
    rng: torch.Generator,
) -> list[torch.Tensor]:
    """Errors of randomly drawn coordinates after a picture, [PROBED, COMPONENTS] a group.

    Args:
        components: of each group.
        identity: identity codes [N, L, dim].
        reread: number of a photograph, new identity code [1, L, dim] -> the identity code seen in the picture.
        rng: draws photographs and coordinates.
    """
    errors: list[list[torch.Tensor]] = [[] for _ in components]
    for index in track(torch.randint(len(identity), (PROBED,), generator=rng).tolist(), "there and back"):
        old = identity[index : index + 1]
        written, changed = [], []
        for part, group in zip(grouped(old), components, strict=True):
            former = group.read(part)
            # half the variance stays the person's, so that the new code is as likely as the old one
            written.append((former + torch.randn(former.shape, generator=rng)) / 2**0.5)
            changed.append(part + group.write(written[-1] - former))
        new = torch.cat(changed, 1).view_as(old)
        for place, part, group, wanted in zip(errors, grouped(reread(index, new)), components, written, strict=True):
            place.append(group.read(part) - wanted)
    return [torch.cat(rows) for rows in errors]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    parser.add_argument("--utkface", type=Path, required=True, help="photographs named age_sex_...")
    parser.add_argument("--critic", type=Path, default=Path("runs/critics.safetensors"))
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    bundle = bundle_folder("mobile")
    generator, critic, finder = load_generator(bundle), load_critic(args.critic), FaceFinder.from_bundle(bundle)
    encoder, cid = load_encoder(bundle).cpu(), load_cid(bundle).cpu()
    photos, bank = load_coded(args.photos, args.codes)
    chosen = torch.randperm(len(bank), generator=rng)[:SAMPLES]
    encoded, pictures = bank[chosen], photos[chosen]
    attributes = torch.cat([cid(part) for part in encoded.split(250)])
    identity = encoded - attributes

    def seen_in_picture(index: int, code: torch.Tensor) -> torch.Tensor:
        """What the encoder reads from photo `index` after the face of a code [1, L, 512] was pasted into it."""
        picture, reached = pasted(finder, scaled(pictures[index : index + 1]), generator.preview(code).clamp(-1, 1))
        return encoder(picture * inner_mask(reached, SIZE))[0]

    def reread(index: int, new: torch.Tensor) -> torch.Tensor:
        seen = seen_in_picture(CHECKED + index, new + attributes[CHECKED + index])
        return seen - cid(seen)

    fitted = identity[CHECKED:]
    components = [Components.of(part) for part in grouped(fitted)]
    errors = probe(components, fitted, reread, rng)
    ranks = [rank - left for rank, left in zip(RANKS, LEFT, strict=True)]
    config: dict[str, Any] = {"groups": GROUPS, "ranks": ranks, "stretch": STRETCH, "move": MOVE, "dim": generator.dim}
    kria = KRIA(**config)
    with torch.enable_grad():
        seen_change = visible(encoded[CHECKED : CHECKED + SHOWN], generator, finder)
    shows = grouped(seen_change)
    spread = torch.stack(
        [(m @ (g.directions * g.deviation)).square().sum(1) for m, g in zip(shows, components, strict=True)]
    )
    people, labels = labelled(args.utkface, LABELLED, encoder, finder)
    apart = torch.cat([part - cid(part) for part in people.split(50)])
    goes = moving(apart.flatten(1), labels)
    for module, group, identity_effect, attribute_effect, error, show, go, left, still in zip(
        kria.turns,
        components,
        effects(critic, critic.identity_map, generator.styles),
        effects(critic, critic.attribute_map, generator.styles),
        errors,
        [part / spread.sum(0).sqrt()[:, None] for part in shows],
        grouped(goes.unflatten(1, apart.shape[1:])),
        LEFT,
        STILL,
        strict=True,
    ):
        assert isinstance(module, KeyedTurn)
        fit(module, group, identity_effect, attribute_effect, error, show, go, left, still, rng)
        module.key_centre.copy_(generator.mean_w)
        module.key_scale.copy_(critic.scale)

    original, attributes, identity = encoded[:CHECKED], attributes[:CHECKED], identity[:CHECKED]
    right, other = (random_keys(generator, CHECKED, rng) for _ in range(2))
    anonymized = kria(identity, right) + attributes
    seen = torch.cat([seen_in_picture(index, code[None]) for index, code in enumerate(anonymized)])
    seen_attributes = torch.cat([cid(part) for part in seen.split(250)])
    outcomes = {
        "anonymized": anonymized,
        "recovered": kria(seen - seen_attributes, right, back=True) + seen_attributes,
        "wrong key": kria(seen - seen_attributes, other, back=True) + seen_attributes,
    }
    print(f"predicted identity cosine with the original, n = {CHECKED}")
    for name, codes in outcomes.items():
        print(f"  {name:<11} {(critic.identity(codes) * critic.identity(original)).sum(1).mean():.3f}")
    between = (critic.identity(kria(identity, other) + attributes) * critic.identity(anonymized)).sum(1).mean()
    strangers = (critic.identity(original) * critic.identity(original.roll(1, 0))).sum(1).mean()
    print(f"  two keys    {between:.3f}\n  strangers   {strangers:.3f}")
    moved = (critic.attributes(anonymized) - critic.attributes(original)).square().mean().sqrt()
    print(f"  attributes moved: rms {moved:.3f}")
    save_part(bundle, "kria", kria.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
