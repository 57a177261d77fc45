"""DBAF Seal and DBAF Unseal: the original pixels of the faces, encrypted, for exact recovery."""

import torch
from comfy_api.latest import io

from dbaf.capsule import mask_regions, open_capsule, seal
from dbaf.errors import CapsuleError
from dbaf.images import from_pil, to_pil
from dbaf.keys import Key
from dbaf.pipeline import Pipeline

from .border import Pictures, check_counts, each_picture
from .sockets import CapsuleSocket, KeySocket, PerPicture, model_input, schema


class Seal(io.ComfyNode):
    """Original, new picture, key -> a capsule that brings the one back from the other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Seal",
            display_name="DBAF Seal",
            aliases=["encrypt", "capsule", "exact recovery"],
            description="Encrypts what the new picture no longer shows of the original, so that DBAF Unseal brings the "
            "original back bit for bit. This is real encryption, under the key alone.",
            inputs=[
                model_input(),
                io.Image.Input("original", tooltip="The picture before DBAF changed it."),
                io.Image.Input(
                    "image",
                    tooltip="The finished picture, as it will be saved: from DBAF Anonymize Image or DBAF MAAR Blend.",
                ),
                KeySocket.Input("key", tooltip="Who has it can unseal, from DBAF Key."),
                KeySocket.Input("second_key", optional=True, tooltip="Somebody else who may unseal, too."),
            ],
            outputs=[CapsuleSocket.Output(display_name="capsule", tooltip="For DBAF Save.")],
        )

    @classmethod
    def execute(
        cls,
        model: Pipeline,
        original: torch.Tensor,
        image: torch.Tensor,
        key: Key,
        second_key: Key | None = None,
    ) -> io.NodeOutput:
        before, after = Pictures(original), Pictures(image)
        keys = [key] if second_key is None else [key, second_key]
        capsules: PerPicture[bytes | None] = PerPicture()
        for index in each_picture(check_counts(original=before, image=after)):
            one, other = (to_pil(pictures[index]) for pictures in (before, after))
            if one.size != other.size:
                raise CapsuleError(f"'original' is {one.width} x {one.height}, 'image' {other.width} x {other.height}.")
            changed = (from_pil(one).rgb != from_pil(other).rgb).any(1, keepdim=True)  # [1, 1, H, W]
            regions = mask_regions(changed)
            capsules.append(seal(one, other, regions, keys, model.digest) if regions else None)
        return io.NodeOutput(capsules)


class Unseal(io.ComfyNode):
    """Picture, capsule, key -> the original picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Unseal",
            display_name="DBAF Unseal",
            aliases=["decrypt", "capsule", "exact recovery", "original"],
            description="Brings the original back bit for bit from a sealed picture. A wrong key and a picture that "
            "was changed since are errors.",
            inputs=[
                io.Image.Input("image", tooltip="The sealed picture, from DBAF Load."),
                CapsuleSocket.Input("capsule", tooltip="What DBAF Load found with it."),
                KeySocket.Input("key", tooltip="A key that it was sealed for, from DBAF Key."),
            ],
            outputs=[io.Image.Output(display_name="original", tooltip="The original picture, without alpha.")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, capsule: PerPicture[bytes | None], key: Key) -> io.NodeOutput:
        pictures, originals = Pictures(image), []
        for index in each_picture(check_counts(image=pictures, capsule=capsule)):
            data = capsule[index]
            if data is None:
                raise CapsuleError(
                    "This picture carries no capsule: it was not sealed, or a program that saved it anew dropped the "
                    "capsule. DBAF Recover may still bring the person back."
                )
            opened = open_capsule(data, to_pil(pictures[index]), key).image
            assert opened is not None  # without `force` it is the whole picture or an error
            originals.append((from_pil(opened).rgb.movedim(1, -1) + 1) / 2)  # [1, H, W, 3]
        return io.NodeOutput(torch.cat(originals))
