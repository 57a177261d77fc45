import math

import pytest
import torch

from dbaf.evaluation.align import ARCFACE_112, similarity, warp


def test_similarity_recovers_a_known_transform() -> None:
    angle, scale = 0.4, 1.7
    linear = scale * torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )
    shift = torch.tensor([12.0, -5.0], dtype=torch.float64)
    matrix = similarity(ARCFACE_112, ARCFACE_112 @ linear.T + shift)
    torch.testing.assert_close(matrix, torch.cat([linear, shift[:, None]], 1))


def test_similarity_is_the_least_squares_fit() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(5, 2, generator=generator, dtype=torch.float64)
    target = torch.rand(5, 2, generator=generator, dtype=torch.float64)
    matrix = similarity(points, target)

    def error(m: torch.Tensor) -> float:
        return float(((points @ m[:, :2].T + m[:, 2] - target) ** 2).sum())

    a, b = matrix[0, 0], matrix[1, 0]
    for da, db, dx, dy in [(1e-3, 0, 0, 0), (0, 1e-3, 0, 0), (0, 0, 1e-3, 0), (0, 0, 0, 1e-3)]:
        for sign in (-1, 1):
            other = torch.tensor(
                [
                    [a + sign * da, -(b + sign * db), matrix[0, 2] + sign * dx],
                    [b + sign * db, a + sign * da, matrix[1, 2] + sign * dy],
                ],
                dtype=torch.float64,
            )
            assert error(other) > error(matrix)


def test_similarity_refuses_what_has_no_answer() -> None:
    with pytest.raises(ValueError, match="two different points"):
        similarity(torch.ones(5, 2), ARCFACE_112)
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        similarity(torch.ones(4, 2), ARCFACE_112)


def test_warp_by_the_identity_changes_nothing() -> None:
    picture = torch.rand(2, 3, 16, 16)
    matrix = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(warp(picture, matrix, 16), picture, atol=1e-5, rtol=0)


def test_warp_puts_a_pixel_where_the_matrix_says() -> None:
    picture = torch.zeros(1, 1, 20, 30)
    picture[0, 0, 4, 7] = 1.0
    matrix = torch.tensor([[1.0, 0, -5], [0, 1, -2]], dtype=torch.float64)  # cut from x = 5, y = 2
    out = warp(picture, matrix, 10)
    assert out[0, 0, 2, 2] == pytest.approx(1.0, abs=1e-4)
    assert out.sum() == pytest.approx(1.0, abs=1e-3)


def test_warp_averages_when_it_shrinks() -> None:
    picture = (torch.arange(64) % 2).float().expand(1, 1, 64, 64).contiguous()
    matrix = torch.tensor([[0.25, 0, 0], [0, 0.25, 0]], dtype=torch.float64)
    torch.testing.assert_close(warp(picture, matrix, 16, oversample=4), torch.full((1, 1, 16, 16), 0.5))


def test_warp_is_differentiable() -> None:
    picture = torch.rand(1, 3, 16, 16, requires_grad=True)
    warp(picture, similarity(ARCFACE_112 / 7, ARCFACE_112 / 8), 14, oversample=2).sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
