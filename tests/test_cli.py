"""The command line, with a stand-in for the networks: folders, failures, exit codes, what is never written."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakePipeline, FakeResult, portrait, use_fake
from PIL import Image
from typer.testing import CliRunner, Result

import dbaf.files
from dbaf.batch import plan
from dbaf.cli import app
from dbaf.cli.weights import CONVERTERS, Kind
from dbaf.faces import Face
from dbaf.images import read_picture
from dbaf.keys import Key, new_key_file

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files")


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake(monkeypatch)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key_file(tmp_path / "key")
    return tmp_path / "key"


def dbaf_(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def black(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


@pytest.mark.parametrize("linkage", ["linked", "unlinked", None])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_there_and_back_with_the_key_and_not_with_another(
    linkage: str | None, mode: str, tmp_path: Path, key: Path
) -> None:
    source = portrait(tmp_path / "in" / "a.png", mode=mode)
    options = ["--linkage", linkage] if linkage else []
    assert dbaf_("anonymize", source, "-o", tmp_path / "anon", "--key-file", key, *options).exit_code == 0
    changed = tmp_path / "anon" / "a.png"
    assert (pixels(changed) != pixels(source)).any()
    record = read_picture(changed).record
    assert record is not None
    assert record["linkage"] == (linkage or "unlinked")  # unlinked is the default
    assert dbaf_("recover", changed, "-o", tmp_path / "back", "--key-file", key).exit_code == 0
    assert pixels(tmp_path / "back" / "a.png").shape == pixels(source).shape
    assert (pixels(tmp_path / "back" / "a.png") == pixels(source)).all()
    assert read_picture(tmp_path / "back" / "a.png").record is None
    new_key_file(tmp_path / "other")
    assert dbaf_("recover", changed, "-o", tmp_path / "wrong", "--key-file", tmp_path / "other").exit_code == 0
    assert (pixels(tmp_path / "wrong" / "a.png") != pixels(source)).any()


def test_linked_repeats_and_unlinked_does_not(tmp_path: Path, key: Path) -> None:
    for name in ("a.png", "b.png"):
        portrait(tmp_path / "in" / name)
    for linkage in ("linked", "unlinked"):
        dbaf_("anonymize", tmp_path / "in", "-o", tmp_path / linkage, "--key-file", key, "--linkage", linkage)
    assert (tmp_path / "linked" / "a.png").read_bytes() == (tmp_path / "linked" / "b.png").read_bytes()
    nonces = [read_picture(tmp_path / "unlinked" / name).record["nonce"] for name in ("a.png", "b.png")]  # type: ignore[index]
    assert nonces[0] != nonces[1]


def test_recovery_without_a_record_says_so(tmp_path: Path, key: Path) -> None:
    dbaf_("anonymize", portrait(tmp_path / "a.png"), "-o", tmp_path / "anon", "--key-file", key, "--linkage", "linked")
    with Image.open(tmp_path / "anon" / "a.png") as image:
        image.save(tmp_path / "resaved.bmp")
    result = dbaf_("recover", tmp_path / "resaved.bmp", "-o", tmp_path / "back", "--key-file", key)
    assert result.exit_code == 0
    assert "as linked: there is no DBAF record" in result.output
    assert (pixels(tmp_path / "back" / "resaved.png") == pixels(tmp_path / "a.png")).all()


def test_anonymizing_twice_is_refused_because_it_would_undo(tmp_path: Path, key: Path) -> None:
    dbaf_("anonymize", portrait(tmp_path / "a.png"), "-o", tmp_path / "anon", "--key-file", key)
    result = dbaf_("anonymize", tmp_path / "anon", "-o", tmp_path / "twice", "--key-file", key)
    assert result.exit_code == 1
    assert "Already pseudonymised" in result.output
    assert not (tmp_path / "twice").exists()


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


def test_order_of_a_plan_is_by_name(tmp_path: Path) -> None:
    for name in ("b/1.png", "c.png", "a/2.png", "a.png", "b/0.PNG"):
        portrait(tmp_path / name)
    order = [str(task.source.relative_to(tmp_path)) for task in plan([tmp_path], tmp_path / "out")]
    assert order == ["a.png", "c.png", "a/2.png", "b/0.PNG", "b/1.png"]


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["anonymize", "a.png", "-o", "out"],  # no key
        ["anonymize", "a.png", "-o", "out", "--key-file", "key", "--key-env", "DBAF_TEST_KEY"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "missing"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "a.png"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "key", "--passphrase-env", "DBAF_TEST_NOT_SET"],
        ["anonymize", "a.png", "-o", "out", "--key-file", "key", "--linkage", "loose"],
        ["anonymize", "a.png", "--key-file", "key"],  # no output folder
        ["anonymize", "-o", "out", "--key-file", "key"],  # no input
        ["recover", "missing.png", "-o", "out", "--key-file", "key"],
        ["recover", "a.png", "-o", "a.png", "--key-file", "key"],  # a file as output folder
        ["reconstruct", "empty", "-o", "out"],
        ["reconstruct", "a.png", "-o", "out", "--device", "tpu"],
        ["reconstruct", "a.png", "-o", "out", "--key-file", "key"],
        ["weights", "convert", "other", "a.png", "out"],
        ["key", "new", "key"],  # exists
        ["unknown"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_writes_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DBAF_TEST_NOT_SET", raising=False)
    portrait(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    new_key_file(tmp_path / "key")
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    result = dbaf_(*arguments)
    assert result.exit_code == 2
    assert result.output.strip()
    assert "Traceback" not in result.output
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    assert not (tmp_path / "out").exists()


def test_key_and_passphrase_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBAF_TEST_PASS", "correct horse battery")
    assert dbaf_("key", "new", tmp_path / "key", "--passphrase-env", "DBAF_TEST_PASS").exit_code == 0
    monkeypatch.setenv("DBAF_TEST_KEY", (tmp_path / "key").read_text())
    source = portrait(tmp_path / "a.png")
    file = ["--key-file", tmp_path / "key", "--passphrase-env", "DBAF_TEST_PASS"]
    variable = ["--key-env", "DBAF_TEST_KEY", "--passphrase-env", "DBAF_TEST_PASS"]
    assert dbaf_("anonymize", source, "-o", tmp_path / "anon", *file).exit_code == 0
    assert dbaf_("recover", tmp_path / "anon", "-o", tmp_path / "back", *variable).exit_code == 0
    assert (pixels(tmp_path / "back" / "a.png") == pixels(source)).all()
    monkeypatch.setenv("DBAF_TEST_PASS", "correct horse batterY")
    result = dbaf_("recover", tmp_path / "anon", "-o", tmp_path / "wrong", *file)
    assert result.exit_code == 2
    assert "does not open" in result.output


def test_key_new(tmp_path: Path) -> None:
    result = dbaf_("key", "new", tmp_path / "key")
    assert result.exit_code == 0
    assert os.name != "posix" or (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    Key.from_file(tmp_path / "key")
    assert (tmp_path / "key").read_text().split()[-2] not in result.output


def test_weights_list_and_convert(tmp_path: Path) -> None:
    result = dbaf_("weights", "list")
    assert result.exit_code == 0
    assert "mobile" in result.output
    assert "FILE MISSING" not in result.output
    (tmp_path / "no wheel").write_bytes(b"x")
    result = dbaf_("weights", "convert", "mobilestylegan", tmp_path / "no wheel", tmp_path / "out")
    assert result.exit_code == 1
    assert "Error:" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", Kind)
def test_every_converter_exists(kind: Kind) -> None:
    module, function = CONVERTERS[kind]
    __import__(module)
    assert callable(getattr(sys.modules[module], function))


def test_help_and_key_new_start_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['dbaf', 'key', 'new', sys.argv[1]]\n"
        "from dbaf.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "key")], check=True, env=_environment())
    result = subprocess.run(
        [sys.executable, "-m", "dbaf", "--help"], check=True, capture_output=True, text=True, env=_environment()
    )
    for command in ("anonymize", "recover", "reconstruct", "weights", "key", "demo"):
        assert command in result.stdout


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(dbaf.files.__file__).parents[1])}


def test_imprints_are_told_of(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    class Noting(FakePipeline):
        def anonymize(
            self,
            image: torch.Tensor,
            key: Key,
            nonce: bytes | None = None,
            steps: int = 0,
            imprint: bool = True,
            **_: Any,
        ) -> FakeResult:
            asked.append(imprint)
            return replace(super().anonymize(image, key, nonce), imprinted=[False])

        def recover(
            self, image: torch.Tensor, key: Key, nonce: bytes | None = None, steps: int = 0, **_: Any
        ) -> FakeResult:
            return replace(super().recover(image, key, nonce), restored=[True])

    use_fake(monkeypatch, Noting)
    source, safe, options = portrait(tmp_path / "a.png"), tmp_path / "safe", ("--key-file", key, "--overwrite")
    assert "1 of 1 faces are too small for an imprint" in dbaf_("anonymize", source, "-o", safe, *options).output
    assert "too small" not in dbaf_("anonymize", source, "-o", safe, *options, "--seal", "embed").output
    assert "too small" not in dbaf_("anonymize", source, "-o", safe, *options, "--no-imprint").output
    irreversible = ("--linkage", "irreversible", "--overwrite")
    assert "too small" not in dbaf_("anonymize", source, "-o", safe, *irreversible).output
    assert asked == [True, True, False, False]
    dbaf_("anonymize", source, "-o", safe, *options)
    assert "1 of 1 faces from their imprints" in dbaf_("recover", safe, "-o", tmp_path / "back", *options).output


def test_pictures_with_suspects_are_not_written(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noting(FakePipeline):
        def anonymize(
            self, image: torch.Tensor, key: Key, nonce: bytes | None = None, steps: int = 0, *, min_face: int, **_: Any
        ) -> FakeResult:
            place = Face((1.2, 2, 30, 41.7), 0.4, torch.zeros(5, 2), torch.zeros(468, 3))
            return replace(super().anonymize(image, key, nonce), suspects=[place] if min_face > 20 else [])

    use_fake(monkeypatch, Noting)
    options = (portrait(tmp_path / "a.png"), "-o", tmp_path / "safe", "--key-file", key, "--json", tmp_path / "r.json")
    result = dbaf_("anonymize", *options)
    assert result.exit_code == 1
    assert "1 place(s) may show a face that was not replaced, at 1, 2, 30, 42" in result.output
    assert "1, 2, 30, 42" in (tmp_path / "r.json").read_text()
    assert not (tmp_path / "safe").exists() or not list((tmp_path / "safe").iterdir())
    for further in (("--accept-suspects",), ("--min-face", 20)):
        assert dbaf_("anonymize", *options, "--overwrite", *further).exit_code == 0


def test_a_faceless_picture_with_suspects_is_not_copied(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first search misses must not pass as a picture without a face."""

    class Noting(FakePipeline):
        def suspects(self, picture: torch.Tensor, known: list[Face], min_face: float = 40) -> list[Face]:
            assert not known
            return [Face((1.2, 2, 30, 41.7), 0.4, torch.zeros(5, 2), torch.zeros(468, 3))]

    use_fake(monkeypatch, Noting)
    command = ("anonymize", black(tmp_path / "a.png"), "-o", tmp_path / "safe", "--key-file", key)
    for further in ((), ("--copy-faceless",)):
        result = dbaf_(*command, *further)
        assert result.exit_code == 1
        assert "may show a face that was not replaced, at 1, 2, 30, 42" in result.output
        assert not (tmp_path / "safe").exists()
    assert "No face found" in dbaf_(*command, "--accept-suspects").output
    assert dbaf_(*command, "--accept-suspects", "--copy-faceless").exit_code == 0


