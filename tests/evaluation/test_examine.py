"""One photo through a method, on a pipeline that is simple enough to know every answer."""

import base64
from pathlib import Path
from typing import Any

import pytest
import torch
from toggling import COLOUR, SIDE, TogglingPipeline, face, judges, people, secret

from dbaf.evaluation.examine import examine, face_at, look_at_original
from dbaf.evaluation.methods import GROUPS, Dbaf, nonces, through_jpeg, through_png, wrong_key
from dbaf.faces.face import Face, main_face
from dbaf.keys import DRAWS

OUTPUTS = {"anonymized", "linked", "second", "recovered", "wrong", "recovered_jpeg", "reconstructed"} | {
    "recovered_looks",
    "recovered_looks_jpeg",
}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return people(tmp_path / "set", 1, 1) / "person 00" / "0.png"


@pytest.fixture
def recogniser(tmp_path: Path) -> Path:
    (tmp_path / "colour.py").write_text(COLOUR)
    return tmp_path / "colour.py"


def test_the_right_key_leads_back_and_the_wrong_one_does_not(photo: Path, recogniser: Path) -> None:
    pipeline: Any = TogglingPipeline()
    judge = judges(pipeline, recogniser)
    original = look_at_original(photo, judge)
    record = examine(original, Dbaf(pipeline, secret()), judge, group=1)
    assert set(record["embedding"]) == OUTPUTS | {"original"}
    embedding = {name: torch.tensor(values) for name, values in record["embedding"].items()}

    def distance(a: str, b: str) -> float:
        return float((embedding[a] - embedding[b]).norm())

    assert distance("original", "reconstructed") == 0
    assert distance("original", "recovered") < 0.05 * distance("original", "anonymized")
    assert distance("original", "recovered_jpeg") < 0.2 * distance("original", "anonymized")
    assert distance("original", "wrong") > 2 * distance("original", "recovered")
    assert distance("anonymized", "second") > 0
    assert distance("original", "linked") < distance("original", "anonymized")  # the nonce of this was chosen
    assert record["background_psnr"] is None
    assert record["utility"]["recovered"]["landmarks"] == 0
    assert record["utility"]["anonymized"]["perceptual"] > record["utility"]["recovered"]["perceptual"]
    assert set(record["seconds"]) == {"detect", "encode", "disentangle", "choose", "key", "render"}
    assert record["peak_bytes"] > 10_000_000
    assert all(record["found"].values())
    assert base64.b64decode(record["thumbnail"]["recovered"]).startswith(b"\xff\xd8")


def test_free_looks_are_measured_there_and_back(photo: Path, recogniser: Path) -> None:
    pipeline: Any = TogglingPipeline()
    judge = judges(pipeline, recogniser)
    original = look_at_original(photo, judge)
    kept, free = (examine(original, Dbaf(pipeline, secret(), 0, keep), judge, 0)["embedding"] for keep in (True, False))

    def moved(record: dict[str, list[float]], name: str) -> float:
        return float((torch.tensor(record[name]) - torch.tensor(record["original"])).norm())

    for name in ("anonymized", "second"):
        assert moved(free, name) > moved(kept, name) + 0.3
    assert moved(free, "recovered") < 0.05 * moved(free, "anonymized")


def test_stages_that_differ_from_the_pipeline_are_a_bug(photo: Path, recogniser: Path) -> None:
    pipeline: Any = TogglingPipeline()
    judge = judges(pipeline, recogniser)
    whole = pipeline.anonymize
    pipeline.anonymize = lambda image, key, nonce, keep_looks: whole(image, key, bytes(16))
    with pytest.raises(AssertionError, match="different pictures"):
        examine(look_at_original(photo, judge), Dbaf(pipeline, secret()), judge, group=0)


def test_photo_without_a_face(photo: Path, recogniser: Path) -> None:
    pipeline: Any = TogglingPipeline([])
    assert look_at_original(photo, judges(pipeline, recogniser)).record == {"faces": 0}


def test_lost_face_is_reported_and_still_looked_at(photo: Path, recogniser: Path) -> None:
    pipeline: Any = TogglingPipeline()
    judge = judges(pipeline, recogniser)
    original = look_at_original(photo, judge)
    pipeline.faces = [face(5, 5, 6)]
    record = examine(original, Dbaf(pipeline, secret()), judge, group=0)
    assert record["found"]["anonymized"] is False
    assert len(record["embedding"]["anonymized"]) == 3
    lost = record["utility"]["anonymized"]
    assert (lost["landmarks"], lost["rotation"], lost["expression"]) == (None, None, False)


def test_keys_are_fixed_and_differ() -> None:
    choices = [nonces(group) for group in range(GROUPS)]
    assert len({one for choice in choices for one in choice}) == GROUPS * DRAWS
    assert nonces(GROUPS) == choices[0]
    one = choices[0][0]
    assert torch.equal(wrong_key().latent_noise(one), wrong_key().latent_noise(one))
    assert not torch.equal(wrong_key().latent_noise(one), secret().latent_noise(one))


def test_which_face_is_meant() -> None:
    faces: list[Face] = [face(10, 10, 12), face(30, 34, 12), face(60, 60, 12)]
    assert main_face(faces, torch.zeros(1, 3, SIDE, SIDE)) is faces[1]
    assert face_at(faces, face(31, 33, 12)) is faces[1]
    assert face_at(faces, face(45, 12, 12)) is None


def test_through_files() -> None:
    picture = torch.randint(0, 256, (1, 3, 8, 8)).float() / 127.5 - 1
    assert torch.equal(through_png(picture), picture)
    assert through_jpeg(picture).shape == picture.shape
