"""The plan of a run over many pictures: what comes after what."""

from pathlib import Path

from fakes import portrait

from dbaf.batch import plan


def test_order_of_a_plan_is_by_name(tmp_path: Path) -> None:
    for name in ("b/1.png", "c.png", "a/2.png", "a.png", "b/0.PNG"):
        portrait(tmp_path / name)
    order = [str(task.source.relative_to(tmp_path)) for task in plan([tmp_path], tmp_path / "out")]
    assert order == ["a.png", "c.png", "a/2.png", "b/0.PNG", "b/1.png"]


def test_names_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png", "a.png", "b09x.png", "10.png", "9.png"):
        portrait(tmp_path / "in" / name)
    order = [task.source.name for task in plan([tmp_path / "in"], tmp_path / "out")]
    assert order == ["9.png", "10.png", "a.png", "b9.png", "b09x.png", "b10.png"]
