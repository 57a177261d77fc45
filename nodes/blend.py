"""DBAF MAAR Blend."""

import torch
from comfy_api.latest import io

from dbaf.faces import Selection
from dbaf.pipeline import Pipeline
from dbaf.stages import Attributes, Rendering

from .border import Pictures, check_counts, progress, to_outputs
from .device import ready
from .identity import Identities
from .sockets import (
    AttributesSocket,
    FacesSocket,
    IdentitySocket,
    PerPicture,
    mask_outputs,
    model_input,
    schema,
)


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
                    tooltip="From DBAF Anonymize, DBAF Recover or DBAF Mix Identities; straight from DBAF Disentangle: "
                    "the same person.",
                ),
                AttributesSocket.Input("attributes", tooltip="From DBAF Disentangle."),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture with the new faces; alpha is kept."),
                *mask_outputs(),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Pipeline,
        image: torch.Tensor,
        faces: PerPicture[Selection],
        identity: Identities,
        attributes: PerPicture[Attributes | None],
    ) -> io.NodeOutput:
        ready(model)
        pictures = Pictures(image)
        count = check_counts(image=pictures, faces=faces, identity=identity, attributes=attributes)
        step = progress(sum(len(found.chosen) for found in faces))

        def rendered(index: int) -> Rendering | None:
            codes, rest, found = identity[index], attributes[index], faces[index]
            if codes is None or rest is None:
                return None
            return model.render(pictures[index], found.chosen, codes, rest, step, found.spared)

        return io.NodeOutput(*to_outputs(image, map(rendered, range(count))))
