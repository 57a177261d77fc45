"""The threshold of a recogniser, and whether it sees enough to judge privacy at all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dbaf.errors import DbafError
from dbaf.evaluation.recogniser import Recogniser, stored_calibration
from dbaf.evaluation.verification import FAR, Figure, verification

MIN_TAR = 0.85  # a recogniser that accepts fewer genuine pairs is blind, and says nothing about privacy
MIN_PEOPLE = 20  # with two photos
MIN_IMPOSTORS = 1000  # pairs: fewer give no threshold at all
OVERRULING = 20_000  # pairs: with fewer a stored calibration is better, as single mislabelled photos would decide


@dataclass(frozen=True)
class Calibration:
    """Where a recogniser draws the line, and how it fares with real genuine pairs there.

    Attributes:
        threshold: largest distance that passes at the false-accept rate `FAR`.
        tar: share of genuine pairs that pass.
        photos, people: how many it was taken on.
        data: of which data set.
        own: that is the evaluated data set itself.
    """

    threshold: Figure
    tar: Figure
    photos: int
    people: int
    data: str
    own: bool

    @property
    def withheld(self) -> str | None:
        """Why privacy figures by this recogniser are void; None if they are not."""
        if self.tar.value >= MIN_TAR:
            return None
        return (
            f"The recogniser accepts only {self.tar.value:.0%} of the genuine pairs of {self.data} at a false-accept "
            f"rate of {FAR:g}; below {MIN_TAR:.0%} it is too blind to say anything about privacy."
        )


def large_enough(people: Sequence[str], pairs: int = MIN_IMPOSTORS) -> bool:
    """Whether a set of photos of these people gives a threshold of its own: at least so many pairs of strangers."""
    counts = Counter(people)
    total = sum(counts.values())
    impostors = (total**2 - sum(n**2 for n in counts.values())) // 2
    return sum(n >= 2 for n in counts.values()) >= MIN_PEOPLE and impostors >= pairs


def calibrate(embeddings: torch.Tensor, people: Sequence[str], data: str) -> Calibration:
    """Threshold and TAR on a set of photos.

    Args:
        embeddings: [N, D].
        people: N names, `large_enough`.
        data: the set's name.
    """
    threshold, tar = verification(embeddings, people)
    return Calibration(threshold, tar, len(people), len(set(people)), data, own=True)


def calibration_for(recogniser: Recogniser, embeddings: torch.Tensor, people: Sequence[str], data: str) -> Calibration:
    """Taken on the data set if it is large enough, else the one stored with the recogniser.

    Raises:
        DbafError: there is none stored either.
    """
    stored = stored_calibration(recogniser)
    if large_enough(people, MIN_IMPOSTORS if stored is None else OVERRULING):
        return calibrate(embeddings, people, data)
    if stored is None:
        raise DbafError(
            f"The recogniser {recogniser.name} has no threshold, and {data} is too small to take one: it needs "
            f"{MIN_PEOPLE} people with two photos each and {MIN_IMPOSTORS} pairs of different people."
        )
    return Calibration(
        Figure(**stored["threshold"]),
        Figure(**stored["tar"]),
        stored["photos"],
        stored["people"],
        stored["data"],
        own=False,
    )
