"""A preview that shows which faces were found, and what happens to each."""

from PIL import Image, ImageDraw

from dbaf.faces.choose import Selection
from dbaf.faces.face import Face

CHOSEN, SPARED, SUSPECT = "yellow", "deepskyblue", "red"


def draw_faces(image: Image.Image, selection: Selection, suspects: list[Face] | None = None) -> Image.Image:
    """A copy with a numbered box around each face, as thick as it takes to be seen when shrunk to a node.

    Args:
        image: RGB.
        selection: its faces: chosen ones get a yellow box, spared ones a blue one and the word.
        suspects: places that may show further faces: a red box and a question mark.
    """
    image = image.copy()
    width = max(2, min(image.size) // 120)
    draw = ImageDraw.Draw(image)
    for number, face, taken in zip(selection.numbers, selection.found, selection.taken, strict=True):
        label = str(number) if taken else f"{number} spared"
        _box(draw, image.size, face, label, CHOSEN if taken else SPARED, width)
    for face in suspects or []:
        _box(draw, image.size, face, "?", SUSPECT, width)
    return image


def _box(draw: ImageDraw.ImageDraw, size: tuple[int, int], face: Face, label: str, colour: str, width: int) -> None:
    """A box, and on it, or within where there is no room above, a tag."""
    x0, y0 = max(face.box[0], 0), max(face.box[1], 0)
    x1, y1 = max(x0, min(face.box[2], size[0] - 1)), max(y0, min(face.box[3], size[1] - 1))
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=width)
    font = max(12, min(size) // 14)
    left, top, right, bottom = draw.textbbox((x0 + width, y0), label, font_size=font, anchor="ls")
    down = max(0, width - top)  # as far as it takes to keep the tag in the picture
    draw.rectangle((left - width, top - width + down, right + width, bottom + width + down), fill=colour)
    draw.text((x0 + width, y0 + down), label, fill="black", font_size=font, anchor="ls")
