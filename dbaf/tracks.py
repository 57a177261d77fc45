"""People of a clip as they are seen from frame to frame: what is kept of each, and what is smoothed."""

from dataclasses import dataclass, field

import torch

from dbaf.faces import Face
from dbaf.faces.track import smoothing
from dbaf.stages import Attributes, Identity

STRAY = 0.03  # of the distance of the eyes: how far smoothing may move a face


@dataclass
class Sighting:
    """One face of one frame, with the stages' parts for it alone."""

    face: Face
    identity: Identity
    attributes: Attributes


@dataclass(eq=False)
class Person:
    """Somebody in the clip: the identity code [1, L, dim] that they keep, and the sum of all that were seen of them."""

    code: torch.Tensor
    total: torch.Tensor


@dataclass(eq=False)
class Track:
    """One person as long as they stay in sight; the last sightings, by number of the frame, and who it is."""

    sightings: dict[int, Sighting] = field(default_factory=dict)
    person: Person | None = None

    def expected(self, number: int) -> Face:
        """The last face, moved to where it should be in a frame, at the speed that it had."""
        *_, last = numbers = sorted(self.sightings)
        face = self.sightings[last].face
        if len(numbers) == 1:
            return face
        before = numbers[-2]
        speed = (face.mesh - self.sightings[before].face.mesh).mean(0) / (last - before)  # [3]
        return Face.from_mesh(face.mesh + speed * (number - last), face.score)

    def smoothed(self, number: int) -> tuple[Face, torch.Tensor]:
        """The face in a frame, its W+ code and its identity code [2, L, dim], from the frames around it."""
        seen, one = self.sightings, self.sightings[number].face
        weights = smoothing(list(seen), number)
        meshes = torch.stack([sighting.face.mesh for sighting in seen.values()]).double()  # [N, 468, 3]
        mesh = torch.einsum("n,nij->ij", weights, meshes)
        # after a jolt the face is where it is: a new face beside it would leave some of it uncovered
        off = (one.mesh - mesh).mean(0)
        mesh += off * (1 - STRAY * (one.points[1] - one.points[0]).norm() / off[:2].norm().clamp(min=1e-9)).clamp(min=0)
        codes = [torch.cat([sighting.identity.latent, sighting.identity.code]) for sighting in seen.values()]
        return Face.from_mesh(mesh, one.score), torch.einsum("n,nkij->kij", weights.to(codes[0]), torch.stack(codes))


@dataclass
class Shot:
    """A frame that was looked at.

    Attributes:
        number: from 0.
        picture: [1, 3, H, W].
        tracks: whom it shows.
        spared: whose faces stay as they are.
        hidden: where somebody was before and after, and now somebody else is in front; part of them may show.
    """

    number: int
    picture: torch.Tensor
    tracks: list[Track]
    spared: list[Face]
    hidden: list[Face] = field(default_factory=list)
