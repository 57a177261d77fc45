"""benchmarks/encoder.py: figures from records."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import encoder


def test_strangers_are_other_people() -> None:
    people = ["a", "a", "b", "b", "c"]
    assert [encoder.next_stranger(people, index) for index in range(5)] == [2, 2, 4, 4, 0]
    assert encoder.next_stranger(["a"], 0) == 0


def test_figures_leave_out_photos_without_a_face() -> None:
    def record(person: int, moved: float) -> dict:
        embedding = torch.nn.functional.one_hot(torch.tensor(person), 4).double()
        return {
            "faces": 1,
            "embedding": embedding.tolist(),
            "reconstructed": (embedding + moved / 2).tolist(),  # at a distance of `moved`
            "landmarks": 0.05,
            "rotation": [1.0, -2.0, 0.5],
            "agrees": person != 0,
            "seconds": 0.1,
            "recovered": None,
        }

    photos = [SimpleNamespace(person=name) for name in "abcd"]
    records = [record(0, 0.1), record(1, 0.1), record(2, 0.9), {"faces": 0}]
    found = encoder.figures(photos, records, 0.5)
    assert (found["photos"], found["faces"]) == (4, 3)
    assert found["accepted"]["value"] == pytest.approx(2 / 3, abs=1e-3)
    assert found["strangers_accepted"]["value"] == 0
    assert found["expression_agreement"]["value"] == pytest.approx(2 / 3, abs=1e-3)
    assert found["pitch_error_degrees"]["value"] == 2
    assert "recovered" not in found

    records[1]["recovered"] = {"embedding": records[1]["embedding"], "imprint": True}
    records[2]["recovered"] = {"embedding": records[1]["embedding"], "imprint": False}  # somebody else
    found = encoder.figures(photos, records, 0.5)
    assert found["recovered"]["value"] == pytest.approx(1 / 3, abs=1e-3)  # where no face is found nobody came back
    assert found["imprint_read"]["value"] == pytest.approx(1 / 3, abs=1e-3)
