"""The nodes in a real ComfyUI: what they give, and what is told before and while they run."""

import json
import shutil
import urllib.error

import pytest
import torch
from pack import template, to_prompt
from PIL import Image
from real_host import Server, pixels, read_back, whole

from dbaf.images import to_pil
from dbaf.keys import Key
from dbaf.pipeline import Pipeline


def test_same_bytes_as_the_library(server: Server) -> None:
    (host,) = server.saved(server.run(to_prompt(template("anonymize_steps"), image="person.png", key_name="first")))
    key = Key.from_file(server.base / "user" / "__dbaf_keys" / "first")
    result = Pipeline.from_pretrained("mobile", device="cpu").anonymize(
        pixels(server.base / "input" / "person.png"), key
    )
    assert torch.equal(pixels(host), read_back(result.picture))


def test_one_node_gives_the_bytes_of_eight(server: Server) -> None:
    (whole_way,) = server.saved(server.run(whole("person.png")))
    (steps,) = server.saved(server.run(to_prompt(template("anonymize_steps"), image="person.png", key_name="first")))
    assert torch.equal(pixels(whole_way), pixels(steps))


def test_unlinked_pictures_come_back_from_their_imprints(server: Server) -> None:
    """As the node is when it is new: the bytes of the library, which the node that recovers needs no nonce for."""
    prompt = whole("person.png", linkage="unlinked")
    widgets = {"refine_steps": 0, "without_face": "stop with an error", "min_face": 40, "batch": "pictures"}
    back = {"model": ["1", 0], "image": ["4", 0], "key": ["2", 0], "looks": "keep", **widgets}
    prompt["8"] = {"class_type": "DBAF_RecoverImage", "inputs": back}
    prompt["9"] = {"class_type": "PreviewAny", "inputs": {"source": ["8", 3]}}
    entry = server.run(prompt)
    assert entry["outputs"]["9"]["text"] == ["Picture 1: 1 of 1 face(s) from their imprints."]
    (made,) = server.saved(entry, "11")
    person, key = (
        pixels(server.base / "input" / "person.png"),
        Key.from_file(server.base / "user" / "__dbaf_keys" / "first"),
    )
    pipeline = Pipeline.from_pretrained("mobile", device="cpu")
    nonces = key.nonces_of(to_pil(person).tobytes())
    assert torch.equal(pixels(made), read_back(pipeline.anonymize(person, key, nonces).picture))


def test_sealed_pictures_come_back_exactly(server: Server) -> None:
    prompt = to_prompt(template("anonymize_steps"), image="person.png", key_name="first")
    blend = next(node for node, entry in prompt.items() if entry["class_type"] == "DBAF_MAARBlend")
    save = next(node for node, entry in prompt.items() if entry["class_type"] == "SaveImage")
    sealed = {"model": ["2", 0], "original": ["3", 0], "image": [blend, 0], "key": ["4", 0], "second_key": ["41", 0]}
    stored = {"filename_prefix": "sealed", "with_workflow": False, "capsule_goes": "in the picture"}
    prompt |= {
        "40": {"class_type": "DBAF_Seal", "inputs": sealed},
        "41": {"class_type": "DBAF_Key", "inputs": {"key_name": "second"}},
        save: {"class_type": "DBAF_Save", "inputs": stored | {"image": [blend, 0], "capsule": ["40", 0]}},
    }
    (path,) = server.saved(server.run(prompt, template("anonymize_steps")))
    with Image.open(path) as image:
        assert set(image.info) == {"dbaf"}  # our record, and no workflow
    shutil.copy(path, server.base / "input" / "sealed.png")
    back = {
        "1": {"class_type": "DBAF_Load", "inputs": {"picture": "sealed.png"}},
        "2": {"class_type": "DBAF_Key", "inputs": {"key_name": "second"}},
        "3": {"class_type": "DBAF_Unseal", "inputs": {"image": ["1", 0], "capsule": ["1", 1], "key": ["2", 0]}},
        "4": {"class_type": "DBAF_Save", "inputs": stored | {"image": ["3", 0]}},
    }
    (original,) = server.saved(server.run(back), "4")
    assert torch.equal(pixels(original), pixels(server.base / "input" / "person.png"))
    back["2"]["inputs"]["key_name"] = "environment variable"
    assert "does not open" in json.dumps(server.run(back)["status"])


def test_spared_face_and_mask(server: Server) -> None:
    """The only face is spared through a painted mask: nothing changes, and nothing is suspect."""
    prompt = whole("person.png")
    painted = {"value": 1.0, "width": 64, "height": 64}
    prompt["5"] = {"class_type": "SolidMask", "inputs": painted}
    widgets = {"choose": "in the mask", "numbers": "1", "count": 1, "spare_chosen": True, "min_face": 40}
    widgets["batch"] = "pictures"
    faces = {
        "model": ["1", 0],
        "image": ["3", 0],
        "mask": ["5", 0],
        "without_face": "keep the picture as it is",
        **widgets,
    }
    prompt["6"] = {"class_type": "DBAF_DetectFaces", "inputs": faces}
    prompt["4"]["inputs"]["faces"] = ["6", 0]
    (same,) = server.saved(server.run(prompt))
    assert torch.equal(pixels(same), pixels(server.base / "input" / "person.png"))


def test_environment_key_and_cache(server: Server) -> None:
    prompt = to_prompt(template("anonymize_steps"), image="person.png", filename_prefix="cached")
    server.saved(server.run(prompt))
    messages = server.run(prompt)["status"]["messages"]
    cached = next(body["nodes"] for kind, body in messages if kind == "execution_cached")
    assert {"2", "4", "5", "7", "8", "9", "10"} <= set(cached)  # the key's fingerprint is stable


def test_slips_show_before_anything_runs(server: Server) -> None:
    prompt = to_prompt(template("choose_faces"), image="person.png", key_name="first", numbers="one")
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.start(prompt)
    assert "'one' is no number of a face" in refused.value.read().decode()


def test_a_missing_key_is_told_though_a_preview_could_do_without(server: Server) -> None:
    prompt = to_prompt(template("anonymize_steps"), image="person.png", key_name="gone")
    assert "There is no key of this name" in json.dumps(server.run(prompt)["status"])
