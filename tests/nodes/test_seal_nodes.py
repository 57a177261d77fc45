"""Seal, Save, Load, Unseal: there and back through files."""

import shutil
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from dbaf.batch import find_capsule, sidecar_of
from dbaf.errors import CapsuleError, PictureError
from dbaf.keys import Key

INSIDE, BESIDE = "in the picture", "in a file beside it"


def images(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Originals and outputs [B, 24, 40, 3] of 8-bit values; they differ in a rectangle."""
    generator = torch.Generator().manual_seed(0)
    original = torch.randint(0, 256, (count, 24, 40, 3), generator=generator) / 255
    output = original.clone()
    output[:, 5:15, 8:20] = torch.randint(0, 256, (count, 10, 12, 3), generator=generator) / 255
    return original, output


@pytest.fixture
def saved(nodes: dict[str, Any], pipeline: Any, host: Any) -> Any:
    """Seal two pictures under two keys and save them; how they are saved is up to the test."""

    def save(place: str = INSIDE, with_workflow: bool = False) -> SimpleNamespace:
        first, second = Key.generate(), Key.generate()
        original, output = images()
        (capsules,) = nodes["DBAF_Seal"].execute(pipeline, original, output, first, second).args
        nodes["DBAF_Save"].hidden = SimpleNamespace(prompt={"3": "LEAK"}, extra_pnginfo={"workflow": "LEAK"})
        ui = nodes["DBAF_Save"].execute(output, "safe", place, with_workflow, capsules).ui
        paths = [host.folder("output") / entry["filename"] for entry in ui["images"]]
        return SimpleNamespace(original=original, output=output, first=first, second=second, paths=paths)

    return save


@pytest.mark.parametrize("place", [INSIDE, BESIDE])
def test_there_and_back_is_exact(nodes: dict[str, Any], host: Any, saved: Any, place: str) -> None:
    made = saved(place)
    assert [sidecar_of(path).is_file() for path in made.paths] == [place == BESIDE] * 2
    for file in host.folder("output").iterdir():
        shutil.copy(file, host.folder("input"))
    for index, path in enumerate(made.paths):
        image, capsule = nodes["DBAF_Load"].execute(path.name).args
        assert torch.equal((image * 255).round(), (made.output[index : index + 1] * 255).round())
        for key in (made.first, made.second):
            (back,) = nodes["DBAF_Unseal"].execute(image, capsule, key).args
            assert torch.equal((back * 255).round(), (made.original[index : index + 1] * 255).round())


def test_wrong_key_and_changed_picture_are_errors(nodes: dict[str, Any], host: Any, saved: Any) -> None:
    made = saved()
    shutil.copy(made.paths[0], host.folder("input") / "a.png")
    image, capsule = nodes["DBAF_Load"].execute("a.png").args
    with pytest.raises(CapsuleError, match="does not open"):
        nodes["DBAF_Unseal"].execute(image, capsule, Key.generate())
    with pytest.raises(CapsuleError, match="changed since"):
        nodes["DBAF_Unseal"].execute(1 - image, capsule, made.first)


def test_workflow_is_stored_only_on_request(saved: Any) -> None:
    assert b"LEAK" not in b"".join(path.read_bytes() for path in saved().paths)
    path = saved(with_workflow=True).paths[0]
    with Image.open(path) as image:
        assert image.info["prompt"] == '{"3": "LEAK"}'
        assert image.info["workflow"] == '"LEAK"'
    assert find_capsule(path) is not None


def test_pictures_without_capsule(nodes: dict[str, Any], host: Any) -> None:
    nodes["DBAF_Save"].execute(images(1)[0], "plain", INSIDE, False)
    shutil.copy(host.folder("output") / "plain_00001_.png", host.folder("input") / "plain.png")
    image, capsule = nodes["DBAF_Load"].execute("plain.png").args
    assert capsule == [None]
    with pytest.raises(CapsuleError, match="carries no capsule"):
        nodes["DBAF_Unseal"].execute(image, capsule, Key.generate())


def test_nothing_changed_is_nothing_to_seal(nodes: dict[str, Any], pipeline: Any) -> None:
    original, _ = images()
    (capsules,) = nodes["DBAF_Seal"].execute(pipeline, original, original, Key.generate()).args
    assert capsules == [None, None]


def test_mixed_up_inputs_are_named(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    original, output = images()
    with pytest.raises(CapsuleError, match="'original' is 40 x 24, 'image' 30 x 24"):
        nodes["DBAF_Seal"].execute(pipeline, original, output[:, :, :30], Key.generate())
    with pytest.raises(PictureError, match="'original' is of 1, 'image' is of 2"):
        nodes["DBAF_Seal"].execute(pipeline, original[:1], output, Key.generate())
    with pytest.raises(PictureError, match=r"no file 'gone\.png'"):
        nodes["DBAF_Load"].execute("gone.png")


def test_alpha_is_saved_where_nothing_is_sealed(nodes: dict[str, Any], host: Any) -> None:
    image = torch.cat([images(1)[0], torch.full((1, 24, 40, 1), 0.2)], -1)
    nodes["DBAF_Save"].execute(image, "alpha", INSIDE, False)
    with Image.open(host.folder("output") / "alpha_00001_.png") as picture:
        assert picture.mode == "RGBA"
        assert picture.getchannel("A").getextrema() == (51, 51)


def test_folders_are_loaded_as_lists(nodes: dict[str, Any], host: Any) -> None:
    node, album = nodes["DBAF_LoadFolder"], host.folder("input") / "album"
    assert node.define_schema().inputs[0].options == ["."]
    for name, width in (("img10.png", 40), ("img2.jpg", 24), ("sub/deep.png", 8)):
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, 16)).save(album / name)
    (album / "notes.txt").write_text("no picture")
    assert node.define_schema().inputs[0].options == [".", "album", "album/sub"]
    before = node.fingerprint_inputs("album")
    pictures, names = node.execute("album").args
    assert [tuple(one.shape) for one in pictures] == [(1, 16, 24, 3), (1, 16, 40, 3)]
    assert names == ["album/img2", "album/img10"]
    Image.new("RGB", (8, 8)).save(album / "img3.png")
    assert node.fingerprint_inputs("album") != before
    for name in ("gone", "../output", "."):
        with pytest.raises(PictureError, match="There is no picture in"):
            node.execute(name)


def test_a_changed_file_is_loaded_anew(nodes: dict[str, Any], host: Any) -> None:
    path = host.folder("input") / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    first = nodes["DBAF_Load"].fingerprint_inputs("a.png")
    assert nodes["DBAF_Load"].fingerprint_inputs("a.png") == first
    sidecar_of(path).write_bytes(b"x")
    assert nodes["DBAF_Load"].fingerprint_inputs("a.png") != first
