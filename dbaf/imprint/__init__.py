"""The imprint: the W+ code of the original face, encrypted, in the pixels of the new one.

Reading a code off a rendered face with an encoder loses most of it. The imprint carries it along exactly: it is
quantised to a few dozen bytes (`code`), sealed under the key (`seal`), and hidden in the pixels so that it outlives
JPEG but not scaling (`channel`). What is stored is who a face is, in the generator's terms, not its pixels: for those
there is `dbaf.capsule`. `docs/format.md` specifies it.
"""

from dbaf.imprint.code import LatentCode
from dbaf.imprint.seal import open_imprint, seal_imprint

__all__ = ["LatentCode", "open_imprint", "seal_imprint"]
