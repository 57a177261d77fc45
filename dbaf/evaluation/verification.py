"""Privacy figures: does a face recogniser still accept the pseudonymised face as the same person?

All functions are pure. Recogniser distances are "small = same person"; for cosines pass `1 - cosine`.
Every share comes as a `Figure` with n and a 95 % interval by a bootstrap over *people*: photos of one person are
not independent, so resampling photos alone would give intervals that are too narrow
(Bolle, Ratha & Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", 2004).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch

FAR = 1e-3
DRAWS = 1000


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % bootstrap interval [low, high] and the number of observations n."""

    value: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float | int | None]:
        """Rounded for a report; a missing value is None (JSON knows no NaN)."""
        return {key: None if math.isnan(entry) else round(entry, 4) for key, entry in asdict(self).items()}


NOTHING = Figure(float("nan"), float("nan"), float("nan"), 0)


@dataclass(frozen=True)
class Pairs:
    """All unordered pairs of photos of a set: distances and whose photos they are.

    Attributes:
        distance: [P] float.
        first, second: [P] int64, numbers of the two people; equal in a genuine pair.
    """

    distance: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor

    @property
    def genuine(self) -> torch.Tensor:
        """[P] bool: both photos show one person."""
        return self.first == self.second

    def where(self, chosen: torch.Tensor) -> "Pairs":
        """Some of the pairs, by a mask [P] or by indices."""
        return Pairs(self.distance[chosen], self.first[chosen], self.second[chosen])


def person_numbers(people: Sequence[str]) -> torch.Tensor:
    """[N] int64 numbers 0..K-1 of N names of people (or of anything), in sorted order of the names."""
    order = {name: number for number, name in enumerate(sorted(set(people)))}
    return torch.tensor([order[name] for name in people], dtype=torch.int64)


def all_pairs(embeddings: torch.Tensor, people: Sequence[str]) -> Pairs:
    """Every pair of different photos.

    Args:
        embeddings: [N, D].
        people: N names, one a photo.
    """
    numbers = person_numbers(people)
    i, j = torch.triu_indices(len(numbers), len(numbers), 1)
    points = embeddings.double()  # cdist loses digits in float32
    return Pairs(torch.cdist(points, points)[i, j], numbers[i], numbers[j])


def threshold_at(impostor_distance: torch.Tensor, far: float = FAR) -> float:
    """The largest distance at which at most `far` of the different-person pairs pass (distance <= threshold).

    Args:
        impostor_distance: [P] distances of different-person pairs.

    Raises:
        ValueError: fewer than 1 / far pairs, so that the threshold would be an accident.
    """
    allowed = int(len(impostor_distance) * far + 1e-9)  # 1000 * 1e-3 is not quite 1 in binary
    if allowed < 1:
        raise ValueError(f"{len(impostor_distance)} different-person pairs cannot give a threshold at FAR {far}")
    nearest = torch.sort(impostor_distance.double()).values
    if allowed == len(nearest):
        return float(nearest[-1])
    # The first pair that must not pass, and all that tie with it, lie above the threshold.
    below = nearest[nearest < nearest[allowed]]
    return float(below[-1]) if len(below) else math.nextafter(float(nearest[0]), -math.inf)


def person_weights(count: int, draws: int = DRAWS, seed: int = 0) -> torch.Tensor:
    """Bootstrap weights [draws, count]: how often each of `count` people is drawn, with replacement."""
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(count, (draws, count), generator=generator)
    return torch.zeros(draws, count).scatter_add_(1, picks, torch.ones(draws, count))


