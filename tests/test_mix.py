"""Mixing identities: the ends, the way between, and who can be mixed with whom."""

import pytest
import torch

from dbaf.errors import PictureError
from dbaf.mix import mix_identities
from dbaf.stages import Attributes, Identity


def identity(count: int, seed: int, imprints: bool = False, restored: bool = False) -> Identity:
    code, latent = torch.randn(2, count, 4, 512, generator=torch.Generator().manual_seed(seed))
    proportions = code[:, 0, :8].sign()
    return Identity(code, latent, [[b"x"] if imprints else []] * count, [restored] * count, proportions)


def test_the_ends_and_the_middle() -> None:
    one, other = identity(2, 0), identity(2, 1)
    assert mix_identities(one, other, 0) is one
    torch.testing.assert_close(mix_identities(one, other, 1).code, other.code)
    quarter = mix_identities(one, other, 0.25)
    torch.testing.assert_close(quarter.code, 0.75 * one.code + 0.25 * other.code)
    torch.testing.assert_close(quarter.proportions, 0.75 * one.proportions + 0.25 * other.proportions)


def test_one_person_goes_onto_every_face() -> None:
    mixed = mix_identities(identity(3, 0), identity(1, 1), 1)
    assert mixed.code.shape == (3, 4, 512)
    torch.testing.assert_close(mixed.code, identity(1, 1).code.expand(3, -1, -1))


def test_attributes_and_imprints_are_the_face_s_own() -> None:
    one = identity(1, 0, imprints=True, restored=True)
    mixed = mix_identities(one, identity(1, 1), 0.5)
    attributes = Attributes(torch.ones(1, 4, 512), {})
    torch.testing.assert_close(mixed.whole(0, attributes), mixed.code + 1)  # though `one` was known as a whole
    assert mixed.imprints == [[b"x"]]
    assert torch.equal(mixed.latent, one.latent)
    assert one.restored == [True]


def test_what_cannot_be_mixed() -> None:
    with pytest.raises(PictureError, match="To mix with 3 faces takes 1 other face, or 3; found 2"):
        mix_identities(identity(3, 0), identity(2, 1), 0.5)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(PictureError, match="between 0 and 1"):
            mix_identities(identity(1, 0), identity(1, 1), strength)
