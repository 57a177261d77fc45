"""From records to the figures of a report."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from dbaf.evaluation.calibration import Calibration
from dbaf.evaluation.dataset import Photo
from dbaf.evaluation.methods import GROUPS
from dbaf.evaluation.run import Measured
from dbaf.evaluation.verification import (
    NOTHING,
    Figure,
    Pairs,
    all_pairs,
    mean,
    median,
    pair_share,
    person_numbers,
    reidentified,
    share,
)

PAIR_DRAWS = 300  # bootstrap draws over pairs of photos: there are many


def summarise(measured: Measured) -> dict[str, dict[str, Any]]:
    """By method, `privacy` (None if the recogniser is too blind), `utility` and `speed`, all of JSON-able values."""
    return {method: _figures(measured, method) for method in measured.records}


def _figures(measured: Measured, method: str) -> dict[str, Any]:
    rows = [(p, r) for p, r in zip(measured.chosen, measured.records[method], strict=True) if r is not None]
    people = [photo.person for photo, _ in rows]
    faces = torch.tensor([record["faces"] > 0 for _, record in rows], dtype=torch.bool)
    table = Table(
        [photo for photo, record in rows if record["faces"]], [record for _, record in rows if record["faces"]]
    )
    privacy = None if measured.calibration.withheld else table.privacy(measured)
    utility = {"face_found": share(faces, people)} | table.utility()
    return {
        "photos": len(rows),
        "failed": len(measured.chosen) - len(rows),
        "people": len(set(people)),
        "privacy": None if privacy is None else {name: figure.as_json() for name, figure in privacy.items()},
        "utility": {name: figure.as_json() for name, figure in utility.items()},
        "speed": table.speed(),
    }


class Table:
    """Records of one method on the photos with a face, and the figures over them."""

    def __init__(self, photos: Sequence[Photo], records: Sequence[dict[str, Any]]) -> None:
        self.photos, self.records = photos, records
        self.people = [photo.person for photo in photos]
        keyed = any("linked" in record["embedding"] for record in records)
        self.linked = "linked" if keyed else "anonymized"  # what has no key is always linked

    def privacy(self, measured: Measured) -> dict[str, Figure]:
        """Shares of acceptance at the threshold, in design's words leak, recovery, wrong key and so on."""
        threshold = measured.calibration.threshold.value
        figures = {
            "leak": self.accepted(threshold, "anonymized"),
            "leak_to_another_photo": self.accepted_elsewhere(threshold),
            "leak_linked": self.accepted(threshold, "linked"),
            "reid_at_1": self.reidentified("anonymized", measured),
            "reid_at_1_linked": self.reidentified("linked", measured),
            "reid_at_1_originals": self.reidentified("original", measured),
            "recovered": self.accepted(threshold, "recovered"),
            "recovered_jpeg90": self.accepted(threshold, "recovered_jpeg"),
            "recovered_looks": self.accepted(threshold, "recovered_looks"),
            "recovered_looks_jpeg90": self.accepted(threshold, "recovered_looks_jpeg"),
            "wrong_key": self.accepted(threshold, "wrong"),
            "diversity": self.accepted(threshold, "second", "anonymized"),
            "reconstructed": self.accepted(threshold, "reconstructed"),
            "same_person_same_key": self.same_person(threshold),
            "same_person_two_keys": self.across_keys(threshold, same_person=True),
            "strangers_two_keys": self.across_keys(threshold, same_person=False),
            "impostors_originals": self.impostors(threshold, "original"),
            "impostors_outputs_one_key": self.impostors(threshold, self.linked),
        }
        for name in ("anonymized", "linked", "recovered", "recovered_looks", "wrong", "reconstructed"):
            figures[f"distance_{name}"] = mean(*self.distances(name))
        return figures

    def utility(self) -> dict[str, Figure]:
        """What is left of the picture; errors only where a face is found in the output."""
        figures = {"face_found_in_output": share(*self._values(lambda record: record["found"]["anonymized"]))}
        for name in ("anonymized", "recovered"):
            end = "" if name == "anonymized" else "_recovered"
            figures[f"landmark_error_iod{end}"] = mean(*self._useful(name, "landmarks"))
            for axis, angle in enumerate(("yaw", "pitch", "roll")):
                angles, people = self._useful(name, "rotation")
                figures[f"{angle}_error_degrees{end}"] = median(
                    angles.reshape(-1, 3)[:, axis].abs() if len(angles) else angles, people
                )
            hits, people = self._useful(name, "expression")
            figures[f"expression_agreement{end}"] = share(hits.bool(), people)
            figures[f"perceptual_distance{end}"] = mean(*self._useful(name, "perceptual"))
        figures["background_untouched"] = share(*self._values(lambda record: record["background_psnr"] is None))
        figures["background_psnr_db"] = median(*self._values(lambda record: record["background_psnr"]))
        return figures

    def speed(self) -> dict[str, Any]:
        """Median over photos of the seconds a face, by stage; `total` is one anonymization."""
        if not self.records:
            return {}
        stages = list(self.records[0]["seconds"])
        seconds = torch.tensor([[r["seconds"][stage] / r["faces"] for stage in stages] for r in self.records])
        by_stage = {
            stage: round(float(value), 3) for stage, value in zip(stages, seconds.median(0).values, strict=True)
        }
        peaks = [record["peak_bytes"] for record in self.records if record["peak_bytes"]]
        return {
            "seconds_per_face": by_stage | {"total": round(float(seconds.sum(1).median()), 3)},
            "threads": max(record["threads"] for record in self.records),
            "peak_memory_mb": round(max(peaks) / 1e6) if peaks else None,
        }

    def distances(self, name: str, other: str = "original") -> tuple[torch.Tensor, list[str]]:
        """[N] distances between two pictures of every photo that has both, and whom they show."""
        kept = [i for i, record in enumerate(self.records) if name in record["embedding"]]
        pairs = [(self.records[i]["embedding"][name], self.records[i]["embedding"][other]) for i in kept]
        distance = [float((torch.tensor(a).double() - torch.tensor(b).double()).norm()) for a, b in pairs]
        return torch.tensor(distance, dtype=torch.float64), [self.people[i] for i in kept]

    def accepted(self, threshold: float, name: str, other: str = "original") -> Figure:
        """How often the recogniser takes the two pictures of a photo for one person."""
        distance, people = self.distances(name, other)
        return share(distance <= threshold, people)

    def accepted_elsewhere(self, threshold: float) -> Figure:
        """How often an output is taken for the person on *another* original photo: what an attacker would try."""
        by_person: dict[str, list[int]] = {}
        for index, person in enumerate(self.people):
            by_person.setdefault(person, []).append(index)
        outputs, originals = self._embeddings("anonymized"), self._embeddings("original")
        pairs = [(i, j) for own in by_person.values() for i in own for j in own if i != j]
        hits = [float((outputs[i] - originals[j]).norm()) <= threshold for i, j in pairs]
        return share(torch.tensor(hits, dtype=torch.bool), [self.people[i] for i, _ in pairs])

    def impostors(self, threshold: float, name: str) -> Figure:
        """How often two different people pass as one; outputs are compared with those of the same key only."""
        if len(self.records) < 2:
            return NOTHING
        pairs = all_pairs(self._embeddings(name), self.people)
        chosen = ~pairs.genuine
        if name != "original":
            groups = torch.tensor([record["group"] for record in self.records])
            i, j = torch.triu_indices(len(groups), len(groups), 1)
            chosen &= groups[i] == groups[j]
        pairs = pairs.where(chosen)
        return pair_share(pairs.distance <= threshold, pairs, draws=PAIR_DRAWS)

    def same_person(self, threshold: float) -> Figure:
        """How often two photos of one person, anonymized under one key, show one new person (the linked promise)."""
        if len(self.records) < 2:
            return NOTHING
        pairs = all_pairs(self._embeddings(self.linked), self.people)
        pairs = pairs.where(pairs.genuine)
        return pair_share(pairs.distance <= threshold, pairs, draws=PAIR_DRAWS)

    def across_keys(self, threshold: float, same_person: bool) -> Figure:
        """How often outputs of two photos under two keys pass as one person: the unlinked promise is, if they show the
        same person, no more often than if they show strangers."""
        kept = [index for index, record in enumerate(self.records) if "second" in record["embedding"]]
        if len(kept) < 2:
            return NOTHING
        numbers = person_numbers([self.people[index] for index in kept])
        groups = torch.tensor([self.records[index]["group"] for index in kept])
        one, other = (self._embeddings(name, kept) for name in ("anonymized", "second"))
        i, j = (~torch.eye(len(kept), dtype=torch.bool)).nonzero().unbind(1)
        pairs = Pairs(torch.cdist(one, other)[i, j], numbers[i], numbers[j])
        # second keys are those of the next group
        pairs = pairs.where((pairs.genuine == same_person) & ((groups[j] + 1) % GROUPS != groups[i]))
        return pair_share(pairs.distance <= threshold, pairs, draws=PAIR_DRAWS)

    def reidentified(self, name: str, measured: Measured) -> Figure:
        """Re-ID@1 of the photos whose person has another photo in the data set."""
        photos: dict[str, set[str]] = {}
        for photo in measured.gallery:
            photos.setdefault(photo.person, set()).add(photo.label)
        kept = [
            i
            for i, photo in enumerate(self.photos)
            if photos.get(photo.person, set()) - {photo.label} and name in self.records[i]["embedding"]
        ]
        if not kept:
            return NOTHING
        people = [self.people[i] for i in kept]
        hits = reidentified(
            self._embeddings(name)[kept],
            [self.photos[i].label for i in kept],
            people,
            measured.embeddings,
            [photo.label for photo in measured.gallery],
            [photo.person for photo in measured.gallery],
        )
        return share(hits, people)

    def _embeddings(self, name: str, kept: Sequence[int] | None = None) -> torch.Tensor:
        records = self.records if kept is None else [self.records[index] for index in kept]
        return torch.tensor([record["embedding"][name] for record in records], dtype=torch.float64)

    def _useful(self, name: str, what: str) -> tuple[torch.Tensor, list[str]]:
        return self._values(lambda record: record["utility"].get(name, {}).get(what))

    def _values(self, get: Callable[[dict[str, Any]], Any]) -> tuple[torch.Tensor, list[str]]:
        """One value a photo, without those that are None, and whom the photos show."""
        values = [(get(record), person) for record, person in zip(self.records, self.people, strict=True)]
        kept = [(value, person) for value, person in values if value is not None]
        return torch.tensor([value for value, _ in kept], dtype=torch.float64), [person for _, person in kept]


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """The recogniser's own figures, which stand beside every privacy figure."""
    return {
        "threshold": calibration.threshold.as_json(),
        "tar_on_real_pairs": calibration.tar.as_json(),
        "taken_on": calibration.data,
        "taken_on_this_data_set": calibration.own,
        "photos": calibration.photos,
        "people": calibration.people,
        "valid": calibration.withheld is None,
        "withheld": calibration.withheld,
    }
