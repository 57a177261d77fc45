"""Photographs know who is in them by their folder, and those of UTKFace perceived origin by their name."""

from pathlib import Path

from dbaf.training.photos import ORIGINS, UNKNOWN, origin, person


def test_those_in_one_sub_folder_are_of_one_person_and_others_each_of_somebody_else() -> None:
    folder = Path("photos")
    anna = {person(folder / "anna" / name, folder) for name in ("1.jpg", "2.jpg")}
    others = {person(folder / name, folder) for name in ("1.jpg", "2.jpg", "bert/1.jpg")}
    assert len(anna) == 1
    assert len(anna | others) == 4
    assert person(Path("elsewhere/anna/3.jpg"), Path("elsewhere")) in anna


def test_names_of_utkface_tell_perceived_origin() -> None:
    names = ("26_1_1_20170116.jpg.chip.jpg", "26_0_3_20170116.jpg", "26_1_4_20170116.jpg", "39_1_20170116.jpg")
    numbers = [origin(Path("photos") / name) for name in (*names, "Anna_0001.jpg")]
    assert [ORIGINS[number] for number in numbers[:2]] == ["Black", "Indian"]
    assert numbers[2:] == [UNKNOWN] * 3
