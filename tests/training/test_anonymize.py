"""KRIA's coordinates: whitened, where identity is, and not where a picture does not keep them."""

import torch

from dbaf.kria import KeyedTurn
from dbaf.training.anonymize import COMPONENTS, PROBED, Components, effects, fit, probe
from dbaf.training.critics import LatentCritic
from dbaf.training.latent import GROUPS

WIDTH, RANK = 64, 2


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes() -> torch.Tensor:
    """[400, WIDTH], entries of falling deviation."""
    return 1 + torch.randn(400, WIDTH, generator=rng()) * torch.linspace(2, 0.5, WIDTH)


def fitted(errors: torch.Tensor, stays: int | None = None) -> tuple[Components, KeyedTurn]:
    """Identity is in the first four components only; attributes are everywhere alike, but for one that must stay."""
    torch.manual_seed(0)
    components = Components.of(codes())
    read = components.directions / components.deviation  # code -> coordinates
    turn = KeyedTurn(WIDTH, RANK, stretch=1.4, move=0.8, dim=8)
    shows = torch.zeros(1, WIDTH) if stays is None else read[:, [stays]].T
    fit(
        turn, components, read[:, :4].T, read.T, errors, shows, torch.zeros(1, WIDTH), int(stays is not None), 1, rng(1)
    )
    return components, turn


def chosen(components: Components, turn: KeyedTurn) -> torch.Tensor:
    """[COMPONENTS]: how much of each component is among the chosen coordinates, 0 to 1."""
    axes = turn.whiten.T @ (components.directions * components.deviation)  # [RANK, COMPONENTS]
    return axes.square().sum(0)


def test_coordinates_are_white_and_can_be_written_back() -> None:
    components, turn = fitted(torch.zeros(10, COMPONENTS))
    torch.testing.assert_close(turn.colour @ turn.whiten, torch.eye(RANK), atol=1e-4, rtol=0)
    read = turn.read(codes())
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


def test_what_must_stay_is_left_alone() -> None:
    for stays in range(4):
        components, turn = fitted(torch.zeros(10, COMPONENTS), stays)
        assert chosen(components, turn)[stays] < 0.01
        torch.testing.assert_close(turn.colour @ turn.whiten, torch.eye(RANK), atol=1e-4, rtol=0)


def test_no_key_moves_everybody_along_what_must_stay() -> None:
    torch.manual_seed(0)
    components = Components.of(codes())
    read, turn = components.directions / components.deviation, KeyedTurn(WIDTH, RANK, stretch=1.4, move=0.8, dim=8)
    shows = read[:, :1].T  # the first component
    fit(
        turn, components, read[:, :2].T, read.T, torch.zeros(10, COMPONENTS), shows, torch.zeros(1, WIDTH), 0, 1, rng(1)
    )
    moves = turn.mover @ turn.colour @ read  # [8, COMPONENTS]: of every entry of the key
    assert moves[:, 0].abs().max() < 0.01 * moves[:, 1].abs().max()


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
