"""Choosing and sparing faces, the nodes that do everything in one, and mixing identities."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from dbaf.errors import NoFaceError, PictureError
from dbaf.faces.proportions import as_rendered
from dbaf.keys import Key
from dbaf.stages import Identity, Result

STOP, KEEP = "stop with an error", "keep the picture as it is"


def make_image(faces: list[int], channels: int = 3) -> torch.Tensor:
    """An IMAGE batch [B, 96, 128, C]; picture i has faces[i] faces, 30 px apart on a diagonal, to the fake pipeline."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (len(faces), 96, 128, channels), generator=generator) / 255
    image[:, 0, 0, 0] = torch.tensor(faces) / 255
    return image


def detect(nodes: dict[str, Any], pipeline: Any, image: torch.Tensor, **chosen: Any) -> tuple[Any, torch.Tensor]:
    widgets = {"without_face": STOP, "min_face": 40, "choose": "all", "numbers": "1", "count": 1, "spare_chosen": False}
    widgets["batch"] = "pictures"
    return nodes["DBAF_DetectFaces"].execute(pipeline, image, **(widgets | chosen)).args


def anonymize(nodes: dict[str, Any], pipeline: Any, image: torch.Tensor, **chosen: Any) -> tuple[Any, ...]:
    widgets = {"imprint": True, "refine_steps": 0, "without_face": STOP, "min_face": 40, "accept_suspects": False}
    widgets |= {"batch": "pictures", "looks": "keep", "linkage": "linked", "variation": 0}
    widgets |= {"model": pipeline, "image": image, "key": Key.generate()}
    # it takes whole lists, and gives them
    made = nodes["DBAF_AnonymizeImage"].execute(**{name: [value] for name, value in (widgets | chosen).items()})
    *pictures, report = made.args
    return *(one for (one,) in pictures), report


def taken(faces: Any) -> list[list[bool]]:
    return [selection.taken for selection in faces]


def test_ways_to_choose(nodes: dict[str, Any], pipeline: Any) -> None:
    image = make_image([3, 2])
    assert taken(detect(nodes, pipeline, image)[0]) == [[True] * 3, [True] * 2]
    by_number = {"choose": "by number", "numbers": "2"}
    assert taken(detect(nodes, pipeline, image, **by_number)[0]) == [[False, True, False], [False, True]]
    assert taken(detect(nodes, pipeline, image, **by_number, spare_chosen=True)[0]) == [
        [True, False, True],
        [True, False],
    ]
    right = {"choose": "rightmost", "count": 2}
    assert taken(detect(nodes, pipeline, image, **right)[0]) == [[False, True, True], [True, True]]


def test_numbers_that_are_not_there(nodes: dict[str, Any], pipeline: Any) -> None:
    with pytest.raises(PictureError, match="In picture 2 of 2: There is no face 3"):
        detect(nodes, pipeline, make_image([3, 2]), choose="by number", numbers="3")
    node = nodes["DBAF_DetectFaces"]
    assert node.validate_inputs("by number", "1-3") is True
    assert node.validate_inputs("all", "nonsense") is True  # it is not used
    assert "'x' is no number of a face" in node.validate_inputs("by number", "x")
    assert "it can be: all" in node.validate_inputs("somehow", "1")


@pytest.fixture
def film(monkeypatch: pytest.MonkeyPatch, nodes: dict[str, Any]) -> list[list[int]]:
    """Who is in each frame, left to right: `follow_clip` finds that."""
    people = [[1, 2], [2, 1], [], [2, 3], [3]]

    def follow(model: Any, frames: Any, step: Any, min_face: int) -> Iterator[list[tuple[Any, int]]]:
        for number, (picture, frame) in enumerate(zip(frames, people, strict=True)):
            step(number + 1)
            yield list(zip(model.detect(picture), frame, strict=True))

    monkeypatch.setattr(sys.modules[nodes["DBAF_DetectFaces"].__module__], "follow_clip", follow)
    return people


def test_in_a_clip_people_are_chosen_once(nodes: dict[str, Any], pipeline: Any, film: list[list[int]]) -> None:
    image = make_image([len(frame) for frame in film])
    clip = {"batch": "clip", "without_face": KEEP}
    faces, preview = detect(nodes, pipeline, image, choose="by number", numbers="1, 3", **clip)
    assert taken(faces) == [[True, False], [False, True], [], [False, True], [True]]
    assert [selection.numbers for selection in faces] == film
    assert preview.shape == image.shape
    leftmost, _ = detect(nodes, pipeline, image, choose="leftmost", **clip)  # 3 comes to the right of 2
    assert taken(leftmost) == [[True, False], [False, True], [], [False, False], [False]]
    spared, _ = detect(nodes, pipeline, image, choose="leftmost", spare_chosen=True, **clip)
    assert taken(spared) == [[False, True], [True, False], [], [True, True], [True]]
    with pytest.raises(PictureError, match="There is no person 4: 3 came into sight"):
        detect(nodes, pipeline, image, choose="by number", numbers="1, 4", **clip)


