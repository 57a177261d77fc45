"""benchmarks/group.py: who stands in a picture, and where."""

from pathlib import Path

import torch

from benchmarks import group
from dbaf.evaluation.dataset import Photo
from dbaf.faces.face import Face


def face(x: float, y: float) -> Face:
    return Face(
        (x - 5, y - 5, x + 5, y + 5), 1.0, torch.tensor([[float(x), float(y)]]).repeat(5, 1), torch.zeros(468, 3)
    )


def test_everybody_is_there_once_and_the_same_every_time() -> None:
    photos = [Photo(Path(f"{name}{n}"), f"{name}/{n}", name) for name in "abcde" for n in range(3)]
    some = group.strangers(photos, 4)
    assert len({photo.person for photo in some}) == 4
    assert all(photo.label.endswith("0") for photo in some)
    assert some == group.strangers(photos, 4)
    assert len(group.strangers(photos, 99)) == 5


def test_of_each_quarter_the_face_in_its_middle_counts() -> None:
    picture = group.two_by_two([torch.full((1, 3, 20, 30), float(number)) for number in range(4)])
    assert [float(picture[0, 0, y, x]) for y in (10, 30) for x in (15, 45)] == [0, 1, 2, 3]
    found = [face(16, 9), face(29, 1), face(31, 2), face(50, 33)]
    assert group.main_faces(found, 40, 60) == [found[0], found[2], found[3]]  # nobody in the third quarter
