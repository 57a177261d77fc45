"""KRIA's coordinates: whitened, and not where what must stay would change."""

import torch

from dbaf.faces.gestures import GESTURES
from dbaf.kria import KeyedTurn
from dbaf.training.anonymize import Components, fit, raising, reading, with_gestures

WIDTH, COMPONENTS = 64, 24


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes() -> torch.Tensor:
    """[400, WIDTH], entries of falling deviation."""
    return 1 + torch.randn(400, WIDTH, generator=rng()) * torch.linspace(2, 0.5, WIDTH)


def fitted(shows: torch.Tensor, goes: torch.Tensor, left: int) -> tuple[Components, KeyedTurn]:
    """Coordinates, one direction fewer than there are components for each that is left out.

    Args:
        shows, goes: what must stay, by the component that it depends on [Q, COMPONENTS].
        left: directions that are left out.
    """
    torch.manual_seed(0)
    components = Components.of(codes(), COMPONENTS)
    read, write = components.directions / components.deviation, components.directions * components.deviation
    turn = KeyedTurn(WIDTH, COMPONENTS - left - 1, stretch=1.4, move=0.8, limit=4.0, dim=8)
    fit(turn, components, EXACT @ read.T, shows @ read.T, goes @ write.T, rng(1))
    return components, turn


def one(component: int, size: float = 1.0) -> torch.Tensor:
    """[1, COMPONENTS]"""
    return size * torch.eye(COMPONENTS)[component : component + 1]


NONE, EXACT = torch.zeros(1, COMPONENTS), one(11)


def chosen(components: Components, turn: KeyedTurn) -> torch.Tensor:
    """[COMPONENTS]: how much of each component is among the coordinates, 0 to 1."""
    axes = turn.whiten.T @ (components.directions * components.deviation)  # [rank, COMPONENTS]
    return axes.square().sum(0)


def test_coordinates_are_white_and_can_be_written_back() -> None:
    _, turn = fitted(NONE, NONE, 0)
    torch.testing.assert_close(turn.colour @ turn.whiten, torch.eye(turn.rank), atol=1e-4, rtol=0)
    read = turn.read(codes())
    torch.testing.assert_close(read.T @ read / len(read), torch.eye(turn.rank), atol=0.02, rtol=0)


def test_what_must_stay_is_left_alone() -> None:
    for component in (0, 5):
        for shows, goes in ((one(component), NONE), (NONE, one(component))):
            components, turn = fitted(shows, goes, 1)
            found = chosen(components, turn)
            assert found[component] < 0.01
            assert found[11] < 0.01
            assert found.sum() > COMPONENTS - 2.01
            torch.testing.assert_close(turn.colour @ turn.whiten, torch.eye(turn.rank), atol=1e-4, rtol=0)


def test_what_must_stay_most_is_left_out_and_no_key_moves_everybody_along_the_rest() -> None:
    components, turn = fitted(torch.cat([one(3, 5.0), one(7)]), one(9, 0.5), 1)
    found = chosen(components, turn)
    assert found[3] < 0.01
    assert found[[7, 9]].min() > 0.99
    # of every entry of the key
    moves = turn.mover @ turn.colour @ (components.directions / components.deviation)  # [8, COMPONENTS]
    assert moves[:, [7, 9]].abs().max() < 0.01 * moves[:, 1].abs().max()


def test_a_label_is_read_off_codes_and_raised_without_a_coordinate() -> None:
    centred = codes() - codes().mean(0)
    labels = torch.stack([(centred[:, 3] > 0).float() * 2 - 1, centred[:, 5]], 1)
    readings = reading(centred, labels)
    assert readings.shape == (2, WIDTH)
    assert ((centred @ readings[0] > 0) == (labels[:, 0] > 0)).float().mean() > 0.9
    assert torch.corrcoef(torch.stack([centred @ readings[1], labels[:, 1]]))[0, 1] > 0.9
    components = Components.of(codes(), COMPONENTS)
    exact = readings[:1]
    turn = KeyedTurn(WIDTH, COMPONENTS - 1, stretch=1.4, move=0.8, limit=4.0, dim=8)
    fit(turn, components, exact, torch.zeros(1, WIDTH), torch.zeros(1, WIDTH), rng(1))
    along = raising([exact], [components])
    torch.testing.assert_close(exact[0] @ along, torch.tensor(1.0))
    torch.testing.assert_close(along @ turn.whiten, torch.zeros(turn.rank), atol=1e-3, rtol=0)
    torch.testing.assert_close(turn.colour @ exact[0], torch.zeros(turn.rank), atol=1e-3, rtol=0)


def test_what_goes_with_gestures_is_found_and_sex_is_not_part_of_it() -> None:
    doing, along = torch.randn(400, GESTURES, generator=rng()), torch.randn(GESTURES, 3, 5, generator=rng(1))
    man = doing[:, :1] + 0.5 * torch.randn(400, 1, generator=rng(2))  # people who do the first are often men
    looks = torch.randn(3, 5, generator=rng(3))
    people = 2 + torch.einsum("bg,gld->bld", doing, along) + man[..., None] * looks
    code = with_gestures(people, doing, man)
    torch.testing.assert_close(code.along, along, atol=1e-3, rtol=0)
    rest = people - code(doing)
    torch.testing.assert_close(rest, rest.mean(0) + (man - man.mean())[..., None] * looks)
    assert float(code(doing.mean(0, keepdim=True)).abs().max()) < 1e-5
