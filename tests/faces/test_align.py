"""Geometry of the FFHQ square and of resampling; no network, no face."""

import math

import pytest
import torch

from dbaf.faces.align import crop, ffhq_quad, square, warp

POINTS = torch.tensor([[80.0, 100.0], [120.0, 100.0], [100.0, 125.0], [84.0, 145.0], [116.0, 145.0]])


def turned(points: torch.Tensor, angle: float) -> torch.Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    return points.double() @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)


def test_quad_of_an_upright_face() -> None:
    # eyes 40 apart, mouth 45 below them: half a side is max(2.0 * 40, 1.8 * 45) = 81, centre 10 % below the eyes
    top_left, bottom_left, bottom_right, top_right = ffhq_quad(POINTS).tolist()
    assert top_left == pytest.approx([19.0, 23.5])
    assert bottom_left == pytest.approx([19.0, 185.5])
    assert bottom_right == pytest.approx([181.0, 185.5])
    assert top_right == pytest.approx([181.0, 23.5])


@pytest.mark.parametrize("degrees", [-170, -90, -45, 10, 45, 120])
def test_quad_turns_and_grows_with_the_face(degrees: int) -> None:
    angle = math.radians(degrees)
    assert torch.allclose(ffhq_quad(turned(POINTS, angle)), turned(ffhq_quad(POINTS), angle))
    assert torch.allclose(ffhq_quad(POINTS * 3), ffhq_quad(POINTS) * 3)


def test_quad_of_coinciding_points_is_finite() -> None:
    assert ffhq_quad(torch.full((5, 2), 7.0)).isfinite().all()


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_crop_on_the_pixel_grid_copies() -> None:
    source = picture(40, 60)
    quad = torch.tensor([[10.0, 5.0], [10.0, 25.0], [30.0, 25.0], [30.0, 5.0]])
    assert torch.allclose(crop(source, quad, 20), source[:, :, 5:25, 10:30], atol=1e-5)


def test_crop_turned_by_a_quarter() -> None:
    source = picture(32, 32)
    out = crop(source, square(torch.tensor([16.0, 16.0]), 32, math.pi / 2), 32)
    assert torch.allclose(out, source.rot90(1, dims=(2, 3)), atol=1e-4)


def test_crop_outside_reflects() -> None:
    source = picture(8, 8)
    quad = torch.tensor([[-8.0, 0.0], [-8.0, 8.0], [0.0, 8.0], [0.0, 0.0]])
    assert torch.allclose(crop(source, quad, 8), source.flip(3), atol=1e-5)
    far = quad + torch.tensor([-16.0, 32.0])  # several pictures away, and still the same tiling
    assert torch.allclose(crop(source, far, 8), source.flip(3), atol=1e-5)


def test_warp_outside_repeats_the_border_on_request() -> None:
    source = picture(8, 8)
    quad = torch.tensor([[-8.0, 0.0], [-8.0, 8.0], [0.0, 8.0], [0.0, 0.0]])
    assert torch.allclose(warp(source, quad, 8, 8, mirrored=False), source[..., :1].expand(1, 3, 8, 8), atol=1e-5)


def test_shrinking_does_not_alias() -> None:
    lines = torch.zeros(1, 3, 1500, 1500)
    lines[..., ::2] = 1.0  # one pixel on, one off: grey from afar
    out = crop(lines, square(torch.tensor([750.0, 750.0]), 1000, 0.3), 64)
    assert (out - 0.5).abs().max() < 0.005


def test_enlarging_stays_in_range() -> None:
    step = torch.full((1, 3, 16, 16), -1.0)
    step[..., 8:] = 1.0
    out = crop(step, square(torch.tensor([8.0, 8.0]), 8, 0.2), 100)
    assert out.amin() >= -1
    assert out.amax() <= 1


def test_only_the_needed_part_is_touched() -> None:
    large = torch.zeros(1, 1, 1, 1).expand(1, 3, 200_000, 200_000)  # 480 GB if anyone copied it
    out = crop(large, square(torch.tensor([150_000.0, 90_000.0]), 50, 0.1), 32)
    assert out.shape == (1, 3, 32, 32)
    assert not out.any()


def test_there_and_back() -> None:
    smooth = torch.nn.functional.interpolate(picture(8, 8), size=(64, 64), mode="bicubic").clamp(-1, 1)
    quad = square(torch.tensor([32.0, 32.0]), 50, 0.4)
    patch = crop(smooth, quad, 100)
    axes = torch.stack([quad[3] - quad[0], quad[1] - quad[0]])
    corners = torch.tensor([[24.0, 24], [24, 40], [40, 40], [40, 24]], dtype=torch.float64)
    back = warp(patch, torch.linalg.solve(axes.T, (corners - quad[0]).T).T * 100, 16, 16)
    assert (back - smooth[:, :, 24:40, 24:40]).abs().max() < 0.02
