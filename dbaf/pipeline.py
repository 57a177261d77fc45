"""The picture's way through the house: detect -> encode -> disentangle -> anonymize or recover -> render and blend.

Faces go through the networks one by one, so a picture gives the same bytes alone, in a batch and in any order.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from dbaf.cid import CID
from dbaf.encoders.compact import SIZE, CompactEncoder
from dbaf.encoders.refine import refine
from dbaf.errors import NoFaceError
from dbaf.faces import Face, FaceFinder, crop, paste
from dbaf.faces.mask import inner_mask, reach, to_square
from dbaf.generators import load_generator
from dbaf.images import from_pil, to_pil
from dbaf.keys import Key
from dbaf.kria import KRIA
from dbaf.maar import MAAR
from dbaf.weights.bundle import bundle_folder, load_network

Progress = Callable[[int, int], None]
GREY = 2 / 255  # largest channel difference of a picture that counts as grey


@dataclass
class Encoding:
    """What the encoder makes of F faces: W+ codes [F, L, 512] and, px -> maps [F, C, px, px], what MAAR takes."""

    latent: torch.Tensor
    features: dict[int, torch.Tensor]


@dataclass
class Attributes:
    """Everything about F faces but who they are: attribute codes [F, L, 512] and the encoder's maps."""

    code: torch.Tensor
    features: dict[int, torch.Tensor]


@dataclass
class Result:
    """A finished picture.

    Attributes:
        picture: [1, 3, H, W] in [-1, 1].
        mask: [1, 1, H, W] in [0, 1], 1 where a face was replaced; 0 where the picture is bit for bit the input.
        faces: the faces found in the input, left to right.
        latents: their rendered W+ codes [F, L, 512].
    """

    picture: torch.Tensor
    mask: torch.Tensor
    faces: list[Face]
    latents: torch.Tensor

    @property
    def image(self) -> Image.Image:
        """The picture as an 8-bit PIL image."""
        return to_pil(self.picture)


