"""Recognisers as plug-ins."""

from pathlib import Path

import pytest
import torch
from toggling import COLOUR

from dbaf.errors import DbafError
from dbaf.evaluation.recogniser import embedding, load_recogniser


def plug_in(folder: Path, text: str) -> Path:
    (folder / "mine.py").write_text(text)
    return folder / "mine.py"


def test_a_plug_in_embeds(tmp_path: Path) -> None:
    recogniser = load_recogniser(plug_in(tmp_path, COLOUR))
    assert recogniser.name == "colour"
    assert embedding(recogniser, torch.full((1, 3, 64, 64), 0.5), torch.zeros(5, 2)) == [0.5, 0.5, 0.5]


def test_cosine_embeddings_get_length_one(tmp_path: Path) -> None:
    recogniser = load_recogniser(plug_in(tmp_path, COLOUR.replace('"euclidean"', '"cosine"')))
    values = embedding(recogniser, torch.full((1, 3, 64, 64), 0.5), torch.zeros(5, 2))
    assert sum(value**2 for value in values) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "text",
    ["x = (", "", "def recogniser():\n    raise KeyError('no weights')", COLOUR.replace('"euclidean"', '"angle"')],
)
def test_a_broken_plug_in_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(DbafError, match=r"mine\.py"):
        load_recogniser(plug_in(tmp_path, text))


def test_a_missing_plug_in_is_named(tmp_path: Path) -> None:
    with pytest.raises(DbafError, match=r"none\.py"):
        load_recogniser(tmp_path / "none.py")


@pytest.mark.parametrize("gives", ["1 / 0", "picture", "picture.log().flatten()"])
def test_a_plug_in_that_gives_no_vector_is_named(gives: str, tmp_path: Path) -> None:
    text = COLOUR.replace("return picture[0, :, 20:44, 20:44].mean((1, 2))", f"return {gives}")
    with pytest.raises(DbafError, match="colour"):
        embedding(load_recogniser(plug_in(tmp_path, text)), -torch.ones(1, 3, 64, 64), torch.zeros(5, 2))
