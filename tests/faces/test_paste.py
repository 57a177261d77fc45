"""Pasting, on a face that is only a mesh: an ellipse of points."""

import math

import pytest
import torch

from dbaf.faces import Face, crop, paste
from dbaf.faces.face import LEFT_EYE, LEFT_MOUTH, NOSE_TIP, RIGHT_EYE, RIGHT_MOUTH


def ellipse_face(x: float, y: float, height: float, roll: float = 0.0) -> Face:
    """A face of the given centre, height and roll (radians), its 468 points spread over an ellipse."""
    index = torch.arange(468, dtype=torch.float64)
    radius, angle = ((index + 0.5) / 468).sqrt(), index * (math.pi * (3 - math.sqrt(5)))
    mesh = torch.stack([radius * angle.cos() * 0.38, radius * angle.sin() * 0.5], dim=1)
    for places, place in (
        (LEFT_EYE, (-0.17, -0.12)),
        (RIGHT_EYE, (0.17, -0.12)),
        ((NOSE_TIP,), (0.0, 0.08)),
        ((LEFT_MOUTH,), (-0.13, 0.24)),
        ((RIGHT_MOUTH,), (0.13, 0.24)),
    ):
        mesh[list(places)] = torch.tensor(place, dtype=torch.float64)
    turn = torch.tensor([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]], dtype=torch.float64)
    flat = mesh @ turn * height + torch.tensor([x, y], dtype=torch.float64)
    return Face.from_mesh(torch.cat([flat, torch.zeros(468, 1)], dim=1), score=1.0)


def scene(height: int = 200, width: int = 240) -> torch.Tensor:
    noise = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(3)) - 0.5
    return torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic").clamp(-1, 1)


def same_outside(before: torch.Tensor, after: torch.Tensor, mask: torch.Tensor) -> bool:
    outside = (mask == 0).expand_as(before)
    return torch.equal(before[outside], after[outside])


@pytest.mark.parametrize("roll", [0.0, 0.7, -1.5])
@pytest.mark.parametrize("side", [64, 1024])
def test_pasting_the_own_crop_changes_little(roll: float, side: int) -> None:
    picture, face = scene(), ellipse_face(120, 100, 70, roll)
    after, mask = paste(picture, crop(picture, face.quad, side), face)
    assert (after - picture).abs().max() < 0.03
    assert same_outside(picture, after, mask)


def test_mask_covers_the_face_and_not_the_picture() -> None:
    picture, face = scene(), ellipse_face(120, 100, 70)
    after, mask = paste(picture, torch.zeros(1, 3, 128, 128), face)
    columns, rows = face.mesh[:, 0].long(), face.mesh[:, 1].long()
    assert mask[0, 0, rows, columns].min() > 0.97
    assert mask.amin() == 0
    assert mask.amax() == 1
    assert (mask > 0).float().mean() < 0.2
    assert same_outside(picture, after, mask)


def test_colour_follows_the_seam() -> None:
    picture, face = torch.full((1, 3, 200, 240), 0.1), ellipse_face(120, 100, 70)
    after, _ = paste(picture, torch.full((1, 3, 128, 128), -0.2), face)
    assert (after - picture).abs().max() < 0.02


def test_a_new_face_gets_as_sharp_as_the_old_one() -> None:
    face, rng = ellipse_face(120, 100, 140), torch.Generator().manual_seed(0)
    grain = torch.rand(2, 3, 66, 80, generator=rng) - 0.5
    picture, other = torch.nn.functional.interpolate(grain, size=(200, 240), mode="bilinear").split(1)
    after, _ = paste(picture, crop(0.7 * other, face.quad, 256), face)
    middle = (..., slice(80, 120), slice(100, 140))
    assert 0.85 < float(after[middle].std() / picture[middle].std()) < 1.1
    assert abs(float(torch.corrcoef(torch.stack([after[middle].flatten(), picture[middle].flatten()]))[0, 1])) < 0.1


def test_the_inside_of_the_old_face_does_not_come_back() -> None:
    face, patch = ellipse_face(120, 100, 70), torch.zeros(1, 3, 256, 256)
    plain, marked = torch.zeros(1, 3, 200, 240), torch.zeros(1, 3, 200, 240)
    marked[:, :, 92:108, 112:128] = 1.0  # something in the middle of the old face
    assert torch.allclose(paste(plain, patch, face)[0], paste(marked, patch, face)[0], atol=1e-6)


def test_large_patch_in_a_small_face_does_not_alias() -> None:
    picture, face = torch.zeros(1, 3, 100, 100), ellipse_face(50, 50, 30, 0.3)
    lines = torch.full((1, 3, 1024, 1024), -1.0)
    lines[..., ::2] = 1.0
    after, _ = paste(picture, lines, face)
    assert after.abs().max() < 0.05


@pytest.mark.parametrize("place", [(0, 0), (240, 100), (120, 199)])
def test_faces_cut_by_the_edge(place: tuple[int, int]) -> None:
    picture, face = scene(), ellipse_face(*place, 90)
    after, mask = paste(picture, crop(picture, face.quad, 128), face)
    assert after.isfinite().all()
    assert (after - picture).abs().max() < 0.1
    assert mask[0, 0, min(place[1], 199), min(place[0], 239)] > 0.9
    assert same_outside(picture, after, mask)


def test_a_face_outside_the_picture_changes_nothing() -> None:
    picture, face = scene(), ellipse_face(900, 900, 50)
    after, mask = paste(picture, torch.zeros(1, 3, 64, 64), face)
    assert torch.equal(after, picture)
    assert not mask.any()


def test_the_given_picture_is_not_written_to() -> None:
    picture, face = scene(), ellipse_face(120, 100, 70)
    copy = picture.clone()
    paste(picture, torch.ones(1, 3, 64, 64), face)
    assert torch.equal(picture, copy)


def test_what_is_in_front_stays_bit_for_bit() -> None:
    picture, face = scene(), ellipse_face(120, 100, 70)
    front = torch.zeros(1, 1, 256, 256)
    front[..., 150:, :] = 1  # the lower part of the face
    whole, _ = paste(picture, torch.zeros(1, 3, 128, 128), face)
    after, mask = paste(picture, torch.zeros(1, 3, 128, 128), face, front)
    low = int(face.quad[0, 1] + (face.quad[1, 1] - face.quad[0, 1]) * 155 / 256) + 1
    assert torch.equal(after[:, :, low:], picture[:, :, low:])
    assert not torch.equal(whole[:, :, low:], picture[:, :, low:])
    assert mask[..., :low, :].max() == 1
    assert mask[..., low:, :].max() == 0
