"""The pack in a real ComfyUI on CPU: COMFYUI_DIR = its folder, COMFYUI_PYTHON = its interpreter (default: this one).

The host runs on a base folder of its own (models, input, output, user) and is started once.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dbaf.generators import load_generator
from dbaf.images import read_picture, to_pil, write_png
from dbaf.keys import new_key_file
from dbaf.weights.bundle import bundle_folder

PACK = Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse battery staple"
FAILING = """
class Fails:
    INPUT_TYPES = classmethod(lambda s: {"required": {"key": ("DBAF_KEY",), "faces": ("DBAF_FACES",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "test", True
    def run(self, key, faces):
        raise RuntimeError(f"{key} {faces}")
NODE_CLASS_MAPPINGS = {"TestFails": Fails}
"""

pytestmark = pytest.mark.skipif(
    "COMFYUI_DIR" not in os.environ,
    reason="NOT RUN IN A REAL HOST: set COMFYUI_DIR to a ComfyUI folder (and COMFYUI_PYTHON to its python)",
)


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("comfyui")
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


def template(name: str) -> dict[str, Any]:
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


def pixels(path: Path) -> torch.Tensor:
    return read_picture(path).rgb


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
    names = ["album", "anonymize", "choose_faces", "compare", "mix_identities", "recover", "restyle", "video"]
    assert sorted(server.json("/workflow_templates")["comfyui-dbaf"]) == names
    for name in names:
        assert server.get(f"/api/workflow_templates/comfyui-dbaf/{name}.jpg")[:2] == b"\xff\xd8"
    translations = server.json("/i18n")
    assert sorted(translations) == ["de", "en", "es", "fr", "ja", "ko", "zh"]
    assert all(sorted(words["nodeDefs"]) == sorted(info) for words in translations.values())


def test_key_files_are_not_served(server: Server) -> None:
    for path in (
        "/userdata/..%2F__dbaf_keys%2Ffirst",
        "/userdata/first",
        "/view?filename=first&subfolder=../user/__dbaf_keys",
    ):
        with pytest.raises(urllib.error.HTTPError):
            server.get(path)


def test_templates_there_and_back(server: Server) -> None:
    graph = template("anonymize")
    (anonymized,) = server.saved(server.run(to_prompt(graph, image="person.png", key_name="first"), graph))
    original = pixels(server.base / "input" / "person.png")
    assert pixels(anonymized).shape == original.shape
    changed = (pixels(anonymized) != original).any(dim=1)  # [1, H, W]
    assert 0.005 < changed.float().mean() < 0.9
    shutil.copy(anonymized, server.base / "input" / "anonymized.png")
    graph = template("recover")
    (recovered,) = server.saved(server.run(to_prompt(graph, image="anonymized.png", key_name="first"), graph))
    (wrong,) = server.saved(server.run(to_prompt(graph, image="anonymized.png", key_name="second"), graph))
    assert not torch.equal(pixels(recovered), pixels(wrong))
    assert "first" in Image.open(anonymized).text["prompt"]  # the name is there, and only the name


def test_same_bytes_as_the_library(server: Server) -> None:
    from dbaf.keys import Key
    from dbaf.pipeline import Pipeline

    (host,) = server.saved(server.run(to_prompt(template("anonymize"), image="person.png", key_name="first")))
    key = Key.from_file(server.base / "user" / "__dbaf_keys" / "first")
    result = Pipeline.from_pretrained("mobile", device="cpu").anonymize(
        pixels(server.base / "input" / "person.png"), key
    )
    assert torch.equal(pixels(host), read_back(result.picture))


def read_back(picture: torch.Tensor) -> torch.Tensor:
    """A picture as it is after saving to 8 bits."""
    return ((picture + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


def test_sealed_pictures_come_back_exactly(server: Server) -> None:
    prompt = to_prompt(template("anonymize"), image="person.png", key_name="first")
    blend = next(node for node, entry in prompt.items() if entry["class_type"] == "DBAF_MAARBlend")
    save = next(node for node, entry in prompt.items() if entry["class_type"] == "SaveImage")
    sealed = {"model": ["2", 0], "original": ["3", 0], "image": [blend, 0], "key": ["4", 0], "second_key": ["41", 0]}
    stored = {"filename_prefix": "sealed", "with_workflow": False, "capsule_goes": "in the picture"}
    prompt |= {
        "40": {"class_type": "DBAF_Seal", "inputs": sealed},
        "41": {"class_type": "DBAF_Key", "inputs": {"key_name": "second"}},
        save: {"class_type": "DBAF_Save", "inputs": stored | {"image": [blend, 0], "capsule": ["40", 0]}},
    }
    (path,) = server.saved(server.run(prompt, template("anonymize")))
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


def test_environment_key_and_cache(server: Server) -> None:
    prompt = to_prompt(template("anonymize"), image="person.png", filename_prefix="cached")
    server.saved(server.run(prompt))
    messages = server.run(prompt)["status"]["messages"]
    cached = next(body["nodes"] for kind, body in messages if kind == "execution_cached")
    assert {"2", "4", "5", "7", "8", "9", "10"} <= set(cached)  # the key's fingerprint is stable


def test_batch_with_an_empty_picture(server: Server) -> None:
    prompt = to_prompt(template("anonymize"), image="person.png", key_name="first", filename_prefix="batch")
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
    (alone,) = server.saved(server.run(to_prompt(template("anonymize"), image="person.png", key_name="first")))
    assert torch.equal(pixels(first), pixels(alone))


def whole(image: str, **widgets: Any) -> dict[str, Any]:
    """A picture through DBAF Anonymize Image, in API format; the image comes out of node 4."""
    defaults = {"imprint": True, "refine_steps": 0, "without_face": "stop with an error", "min_face": 40}
    chosen = defaults | {"accept_suspects": False, "batch": "pictures", "looks": "keep"} | widgets
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


def test_one_node_gives_the_bytes_of_eight(server: Server) -> None:
    (whole_way,) = server.saved(server.run(whole("person.png")))
    (steps,) = server.saved(server.run(to_prompt(template("anonymize"), image="person.png", key_name="first")))
    assert torch.equal(pixels(whole_way), pixels(steps))


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


def test_an_album_of_any_sizes(server: Server) -> None:
    """A folder through the template: the bytes of the library, under the names of the originals."""
    from dbaf.album import Album
    from dbaf.keys import Key
    from dbaf.pipeline import Pipeline

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
    for made, name in zip(people, ("a10", "b"), strict=True):
        assert None not in album.held(name)
        expected = pipeline.anonymize(pixels(folder / f"{name}.png"), key, held=album.held(name))
        assert torch.equal(made, read_back(expected.picture))


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


def test_slips_show_before_anything_runs(server: Server) -> None:
    prompt = to_prompt(template("choose_faces"), image="person.png", key_name="first", numbers="one")
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.start(prompt)
    assert "'one' is no number of a face" in refused.value.read().decode()


def test_a_missing_key_is_told_though_a_preview_could_do_without(server: Server) -> None:
    prompt = to_prompt(template("anonymize"), image="person.png", key_name="gone")
    assert "There is no key of this name" in json.dumps(server.run(prompt)["status"])


def test_errors_show_no_secret(server: Server) -> None:
    prompt = to_prompt(template("anonymize"), image="person.png", key_name="damaged")
    assert "not a DBAF key" in json.dumps(server.run(prompt)["status"])
    prompt = to_prompt(template("anonymize"), image="person.png", key_name="first")
    prompt["30"] = {"class_type": "TestFails", "inputs": {"key": ["4", 0], "faces": ["5", 0]}}
    prompt["31"] = {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}}
    failed = json.dumps(server.run(prompt)["status"])
    assert "<Key, redacted>" in failed
    assert "<DBAF data of 1 picture(s)>" in failed


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
    steps = to_prompt(template("anonymize"), image="person.png", key_name="second", filename_prefix="never")
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
    prompts = {"steps": steps, "refining": refining, "clip": clip, "album": album, "large": large}
    seconds = {name: cancelled_after(server, prompt) for name, prompt in prompts.items()}
    assert max(seconds.values()) < 2, seconds
    assert not list((server.base / "output").glob("never*"))
    (after,) = server.saved(server.run(whole("person.png")))  # it left nothing behind
    (steps_again,) = server.saved(server.run(to_prompt(template("anonymize"), image="person.png", key_name="first")))
    assert torch.equal(pixels(after), pixels(steps_again))


def test_no_secret_anywhere(server: Server) -> None:
    """Last: everything that the runs above left behind, in the history, the log and every file."""
    assert len(server.answers) >= 10
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
