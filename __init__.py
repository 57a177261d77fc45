"""Entry point for ComfyUI, which loads this folder by path. The library is `dbaf/`, the nodes are in `nodes/`."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

try:
    from comfy_api.latest import ComfyExtension, io
except ImportError:
    raise ImportError("DBAF for ComfyUI needs ComfyUI 0.3.48 or newer: please update ComfyUI.") from None

import folder_paths

WEB_DIRECTORY = "./web"  # help pages: web/docs/<node_id>.md
_PACK = Path(__file__).resolve().parent


def _provide_library() -> None:
    """Make this folder's `dbaf` importable by its plain name.

    Nobody pip-installs a custom node, and `dbaf` imports itself by that name. A relative import would load it a
    second time under another name (then `isinstance` fails), and the whole folder on `sys.path` would expose our
    `nodes` and `tests` to every other pack.
    """
    if "dbaf" in sys.modules:
        return
    spec = importlib.machinery.PathFinder.find_spec("dbaf", [str(_PACK)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dbaf"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["dbaf"]
        raise


_provide_library()
folder_paths.add_model_folder_path("dbaf", str(Path(folder_paths.models_dir) / "dbaf"))

from .nodes import NODES  # noqa: E402  (needs the library)


class DbafExtension(ComfyExtension):
    """The node pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The classes of all nodes."""
        return NODES


async def comfy_entrypoint() -> DbafExtension:
    """Called once by ComfyUI. (With a NODE_CLASS_MAPPINGS in this file it never would be.)"""
    return DbafExtension()
