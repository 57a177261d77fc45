"""DBAF Detect Faces."""

import torch
from comfy_api.latest import io
from PIL import Image, ImageDraw

from dbaf.errors import NoFaceError
from dbaf.faces import Face
from dbaf.images import from_pil, to_pil
from dbaf.pipeline import Pipeline

from .border import each_picture, to_pictures
from .sockets import FacesSocket, PerPicture, model_input, schema, supported

STOP, KEEP = "stop with an error", "keep the picture as it is"


class DetectFaces(io.ComfyNode):
    """IMAGE -> the faces in each picture, and a preview."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_DetectFaces",
            display_name="DBAF Detect Faces",
            aliases=["face detection", "find faces"],
            description="Finds every face, upright or tilted, and numbers them from left to right. Look at the "
            "preview: a face without a box will stay recognisable.",
            inputs=[
                model_input(),
                io.Image.Input("image", tooltip="A picture or a batch of pictures."),
                io.Combo.Input(
                    "without_face",
                    options=[STOP, KEEP],
                    default=STOP,
                    tooltip="What to do when no face is found in a picture. Keeping it is right only if you know that "
                    "nobody is in it: it comes out unchanged.",
                ),
                io.Int.Input(
                    "min_face",
                    default=40,
                    min=16,
                    max=4096,
                    tooltip="Faces smaller than this many pixels are left alone.",
                    **supported(io.Int.Input, advanced=True),
                ),
            ],
            outputs=[
                FacesSocket.Output(display_name="faces", tooltip="Position and shape of each face of each picture."),
                io.Image.Output(display_name="preview", tooltip="The picture with a numbered box around each face."),
            ],
        )

    @classmethod
    def execute(cls, model: Pipeline, image: torch.Tensor, without_face: str, min_face: int) -> io.NodeOutput:
        pictures = to_pictures(image)
        faces: PerPicture[list[Face]] = PerPicture()
        previews = []
        for index in each_picture(len(pictures)):
            faces.append(model.detect(pictures[index], min_face=min_face))
            if not faces[index] and without_face == STOP:
                raise NoFaceError(
                    f"No face was found in picture {index + 1} of {len(pictures)}. Take it out, lower 'min_face', or "
                    f"set 'without_face' to '{KEEP}' if nobody is in it."
                )
            boxed = _draw(to_pil(pictures[index]), faces[index])
            previews.append((from_pil(boxed).rgb.movedim(1, -1) + 1) / 2)  # [1, H, W, 3]
        return io.NodeOutput(faces, torch.cat(previews))


def _draw(image: Image.Image, faces: list[Face]) -> Image.Image:
    """Numbered boxes, as thick as the picture needs to show them when it is shrunk to a node."""
    width = max(2, min(image.size) // 200)
    size = max(14, min(image.size) // 14)
    draw = ImageDraw.Draw(image)
    for number, face in enumerate(faces, start=1):
        draw.rectangle(face.box, outline="yellow", width=width)
        x, y = face.box[0], max(0.0, face.box[1] - size - width)
        draw.text(
            (x, y), str(number), fill="yellow", font_size=size, stroke_width=max(1, width // 2), stroke_fill="black"
        )
    return image
