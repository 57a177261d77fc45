"""What must stay is measured on pictures and read off labels."""

from types import SimpleNamespace

import torch

from dbaf.faces import FaceFinder
from dbaf.generators.mobile import MobileGenerator
from dbaf.training.keep import fringes, moving, shown, visible
from dbaf.weights.bundle import bundle_folder


def test_the_mean_moves_with_a_label_the_others_held() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randn(300, 2, generator=rng)
    labels[:, 1] += 0.8 * labels[:, 0]  # they go together
    slopes = torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 0.0]])
    found = moving(5 + labels @ slopes + 0.01 * torch.randn(300, 3, generator=rng), labels)
    torch.testing.assert_close(found, slopes, atol=0.01, rtol=0)


def test_derivatives_foresee_what_shows(generator: MobileGenerator) -> None:
    finder = FaceFinder.from_bundle(bundle_folder("mobile"))
    rng = torch.Generator().manual_seed(1)
    w = generator.mean_w + 0.5 * (generator.mapping(torch.randn(1, generator.dim, generator=rng)) - generator.mean_w)
    code = generator.widen(w).detach().clone()
    derivative = visible(code, generator, finder)  # [11, L, 512]
    brighter = derivative[:3].mean(0, keepdim=True)
    step = 0.02 * brighter / brighter.square().sum()
    with torch.no_grad():
        before, after = (shown(generator.preview(one, size=128), finder) for one in (code, code + step))
    assert 0.01 < (after - before)[:3].mean() < 0.04


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
