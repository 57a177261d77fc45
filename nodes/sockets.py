"""What travels between the nodes, and the parts of a node definition that all of them share."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from comfy_api.latest import io

from dbaf.images import MOST_REFINE_STEPS

CATEGORY = "DBAF"
STOP, KEEP = "stop with an error", "keep the picture as it is"
PICTURES, ALBUM, CLIP = "pictures", "album", "clip"
KEEP_LOOKS, FREE_LOOKS = "keep", "free"
UNLINKED, LINKED = "unlinked", "linked"

ModelSocket = io.Custom("DBAF_MODEL")  # dbaf.pipeline.Pipeline
KeySocket = io.Custom("DBAF_KEY")  # dbaf.keys.Key: redacted repr, refuses pickling
FacesSocket = io.Custom("DBAF_FACES")  # PerPicture[Selection]
LatentSocket = io.Custom("DBAF_LATENT")  # PerPicture[Encoding | None]; None = no face is chosen, here and below
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


def without_face_input() -> io.Input:
    """What becomes of a picture without a face."""
    return io.Combo.Input(
        "without_face",
        options=[STOP, KEEP],
        default=STOP,
        tooltip="What to do when no face is found in a picture, or none is chosen. Keeping it is right only if you "
        "know that nobody is in it: it comes out unchanged.",
    )


def batch_input(
    in_clip: str = "each person is followed and keeps one face, which moves without flickering", in_album: str = ""
) -> io.Input:
    """How the pictures of a batch belong together. What a node does with a clip, and with an album, if it knows any."""
    meanings = {PICTURES: "each by itself" if in_album else "each by itself, those of an album, too"}
    if in_album:
        meanings[ALBUM] = in_album
    meanings[CLIP] = f"the pictures are the frames of a video, in their order: {in_clip}"
    return io.Combo.Input(
        "batch",
        options=list(meanings),
        default=PICTURES,
        tooltip=" ".join(f"{name}: {meaning}." for name, meaning in meanings.items()),
    )


def min_face_input() -> io.Input:
    """The smallest face that counts."""
    return io.Int.Input(
        "min_face",
        default=40,
        min=16,
        max=4096,
        tooltip="Faces smaller than this many pixels are left alone.",
        **supported(io.Int.Input, advanced=True),
    )


def refine_steps_input() -> io.Input:
    """How closely codes follow faces."""
    return io.Int.Input(
        "refine_steps",
        default=0,
        min=0,
        max=MOST_REFINE_STEPS,
        tooltip="More steps follow each face more closely, at about a third of a second a step on a CPU. "
        "40 is a good number; use it on both ways, to anonymize and to recover.",
    )


def imprint_input() -> io.Input:
    """Whether the new face holds the old one's code."""
    return io.Boolean.Input(
        "imprint",
        default=True,
        tooltip="Hide the original identity, encrypted under the key, in the pixels of the new face, so "
        "that DBAF Recover brings it back well. It survives PNG and good JPEG, but no resizing.",
    )


def looks_input(
    tooltip: str = "keep: new faces of about the same perceived sex, age and origin. free: of any, as the key says. "
    "Where there is no imprint, recovering needs the same.",
) -> io.Input:
    """What of the looks a new face keeps."""
    return io.Combo.Input("looks", options=[KEEP_LOOKS, FREE_LOOKS], default=KEEP_LOOKS, tooltip=tooltip)


def same_looks_input() -> io.Input:
    """`looks_input`, on the way back."""
    return looks_input(
        "As it was set to anonymize: the picture does not tell. It only matters for faces without an imprint."
    )


def linkage_input() -> io.Input:
    """Whether the pictures that a key makes of somebody show one new face."""
    return io.Combo.Input(
        "linkage",
        options=[UNLINKED, LINKED],
        default=UNLINKED,
        tooltip="unlinked: every picture gets new faces of its own, one of sixteen tries that hides well, and the key "
        "brings nobody back without an imprint or a seal. linked: the key alone decides, so that a person gets about "
        "the same new face in every picture. Albums and clips are always linked.",
    )


def variation_input() -> io.Input:
    """Other faces for who does not like the first ones."""
    return io.Int.Input(
        "variation",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        tooltip="Another number gives all faces other new ones, if the picture is unlinked. Recovering does not need "
        "it.",
    )


def mask_outputs(is_output_list: bool = False) -> list[io.Output]:
    """What every node that pastes faces says about where it did."""
    return [
        io.Mask.Output(
            display_name="mask",
            is_output_list=is_output_list,
            tooltip="White where the picture was replaced, with soft edges.",
        ),
        io.Mask.Output(
            display_name="face_masks",
            is_output_list=is_output_list,
            tooltip="The mask of each face on its own, those of all pictures one after another: a batch.",
        ),
    ]
