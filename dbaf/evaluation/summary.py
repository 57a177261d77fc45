"""From the records of `dbaf.evaluation.privacy.measure` to the figures of a report."""

from collections.abc import Sequence
from typing import Any

import torch

from dbaf.evaluation.verification import Figure, all_pairs, mean, pair_share, reidentified, share

MIN_TAR = 0.85  # a recogniser that accepts fewer genuine pairs is blind, and says nothing about privacy


def summarise(
    photos: Sequence[str],
    people: Sequence[str],
    records: Sequence[dict[str, Any]],
    threshold: float,
    gallery: tuple[torch.Tensor, Sequence[str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """All figures of one set of photos; shares of acceptance are at `threshold`.

    Args:
        photos, people: N names of photos and of whom they show.
        records: N records of `measure()`.
        threshold: Euclidean distance of the recogniser at its false-accept rate on real photos.
        gallery: embeddings [M, 128], photos and people of originals to look the outputs up in.
    """
    report: dict[str, Any] = {
        "photos": len(records),
        "people": len(set(people)),
        "face_found": share(torch.tensor([r["faces"] > 0 for r in records]), people).as_json(),
    }
    kept = [i for i, record in enumerate(records) if record["faces"]]
    if not kept:
        return report
    table = _Table([photos[i] for i in kept], [people[i] for i in kept], [records[i] for i in kept], threshold)
    report |= {
        "face_found_in_output": table.found("anonymized").as_json(),
        "leak": table.accepted("anonymized").as_json(),
        "leak_to_another_photo": table.accepted_elsewhere().as_json(),
        "diversity": table.accepted("second", "anonymized").as_json(),
        "recovered": table.accepted("recovered").as_json(),
        "recovered_jpeg90": table.accepted("recovered_jpeg").as_json(),
        "wrong_key": table.accepted("wrong").as_json(),
        "reconstructed": table.accepted("reconstructed").as_json(),
        "impostors_originals": table.impostors("original").as_json(),
        "impostors_outputs_one_key": table.impostors("anonymized").as_json(),
        "same_person_same_key": table.same_person().as_json(),
        "distance": {
            name: table.distance(name).as_json() for name in ("anonymized", "recovered", "wrong", "reconstructed")
        },
        "outside_untouched": table.untouched().as_json(),
        "landmark_error_iod": {name: table.landmarks(name).as_json() for name in ("anonymized", "recovered")},
        "rotation_error_degrees": {
            axis: table.rotation("anonymized", number).as_json() for number, axis in enumerate(("yaw", "pitch", "roll"))
        },
        "seconds_per_face": table.seconds(),
        "peak_memory_mb": round(max(r["peak_bytes"] for r in table.records) / 1e6),
    }
    if gallery is not None:
        report["reid_at_1"] = table.reidentified("anonymized", gallery).as_json()
        report["reid_at_1_originals"] = table.reidentified("original", gallery).as_json()
    return report


class _Table:
    """Records of the photos with a face, and the figures over them."""

    def __init__(self, photos: list[str], people: list[str], records: list[dict[str, Any]], threshold: float) -> None:
        self.photos, self.people, self.records, self.threshold = photos, people, records, threshold

    def found(self, name: str) -> Figure:
        return share(torch.tensor([r["found"][name] for r in self.records]), self.people)

    def untouched(self) -> Figure:
        return share(torch.tensor([r["untouched"] for r in self.records]), self.people)

    def distances(self, name: str, other: str = "original") -> tuple[torch.Tensor, list[str]]:
        """[N] distances between two pictures of every photo that has both, and whom they show."""
        kept = [i for i, record in enumerate(self.records) if name in record["embedding"]]
        pairs = [(self.records[i]["embedding"][name], self.records[i]["embedding"][other]) for i in kept]
        distance = [float((torch.tensor(a).double() - torch.tensor(b).double()).norm()) for a, b in pairs]
        return torch.tensor(distance, dtype=torch.float64), [self.people[i] for i in kept]

    def accepted(self, name: str, other: str = "original") -> Figure:
        """How often the recogniser takes the two pictures of a photo for one person."""
        distance, people = self.distances(name, other)
        return share(distance <= self.threshold, people)

    def distance(self, name: str) -> Figure:
        return mean(*self.distances(name))

    def accepted_elsewhere(self) -> Figure:
        """How often an output is taken for the person on *another* original photo: what an attacker would try."""
        hits, people = [], []
        for i, probe in enumerate(self.records):
            for j, target in enumerate(self.records):
                if i != j and self.people[i] == self.people[j]:
                    a, b = torch.tensor(probe["embedding"]["anonymized"]), torch.tensor(target["embedding"]["original"])
                    hits.append(float((a.double() - b.double()).norm()) <= self.threshold)
                    people.append(self.people[i])
        return share(torch.tensor(hits, dtype=torch.bool), people)

    def impostors(self, name: str) -> Figure:
        """How often two different people pass as one; outputs are compared with those of the same key only."""
        pairs = all_pairs(self._embeddings(name), self.people)
        chosen = ~pairs.genuine
        if name != "original":
            keys = torch.tensor([record["key"] for record in self.records])
            i, j = torch.triu_indices(len(keys), len(keys), 1)
            chosen &= keys[i] == keys[j]
        pairs = pairs.where(chosen)
        return pair_share(pairs.distance <= self.threshold, pairs, draws=300)

    def same_person(self) -> Figure:
        """How often two photos of one person, anonymized under one key, show one new person (the linked promise)."""
        pairs = all_pairs(self._embeddings("anonymized"), self.people)
        pairs = pairs.where(pairs.genuine)
        return pair_share(pairs.distance <= self.threshold, pairs, draws=300)

    def landmarks(self, name: str) -> Figure:
        kept = [i for i, record in enumerate(self.records) if name in record["landmarks"]]
        return mean(torch.tensor([self.records[i]["landmarks"][name] for i in kept]), [self.people[i] for i in kept])

    def rotation(self, name: str, axis: int) -> Figure:
        kept = [i for i, record in enumerate(self.records) if name in record["rotation"]]
        angles = torch.tensor([abs(self.records[i]["rotation"][name][axis]) for i in kept])
        return mean(angles, [self.people[i] for i in kept])

    def seconds(self) -> dict[str, float]:
        """Median over photos, per face, by stage; `total` is one anonymization."""
        stages = list(self.records[0]["seconds"])
        by_stage = torch.tensor([[r["seconds"][s] / r["faces"] for s in stages] for r in self.records])
        medians = {
            stage: round(float(value), 3) for stage, value in zip(stages, by_stage.median(0).values, strict=True)
        }
        return medians | {"total": round(float(by_stage.sum(1).median()), 3)}

    def reidentified(self, name: str, gallery: tuple[torch.Tensor, Sequence[str], Sequence[str]]) -> Figure:
        """Re-ID@1 of the photos whose person has another photo in the gallery."""
        embeddings, photos, people = gallery
        others = set(zip(photos, people, strict=True))
        kept = [
            i
            for i, person in enumerate(self.people)
            if any(who == person and photo != self.photos[i] for photo, who in others)
        ]
        if not kept:
            return share(torch.zeros(0, dtype=torch.bool), [])
        mine = [self.people[i] for i in kept]
        probes = self._embeddings(name)[kept]
        return share(reidentified(probes, [self.photos[i] for i in kept], mine, embeddings, photos, people), mine)

    def _embeddings(self, name: str) -> torch.Tensor:
        return torch.tensor([record["embedding"][name] for record in self.records])
