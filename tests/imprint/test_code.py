"""W+ codes as bytes."""

import pytest
import torch

from dbaf.imprint import LatentCode
from dbaf.imprint.code import ERRORS, STEPS

LENGTHS = (24, 12, 6)


@pytest.fixture(scope="module")
def axes() -> torch.Tensor:
    """[20, 48], orthonormal."""
    return torch.linalg.qr(torch.randn(48, 20, generator=torch.Generator().manual_seed(1))).Q.T


@pytest.fixture(scope="module")
def codes(axes: torch.Tensor) -> torch.Tensor:
    """[400, 3, 16] that vary along the axes, some much more than others."""
    spread = 3 * 0.8 ** torch.arange(20)
    return (torch.randn(400, 20, generator=torch.Generator().manual_seed(0)) * spread @ axes + 5).view(400, 3, 16)


def fitted(codes: torch.Tensor, gradients: torch.Tensor) -> LatentCode:
    coder = LatentCode(components=20, natural=10, spread=0.2, lengths=LENGTHS, styles=3, dim=16)
    coder.fit(codes, gradients)
    return coder


@pytest.fixture(scope="module")
def coder(codes: torch.Tensor, axes: torch.Tensor) -> LatentCode:
    """All axes matter alike."""
    return fitted(codes[:300], torch.randn(100, 20, generator=torch.Generator().manual_seed(2)) @ axes)


def test_more_bytes_keep_more(coder: LatentCode, codes: torch.Tensor) -> None:
    held = codes[300:]
    spread = (held - held.mean(0)).square().sum()
    lost = []
    for length in LENGTHS:
        packed = [coder.pack(code, length) for code in held]
        assert {len(data) for data in packed} == {length}
        lost.append(float((torch.stack([coder.unpack(data) for data in packed]) - held).square().sum() / spread))
    assert lost == sorted(lost)
    assert lost[0] < 0.01
    assert lost[-1] < 0.2


def test_bytes_come_back_as_they_were(coder: LatentCode, codes: torch.Tensor) -> None:
    for length in LENGTHS:
        data = coder.pack(codes[0], length)
        assert coder.pack(coder.unpack(data), length) == data


def test_far_codes_are_clipped_and_no_error(coder: LatentCode, codes: torch.Tensor) -> None:
    for far in (codes[0] * 1e6, -codes[0] * 1e6):
        assert coder.unpack(coder.pack(far, 12)).isfinite().all()


def test_coordinates_and_back(coder: LatentCode, codes: torch.Tensor) -> None:
    there = coder.coordinates(codes[300:])
    assert torch.allclose(coder.latent(there), codes[300:], atol=1e-3)
    ones = torch.eye(20)
    assert torch.allclose(coder.coordinates(coder.latent(ones)), ones, atol=1e-4)


def test_what_faces_depend_on_is_kept_best(codes: torch.Tensor, axes: torch.Tensor) -> None:
    seldom = axes[12]  # codes vary little along it
    coder = fitted(codes[:300], torch.randn(100, 1) * 5 * seldom + torch.randn(100, 20) @ axes * 0.1)
    back = torch.stack([coder.unpack(coder.pack(code, 6)) for code in codes[300:]])
    error = ((back - codes[300:]).flatten(1) @ axes.T).square().mean(0)
    assert error[12] < 0.2 * error[11]
    assert error[12] < 0.2 * error[0]


def test_codes_along_the_natural_axes_get_all_bits(coder: LatentCode, codes: torch.Tensor) -> None:
    there = coder.coordinates(codes[300:])
    natural = torch.where(torch.arange(20) < 10, there, 0)
    assert all(coder.pack(code, 12)[0] < 128 for code in coder.latent(natural))
    back = torch.stack([coder.unpack(coder.pack(code, 12)) for code in coder.latent(natural)])
    assert (coder.coordinates(back) - natural).square().mean() < 0.02
    assert any(coder.pack(code, 12)[0] >= 128 for code in coder.latent(there + 3 * (torch.arange(20) >= 10)))


def test_any_bytes_are_somebody(coder: LatentCode) -> None:
    assert coder.unpack(b"\xff" * 12).isfinite().all()


def test_digest_names_the_weights(coder: LatentCode) -> None:
    other = LatentCode(components=20, natural=10, spread=0.2, lengths=LENGTHS, styles=3, dim=16)
    other.load_state_dict(coder.state_dict())
    assert other.digest == coder.digest
    other.importance[0] += 1
    assert other.digest != coder.digest


def test_quantiser_table_is_that_of_the_normal_distribution() -> None:
    values = torch.special.ndtri((torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000)
    for bits, step in STEPS.items():
        top = (2**bits - 1) / 2
        back = ((values / step + top).round().clamp(0, 2**bits - 1) - top) * step
        assert (back - values).square().mean() == pytest.approx(ERRORS[bits], rel=0.01)
