"""`anonymize --clip`, with a stand-in for the networks; what becomes of frames is tested in `test_clip.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import dbaf_
from fakes import FakePipeline, FakeResult, portrait
from PIL import Image
from typer.testing import Result

import dbaf.clip
from dbaf.errors import NoFaceError
from dbaf.faces import Face
from dbaf.images import read_picture, to_pil
from dbaf.keys import Key


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A stand-in that looks two frames ahead; the top left pixel (red) of each frame that it took."""
    taken: list[int] = []

    def follow(
        model: FakePipeline, frames: Iterator[torch.Tensor], key: Key, nonce: bytes | None, *_: Any, **__: Any
    ) -> Iterator[FakeResult]:
        hand: list[torch.Tensor] = []
        for frame in frames:
            taken.append(round((float(frame[0, 0, 0, 0]) + 1) * 127.5))
            hand.append(frame)
            if len(hand) > 2:
                yield made(model, hand.pop(0), key, nonce)
        while hand:
            yield made(model, hand.pop(0), key, nonce)

    monkeypatch.setattr(dbaf.clip, "anonymize_clip", follow)
    return taken


def made(model: FakePipeline, frame: torch.Tensor, key: Key, nonce: bytes | None) -> FakeResult:
    """As for a picture by itself; the frame number 7 has a suspect."""
    try:
        result = model.anonymize(frame, key, nonce)
    except NoFaceError:
        return FakeResult(frame, [])
    if round((float(frame[0, 0, 0, 0]) + 1) * 127.5) == 7:
        result.suspects = [Face.from_mesh(torch.rand(468, 3), 0.4)]
    return result


def film(folder: Path, numbers: list[int]) -> Path:
    for number in numbers:
        picture = read_picture(portrait(folder / f"f{number}.png")).rgb
        picture[0, 0, 0, 0] = number / 127.5 - 1
        to_pil(picture).save(folder / f"f{number}.png")
    return folder


def clip(*arguments: object) -> Result:
    return dbaf_("anonymize", "--clip", *arguments)


def test_frames_go_in_the_order_of_their_numbers(tmp_path: Path, key: Path, seen: list[int]) -> None:
    source = film(tmp_path / "in", [1, 2, 9, 10, 11])
    result = clip(source, "-o", tmp_path / "out", "--key-file", key)
    assert result.exit_code == 0, result.output
    assert seen == [1, 2, 9, 10, 11]
    records = [read_picture(tmp_path / "out" / f"f{number}.png").record for number in seen]
    assert all(record == records[0] and record["linkage"] == "unlinked" for record in records if record)
    assert dbaf_("recover", tmp_path / "out", "-o", tmp_path / "back", "--key-file", key).exit_code == 0
    for number in seen:
        name = f"f{number}.png"
        assert torch.equal(read_picture(tmp_path / "back" / name).rgb, read_picture(source / name).rgb)


def test_frames_that_fail_do_not_shift_the_others(tmp_path: Path, key: Path) -> None:
    source = film(tmp_path / "in", [5, 6, 7, 8, 9])
    Image.new("RGB", (24, 16)).save(source / "f6.png")  # nobody
    film(tmp_path / "out", [8])  # there before
    result = clip(source, "-o", tmp_path / "out", "--key-file", key)
    assert result.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f5.png", "f8.png", "f9.png"]
    assert "No face found" in result.output
    assert "may show a face that was not replaced" in result.output
    assert dbaf_("recover", tmp_path / "out" / "f9.png", "-o", tmp_path / "back", "--key-file", key).exit_code == 0
    assert torch.equal(read_picture(tmp_path / "back" / "f9.png").rgb, read_picture(source / "f9.png").rgb)


def test_a_frame_that_cannot_be_read_ends_the_clip(tmp_path: Path, key: Path) -> None:
    source = film(tmp_path / "in", [1, 2, 3, 4, 5, 6])
    (source / "f4.png").write_bytes(b"no picture")
    result = clip(source, "-o", tmp_path / "out", "--key-file", key)
    assert result.exit_code == 1
    assert "f4.png" in result.output
    assert "ended at an earlier frame" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f1.png"]  # two are in hand


def test_a_clip_is_one_folder_and_starts_at_its_beginning(tmp_path: Path, key: Path) -> None:
    source = film(tmp_path / "in", [1])
    for arguments in ([source / "f1.png"], [source, source], [source, "--skip-existing"]):
        result = clip(*arguments, "-o", tmp_path / "out", "--key-file", key)
        assert result.exit_code == 2, result.output
    assert not (tmp_path / "out").exists()
