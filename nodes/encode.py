"""DBAF Encode."""

import torch
from comfy_api.latest import io

from dbaf.faces import Selection
from dbaf.pipeline import Pipeline
from dbaf.stages import Encoding

from .border import Pictures, check_counts, progress
from .device import ready
from .sockets import FacesSocket, LatentSocket, PerPicture, model_input, refine_steps_input, schema


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
                refine_steps_input(),
            ],
            outputs=[LatentSocket.Output(display_name="latent", tooltip="The W+ code and feature maps of each face.")],
        )

    @classmethod
    def execute(
        cls, model: Pipeline, image: torch.Tensor, faces: PerPicture[Selection], refine_steps: int
    ) -> io.NodeOutput:
        ready(model)
        pictures = Pictures(image)
        latent: PerPicture[Encoding | None] = PerPicture()
        check_counts(image=pictures, faces=faces)
        step = progress(sum(len(found.chosen) for found in faces) * (refine_steps + 1))
        for picture, found in zip(pictures, faces, strict=True):
            latent.append(model.encode(picture, found.chosen, refine_steps, step) if found.chosen else None)
        return io.NodeOutput(latent)
