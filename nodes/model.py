"""Load DBAF Model."""

from functools import lru_cache
from pathlib import Path

import folder_paths
from comfy.model_management import get_torch_device
from comfy_api.latest import io

from dbaf.errors import WeightsError
from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import EMBEDDED, MANIFEST, bundle_folder, parts
from dbaf.weights.hub import parse

from .border import download_progress
from .sockets import ModelSocket, schema


def _places() -> list[Path]:
    """ComfyUI's models/dbaf, and what extra_model_paths.yaml adds."""
    return [Path(place) for place in folder_paths.get_folder_paths("dbaf")]


def _names() -> list[str]:
    """Names of the model bundles that are here: those in models/dbaf, then those that ship with the pack."""
    manifests = [path for place in (*_places(), EMBEDDED) for path in sorted(place.glob(f"*/{MANIFEST}"))]
    return list(dict.fromkeys(path.parent.name for path in manifests if _is_model(path.parent)))


def _is_model(folder: Path) -> bool:
    """Whether it is one, and not the networks that judge in evaluations."""
    try:
        return "generator" in parts(folder)
    except WeightsError:  # whoever chooses it is told; the pack must load
        return True


@lru_cache(maxsize=1)  # here because V3 classes are locked: they cannot hold a cache
def _load(folder: Path, device: str) -> Pipeline:
    return Pipeline.from_pretrained(str(folder), device=device)


class LoadModel(io.ComfyNode):
    """Name of a bundle, here or on the Hub -> DBAF_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_LoadModel",
            display_name="Load DBAF Model",
            aliases=["face anonymization", "pseudonymize"],
            description="Loads the networks that take faces apart and render them anew. 'mobile' ships with this "
            "pack: nothing is downloaded unless you name a model on the Hugging Face Hub.",
            inputs=[
                io.Combo.Input(
                    "name",
                    options=_names(),
                    default="mobile",
                    tooltip="'mobile' is built in; other model bundles are folders in models/dbaf, which come first. "
                    "Recover a picture with the model that anonymized it. Licences: Apache-2.0, but the faces that "
                    "'mobile' learned from are for non-commercial use: see docs/licences.md before you earn with it. "
                    "The paper's own networks (StyleGAN2, e4e) are for non-commercial use only.",
                ),
                io.String.Input(
                    "hub",
                    default="",
                    optional=True,
                    tooltip="Instead of 'name': owner/name or owner/name@revision on the Hugging Face Hub. It is "
                    "downloaded once. With a commit as revision a saved workflow always means the same weights.",
                ),
            ],
            outputs=[ModelSocket.Output(display_name="model", tooltip="Connect it to all other DBAF nodes.")],
        )

    @classmethod
    def execute(cls, name: str, hub: str = "") -> io.NodeOutput:
        hub = hub.strip()
        if hub and parse(hub) is None:
            raise WeightsError(
                f"'hub' takes owner/name or owner/name@revision, not '{hub}'. Leave it empty for '{name}'."
            )
        folder = bundle_folder(hub or name, _places(), progress=download_progress)
        return io.NodeOutput(_load(folder, str(get_torch_device())))
