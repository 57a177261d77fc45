"""Detail of a new face: as sharp as the old one, and nothing of what the old one shows."""

import torch
import torch.nn.functional as F

from dbaf.faces.colour import LEAST, MOST, match_detail

SIZE = 128


def noise(seed: int, contrast: float = 0.1) -> torch.Tensor:
    """[1, 3, SIZE, SIZE] about grey."""
    return contrast * torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def detail(picture: torch.Tensor) -> torch.Tensor:
    """Mean contrast between pixels and their neighbours."""
    return (picture - F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)).abs().mean()


ALL = torch.ones(1, 1, SIZE, SIZE)


def test_a_soft_face_gets_as_sharp_as_the_old_one_and_a_sharp_one_as_soft() -> None:
    for new, old in ((noise(0, 0.08), noise(1, 0.12)), (noise(0, 0.12), noise(1, 0.09))):
        torch.testing.assert_close(detail(match_detail(new, old, ALL)), detail(old), rtol=0.05, atol=0)


def test_factors_have_bounds() -> None:
    for contrast, factor in ((0.5, MOST), (0.001, LEAST)):
        found = detail(match_detail(noise(0, 0.05), noise(1, contrast), ALL)) / detail(noise(0, 0.05))
        assert abs(found - factor) < 0.05
    assert match_detail(torch.zeros(1, 3, SIZE, SIZE), noise(1), ALL).abs().max() == 0


def test_only_one_number_an_octave_comes_from_the_old_face() -> None:
    """So the old face upside down does the same."""
    same = match_detail(noise(0), noise(1, 0.15), ALL), match_detail(noise(0), noise(1, 0.15).flip(2, 3), ALL)
    torch.testing.assert_close(*same, atol=1e-4, rtol=0)


def test_what_is_outside_does_not_count() -> None:
    inside = torch.zeros_like(ALL)
    inside[..., 32:96, 32:96] = 1
    old, other = noise(1, 0.15), noise(1, 0.15)
    other[..., :24, :] = torch.linspace(-1, 1, SIZE)
    new = match_detail(noise(0), old, inside), match_detail(noise(0), other, inside)
    torch.testing.assert_close(new[0][..., 56:72, 56:72], new[1][..., 56:72, 56:72], atol=0.02, rtol=0)


def test_the_same_detail_changes_nothing_and_any_size_will_do() -> None:
    for size in (128, 97):
        face = noise(0)[..., :size, :size]
        torch.testing.assert_close(match_detail(face, face, ALL[..., :size, :size]), face, atol=1e-5, rtol=0)
