"""StyleGAN2 at tiny widths: sizes, noise inputs, and one picture's result does not depend on its neighbours."""

import pytest
import torch
import torch.nn.functional as F

from dbaf.generators.stylegan2 import StyleGAN2

CHANNELS = {256: [16, 16, 16, 16, 16, 8, 8], 1024: [16, 16, 16, 16, 16, 8, 8, 4, 4]}
STYLES = {256: 14, 1024: 18}


def seeded(size: int = 256) -> StyleGAN2:
    torch.manual_seed(0)
    generator = StyleGAN2(CHANNELS[size], dim=24)
    for name, tensor in [*generator.named_parameters(), *generator.named_buffers()]:
        if name.endswith(("strength", ".noise", "bias")) and "affine" not in name:
            tensor.data.normal_(std=0.3)
    return generator.eval().requires_grad_(False)


def codes(generator: StyleGAN2, count: int) -> torch.Tensor:
    return torch.randn(count, generator.styles, generator.dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", CHANNELS)
def test_sizes(size: int) -> None:
    generator = seeded(size)
    assert (generator.size, generator.styles) == (size, STYLES[size])
    w = generator.mapping(torch.randn(2, generator.dim))
    assert w.shape == (2, generator.dim)
    wide = generator.widen(w)
    assert wide.shape == (2, STYLES[size], generator.dim)
    assert torch.equal(wide[:, 0], w)
    assert generator(wide[:1]).shape == (1, 3, size, size)


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    generator = seeded()
    wplus = codes(generator, 3)
    noise = {px: torch.randn(3, 16, px, px) for px in (16, 32, 64)}
    together = generator(wplus, noise)
    alone = torch.cat([generator(wplus[i : i + 1], {px: n[i : i + 1] for px, n in noise.items()}) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().mean() > 0.1


def test_the_same_code_gives_the_same_picture() -> None:
    generator = seeded()
    wplus = codes(generator, 1)
    assert torch.equal(generator(wplus), generator(wplus))


def test_every_style_reaches_the_picture() -> None:
    generator = seeded()
    wplus = codes(generator, 1)
    picture = generator(wplus)
    assert generator.active == list(range(generator.styles))
    for style in generator.active:
        changed = wplus.clone()
        changed[:, style] += 1
        assert (generator(changed) - picture).abs().max() > 1e-3


@pytest.mark.parametrize("px", [16, 32, 64])
def test_maps_take_the_place_of_the_noise_of_both_layers(px: int) -> None:
    generator = seeded()
    wplus, block = codes(generator, 1), generator.blocks[px.bit_length() - 4]
    stored = generator(wplus)
    given = torch.randn(1, 16, px, px)
    mapped = generator(wplus, {px: given})
    assert (mapped - stored).abs().max() > 1e-3
    for conv in (block.conv1, block.conv2):
        conv.noise = given  # the same map, stored
    torch.testing.assert_close(generator(wplus), mapped)
    block.conv1.strength.zero_()
    one = generator(wplus, {px: given})
    assert (one - mapped).abs().max() > 1e-3
    block.conv2.strength.zero_()
    assert torch.equal(generator(wplus, {px: given}), generator(wplus))
    assert (generator(wplus) - one).abs().max() > 1e-3


def test_the_preview_is_the_small_picture() -> None:
    generator = seeded()
    wplus = codes(generator, 1)
    preview = generator.preview(wplus, size=128)
    torch.testing.assert_close(preview, F.avg_pool2d(generator(wplus), 2), atol=1e-5, rtol=1e-5)


def test_the_scale_of_a_style_is_demodulated() -> None:
    """Twice the modulation of a convolution gives the same map."""
    generator = seeded()
    wplus, conv = codes(generator, 1), generator.blocks[1].conv1.conv
    before = generator(wplus)
    conv.affine.weight *= 2
    conv.affine.bias *= 2
    torch.testing.assert_close(generator(wplus), before, atol=1e-4, rtol=1e-4)
