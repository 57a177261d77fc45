"""A whole data set: what is cached is not worked out again, and what fails does not stop the rest."""

import stat
from pathlib import Path

import pytest
import torch
from toggling import BLIND, COLOUR, PIPELINES, FakeSetup, people, secret

from dbaf.errors import PictureError
from dbaf.evaluation import cache as caching
from dbaf.evaluation.cache import Cache, fingerprint, method_version, original_version
from dbaf.evaluation.dataset import choose, photos_in
from dbaf.evaluation.run import Measured, Setup, measure
from dbaf.evaluation.summary import summarise
from dbaf.images import to_pil, write_png
from dbaf.keys import Key


@pytest.fixture
def setup(tmp_path: Path) -> FakeSetup:
    (tmp_path / "colour.py").write_text(COLOUR)
    return FakeSetup(secret, recogniser=tmp_path / "colour.py")


def evaluate(folder: Path, out: Path, setup: FakeSetup, limit: int | None = 8) -> Measured:
    photos = photos_in(folder, out)
    return measure("set", photos, choose(photos, limit), setup, Cache(out))


def test_figures_of_a_known_set_and_going_on_after_an_interruption(tmp_path: Path, setup: FakeSetup) -> None:
    folder = people(tmp_path / "set", 23, 2)
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int, label: str) -> None:
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    photos = photos_in(folder, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        measure("set", photos, choose(photos, 8), setup, Cache(tmp_path / "out"), progress=stop)
    assert seen == [(0, 46), (1, 46), (2, 46), (3, 46)]
    before = PIPELINES[-1].renders
    assert before == 3 * 9 + 1  # nine outputs a photo, and the check of the stages
    first = evaluate(folder, tmp_path / "out", setup)
    assert PIPELINES[-1].renders == 5 * 9 + 1
    opened = len(PIPELINES)
    again = evaluate(folder, tmp_path / "out", setup)
    assert len(PIPELINES) == opened  # all is cached: no network is even loaded
    assert again.records == first.records
    assert first.calibration.own
    assert first.calibration.tar.value == 1

    figures = summarise(first)["dbaf"]
    privacy, utility = figures["privacy"], figures["utility"]
    assert (privacy["leak"]["value"], privacy["leak"]["n"]) == (0, 8)
    assert privacy["recovered"]["value"] == 1
    assert privacy["recovered_jpeg90"]["n"] == 8
    assert privacy["reconstructed"]["value"] == 1
    assert privacy["wrong_key"]["value"] == 0
    assert privacy["same_person_same_key"] == privacy["same_person_same_key"] | {"value": 1, "n": 4}
    assert privacy["same_person_two_keys"] == privacy["same_person_two_keys"] | {"value": 0, "n": 8}
    assert privacy["strangers_two_keys"]["n"] == 36  # 4 people in 4 groups: a quarter of 48 pairs has one key
    assert privacy["reid_at_1_originals"]["value"] == 1
    assert privacy["reid_at_1"]["n"] == 8
    assert utility["face_found_in_output"]["value"] == 1
    assert utility["landmark_error_iod"]["value"] == 0
    assert utility["yaw_error_degrees"]["value"] == pytest.approx(0, abs=1e-3)
    assert utility["background_untouched"]["value"] == 1
    assert utility["background_psnr_db"]["n"] == 0
    assert utility["expression_agreement"]["n"] == 8
    stages = {"detect", "encode", "disentangle", "choose", "key", "render", "total"}
    assert set(figures["speed"]["seconds_per_face"]) == stages


def test_a_blind_recogniser_withholds_privacy_and_not_utility(tmp_path: Path) -> None:
    (tmp_path / "blind.py").write_text(BLIND)
    setup = FakeSetup(secret, recogniser=tmp_path / "blind.py")
    measured = evaluate(people(tmp_path / "set", 23, 2), tmp_path / "out", setup)
    assert measured.calibration.tar.value < 0.85
    figures = summarise(measured)["dbaf"]
    assert figures["privacy"] is None
    assert figures["utility"]["landmark_error_iod"]["n"] == 8


def test_bad_photos_are_reported_and_left_out(tmp_path: Path, setup: FakeSetup) -> None:
    folder = people(tmp_path / "set", 23, 2)
    (folder / "person 00" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    write_png(folder / "black.png", to_pil(-torch.ones(1, 3, 64, 64)))
    photos = photos_in(folder, tmp_path / "out")
    chosen = [photo for photo in photos if photo.person == "person 00" or photo.label == "black.png"]
    assert len(chosen) == 4
    measured = measure("set", photos, chosen, setup, Cache(tmp_path / "out"))
    assert len(measured.chosen) == 3
    assert ["broken.jpg" in problem for problem in measured.problems] == [True]
    found = summarise(measured)["dbaf"]["utility"]["face_found"]
    assert (found["value"], found["n"]) == (0.6667, 3)


def test_no_face_at_all(tmp_path: Path, setup: FakeSetup) -> None:
    write_png(tmp_path / "set" / "black.png", to_pil(-torch.ones(1, 3, 64, 64)))
    with pytest.raises(PictureError, match="None of the 1 photos"):
        evaluate(tmp_path / "set", tmp_path / "out", setup)


def test_a_cache_is_private_and_says_so(tmp_path: Path) -> None:
    Cache(tmp_path / "cache").put("v", "a", {"x": 1})
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert "biometric" in (tmp_path / "cache" / "README.txt").read_text()
    assert Cache(tmp_path / "cache").get("v", "a") == {"x": 1}
    (tmp_path / "cache" / "v" / "a.json").write_text("{")
    assert Cache(tmp_path / "cache").get("v", "a") is None


def test_versions_follow_what_a_record_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Key(bytes(32)), Key(b"1" * 32)
    assert fingerprint(one) == fingerprint(Key(bytes(32))) != fingerprint(other)
    assert method_version("dbaf", "mobile", None, one) != method_version("dbaf", "mobile", None, other)
    assert method_version("dbaf", "mobile", None, one) != method_version("dbaf", "mobile", None, one, 40)
    assert method_version("dbaf", "mobile", None, one) != method_version("dbaf", "mobile", None, one, keep_looks=False)
    assert method_version("blur", "mobile", None, one) == method_version("blur", "mobile", None, other)
    kept, free = (Setup(lambda: Key(bytes(32)), keep_looks=keep).versions()["dbaf"] for keep in (True, False))
    assert kept != free
    (tmp_path / "mine.py").write_text(COLOUR)
    assert original_version("mobile", None) != original_version("mobile", tmp_path / "mine.py")
    before = method_version("dbaf", "mobile", None, one)
    monkeypatch.setattr(caching, "APART_EVALUATION", set())
    assert method_version("dbaf", "mobile", None, one) != before


def test_processes_share_the_work_and_give_the_same(tmp_path: Path, setup: FakeSetup) -> None:
    photos = photos_in(people(tmp_path / "set", 23, 2), tmp_path / "out")
    (photos[5].path.parent / "broken.jpg").write_bytes(b"no picture")
    photos = photos_in(tmp_path / "set", tmp_path / "out")
    chosen = choose(photos, 4)
    one = measure("set", photos, chosen, setup, Cache(tmp_path / "one"))
    two = measure("set", photos, chosen, setup, Cache(tmp_path / "two"), jobs=2)
    assert one.problems == two.problems
    assert torch.equal(one.embeddings, two.embeddings)
    for mine, other in zip(one.records["dbaf"], two.records["dbaf"], strict=True):
        assert mine is not None
        assert other is not None
        assert mine["embedding"] == other["embedding"]
