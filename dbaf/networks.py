"""The networks of one bundle and the stages that they do: detect, encode, disentangle, change identities, render.

Faces go through the networks one by one, so a picture gives the same bytes alone, in a batch and in any order.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F

from dbaf.cid import CID
from dbaf.encoders import KINDS as ENCODERS
from dbaf.encoders.compact import SIZE
from dbaf.encoders.refine import feedback, refine
from dbaf.errors import PictureError, WeightsError
from dbaf.faces import Face, FaceFinder, crop, paste
from dbaf.faces.contour import bend
from dbaf.faces.gestures import SPREAD, gestures_of
from dbaf.faces.mask import covered, inner_mask, reach, to_square
from dbaf.faces.occlusion import STRANDS, OcclusionNet, around_features, spread
from dbaf.faces.proportions import as_rendered
from dbaf.generators import load_generator
from dbaf.gesture_code import GestureCode, attribute_code
from dbaf.imprint import LatentCode, open_imprint, seal_imprint
from dbaf.imprint.channel import FIRM
from dbaf.imprint.faces import read_face, write_face
from dbaf.keys import Key
from dbaf.kria_mlp import KINDS as KRIAS
from dbaf.maar import MAAR
from dbaf.stages import Attributes, Encoding, Identity, Rendering
from dbaf.weights.bundle import bundle_digest, bundle_folder, load_network, parts

Progress = Callable[[int, int], None]
PREVIEW = 128  # px; it tells as much as one of 256 px, in half the time, and one of 64 px less
SHOWN = 0.5  # presence, by the mesh, from which a preview shows a face
GREY = 2 / 255  # largest channel difference of a picture that counts as grey


class Networks:
    """All networks of one bundle. `dbaf.pipeline.Pipeline` takes a picture through their stages."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.device = device
        self.digest = bytes.fromhex(bundle_digest(str(folder)))  # sha256 of the manifest
        self.finder = FaceFinder.from_bundle(folder).to(device)
        self.generator = load_generator(folder).to(device)
        self.encoder = load_network(folder, "encoder", ENCODERS, device)
        self.cid = load_network(folder, "cid", CID, device)
        self.kria = load_network(folder, "kria", KRIAS, device)
        self.maar = load_network(folder, "maar", MAAR, device)
        held = parts(folder)
        self.latent_code = load_network(folder, "imprint", LatentCode, device) if "imprint" in held else None
        self.gesture_code = load_network(folder, "gestures", GestureCode, device) if "gestures" in held else None
        self.occlusion = load_network(folder, "occlusion", OcclusionNet, device) if "occlusion" in held else None
        styles = {"generator": self.generator.styles, "encoder": self.encoder.styles, "cid": sum(self.cid.groups)}
        if self.gesture_code is not None:
            styles["gestures"] = self.gesture_code.along.shape[1]
        if len(set(styles.values())) > 1:
            raise WeightsError(
                f"The parts of {folder} do not fit: lengths of W+ are {styles}. Convert them for one size."
            )

    @classmethod
    def from_pretrained(
        cls,
        name: str = "mobile",
        device: str = "auto",
        revision: str | None = None,
        local_files_only: bool = False,
        progress: Progress | None = None,
    ) -> Self:
        """Load a model.

        Args:
            name: an embedded family (`"mobile"`), the path of a bundle folder, or a bundle on the Hugging Face Hub:
                `"owner/name"` or `"owner/name@revision"`.
            device: `"auto"` (a GPU if there is one), or anything that `torch.device` takes.
            revision: branch, tag or commit on the Hub. What is in the cache is taken as it is: `dbaf.weights.hub`.
            local_files_only: download nothing.
            progress: called with (bytes done, bytes in all) of a download.

        Raises:
            WeightsError: no such bundle, it cannot be downloaded, or a shard is missing, short or altered.
        """
        if revision is not None:
            name = f"{name}@{revision}"
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.inference_mode(False):  # weights made in it could not take part in `refine`
            folder = bundle_folder(name, local_files_only=local_files_only, progress=progress)
            return cls(folder, torch.device(device))

    def detect(
        self, picture: torch.Tensor, min_face: float = 40, looked: Callable[[], None] = lambda: None
    ) -> list[Face]:
        """Faces of a picture [1, 3, H, W] in [-1, 1], left to right, then top to bottom; see `FaceFinder.find`."""
        return self.finder.find(picture, min_face, looked)

    def suspects(
        self, picture: torch.Tensor, known: list[Face], min_face: float = 40, looked: Callable[[], None] = lambda: None
    ) -> list[Face]:
        """Places of a picture that may show a face that is none of the known ones; see `FaceFinder.suspects`."""
        return self.finder.suspects(picture, known, min_face, looked)

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
            progress: called with (done, total) after each face's guess and each step of this.

        Raises:
            WeightsError: refinement was asked for, and the model has no part "imprint", whose components it needs.
        """
        if refine_steps and self.latent_code is None:
            raise WeightsError("This model cannot refine: set refine_steps to 0, or take the model 'mobile'.")
        codes, maps, fronts, done = [], [], [], itertools.count(1)

        def stepped() -> None:
            if progress:
                progress(next(done), len(faces) * (refine_steps + 1))

        for face in faces:
            square = crop(picture, face.quad, SIZE).to(self.device)
            if self.occlusion is not None:
                fronts.append(self.occlusion.front(square, _covered(face).to(square)))
            seen = self.seen(face, fronts[-1] if fronts else None)
            code, features = self.encoder(square * seen)
            if self.encoder.feedback:
                code = feedback(self.generator, self.encoder, seen, code)
            stepped()
            if refine_steps and self.latent_code is not None:
                code = refine(self.generator, self.encoder, self.latent_code, square, seen, code, refine_steps, stepped)
            codes.append(code)
            maps.append(features)
        features = {px: torch.cat([m[px] for m in maps]) for px in maps[0]}
        front = torch.cat(fronts) if fronts else None
        gestures = torch.cat([gestures_of(face) for face in faces]).to(self.device)
        return Encoding(torch.cat(codes), features, gestures, self.imprints(picture, faces), front)

    def seen(self, face: Face, front: torch.Tensor | None) -> torch.Tensor:
        """The part of a face's square that the encoder gets to see: [1, 1, 256, 256] in [0, 1].

        Args:
            front: what is in front of it, of that shape; None where that is not known.
        """
        inside = _covered(face).to(self.device)
        seen = inside if self.encoder.covered else torch.ones_like(inside)
        return seen if front is None else seen * (1 - front)

    def imprints(self, picture: torch.Tensor, faces: list[Face]) -> list[bytes | None]:
        """The sealed code in each face of a picture [1, 3, H, W]; seeing that it is there takes no key."""
        coder = self.latent_code
        return [None if coder is None else read_face(picture, face, coder.lengths) for face in faces]

    @torch.no_grad()
    def disentangle(self, encoding: Encoding) -> tuple[Identity, Attributes]:
        """Split W+ codes into identity and attributes; a W+ code is the sum of its identity and attribute codes."""
        faces = zip(encoding.latent.split(1), encoding.gestures.split(1), strict=True)
        code = torch.cat([attribute_code(self.cid, self.gesture_code, *face) for face in faces])
        found = [[] if sealed is None else [sealed] for sealed in encoding.imprints]
        who = Identity(encoding.latent - code, encoding.latent, found, [False] * len(code), as_rendered(len(code)))
        return who, Attributes(code, encoding.features, encoding.front)

    @torch.no_grad()
    def anonymize_identity(
        self,
        identity: Identity,
        key: Key,
        nonce: bytes | None = None,
        imprint: bool = True,
        keep_looks: bool = True,
        held: Sequence[torch.Tensor] | None = None,
        people: Sequence[int] | None = None,
    ) -> Identity:
        """KRIA under a key: F identities to those of other people.

        Args:
            identity: of F faces.
            key: the secret.
            nonce: 16 bytes for an unlinked picture; None: linked, the key alone decides.
            imprint: seal the old W+ codes for `render` to hide in the new faces, if the model has a part for it.
            keep_looks, held: see `Pipeline.anonymize`.
            people: for each face the person's number, from 0, see `Key.proportions`; None: 0, 1, 2 ...

        Raises:
            PictureError: a face holds an imprint. A second reflection would undo the first if the key were the same.
            ValueError: `held` has not one code for each face.
        """
        if any(identity.imprints):
            raise PictureError(
                "Already pseudonymised by DBAF: doing it again could bring the original faces back. Take the original "
                "picture, or recover it first."
            )
        coder = self.latent_code
        sealed: list[list[bytes]] = [[] for _ in identity.latent]
        if imprint and coder is not None:
            digest = coder.digest
            sealed = [
                [seal_imprint(coder.pack(code, length), key, digest) for length in coder.lengths]
                for code in identity.latent
            ]
        code, proportions = identity.code, key.proportions(nonce, range(len(sealed)) if people is None else people)
        if held is not None:
            if len(held) != len(code):
                raise ValueError(f"There are {len(held)} held codes for {len(code)} faces. Give one for each.")
            whose = torch.cat([one.to(code) for one in held])
            code = self.kria.hold(code, whose, keep_looks)
            proportions = key.proportions_of(self.kria.telling(whose)) if nonce is None else proportions
        code = self._kria(code, key, nonce, False, keep_looks)
        return Identity(code, identity.latent, sealed, [False] * len(sealed), proportions)

    @torch.no_grad()
    def recover_identity(
        self,
        identity: Identity,
        key: Key,
        nonce: bytes | None = None,
        imprint: bool = True,
        keep_looks: bool = True,
        people: Sequence[int] | None = None,
    ) -> Identity:
        """The inverse of `anonymize_identity`: from the imprint where it opens, else by KRIA from the looks.

        A wrong key opens none, and then gives yet other people. Of an album (`held`) only imprints bring back.

        Args:
            identity: of F faces.
            key: the secret.
            nonce, keep_looks, people: as they were for `anonymize_identity`; imprints need none of them. People who
                change places in between, or one who is missed, get others' proportions back.
            imprint: False leaves imprints aside.
        """
        code, latent = self._kria(identity.code, key, nonce, True, keep_looks), identity.latent.clone()
        restored, coder = [False] * len(code), self.latent_code
        proportions = -key.proportions(nonce, range(len(code)) if people is None else people)
        for index, found in enumerate(identity.imprints if imprint else []):
            for sealed in found:
                packed = open_imprint(sealed, key, coder.digest) if coder else None
                if coder and packed is not None:
                    latent[index], restored[index] = coder.unpack(packed), True
                    proportions[index] = 0
                    one = slice(index, index + 1)
                    # what goes with gestures: those of the picture, which the restored face shares
                    doing = identity.latent[one] - identity.code[one] - self.cid(identity.latent[one])
                    code[one] = latent[one] - self.cid(latent[one]) - doing
        return Identity(code, latent, [[] for _ in restored], restored, proportions)

    def _kria(self, code: torch.Tensor, key: Key, nonce: bytes | None, back: bool, keep_looks: bool) -> torch.Tensor:
        """Identity codes [F, L, 512] there or back."""
        noise = key.latent_noise(nonce)[:, : self.generator.dim].to(self.device)  # a narrow generator takes less
        latent_key = self.generator.mapping(noise)[None]  # [1, groups, dim]
        return torch.cat([self.kria(one, latent_key, back, keep_looks, nonce is not None) for one in code.split(1)])

    @torch.no_grad()
    def previewed(
        self,
        faces: Sequence[Face],
        new: Identity,
        attributes: Attributes,
        stepped: Callable[[], None] = lambda: None,
    ) -> list[tuple[float, float]]:
        """What a preview tells of each new face: how much it looks like the old one, and how its gestures change.

        The first is the `KRIA.resemblance` of its identity code, as the encoder reads it, and that of `new.latent`, in
        [-1, 1]; the second the distance of its gestures, in standard deviations of people. Where no face is seen: 1 and
        infinity.

        Args:
            faces: F faces of a picture.
            new: their new identities.
            attributes: of the same faces.
            stepped: called after each.
        """
        found = []
        for index, face in enumerate(faces):
            front = None if attributes.front is None else attributes.front[index : index + 1]
            preview = self.generator.preview(new.whole(index, attributes), size=PREVIEW)
            preview = F.interpolate(preview, size=SIZE, mode="bicubic").clamp(-1, 1)
            read, _ = self.encoder(preview * self.seen(face, front))
            old = new.latent[index : index + 1]
            # what goes with gestures is left out of both: it is read off a mesh, not off the code
            alike = self.kria.resemblance(read - self.cid(read), old - self.cid(old))
            mesh = self.finder.retrace(preview, to_square(face.points, face.quad) * SIZE)
            does = (gestures_of(mesh) - gestures_of(face)) / torch.tensor(SPREAD)
            shown = mesh.score >= SHOWN
            found.append((float(alike), float(does.square().mean().sqrt())) if shown else (1.0, math.inf))
            stepped()
        return found

    @torch.no_grad()
    def render(
        self,
        picture: torch.Tensor,
        faces: list[Face],
        identity: Identity,
        attributes: Attributes,
        progress: Progress | None = None,
        spared: Sequence[Face] = (),
        step: float = FIRM,
    ) -> Rendering:
        """Render every face, paste it over the old one, and write its imprint.

        Args:
            picture: [1, 3, H, W] in [-1, 1].
            faces: F faces of it.
            identity: of these faces.
            attributes: of the same faces.
            progress: called with (done, F) after each face.
            spared: other faces of it. Inside their outlines every pixel stays, also where a new face would reach in.
            step: of the imprints, see `dbaf.imprint.channel`.
        """
        mask = picture.new_zeros(1, 1, *picture.shape[-2:])
        owner = torch.full(picture.shape[-2:], -1, dtype=torch.int16)  # which face a pixel shows
        kept = torch.zeros(picture.shape[-2:], dtype=torch.bool)
        for face in spared:
            kept |= covered(face.mesh[:, :2], face.quad, *kept.shape)
        kept = kept.to(picture.device)
        grey = bool((picture.amax(1) - picture.amin(1)).max() <= GREY)
        done = itertools.count(1)
        for index in sorted(range(len(faces)), key=lambda number: faces[number].area):  # the nearest comes last
            face = faces[index]
            latent = identity.whole(index, attributes)  # [1, L, 512]
            noise = self.maar({px: maps[index : index + 1] for px, maps in attributes.features.items()})
            patch = self.generator(latent, noise).clamp(-1, 1).to(picture.device)  # [1, 3, S, S]
            if grey:
                patch = patch.mean(1, keepdim=True).expand_as(patch)
            # the same alignment puts the new face's points about where the old ones were
            points = to_square(face.points, face.quad) * patch.shape[-1]
            mesh = self.finder.retrace(patch, points).mesh[:, :2] / patch.shape[-1]
            patch = bend(patch, mesh, to_square(face.mesh[:, :2], face.quad), identity.proportions[index])
            front = None
            if attributes.front is not None:
                front = torch.maximum(attributes.front[index : index + 1].to(patch), self._fringe(patch, mesh))
            pasted, face_mask = paste(picture, patch, face, front)
            picture, face_mask = torch.where(kept, picture, pasted), torch.where(kept, 0, face_mask)
            mask = torch.maximum(mask, face_mask)
            owner[face_mask[0, 0].cpu() > 0] = index
            if progress:
                progress(next(done), len(faces))
        imprinted = []
        for index, sealed in enumerate(identity.imprints):
            picture, fits = write_face(picture, owner == index, sealed, step)
            imprinted.append(fits)
        return Rendering(picture, mask, owner, imprinted)

    def _fringe(self, patch: torch.Tensor, mesh: torch.Tensor) -> torch.Tensor:
        """Hair that hangs into a new face, mesh [468, 2], and would end at the edge of its patch [1, 3, S, S].

        Returns:
            [1, 1, 256, 256] in [0, 1]; 0 if the model does not see that.
        """
        if self.occlusion is None:
            return patch.new_zeros(1, 1, SIZE, SIZE)
        inside = inner_mask(reach(mesh)[None].float(), SIZE).to(self.device)
        small = F.interpolate(patch, size=SIZE, mode="area").to(self.device)
        hair = spread(self.occlusion.front(small, inside, STRANDS))  # strands are seen in part, and have shadows
        return (hair * around_features(mesh).to(inside)).to(patch)


def _covered(face: Face) -> torch.Tensor:
    """[1, 1, SIZE, SIZE]: what the encoder gets to see of a face's square, the part that is replaced.

    Hair, ears and clothes stay in an anonymized picture, and an encoder that saw them would read the old person there.
    """
    return inner_mask(reach(to_square(face.mesh[:, :2], face.quad))[None].float(), SIZE)
