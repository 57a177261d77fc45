"""The benchmark's measuring, on a pipeline that is simple enough to know every answer."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dbaf.evaluation.privacy import (
    KEYS,
    Judge,
    benchmark_keys,
    face_at,
    main_face,
    measure,
    through_jpeg,
    through_png,
)
from dbaf.evaluation.recognisers import DlibResNet
from dbaf.evaluation.summary import summarise
from dbaf.faces.face import Face
from dbaf.images import to_pil, write_png
from dbaf.keys import Key

SIDE = 64


def face(x: float, y: float, size: float = 30.0) -> Face:
    generator = torch.Generator().manual_seed(0)
    mesh = torch.rand(468, 3, generator=generator) * size + torch.tensor([x - size / 2, y - size / 2, 0.0])
    points = torch.tensor([[-0.2, -0.2], [0.2, -0.2], [0.0, 0.0], [-0.15, 0.2], [0.15, 0.2]]) * size
    half = size / 2
    return Face((x - half, y - half, x + half, y + half), 1.0, points + torch.tensor([x, y]), mesh)


class TogglingPipeline:
    """Identity is the brightness of a square in the middle; a key adds to it and takes the same off again."""

    def __init__(self, faces: list[Face]) -> None:
        self.faces = faces

    def detect(self, picture: torch.Tensor, min_face: float = 40.0) -> list[Face]:
        return self.faces

    def encode(self, picture: torch.Tensor, faces: list[Face]) -> torch.Tensor:
        return picture[:, :, 20:44, 20:44].clone()

    def disentangle(self, encoding: torch.Tensor) -> tuple[torch.Tensor, None]:
        return encoding, None

    def amount(self, key: Key) -> float:
        return float(key.latent_noise()[0, 0].abs() % 0.5)

    def anonymize_identity(self, identity: torch.Tensor, key: Key) -> torch.Tensor:
        return identity + self.amount(key)

    def recover_identity(self, identity: torch.Tensor, key: Key) -> torch.Tensor:
        return identity - self.amount(key)

    def render(
        self, picture: torch.Tensor, faces: list[Face], identity: torch.Tensor, attributes: None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out, mask = picture.clone(), torch.zeros(1, 1, SIDE, SIDE)
        out[:, :, 20:44, 20:44] = identity
        mask[:, :, 20:44, 20:44] = 1
        return out, mask


def judge(faces: list[Face]) -> Judge:
    torch.manual_seed(0)
    pipeline: Any = TogglingPipeline(faces)
    return Judge(pipeline, DlibResNet().eval())


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) - 0.9
    write_png(tmp_path / "photo.png", to_pil(picture))
    return tmp_path / "photo.png"


def test_the_right_key_leads_back_and_the_wrong_one_does_not(photo: Path) -> None:
    record = measure(photo, judge([face(32, 32)]), benchmark_keys(), key=1, extras=True)
    embedding = {name: torch.tensor(values) for name, values in record["embedding"].items()}

    def distance(a: str, b: str) -> float:
        return float((embedding[a] - embedding[b]).norm())

    assert distance("original", "reconstructed") == 0
    assert distance("original", "recovered") < 0.2 * distance("original", "anonymized")
    assert distance("original", "wrong") > 2 * distance("original", "recovered")
    assert distance("anonymized", "second") > 0
    assert "recovered_jpeg" in embedding
    assert record["untouched"] is True
    assert record["landmarks"] == {"anonymized": 0.0, "recovered": 0.0}
    assert set(record["seconds"]) == {"detect", "encode", "disentangle", "key", "render"}
    assert record["peak_bytes"] > 10_000_000
    assert all(record["found"].values())


def test_photo_without_a_face(photo: Path) -> None:
    assert measure(photo, judge([]), benchmark_keys(), key=0, extras=False) == {"faces": 0}


def test_lost_face_is_reported_and_still_looked_at(photo: Path) -> None:
    examiner = judge([face(32, 32)])
    lost: Any = examiner.pipeline
    calls = iter([[face(32, 32)]] + [[face(5, 5, 6)]] * 9)
    lost.detect = lambda picture, min_face: next(calls)
    record = measure(photo, examiner, benchmark_keys(), key=0, extras=False)
    assert record["found"]["original"] is True
    assert record["found"]["anonymized"] is False
    assert len(record["embedding"]["anonymized"]) == 128
    assert record["landmarks"] == {}


def test_keys_are_fixed_and_differ() -> None:
    first, again = benchmark_keys(), benchmark_keys()
    assert len(first) == KEYS
    assert torch.equal(first[2].latent_noise(), again[2].latent_noise())
    assert not torch.equal(first[0].latent_noise(), first[1].latent_noise())


def test_which_face_is_meant() -> None:
    faces = [face(10, 10, 12), face(30, 34, 12), face(60, 60, 12)]
    assert main_face(faces, torch.zeros(1, 3, SIDE, SIDE)) is faces[1]
    assert face_at(faces, face(31, 33, 12)) is faces[1]
    assert face_at(faces, face(45, 12, 12)) is None


def test_through_files() -> None:
    picture = torch.randint(0, 256, (1, 3, 8, 8)).float() / 127.5 - 1
    assert torch.equal(through_png(picture), picture)
    assert through_jpeg(picture).shape == picture.shape


def record(original: float, anonymized: float, recovered: float, key: int, found: bool = True) -> dict[str, Any]:
    places = {"original": original, "anonymized": anonymized, "recovered": recovered, "second": 50.0, "wrong": 60.0}
    return {
        "faces": 2,
        "key": key,
        "embedding": {name: [place] + [0.0] * 127 for name, place in places.items()},
        "found": dict.fromkeys(places, found),
        "landmarks": {"anonymized": 0.1} if found else {},
        "rotation": {"anonymized": [-4.0, 2.0, 0.0]} if found else {},
        "untouched": True,
        "seconds": {"detect": 0.2, "render": 2.0},
        "peak_bytes": 3_000_000,
    }


def test_summary() -> None:
    records = [
        record(0.0, 10.0, 0.1, key=0),
        record(0.2, 10.1, 5.0, key=0),
        record(20.0, 20.1, 20.0, key=0),  # leaks
        record(30.0, 40.0, 30.1, key=1, found=False),
        {"faces": 0},
    ]
    photos, people = ["a1", "a2", "b1", "c1", "d1"], ["a", "a", "b", "c", "d"]
    gallery = (torch.tensor([r["embedding"]["original"] for r in records[:4]]), photos[:4], people[:4])
    report = summarise(photos, people, records, 0.5, gallery)
    assert report["face_found"]["value"] == 0.8
    assert report["face_found_in_output"]["value"] == 0.75
    assert (report["leak"]["value"], report["leak"]["n"]) == (0.25, 4)
    assert report["recovered"]["value"] == 0.75
    assert report["wrong_key"]["value"] == 0
    assert report["same_person_same_key"]["value"] == 1
    assert (report["leak_to_another_photo"]["value"], report["leak_to_another_photo"]["n"]) == (0, 2)
    assert (report["reid_at_1_originals"]["value"], report["reid_at_1_originals"]["n"]) == (1, 2)
    assert report["impostors_originals"]["n"] == 5
    assert report["impostors_outputs_one_key"]["n"] == 2  # c has another key
    assert report["reconstructed"] == {"value": None, "low": None, "high": None, "n": 0}
    assert report["rotation_error_degrees"]["yaw"]["value"] == 4
    assert report["seconds_per_face"] == {"detect": 0.1, "render": 1.0, "total": 1.1}
    assert report["peak_memory_mb"] == 3


def test_summary_of_photos_without_faces() -> None:
    report = summarise(["a"], ["a"], [{"faces": 0}], 0.5)
    assert report["face_found"]["value"] == 0
    assert "leak" not in report
