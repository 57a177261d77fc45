"""Stage 2: fit KRIA's identity coordinates on encoded pictures, and check it.

    python -m dbaf.training.anonymize

Each style group's identity codes are whitened along their principal components; among those, the directions that
move the predicted recogniser embedding most become the coordinates that KRIA reflects. The codes are those of
photographs, from `dbaf.training.codes`. Takes minutes. Prints what the latent critic makes of 60 of them that were
left out: right key, wrong key, two keys, all through a pasted picture.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from dbaf.faces import FaceFinder
from dbaf.generators import load_generator
from dbaf.kria import KRIA, Reflection
from dbaf.training.codes import EVERY, load_codes
from dbaf.training.common import LICENCE, load_cid, load_encoder
from dbaf.training.composites import pasted
from dbaf.training.critics import LatentCritic, load_critic
from dbaf.training.latent import GROUPS, random_keys
from dbaf.training.photos import load_photos
from dbaf.weights.bundle import bundle_folder, save_part

RANKS = (8, 16, 8)  # few: each is coded reliably, so the way back survives the picture
COMPONENTS = 32  # principal components of a group among which the coordinates are chosen
SAMPLES = 2000  # encoded photographs
FLOOR = 3.0  # added to the effect on attributes, in units of its mean: lower keeps more and changes people less
NOISE = 2.0  # weight of the error through a picture
LOOPED = 100  # pictures sent there and back to measure it
CHECKED = 60  # of them, kept for the check


def fit(
    reflection: Reflection,
    codes: torch.Tensor,
    identity: torch.Tensor,
    attributes: torch.Tensor,
    errors: torch.Tensor,
    rng: torch.Generator,
) -> None:
    """Choose the coordinates of one group: those that move identity most for what they move of the attributes and
    for the error with which they come back from a picture.

    Args:
        reflection: is filled in.
        codes: identity codes of the group [N, width].
        identity: change of the predicted embedding by each code entry [192, width].
        attributes: change of the predicted attributes by each code entry [ATTRIBUTE_DIMS, width].
        errors: errors of codes that went through a picture [M, width]; M may be 0.
        rng: draws the key's mixer.
    """
    centre = codes.mean(0)
    _, deviation, directions = torch.pca_lowrank(codes - centre, COMPONENTS, center=False, niter=4)
    deviation = deviation / len(codes) ** 0.5  # [COMPONENTS]; directions [width, COMPONENTS]
    coordinates = directions * deviation  # coordinates @ code of unit variance
    wanted, unwanted = ((m @ coordinates).T @ (m @ coordinates) for m in (identity, attributes))
    unwanted = unwanted / unwanted.diagonal().mean() + FLOOR * torch.eye(COMPONENTS)
    if len(errors):
        seen = errors @ (directions / deviation)  # [M, COMPONENTS], 1 = as large as people differ
        unwanted += NOISE * seen.T @ seen / len(seen)
    root = torch.linalg.inv(torch.linalg.cholesky(unwanted))  # root @ unwanted @ root.T = 1
    best = torch.linalg.eigh(root @ wanted @ root.T).eigenvectors[:, -reflection.rank :]  # generalised eigenvectors
    turn = torch.linalg.qr(root.T @ best).Q.T  # [rank, COMPONENTS], orthonormal in whitened coordinates
    reflection.centre.copy_(centre)
    reflection.whiten.copy_((directions / deviation) @ turn.T)
    reflection.colour.copy_(turn @ (directions * deviation).T)
    reflection.mixer.copy_(torch.randn(reflection.mixer.shape, generator=rng))


def effects(critic: LatentCritic, layer: torch.nn.Linear, styles: int) -> tuple[torch.Tensor, ...]:
    """Derivative of a critic's layer by every entry of W+: a tensor [outputs, l * dim] a group."""
    weight = layer.weight.unflatten(1, (len(critic.active), -1)) / critic.scale  # [outputs, active, dim]
    whole = torch.zeros(len(weight), styles, weight.shape[-1])
    whole[:, critic.active] = weight
    return tuple(part.flatten(1) for part in whole.split(list(GROUPS), 1))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    parser.add_argument("--critic", type=Path, default=Path("runs/critics.safetensors"))
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    bundle = bundle_folder("mobile")
    generator, critic, finder = load_generator(bundle), load_critic(args.critic), FaceFinder.from_bundle(bundle)
    encoder, cid = load_encoder(bundle).cpu(), load_cid(bundle).cpu()
    bank = load_codes(args.codes)
    chosen = torch.randperm(len(bank), generator=rng)[:SAMPLES]
    encoded, pictures = bank[chosen], load_photos(args.photos)["pictures"][::EVERY][chosen]
    config: dict[str, Any] = {"groups": GROUPS, "ranks": RANKS, "dim": generator.dim}
    kria = KRIA(**config)

    attributes = torch.cat([cid(part) for part in encoded.split(250)])
    identity = encoded - attributes
    fitted, identity = identity[CHECKED:], identity[:CHECKED]
    original, attributes = encoded[:CHECKED], attributes[:CHECKED]

    def seen_in_picture(index: int, code: torch.Tensor) -> torch.Tensor:
        """What the encoder reads from photo `index` after the face of a code [1, L, 512] was pasted into it."""
        photo = pictures[index : index + 1].float() / 127.5 - 1
        return encoder(pasted(finder, photo, generator.preview(code).clamp(-1, 1)))[0]

    def fit_all(errors: torch.Tensor) -> None:
        for part, error, identity_effect, attribute_effect, module in zip(
            fitted.split(list(GROUPS), 1),
            errors.split(list(GROUPS), 1),
            effects(critic, critic.identity_map, generator.styles),
            effects(critic, critic.attribute_map, generator.styles),
            kria.reflections,
            strict=True,
        ):
            assert isinstance(module, Reflection)
            fit(module, part.flatten(1), identity_effect, attribute_effect, error.flatten(1), rng)
            module.key_centre.copy_(generator.mean_w)
            module.key_scale.copy_(critic.scale)

    fit_all(torch.zeros(0, generator.styles, generator.dim))
    errors = []
    for index in track(range(CHECKED, CHECKED + LOOPED), "there and back"):
        new = kria(
            encoded[index : index + 1] - (kept := cid(encoded[index : index + 1])), random_keys(generator, 1, rng)
        )
        seen = seen_in_picture(index, new + kept)
        errors.append(seen - cid(seen) - new)
    fit_all(torch.cat(errors))

    right, other = (random_keys(generator, CHECKED, rng) for _ in range(2))
    anonymized = kria(identity, right) + attributes
    seen = torch.cat([seen_in_picture(index, code[None]) for index, code in enumerate(anonymized)])
    seen_attributes = torch.cat([cid(part) for part in seen.split(250)])
    outcomes = {
        "anonymized": anonymized,
        "recovered": kria(seen - seen_attributes, right) + seen_attributes,
        "wrong key": kria(seen - seen_attributes, other) + seen_attributes,
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
