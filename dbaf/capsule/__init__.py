"""Sealed exact recovery: the original pixels of the replaced faces, encrypted, beside or inside the picture.

`docs/format.md` specifies the bytes. The capsule brings a picture back bit for bit for whoever holds one of its keys;
a wrong key, a damaged capsule and a changed picture are errors, never another picture.
"""

from dbaf.capsule.format import describe
from dbaf.capsule.png import embed, extract
from dbaf.capsule.regions import Region, mask_regions
from dbaf.capsule.seal import Opened, open_capsule, rewrap, seal

__all__ = ["Opened", "Region", "describe", "embed", "extract", "mask_regions", "open_capsule", "rewrap", "seal"]
