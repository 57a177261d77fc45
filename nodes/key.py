"""DBAF Key: the graph holds the *name* of a key; the key itself stays outside."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from dbaf.errors import LockedKeyError, SecretError
from dbaf.keys import Key, passphrase_from_env

from .sockets import KeySocket, schema

ENVIRONMENT = "environment variable"
KEY_VARIABLE, FILE_VARIABLE, PASSPHRASE_VARIABLE = "DBAF_KEY", "DBAF_KEY_FILE", "DBAF_PASSPHRASE"
NO_KEY = (
    f"No key: neither {KEY_VARIABLE} nor {FILE_VARIABLE} is set. Make a key file: in the folder of this pack run "
    "'python -m dbaf key new ../../user/__dbaf_keys/my.key' with the Python that runs ComfyUI. Then press R, and "
    "choose it in DBAF Key. Or set one of the two variables and restart ComfyUI."
)


def key_folder() -> Path:
    """user/__dbaf_keys, made if missing. ComfyUI's server gives out nothing in a user folder that starts with `__`."""
    folder = Path(folder_paths.get_user_directory()) / "__dbaf_keys"
    with contextlib.suppress(OSError):  # a read-only installation can still use the environment
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _key_files() -> dict[str, Path]:
    """File name -> path of every key file in the key folder, sorted."""
    folder = key_folder()
    if not folder.is_dir():
        return {}
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."}


def _path_of(name: str) -> Path | None:
    """The key file behind a choice; None = the variable DBAF_KEY holds the key itself."""
    if name == ENVIRONMENT:
        file = os.environ.get(FILE_VARIABLE)
        return Path(file) if file and not os.environ.get(KEY_VARIABLE) else None
    path = _key_files().get(name)
    if path is None:
        raise SecretError(
            "There is no key of this name in user/__dbaf_keys. Press R to refresh the list, then choose one."
        )
    return path


def _open(read: Callable[[str | None], Key]) -> Key:
    """Read a key, with the passphrase from the environment only if it needs one."""
    with contextlib.suppress(LockedKeyError):
        return read(None)
    if not os.environ.get(PASSPHRASE_VARIABLE):
        raise SecretError(
            f"This key needs its passphrase: put it into the environment variable {PASSPHRASE_VARIABLE} before ComfyUI "
            "starts."
        )
    return read(passphrase_from_env(PASSPHRASE_VARIABLE))


class LoadKey(io.ComfyNode):
    """Name of a key -> DBAF_KEY."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Key",
            display_name="DBAF Key",
            aliases=["secret key", "password", "passphrase"],
            description="Opens a secret key. The workflow, the saved pictures and the history hold its name only. "
            "Make one with: python -m dbaf key new FILE, in the folder user/__dbaf_keys of ComfyUI. "
            "Who has the key can bring the original faces back; without it nobody can, you included.",
            inputs=[
                io.Combo.Input(
                    "key_name",
                    options=[ENVIRONMENT, *_key_files()],
                    default=ENVIRONMENT,
                    tooltip=f"A file in user/__dbaf_keys, or '{ENVIRONMENT}': {KEY_VARIABLE} (text of a key file) or "
                    f"{FILE_VARIABLE} (the path of one), set before ComfyUI starts. A key file that needs a passphrase "
                    f"takes it from {PASSPHRASE_VARIABLE}. Never type a key or a passphrase into a workflow.",
                )
            ],
            outputs=[
                KeySocket.Output(display_name="key", tooltip="The opened key, for DBAF Anonymize or DBAF Recover.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, key_name: str) -> str:
        """When the key file was changed. ComfyUI saves this with the picture: nothing of the key, and no path."""
        path = _path_of(key_name)
        return "" if path is None or not path.is_file() else str(path.stat().st_mtime_ns)

    @classmethod
    def validate_inputs(cls, key_name: str) -> bool:
        """A missing key is an error of the run: where another branch of the graph is valid, ComfyUI shows no other."""
        return True

    @classmethod
    def execute(cls, key_name: str) -> io.NodeOutput:
        path = _path_of(key_name)
        if path is not None:
            return io.NodeOutput(_open(lambda passphrase: Key.from_file(path, passphrase)))
        if not os.environ.get(KEY_VARIABLE):
            raise SecretError(NO_KEY)
        return io.NodeOutput(_open(lambda passphrase: Key.from_env(KEY_VARIABLE, passphrase)))
