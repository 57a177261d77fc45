"""What must stay is measured on pictures and read off labels."""

import torch

from dbaf.faces import FaceFinder
from dbaf.generators.mobile import MobileGenerator
from dbaf.training.keep import moving, shown, visible
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
