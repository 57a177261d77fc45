"""Pictures that belong together: who is in several of them is known again, and gets one new face in all.

Under one key alone, the new faces of two photographs of a person are alike only as far as the encoder sees the same in
both. Of an album, every picture is looked at before the first is rendered. A face recogniser tells who is who, and
what a key turns of a person's identity codes is their mean over the album; the rest stays each photograph's own. The
same mean says which way proportions are moved, so that two people of an album do not look like one family.

The recogniser is dlib's, which `dbaf.evaluation` judges by as well: here it groups the originals, and has no part in
what the new faces look like.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from dbaf.evaluation.recogniser import Dlib
from dbaf.faces import Selection
from dbaf.networks import Progress
from dbaf.pipeline import Pipeline

SAME = 0.5  # mean distance of the recogniser's embeddings of one person; .54 lets 1 pair of strangers in 1,000 pass


@dataclass
class Seen:
    """One face of the album: which picture shows it, its embedding [128], and its identity code [L, dim] in fp16."""

    source: Hashable
    embedding: torch.Tensor
    code: torch.Tensor


class Album:
    """Who is who in a number of pictures. First `look` at each, then ask for what to hold.

    Args:
        pipeline: encodes the faces.
        min_face: smaller ones are left alone; in pixels.
    """

    def __init__(self, pipeline: Pipeline, min_face: float = 40) -> None:
        self.pipeline, self.min_face = pipeline, min_face
        self.recogniser = Dlib()
        self.seen: list[Seen] = []
        self.means: list[torch.Tensor] | None = None

    @torch.no_grad()
    def look(
        self,
        source: Hashable,
        picture: torch.Tensor,
        faces: Selection | None = None,
        progress: Progress = lambda *_: None,
    ) -> None:
        """Take in a picture, in any order.

        Args:
            source: what the picture is called in `held`.
            picture: [1, 3, H, W] in [-1, 1].
            faces: whose faces are to be replaced; None: all that are found.
            progress: called with (done, total) after each face, and with (0, 1) while the detector looks. What it
                raises ends the look, of which nothing is kept.
        """
        chosen = self.pipeline.detect(picture, self.min_face, lambda: progress(0, 1)) if faces is None else faces.chosen
        seen = []
        for done, face in enumerate(chosen, 1):  # one by one: the encoder's maps are large
            identity, _ = self.pipeline.disentangle(self.pipeline.encode(picture, [face]))
            embedding = self.recogniser.embed(picture.cpu(), face.points)
            seen.append(Seen(source, embedding, identity.code[0].cpu().half()))
            progress(done, len(chosen))
        self.seen += seen
        self.means = None

    def held(self, source: Hashable) -> list[torch.Tensor]:
        """For each face of a picture, left to right, the person's mean identity code [1, L, dim] over the album."""
        if self.means is None:
            self.means = self._means()
        return [mean for one, mean in zip(self.seen, self.means, strict=True) if one.source == source]

    def _means(self) -> list[torch.Tensor]:
        if not self.seen:
            return []
        pictures = {source: number for number, source in enumerate(dict.fromkeys(one.source for one in self.seen))}
        embeddings = torch.stack([one.embedding for one in self.seen])
        people = same_people(embeddings, [pictures[one.source] for one in self.seen])
        means: dict[int, torch.Tensor] = {}
        for members in people_of(people):
            codes = torch.stack([self.seen[index].code for index in members]).double()
            mean = codes.mean(0, keepdim=True).float()  # in fp64 the order does not show
            means |= dict.fromkeys(members, mean)
        return [means[index] for index in range(len(people))]


def people_of(people: list[int]) -> list[list[int]]:
    """Numbers of the faces of each person, of `same_people`."""
    members: dict[int, list[int]] = {}
    for index, person in enumerate(people):
        members.setdefault(person, []).append(index)
    return list(members.values())


def same_people(embeddings: torch.Tensor, pictures: list[int]) -> list[int]:
    """Group faces by average linkage: the two groups that are most alike become one, as long as any two are alike.

    Args:
        embeddings: [N, D], comparable by Euclidean distance.
        pictures: for each face the number of its picture; faces of one picture are different people.

    Returns:
        For each face the number of the person, from 0.
    """
    distance = torch.cdist(embeddings.double(), embeddings.double())  # [N, N]
    number = torch.tensor(pictures)
    distance[number[:, None] == number] = torch.inf
    person = list(range(len(distance)))
    loose = (distance <= SAME).any(1).nonzero()[:, 0]  # most faces are far from all others
    distance, sizes = distance[loose][:, loose], torch.ones(len(loose), dtype=torch.float64)
    while len(loose):
        one, other = sorted(divmod(int(distance.argmin()), len(distance)))
        if distance[one, other] > SAME:
            break
        merged = (sizes[one] * distance[one] + sizes[other] * distance[other]) / (sizes[one] + sizes[other])
        distance[one], distance[:, one] = merged, merged
        distance[other], distance[:, other] = torch.inf, torch.inf
        distance[one, one] = torch.inf
        sizes[one] += sizes[other]
        gone, stays = person[int(loose[other])], person[int(loose[one])]
        person = [stays if each == gone else each for each in person]
    return person
