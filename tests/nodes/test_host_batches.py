"""Several pictures at once in a real ComfyUI: batches, lists, albums and films."""

import json
import shutil

import torch
from pack import template, to_prompt
from real_host import Server, pixels, read_back, whole

from dbaf.album import Album
from dbaf.images import to_pil, write_png
from dbaf.keys import Key
from dbaf.pipeline import Pipeline


def test_batch_with_an_empty_picture(server: Server) -> None:
    prompt = to_prompt(template("anonymize_steps"), image="person.png", key_name="first", filename_prefix="batch")
    prompt["20"] = {"class_type": "LoadImage", "inputs": {"image": "wall.png"}}
    prompt["21"] = {"class_type": "ImageBatch", "inputs": {"image1": ["3", 0], "image2": ["20", 0]}}
    for node in ("5", "7", "10"):
        prompt[node]["inputs"]["image"] = ["21", 0]
    entry = server.run(prompt)
    assert entry["status"]["status_str"] == "error"
    assert "No face was found in picture 2 of 2" in json.dumps(entry)
    prompt["5"]["inputs"]["without_face"] = "keep the picture as it is"
    first, second = server.saved(server.run(prompt))
    assert (pixels(second) == pixels(second)[..., :1, :1]).all()
    (alone,) = server.saved(server.run(to_prompt(template("anonymize_steps"), image="person.png", key_name="first")))
    assert torch.equal(pixels(first), pixels(alone))


def test_an_album_of_any_sizes(server: Server) -> None:
    """A folder through the template: the bytes of the library, under the names of the originals."""
    folder = server.base / "input" / "holiday"
    folder.mkdir()
    person = pixels(server.base / "input" / "person.png")
    pictures = {"a2": torch.zeros_like(person), "a10": (person * 0.6 - 0.2).flip(3)[..., 128:], "b": person}
    for name, picture in pictures.items():
        write_png(folder / f"{name}.png", to_pil(picture))
    prompt = to_prompt(template("album"), folder="holiday", key_name="first")
    save, preview = (
        next(n for n, e in prompt.items() if e["class_type"] == kind) for kind in ("DBAF_Save", "PreviewImage")
    )
    entry = server.run(prompt)
    files = server.saved(entry, save)
    assert [(file.parent.name, file.name) for file in files] == [("holiday", f"{name}_00001_.png") for name in pictures]
    assert [pixels(file).shape for file in server.saved(entry, preview)] == [one.shape for one in pictures.values()]
    pipeline, key = (
        Pipeline.from_pretrained("mobile", device="cpu"),
        Key.from_file(server.base / "user" / "__dbaf_keys" / "first"),
    )
    album = Album(pipeline)
    for name in pictures:
        album.look(name, pixels(folder / f"{name}.png"))
    wall, *people = (pixels(file) for file in files)
    assert torch.equal(wall, pixels(folder / "a2.png"))
    assert torch.equal(album.held("a10")[0], album.held("b")[0])  # known to be one person
    for made, name in zip(people, ("a10", "b"), strict=True):
        expected = pipeline.anonymize(pixels(folder / f"{name}.png"), key, held=album.held(name))
        assert torch.equal(made, read_back(expected.picture))


def test_a_video(server: Server) -> None:
    """Frames to MP4 and through the template; count, order and what nobody replaced stay."""
    film = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "person.png"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "wall.png"}},
        "3": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 4}},
        "4": {"class_type": "ImageBatch", "inputs": {"image1": ["3", 0], "image2": ["2", 0]}},
        "5": {"class_type": "CreateVideo", "inputs": {"images": ["4", 0], "fps": 10.0}},
        "11": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["5", 0], "filename_prefix": "film", "format": "auto", "codec": "auto"},
        },
    }
    (path,) = server.saved(server.run(film))
    shutil.copy(path, server.base / "input" / "film.mp4")
    prompt = to_prompt(template("video"), file="film.mp4", key_name="first")
    save, report = (
        next(n for n, e in prompt.items() if e["class_type"] == kind) for kind in ("SaveVideo", "PreviewAny")
    )
    node = next(n for n, e in prompt.items() if e["class_type"] == "DBAF_AnonymizeImage")
    prompt["20"] = {"class_type": "SaveImage", "inputs": {"images": [node, 0], "filename_prefix": "frame"}}
    entry = server.run(prompt)
    (made,) = server.saved(entry, save)
    assert made.suffix == ".mp4"
    lines = entry["outputs"][report]["text"][0].splitlines()
    assert lines == [f"Picture {n}: {int(n < 5)} face(s) replaced." for n in range(1, 6)]
    frames = [pixels(path) for path in server.saved(entry, "20")]
    assert len(frames) == 5
    person, wall = pixels(server.base / "input" / "person.png"), frames[-1]
    assert (frames[0] - person).abs().amax() > 0.1
    assert (wall - pixels(server.base / "input" / "wall.png")).abs().amax() < 0.05
    assert (frames[0] - frames[1]).abs().mean() < 0.01
    prompt = whole("person.png", batch="clip")
    prompt["7"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["3", 0], "amount": 3}}
    prompt["4"]["inputs"]["image"] = ["7", 0]
    back = {"model": ["1", 0], "image": ["4", 0], "key": ["2", 0], "refine_steps": 0, "min_face": 40, "batch": "clip"}
    prompt["8"] = {
        "class_type": "DBAF_RecoverImage",
        "inputs": back | {"without_face": "stop with an error", "looks": "keep"},
    }
    prompt["9"] = {"class_type": "PreviewAny", "inputs": {"source": ["8", 3]}}
    entry = server.run(prompt)
    assert entry["outputs"]["9"]["text"][0].count("1 of 1 face(s) from their imprints.") == 3


def test_lists_of_images_stay_lists(server: Server) -> None:
    prompt = whole("person.png")
    prompt["7"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["3", 0], "amount": 2}}
    prompt["8"] = {"class_type": "RebatchImages", "inputs": {"images": ["7", 0], "batch_size": 1}}
    prompt["4"]["inputs"]["image"] = ["8", 0]
    prompt["9"] = {"class_type": "PreviewAny", "inputs": {"source": ["4", 4]}}
    widgets = {"choose": "all", "numbers": "1", "count": 1, "spare_chosen": False, "batch": "pictures"}
    found = {"model": ["1", 0], "image": ["8", 0], "without_face": "stop with an error", "min_face": 40, **widgets}
    prompt["10"] = {"class_type": "DBAF_DetectFaces", "inputs": found}
    alone = server.saved(server.run(whole("person.png")))
    for faces in ({}, {"faces": ["10", 0]}):
        prompt["4"]["inputs"] |= faces
        entry = server.run(prompt)
        assert [torch.equal(pixels(path), pixels(alone[0])) for path in server.saved(entry)] == [True, True]
        lines = entry["outputs"]["9"]["text"][0].splitlines()
        assert lines == ["Picture 1: 1 face(s) replaced.", "Picture 2: 1 face(s) replaced."]
    prompt["4"]["inputs"]["min_face"] = 4096
    del prompt["4"]["inputs"]["faces"]
    assert "No face was found in picture 1 of 2" in json.dumps(server.run(prompt))
