"""Which photos are taken: the same on every machine, wherever the data lie."""

from pathlib import Path

import pytest

from dbaf.errors import PictureError
from dbaf.evaluation.dataset import Photo, choose, photos_in


def make(folder: Path) -> Path:
    for person in range(40):
        for photo in range(person % 4 + 1):
            path = folder / f"person_{person:02d}" / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (folder / "LICENSE").touch()
    return folder


def test_two_photos_a_person_and_the_same_everywhere(tmp_path: Path) -> None:
    chosen = [choose(photos_in(make(tmp_path / name), tmp_path / "out"), 20) for name in ("here", "there")]
    labels = [[photo.label for photo in photos] for photos in chosen]
    assert labels[0] == labels[1]
    assert len(labels[0]) == 20
    assert len({photo.person for photo in chosen[0]}) == 10
    assert all(one.person == two.person for one, two in zip(chosen[0][::2], chosen[0][1::2], strict=True))


def test_without_a_limit_all_are_taken(tmp_path: Path) -> None:
    photos = photos_in(make(tmp_path), tmp_path / "out")
    assert choose(photos, None) == photos


def test_people_with_one_photo_fill_up(tmp_path: Path) -> None:
    photos = photos_in(make(tmp_path), tmp_path / "out")  # 30 people have two photos or more, 10 have one
    assert [len(choose(photos, count)) for count in (99, 64, 60, 4)] == [70, 64, 60, 4]


def test_photos_in_the_folder_itself_are_people_of_their_own(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "x/c.jpg", "x/d.jpg", "out/e.png", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos = photos_in(tmp_path, tmp_path / "out")
    assert {photo.label: photo.person for photo in photos} == {
        "a.jpg": "a.jpg",
        "b.png": "b.png",
        "x/c.jpg": "x",
        "x/d.jpg": "x",
    }
    singles = [photo for photo in photos if photo.person != "x"]
    assert len(choose(singles, 1)) == 1


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="No photos"):
        photos_in(tmp_path, tmp_path / "out")


def test_a_vanished_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.jpg"):
        _ = Photo(tmp_path / "gone.jpg", "gone.jpg", "gone").digest
