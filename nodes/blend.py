"""DBAF MAAR Blend."""

import torch
from comfy_api.latest import io

from dbaf.faces import Face
from dbaf.pipeline import Pipeline
from dbaf.stages import Attributes

from .border import check_counts, progress, to_image, to_pictures
from .identity import Identities
from .sockets import AttributesSocket, FacesSocket, IdentitySocket, PerPicture, model_input, schema


class MaarBlend(io.ComfyNode):
    """Identity + attributes -> new faces, pasted into the IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_MAARBlend",
            display_name="DBAF MAAR Blend",
            aliases=["render face", "paste face", "attribute retention"],
            description="Renders each face from its identity and its attributes (MAAR keeps the fine ones) and blends "
            "it into the picture. Outside the mask every pixel stays as it was.",
            inputs=[
                model_input(),
                io.Image.Input("image", tooltip="The same image that DBAF Detect Faces got."),
                FacesSocket.Input("faces", tooltip="From DBAF Detect Faces."),
                IdentitySocket.Input(
                    "identity",
                    tooltip="From DBAF Anonymize or DBAF Recover; straight from DBAF Disentangle: the same person.",
                ),
                AttributesSocket.Input("attributes", tooltip="From DBAF Disentangle."),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture with the new faces; alpha is kept."),
                io.Mask.Output(display_name="mask", tooltip="White where the picture was replaced."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Pipeline,
        image: torch.Tensor,
        faces: PerPicture[list[Face]],
        identity: Identities,
        attributes: PerPicture[Attributes | None],
    ) -> io.NodeOutput:
        pictures = to_pictures(image)
        images, masks = [], []
        count = check_counts(image=pictures, faces=faces, identity=identity, attributes=attributes)
        step = progress(sum(map(len, faces)))
        for index in range(count):
            picture, codes, rest = pictures[index], identity[index], attributes[index]
            mask = torch.zeros_like(picture[:, :1])  # [1, 1, H, W]
            if codes is not None and rest is not None:
                made = model.render(picture, faces[index], codes, rest, step)
                picture, mask = made.picture, made.mask
            images.append(to_image(picture, mask, image[index : index + 1]))
            masks.append(mask[:, 0].cpu())  # [1, H, W]
        return io.NodeOutput(torch.cat(images), torch.cat(masks))
