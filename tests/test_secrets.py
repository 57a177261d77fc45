"""A key's text shows up nowhere: no repr, error, log, traceback, picture, report or pickle."""

import base64
import copy
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import FakePipeline, FakeResult, Nonces, portrait, use_fake
from typer.testing import CliRunner

from dbaf.cli import app
from dbaf.errors import SecretError
from dbaf.keys import Key, new_key_file, passphrase_from_env

MASTER = b"\xf0\x9fSecretSecretSecret\x00\x01\x02\x03\x04\x05\x06\x07\xffAB\xfe"
PASSPHRASE = "zebra-quartz-mile-oven"
FORMS = [
    base64.b64encode(MASTER).decode().rstrip("="),
    base64.urlsafe_b64encode(MASTER).decode().rstrip("="),
    MASTER.hex(),
    repr(MASTER)[2:-1],
    "SecretSecret",
    PASSPHRASE,
]


def assert_clean(*texts: str | bytes) -> None:
    for text in texts:
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        assert MASTER not in data
        for form in FORMS:
            assert form.encode() not in data
            assert form.upper().encode() not in data


@pytest.fixture
def key() -> Key:
    return Key(MASTER)


def test_text_forms(key: Key) -> None:
    logger = io.StringIO()
    logging.StreamHandler(logger).emit(logging.makeLogRecord({"msg": "%s %r", "args": (key, key)}))
    assert_clean(repr(key), str(key), f"{key}", f"{[key]} {{'key': {key!r}}}", str(dir(key)), logger.getvalue())
    assert not hasattr(key, "__dict__")
    assert "redacted" in repr(key)


@pytest.mark.parametrize(
    "store",
    [
        pickle.dumps,
        lambda k: pickle.dumps({"inputs": [k]}, protocol=0),
        copy.copy,
        copy.deepcopy,
        lambda k: copy.deepcopy({"key": k}),
        lambda k: torch.save({"key": k}, io.BytesIO()),
        json.dumps,
    ],
)
def test_refuses_to_be_stored(store: Callable[[Key], object], key: Key) -> None:
    with pytest.raises((SecretError, TypeError)) as caught:
        store(key)
    assert_clean("".join(traceback.format_exception(caught.value)))


def everything(error: BaseException | None) -> str:
    """Text, arguments and chain of an error, including what `from None` merely hides."""
    seen = ""
    while error is not None:
        seen += f"{error!r} {error.args} {vars(error)} {getattr(error, 'object', '')!r}"
        seen += "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__
    return seen


