"""W+ codes as bytes."""

import pytest
import torch

from dbaf.imprint import LatentCode
from dbaf.imprint.code import ERRORS, STEPS

LENGTHS = (24, 12, 6)


@pytest.fixture(scope="module")
def codes() -> torch.Tensor:
    """[400, 3, 16] that vary along 20 directions, some much more than others."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(48, 20, generator=generator)).Q.T
    spread = 3 * 0.8 ** torch.arange(20)
    return (torch.randn(400, 20, generator=generator) * spread @ directions + 5).view(400, 3, 16)


@pytest.fixture(scope="module")
def coder(codes: torch.Tensor) -> LatentCode:
    coder = LatentCode(components=20, lengths=LENGTHS, styles=3, dim=16)
    coder.fit(codes[:300])
    return coder


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


def test_any_bytes_are_somebody(coder: LatentCode) -> None:
    assert coder.unpack(b"\xff" * 12).isfinite().all()


def test_digest_names_the_weights(coder: LatentCode, codes: torch.Tensor) -> None:
    other = LatentCode(components=20, lengths=LENGTHS, styles=3, dim=16)
    other.load_state_dict(coder.state_dict())
    assert other.digest == coder.digest
    other.fit(codes[100:])
    assert other.digest != coder.digest


def test_quantiser_table_is_that_of_the_normal_distribution() -> None:
    values = torch.special.ndtri((torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000)
    for bits, step in STEPS.items():
        top = (2**bits - 1) / 2
        back = ((values / step + top).round().clamp(0, 2**bits - 1) - top) * step
        assert (back - values).square().mean() == pytest.approx(ERRORS[bits], rel=0.01)
