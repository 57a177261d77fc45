"""The node pack's folder and its templates."""

import json
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parents[1]


def template(name: str) -> dict[str, Any]:
    """A template, in UI format."""
    return json.loads((PACK / "workflows" / f"{name}.json").read_text())


def to_prompt(graph: dict[str, Any], **widgets: Any) -> dict[str, Any]:
    """UI format -> API format; `widgets` replaces values by input name."""
    sources = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    prompt = {}
    for node in graph["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        values = iter(node["widgets_values"])
        inputs = {}
        for entry in node["inputs"]:
            name = entry["name"]
            if "widget" in entry:
                inputs[name] = widgets.get(name, next(values))
            if entry["link"] is not None:
                inputs[name] = sources[entry["link"]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt
