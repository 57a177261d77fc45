"""DBAF Reconstruct, DBAF Anonymize Image and DBAF Recover Image: the whole way in one node."""

from collections.abc import Iterator
from typing import Any

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from dbaf.clip import Progress as ClipProgress
from dbaf.clip import anonymize_clip, recover_clip
from dbaf.errors import NoFaceError, PictureError
from dbaf.faces import Face, Selection
from dbaf.faces.draw import draw_faces
from dbaf.images import from_pil, to_pil
from dbaf.keys import Key
from dbaf.networks import Progress
from dbaf.pipeline import Pipeline
from dbaf.stages import Result

from .batches import Faces, Held, Place, alone, clip, each_placed, one_by_one
from .border import Pictures, to_outputs
from .sockets import (
    CLIP,
    KEEP,
    KEEP_LOOKS,
    PICTURES,
    UNLINKED,
    FacesSocket,
    KeySocket,
    batch_input,
    imprint_input,
    linkage_input,
    looks_input,
    mask_outputs,
    min_face_input,
    model_input,
    refine_steps_input,
    same_looks_input,
    schema,
    variation_input,
    without_face_input,
)


def faces_input() -> io.Input:
    """Optional on every node of this file."""
    return FacesSocket.Input(
        "faces",
        optional=True,
        tooltip="From DBAF Detect Faces, of the same image, to choose or spare faces. Without it all faces are meant.",
    )


class Reconstruct(io.ComfyNode):
    """IMAGE -> the same people, encoded and rendered."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Reconstruct",
            display_name="DBAF Reconstruct",
            aliases=["GAN inversion", "encode and render", "autoencode"],
            description="Encodes each face and renders it again with its identity unchanged: what encoder and "
            "generator alone can do. Protects nobody.",
            inputs=[
                model_input(),
                io.Image.Input("image", tooltip="A picture or a batch of pictures."),
                refine_steps_input(),
                without_face_input(),
                min_face_input(),
                faces_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture with its faces rendered anew."),
                *mask_outputs(),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Pipeline,
        image: torch.Tensor,
        refine_steps: int,
        without_face: str,
        min_face: int,
        faces: Faces = None,
    ) -> io.NodeOutput:
        def work(picture: torch.Tensor, selection: Selection | None, step: Progress) -> Result:
            return model.reconstruct(picture, refine_steps, step, min_face, selection)

        return io.NodeOutput(*to_outputs(image, one_by_one(alone(image), model, image, faces, without_face, work)))


class AnonymizeImage(io.ComfyNode):
    """IMAGE and key -> other faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_AnonymizeImage",
            display_name="DBAF Anonymize Image",
            aliases=["pseudonymize", "face replacement", "privacy", "anonymise"],
            description="Gives every face another identity, decided by the key: detects, encodes, disentangles, "
            "replaces and blends. Stops if something in the finished picture may be a face that was missed. The result "
            "is pseudonymised: who has the key can bring the people back.",
            is_input_list=True,
            inputs=[
                model_input(),
                io.Image.Input("image", tooltip="A picture or a batch of pictures, not anonymized yet."),
                KeySocket.Input("key", tooltip="From DBAF Key. It decides which new face a face gets."),
                imprint_input(),
                refine_steps_input(),
                without_face_input(),
                min_face_input(),
                io.Boolean.Input(
                    "accept_suspects",
                    default=False,
                    tooltip="Off: an error if a place in the finished picture may show a face that was not replaced. "
                    "On: it passes, with a red box in the preview and a line in the report. Look there.",
                ),
                batch_input(
                    in_album="who is in several pictures, of a batch or a list, is recognised and gets one new face in "
                    "all. It takes longer, for all are looked at first"
                ),
                looks_input(),
                linkage_input(),
                variation_input(),
                faces_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    is_output_list=True,
                    tooltip="The picture with the new faces; alpha is kept.",
                ),
                *mask_outputs(is_output_list=True),
                io.Image.Output(
                    display_name="preview",
                    is_output_list=True,
                    tooltip="The finished picture with boxes: yellow replaced, blue spared, red perhaps missed.",
                ),
                io.String.Output(display_name="report", tooltip="A line for each picture: what was done with it."),
            ],
        )

    @classmethod
    def execute(cls, **lists: list[Any]) -> io.NodeOutput:
        """One call for a whole list, since an album is one of pictures of any sizes."""
        made = [cls._anonymized(place, **inputs) for place, inputs in each_placed(lists)]
        *pictures, reports = zip(*made, strict=True)
        return io.NodeOutput(*map(list, pictures), "\n".join(reports))

    @classmethod
    def _anonymized(
        cls,
        place: Place,
        model: Pipeline,
        image: torch.Tensor,
        key: Key,
        imprint: bool,
        refine_steps: int,
        without_face: str,
        min_face: int,
        accept_suspects: bool,
        batch: str,
        looks: str,
        linkage: str,
        variation: int,
        faces: Faces = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, str]:
        """The outputs for one IMAGE."""
        keep = looks == KEEP_LOOKS
        unlinked = linkage == UNLINKED and batch == PICTURES  # people keep a face through an album, and parts of a film

        def check(suspects: list[Face]) -> None:
            if suspects and not accept_suspects:
                raise PictureError(
                    f"{_places(suspects)} To look there, switch 'accept_suspects' on and run again: 'preview' has a "
                    "red box. If it is a face, a smaller 'min_face' may find it."
                )

        def work(
            picture: torch.Tensor, selection: Selection | None, step: Progress, held: Held | None = None
        ) -> Result:
            nonces = key.nonces_of(to_pil(picture).tobytes(), variation) if unlinked else None
            try:
                result = model.anonymize(
                    picture, key, nonces, refine_steps, step, imprint, min_face, selection, keep, held
                )
            except NoFaceError:  # a picture that stays as it is may hold somebody who was missed, too
                if selection is not None or without_face == KEEP:
                    known = [] if selection is None else selection.found
                    check(model.suspects(picture, known, min_face, throw_exception_if_processing_interrupted))
                raise
            check(result.suspects)
            return result

        def follow(frames: Pictures, step: ClipProgress) -> Iterator[Result]:
            for result in anonymize_clip(model, frames, key, None, refine_steps, step, imprint, min_face, faces, keep):
                check(result.suspects)
                yield result

        results: Iterator[Result | None]
        if batch == CLIP:
            results = clip(place, model, image, faces, without_face, follow)
        else:
            results = one_by_one(place, model, image, faces, without_face, work)
        previews, lines = torch.empty(*image.shape[:3], 3), []

        def told() -> Iterator[Result | None]:
            for index, result in enumerate(results):
                selection = Selection([], []) if faces is None else faces[index]
                if faces is None and result is not None:
                    selection = Selection(result.faces, [True] * len(result.faces))
                picture = to_pil(Pictures(image)[index] if result is None else result.picture)
                boxes = draw_faces(picture, selection, [] if result is None else result.suspects)
                previews[index] = (from_pil(boxes).rgb[0].movedim(0, -1) + 1) / 2
                lines.append(_told(place.before + index, result, selection, imprint, unlinked))
                yield result

        outputs = to_outputs(image, told())
        return *outputs, previews, "\n".join(lines)


