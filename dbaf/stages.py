"""What travels between the stages of the pipeline."""

from dataclasses import dataclass, field

import torch
from PIL import Image

from dbaf.faces import Face
from dbaf.faces.mask import covered
from dbaf.images import to_pil


@dataclass
class Encoding:
    """What the encoder makes of F faces.

    Attributes:
        latent: W+ codes [F, L, 512].
        features: px -> maps [F, C, px, px], which MAAR takes.
        gestures: what each face does [F, 8], see `dbaf.faces.gestures`.
        imprints: for each face the sealed W+ code that its pixels hold (`dbaf.imprint`), or None.
        front: what is in front of each face and stays, over its FFHQ square [F, 1, 256, 256] in [0, 1]; None if the
            model does not see that.
    """

    latent: torch.Tensor
    features: dict[int, torch.Tensor]
    gestures: torch.Tensor
    imprints: list[bytes | None] = field(repr=False)
    front: torch.Tensor | None = None


@dataclass
class Identity:
    """Who F faces are.

    Attributes:
        code: identity codes [F, L, 512].
        latent: the W+ codes [F, L, 512] that they are a part of.
        imprints: for each face sealed W+ codes, the longest first: `anonymize_identity` leaves those of the original
            faces, of which `render` writes the first that fits; `disentangle` leaves the one that was read, if any.
        restored: for each face, whether its `latent` comes from an imprint and is all that is to be rendered.
        proportions: how each face differs from what is rendered of it, [F, 8] in [-1, 1], 0: not at all; see
            `dbaf.faces.proportions`.
    """

    code: torch.Tensor
    latent: torch.Tensor
    imprints: list[list[bytes]] = field(repr=False)
    restored: list[bool]
    proportions: torch.Tensor

    def whole(self, index: int, attributes: "Attributes") -> torch.Tensor:
        """The W+ code [1, L, 512] of a face: the sum of both parts, unless it is known as a whole."""
        one = slice(index, index + 1)
        return self.latent[one] if self.restored[index] else self.code[one] + attributes.code[one]


@dataclass
class Attributes:
    """Everything else about F faces: attribute codes [F, L, 512]; the encoder's maps and what is in front, as above."""

    code: torch.Tensor
    features: dict[int, torch.Tensor]
    front: torch.Tensor | None = None


@dataclass
class Rendering:
    """A picture with new faces.

    Attributes:
        picture: [1, 3, H, W] in [-1, 1].
        mask: [1, 1, H, W] in [0, 1], 1 where a face was replaced; 0 where the picture is bit for bit as it was.
        owner: [H, W] int16, the number of the face, from 0, that a pixel shows; -1 where the picture is as it was.
        imprinted: for each face, whether its pixels hold a sealed W+ code.
    """

    picture: torch.Tensor
    mask: torch.Tensor
    owner: torch.Tensor
    imprinted: list[bool]

    @property
    def face_masks(self) -> torch.Tensor:
        """The mask of each face [F, 1, H, W]; where faces overlap, a pixel belongs to the one in front."""
        numbers = torch.arange(len(self.imprinted), device=self.owner.device)
        return self.mask * (self.owner == numbers[:, None, None])[:, None].to(self.mask)

    def replaced(self, face: Face) -> float:
        """The share of a face's outline, within the picture, that was replaced."""
        inside = covered(face.mesh[:, :2], face.quad, *self.mask.shape[-2:]).to(self.mask.device)
        return float((self.mask[0, 0][inside] > 0.5).float().mean()) if inside.any() else 1.0


@dataclass
class Result(Rendering):
    """A finished picture.

    Attributes:
        faces: the faces that were replaced, left to right.
        latents: their rendered W+ codes [F, L, 512].
        restored: for each face, whether it comes from an imprint.
        suspects: places of the finished picture that may show a face that was not replaced, or hardly; only `anonymize`
            looks.
        nonce: under which it was anonymized; None: linked, or not anonymized.
    """

    faces: list[Face]
    latents: torch.Tensor
    restored: list[bool]
    suspects: list[Face] = field(default_factory=list)
    nonce: bytes | None = None

    @property
    def image(self) -> Image.Image:
        """The picture as an 8-bit PIL image."""
        return to_pil(self.picture)
