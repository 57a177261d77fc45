"""The widgets `linkage` and `variation` of DBAF Anonymize Image."""

from typing import Any

import pytest
import torch

from dbaf.images import to_pil
from dbaf.keys import DRAWS, Key
from dbaf.pipeline import Pipeline

KEY = Key(bytes(range(32)))
STOP = "stop with an error"


def anonymize(nodes: dict[str, Any], pipeline: Any, image: torch.Tensor, **chosen: Any) -> tuple[torch.Tensor, str]:
    """The new IMAGE, and the report; widgets are as they are on a new node."""
    sockets = nodes["DBAF_AnonymizeImage"].define_schema().inputs
    widgets = {socket.id: socket.default for socket in sockets if socket.default is not None}
    widgets |= {"accept_suspects": True, "model": pipeline, "image": image, "key": KEY}
    made = nodes["DBAF_AnonymizeImage"].execute(**{name: [value] for name, value in (widgets | chosen).items()}).args
    return made[0][0], made[4]


@pytest.fixture
def image(photos: dict[str, torch.Tensor]) -> torch.Tensor:
    """IMAGE of one picture, of 8-bit values."""
    return ((photos["one"] + 1) * 127.5).round().movedim(1, -1) / 255


def faces_in(*counts: int) -> torch.Tensor:
    """An IMAGE in which the fake pipeline finds so many faces."""
    image = torch.full((len(counts), 32, 48, 3), 0.5)
    image[:, 0, 0, 0] = torch.tensor(counts) / 255
    return image


def test_every_picture_chooses_among_nonces_of_its_own(nodes: dict[str, Any], pipeline: Any) -> None:
    def nonces(*counts: int, **chosen: Any) -> list[Any]:
        pipeline.nonces.clear()
        anonymize(nodes, pipeline, faces_in(*counts), **chosen)
        return list(pipeline.nonces)

    first, second = nonces(1, 2)
    assert len({*first, *second}) == 2 * DRAWS
    assert nonces(1) == [first]  # whatever comes with it, and whenever
    assert not {*first, *second} & {*nonces(1, variation=1)[0]}
    assert nonces(1, key=Key.generate()) != [first]
    assert nonces(1, linkage="linked") == [None]


def test_nonces_are_those_of_the_samples_that_are_used(nodes: dict[str, Any], pipeline: Any) -> None:
    """Neither alpha nor what 8 bits do not show makes a picture another one."""
    image = faces_in(1)
    seen = torch.full_like(image[..., :1], 0.3)
    for one in (image, torch.cat([image, seen], -1), torch.cat([image, 2 * seen], -1), image + 1e-4):
        anonymize(nodes, pipeline, one)
    assert pipeline.nonces == [pipeline.nonces[0]] * 4


def test_each_entry_of_a_list_has_its_own_linkage(nodes: dict[str, Any], pipeline: Any) -> None:
    image = faces_in(1)
    lists = {"image": [image] * 3, "linkage": ["unlinked", "linked", "unlinked"], "variation": [0, 0, 5]}
    sockets = nodes["DBAF_AnonymizeImage"].define_schema().inputs
    widgets = {socket.id: [socket.default] for socket in sockets if socket.default is not None}
    nodes["DBAF_AnonymizeImage"].execute(**widgets | {"model": [pipeline], "key": [KEY]} | lists)
    content = to_pil(image.movedim(-1, 1) * 2 - 1).tobytes()
    assert pipeline.nonces == [KEY.nonces_of(content), None, KEY.nonces_of(content, 5)]


def test_frames_of_a_clip_are_linked(nodes: dict[str, Any], pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def follow(model: Any, frames: Any, key: Key, nonce: bytes | None, *rest: Any) -> Any:
        taken.append(nonce)
        return (model.anonymize(frame, key, nonce, 0, lambda *_: None, True, 40, None, True) for frame in frames)

    monkeypatch.setitem(nodes["DBAF_AnonymizeImage"].execute.__globals__, "anonymize_clip", follow)
    _, report = anonymize(nodes, pipeline, faces_in(1, 1), batch="clip")
    assert taken == [None]
    assert "seal" not in report


def test_the_report_says_who_does_not_come_back(nodes: dict[str, Any], pipeline: Any) -> None:
    line, lost = "Picture 1: 2 face(s) replaced.", "without an imprint: only a seal brings them back."
    image = faces_in(2)
    assert anonymize(nodes, pipeline, image)[1] == f"{line} 2 {lost}"
    assert anonymize(nodes, pipeline, image, imprint=False)[1] == f"{line} 2 {lost}"
    assert anonymize(nodes, pipeline, image, linkage="linked")[1] == f"{line} 2 without an imprint."
    assert anonymize(nodes, pipeline, image, imprint=False, linkage="linked")[1] == line
    pipeline.imprinted = [True, False]
    assert anonymize(nodes, pipeline, image)[1] == f"{line} 1 {lost}"
    pipeline.imprinted = [True, True]
    assert anonymize(nodes, pipeline, image)[1] == line


def test_as_the_library_does_it(nodes: dict[str, Any], mobile: Pipeline, image: torch.Tensor) -> None:
    """The same again, another face with another number, and back from the imprint whatever the number was."""
    picture = image.movedim(-1, 1) * 255 / 127.5 - 1
    made, report = anonymize(nodes, mobile, image)
    library = mobile.anonymize(picture, KEY, KEY.nonces_of(to_pil(picture).tobytes()))
    torch.testing.assert_close(made, (library.picture.movedim(1, -1) + 1) / 2, atol=1 / 255, rtol=0)
    assert "seal" not in report
    other, _ = anonymize(nodes, mobile, image, variation=7)
    replaced = library.mask[0, 0] == 1
    assert (made - other)[0, replaced].abs().mean() > 0.01
    for one in (made, other):
        *_, told = nodes["DBAF_RecoverImage"].execute(mobile, one, KEY, 0, STOP, 40, "pictures", "keep").args
        assert told == "Picture 1: 1 of 1 face(s) from their imprints."
