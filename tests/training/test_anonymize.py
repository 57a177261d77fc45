"""KRIA's coordinates: whitened, where identity is, and not where a picture does not keep them."""

import torch

from dbaf.kria import Reflection
from dbaf.training.anonymize import COMPONENTS, PROBED, Components, effects, fit, probe
from dbaf.training.critics import LatentCritic
from dbaf.training.latent import GROUPS

WIDTH, RANK = 64, 2


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes() -> torch.Tensor:
    """[400, WIDTH], entries of falling deviation."""
    return 1 + torch.randn(400, WIDTH, generator=rng()) * torch.linspace(2, 0.5, WIDTH)


def fitted(errors: torch.Tensor) -> tuple[Components, Reflection]:
    """Identity is in the first four components only; attributes are everywhere alike."""
    torch.manual_seed(0)
    components = Components.of(codes())
    read = components.directions / components.deviation  # code -> coordinates
    reflection = Reflection(WIDTH, RANK, dim=8)
    fit(reflection, components, read[:, :4].T, read.T, errors, rng(1))
    return components, reflection


def chosen(components: Components, reflection: Reflection) -> torch.Tensor:
    """[COMPONENTS]: how much of each component is among the chosen coordinates, 0 to 1."""
    turn = reflection.whiten.T @ (components.directions * components.deviation)  # [RANK, COMPONENTS]
    return turn.square().sum(0)


def test_coordinates_are_white_and_can_be_written_back() -> None:
    components, reflection = fitted(torch.zeros(10, COMPONENTS))
    torch.testing.assert_close(reflection.colour @ reflection.whiten, torch.eye(RANK), atol=1e-4, rtol=0)
    read = reflection.read(codes())
    torch.testing.assert_close(read.T @ read / len(read), torch.eye(RANK), atol=0.02, rtol=0)
    torch.testing.assert_close(components.read(codes())[:, :4].square().mean(0), torch.ones(4), atol=0.02, rtol=0)


def test_they_lie_where_identity_is() -> None:
    assert chosen(*fitted(torch.zeros(10, COMPONENTS)))[:4].sum() > 0.99 * RANK


def test_what_a_picture_does_not_keep_is_left_alone() -> None:
    errors = torch.zeros(10, COMPONENTS)
    errors[:, :2] = 100.0
    found = chosen(*fitted(errors))
    assert found[:2].sum() < 0.01
    assert found[2:4].sum() > 0.99 * RANK


def test_effects_are_the_critics_derivatives() -> None:
    critic = LatentCritic(list(range(0, sum(GROUPS), 2)), dim=8)
    critic.scale.fill_(2.0)
    parts = effects(critic, critic.identity_map, sum(GROUPS))
    wplus = torch.randn(1, sum(GROUPS), 8, generator=rng(), requires_grad=True)
    output = critic.identity_map(critic.features(wplus))[0, 5]
    (gradient,) = torch.autograd.grad(output, wplus)
    found = torch.cat([part[5] for part in parts])
    torch.testing.assert_close(found, gradient.flatten())


def test_a_perfect_reader_makes_no_error_and_a_blind_one_does() -> None:
    torch.manual_seed(0)
    identity = torch.randn(60, sum(GROUPS), 16, generator=rng())
    parts = [part.flatten(1) for part in identity.split(list(GROUPS), 1)]
    components = [Components.of(part) for part in parts]
    perfect = probe(components, identity, lambda index, new: new, rng(2))
    blind = probe(components, identity, lambda index, new: identity[index : index + 1], rng(2))
    for one, other in zip(perfect, blind, strict=True):
        assert one.shape == (PROBED, COMPONENTS)
        assert one.abs().max() < 1e-3
        assert other.square().mean() > 0.3
