"""Photographs know who is in them by their folder."""

from pathlib import Path

from dbaf.training.photos import person


def test_those_in_one_sub_folder_are_of_one_person_and_others_each_of_somebody_else() -> None:
    folder = Path("photos")
    anna = {person(folder / "anna" / name, folder) for name in ("1.jpg", "2.jpg")}
    others = {person(folder / name, folder) for name in ("1.jpg", "2.jpg", "bert/1.jpg")}
    assert len(anna) == 1
    assert len(anna | others) == 4
    assert person(Path("elsewhere/anna/3.jpg"), Path("elsewhere")) in anna
