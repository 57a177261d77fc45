"""DBAF Encode."""

import torch
from comfy_api.latest import io

from dbaf.faces import Face
from dbaf.pipeline import Encoding, Pipeline

from .border import check_counts, each_picture, to_pictures
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
            ],
            outputs=[LatentSocket.Output(display_name="latent", tooltip="The W+ code and feature maps of each face.")],
        )

    @classmethod
    def execute(cls, model: Pipeline, image: torch.Tensor, faces: PerPicture[list[Face]]) -> io.NodeOutput:
        pictures = to_pictures(image)
        latent: PerPicture[Encoding | None] = PerPicture()
        for index in each_picture(check_counts(image=pictures, faces=faces)):
            latent.append(model.encode(pictures[index], faces[index]) if faces[index] else None)
        return io.NodeOutput(latent)
