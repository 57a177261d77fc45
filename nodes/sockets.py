"""What travels between the nodes, and the parts of a node definition that all of them share."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from comfy_api.latest import io

CATEGORY = "DBAF"

ModelSocket = io.Custom("DBAF_MODEL")  # dbaf.pipeline.Pipeline
KeySocket = io.Custom("DBAF_KEY")  # dbaf.keys.Key: redacted repr, refuses pickling
FacesSocket = io.Custom("DBAF_FACES")  # PerPicture[list[Face]]; an empty list = a picture without a face
LatentSocket = io.Custom("DBAF_LATENT")  # PerPicture[Encoding | None]; None = a picture without a face, here and below
IdentitySocket = io.Custom("DBAF_IDENTITY")  # PerPicture[Identity | None]
CapsuleSocket = io.Custom("DBAF_CAPSULE")  # PerPicture[bytes | None]: sealed originals; None = not sealed
AttributesSocket = io.Custom("DBAF_ATTRIBUTES")  # PerPicture[Attributes | None]

Entry = TypeVar("Entry")


class PerPicture(list[Entry]):
    """One entry for each picture of an IMAGE batch.

    Its text shows no content: when a node fails, ComfyUI writes the text of all its inputs to the history, and
    the codes of an original face have no place there.
    """

    def __repr__(self) -> str:
        return f"<DBAF data of {len(self)} picture(s)>"


def model_input() -> io.Input:
    """The input that all nodes but the loaders have."""
    return ModelSocket.Input("model", tooltip="The networks, from Load DBAF Model.")


def supported(call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the keyword arguments that this ComfyUI version knows: 0.3.48 lacks some that newer ones have."""
    return {name: value for name, value in arguments.items() if name in inspect.signature(call).parameters}


def schema(node_id: str, *, aliases: list[str], **arguments: Any) -> io.Schema:
    """A node definition in the category DBAF. `aliases`: other words under which the node search finds it."""
    newer = supported(io.Schema, search_aliases=aliases)
    return io.Schema(node_id=node_id, category=CATEGORY, **arguments, **newer)
