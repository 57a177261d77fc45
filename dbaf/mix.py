"""One person's identity on another one's attributes, wholly or in part."""

import torch

from dbaf.errors import PictureError
from dbaf.stages import Identity


def mix_identities(identity: Identity, other: Identity, strength: float) -> Identity:
    """Interpolate between identity codes; attributes have no part in it.

    At 1 it is what the paper trains disentangling with, w = I(other) + A; between, the straight line from code to code.

    Args:
        identity: of F faces.
        other: of one face, whom all get, or of F faces: each gets that of its number.
        strength: 0 (`identity`, unchanged) to 1 (`other`).

    Returns:
        Identity of F faces. Imprints are those of `identity`: they tell whose pixels those are.

    Raises:
        PictureError: `strength` is out of range, or `other` has another number of faces.
    """
    if not 0 <= strength <= 1:
        raise PictureError(f"The strength of a mix lies between 0 and 1; found {strength}.")
    count, others = len(identity.code), len(other.code)
    if others not in (1, count):
        raise PictureError(f"To mix with {count} faces takes 1 other face, or {count}; found {others}. Choose one.")
    if strength == 0:
        return identity
    code = torch.lerp(identity.code, other.code.expand_as(identity.code), strength)  # [F, L, 512]
    proportions = torch.lerp(identity.proportions, other.proportions.expand_as(identity.proportions), strength)
    return Identity(code, identity.latent, identity.imprints, [False] * count, proportions)