@pytest.mark.parametrize("shape", [(96, 128), (1, 96, 128), (2, 48, 64)])
def test_choosing_with_a_mask(nodes: dict[str, Any], pipeline: Any, shape: tuple[int, ...]) -> None:
    mask = torch.zeros(shape)
    mask[..., : shape[-2] // 4, : shape[-1] // 4] = 1  # the corner where the first face is
    faces, _ = detect(nodes, pipeline, make_image([2, 1]), choose="in the mask", mask=mask)
    assert taken(faces) == [[True, False], [True]]


def test_masks_that_do_not_fit(nodes: dict[str, Any], pipeline: Any) -> None:
    with pytest.raises(PictureError, match="nothing is connected to 'mask'"):
        detect(nodes, pipeline, make_image([2]), choose="in the mask")
    with pytest.raises(PictureError, match=r"3 masks for 2 picture\(s\)"):
        detect(nodes, pipeline, make_image([2, 1]), choose="in the mask", mask=torch.ones(3, 96, 128))
    with pytest.raises(NoFaceError, match=r"2 face\(s\) in picture 1 of 1, and none of them is to be replaced"):
        detect(nodes, pipeline, make_image([2]), choose="in the mask", mask=torch.zeros(1, 64, 64))


def test_spared_faces_reach_the_blend(nodes: dict[str, Any], pipeline: Any) -> None:
    image = make_image([3])
    faces, _ = detect(nodes, pipeline, image, choose="by number", numbers="1-2", spare_chosen=True)
    (latent,) = nodes["DBAF_Encode"].execute(pipeline, image, faces, 0).args
    identity, attributes = nodes["DBAF_Disentangle"].execute(pipeline, latent).args
    _, _, face_masks = nodes["DBAF_MAARBlend"].execute(pipeline, image, faces, identity, attributes).args
    assert len(face_masks) == 1
    assert pipeline.spared == faces[0].spared
    assert len(pipeline.spared) == 2


def test_nobody_to_replace_leaves_the_picture(nodes: dict[str, Any], pipeline: Any) -> None:
    image = make_image([2, 0])
    faces, _ = detect(nodes, pipeline, image, without_face=KEEP, spare_chosen=True)
    out, mask, face_masks, _, report = anonymize(nodes, pipeline, image, faces=faces)
    assert torch.equal(out, image)
    assert not mask.any()
    assert face_masks.shape == (1, 96, 128)  # an empty batch would break the next node
    assert report.splitlines() == ["Picture 1: 0 face(s) replaced, 2 spared.", "Picture 2: 0 face(s) replaced."]


@pytest.mark.parametrize("channels", [3, 4])
def test_anonymize_image(nodes: dict[str, Any], pipeline: Any, channels: int) -> None:
    image = make_image([1, 0, 2], channels)
    with pytest.raises(NoFaceError, match="No face was found in picture 2 of 3"):
        anonymize(nodes, pipeline, image)
    out, mask, face_masks, preview, report = anonymize(nodes, pipeline, image, without_face=KEEP)
    assert out.shape == image.shape
    assert mask.shape == image.shape[:3]
    assert face_masks.shape == (3, *image.shape[1:3])
    assert preview.shape == (*image.shape[:3], 3)
    assert torch.equal(out[mask == 0], image[mask == 0])
    assert torch.equal(out[..., 3:], image[..., 3:])
    assert not torch.equal(out[2], image[2])
    assert len(report.splitlines()) == 3
    assert "2 face(s) replaced. 2 without an imprint." in report


def test_suspects_stop_unless_accepted(nodes: dict[str, Any], pipeline: Any) -> None:
    image = make_image([1, 1])
    pipeline.suspected = pipeline.detect(image[:1].movedim(-1, 1) * 2 - 1)
    with pytest.raises(PictureError, match=r"Picture 1 of 2: 1 place\(s\) may show a face that was not replaced, at"):
        anonymize(nodes, pipeline, image)
    *_, preview, report = anonymize(nodes, pipeline, image, accept_suspects=True)
    assert report.count("may show a face") == 2
    assert (preview == torch.tensor([1.0, 0, 0])).all(-1).any()


def test_pictures_that_stay_are_looked_at_too(nodes: dict[str, Any], pipeline: Any) -> None:
    image = make_image([2])
    pipeline.suspected = pipeline.detect(image.movedim(-1, 1) * 2 - 1)
    spared, _ = detect(nodes, pipeline, image, without_face=KEEP, spare_chosen=True)
    assert torch.equal(anonymize(nodes, pipeline, image, faces=spared)[0], image)  # who is spared was not missed
    nobody = make_image([0])
    with pytest.raises(PictureError, match=r"2 place\(s\) may show a face"):
        anonymize(nodes, pipeline, nobody, without_face=KEEP)
    with pytest.raises(NoFaceError):
        anonymize(nodes, pipeline, nobody)
    assert torch.equal(anonymize(nodes, pipeline, nobody, without_face=KEEP, accept_suspects=True)[0], nobody)


def test_recover_and_reconstruct_image(nodes: dict[str, Any], pipeline: Any) -> None:
    image = make_image([2, 0], 4)
    made = nodes["DBAF_RecoverImage"].execute(pipeline, image, Key.generate(), 0, KEEP, 40, "pictures", "keep").args
    assert made[3].splitlines() == [
        "Picture 1: 2 of 2 face(s) from their imprints.",
        "Picture 2: nobody to bring back, left as it is.",
    ]
    assert torch.equal(made[0][1], image[1])
    again = nodes["DBAF_Reconstruct"].execute(pipeline, image, 0, KEEP, 40).args
    assert [codes.unique().tolist() for codes in pipeline.rendered] == [[-1], [0]]
    for outputs in (made, again):
        assert [output.shape for output in outputs[:3]] == [image.shape, image.shape[:3], (2, *image.shape[1:3])]


def empty_result(picture: torch.Tensor) -> Result:
    nothing = torch.zeros_like(picture[:, :1])
    owner = torch.full(picture.shape[-2:], -1)
    return Result(picture, nothing, owner, [], [], torch.zeros(0, 23, 512), [])


def test_clips(nodes: dict[str, Any], pipeline: Any, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames go through `dbaf.clip`, one by one and in their order; it has tests of its own."""
    calls: list[Any] = []

    def follow(
        model: Any, frames: Any, key: Key, nonce: None, steps: int, progress: Any, *rest: Any
    ) -> Iterator[Result]:
        calls.append(rest)
        for number, frame in enumerate(frames):
            progress(number + 0.5)
            try:
                yield model.anonymize(frame, key, nonce, steps, lambda *_: None, True, 40, None, True)
            except NoFaceError:
                yield empty_result(frame)
            progress(number + 1)

    monkeypatch.setitem(nodes["DBAF_AnonymizeImage"].execute.__globals__, "anonymize_clip", follow)
    monkeypatch.setitem(nodes["DBAF_RecoverImage"].execute.__globals__, "recover_clip", follow)
    image = make_image([1, 0, 2])
    out, _, face_masks, preview, report = anonymize(nodes, pipeline, image, without_face=KEEP, batch="clip")
    alone = anonymize(nodes, pipeline, image, without_face=KEEP)
    assert torch.equal(out, alone[0])
    assert [len(face_masks), len(preview), len(report.splitlines())] == [3, 3, 3]
    assert torch.equal(out[1], image[1])
    assert host.progress == [3000, 3000]
    assert calls == [(True, 40, None, True)]
    with pytest.raises(NoFaceError, match="No face was found in picture 2 of 3"):
        anonymize(nodes, pipeline, image, batch="clip")
    pipeline.suspected = pipeline.detect(image[:1].movedim(-1, 1) * 2 - 1)
    with pytest.raises(PictureError, match="Picture 1 of 3: 1 place"):
        anonymize(nodes, pipeline, image, without_face=KEEP, batch="clip")
    back = nodes["DBAF_RecoverImage"].execute(pipeline, image, Key.generate(), 0, KEEP, 40, "clip", "free").args
    assert calls[-1] == (40, None, False)
    assert back[3].splitlines()[1] == "Picture 2: nobody to bring back, left as it is."


def test_faces_of_another_batch_are_named(nodes: dict[str, Any], pipeline: Any) -> None:
    faces, _ = detect(nodes, pipeline, make_image([1]))
    with pytest.raises(PictureError, match="'image' is of 2, 'faces' is of 1"):
        anonymize(nodes, pipeline, make_image([1, 1]), faces=faces)


def test_progress_within_pictures_and_cancel(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    anonymize(nodes, pipeline, make_image([2, 1]))
    assert host.progress == [2000, 2000]
    host.cancel_after = 1500
    with pytest.raises(Exception, match=r"^$") as stopped:
        anonymize(nodes, pipeline, make_image([2, 2]))
    assert type(stopped.value).__name__ == "CancelledError"
    assert host.progress[0] == 1500  # after the first of two faces of the second picture


def codes(count: int, value: float) -> Identity:
    code = torch.full((count, 2, 512), float(value))
    return Identity(code, code, [[]] * count, [False] * count, as_rendered(count))


def test_mix_identities(nodes: dict[str, Any]) -> None:
    mix = nodes["DBAF_MixIdentities"].execute
    (mixed,) = mix([codes(2, 0), None, codes(1, 0)], [codes(1, 1)], 0.5).args
    assert mixed[1] is None
    assert [(one.code == 0.5).all().item() for one in (mixed[0], mixed[2])] == [True, True]
    with pytest.raises(PictureError, match=r"'identity' is of 3 picture\(s\), 'other_identity' of 2"):
        mix([codes(1, 0)] * 3, [codes(1, 1)] * 2, 0.5)
    with pytest.raises(PictureError, match="nobody to mix with"):
        mix([codes(1, 0)], [None], 0.5)


def test_networks_are_brought_to_their_device(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    pipeline.encoder = nn.Linear(1, 1)
    for _ in range(2):
        detect(nodes, pipeline, make_image([1]))
    first, second = host.loaded
    assert first is second  # ComfyUI knows the model again
    assert list(first.model) == [pipeline.encoder]
    assert first.load_device == pipeline.device
