"""DBAF Detect Faces."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from dbaf.clip import follow_clip
from dbaf.errors import NoFaceError, PictureError
from dbaf.faces import Face, Selection
from dbaf.faces.choose import RANKS, by_mask, by_number, by_rank, parse_numbers
from dbaf.faces.draw import draw_faces
from dbaf.images import from_pil, to_pil
from dbaf.pipeline import Pipeline

from .border import Bar, Pictures, each_picture
from .device import ready
from .sockets import (
    CLIP,
    KEEP,
    STOP,
    FacesSocket,
    PerPicture,
    batch_input,
    min_face_input,
    model_input,
    schema,
    without_face_input,
)

ALL, BY_NUMBER, IN_MASK = "all", "by number", "in the mask"
WAYS = [ALL, BY_NUMBER, *RANKS, IN_MASK]
ALL_SHOWS = f"To see who has which number, set 'choose' to '{ALL}'."

Choose = Callable[[list[Face], int], list[bool]]
"""Which of the faces of a picture, given by its index, are chosen."""


class DetectFaces(io.ComfyNode):
    """IMAGE -> the faces in each picture, which of them are chosen, and a preview."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_DetectFaces",
            display_name="DBAF Detect Faces",
            aliases=["face detection", "find faces", "choose faces", "spare faces"],
            description="Finds every face, upright or tilted, numbers them from left to right, and chooses those to "
            "replace. Look at the preview: a face without a box will stay recognisable, and so will a spared one.",
            inputs=[
                model_input(),
                io.Image.Input("image", tooltip="A picture or a batch of pictures."),
                without_face_input(),
                min_face_input(),
                io.Combo.Input(
                    "choose",
                    options=WAYS,
                    default=ALL,
                    tooltip="Which faces to replace; all others are spared: they stay as they are, bit for bit.",
                ),
                io.String.Input(
                    "numbers",
                    default="1",
                    tooltip="For 'by number': as in the preview, such as 1, 3-5. The same numbers in every picture.",
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="For 'largest', 'nearest the middle', 'leftmost' and so on: how many faces.",
                ),
                io.Boolean.Input(
                    "spare_chosen",
                    default=False,
                    tooltip="The other way round: spare the chosen faces and replace all others.",
                ),
                batch_input(
                    "people are followed, numbered as they come into sight, and chosen or spared there for all frames"
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="For 'in the mask': a face is chosen where this covers a quarter of its box. One mask for "
                    "all pictures, or one for each.",
                ),
            ],
            outputs=[
                FacesSocket.Output(
                    display_name="faces", tooltip="The faces of each picture, and which of them are spared."
                ),
                io.Image.Output(
                    display_name="preview",
                    tooltip="The picture with a numbered box around each face: yellow to replace, blue to spare.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, choose: str = ALL, numbers: str = "1") -> bool | str:
        """A slip in the numbers shows before anything runs."""
        if choose not in WAYS:
            return f"'choose' is '{choose}'; it can be: {', '.join(WAYS)}."
        try:
            return choose != BY_NUMBER or bool(parse_numbers(numbers))
        except PictureError as error:
            return str(error)

    @classmethod
    def execute(
        cls,
        model: Pipeline,
        image: torch.Tensor,
        without_face: str,
        min_face: int,
        choose: str,
        numbers: str,
        count: int,
        spare_chosen: bool,
        batch: str,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        ready(model)
        pictures = Pictures(image)
        masks = _masks(mask, image) if choose == IN_MASK else None
        wanted = parse_numbers(numbers) if choose == BY_NUMBER else set()

        def choice(found: list[Face], index: int) -> list[bool]:
            if masks is not None:
                return by_mask(found, masks[index])
            if choose in RANKS:
                return by_rank(found, choose, count, *image.shape[1:3])
            return [True] * len(found)

        selections = (_clip if batch == CLIP else _pictures)(model, pictures, min_face, choice, wanted)
        faces: PerPicture[Selection] = PerPicture()
        previews = []
        for index, selection in enumerate(selections):
            if spare_chosen:
                selection = replace(selection, taken=[not taken for taken in selection.taken])
            faces.append(selection)
            if not selection.chosen and without_face == STOP:
                raise NoFaceError(_nobody(selection.found, f"picture {index + 1} of {len(pictures)}"))
            boxed = draw_faces(to_pil(pictures[index]), selection)
            previews.append((from_pil(boxed).rgb.movedim(1, -1) + 1) / 2)  # [1, H, W, 3]
        return io.NodeOutput(faces, torch.cat(previews))


def _pictures(
    model: Pipeline, pictures: Pictures, min_face: int, choice: Choose, wanted: set[int]
) -> Iterator[Selection]:
    """The faces of each picture by itself, and which of them are chosen: those of the wanted numbers, if there are any.

    Raises:
        PictureError: a picture has no face of such a number.
    """
    for index in each_picture(len(pictures)):
        found = model.detect(pictures[index], min_face, throw_exception_if_processing_interrupted)
        try:
            taken = by_number(found, wanted) if wanted and found else choice(found, index)
        except PictureError as error:
            raise PictureError(f"In picture {index + 1} of {len(pictures)}: {error} {ALL_SHOWS}") from None
        yield Selection(found, taken)


def _clip(model: Pipeline, pictures: Pictures, min_face: int, choice: Choose, wanted: set[int]) -> Iterator[Selection]:
    """The same for the frames of a clip: who is chosen in the frame in which they come, is chosen in all of them."""
    chosen: dict[int, bool] = {}
    frames = follow_clip(model, pictures, Bar(len(pictures)).clip(len(pictures)), min_face)
    for index, frame in enumerate(frames):
        found, people = [face for face, _ in frame], [person for _, person in frame]
        for person, taken in zip(people, choice(found, index), strict=True):
            chosen.setdefault(person, person in wanted if wanted else taken)
        yield Selection(found, [chosen[person] for person in people], people)
    if missing := wanted - set(chosen):
        raise PictureError(f"There is no person {min(missing)}: {len(chosen)} came into sight. {ALL_SHOWS}")


def _masks(mask: torch.Tensor | None, image: torch.Tensor) -> torch.Tensor:
    """MASK [H, W], [1, H, W] or [B, H, W], of any size -> one for each picture of an IMAGE, [B, H, W] of its size.

    Raises:
        PictureError: there is none, or there is another number of them.
    """
    if mask is None:
        raise PictureError(f"'choose' is '{IN_MASK}', but nothing is connected to 'mask'.")
    mask = mask.float().cpu().reshape(-1, *mask.shape[-2:])
    if len(mask) not in (1, len(image)):
        raise PictureError(f"There are {len(mask)} masks for {len(image)} picture(s): connect one, or one for each.")
    fitted = torch.nn.functional.interpolate(mask[:, None], size=image.shape[1:3], mode="area")  # [B, 1, H, W]
    return fitted[:, 0].expand(len(image), -1, -1)


def _nobody(found: list[Face], place: str) -> str:
    """Why there is nothing to do in a picture."""
    if found:
        return (
            f"{len(found)} face(s) in {place}, and none of them is to be replaced. Choose others, or set "
            f"'without_face' to '{KEEP}' if that is what you want."
        )
    return (
        f"No face was found in {place}. Take it out, lower 'min_face', or set 'without_face' to '{KEEP}' if nobody is "
        "in it."
    )
