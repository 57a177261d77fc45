"""Secrets in a real ComfyUI: not served, not in errors, and nowhere in what the other tests leave behind."""

import json
import urllib.error

import pytest
from pack import template, to_prompt
from PIL import Image
from real_host import Server


def test_key_files_are_not_served(server: Server) -> None:
    for path in (
        "/userdata/..%2F__dbaf_keys%2Ffirst",
        "/userdata/first",
        "/view?filename=first&subfolder=../user/__dbaf_keys",
    ):
        with pytest.raises(urllib.error.HTTPError):
            server.get(path)


def test_errors_show_no_secret(server: Server) -> None:
    prompt = to_prompt(template("anonymize_steps"), image="person.png", key_name="damaged")
    assert "not a DBAF key" in json.dumps(server.run(prompt)["status"])
    prompt = to_prompt(template("anonymize_steps"), image="person.png", key_name="first")
    prompt["30"] = {"class_type": "TestFails", "inputs": {"key": ["4", 0], "faces": ["5", 0]}}
    prompt["31"] = {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}}
    failed = json.dumps(server.run(prompt)["status"])
    assert "<Key, redacted>" in failed
    assert "<DBAF data of 1 picture(s)>" in failed


def test_no_secret_anywhere(server: Server) -> None:
    """Last: everything that the runs above left behind, in the history, the log and every file."""
    assert len(server.answers) >= 10, "it looks at what the other tests of the real host left: run them too"
    texts = {"history": server.get("/history").decode(), "answers": "".join(server.answers)}
    places = [server.base / name for name in ("log.txt", "output", "temp", "user/default")]
    for place in places:
        for path in [place, *place.rglob("*")]:
            if path.is_file():
                texts[str(path)] = path.read_bytes().decode("latin-1")
                if path.suffix == ".png":
                    texts[f"{path} metadata"] = str(Image.open(path).info)
    assert any(name.endswith("metadata") for name in texts)
    for name, text in texts.items():
        for secret in server.secrets:
            assert secret not in text, name
            assert secret[:16] not in text, name
