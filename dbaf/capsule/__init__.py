"""Sealed exact recovery: the original face regions, encrypted, travel with the pseudonymised picture.

The format is specified in `docs/format.md`.
"""

from dbaf.capsule.format import Capsule, Region
from dbaf.capsule.sealing import ChangedPictureError, add_recipient, describe, rotate, seal, sealed_regions, unseal

__all__ = [
    "Capsule",
    "ChangedPictureError",
    "Region",
    "add_recipient",
    "describe",
    "rotate",
    "seal",
    "sealed_regions",
    "unseal",
]
