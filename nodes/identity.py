"""DBAF Anonymize and DBAF Recover: the same network (KRIA) under the same key, there and back."""

from collections.abc import Callable

from comfy_api.latest import io

from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Identity

from .border import each_picture
from .device import ready
from .sockets import (
    KEEP_LOOKS,
    IdentitySocket,
    KeySocket,
    PerPicture,
    imprint_input,
    looks_input,
    model_input,
    same_looks_input,
    schema,
)

Identities = PerPicture[Identity | None]


def _map(change: Callable[[Identity], Identity], identity: Identities) -> io.NodeOutput:
    changed: Identities = PerPicture()
    for index in each_picture(len(identity)):
        codes = identity[index]
        changed.append(None if codes is None else change(codes))
    return io.NodeOutput(changed)


class Anonymize(io.ComfyNode):
    """Identity and key -> another identity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Anonymize",
            display_name="DBAF Anonymize",
            aliases=["pseudonymize", "face replacement", "privacy", "KRIA"],
            description="Gives each face another identity, decided by the key. Always linked: the same person gets "
            "about the same new face in every picture made with this key. For unlinked pictures take DBAF Anonymize "
            "Image. The result is pseudonymised: who has the key can bring it back.",
            inputs=[
                model_input(),
                IdentitySocket.Input("identity", tooltip="From DBAF Disentangle, of the original picture."),
                KeySocket.Input("key", tooltip="From DBAF Key. Linkage is 'linked': the key alone decides."),
                imprint_input(),
                looks_input(),
            ],
            outputs=[IdentitySocket.Output(display_name="new_identity", tooltip="For DBAF MAAR Blend.")],
        )

    @classmethod
    def execute(cls, model: Pipeline, identity: Identities, key: Key, imprint: bool, looks: str) -> io.NodeOutput:
        ready(model)
        keep = looks == KEEP_LOOKS
        return _map(lambda who: model.anonymize_identity(who, key, imprint=imprint, keep_looks=keep), identity)


class Recover(io.ComfyNode):
    """Identity of an anonymized face and key -> the original identity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Recover",
            display_name="DBAF Recover",
            aliases=["restore face", "deanonymize", "original identity", "KRIA"],
            description="Brings the original identity back under the key that anonymized it: from the imprint in the "
            "pixels if it is there, else from the looks of the new face, which gives somebody alike at best. With "
            "another key it gives yet another plausible face and no error. Without an imprint, linked pictures only.",
            inputs=[
                model_input(),
                IdentitySocket.Input("identity", tooltip="From DBAF Disentangle, of the anonymized picture."),
                KeySocket.Input("key", tooltip="The key that anonymized it, from DBAF Key."),
                same_looks_input(),
            ],
            outputs=[IdentitySocket.Output(display_name="original_identity", tooltip="For DBAF MAAR Blend.")],
        )

    @classmethod
    def execute(cls, model: Pipeline, identity: Identities, key: Key, looks: str) -> io.NodeOutput:
        ready(model)
        keep = looks == KEEP_LOOKS
        return _map(lambda who: model.recover_identity(who, key, keep_looks=keep), identity)
