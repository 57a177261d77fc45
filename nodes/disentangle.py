"""DBAF Disentangle."""

from comfy_api.latest import io

from dbaf.pipeline import Pipeline
from dbaf.stages import Attributes, Encoding, Identity

from .border import each_picture
from .device import ready
from .sockets import AttributesSocket, IdentitySocket, LatentSocket, PerPicture, model_input, schema


class Disentangle(io.ComfyNode):
    """Latent codes -> who it is, and everything else (CID)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Disentangle",
            display_name="DBAF Disentangle",
            aliases=["CID", "identity and attributes"],
            description="Parts each face into who it is (identity) and everything else: expression, pose, gaze, hair, "
            "light (attributes). This is the 'disentangle' of Disentangle Before Anonymize.",
            inputs=[model_input(), LatentSocket.Input("latent", tooltip="From DBAF Encode.")],
            outputs=[
                IdentitySocket.Output(
                    display_name="identity", tooltip="Who it is: for DBAF Anonymize or DBAF Recover."
                ),
                AttributesSocket.Output(display_name="attributes", tooltip="Everything else: for DBAF MAAR Blend."),
            ],
        )

    @classmethod
    def execute(cls, model: Pipeline, latent: PerPicture[Encoding | None]) -> io.NodeOutput:
        ready(model)
        identity: PerPicture[Identity | None] = PerPicture()
        attributes: PerPicture[Attributes | None] = PerPicture()
        for index in each_picture(len(latent)):
            encoding = latent[index]
            who, rest = (None, None) if encoding is None else model.disentangle(encoding)
            identity.append(who)
            attributes.append(rest)
        return io.NodeOutput(identity, attributes)