def test_refinement_steps_travel_with_the_picture(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Noting(FakePipeline):
        def anonymize(
            self,
            image: torch.Tensor,
            key: Key,
            nonce: bytes | None = None,
            steps: int = 0,
            imprint: bool = True,
            **_: Any,
        ) -> FakeResult:
            seen.append(steps)
            return super().anonymize(image, key, nonce)

        def recover(
            self, image: torch.Tensor, key: Key, nonce: bytes | None = None, steps: int = 0, **_: Any
        ) -> FakeResult:
            seen.append(steps)
            return super().recover(image, key, nonce)

    use_fake(monkeypatch, Noting)
    source, safe = portrait(tmp_path / "in" / "a.png"), tmp_path / "safe"
    assert dbaf_("anonymize", source, "-o", safe, "--key-file", key, "--refine-steps", 40).exit_code == 0
    assert dbaf_("recover", safe, "-o", tmp_path / "back", "--key-file", key).exit_code == 0
    assert dbaf_("recover", safe, "-o", tmp_path / "other", "--key-file", key, "--refine-steps", 0).exit_code == 0
    assert seen == [40, 40, 0]
    assert np.array_equal(pixels(tmp_path / "back" / "a.png"), pixels(source))


def test_free_looks_travel_with_the_picture(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    class Noting(FakePipeline):
        def anonymize(self, *inputs: Any, keep_looks: bool = True, **options: Any) -> FakeResult:
            seen.append(keep_looks)
            return super().anonymize(*inputs, **options)

        def recover(self, *inputs: Any, keep_looks: bool = True, **options: Any) -> FakeResult:
            seen.append(keep_looks)
            return super().recover(*inputs, **options)

    use_fake(monkeypatch, Noting)
    source = portrait(tmp_path / "in" / "a.png")
    for name, options in {"free": ("--looks", "free"), "kept": ()}.items():
        assert dbaf_("anonymize", source, "-o", tmp_path / name, "--key-file", key, *options).exit_code == 0
        assert dbaf_("recover", tmp_path / name, "-o", tmp_path / "back" / name, "--key-file", key).exit_code == 0
    assert seen == [False, False, True, True]
