"""Many pictures: folders, failures, reports, what is never overwritten."""

import json
import os
from pathlib import Path

import pytest
import torch
from commands import dbaf_, names, pixels
from fakes import FakePipeline, FakeResult, black, portrait, use_fake
from PIL import Image

import dbaf.files
from dbaf.images import read_picture

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files")


def test_folders_with_failures_go_on_and_are_reported(tmp_path: Path, key: Path) -> None:
    source = tmp_path / "in"
    portrait(source / "good.jpg")
    portrait(source / "sub" / "deep" / "also good.webp")
    portrait(source / "sub" / "[red]good[/red].tif")  # not rich markup
    (source / "broken.jpg").write_bytes((source / "good.jpg").read_bytes()[:200])
    (source / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (source / "notes.txt").write_text("no picture")
    portrait(source / ".hidden.png")
    portrait(source / ".cache" / "thumb.png")
    black(source / "empty.png")
    report = tmp_path / "new" / "report.json"
    result = dbaf_("anonymize", source, "-o", tmp_path / "out", "--key-file", key, "--json", report)
    assert result.exit_code == 1
    assert names(tmp_path / "out") == ["good.png", "sub/[red]good[/red].png", "sub/deep/also good.png"]
    for name in ("broken.jpg", "phone.heic", "empty.png"):
        assert name in result.output
    assert "notes.txt" not in result.output
    assert "3 written, 0 copied, 1 without a face, 2 failed" in result.output
    entries = {Path(entry["input"]).name: entry for entry in json.loads(report.read_text())["pictures"]}
    assert len(entries) == 6
    good, broken, empty = entries["good.jpg"], entries["broken.jpg"], entries["empty.png"]
    assert set(good) == {"input", "output", "status", "faces", "seconds", "message"}
    assert good["output"] == str(tmp_path / "out" / "good.png")
    assert (good["status"], good["faces"], good["message"]) == ("written", 1, None)
    assert (broken["status"], broken["output"]) == ("failed", None)
    assert "broken.jpg" in broken["message"]
    assert (empty["status"], empty["output"]) == ("faceless", None)


def test_faceless_pictures_are_copied_only_on_request_and_without_metadata(tmp_path: Path, key: Path) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x010E] = "LEAK"
    Image.new("L", (8, 8)).save(tmp_path / "in" / "a.jpg", exif=exif, comment=b"LEAK")
    arguments = ("anonymize", tmp_path / "in", "-o", tmp_path / "out", "--key-file", key)
    assert dbaf_(*arguments).exit_code == 1
    assert not (tmp_path / "out").exists()
    assert dbaf_(*arguments, "--copy-faceless").exit_code == 0
    assert b"LEAK" not in (tmp_path / "out" / "a.png").read_bytes()
    assert pixels(tmp_path / "out" / "a.png").shape == (8, 8)
    assert read_picture(tmp_path / "out" / "a.png").record is None


def test_an_unexpected_error_in_one_picture_does_not_stop_the_rest(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(FakePipeline):
        def reconstruct(self, image: torch.Tensor, refine_steps: int = 0) -> FakeResult:
            if image.shape[3] == 31:
                raise RuntimeError("out of memory")
            return super().reconstruct(image, refine_steps)

    use_fake(monkeypatch, Failing)
    portrait(tmp_path / "in" / "a.png", size=(31, 8))
    portrait(tmp_path / "in" / "b.png")
    result = dbaf_("reconstruct", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "RuntimeError: out of memory" in result.output
    assert names(tmp_path / "out") == ["b.png"]


def test_existing_output_is_kept_unless_overwrite(tmp_path: Path) -> None:
    source = portrait(tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("mine")
    result = dbaf_("reconstruct", source, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "--overwrite" in result.output
    assert (tmp_path / "out" / "a.png").read_text() == "mine"
    assert dbaf_("reconstruct", source, "-o", tmp_path / "out", "--overwrite").exit_code == 0
    assert pixels(tmp_path / "out" / "a.png").shape == (16, 24, 3)


@posix
@pytest.mark.parametrize("kind", ["same folder", "other spelling", "symbolic link", "hard link"])
def test_an_input_is_never_touched_even_with_overwrite(kind: str, tmp_path: Path) -> None:
    source = portrait(tmp_path / "in" / "a.png")
    before = source.read_bytes(), source.stat().st_mtime_ns
    out = tmp_path / "in"
    if kind == "other spelling":
        out = tmp_path / "in" / ".." / "in"
    elif kind != "same folder":
        out = tmp_path / "out"
        out.mkdir()
        (os.symlink if kind == "symbolic link" else os.link)(source, out / "a.png")
    result = dbaf_("reconstruct", source, "-o", out, "--overwrite")
    assert result.exit_code == 1
    assert "never touched" in result.output
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert names(tmp_path / "in") == ["a.png"]


def test_outputs_of_one_name_are_refused_not_mixed_up(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.tif", "A.png", "b.png"):
        portrait(tmp_path / "one" / name)
    portrait(tmp_path / "two" / "c.png")
    result = dbaf_("reconstruct", tmp_path / "one", tmp_path / "two", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert names(tmp_path / "out") == ["b.png", "c.png"]
    assert result.output.count("Several inputs") == 3


def test_a_picture_given_twice_is_done_once_and_names_keep_their_dots(tmp_path: Path) -> None:
    picture = portrait(tmp_path / "in" / "me.2024.jpg")
    result = dbaf_("reconstruct", picture, tmp_path / "in", picture, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert names(tmp_path / "out") == ["me.2024.png"]


def test_output_folder_inside_the_input_folder_is_not_input_next_time(tmp_path: Path) -> None:
    portrait(tmp_path / "a.jpg")
    for _ in range(2):
        result = dbaf_("reconstruct", tmp_path, "-o", tmp_path / "out", "--overwrite")
        assert result.exit_code == 0
    assert names(tmp_path) == ["a.jpg", "out/a.png"]


def test_ctrl_c_leaves_no_half_file_and_a_report_of_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        portrait(tmp_path / "in" / name)
    replace = os.replace

    def interrupt(source: Path, target: Path) -> None:
        if Path(target).name == "b.png":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(dbaf.files.os, "replace", interrupt)
    result = dbaf_("reconstruct", tmp_path / "in", "-o", tmp_path / "out", "--json", tmp_path / "report.json")
    assert result.exit_code == 130
    assert "stopped, 2 not done" in result.output
    assert names(tmp_path / "out") == ["a.png"]
    assert len(json.loads((tmp_path / "report.json").read_text())["pictures"]) == 1


def test_report_never_replaces_a_picture(tmp_path: Path) -> None:
    source = portrait(tmp_path / "a.png")
    before = source.read_bytes()
    for options in ([], ["--overwrite"]):
        result = dbaf_("reconstruct", source, "-o", tmp_path / "out", "--json", source, *options)
        assert result.exit_code == 2
        assert source.read_bytes() == before
    assert not (tmp_path / "out").exists()
