"""Augmentation of training pictures."""

import torch

from dbaf.training.augment import augment, deform, occlude, relight, soften


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand(4, 3, 256, 256, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_pictures() -> None:
    x, mask = pictures(), torch.ones(4, 1, 256, 256)
    assert torch.equal(augment(x, mask, rng()), augment(x, mask, rng()))
    assert not torch.equal(augment(x, mask, rng()), augment(x, mask, rng(1)))


def test_each_picture_is_relit_by_itself_and_its_detail_stays() -> None:
    x = pictures()
    relit = relight(x, rng())
    shift = (relit - x).mean((1, 2, 3))
    assert shift.std() > 0.01
    for before, after in zip(x.flatten(2), relit.flatten(2), strict=True):  # a linear function of each channel
        assert all(torch.corrcoef(torch.stack(pair))[0, 1] > 0.9999 for pair in zip(before, after, strict=True))


def test_softening_takes_detail_and_leaves_the_light() -> None:
    x = pictures()
    soft = soften(x, rng())
    assert soft.shape == x.shape
    assert soft.std() < 0.8 * x.std()
    assert torch.allclose(soft.mean((2, 3)), x.mean((2, 3)), atol=0.01)


def test_deformed_faces_stay_near_where_they_were_and_half_of_them_are_mirrored() -> None:
    steps = torch.linspace(-1, 1, 64)
    spot = torch.exp(-((steps - 0.4).square()[None, :] + (steps + 0.2).square()[:, None]) / 0.02)
    x = spot.expand(200, 3, 64, 64)
    deformed = deform(x, rng())
    assert torch.equal(deformed, deform(x, rng()))
    weight = deformed[:, 0] / deformed[:, 0].sum((1, 2), keepdim=True)
    across, down = (weight.sum(1) @ steps), (weight.sum(2) @ steps)  # where the spot is
    assert 70 < (across < 0).sum() < 130
    off = torch.stack([across.abs() - 0.4, down + 0.2], 1).norm(dim=1)
    assert 0.005 < off.median() < 0.06
    assert off.max() < 0.15


def test_augmented_faces_show_nothing_outside_their_mask() -> None:
    assert not augment(pictures(), torch.zeros(4, 1, 256, 256), rng()).any()


def test_what_is_in_front_covers_as_many_faces_as_asked() -> None:
    x, others = pictures(), pictures(1)
    untouched, none = occlude(x, others, rng(), share=0)
    assert torch.equal(untouched, x)
    assert not none.any()
    covered, front = occlude(x, others, rng(), share=1)
    assert front.flatten(1).amax(1).min() == 1
    assert torch.equal(covered[front.expand_as(x) == 0], x[front.expand_as(x) == 0])