class Pipeline:
    """All networks of one bundle. Build it with `Pipeline.from_pretrained`."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.device = device
        self.finder = FaceFinder.from_bundle(folder).to(device)
        self.generator = load_generator(folder).to(device)
        self.encoder = load_network(folder, "encoder", CompactEncoder, device)
        self.cid = load_network(folder, "cid", CID, device)
        self.kria = load_network(folder, "kria", KRIA, device)
        self.maar = load_network(folder, "maar", MAAR, device)

    @classmethod
    def from_pretrained(cls, name: str = "mobile", device: str = "auto") -> "Pipeline":
        """Load a model.

        Args:
            name: an embedded family (`"mobile"`) or the path of a bundle folder.
            device: `"auto"` (a GPU if there is one), or anything that `torch.device` takes.

        Raises:
            WeightsError: no such bundle, or a shard is missing, short or altered.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.inference_mode(False):  # weights made in it could not take part in `refine`
            return cls(bundle_folder(name), torch.device(device))

    def detect(self, picture: torch.Tensor, min_face: float = 40) -> list[Face]:
        """Faces of a picture [1, 3, H, W] in [-1, 1], left to right, then top to bottom; `min_face` in pixels."""
        return self.finder.find(picture, min_face)

    @torch.no_grad()
    def encode(
        self, picture: torch.Tensor, faces: list[Face], refine_steps: int = 0, progress: Progress | None = None
    ) -> Encoding:
        """Encode each of F >= 1 faces of a picture.

        Args:
            picture: [1, 3, H, W] in [-1, 1].
            faces: F >= 1 of them.
            refine_steps: latent optimisation after the encoder's guess: closer to the person, at about .3 s a step on
                two cores; 40 is a good number.
            progress: called with (done, total) after each step of this.
        """
        codes, maps, done = [], [], itertools.count(1)

        def stepped() -> None:
            if progress:
                progress(next(done), len(faces) * refine_steps)

        for face in faces:
            square = crop(picture, face.quad, SIZE).to(self.device)
            code, features = self.encoder(square * _covered(face).to(square))
            if refine_steps:
                code = refine(self.generator, self.encoder, square, code, refine_steps, stepped)
            codes.append(code)
            maps.append(features)
        return Encoding(torch.cat(codes), {px: torch.cat([m[px] for m in maps]) for px in maps[0]})

    @torch.no_grad()
    def disentangle(self, encoding: Encoding) -> tuple[torch.Tensor, Attributes]:
        """Split W+ codes into identity codes [F, L, 512] and attributes; codes are identity + attributes."""
        code = torch.cat([self.cid(latent) for latent in encoding.latent.split(1)])
        return encoding.latent - code, Attributes(code, encoding.features)

    @torch.no_grad()
    def anonymize_identity(self, identity: torch.Tensor, key: Key, nonce: bytes | None = None) -> torch.Tensor:
        """KRIA under a key: identity codes [F, L, 512] to those of other people.

        Args:
            identity: identity codes [F, L, 512].
            key: the secret.
            nonce: 16 bytes for an unlinked picture; None: linked, the key alone decides.
        """
        latent_key = self.generator.mapping(key.latent_noise(nonce).to(self.device))[None]  # [1, groups, 512]
        return torch.cat([self.kria(code, latent_key) for code in identity.split(1)])

    def recover_identity(self, identity: torch.Tensor, key: Key, nonce: bytes | None = None) -> torch.Tensor:
        """The inverse of `anonymize_identity`: the same network, applied again with the same key and nonce."""
        return self.anonymize_identity(identity, key, nonce)

    @torch.no_grad()
    def render(
        self,
        picture: torch.Tensor,
        faces: list[Face],
        identity: torch.Tensor,
        attributes: Attributes,
        progress: Progress | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Render every face and paste it over the old one.

        Args:
            picture: [1, 3, H, W] in [-1, 1].
            faces: F faces of it.
            identity: identity codes [F, L, 512].
            attributes: of the same faces.
            progress: called with (done, F) after each face.

        Returns:
            The new picture [1, 3, H, W] and the union mask [1, 1, H, W] in [0, 1].
        """
        mask = picture.new_zeros(1, 1, *picture.shape[-2:])
        grey = bool((picture.amax(1) - picture.amin(1)).max() <= GREY)
        for index, face in enumerate(faces):
            latent = identity[index : index + 1] + attributes.code[index : index + 1]  # [1, L, 512]
            noise = self.maar({px: maps[index : index + 1] for px, maps in attributes.features.items()})
            patch = self.generator(latent, noise).clamp(-1, 1).to(picture.device)  # [1, 3, S, S]
            if grey:
                patch = patch.mean(1, keepdim=True).expand_as(patch)
            # the same alignment puts the new face's points about where the old ones were
            points = to_square(face.points, face.quad) * patch.shape[-1]
            mesh = self.finder.retrace(patch, points).mesh
            picture, face_mask = paste(picture, patch, face, mesh)
            mask = torch.maximum(mask, face_mask)
            if progress:
                progress(index + 1, len(faces))
        return picture, mask

    def anonymize(
        self,
        image: Image.Image | torch.Tensor,
        key: Key,
        nonce: bytes | None = None,
        refine_steps: int = 0,
        progress: Progress | None = None,
    ) -> Result:
        """Give every face of a picture another identity.

        Args:
            image: PIL image or [1, 3, H, W] in [-1, 1].
            key: the secret.
            nonce: None: linked, the same person gets the same new face in every picture; 16 bytes from
                `dbaf.keys.new_nonce`: unlinked, and recovery needs them.
            refine_steps: see `encode`.
            progress: called with (done, total) after each refinement step and each rendered face.

        Raises:
            NoFaceError: there is no face.
        """
        return self._run(image, lambda identity: self.anonymize_identity(identity, key, nonce), refine_steps, progress)

    def recover(
        self,
        image: Image.Image | torch.Tensor,
        key: Key,
        nonce: bytes | None = None,
        refine_steps: int = 0,
        progress: Progress | None = None,
    ) -> Result:
        """Bring the identities back, from the picture alone. Arguments and errors as in `anonymize`.

        A wrong key is no error: it gives yet other people.
        """
        return self._run(image, lambda identity: self.recover_identity(identity, key, nonce), refine_steps, progress)

    def reconstruct(
        self, image: Image.Image | torch.Tensor, refine_steps: int = 0, progress: Progress | None = None
    ) -> Result:
        """Encode and render, identity unchanged: what the encoder alone can do. Raises NoFaceError."""
        return self._run(image, lambda identity: identity, refine_steps, progress)

    def _run(
        self,
        image: Image.Image | torch.Tensor,
        change: Callable[[torch.Tensor], torch.Tensor],
        refine_steps: int,
        progress: Progress | None,
    ) -> Result:
        picture = image if isinstance(image, torch.Tensor) else from_pil(image).rgb
        faces = self.detect(picture)
        if not faces:
            raise NoFaceError("No face was found in the picture.")
        done, total = itertools.count(1), len(faces) * (refine_steps + 1)

        def stepped(*_: int) -> None:
            if progress:
                progress(next(done), total)

        identity, attributes = self.disentangle(self.encode(picture, faces, refine_steps, stepped))
        identity = change(identity)
        picture, mask = self.render(picture, faces, identity, attributes, stepped)
        return Result(picture, mask, faces, identity + attributes.code)


def _covered(face: Face) -> torch.Tensor:
    """[1, 1, SIZE, SIZE]: what the encoder gets to see of a face's square, the part that is replaced.

    Hair, ears and clothes stay in an anonymized picture, and an encoder that saw them would read the old person there.
    """
    return inner_mask(reach(to_square(face.mesh[:, :2], face.quad))[None].float(), SIZE)