def test_errors_about_damaged_keys_and_wrong_passphrases(
    tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key.save(tmp_path / "raw")
    new_key_file(tmp_path / "locked", PASSPHRASE)
    text = (tmp_path / "raw").read_text().splitlines()[-1]
    assert "NyZXRT" in text
    broken = {
        "letter": text.replace("NyZXRT", "NyZXRU"),
        "base64": text.replace("NyZXRT", "NyZXR*"),
        "cut": text[:-12],
        "twice": text + "\n" + text,
        "bare": text.split()[2],
        "order": " ".join(reversed(text.split())),
        "later": text.replace("KEY-1", "KEY-" + MASTER.hex()),
    }
    attempts: list[Callable[[], object]] = [
        lambda: Key.from_file(tmp_path / "raw", PASSPHRASE),
        lambda: Key.from_file(tmp_path / "locked", PASSPHRASE + "x"),
        lambda: Key.from_file(tmp_path / "locked", PASSPHRASE + "\udcff"),  # not valid Unicode
        lambda: new_key_file(tmp_path / "raw", PASSPHRASE),
        lambda: Key.from_env(text),  # the value in place of the name
        lambda: Key.from_env(text + "\0"),
        lambda: passphrase_from_env(PASSPHRASE),
        lambda: Key(MASTER + b"x"),
        lambda: key.latent_noise(MASTER),
    ]
    for name, content in broken.items():
        (tmp_path / name).write_text(content)
        monkeypatch.setenv(f"DBAF_TEST_{name.upper()}", content)
        attempts.append(lambda name=name: Key.from_file(tmp_path / name))  # type: ignore[misc]
        attempts.append(lambda name=name: Key.from_env(f"DBAF_TEST_{name.upper()}"))  # type: ignore[misc]
    (tmp_path / "binary").write_bytes(b"\xff" + MASTER)
    attempts.append(lambda: Key.from_file(tmp_path / "binary"))
    with caplog.at_level(logging.DEBUG):
        for attempt in attempts:
            with pytest.raises(SecretError) as caught:
                attempt()
            assert_clean(everything(caught.value))
    assert_clean(caplog.text)


@pytest.mark.parametrize("linkage", ["linked", "unlinked"])
def test_command_line_leaves_no_trace(
    linkage: str, tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(FakePipeline):
        def anonymize(
            self, image: torch.Tensor, key: Key, nonce: Nonces = None, refine_steps: int = 0, **_: Any
        ) -> FakeResult:
            if image.shape[3] == 31:
                raise RuntimeError(f"unexpected, with arguments {key} {[key]!r}")
            return super().anonymize(image, key, nonce)

    use_fake(monkeypatch, Failing)
    key.save(tmp_path / "key")
    pictures = tmp_path / "in"
    portrait(pictures / "a.png")
    portrait(pictures / "b.png", size=(31, 20))
    arguments = ["anonymize", str(pictures), "-o", str(tmp_path / "out"), "--json", str(tmp_path / "report.json")]
    with caplog.at_level(logging.DEBUG):
        result = CliRunner().invoke(app, [*arguments, "--key-file", str(tmp_path / "key"), "--linkage", linkage])
    assert result.exit_code == 1
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 1
    assert "redacted" in (tmp_path / "report.json").read_text()
    assert_clean(
        result.output, caplog.text, (tmp_path / "report.json").read_bytes(), *(p.read_bytes() for p in written)
    )


PROGRAM = """
import os, sys, traceback
import dbaf.cli.pictures
from fakes import FakePipeline
from dbaf.cli import main

class Failing(FakePipeline):
    def anonymize(self, image, key, nonce=None, refine_steps=0, **_):
        if image.shape[3] == 31:
            raise RuntimeError(f"{key} {vars(type(key))} {sorted(dir(key))}")
        if image.shape[3] == 33:
            os.kill(os.getpid(), 9)
        return super().anonymize(image, key, nonce)

dbaf.cli.pictures.load_pipeline = lambda device, model: Failing()
main()
"""


@pytest.mark.parametrize("source", ["file", "variable", "passphrase"])
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_process_leaves_no_trace_even_when_it_is_killed(source: str, tmp_path: Path, key: Key) -> None:
    """Everything that it writes anywhere: outputs, temporary files, home, cache, report, both streams."""
    outside, place = tmp_path / "keys", tmp_path / "place"
    outside.mkdir()
    key.save(outside / "raw")
    new_key_file(outside / "locked", PASSPHRASE)
    for name, width in (("a.png", 24), ("b.png", 31), ("c.png", 33)):
        portrait(place / "in" / name, size=(width, 20))
    options = {
        "file": ["--key-file", str(outside / "raw")],
        "variable": ["--key-env", "DBAF_TEST"],
        "passphrase": ["--key-file", str(outside / "locked"), "--passphrase-env", "DBAF_TEST"],
    }[source]
    value = {"file": "", "variable": (outside / "raw").read_text(), "passphrase": PASSPHRASE}[source]
    for name in ("tmp", "home"):
        (place / name).mkdir()
    root = Path(__file__).parents[1]
    environment = os.environ | {"TMPDIR": f"{place}/tmp", "HOME": f"{place}/home", "DBAF_TEST": value}
    environment |= {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")]), "PYTHONFAULTHANDLER": "1"}
    command = [sys.executable, "-X", "dev", "-c", PROGRAM, "anonymize", f"{place}/in", "-o", f"{place}/out", *options]
    for more in (["--seal", "embed", "--json", f"{place}/report.json"], ["--seal", "sidecar", "--overwrite"]):
        done = subprocess.run([*command, *more], cwd=place, env=environment, capture_output=True, check=False)
        assert done.returncode == -9, done.stderr
        assert b"redacted" in done.stderr
        assert_clean(done.stdout, done.stderr)
    left = [path for path in place.rglob("*") if path.is_file()]
    assert {"a.png", "a.png.dbaf"} <= {path.name for path in left}
    assert_clean(*(path.read_bytes() for path in left), *map(str, left))


@pytest.mark.parametrize("command", ["anonymize", "recover"])
def test_a_value_given_in_place_of_a_name_is_not_repeated(command: str, tmp_path: Path) -> None:
    picture = portrait(tmp_path / "a.png")
    new_key_file(tmp_path / "locked", PASSPHRASE)
    base = [command, str(picture), "-o", str(tmp_path / "out")]
    for options in (
        ["--key-env", base64.b64encode(MASTER).decode()],
        ["--key-file", str(tmp_path / "locked"), "--passphrase-env", PASSPHRASE],
    ):
        result = CliRunner().invoke(app, base + options)
        assert result.exit_code == 2
        assert "name" in result.output
        assert_clean(result.output)
