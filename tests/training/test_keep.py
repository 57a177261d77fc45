"""What must stay is measured on pictures."""

from types import SimpleNamespace

import torch

from dbaf.generators.mobile import MobileGenerator
from dbaf.training.keep import fringes, skin, visible


def test_derivatives_foresee_what_shows(generator: MobileGenerator) -> None:
    rng = torch.Generator().manual_seed(1)
    w = generator.mean_w + 0.5 * (generator.mapping(torch.randn(1, generator.dim, generator=rng)) - generator.mean_w)
    code = generator.widen(w).detach().clone()
    derivative = visible(code, generator)  # [3, L, 512]
    brighter = derivative.mean(0, keepdim=True)
    step = 0.02 * brighter / brighter.square().sum()
    with torch.no_grad():
        before, after = (skin(generator.preview(one, size=128)) for one in (code, code + step))
    assert 0.01 < (after - before).mean() < 0.04


def test_a_fringe_is_hair_in_the_upper_part_of_a_face() -> None:
    meshes = torch.rand(1, 468, 2, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    meshes[:, [46, 53, 52, 65, 55, 285, 295, 282, 283, 276, 33, 133, 159, 145, 263, 362, 386, 374], 1] = 0.5
    pictures = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)

    def share(rows: slice) -> float:
        """With something in front in these rows."""
        front = torch.zeros(1, 1, 256, 256)
        front[:, :, rows] = 1
        net = SimpleNamespace(front=lambda pictures, inside, counts: front)
        return float(fringes(pictures, meshes, net))

    assert share(slice(0, 0)) == 0
    assert share(slice(0, 256)) == 1
    assert 0.3 < share(slice(0, 100)) < 1
