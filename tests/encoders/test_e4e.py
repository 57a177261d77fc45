"""e4e at a tiny width: shapes, progressive styles, the latent average, and independence of the batch."""

import pytest
import torch

from dbaf.encoders.e4e import E4E

DIM, WIDTH = 24, 16


def seeded(styles: int = 14) -> E4E:
    torch.manual_seed(0)
    encoder = E4E(styles, WIDTH, DIM)
    encoder.mean_wplus.normal_()
    return encoder.eval().requires_grad_(False)


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("styles", [14, 18])
def test_shapes(styles: int) -> None:
    codes, maps = seeded(styles)(pictures(1))
    assert codes.shape == (1, styles, DIM)
    assert {px: tuple(m.shape) for px, m in maps.items()} == {
        16: (1, 8 * WIDTH, 16, 16),
        32: (1, 4 * WIDTH, 32, 32),
        64: (1, 2 * WIDTH, 64, 64),
    }


def test_the_released_width_has_the_channels_that_maar_takes() -> None:
    with torch.device("meta"):
        encoder = E4E(14)
        codes, maps = encoder.eval()(torch.empty(1, 3, 256, 256))
    assert codes.shape == (1, 14, 512)
    assert {px: m.shape[1] for px, m in maps.items()} == {16: 512, 32: 256, 64: 128}
    assert sum(p.numel() for p in encoder.parameters()) > 200e6


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    encoder, batch = seeded(), pictures(3)
    together, maps = encoder(batch)
    for index in (2, 0):
        alone, own = encoder(batch[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], atol=1e-5, rtol=1e-4)
        for px in maps:
            torch.testing.assert_close(own[px][0], maps[px][index], atol=1e-5, rtol=1e-4)


def test_styles_are_the_first_one_and_deltas_on_the_mean() -> None:
    encoder, picture = seeded(), pictures(1)
    before = encoder(picture)[0]
    encoder.mean_wplus += 1
    torch.testing.assert_close(encoder(picture)[0], before + 1)
    encoder.mean_wplus.zero_()
    for block in list(encoder.blocks)[1:]:
        block.linear.weight.zero_()  # no deltas
    codes = encoder(picture)[0]
    torch.testing.assert_close(codes, codes[:, :1].expand_as(codes))
    assert codes.abs().max() > 0


def test_it_sees_the_whole_picture() -> None:
    encoder, picture = seeded(), pictures(1)
    other = picture.clone()
    other[..., :16, :16] *= -1  # a corner, far from the face
    assert not encoder.covered
    assert (encoder(picture)[0] - encoder(other)[0]).abs().max() > 0
