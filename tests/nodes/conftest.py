"""The node pack without a host: stand-ins for the few ComfyUI names that it uses, and a pipeline that counts calls.

`test_host.py` runs the same pack in a real ComfyUI.
"""

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from dbaf.errors import NoFaceError
from dbaf.faces import Face, Selection
from dbaf.pipeline import Pipeline
from dbaf.stages import Rendering, Result

PACK = Path(__file__).resolve().parents[2]
PACK_NAME = "/custom nodes/comfyui-dbaf_x_1"  # as ComfyUI names it: no identifier


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


def _modules(host: Host) -> dict[str, ModuleType]:
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
    modules = {}
    for name, values in contents.items():
        modules[name] = types.ModuleType(name)
        modules[name].__dict__.update(values)
    return modules


def load_pack() -> ModuleType:
    """Load the pack the way ComfyUI does: by path, under a name that is no identifier."""
    spec = importlib.util.spec_from_file_location(
        PACK_NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK_NAME] = module
    spec.loader.exec_module(module)
    return module


def _forget_pack() -> None:
    for name in [name for name in sys.modules if name == PACK_NAME or name.startswith(f"{PACK_NAME}.")]:
        del sys.modules[name]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A stand-in host with an empty user folder and no key in its environment."""
    host = Host(root=tmp_path, progress=[0, 0], cancel_after=-1, loaded=[])
    for name, module in _modules(host).items():
        monkeypatch.setitem(sys.modules, name, module)
    for variable in ("DBAF_KEY", "DBAF_KEY_FILE", "DBAF_PASSPHRASE"):
        monkeypatch.delenv(variable, raising=False)
    return host


@pytest.fixture
def pack(host: Host) -> Iterator[ModuleType]:
    """The pack, loaded into the stand-in host."""
    _forget_pack()
    yield load_pack()
    _forget_pack()


@pytest.fixture
def nodes(pack: ModuleType) -> dict[str, Any]:
    """node_id -> node class."""
    return {node.define_schema().node_id: node for node in pack.NODES}


def make_face(x: float) -> Face:
    """Some face at this place."""
    return Face.from_mesh(torch.rand(468, 3, generator=torch.Generator().manual_seed(1)) * 20 + x, score=0.9)


class FakePipeline:
    """Finds the number of faces that the top left red value says (in 8-bit steps) and adds 1 to identities."""

    digest = bytes(32)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.rendered: list[torch.Tensor] = []
        self.suspected: list[Face] = []
        self.held: list[object] = []

    def detect(self, picture: torch.Tensor, min_face: float = 40, looked: Callable[[], Any] = int) -> list[Face]:
        looked()
        count = round((float(picture[0, 0, 0, 0]) + 1) * 127.5)
        return [make_face(30.0 * i) for i in range(count)]

    def suspects(
        self, picture: torch.Tensor, known: list[Face], min_face: int, looked: Callable[[], Any]
    ) -> list[Face]:
        return [face for face in self.suspected if face.box not in [other.box for other in known]]

    def encode(self, picture: torch.Tensor, faces: list[Face], refine_steps: int, progress: Any) -> torch.Tensor:
        assert faces
        total = len(faces) * (refine_steps + 1)
        for done in range(total):
            progress(done + 1, total)
        return torch.zeros(len(faces), 23, 512)

    def disentangle(self, encoding: torch.Tensor) -> tuple[torch.Tensor, str]:
        return encoding, f"attributes of {len(encoding)}"

    def anonymize_identity(self, identity: torch.Tensor, key: object, imprint: bool, keep_looks: bool) -> torch.Tensor:
        return identity + 1

    def recover_identity(self, identity: torch.Tensor, key: object, keep_looks: bool) -> torch.Tensor:
        return identity - 1

    def render(
        self,
        picture: torch.Tensor,
        faces: list[Face],
        identity: torch.Tensor,
        attributes: str,
        progress: Any,
        spared: list[Face],
    ) -> Rendering:
        """Face number i gets a square of 8 px; spared ones are written down."""
        assert attributes == f"attributes of {len(faces)}"
        self.rendered.append(identity)
        self.spared = spared
        for done in range(len(faces)):
            progress(done + 1, len(faces))
        owner = torch.full(picture.shape[-2:], -1, dtype=torch.int16)
        for index in range(len(faces)):
            owner[8:16, 8 * index : 8 * index + 8] = index
        mask = (owner >= 0)[None, None].float()
        new = torch.where(mask > 0, torch.full_like(picture, 0.123), picture + 1e-7)
        return Rendering(new, mask, owner, [False] * len(faces))

    def anonymize(
        self,
        picture: torch.Tensor,
        key: object,
        nonce: bytes | None,
        refine_steps: int,
        progress: Any,
        imprint: bool,
        min_face: int,
        faces: Selection | None,
        keep_looks: bool,
        held: object = None,
    ) -> Result:
        self.held.append(held)
        return self._run(picture, faces, progress, 1)

    def recover(
        self,
        picture: torch.Tensor,
        key: object,
        nonce: bytes | None,
        refine_steps: int,
        progress: Any,
        min_face: int,
        faces: Selection | None,
        keep_looks: bool,
    ) -> Result:
        return self._run(picture, faces, progress, -1)

    def reconstruct(
        self, picture: torch.Tensor, refine_steps: int, progress: Any, min_face: int, faces: Selection | None
    ) -> Result:
        return self._run(picture, faces, progress, 0)

    def _run(self, picture: torch.Tensor, faces: Selection | None, progress: Any, change: int) -> Result:
        found = self.detect(picture)
        faces = faces or Selection(found, [True] * len(found))
        if not faces.chosen:
            raise NoFaceError("No face.")
        codes = torch.full((len(faces.chosen), 23, 512), change)
        made = self.render(picture, faces.chosen, codes, f"attributes of {len(codes)}", progress, faces.spared)
        restored = [True] * len(codes)
        return Result(**vars(made), faces=faces.chosen, latents=codes, restored=restored, suspects=self.suspected)


@pytest.fixture
def pipeline() -> FakePipeline:
    """A pipeline without networks."""
    return FakePipeline()


@pytest.fixture(scope="session")
def mobile() -> Pipeline:
    """The embedded networks."""
    return Pipeline.from_pretrained("mobile", device="cpu")
