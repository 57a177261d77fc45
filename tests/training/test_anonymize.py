"""KRIA's coordinates: whitened, in the order of how well they tell people apart, and not where what must stay would
change."""

import pytest
import torch

from dbaf.errors import DbafError
from dbaf.faces.gestures import GESTURES
from dbaf.kria import KRIA, Crowd
from dbaf.training.anonymize import (
    CHECKED,
    KEPT,
    READINGS,
    apart,
    coordinates,
    covariance,
    fit,
    reading,
    recognised,
    steadied,
    with_gestures,
    within,
)
from dbaf.training.photos import ORIGINS

COMPONENTS = 24


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes() -> torch.Tensor:
    """[400, COMPONENTS], entries of falling deviation."""
    return 1 + torch.randn(400, COMPONENTS, generator=rng()) * torch.linspace(2, 0.5, COMPONENTS)


def fitted(codes: torch.Tensor, people: torch.Tensor, left: int = 5) -> Crowd:
    """Components 3 and 5 are to stay, and what tells apart means that differ by BETWEEN."""
    crowd = Crowd(COMPONENTS, COMPONENTS - left, 1.3)
    fit(crowd, codes, codes.T.cov(), covariance(codes, people), EXACT, BETWEEN)
    return crowd


def kinds(codes: torch.Tensor) -> torch.Tensor:
    """A number of ORIGINS for each of N photographs, the same for both of a person."""
    return torch.arange(len(codes)) // 2 % len(ORIGINS)


EXACT, BETWEEN = torch.eye(COMPONENTS)[[3, 5]], torch.eye(COMPONENTS)[[8, 9, 10]]
ALONE = torch.arange(400) // 2  # two photographs of each


def test_coordinates_are_white_and_can_be_written_back() -> None:
    crowd = fitted(codes(), ALONE)
    rank = crowd.whiten.shape[1]
    torch.testing.assert_close(crowd.colour @ crowd.whiten, torch.eye(rank), atol=1e-4, rtol=0)
    spread = steadied(codes().T.cov(), codes().T.cov())
    torch.testing.assert_close(crowd.whiten.T @ spread @ crowd.whiten, torch.eye(rank), atol=1e-4, rtol=0)


def test_the_coordinates_of_other_people_are_no_larger_than_those_of_the_people_they_were_fitted_on() -> None:
    some, others = codes()[:60], codes()[60:]
    crowd = Crowd(COMPONENTS, COMPONENTS - 5, 1.3)
    fit(crowd, some, codes().T.cov(), torch.eye(COMPONENTS), EXACT, BETWEEN)
    sizes = [crowd.read(who).square().mean().sqrt() for who in (some, others)]
    assert sizes[1] < 1.1
    by_themselves = torch.linalg.inv(some.T.cov())
    assert ((others - some.mean(0)) @ by_themselves * (others - some.mean(0))).mean().sqrt() > sizes[1] + 0.1


