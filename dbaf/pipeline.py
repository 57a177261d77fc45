"""A picture's whole way: anonymized, recovered, or only encoded and rendered. The stages are in `dbaf.networks`."""

import itertools
from collections.abc import Callable, Sequence

import torch
from PIL import Image

from dbaf.errors import NoFaceError
from dbaf.faces import Face, Selection
from dbaf.images import from_pil
from dbaf.keys import Key
from dbaf.networks import Networks, Progress
from dbaf.stages import Identity, Result

LEAST_REPLACED = 0.2  # share of a face; with less, nearly all of it was taken for something in front


class Pipeline(Networks):
    """All networks of one bundle, and the ways through them. Build it with `Pipeline.from_pretrained`."""

    def anonymize(
        self,
        image: Image.Image | torch.Tensor,
        key: Key,
        nonce: bytes | None = None,
        refine_steps: int = 0,
        progress: Progress | None = None,
        imprint: bool = True,
        min_face: float = 40,
        faces: Selection | None = None,
        keep_looks: bool = True,
        held: Sequence[torch.Tensor | None] | None = None,
    ) -> Result:
        """Give every face of a picture another identity.

        Look at `Result.suspects`: places that may be faces and were not replaced, and faces of which too little was.

        Args:
            image: PIL image or [1, 3, H, W] in [-1, 1].
            key: the secret.
            nonce: None: linked, the same person gets the same new face in every picture; 16 bytes from
                `dbaf.keys.new_nonce`: unlinked, and recovery needs them.
            refine_steps: see `encode`.
            progress: called with (done, total) after each face is encoded, each refinement step and each rendered face,
                and with the same numbers again while the detector looks. What it raises ends the run.
            imprint: hide the sealed W+ code of each face in its new pixels, where there is room.
            min_face: smaller faces are left alone; in pixels.
            faces: those to replace and those to spare; None: all that `detect` finds are replaced.
            keep_looks: the new faces are of about the same sex and age; False: of any, as the key says.
            held: for each face, left to right, the identity code [1, L, dim] from which what the key turns is taken, or
                None; from `dbaf.album`.

        Raises:
            NoFaceError: there is no face, or none is chosen.
            PictureError: a face holds an imprint: it was anonymized before.
        """

        def change(identity: Identity) -> Identity:
            return self.anonymize_identity(identity, key, nonce, imprint, keep_looks, held)

        result = self._run(image, change, refine_steps, progress, min_face, faces)
        known = result.faces if faces is None else faces.found  # a spared face was not missed
        total = _steps(result.faces, refine_steps)
        result.suspects = self.missed(result, known, min_face, _looks(progress, total, total))
        return result

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

        def change(identity: Identity) -> Identity:
            return self.recover_identity(identity, key, nonce, keep_looks=keep_looks)

        result = self._run(image, change, 0, progress, min_face, faces)
        if refine_steps and not all(result.restored):  # refinement adds nothing to what imprints say
            result = self._run(image, change, refine_steps, progress, min_face, faces)
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
        return self._run(image, lambda identity: identity, refine_steps, progress, min_face, faces)

    def _run(
        self,
        image: Image.Image | torch.Tensor,
        change: Callable[[Identity], Identity],
        refine_steps: int,
        progress: Progress | None,
        min_face: float,
        faces: Selection | None,
    ) -> Result:
        picture = image if isinstance(image, torch.Tensor) else from_pil(image).rgb
        if faces is None:
            found = self.detect(picture, min_face, _looks(progress, 0, 1))
            faces = Selection(found, [True] * len(found))
        chosen = faces.chosen
        if not chosen:
            raise NoFaceError("No face was found in the picture, or none of them is chosen.")
        done, total = itertools.count(1), _steps(chosen, refine_steps)

        def stepped(*_: int) -> None:
            if progress:
                progress(next(done), total)

        identity, attributes = self.disentangle(self.encode(picture, chosen, refine_steps, stepped))
        identity = change(identity)
        made = self.render(picture, chosen, identity, attributes, stepped, faces.spared)
        latents = torch.cat([identity.whole(index, attributes) for index in range(len(chosen))])
        return Result(made.picture, made.mask, made.owner, made.imprinted, chosen, latents, identity.restored)


def _steps(faces: list[Face], refine_steps: int) -> int:
    """How often a run reports progress: after encoding, refining and rendering each face."""
    return len(faces) * (refine_steps + 2)


def _looks(progress: Progress | None, done: int, total: int) -> Callable[[], None]:
    """What the detector calls while it looks: there the run can be ended, though nothing moves on."""
    return (lambda: progress(done, total)) if progress else (lambda: None)
