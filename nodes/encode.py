"""DBAF Encode."""

import torch
from comfy_api.latest import io

from dbaf.faces import Face
from dbaf.images import MOST_REFINE_STEPS
from dbaf.pipeline import Pipeline
from dbaf.stages import Encoding

from .border import check_counts, progress, to_pictures
from .sockets import FacesSocket, LatentSocket, PerPicture, model_input, schema


class Encode(io.ComfyNode):
    """IMAGE and its faces -> one latent code per face."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Encode",
            display_name="DBAF Encode",
            aliases=["face encoder", "GAN inversion", "W+"],
            description="Cuts out each face, aligns it, and describes it in the generator's own terms (W+).",
            inputs=[
                model_input(),
                io.Image.Input("image", tooltip="The same image that DBAF Detect Faces got."),
                FacesSocket.Input("faces", tooltip="From DBAF Detect Faces."),
                io.Int.Input(
                    "refine_steps",
                    default=0,
                    min=0,
                    max=MOST_REFINE_STEPS,
                    tooltip="More steps follow each face more closely, at about a third of a second a step on a CPU. "
                    "40 is a good number; use it on both ways, to anonymize and to recover.",
                ),
            ],
            outputs=[LatentSocket.Output(display_name="latent", tooltip="The W+ code and feature maps of each face.")],
        )

    @classmethod
    def execute(
        cls, model: Pipeline, image: torch.Tensor, faces: PerPicture[list[Face]], refine_steps: int
    ) -> io.NodeOutput:
        pictures = to_pictures(image)
        latent: PerPicture[Encoding | None] = PerPicture()
        count = check_counts(image=pictures, faces=faces)
        step = progress(sum(map(len, faces)) * refine_steps or count)
        for picture, found in zip(pictures, faces, strict=True):
            latent.append(model.encode(picture, found, refine_steps, step) if found else None)
            if not refine_steps:
                step()
        return io.NodeOutput(latent)
