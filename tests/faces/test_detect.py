"""Detection and landmarks on the embedded networks and a generated face (fixture `portrait`: it fills its frame)."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dbaf.errors import PictureError
from dbaf.faces import Face, FaceFinder, crop
from dbaf.faces.align import square
from dbaf.faces.detect import LIKELY, SURE, same_place
from dbaf.weights.bundle import bundle_folder


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder.from_bundle(bundle_folder("mobile"))


@pytest.fixture(scope="module")
def small(portrait: torch.Tensor) -> torch.Tensor:
    """The portrait at 256 px; its face is about 150 px high."""
    return F.interpolate(portrait, size=(256, 256), mode="bilinear", antialias=True)


def on_canvas(height: int, width: int, *pasted: tuple[torch.Tensor, int, int]) -> torch.Tensor:
    canvas = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 0.2
    for picture, x, y in pasted:
        canvas[:, :, y : y + picture.shape[2], x : x + picture.shape[3]] = picture
    return canvas


def eye_distance(face: Face) -> float:
    return float((face.points[1] - face.points[0]).norm())


def test_a_face_that_fills_the_frame(finder: FaceFinder, portrait: torch.Tensor) -> None:
    (face,) = finder.find(portrait)
    assert face.score > 0.8
    assert face.points.shape == (5, 2)
    assert face.mesh.shape == (468, 3)
    left, right, nose, left_mouth, right_mouth = face.points.tolist()
    assert left[0] < nose[0] < right[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left[1], right[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    # a generated face is already aligned as FFHQ: its square is the picture
    frame = torch.tensor([[0.0, 0], [0, 1024], [1024, 1024], [1024, 0]], dtype=torch.float64)
    assert (face.quad - frame).abs().max() < 100


def test_a_tight_crop(finder: FaceFinder, portrait: torch.Tensor) -> None:
    x0, y0, x1, y1 = (round(v) for v in finder.find(portrait)[0].box)
    assert len(finder.find(portrait[:, :, y0:y1, x0:x1])) == 1


def test_half_a_face_is_not_completed(finder: FaceFinder, portrait: torch.Tensor) -> None:
    whole = finder.find(portrait)[0]
    cut = round(whole.box[0] + 0.35 * (whole.box[2] - whole.box[0]))
    (half,) = finder.find(portrait[:, :, :, cut:])
    shown = [1, 4]  # the eye and the mouth corner that are still there
    moved = half.points[shown] + torch.tensor([float(cut), 0.0]) - whole.points[shown]
    assert moved.norm(dim=1).max() < 0.08 * eye_distance(whole)


@pytest.mark.parametrize("degrees", [-45, -15, 30, 45, 90])
def test_turned_faces(finder: FaceFinder, small: torch.Tensor, degrees: int) -> None:
    angle = math.radians(degrees)
    upright = finder.find(small)[0]
    (face,) = finder.find(crop(small, square(torch.tensor([128.0, 128.0]), 256, angle), 256))
    cos, sin = math.cos(angle), math.sin(angle)
    back = (face.points - 128) @ torch.tensor([[cos, sin], [-sin, cos]]) + 128
    assert (back - upright.points).norm(dim=1).max() < 0.12 * eye_distance(upright)


@pytest.mark.parametrize("side", [80, 160, 700])
def test_sizes(finder: FaceFinder, portrait: torch.Tensor, side: int) -> None:
    picture = F.interpolate(portrait, size=(side, side), mode="bilinear", antialias=True)
    (face,) = finder.find(on_canvas(side + 150, side + 200, (picture, 120, 60)))
    expected = finder.find(portrait)[0].points * (side / 1024) + torch.tensor([120.0, 60.0])
    assert (face.points - expected).norm(dim=1).max() < 0.12 * eye_distance(face)


def test_order_and_repeatability(finder: FaceFinder, small: torch.Tensor) -> None:
    canvas = on_canvas(600, 900, (small, 600, 30), (small, 20, 320), (small, 300, 150))
    faces = finder.find(canvas)
    assert [round(face.points[2, 0].item()) // 300 for face in faces] == [0, 1, 2]
    again = finder.find(canvas)
    assert all(torch.equal(a.mesh, b.mesh) and a.box == b.box for a, b in zip(faces, again, strict=True))


def test_smaller_faces_are_left_out_on_request(finder: FaceFinder, small: torch.Tensor) -> None:
    assert len(finder.find(small, min_face=60)) == 1
    assert finder.find(small, min_face=220) == []


def test_nothing_where_nothing_is(finder: FaceFinder) -> None:
    assert finder.find(on_canvas(300, 400)) == []
    assert finder.find(torch.zeros(1, 3, 1, 1)) == []


def test_retrace_needs_no_detector(finder: FaceFinder, small: torch.Tensor) -> None:
    face = finder.find(small)[0]
    shaken = face.points + torch.tensor([3.0, -3.0])
    again = finder.retrace(small, shaken)
    assert (again.points - face.points).norm(dim=1).max() < 0.08 * eye_distance(face)


@pytest.mark.parametrize("degrees", [0, 30])
def test_retrace_sees_what_find_sees(finder: FaceFinder, small: torch.Tensor, degrees: float) -> None:
    turned = crop(small, square(torch.tensor([128.0, 128.0], dtype=torch.float64), 280, math.radians(degrees)), 256)
    face = finder.find(turned)[0]
    apart = (finder.retrace(turned, face.points).mesh - face.mesh)[:, :2].norm(dim=1)
    assert apart.mean() < 0.012 * eye_distance(face)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 3, 64, 64), (1, 1, 64, 64), (1, 3, 0, 64)])
def test_other_tensors_are_refused(finder: FaceFinder, shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="one colour picture"):
        finder.find(torch.zeros(shape))


def test_faces_take_part_in_training(finder: FaceFinder, small: torch.Tensor) -> None:
    points = finder.find(small)[0].points
    weight = torch.ones(5, 2, requires_grad=True)
    (points * weight).sum().backward()  # raises if `find` ran in inference mode
    assert weight.grad is not None


def test_two_boxes_are_one_face_when_a_centre_lies_in_the_other() -> None:
    face = (100.0, 100.0, 200.0, 220.0)
    assert same_place(face, (55.0, 60.0, 155.0, 170.0))  # a ghost over the forehead
    assert not same_place(face, (190.0, 100.0, 290.0, 220.0))  # cheek to cheek


def test_a_second_look_names_what_was_left_out(finder: FaceFinder, small: torch.Tensor) -> None:
    picture = on_canvas(300, 640, (small, 10, 20), (small, 350, 30))
    first, second = finder.find(picture)
    assert finder.suspects(picture, [first, second]) == []
    (left_out,) = finder.suspects(picture, [first])
    assert same_place(left_out.box, second.box)
    assert finder.suspects(picture, [first], min_face=300) == []


def test_a_second_look_sees_more_than_the_first(finder: FaceFinder, small: torch.Tensor) -> None:
    """A face so faint and covered that it does not count as found."""
    covered = 0.1 + 0.08 * (small - 0.1)
    covered[:, :, 145:] = 0.1
    picture = on_canvas(300, 300, (covered, 20, 20))
    assert finder.find(picture) == []
    assert len(finder.suspects(picture, [])) == 1


def test_the_detector_alone_makes_a_suspect_when_the_mesh_sees_nothing(
    finder: FaceFinder, small: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind most face masks."""
    face = replace(finder.find(small)[0], score=(LIKELY + SURE) / 2)
    place = (torch.tensor(face.box), face.points, face.score)
    monkeypatch.setattr(finder, "_candidates", lambda *_: [place])
    monkeypatch.setattr(finder, "_trace", lambda *_: (face, 0.0))
    assert finder.find(small) == []
    assert finder.suspects(small, []) == [face]
