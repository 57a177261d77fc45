"""Pictures that belong together, through DBAF Anonymize Image."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dbaf.album import Album
from dbaf.errors import NoFaceError, PictureError
from dbaf.faces import Selection
from dbaf.keys import Key
from dbaf.pipeline import Pipeline

KEY = Key(bytes(range(32)))
STOP, KEEP = "stop with an error", "keep the picture as it is"
steps: list[Any] = []
"""What was done with pictures, in order: ("look", number, selection) and ("hold", what was held)."""


class FakeAlbum:
    def __init__(self, pipeline: Any, min_face: int) -> None:
        assert min_face == 40
        self.pipeline = pipeline

    def look(
        self, source: int, picture: torch.Tensor, faces: Selection | None, progress: Callable[[int, int], None]
    ) -> None:
        count = len(self.pipeline.detect(picture))
        if count > 3:
            raise PictureError("A crowd.")
        progress(0, 1)
        for face in range(count):
            progress(face + 1, count)
        steps.append(("look", source, faces))

    def held(self, source: int) -> str:
        return f"people of {source}"


@pytest.fixture
def stand_in(nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """No networks."""
    together = nodes["DBAF_AnonymizeImage"].execute.__globals__["each_placed"]
    monkeypatch.setitem(together.__globals__, "Album", FakeAlbum)
    steps.clear()


def image_of(*pictures: torch.Tensor) -> torch.Tensor:
    """[1, 3, H, W] in [-1, 1] each -> IMAGE of 8-bit values."""
    return ((torch.cat(pictures) + 1) * 127.5).round().movedim(1, -1) / 255


def faces_in(*counts: int) -> torch.Tensor:
    """An IMAGE in which the fake pipeline finds so many faces."""
    image = torch.full((len(counts), 32, 48, 3), 0.5)
    image[:, 0, 0, 0] = torch.tensor(counts) / 255
    return image


def anonymize(nodes: dict[str, Any], pipeline: Any, image: torch.Tensor, batch: str, **chosen: Any) -> tuple[Any, ...]:
    """The outputs for one IMAGE."""
    lists = {name: [value] for name, value in chosen.items()}
    *pictures, report = anonymize_list(nodes, pipeline, [image], batch, **lists)
    return *(one for (one,) in pictures), report


def anonymize_list(
    nodes: dict[str, Any], pipeline: Any, images: list[torch.Tensor], *batch: str, **lists: list[Any]
) -> tuple[Any, ...]:
    widgets = {"imprint": True, "refine_steps": 0, "without_face": STOP, "min_face": 40, "accept_suspects": False}
    widgets |= {"looks": "keep", "linkage": "linked", "variation": 0, "model": pipeline, "key": KEY}
    inputs = {name: [value] for name, value in widgets.items()} | {"image": images, "batch": list(batch)} | lists
    return nodes["DBAF_AnonymizeImage"].execute(**inputs).args


@pytest.mark.usefixtures("stand_in")
def test_all_are_looked_at_before_the_first_is_rendered(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    selections = [Selection([], []), *(Selection(pipeline.detect(one), [True]) for one in picture_tensors(1, 1))]
    image = faces_in(0, 1, 1)
    rendered_after: list[int] = []
    render = pipeline.render
    pipeline.render = lambda *rest: (rendered_after.append(len(steps)), render(*rest))[1]
    out, *_, report = anonymize(nodes, pipeline, image, "album", faces=selections, linkage="unlinked")
    assert steps == [("look", number, selection) for number, selection in enumerate(selections)]
    assert rendered_after == [3, 3]
    assert pipeline.held == [f"people of {number}" for number in range(3)]
    assert pipeline.nonces == [None] * 3  # an album is linked
    assert torch.equal(out[0], image[0])  # who is spared, and nobody
    assert len(report.splitlines()) == 3
    assert host.progress == [6000, 6000]


def picture_tensors(*counts: int) -> list[torch.Tensor]:
    return [one[None].movedim(-1, 1) * 2 - 1 for one in faces_in(*counts)]


@pytest.mark.usefixtures("stand_in")
def test_without_an_album_nothing_is_held(nodes: dict[str, Any], pipeline: Any) -> None:
    anonymize(nodes, pipeline, faces_in(1, 2), "pictures")
    assert pipeline.held == [None, None]
    assert steps == []


@pytest.mark.usefixtures("stand_in")
def test_errors_name_the_picture_in_both_rounds(nodes: dict[str, Any], pipeline: Any) -> None:
    with pytest.raises(PictureError, match=r"^Picture 2 of 3: A crowd\.$"):
        anonymize(nodes, pipeline, faces_in(1, 4, 1), "album")
    assert pipeline.held == []
    with pytest.raises(NoFaceError, match=r"^No face was found in picture 3 of 3"):
        anonymize(nodes, pipeline, faces_in(1, 2, 0), "album")
    assert len(anonymize(nodes, pipeline, faces_in(1, 2, 0), "album", without_face=KEEP)[0]) == 3
    pipeline.suspected = pipeline.detect(picture_tensors(1)[0])
    with pytest.raises(PictureError, match=r"^Picture 1 of 2: 1 place\(s\) may show a face"):
        anonymize(nodes, pipeline, faces_in(1, 1), "album")


@pytest.mark.usefixtures("stand_in")
def test_a_run_is_cancelled_in_the_first_round_too(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    host.cancel_after = 1500
    with pytest.raises(Exception, match=r"^$") as stopped:
        anonymize(nodes, pipeline, faces_in(1, 2, 1), "album")
    assert type(stopped.value).__name__ == "CancelledError"
    assert host.progress == [1500, 6000]  # after the first of two faces of the second picture
    assert steps == [("look", 0, None)]
    assert pipeline.held == []


@pytest.mark.usefixtures("stand_in")
def test_a_list_is_one_album(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    """Pictures of two sizes, one of them a batch: counted through, each with its own size in what comes out."""
    images = [faces_in(1), faces_in(2, 0).transpose(1, 2), faces_in(1)]
    *pictures, report = anonymize_list(nodes, pipeline, images, "album", without_face=[KEEP])
    assert steps == [("look", number, None) for number in range(4)]
    assert pipeline.held == [f"people of {number}" for number in range(4)]
    assert host.progress == [8000, 8000]
    out, mask, face_masks, preview = pictures
    assert [one.shape for one in out] == [one.shape for one in images]
    assert [one.shape for one in preview] == [one.shape for one in images]
    assert [one.shape for one in mask] == [one.shape[:3] for one in images]
    assert [len(one) for one in face_masks] == [1, 2, 1]
    assert [line.split(" face(s)")[0] for line in report.splitlines()] == [
        f"Picture {number}: {count}" for number, count in enumerate([1, 2, 0, 1], 1)
    ]


@pytest.mark.usefixtures("stand_in")
def test_errors_and_cancelling_count_the_whole_list(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    with pytest.raises(PictureError, match=r"^Picture 3 of 4: A crowd\.$"):
        anonymize_list(nodes, pipeline, [faces_in(1), faces_in(1, 4), faces_in(1)], "album")
    for batch in ("pictures", "album"):
        with pytest.raises(NoFaceError, match=r"^No face was found in picture 4 of 4"):
            anonymize_list(nodes, pipeline, [faces_in(1), faces_in(1, 2), faces_in(0)], batch)
    host.cancel_after = 2500
    with pytest.raises(Exception, match=r"^$") as stopped:
        anonymize_list(nodes, pipeline, [faces_in(1), faces_in(2), faces_in(2)], "pictures")
    assert type(stopped.value).__name__ == "CancelledError"
    assert host.progress == [2500, 3000]


@pytest.mark.usefixtures("stand_in")
def test_each_entry_of_a_list_has_its_own_inputs(nodes: dict[str, Any], pipeline: Any) -> None:
    """As in nodes that ComfyUI calls for each entry: where a list is shorter, its last entry counts on."""
    images = [faces_in(0), faces_in(1), faces_in(2)]
    found = [pipeline.detect(one) for one in picture_tensors(0, 1, 2)]
    faces = [[Selection(some, [True, False][: len(some)])] for some in found]
    out, *_, report = anonymize_list(
        nodes, pipeline, images, "pictures", "album", faces=faces, imprint=[True, True, False]
    )
    assert torch.equal(out[0], images[0])
    assert pipeline.held == [None, "people of 1", "people of 2"]
    assert report.splitlines() == [
        "Picture 1: 0 face(s) replaced.",
        "Picture 2: 1 face(s) replaced. 1 without an imprint.",
        "Picture 3: 1 face(s) replaced, 1 spared.",
    ]
    with pytest.raises(NoFaceError, match=r"^No face was found in picture 1 of 3"):
        anonymize_list(nodes, pipeline, images, "pictures", without_face=[STOP, KEEP])


def test_an_album_is_that_of_the_library(
    nodes: dict[str, Any], mobile: Pipeline, photos: dict[str, torch.Tensor]
) -> None:
    image, album = image_of(photos["one"], photos["again"]), Album(mobile)
    pictures = [picture.movedim(-1, 0)[None] * 2 - 1 for picture in image]
    for number, picture in enumerate(pictures):
        album.look(number, picture)
    together, alone = (anonymize(nodes, mobile, image, batch)[0] for batch in ("album", "pictures"))
    for number, picture in enumerate(pictures):
        wanted = mobile.anonymize(picture, KEY, held=album.held(number)).picture
        torch.testing.assert_close(together[number].movedim(-1, 0)[None] * 2 - 1, wanted, atol=0.01, rtol=0)
    assert not torch.equal(together, alone)


def test_spared_faces_take_no_part(nodes: dict[str, Any], mobile: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    """The same person, spared in one of the pictures: the other one is as in an album without that one."""
    image = image_of(photos["one"], photos["again"])
    faces = [Selection(mobile.detect(photos[name]), [name == "again"]) for name in ("one", "again")]
    together = anonymize(nodes, mobile, image, "album", faces=faces)[0]
    (alone,) = anonymize(nodes, mobile, image[1:], "album", faces=faces[1:])[0]
    assert torch.equal(together[0], image[0])
    assert torch.equal(together[1], alone)
    assert not torch.equal(together[1], image[1])
