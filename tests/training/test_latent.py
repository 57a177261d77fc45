"""Latent-space losses and samples: deterministic, and zero exactly where they should be."""

import torch

from dbaf.generators.mobile import MobileGenerator
from dbaf.training.augment import augment, occlude
from dbaf.training.common import settings
from dbaf.training.latent import GROUPS, contrastive, random_keys
from dbaf.training.synthetic import sample_encoded, sample_wplus


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_samples_are_seeded_and_some_are_mixed(generator: MobileGenerator) -> None:
    codes = sample_wplus(generator, 32, rng())
    assert codes.shape == (32, 23, 512)
    assert torch.equal(codes, sample_wplus(generator, 32, rng()))
    mixed = (codes[:, 0] != codes[:, -1]).any(1)
    assert 0 < mixed.sum() < 32


def test_groups_cover_every_style(generator: MobileGenerator) -> None:
    assert sum(GROUPS) == generator.styles


@torch.no_grad()
def test_keys_are_distinct_codes(generator: MobileGenerator) -> None:
    keys = random_keys(generator, 4, rng())
    assert keys.shape == (4, 3, 512)
    assert torch.pdist(keys.flatten(1)).min() > 1


def test_contrastive_pulls_same_and_pushes_different_pairs() -> None:
    one = torch.eye(4)
    assert contrastive(one, one, same=True) == 0
    assert contrastive(one, one.roll(1, 0), same=True) == 1
    assert contrastive(one, one, same=False) == 0.5
    assert contrastive(one, one.roll(1, 0), same=False) == 0


def test_augmentation_is_seeded_in_range_and_masked() -> None:
    faces = torch.rand(3, 3, 256, 256, generator=rng()) * 2 - 1
    mask = torch.zeros(3, 1, 256, 256)
    mask[:, :, 80:180, 80:180] = 1
    out = augment(faces, mask, rng(1))
    assert out.shape == faces.shape
    assert out.abs().max() <= 1
    assert out[:, :, :50].abs().max() == 0
    assert out[:, :, 110:150, 110:150].abs().mean() > 0.1
    assert torch.equal(out, augment(faces, mask, rng(1)))
    assert not torch.equal(out, augment(faces, mask, rng(2)))


@torch.no_grad()
def test_encoded_people_are_mixed_and_stretched_about_the_mean(generator: MobileGenerator) -> None:
    bank = generator.mean_w + torch.randn(5, 23, 512, generator=rng())
    codes = sample_encoded(bank, generator.mean_w, 16, rng(1))
    assert codes.shape == (16, 23, 512)
    assert torch.equal(codes, sample_encoded(bank, generator.mean_w, 16, rng(1)))
    directions = torch.nn.functional.normalize(bank - generator.mean_w, dim=2)  # [5, 23, 512]
    found = torch.nn.functional.normalize(codes - generator.mean_w, dim=2)
    person = torch.einsum("bld,nld->bln", found, directions).argmax(2)  # whose style each one is
    likeness = torch.einsum("bld,nld->bln", found, directions).amax(2)
    assert likeness.min() > 0.99
    assert 0 < (person[:, 0] != person[:, -1]).sum() < 16


def test_occluders_lie_where_their_mask_says() -> None:
    faces, others = torch.full((8, 3, 64, 64), -0.5), torch.full((8, 3, 64, 64), 0.5)
    out, mask = occlude(faces, others, rng(3))
    assert torch.allclose(out, -0.5 + mask.expand_as(out))
    shown = mask.flatten(1).mean(1)
    assert (shown == 0).any()  # some faces stay free
    assert shown.amax() > 0.02
    assert torch.equal(out, occlude(faces, others, rng(3))[0])


def test_every_training_script_has_settings() -> None:
    for script in ("encoder", "finish", "disentangle", "maar"):
        found = settings(script)
        assert found.steps > 0
        assert found.peak_rate > 0
