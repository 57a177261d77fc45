"""A real ComfyUI finds the nodes, their help and the templates, and runs these."""

import shutil

import pytest
import torch
from pack import PACK, template, to_prompt
from PIL import Image
from real_host import Server, pixels


def test_nodes_help_and_templates_are_found(server: Server) -> None:
    info = {name: entry for name, entry in server.json("/object_info").items() if name.startswith("DBAF_")}
    assert len(info) == 17
    for name, entry in info.items():
        for group in (entry["input"][kind] for kind in ("required", "optional") if kind in entry["input"]):
            assert all(options["tooltip"] for _, options in group.values())
        assert all(entry["output_tooltips"])
        page = server.get(f"/extensions/comfyui-dbaf/docs/{name}.md").decode()
        assert page.startswith("# ")
        assert f"]({name}.jpg)" in page  # the frontend completes it to the page's folder
        assert server.get(f"/extensions/comfyui-dbaf/docs/{name}.jpg")[:2] == b"\xff\xd8"
    assert info["DBAF_Key"]["input"]["required"]["key_name"][1]["options"] == [
        "environment variable",
        "damaged",
        "first",
        "second",
    ]
    names = sorted(path.stem for path in (PACK / "workflows").glob("*.json"))
    assert "anonymize" in names
    assert sorted(server.json("/workflow_templates")["comfyui-dbaf"]) == names
    for name in names:
        assert server.get(f"/api/workflow_templates/comfyui-dbaf/{name}.jpg")[:2] == b"\xff\xd8"
    translations = server.json("/i18n")
    assert sorted(translations) == ["de", "en", "es", "fr", "ja", "ko", "zh"]
    assert all(sorted(words["nodeDefs"]) == sorted(info) for words in translations.values())


@pytest.mark.parametrize("steps", ["", "_steps"])
def test_templates_there_and_back(server: Server, steps: str) -> None:
    graph = template(f"anonymize{steps}")
    entry = server.run(to_prompt(graph, image="person.png", key_name="first"), graph)
    (anonymized,) = server.saved(entry)
    if not steps:
        assert entry["outputs"]["6"]["text"] == ["Picture 1: 1 face(s) replaced."]
    original = pixels(server.base / "input" / "person.png")
    assert pixels(anonymized).shape == original.shape
    changed = (pixels(anonymized) != original).any(dim=1)  # [1, H, W]
    assert 0.005 < changed.float().mean() < 0.9
    shutil.copy(anonymized, server.base / "input" / f"anonymized{steps}.png")
    graph = template(f"recover{steps}")

    def back(key_name: str) -> torch.Tensor:
        prompt = to_prompt(graph, image=f"anonymized{steps}.png", key_name=key_name)
        entry = server.run(prompt, graph)
        if not steps:
            known = int(key_name == "first")
            assert entry["outputs"]["6"]["text"][0].startswith(f"Picture 1: {known} of 1 face(s) from their imprints")
        (recovered,) = server.saved(entry)
        return pixels(recovered)

    recovered, wrong = back("first"), back("second")
    assert (recovered - original).abs().mean() < (wrong - original).abs().mean()
    if steps:
        assert "first" in Image.open(anonymized).text["prompt"]  # the name is there, and only the name
    else:
        assert not Image.open(anonymized).text


def test_templates_without_other_models_run(server: Server) -> None:
    original = pixels(server.base / "input" / "person.png")
    prompt = to_prompt(template("choose_faces"), image="person.png", key_name="first", numbers="1")
    save, report = (
        next(n for n, e in prompt.items() if e["class_type"] == kind) for kind in ("SaveImage", "PreviewAny")
    )
    entry = server.run(prompt)
    (chosen,) = server.saved(entry, save)
    assert not torch.equal(pixels(chosen), original)
    assert entry["outputs"][report]["text"] == ["Picture 1: 1 face(s) replaced."]
    prompt = to_prompt(template("mix_identities"), image="person.png", strength=0.5)
    save = next(node for node, entry in prompt.items() if entry["class_type"] == "SaveImage")
    assert pixels(*server.saved(server.run(prompt), save)).shape == original.shape
    prompt = to_prompt(template("compare"), image="person.png", key_name="first")
    view = next(node for node, entry in prompt.items() if entry["class_type"] == "PreviewImage")
    (rows,) = server.saved(server.run(prompt), view)
    assert pixels(rows).shape[-2] == 3 * original.shape[-2] + 2 * 8
