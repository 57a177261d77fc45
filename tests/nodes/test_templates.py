"""The templates: they fit the nodes, are valid for comfy-cli, and give nothing away."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pack import PACK, template
from PIL import Image

CORE = json.loads((Path(__file__).parent / "core_nodes.json").read_text())  # recorded from ComfyUI 0.3.64
NAMES = [
    "album",
    "anonymize",
    "anonymize_steps",
    "choose_faces",
    "compare",
    "mix_identities",
    "recover",
    "recover_steps",
    "restyle",
    "video",
]
LARGEST = 60_000  # bytes of a thumbnail

with_comfy_cli = pytest.mark.skipif(
    importlib.util.find_spec("comfy_cli") is None,
    reason="TEMPLATES NOT VALIDATED: pip install comfy-cli (in the extra `test`)",
)


def test_every_template_has_a_small_picture() -> None:
    folder = PACK / "workflows"
    assert sorted(path.stem for path in folder.glob("*.json")) == NAMES
    assert sorted(path.stem for path in folder.glob("*.jpg")) == NAMES
    for path in folder.glob("*.jpg"):
        assert path.stat().st_size <= LARGEST
        with Image.open(path) as image:
            assert min(image.size) >= 200
            assert not image.getexif()


@pytest.mark.parametrize("name", NAMES)
def test_template_fits_the_nodes(nodes: dict[str, Any], name: str) -> None:
    graph = template(name)
    by_id = {node["id"]: node for node in graph["nodes"]}
    assert len(by_id) == len(graph["nodes"])
    for node in graph["nodes"]:
        if node["type"] not in nodes:
            assert node["type"] in CORE or node["type"] == "MarkdownNote"
            continue
        schema = nodes[node["type"]].define_schema()
        inputs = sorted(schema.inputs, key=lambda socket: bool(socket.optional))
        assert [(i["name"], i["type"]) for i in node["inputs"]] == [(i.id, i.io_type) for i in inputs]
        assert [o["name"] for o in node["outputs"]] == [o.display_name for o in schema.outputs]
        widgets = [i for i in inputs if i.io_type in ("COMBO", "INT", "FLOAT", "STRING", "BOOLEAN")]
        for socket, value in zip(widgets, node["widgets_values"], strict=True):
            assert not socket.options or value in socket.options
            assert socket.options or type(value) is type(socket.default)
        for entry, socket in zip(node["inputs"], inputs, strict=True):
            assert "widget" in entry or socket.optional or entry["link"] is not None, (node["type"], socket.id)
    for link, source, slot, target, place, kind in graph["links"]:
        assert link in by_id[source]["outputs"][slot]["links"]
        assert by_id[source]["outputs"][slot]["type"] == kind
        assert by_id[target]["inputs"][place]["link"] == link


@pytest.mark.parametrize("name", NAMES)
def test_template_gives_nothing_away(name: str) -> None:
    for node in template(name)["nodes"]:
        if node["type"] == "LoadImage":
            assert node["widgets_values"][0] == "example.png"
        if node["type"] == "LoadVideo":
            assert node["widgets_values"][0] == "example.mp4"
        if node["type"] == "DBAF_Key":
            assert node["widgets_values"] == ["environment variable"]
        if node["type"] != "MarkdownNote":
            for text in (value for value in node["widgets_values"] if isinstance(value, str)):
                assert "\\" not in text
                assert "/" not in text or text.startswith("DBAF/")


def object_info(nodes: dict[str, Any]) -> dict[str, Any]:
    """What a host answers to /object_info about our nodes."""
    info = {}
    for node_id, node in nodes.items():
        schema = node.define_schema()
        groups: dict[str, dict[str, Any]] = {"required": {}, "optional": {}}
        for socket in schema.inputs:
            options = {name: value for name, value in socket.arguments.items() if name not in ("optional", "upload")}
            groups["optional" if socket.optional else "required"][socket.id] = [socket.io_type, options]
        info[node_id] = {
            "name": node_id,
            "display_name": schema.display_name,
            "category": schema.category,
            "description": schema.description,
            "input": groups,
            "input_order": {group: list(sockets) for group, sockets in groups.items()},
            "output": [socket.io_type for socket in schema.outputs],
            "output_name": [socket.display_name for socket in schema.outputs],
            "output_is_list": [bool(socket.is_output_list) for socket in schema.outputs],
            "output_node": node_id == "DBAF_Save",
            "python_module": "custom_nodes.comfyui-dbaf",
        }
    return info


@with_comfy_cli
@pytest.mark.parametrize("name", NAMES)
def test_template_is_valid(nodes: dict[str, Any], name: str, tmp_path: Path) -> None:
    """comfy-cli converts the graph and checks it against all node definitions, without a host."""
    (tmp_path / "object_info.json").write_text(json.dumps(CORE | object_info(nodes)))
    command = ["-m", "comfy_cli", "--json", "workflow", "validate", "--input", str(tmp_path / "object_info.json")]
    run = subprocess.run(
        [sys.executable, *command, "--workflow", str(PACK / "workflows" / f"{name}.json")],
        env=os.environ | {"DO_NOT_TRACK": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    answer = json.loads(run.stdout)["data"]
    assert answer["valid"], answer
    assert answer["warnings"] == []
    assert answer["converted_from_ui"]
    assert answer["converted_node_count"] == sum(node["type"] != "MarkdownNote" for node in template(name)["nodes"])
