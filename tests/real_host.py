"""A real ComfyUI on CPU: COMFYUI_DIR = its folder, COMFYUI_PYTHON = its interpreter (default: this one).

It runs on a base folder of its own (models, input, output, user).
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pack import PACK

from dbaf.generators import load_generator
from dbaf.images import read_picture, to_pil, write_png
from dbaf.keys import new_key_file
from dbaf.weights.bundle import bundle_folder

PASSPHRASE = "correct horse battery staple"
FAILING = """
class Fails:
    INPUT_TYPES = classmethod(lambda s: {"required": {"key": ("DBAF_KEY",), "faces": ("DBAF_FACES",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "test", True
    def run(self, key, faces):
        raise RuntimeError(f"{key} {faces}")
NODE_CLASS_MAPPINGS = {"TestFails": Fails}
"""


@dataclass
class Server:
    """A running ComfyUI."""

    url: str
    base: Path
    secrets: list[str] = field(repr=False)
    answers: list[str] = field(default_factory=list, repr=False)  # every history entry seen

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read()

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def start(self, prompt: dict[str, Any], graph: object = None) -> str:
        extra = {"extra_pnginfo": {"workflow": graph}} if graph else {}
        return self.post("/prompt", {"prompt": prompt, "extra_data": extra})["prompt_id"]

    def finish(self, prompt_id: str) -> dict[str, Any]:
        """Wait for a run; its history entry."""
        for _ in range(1200):
            entry = self.json(f"/history/{prompt_id}").get(prompt_id)
            if entry and (entry["status"]["completed"] or entry["status"]["status_str"] == "error"):
                self.answers.append(json.dumps(entry))
                return entry
            time.sleep(0.25)
        raise AssertionError("no answer in 5 minutes")

    def run(self, prompt: dict[str, Any], graph: object = None) -> dict[str, Any]:
        return self.finish(self.start(prompt, graph))

    def saved(self, entry: dict[str, Any], node: str = "11") -> list[Path]:
        """The files that a Save Image node wrote."""
        assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
        images = entry["outputs"][node]["images"]
        return [self.base / image["type"] / image["subfolder"] / image["filename"] for image in images]


@contextmanager
def running(base: Path) -> Iterator[Server]:
    """Start the host in this empty folder; it has three keys, a damaged one, and a node that fails."""
    for name in ("custom_nodes", "models", "input", "user/__dbaf_keys"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes" / "comfyui-dbaf").symlink_to(PACK)
    (base / "custom_nodes" / "failing.py").write_text(FAILING)
    keys = base / "user" / "__dbaf_keys"
    new_key_file(keys / "first")
    new_key_file(keys / "second")
    new_key_file(base / "third")
    (keys / "damaged").write_text((keys / "first").read_text().replace("raw ", "raw A"))
    make_inputs(base / "input")
    secrets = [line.split()[2] for f in (*keys.iterdir(), base / "third") for line in [f.read_text().splitlines()[1]]]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    options = ["--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)]
    environment = os.environ | {"DBAF_KEY": (base / "third").read_text(), "DBAF_PASSPHRASE": PASSPHRASE}
    with (base / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [python, "main.py", *options, "--database-url", f"sqlite:///{base}/comfyui.db"],
            cwd=os.environ["COMFYUI_DIR"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", base, [*secrets, PASSPHRASE])
    try:
        for _ in range(240):
            assert process.poll() is None, (base / "log.txt").read_text()[-3000:]
            try:
                server.get("/system_stats")
                break
            except urllib.error.URLError:
                time.sleep(0.5)
        yield server
    finally:
        process.terminate()
        process.wait(30)


@torch.no_grad()
def make_inputs(folder: Path) -> None:
    """A picture of a generated person, and one of a wall."""
    generator = load_generator(bundle_folder("mobile"))
    w = generator.mapping(torch.randn(1, generator.dim, generator=torch.Generator().manual_seed(0)))
    person = generator(generator.widen(generator.mean_w + 0.6 * (w - generator.mean_w)))  # [1, 3, 1024, 1024]
    small = torch.nn.functional.interpolate(person, size=(512, 512), mode="area")
    person = torch.nn.functional.pad(small, (0, 128))
    write_png(folder / "person.png", to_pil(person))
    # of the same size: ImageBatch would rescale it, and Save Image truncates what rescaling leaves
    write_png(folder / "wall.png", to_pil(torch.zeros_like(person)))


def whole(image: str, **widgets: Any) -> dict[str, Any]:
    """A picture through DBAF Anonymize Image, in API format; the image comes out of node 4."""
    defaults = {"imprint": True, "refine_steps": 0, "without_face": "stop with an error", "min_face": 40}
    chosen = defaults | {"accept_suspects": False, "batch": "pictures", "looks": "keep"}
    chosen |= {"linkage": "linked", "variation": 0} | widgets
    return {
        "1": {"class_type": "DBAF_LoadModel", "inputs": {"name": "mobile"}},
        "2": {"class_type": "DBAF_Key", "inputs": {"key_name": "first"}},
        "3": {"class_type": "LoadImage", "inputs": {"image": image}},
        "4": {
            "class_type": "DBAF_AnonymizeImage",
            "inputs": {"model": ["1", 0], "image": ["3", 0], "key": ["2", 0], **chosen},
        },
        "11": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "whole"}},
    }


def pixels(path: Path) -> torch.Tensor:
    """A picture [1, 3, H, W] in [-1, 1]."""
    return read_picture(path).rgb


def read_back(picture: torch.Tensor) -> torch.Tensor:
    """A picture as it is after saving to 8 bits."""
    return ((picture + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
