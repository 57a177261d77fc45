"""benchmarks/attack.py: what pairs under one key give away."""

import torch
from made_up import fitted_kria

from benchmarks import attack

RANKS, TURNED = (6, 9), (4, 6)


def reflections(seed: int) -> torch.Tensor:
    """[15, 15] as KRIA's: of each part some directions change their sign."""
    generator, blocks = torch.Generator().manual_seed(seed), []
    for rank, turned in zip(RANKS, TURNED, strict=True):
        span = torch.linalg.qr(torch.randn(rank, turned, generator=generator, dtype=torch.float64)).Q
        blocks.append(torch.eye(rank, dtype=torch.float64) - 2 * span @ span.T)
    return torch.block_diag(*blocks)


def test_parts_are_those_of_the_model() -> None:
    assert attack.parts_of(fitted_kria()) == ([10] * 3, [7] * 3)


def test_enough_pairs_give_the_transform_and_one_does_not() -> None:
    turn = reflections(0)
    x = torch.randn(200, 15, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = 1.3 * x @ turn + torch.arange(15) / 10
    assert torch.allclose(attack.undo(y, x, y, RANKS, TURNED), x, atol=1e-6)
    assert (attack.undo(y, x[:1], y[:1], RANKS, TURNED) - x).abs().max() > 0.1


def test_figures_tell_the_attack_from_the_keys() -> None:
    right, wrong = reflections(0), reflections(2)
    x = torch.randn(160, 15, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = torch.stack([x, x @ right, x @ right @ right, x @ right @ wrong], 1)
    figures = attack.measure(rows, x, RANKS, TURNED)["found_at_1"]
    assert figures["right key, same photo"]["value"] == figures["64 pairs, another photo"]["value"] == 1
    assert figures["64 pairs, same photo"]["n"] == 5 * 96
    assert figures["wrong key, same photo"]["value"] < 0.3
    assert figures["1 pairs, same photo"]["value"] < 0.5
