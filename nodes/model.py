"""Load DBAF Model."""

from functools import lru_cache
from pathlib import Path

import folder_paths
from comfy.model_management import get_torch_device
from comfy_api.latest import io

from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import EMBEDDED, MANIFEST, parts

from .sockets import ModelSocket, schema


def _bundles() -> dict[str, Path]:
    """Name -> folder of every model bundle: those that ship with the pack, then those in models/dbaf."""
    found: dict[str, Path] = {}
    for place in (EMBEDDED, *map(Path, folder_paths.get_folder_paths("dbaf"))):
        for manifest in sorted(place.glob(f"*/{MANIFEST}")):
            if "generator" in parts(manifest.parent):  # not the networks that judge in evaluations
                found.setdefault(manifest.parent.name, manifest.parent)
    return found


@lru_cache(maxsize=1)  # here because V3 classes are locked: they cannot hold a cache
def _load(folder: str, device: str) -> Pipeline:
    return Pipeline.from_pretrained(folder, device=device)


class LoadModel(io.ComfyNode):
    """Name of a bundle -> DBAF_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_LoadModel",
            display_name="Load DBAF Model",
            aliases=["face anonymization", "pseudonymize"],
            description="Loads the networks that take faces apart and render them anew. 'mobile' ships with this "
            "pack: nothing is downloaded.",
            inputs=[
                io.Combo.Input(
                    "name",
                    options=list(_bundles()),
                    default="mobile",
                    tooltip="'mobile' is built in; other model bundles are folders in models/dbaf. "
                    "Recover a picture with the model that anonymized it.",
                )
            ],
            outputs=[ModelSocket.Output(display_name="model", tooltip="Connect it to all other DBAF nodes.")],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        folder = _bundles().get(name, name)  # an unknown name: the library says what is missing
        return io.NodeOutput(_load(str(folder), str(get_torch_device())))
