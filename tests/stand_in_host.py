"""Stand-ins for the few ComfyUI names that the node pack uses. `real_host.py` is the real one."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


class Socket:
    """Stands for an io.X.Input or io.X.Output of ComfyUI 0.3.48 (no `advanced=` yet)."""

    def __init__(self, io_type: str, id: str = "", **arguments: Any) -> None:
        unknown = set(arguments) - set(
            "display_name tooltip options default min max step optional upload is_output_list".split()
        )
        assert not unknown, f"unknown to ComfyUI 0.3.48: {unknown}"
        self.io_type, self.id, self.arguments = io_type, id, arguments

    def __getattr__(self, name: str) -> Any:
        return self.arguments.get(name)


def _kind(io_type: str) -> SimpleNamespace:
    def make(id: str = "", **arguments: Any) -> Socket:
        return Socket(io_type, id, **arguments)

    return SimpleNamespace(Input=make, Output=make)


class Schema:
    """Stands for io.Schema of ComfyUI 0.3.48 (no `search_aliases=` yet)."""

    def __init__(
        self,
        node_id: str,
        display_name: str,
        category: str,
        inputs: list,
        outputs: list,
        description: str = "",
        hidden: tuple[str, ...] = (),
        is_output_node: bool = False,
        is_input_list: bool = False,
    ) -> None:
        self.node_id, self.display_name, self.category = node_id, display_name, category
        self.inputs, self.outputs, self.description = inputs, outputs, description


class NodeOutput:
    """Stands for io.NodeOutput."""

    def __init__(self, *args: Any, ui: dict[str, Any] | None = None) -> None:
        self.args, self.ui = args, ui


class CancelledError(Exception):
    """Stands for ComfyUI's InterruptProcessingException."""


class Host(SimpleNamespace):
    """What the stand-in host did and knows."""

    root: Path
    progress: list[int]
    cancel_after: int
    loaded: list[SimpleNamespace]

    def folder(self, name: str) -> Path:
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name

    def save_place(self, prefix: str, folder: str, width: int, height: int) -> tuple[str, str, int, str, str]:
        return folder, prefix, len(list(Path(folder).glob(f"{prefix}_*.png"))) + 1, "", prefix


def modules(host: Host) -> dict[str, ModuleType]:
    """The modules of ComfyUI that the pack imports, by name."""

    class ProgressBar:
        def __init__(self, total: int) -> None:
            host.progress = [0, total]

        def update(self, value: int) -> None:
            host.progress[0] += value

        def update_absolute(self, value: int) -> None:
            host.progress[0] = value

    def throw_if_cancelled() -> None:
        if 0 <= host.cancel_after <= host.progress[0]:
            raise CancelledError

    kinds = {name: _kind(name.upper()) for name in ("Image", "Mask", "Int", "Float", "Boolean", "String", "Combo")}
    extra = {
        "UploadType": SimpleNamespace(image="image_upload"),
        "Hidden": SimpleNamespace(prompt="PROMPT", extra_pnginfo="EXTRA_PNGINFO"),
    }
    io = SimpleNamespace(
        Custom=_kind,
        Schema=Schema,
        ComfyNode=object,
        NodeOutput=NodeOutput,
        Input=Socket,
        Output=Socket,
        **kinds,
        **extra,
    )
    folders: dict[str, list[str]] = {}
    contents: dict[str, dict[str, Any]] = {
        "comfy_api": {},
        "comfy_api.latest": {"io": io, "ComfyExtension": object},
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {
            "throw_exception_if_processing_interrupted": throw_if_cancelled,
            "get_torch_device": lambda: torch.device("cpu"),
            "unet_offload_device": lambda: torch.device("cpu"),
            "load_models_gpu": lambda patchers, **_: host.loaded.extend(patchers),
        },
        "comfy.model_patcher": {"ModelPatcher": lambda model, **devices: SimpleNamespace(model=model, **devices)},
        "folder_paths": {
            "models_dir": str(host.root / "models"),
            "get_input_directory": lambda: str(host.folder("input")),
            "get_output_directory": lambda: str(host.folder("output")),
            "get_annotated_filepath": lambda name: str(host.folder("input") / name),
            "exists_annotated_filepath": lambda name: (host.folder("input") / name).is_file(),
            "get_save_image_path": host.save_place,
            "get_user_directory": lambda: str(host.root / "user"),
            "add_model_folder_path": lambda name, path: folders.setdefault(name, []).append(path),
            "get_folder_paths": lambda name: folders[name],
        },
    }
    made = {}
    for name, values in contents.items():
        made[name] = ModuleType(name)
        made[name].__dict__.update(values)
    return made
