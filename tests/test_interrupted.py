"""A folder of 200 pictures whose processing is cut off at any moment: nothing half, nothing lost, and it goes on."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import portrait

from dbaf.batch import find_capsule, sidecar_of
from dbaf.files import replacing, sweep
from dbaf.images import read_picture
from dbaf.keys import new_key_file

COUNT = 200
ROOT = Path(__file__).parents[1]
PROGRAM = """
import os, signal, sys, threading
import dbaf.cli.pictures
from fakes import FakePipeline
from dbaf.cli import main

number, left, delay = int(sys.argv.pop(1)), int(sys.argv.pop(1)), float(sys.argv.pop(1))

class CutOff(FakePipeline):
    \"\"\"Sends itself a signal some time after so many pictures: nobody outside needs to be quick enough.\"\"\"

    def anonymize(self, *arguments, **more):
        global left
        left -= 1
        if left == -1:
            threading.Timer(delay, os.kill, (os.getpid(), number)).start()
        return super().anonymize(*arguments, **more)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it runs in the background
pipeline = CutOff()
dbaf.cli.pictures.load_pipeline = lambda device, model: pipeline
main()
"""
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    first = portrait(tmp_path / "in" / "000.png", size=(48, 32))
    for number in range(1, COUNT):
        (tmp_path / "in" / f"{number:03d}.png").write_bytes(first.read_bytes())
    new_key_file(tmp_path / "key")
    return tmp_path


def start(folder: Path, *options: str, number: int = 0, after: int = 2 * COUNT, delay: float = 0) -> subprocess.Popen:
    arguments = [
        *(str(value) for value in (int(number), after, delay)),
        "anonymize",
        str(folder / "in"),
        "-o",
        str(folder / "out"),
        "--key-file",
        str(folder / "key"),
        *options,
    ]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def finished(folder: Path) -> list[Path]:
    return sorted((folder / "out").glob("[!.]*.png")) if (folder / "out").is_dir() else []


def cut_off(folder: Path, number: signal.Signals, after: int, *options: str) -> int:
    """Run until `after` outputs are there, and then get the signal at any moment of the next ones; the exit code."""
    left = after - len(finished(folder))
    process = start(folder, *options, number=number, after=max(left, 0), delay=random.Random(after).random() / 50)
    process.communicate(timeout=300)
    return process.returncode


def check_whole(folder: Path) -> None:
    """Every output that has its name is a whole picture with its capsule."""
    for path in finished(folder):
        assert read_picture(path).record is not None
        assert find_capsule(path) is not None


@posix
@pytest.mark.parametrize("seal", ["embed", "sidecar"])
def test_kill_leaves_nothing_half_and_the_next_run_completes_it(folder: Path, seal: str) -> None:
    originals = digests(folder / "in")
    for after in (3, 40, 41, 120):
        assert cut_off(folder, signal.SIGKILL, after, "--seal", seal, "--skip-existing") == -signal.SIGKILL
        check_whole(folder)
        assert digests(folder / "in") == originals
    before = digests(folder / "out")
    process = start(folder, "--seal", seal, "--skip-existing")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "there before" in output
    check_whole(folder)
    pictures = finished(folder)
    assert len(pictures) == COUNT
    wanted = {path.name for path in pictures} | ({sidecar_of(p).name for p in pictures} if seal == "sidecar" else set())
    assert set(digests(folder / "out")) == wanted  # nor any temporary file
    after_all = digests(folder / "out")
    kept = {name for name in before if name.endswith(".png") and name[0] != "."}
    assert {name: after_all[name] for name in kept} == {name: before[name] for name in kept}
    assert digests(folder / "in") == originals


@posix
def test_interrupt_stops_with_130_and_leaves_no_temporary_file(folder: Path) -> None:
    assert cut_off(folder, signal.SIGINT, 20, "--seal", "embed") == 130
    check_whole(folder)
    assert 20 <= len(finished(folder)) < COUNT
    assert not list((folder / "out").glob(".*"))


@posix
def test_only_leftovers_of_dead_processes_are_swept(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, other = tmp_path / f".dbaf-{gone.pid}-00000000.tmp", tmp_path / ".dbaf-x-00000000.tmp"
    dead.touch()
    other.touch()
    with replacing(tmp_path / "new") as file:
        sweep(tmp_path)
        file.write(b"all of it")
    assert (tmp_path / "new").read_bytes() == b"all of it"
    assert not dead.exists()
    assert other.exists()
