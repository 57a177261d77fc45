"""benchmarks/group.py: who stands in a picture, and where."""

from pathlib import Path

import torch

from benchmarks import group
from dbaf.evaluation.dataset import Photo
from dbaf.faces.face import Face


class OneFace:
    """Finds a face in the middle of every picture that is not black."""

    def detect(self, picture: torch.Tensor) -> list[Face]:
        middle = torch.tensor([picture.shape[3], picture.shape[2]]) / 2
        points = middle + torch.tensor([[-3.0, -3], [3, -3], [0, 0], [-2, 3], [2, 3]])
        return [Face((0, 0, 9, 9), 1.0, points, torch.zeros(468, 3))] if picture.max() > -1 else []


def test_everybody_is_there_once_and_the_same_every_time() -> None:
    photos = [Photo(Path(f"{name}{n}"), f"{name}/{n}", name) for name in "abcde" for n in range(3)]
    some = group.strangers(photos, 4)
    assert len({photo.person for photo in some}) == 4
    assert all(photo.label.endswith("0") for photo in some)
    assert some == group.strangers(photos, 4)
    assert len(group.strangers(photos, 99)) == 5


def test_points_are_those_of_the_whole_picture() -> None:
    tiles = [torch.full((1, 3, 20, 30), value) for value in (0.0, 0.1, -1.0, 0.2)]
    picture = group.two_by_two(tiles)
    assert picture.shape == (1, 3, 40, 60)
    middles = torch.stack([points.mean(0) for points in group.main_points(OneFace(), tiles)])
    assert torch.allclose(middles, torch.tensor([[15.0, 10], [45, 10], [45, 30]]))  # nobody is in the third
