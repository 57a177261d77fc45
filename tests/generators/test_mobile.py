"""The generator against golden pictures, and the promises that training builds on."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dbaf.generators.mobile import MobileGenerator, depthwise, inverse_haar

# Made with the weights as converted, whose pictures agreed with OpenVINO's to 3e-4 and w to 6e-6.
GOLDEN = load_file(Path(__file__).parent / "golden_mobile.safetensors")


@torch.no_grad()
def test_golden_outputs(generator: MobileGenerator) -> None:
    w = generator.mapping(GOLDEN["z"])
    torch.testing.assert_close(w, GOLDEN["w"], atol=1e-4, rtol=0)
    picture = F.interpolate(generator(generator.widen(w)), size=64, mode="area")
    torch.testing.assert_close(picture, GOLDEN["picture"], atol=2e-3, rtol=0)


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_neighbours(generator: MobileGenerator) -> None:
    codes = generator.widen(GOLDEN["w"])
    assert len(codes) > 1
    together = generator.hidden(codes, 128)
    alone = torch.cat([generator.hidden(code, 128) for code in codes.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(generator.hidden(codes.flip(0), 128).flip(0), together, atol=1e-3, rtol=1e-4)


def test_sizes(generator: MobileGenerator) -> None:
    assert generator.styles == 23
    assert generator.size == 1024


@torch.no_grad()
def test_inactive_styles_do_not_reach_the_picture(generator: MobileGenerator) -> None:
    code = generator.widen(GOLDEN["w"][:1]).clone()
    other = code.clone()
    unused = [i for i in range(generator.styles) if i not in generator.active]
    assert unused
    other[:, unused] += 1
    torch.testing.assert_close(generator.preview(other), generator.preview(code), atol=0, rtol=0)
    for style in generator.active:
        changed = code.clone()
        changed[:, style] += 1
        assert (generator.preview(changed) - generator.preview(code)).abs().max() > 1e-3


@torch.no_grad()
def test_preview_is_close_to_the_picture(generator: MobileGenerator) -> None:
    code = generator.widen(GOLDEN["w"][:1])
    small = F.interpolate(generator(code), scale_factor=0.25, mode="area")
    error = (generator.preview(code) - small).square().mean()
    assert 10 * torch.log10(4 / error) > 25  # dB


def test_inverse_haar_of_one_coefficient_each() -> None:
    """Low band, then LH (rows differ), HL (columns differ), HH."""
    for band, expected in enumerate(([[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]])):
        x = torch.zeros(1, 4, 1, 1)
        x[0, band] = 1
        assert inverse_haar(x)[0, 0].tolist() == expected


def test_the_quick_gradient_is_the_gradient(generator: MobileGenerator) -> None:
    x = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kernel = torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(2))
    style = torch.randn(2, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()
    quick = torch.autograd.grad((depthwise(x, style, kernel) * weights).sum(), (x, style))
    plain = F.conv2d(x * style[:, :, None, None], kernel, padding=1, groups=8)
    slow = torch.autograd.grad((plain * weights).sum(), (x, style))
    torch.testing.assert_close(quick, slow)


@torch.no_grad()
def test_one_map_is_convolved_as_many_are() -> None:
    x = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(0))
    style = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    kernel = torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    alone = [depthwise(one, its, kernel) for one, its in zip(x.split(1), style.split(1), strict=True)]
    torch.testing.assert_close(torch.cat(alone), depthwise(x, style, kernel), atol=1e-4, rtol=0)