class RecoverImage(io.ComfyNode):
    """Anonymized IMAGE and key -> the original people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_RecoverImage",
            display_name="DBAF Recover Image",
            aliases=["restore face", "deanonymize", "original identity"],
            description="Brings the original people back under the key that anonymized the picture: from the imprint "
            "in the pixels if it is there, else, if the picture is linked, from the looks of the new face, which gives "
            "somebody alike at best. A wrong key gives yet other people and no error. For an exact recovery use DBAF "
            "Unseal.",
            inputs=[
                model_input(),
                io.Image.Input("image", tooltip="An anonymized picture, neither scaled nor cropped since, or a batch."),
                KeySocket.Input("key", tooltip="The key that anonymized it, from DBAF Key."),
                refine_steps_input(),
                without_face_input(),
                min_face_input(),
                batch_input(),
                same_looks_input(),
                faces_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture with the original people, rendered anew."),
                *mask_outputs(),
                io.String.Output(
                    display_name="report", tooltip="A line for each picture: how many faces came from their imprints."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Pipeline,
        image: torch.Tensor,
        key: Key,
        refine_steps: int,
        without_face: str,
        min_face: int,
        batch: str,
        looks: str,
        faces: Faces = None,
    ) -> io.NodeOutput:
        keep = looks == KEEP_LOOKS

        def work(picture: torch.Tensor, selection: Selection | None, step: Progress) -> Result:
            return model.recover(picture, key, None, refine_steps, step, min_face, selection, keep)

        def follow(frames: Pictures, step: ClipProgress) -> Iterator[Result]:
            return recover_clip(model, frames, key, None, refine_steps, step, min_face, faces, keep)

        results = (
            clip(alone(image), model, image, faces, without_face, follow)
            if batch == CLIP
            else one_by_one(alone(image), model, image, faces, without_face, work)
        )
        lines: list[str] = []

        def told() -> Iterator[Result | None]:
            for index, result in enumerate(results):
                lines.append(_told_back(index, result))
                yield result

        return io.NodeOutput(*to_outputs(image, told()), "\n".join(lines))


def _places(suspects: list[Face]) -> str:
    corners = "; ".join(", ".join(str(round(value)) for value in face.box) for face in suspects)
    return f"{len(suspects)} place(s) may show a face that was not replaced, at {corners} (left, top, right, bottom)."


def _told(index: int, result: Result | None, selection: Selection, imprint: bool, unlinked: bool) -> str:
    """The line of a report on one anonymized picture."""
    line = f"Picture {index + 1}: {0 if result is None else len(result.faces)} face(s) replaced"
    line += f", {len(selection.spared)} spared." if selection.spared else "."
    bare = 0 if result is None else result.imprinted.count(False)
    if bare and (imprint or unlinked):
        line += f" {bare} without an imprint" + (": only a seal brings them back." if unlinked else ".")
    if result is not None and result.suspects:
        line += f" {_places(result.suspects)}"
    return line


def _told_back(index: int, result: Result | None) -> str:
    """The line of a report on one recovered picture."""
    if result is None or not result.faces:
        return f"Picture {index + 1}: nobody to bring back, left as it is."
    faces, known = len(result.faces), result.restored.count(True)
    line = f"Picture {index + 1}: {known} of {faces} face(s) from their imprints"
    return f"{line}." if known == faces else f"{line}, the others from their looks: alike at best, and only if linked."
