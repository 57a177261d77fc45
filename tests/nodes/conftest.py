"""The node pack in a stand-in host, with a pipeline that counts calls; and in a real ComfyUI (`test_host_*.py`)."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pack import PACK
from real_host import Server, running
from stand_in_host import Host, modules

from dbaf.errors import NoFaceError
from dbaf.faces import Face, Selection
from dbaf.pipeline import Pipeline
from dbaf.stages import Rendering, Result

PACK_NAME = "/custom nodes/comfyui-dbaf_x_1"  # as ComfyUI names it: no identifier


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
    for name, module in modules(host).items():
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
        self.nonces: list[object] = []
        self.imprinted: list[bool] = []  # else no face is

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
        return Rendering(new, mask, owner, self.imprinted or [False] * len(faces))

    def anonymize(
        self,
        picture: torch.Tensor,
        key: object,
        nonce: list[bytes] | None,
        refine_steps: int,
        progress: Any,
        imprint: bool,
        min_face: int,
        faces: Selection | None,
        keep_looks: bool,
        held: object = None,
    ) -> Result:
        self.held.append(held)
        self.nonces.append(nonce)
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real ComfyUI, started once for all tests."""
    if "COMFYUI_DIR" not in os.environ:
        pytest.skip("NOT RUN IN A REAL HOST: set COMFYUI_DIR to a ComfyUI folder (and COMFYUI_PYTHON to its python)")
    with running(tmp_path_factory.mktemp("comfyui")) as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks for secrets in all that the real host's tests left behind goes last."""
    items.sort(key=lambda item: item.name == "test_no_secret_anywhere")
