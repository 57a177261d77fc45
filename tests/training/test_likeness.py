"""What the encoder's last stage does at its end."""

from types import SimpleNamespace

import torch

from dbaf.encoders.compact import CompactEncoder
from dbaf.training.likeness import MOVED_BACK, TEXTURE, move_back


def encoder() -> CompactEncoder:
    torch.manual_seed(0)
    return CompactEncoder(20, [0, 5, 16, 17, 19], dim=8, width=48, depth=1, heads=4).eval().requires_grad_(False)


def test_fine_styles_are_moved_towards_what_they_were_and_no_others() -> None:
    generator = SimpleNamespace(preview=lambda codes: torch.zeros(len(codes), 3, 256, 256))
    former, drifted = encoder(), encoder()
    drifted.mean_wplus += 1
    pictures, seen = torch.rand(3, 3, 256, 256) * 2 - 1, torch.ones(3, 1, 256, 256)
    move_back(drifted, former, generator, pictures, seen)
    off = drifted.mean_wplus - former.mean_wplus
    assert torch.equal(off[:TEXTURE], torch.ones(TEXTURE, 8))
    assert torch.allclose(off[TEXTURE:], torch.full((20 - TEXTURE, 8), 1 - MOVED_BACK), atol=1e-4)
