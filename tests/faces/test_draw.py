"""The preview: each kind of face in its colour, and the picture itself left alone."""

import pytest
import torch
from PIL import Image

from dbaf.faces import Face, Selection
from dbaf.faces.draw import draw_faces

YELLOW, BLUE, RED = (255, 255, 0), (0, 191, 255), (255, 0, 0)


def face(x: float, y: float) -> Face:
    return Face.from_mesh(torch.rand(468, 3, generator=torch.Generator().manual_seed(0)) * 40 + x + y, 0.9)


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in image.getcolors(1 << 16)}


@pytest.mark.parametrize("place", [(50.0, 50.0), (-20.0, 0.0), (180.0, 0.0)])  # inside, cut off at the top, at the end
def test_colours_tell_what_happens(place: tuple[float, float]) -> None:
    image = Image.new("RGB", (200, 200))
    where = [face(*place)]
    chosen = colours(draw_faces(image, Selection(where, [True])))
    spared = colours(draw_faces(image, Selection(where, [False])))
    suspect = colours(draw_faces(image, Selection([], []), where))
    assert YELLOW in chosen
    assert YELLOW not in spared
    assert BLUE in spared
    assert RED in suspect
    assert image.getextrema() == ((0, 0),) * 3


def test_numbers_stay_whoever_is_chosen() -> None:
    """The second face wears the same tag, whether the first is spared or not."""
    image, faces = Image.new("RGB", (300, 300)), [face(20, 20), face(100, 100)]
    both, second = (draw_faces(image, Selection(faces, taken)) for taken in ([True, True], [False, True]))
    part = (190, 150, 300, 300)
    assert both.crop(part).tobytes() == second.crop(part).tobytes()
