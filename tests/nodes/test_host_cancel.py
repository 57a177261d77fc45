"""Cancelling in a real ComfyUI."""

import time
from typing import Any

import torch
from pack import template, to_prompt
from real_host import Server, pixels, whole


def cancelled_after(server: Server, prompt: dict[str, Any]) -> float:
    """Run, cancel while it works, and the seconds that took."""
    prompt_id = server.start(prompt)
    while not server.json("/queue")["queue_running"]:
        time.sleep(0.05)
    time.sleep(3)
    started = time.monotonic()
    server.post("/interrupt", {})
    entry = server.finish(prompt_id)
    assert "execution_interrupted" in [kind for kind, _ in entry["status"]["messages"]]
    return time.monotonic() - started


def test_cancel(server: Server) -> None:
    steps = to_prompt(template("anonymize_steps"), image="person.png", key_name="second", filename_prefix="never")
    steps["20"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["3", 0], "amount": 64}}
    for node in ("5", "7", "10"):
        steps[node]["inputs"]["image"] = ["20", 0]
    refining = whole("person.png", refine_steps=300)
    clip = whole("person.png", batch="clip")
    clip["9"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["3", 0], "amount": 64}}
    clip["4"]["inputs"]["image"] = ["9", 0]
    album = whole("person.png", batch="album")
    album["9"] = clip["9"]
    album["4"]["inputs"]["image"] = ["9", 0]
    large = whole("person.png")
    scaled = {"image": ["3", 0], "upscale_method": "bilinear", "width": 3840, "height": 3072, "crop": "disabled"}
    large["9"] = {"class_type": "ImageScale", "inputs": scaled}
    large["4"]["inputs"]["image"] = ["9", 0]
    unlinked = whole("person.png", linkage="unlinked")
    unlinked["9"], unlinked["4"]["inputs"]["image"] = clip["9"], ["9", 0]
    prompts = {"steps": steps, "refining": refining, "clip": clip, "album": album, "large": large, "unlinked": unlinked}
    seconds = {name: cancelled_after(server, prompt) for name, prompt in prompts.items()}
    assert max(seconds.values()) < 2, seconds
    assert not list((server.base / "output").glob("never*"))
    (after,) = server.saved(server.run(whole("person.png")))  # it left nothing behind
    again = to_prompt(template("anonymize_steps"), image="person.png", key_name="first")
    (steps_again,) = server.saved(server.run(again))
    assert torch.equal(pixels(after), pixels(steps_again))