def test_what_must_stay_is_left_alone_and_the_score_is_raised_without_a_coordinate() -> None:
    crowd = fitted(codes(), ALONE)
    torch.testing.assert_close(crowd.colour @ EXACT.T, torch.zeros(len(crowd.colour), 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(EXACT[0] @ crowd.along, torch.tensor(1.0))
    torch.testing.assert_close(crowd.along @ crowd.whiten, torch.zeros(len(crowd.colour)), atol=1e-4, rtol=0)


def test_what_tells_people_apart_comes_first_and_what_does_not_is_left_out_first() -> None:
    people = torch.arange(200).repeat_interleave(2)
    own = codes()[::2].repeat_interleave(2, 0)  # the same in both photographs
    both = own + 0.1 * torch.randn(400, COMPONENTS, generator=rng(1))
    both[:, 0] = 2 * torch.randn(400, generator=rng(2))  # another in every photograph
    crowd = fitted(both, people, left=6)
    assert within(crowd.read(both), people).square().mean(0).diff().min() > -1e-5
    share = (crowd.whiten.T[:, 0] * both[:, 0].std()).square().sum()
    assert share < 0.05


def test_too_few_photographs_are_an_error() -> None:
    with pytest.raises(DbafError, match="40 photographs are too few for 24 components"):
        fitted(codes()[:40], ALONE[:40])


def test_what_tells_origins_apart_is_left_alone() -> None:
    origins = torch.arange(400) % (len(ORIGINS) + 1) - 1  # of a fifth nobody knows
    middles = torch.zeros(len(ORIGINS) + 1, COMPONENTS)  # that of UNKNOWN is the last
    middles[1:4, 8:11] = 4 * torch.eye(3)
    people = codes() + middles[origins]
    crowd = Crowd(COMPONENTS, COMPONENTS - 5, 1.3)
    means = apart(people, origins)
    fit(crowd, people, people.T.cov(), torch.eye(COMPONENTS), EXACT, means)
    torch.testing.assert_close(means, middles[1:4], atol=0.9, rtol=0)
    assert (means @ crowd.whiten).abs().max() < 1e-4
    changed = torch.randn(400, COMPONENTS - 5, generator=rng(1)) @ crowd.colour  # as keys do it
    discriminant = torch.linalg.solve(people.T.cov(), means.T)  # Fisher's
    torch.testing.assert_close((people + changed) @ discriminant, people @ discriminant, atol=0.1, rtol=0)


def test_an_origin_of_which_there_is_no_photograph_is_an_error() -> None:
    with pytest.raises(DbafError, match="0 photographs labelled Indian are too few"):
        apart(codes(), kinds(codes()).clamp(max=2))


def test_people_are_told_from_their_photographs() -> None:
    values, people = torch.tensor([[1.0], [2.0], [5.0], [3.0]]), torch.tensor([7, -4, 7, 9])
    torch.testing.assert_close(within(values, people), torch.tensor([[-2.0], [0.0], [2.0], [0.0]]))


def test_every_crowd_gets_coordinates_of_its_own_people_that_no_key_takes_to_the_other() -> None:
    count, styles, dim = 900, 4, 16
    man = torch.randn(count, generator=rng()).sign()
    identity = torch.randn(count, styles, dim, generator=rng(1)) * torch.linspace(2, 0.5, dim)
    identity[:, 0, 0] = 5 * man + 0.3 * identity[:, 0, 0]
    origins = kinds(identity)
    identity[torch.arange(count), 1, origins] += 6.0
    readings = torch.randn(len(READINGS), styles * dim, generator=rng(2)) / 8
    readings[0] = torch.eye(styles * dim)[0]
    kria = KRIA(styles, 40, 30, stretch=1.1, move=0.9, limit=1.25, dim=dim)
    kria.score[0, 0] = 1
    for turn in kria.turns:
        turn.mixer.copy_(torch.randn(turn.mixer.shape, generator=rng(3)))
        turn.mover.copy_(torch.randn(turn.mover.shape, generator=rng(4)) / dim**0.5)
    coordinates(identity, torch.arange(count) // 2, origins, readings, kria)
    x = identity[:CHECKED]
    new = kria(x, torch.randn(CHECKED, 3, dim, generator=rng(5)))
    assert (new - x).square().mean() > 0.5
    kept = readings[[READINGS.index(name) for name in KEPT]]
    change = (new - x).flatten(1) @ kept.T
    assert change.abs().max() < 1e-3
    components = kria.components(identity[CHECKED:])
    women, men, all_of_them = (
        apart(components[ours], origins[CHECKED:][ours]) @ crowd.whiten
        for ours, crowd in zip((man[CHECKED:] < 0, man[CHECKED:] > 0, man[CHECKED:] != 0), kria.crowds, strict=True)
    )
    assert women.abs().max() < 1e-3
    assert men.abs().max() < 1e-3
    assert all_of_them.abs().max() > 0.5  # turned by those keys that may change all looks


def test_a_label_is_read_off_codes() -> None:
    centred = codes() - codes().mean(0)
    labels = torch.stack([(centred[:, 3] > 0).float() * 2 - 1, centred[:, 5]], 1)
    readings = reading(centred, labels)
    assert readings.shape == (2, COMPONENTS)
    assert ((centred @ readings[0] > 0) == (labels[:, 0] > 0)).float().mean() > 0.9
    assert torch.corrcoef(torch.stack([centred @ readings[1], labels[:, 1]]))[0, 1] > 0.9


def test_what_a_recogniser_sees_is_read_but_for_what_tells_crowds_apart() -> None:
    crowds = torch.arange(900) % 3 - 1  # a third unknown
    components = torch.randn(900, COMPONENTS, generator=rng()) * torch.linspace(2, 0.1, COMPONENTS)
    sees = torch.randn(COMPONENTS, 12, generator=rng(1)) * (torch.arange(COMPONENTS) < 9)[:, None]
    components[crowds == 1, 4] += 6
    read = recognised(components, components @ sees, crowds)
    apart = torch.nn.functional.normalize(sees[4], dim=0)
    left = sees - torch.outer(sees @ apart, apart)
    seen, there = components[:100] @ read, (components - components.mean(0))[:100] @ left
    assert torch.cosine_similarity(seen - seen.mean(0), there).mean() > 0.9
    assert (seen @ apart).std() < 0.1 * (components @ sees @ apart).std()


def test_what_goes_with_gestures_is_found_and_how_somebody_usually_looks_is_not_part_of_it() -> None:
    doing, along = torch.randn(400, GESTURES, generator=rng()), torch.randn(GESTURES, 3, 5, generator=rng(1))
    people = torch.arange(400) // 4
    usual = within(doing, people) - doing  # less the mean of the person
    looks = 2 - usual[:, :1, None] * torch.randn(3, 5, generator=rng(3))  # wide mouths by build
    code = with_gestures(looks + torch.einsum("bg,gld->bld", doing, along), doing, people)
    torch.testing.assert_close(code.along, along, atol=1e-3, rtol=0)
    assert float(code(doing.mean(0, keepdim=True)).abs().max()) < 1e-5
