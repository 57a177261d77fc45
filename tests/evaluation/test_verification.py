import math

import pytest
import torch

from dbaf.evaluation.verification import (
    Figure,
    all_pairs,
    mean,
    median,
    pair_share,
    person_weights,
    reidentified,
    share,
    threshold_at,
    verification,
)


def population(people: int, photos: int, spread: float, seed: int = 0) -> tuple[torch.Tensor, list[str]]:
    """Embeddings of people that stand 1.4 apart, with noise between the photos of one."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(people, 64, generator=generator), dim=1)
    noise = torch.randn(people, photos, 64, generator=generator) * spread / 8
    return (centres[:, None] + noise).flatten(0, 1), [f"p{i:03d}" for i in range(people) for _ in range(photos)]


def test_threshold_lets_exactly_the_allowed_share_pass() -> None:
    distance = torch.arange(1, 5001).double()
    assert threshold_at(distance, 1e-3) == 5.0
    assert threshold_at(distance[torch.randperm(5000)], 1e-3) == 5.0


def test_threshold_goes_below_ties_rather_than_above_the_rate() -> None:
    distance = torch.cat([torch.tensor([0.1]), torch.full((50,), 0.2), torch.full((1949,), 1.0)])
    threshold = threshold_at(distance, 1e-3)  # 2 of 2000 may pass, but 0.2 stands for 50
    assert threshold == pytest.approx(0.1)
    assert threshold_at(torch.full((2000,), 0.3, dtype=torch.float64)) < 0.3


def test_threshold_refuses_too_few_pairs() -> None:
    with pytest.raises(ValueError, match="999 different-person pairs"):
        threshold_at(torch.rand(999), 1e-3)


def test_all_pairs_counts_and_labels() -> None:
    pairs = all_pairs(torch.eye(4), ["b", "a", "b", "c"])
    assert len(pairs.distance) == 6
    assert int(pairs.genuine.sum()) == 1
    assert pairs.distance.max() == pytest.approx(math.sqrt(2))


def test_verification_separates_people_who_are_separate() -> None:
    embeddings, people = population(60, 3, 0.3)
    threshold, tar = verification(embeddings, people, draws=50)
    assert tar.value == 1.0
    assert (threshold.n, tar.n) == (60 * 59 // 2 * 9, 60 * 3)
    assert threshold.low <= threshold.value <= threshold.high


def test_verification_of_a_blind_recogniser_accepts_nobody() -> None:
    embeddings = torch.randn(180, 64, generator=torch.Generator().manual_seed(1))
    _, tar = verification(embeddings, population(60, 3, 0.0)[1], draws=50)
    assert tar.value < 0.05


def test_verification_agrees_with_the_definition_and_is_deterministic() -> None:
    embeddings, people = population(60, 3, 1.0)
    threshold, tar = verification(embeddings, people, draws=50)
    pairs = all_pairs(embeddings, people)
    impostors = pairs.where(~pairs.genuine).distance
    assert int((impostors <= threshold.value).sum()) == int(len(impostors) * 1e-3)
    assert tar.value == pytest.approx(float((pairs.where(pairs.genuine).distance <= threshold.value).double().mean()))
    assert tar.low < tar.value < tar.high
    assert verification(embeddings, people, draws=50) == (threshold, tar)


def test_weights_draw_as_many_people_as_there_are() -> None:
    weights = person_weights(20, 7, seed=3)
    assert weights.shape == (7, 20)
    assert (weights.sum(1) == 20).all()
    assert torch.equal(weights, person_weights(20, 7, seed=3))


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        hits = torch.rand(200, generator=generator) < 0.3
        figure = share(hits, [str(i) for i in range(200)], draws=300)
        covered += figure.low <= 0.3 <= figure.high
    assert 87 <= covered <= 100


def test_photos_of_one_person_widen_the_interval() -> None:
    hits = (torch.rand(100, generator=torch.Generator().manual_seed(0)) < 0.5).repeat_interleave(4)
    alone = share(hits, [str(i) for i in range(400)])
    grouped = share(hits, [str(i // 4) for i in range(400)])
    assert alone.value == grouped.value
    assert grouped.high - grouped.low > 1.6 * (alone.high - alone.low)


def test_share_of_nothing_is_no_number() -> None:
    figure = share(torch.zeros(0, dtype=torch.bool), [])
    assert figure.n == 0
    assert math.isnan(figure.value)
    assert figure.as_json()["value"] is None


def test_mean() -> None:
    figure = mean(torch.tensor([1.0, 2.0, 3.0]), ["a", "a", "b"])
    assert figure.value == pytest.approx(2.0)
    assert 1.5 <= figure.low <= figure.high <= 3.0


def test_pair_share() -> None:
    pairs = all_pairs(torch.randn(30, 4), [str(i // 2) for i in range(30)])
    impostors = pairs.where(~pairs.genuine)
    hits = torch.arange(len(impostors.distance)) % 4 == 0
    figure = pair_share(hits, impostors, draws=50)
    assert figure.value == pytest.approx(float(hits.double().mean()))
    assert figure.low < figure.value < figure.high
    assert figure.n == len(hits)


def test_reidentified_never_meets_the_probe_itself() -> None:
    gallery = torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0]])
    photos, people = ["a1", "a2", "b1"], ["a", "a", "b"]
    assert reidentified(gallery[:1], ["a1"], ["a"], gallery, photos, people).tolist() == [False]  # nearest other: b1
    assert reidentified(gallery[:1] + 2.5, ["a1"], ["a"], gallery, photos, people).tolist() == [True]


def test_none_of_ten_does_not_prove_never() -> None:
    never = share(torch.zeros(10, dtype=torch.bool), list("abcdefghij"))
    assert (never.value, never.low) == (0, 0)
    assert never.high == pytest.approx(0.3085, abs=1e-4)  # Clopper-Pearson, 0 of 10
    always = share(torch.ones(20, dtype=torch.bool), list("aabbccddeeffgghhiijj"))  # ten people, not twenty
    assert (always.low, always.high) == (pytest.approx(0.6915, abs=1e-4), 1)


def test_median_and_its_interval() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)) + 5
    figure = median(values, [str(n) for n in range(400)])
    assert figure.value == pytest.approx(float(torch.quantile(values, 0.5)))
    assert figure.low < 5.03 < figure.high
    assert 0.15 < figure.high - figure.low < 0.35  # 2 * 1.96 * sqrt(pi / 2 / 400)
    assert median(torch.tensor([3.0]), ["a"]) == Figure(3, 3, 3, 1)
    assert median(torch.zeros(0), []).n == 0


def test_median_interval_is_over_people() -> None:
    values = torch.tensor([1.0] * 50 + [2.0] * 50)
    figure = median(values, ["a"] * 50 + ["b"] * 50)
    assert (figure.low, figure.high) == (1, 2)
