"""DBAF Mix Identities."""

from comfy_api.latest import io

from dbaf.errors import PictureError
from dbaf.mix import mix_identities

from .border import each_picture
from .identity import Identities
from .sockets import IdentitySocket, PerPicture, schema


class MixIdentities(io.ComfyNode):
    """Two identities -> one between them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_MixIdentities",
            display_name="DBAF Mix Identities",
            aliases=["face swap", "blend identities", "identity interpolation"],
            description="Moves who somebody is towards another person; expression, pose, hair and light stay, since "
            "they are attributes and do not pass through this node. Use it with people who agreed to it.",
            inputs=[
                IdentitySocket.Input("identity", tooltip="Who is in the picture: from DBAF Disentangle."),
                IdentitySocket.Input(
                    "other_identity",
                    tooltip="Towards whom: from another DBAF Disentangle. One face for all, or as many as 'identity' "
                    "has; one picture for all, or as many.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="0: 'identity' unchanged. 1: wholly 'other_identity'. Between: somebody like both.",
                ),
            ],
            outputs=[
                IdentitySocket.Output(
                    display_name="mixed_identity",
                    tooltip="For DBAF MAAR Blend, with the attributes that belong to 'identity'.",
                )
            ],
        )

    @classmethod
    def execute(cls, identity: Identities, other_identity: Identities, strength: float) -> io.NodeOutput:
        if len(other_identity) not in (1, len(identity)):
            raise PictureError(
                f"'identity' is of {len(identity)} picture(s), 'other_identity' of {len(other_identity)}: it takes one "
                "for all, or as many."
            )
        others = other_identity * (len(identity) // len(other_identity))
        mixed: Identities = PerPicture()
        for index in each_picture(len(identity)):
            who, towards = identity[index], others[index]
            if who is not None and towards is None:
                raise PictureError("A picture of 'other_identity' has no face: there is nobody to mix with.")
            mixed.append(None if who is None or towards is None else mix_identities(who, towards, strength))
        return io.NodeOutput(mixed)
