"""The report where there is little to report, and what its numbers look like."""

from pathlib import Path

import torch
from toggling import COLOUR, FakeSetup, people, secret

from dbaf.evaluation.cache import Cache
from dbaf.evaluation.dataset import photos_in
from dbaf.evaluation.report import interval, lines, report_json, show, write_html
from dbaf.evaluation.run import measure
from dbaf.images import to_pil, write_png


def test_photos_without_any_face_give_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "colour.py").write_text(COLOUR)
    setup = FakeSetup(secret, recogniser=tmp_path / "colour.py", peers=True)
    folder = people(tmp_path / "set", 23, 2)
    write_png(folder / "black.png", to_pil(-torch.ones(1, 3, 64, 64)))
    (folder / "broken.jpg").write_bytes(b"no picture")
    photos = photos_in(folder, tmp_path / "out")
    chosen = [photo for photo in photos if "/" not in photo.label]
    measured = measure("set", photos, chosen, setup, Cache(tmp_path / "out"))
    report = report_json("set", measured, setup)
    write_html(tmp_path / "report.html", report, measured)
    page = (tmp_path / "report.html").read_text()
    assert "genuine" in page
    assert "Speed" not in page
    assert "broken.jpg" in page
    assert str(tmp_path) not in page
    assert report["methods"]["dbaf"]["privacy"]["leak"] == {"value": None, "low": None, "high": None, "n": 0}
    assert any(line.startswith("detection: photos with a face") and "0.0%" in line for line in lines(report))


def test_numbers_and_units() -> None:
    figure = {"value": 0.1234, "low": 0.1, "high": 0.2, "n": 9}
    assert show(figure, "%") == "12.3%"
    assert interval(figure, "%") == "[10.0%, 20.0%]"
    assert show(figure, "") == "0.123"
    assert show({"value": 3.21, "low": 1.0, "high": 4.0, "n": 2}, "°") == "3.2°"
    assert show(None, "%") == show({"value": None, "low": None, "high": None, "n": 0}, "%") == "–"
    assert interval(None, "%") == ""
