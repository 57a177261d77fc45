"""`anonymize` and `recover`: there and back, what travels with a picture, what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import dbaf_, pixels
from fakes import FakePipeline, FakeResult, Nonces, black, portrait, use_fake
from PIL import Image

from dbaf.faces import Face
from dbaf.images import UNSTATED, read_picture, write_png
from dbaf.keys import Key, new_key_file

REFINE_STEPS = 3  # its place among what the command passes to `anonymize` and `recover`


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


@pytest.mark.parametrize("record", [None, UNSTATED])
def test_recovery_says_that_no_record_states_the_linkage(
    record: dict[str, Any] | None, tmp_path: Path, key: Path
) -> None:
    dbaf_("anonymize", portrait(tmp_path / "a.png"), "-o", tmp_path / "anon", "--key-file", key, "--linkage", "linked")
    with Image.open(tmp_path / "anon" / "a.png") as image:
        write_png(tmp_path / "resaved.png", image, record)
    result = dbaf_("recover", tmp_path / "resaved.png", "-o", tmp_path / "back", "--key-file", key)
    assert result.exit_code == 0
    assert "as linked: no DBAF record" in result.output
    assert (pixels(tmp_path / "back" / "resaved.png") == pixels(tmp_path / "a.png")).all()
    assert f"record   {'unstated' if record else 'none'}" in dbaf_("inspect", tmp_path / "resaved.png").output


def test_anonymizing_twice_is_refused_because_it_would_undo(tmp_path: Path, key: Path) -> None:
    dbaf_("anonymize", portrait(tmp_path / "a.png"), "-o", tmp_path / "anon", "--key-file", key)
    result = dbaf_("anonymize", tmp_path / "anon", "-o", tmp_path / "twice", "--key-file", key)
    assert result.exit_code == 1
    assert "Already pseudonymised" in result.output
    assert not (tmp_path / "twice").exists()


def test_irreversible_takes_no_key_and_does_not_come_back(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png")
    command = ("anonymize", source, "-o", tmp_path / "out", "--linkage", "irreversible")
    assert dbaf_(*command, "--key-file", keys[0]).exit_code == 2
    assert dbaf_(*command, "--seal", "embed").exit_code == 2
    assert dbaf_(*command).exit_code == 0
    back = dbaf_("recover", tmp_path / "out" / "a.png", "-o", tmp_path / "back", "--key-file", keys[0])
    assert back.exit_code == 1
    assert "its key is gone" in back.output


def test_imprints_are_told_of(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    class Noting(FakePipeline):
        def anonymize(self, *inputs: Any, imprint: bool = True, **options: Any) -> FakeResult:
            asked.append(imprint)
            return replace(super().anonymize(*inputs, **options), imprinted=[False])

        def recover(self, *inputs: Any, **options: Any) -> FakeResult:
            return replace(super().recover(*inputs, **options), restored=[True])

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
            self, image: torch.Tensor, key: Key, nonce: Nonces = None, steps: int = 0, *, min_face: int, **_: Any
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
        def anonymize(self, *inputs: Any, **options: Any) -> FakeResult:
            seen.append(inputs[REFINE_STEPS])
            return super().anonymize(*inputs, **options)

        def recover(self, *inputs: Any, **options: Any) -> FakeResult:
            seen.append(inputs[REFINE_STEPS])
            return super().recover(*inputs, **options)

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
