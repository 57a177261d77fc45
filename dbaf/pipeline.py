"""A picture's whole way: anonymized, recovered, or only encoded and rendered. The stages are in `dbaf.networks`."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from dbaf.errors import NoFaceError
from dbaf.faces import Face, Selection
from dbaf.images import from_pil
from dbaf.keys import Key
from dbaf.networks import Networks, Progress
from dbaf.stages import Attributes, Identity, Result

PREVIEWED = 4  # of the nonces to choose from: a preview and a look of the encoder at every face take .2 s
LEAST_REPLACED = 0.2  # share of a face; with less, nearly all of it was taken for something in front


class Pipeline(Networks):
    """All networks of one bundle, and the ways through them. Build it with `Pipeline.from_pretrained`."""

    def anonymize(
        self,
        image: Image.Image | torch.Tensor,
        key: Key,
        nonce: bytes | Sequence[bytes] | None = None,
        refine_steps: int = 0,
        progress: Progress | None = None,
        imprint: bool = True,
        min_face: float = 40,
        faces: Selection | None = None,
        keep_looks: bool = True,
        held: Sequence[torch.Tensor] | None = None,
    ) -> Result:
        """Give every face of a picture another identity.

        Look at `Result.suspects`: places that may be faces and were not replaced, and faces of which too little was.

        Args:
            image: PIL image or [1, 3, H, W] in [-1, 1].
            key: the secret.
            nonce: None: linked, the same person gets about the same new face in every picture; 16 bytes from
                `dbaf.keys.new_nonce`: unlinked, and recovery needs them; several, from `dbaf.keys.new_nonces`: the one
                that `choose_nonce` takes, and `Result.nonce` tells. It hides better than a single one.
            refine_steps: see `encode`.
            progress: called with (done, total) after each face is encoded, each refinement step, each face's preview
                under a nonce and each rendered face, and with the same numbers again while the detector looks. What it
                raises ends the run.
            imprint: hide the sealed W+ code of each face in its new pixels, where there is room.
            min_face: smaller faces are left alone; in pixels.
            faces: those to replace and those to spare; None: all that `detect` finds are replaced.
            keep_looks: the new faces are of about the same perceived sex, age and origin; False: of any, as the key
                says, though the colour of the skin stays.
            held: for each face, left to right, the identity code [1, L, dim] from which what the key turns is taken;
                from `dbaf.album`.

        Raises:
            NoFaceError: there is no face, or none is chosen.
            PictureError: a face holds an imprint: it was anonymized before.
            ValueError: `nonce` is an empty list, or `held` has not one code for each face.
        """

        if nonce is None or isinstance(nonce, bytes):
            half = self._disentangled(image, refine_steps, progress, min_face, faces)
        else:
            half = self._disentangled(image, refine_steps, progress, min_face, faces, min(PREVIEWED, len(nonce)))
            who = half.faces.chosen, half.identity, half.attributes
            nonce = self.choose_nonce(*who, key, nonce, keep_looks, held, half.stepped)
        identity = self.anonymize_identity(half.identity, key, nonce, imprint, keep_looks, held, half.faces.places)
        result = self._rendered(half, identity)
        result.nonce = nonce
        known = result.faces if faces is None else faces.found  # a spared face was not missed
        result.suspects = self.missed(result, known, min_face, half.looked)
        return result

    def choose_nonce(
        self,
        faces: list[Face],
        identity: Identity,
        attributes: Attributes,
        key: Key,
        nonces: Sequence[bytes],
        keep_looks: bool = True,
        held: Sequence[torch.Tensor] | None = None,
        stepped: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Of several nonces one that hides well, and moves mouth, eyes and brows little.

        How much of a person shows through depends on the key, and so does how well the new face does what the old one
        did. Of several faces the one that looks most like its old self counts. The PREVIEWED nonces under which it does
        so least by its code are previewed; of the half of those under which it does so least by its preview, the one is
        taken under which the face whose gestures change most changes them least. Whoever recovers the picture reads the
        nonce in its record and needs not know how it was chosen.

        Args:
            faces: F faces of a picture.
            identity, attributes: of these.
            key, keep_looks, held: as for `anonymize`.
            nonces: at least one, of 16 bytes.
            stepped: called after each face of each nonce that is previewed.

        Raises:
            ValueError: there is none, or `held` has not one code for each face.
        """
        if not nonces:
            raise ValueError("There is no nonce to choose. Give some of dbaf.keys.new_nonces(), or None for linked.")
        new = {nonce: self.anonymize_identity(identity, key, nonce, False, keep_looks, held) for nonce in nonces}
        coded = [(float(self.kria.resemblance(identity.code, new[nonce].code).max()), nonce) for nonce in new]
        tried = []
        for _, nonce in sorted(coded)[:PREVIEWED]:
            alike, doing = zip(*self.previewed(faces, new[nonce], attributes, stepped), strict=True)
            tried.append((max(alike), max(doing), nonce))
        half = sorted(tried)[: (len(tried) + 1) // 2]
        return min(half, key=lambda one: one[1])[2]

    def missed(
        self, made: Result, known: list[Face], min_face: float = 40, looked: Callable[[], None] = lambda: None
    ) -> list[Face]:
        """The suspects of a finished picture, and those of its replaced faces of which too little was.

        Args:
            made: the finished picture.
            known: its faces, those that were spared among them.
            min_face, looked: see `FaceFinder.suspects`.
        """
        hardly = [face for face in made.faces if made.replaced(face) < LEAST_REPLACED]
        return self.suspects(made.picture, known, min_face, looked) + hardly

    def recover(
        self,
        image: Image.Image | torch.Tensor,
        key: Key,
        nonce: bytes | None = None,
        refine_steps: int = 0,
        progress: Progress | None = None,
        min_face: float = 40,
        faces: Selection | None = None,
        keep_looks: bool = True,
    ) -> Result:
        """Bring the identities back, from the picture alone. Arguments as in `anonymize`; raises NoFaceError.

        A wrong key is no error: it gives yet other people. `Result.restored` tells which faces had a readable imprint.
        """

        for steps in dict.fromkeys((0, refine_steps)):  # refinement adds nothing to what imprints say
            half = self._disentangled(image, steps, progress, min_face, faces)
            people = half.faces.places
            identity = self.recover_identity(half.identity, key, nonce, keep_looks=keep_looks, people=people)
            result = self._rendered(half, identity)
            if all(result.restored):
                break
        return result

    def reconstruct(
        self,
        image: Image.Image | torch.Tensor,
        refine_steps: int = 0,
        progress: Progress | None = None,
        min_face: float = 40,
        faces: Selection | None = None,
    ) -> Result:
        """Encode and render, identity unchanged: what the encoder alone can do. Raises NoFaceError."""
        half = self._disentangled(image, refine_steps, progress, min_face, faces)
        return self._rendered(half, half.identity)

    def _disentangled(
        self,
        image: Image.Image | torch.Tensor,
        refine_steps: int,
        progress: Progress | None,
        min_face: float,
        faces: Selection | None,
        tries: int = 0,
    ) -> "_Half":
        """The first half of every way; then some nonces are tried, and each face is rendered."""
        picture = image if isinstance(image, torch.Tensor) else from_pil(image).rgb
        if faces is None:
            found = self.detect(picture, min_face, (lambda: progress(0, 1)) if progress else (lambda: None))
            faces = Selection(found, [True] * len(found))
        if not faces.chosen:
            raise NoFaceError("No face was found in the picture, or none of them is chosen.")
        done, total = itertools.count(1), len(faces.chosen) * (refine_steps + 2 + tries)

        def stepped(*_: int) -> None:
            if progress:
                progress(next(done), total)

        def looked() -> None:
            if progress:
                progress(total, total)

        identity, attributes = self.disentangle(self.encode(picture, faces.chosen, refine_steps, stepped))
        return _Half(picture, faces, identity, attributes, stepped, looked)

    def _rendered(self, half: "_Half", identity: Identity) -> Result:
        """The second half: the faces rendered as these people."""
        chosen, attributes = half.faces.chosen, half.attributes
        made = self.render(half.picture, chosen, identity, attributes, half.stepped, half.faces.spared)
        latents = torch.cat([identity.whole(index, attributes) for index in range(len(chosen))])
        return Result(made.picture, made.mask, made.owner, made.imprinted, chosen, latents, identity.restored)


@dataclass(frozen=True)
class _Half:
    """A picture [1, 3, H, W] half way: who its chosen faces are, and what to call after each further step and look."""

    picture: torch.Tensor
    faces: Selection
    identity: Identity
    attributes: Attributes
    stepped: Callable[..., None]
    looked: Callable[[], None]