def share(hits: torch.Tensor, people: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Figure:
    """Share of true entries, one entry a photo, with an interval over people.

    Args:
        hits: [N] bool.
        people: N names, whose photo each entry is.
    """
    return _never_certain(mean(hits.float(), people, draws, seed), len(set(people)))


def mean(values: torch.Tensor, people: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Figure:
    """Mean of one value [N] a photo, with an interval over people; NaN with n = 0 if there is none."""
    if not len(values):
        return NOTHING
    numbers = person_numbers(people)
    count = int(numbers.max()) + 1
    total = torch.zeros(count).index_add_(0, numbers, values.float())
    size = torch.zeros(count).index_add_(0, numbers, torch.ones(len(values)))
    weights = person_weights(count, draws, seed)
    return _figure(float(values.double().mean()), (weights @ total) / (weights @ size), len(values))


def median(values: torch.Tensor, people: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Figure:
    """Median of one value [N] a photo, with an interval over people; NaN with n = 0 if there is none."""
    if not len(values):
        return NOTHING
    order = torch.sort(values.double())
    numbers = person_numbers(people)[order.indices]
    drawn = person_weights(int(numbers.max()) + 1, draws, seed)[:, numbers].double().cumsum(1)  # [draws, N]
    half = drawn[:, -1:] / 2
    lower, upper = (drawn < half).sum(1), (drawn <= half).sum(1).clamp(max=len(values) - 1)
    middle = (order.values[lower] + order.values[upper]) / 2  # of an even number, between the middle two
    return _figure(float(torch.quantile(order.values, 0.5)), middle, len(values))


def pair_share(hits: torch.Tensor, pairs: Pairs, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Share of true entries [P] among pairs that are all genuine or all impostor; a drawn pair counts w_i * w_j."""
    if not len(hits):
        return NOTHING
    count = int(torch.maximum(pairs.first, pairs.second).max()) + 1
    weights = person_weights(count, draws, seed)
    values = torch.stack([_drawn_share(row, pairs, hits) for row in weights])
    # At most half as many pairs as people are independent; genuine pairs are so from person to person.
    named = torch.unique(torch.cat([pairs.first, pairs.second])).numel()
    independent = named if bool(pairs.genuine.all()) else named // 2
    return _never_certain(_figure(float(hits.double().mean()), values, len(hits)), independent)


def verification(
    embeddings: torch.Tensor, people: Sequence[str], far: float = FAR, draws: int = DRAWS, seed: int = 0
) -> tuple[Figure, Figure]:
    """Threshold at a false-accept rate, and the share of genuine pairs that it accepts (TAR).

    Each bootstrap draw of people gives its own threshold and its own TAR, so that the interval of the TAR carries
    the uncertainty of the threshold.

    Args:
        embeddings: [N, D] of real photos.
        people: N names; some with several photos.

    Returns:
        threshold (n = different-person pairs), TAR (n = same-person pairs).
    """
    pairs = all_pairs(embeddings, people)
    genuine, impostor = pairs.where(pairs.genuine), pairs.where(~pairs.genuine)
    threshold = threshold_at(impostor.distance, far)
    # Only the nearest impostors can set the threshold of a draw: twenty times the allowed share is ample.
    near = impostor.where(torch.sort(impostor.distance).indices[: max(1000, int(len(impostor.distance) * far * 20))])
    photos = torch.bincount(person_numbers(people)).double()
    thresholds, rates = [], []
    for weights in person_weights(len(photos), draws, seed).double():
        total = ((weights @ photos) ** 2 - (weights**2) @ (photos**2)) / 2  # drawn different-person pairs
        passed = torch.cumsum(weights[near.first] * weights[near.second], 0)
        last = int(torch.searchsorted(passed, total * far, right=True)) - 1
        thresholds.append(near.distance[max(last, 0)])
        rates.append(_drawn_share(weights, genuine, genuine.distance <= thresholds[-1]))
    tar = float((genuine.distance <= threshold).double().mean())
    return (
        _figure(threshold, torch.stack(thresholds), len(impostor.distance)),
        _figure(tar, torch.stack(rates), len(genuine.distance)),
    )


def reidentified(
    probes: torch.Tensor,
    probe_photos: Sequence[str],
    probe_people: Sequence[str],
    gallery: torch.Tensor,
    gallery_photos: Sequence[str],
    gallery_people: Sequence[str],
) -> torch.Tensor:
    """Whether the nearest gallery photo, the probe's own photo left out, shows the probe's person.

    Args:
        probes: [N, D] embeddings of pseudonymised photos; gallery: [M, D] of originals.
        probe_photos, gallery_photos: names of the photos; equal names are one photo.
        probe_people, gallery_people: whom they show.

    Returns:
        [N] bool. Probes whose person has no other photo in the gallery are always False: leave them out before.
    """
    distance = torch.cdist(probes, gallery)
    numbers = person_numbers([*probe_photos, *gallery_photos])
    own = numbers[: len(probe_photos), None] == numbers[None, len(probe_photos) :]
    nearest = distance.masked_fill(own, float("inf")).argmin(1)
    return torch.tensor([gallery_people[int(n)] == person for n, person in zip(nearest, probe_people, strict=True)])


def _drawn_share(weights: torch.Tensor, pairs: Pairs, hits: torch.Tensor) -> torch.Tensor:
    """Share of true entries in one draw: a genuine pair counts as often as its person, an impostor pair w_i * w_j."""
    weight = torch.where(pairs.genuine, weights[pairs.first], weights[pairs.first] * weights[pairs.second])
    return (weight * hits).sum() / weight.sum()  # NaN when no pair was drawn: left out by _figure()


def _never_certain(figure: Figure, independent: int) -> Figure:
    """A bootstrap of none (or all) of n has no width; there the interval is Clopper & Pearson's (1934)."""
    room = 1 - 0.025 ** (1 / max(independent, 1))
    if figure.value == 0:
        return replace(figure, high=room)
    return replace(figure, low=1 - room) if figure.value == 1 else figure


def _figure(value: float, drawn: torch.Tensor, n: int) -> Figure:
    drawn = drawn[~drawn.isnan()].double()
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Figure(value, low, high, n)
