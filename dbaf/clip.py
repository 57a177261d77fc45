"""Frames of a clip, one after another: people are followed, each keeps one new identity, and nothing flickers.

A frame is looked at when it comes in and rendered AHEAD frames later, so that smoothing sees both sides of it and a
face that the detector lost for a moment can be put back. No more than that is held, however long the clip is.

Of a person's identity code, what the key turns is the mean over the frames in hand when they are first rendered, and
stays: it is one new face whatever the encoder makes of a frame. The rest of the W+ codes is smoothed in time, as is
the place of the face.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from dbaf.errors import PictureError
from dbaf.faces import Face, Selection
from dbaf.faces.detect import same_place
from dbaf.faces.track import match, smoothing
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Attributes, Identity, Result

AHEAD = 8  # frames in hand beyond the one that is rendered; a face may be lost for fewer than that
PRESENT = 0.5  # presence, by the face mesh, of a face that the detector did not find between two frames in which it did
STRAY = 0.03  # of the distance of the eyes: how far smoothing may move a face
SAME = 0.65  # least cosine of the identity codes of a person who is back and of one who was there before

Progress = Callable[[float], None]
"""Called with the number of frames that are done, in small steps, and again with the same number while the detector
looks. What it raises ends the run."""


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


@dataclass
class Shot:
    """A frame that was looked at: its number from 0, its picture, whom it shows, and whose faces stay as they are."""

    number: int
    picture: torch.Tensor
    tracks: list[Track]
    spared: list[Face]


def anonymize_clip(
    pipeline: Pipeline,
    frames: Iterable[torch.Tensor],
    key: Key,
    nonce: bytes | None = None,
    refine_steps: int = 0,
    progress: Progress = lambda done: None,
    imprint: bool = True,
    min_face: float = 40,
    faces: Iterable[Selection] | None = None,
) -> Iterator[Result]:
    """Give every person of a clip another identity, the same one in all frames. Other than `Pipeline.anonymize`:

    Args:
        frames: pictures [1, 3, H, W] in [-1, 1], taken one by one.
        nonce: one for the whole clip; None: linked.
        progress: see `Progress`.
        faces: for each frame the faces to replace and those to spare.

    Yields:
        A result for each frame, in their order. `faces` is empty where there is none; the picture is then as it was.

    Raises:
        PictureError: a face holds an imprint: it was anonymized before; or somebody is spared who was replaced.
        ValueError: there are more or fewer of `faces` than frames.
    """
    clip = _Clip(pipeline, refine_steps, progress, min_face)

    def change(identity: Identity) -> Identity:
        return pipeline.anonymize_identity(identity, key, nonce, imprint)

    for shot, result in clip.run(frames, faces, change):
        known = [*result.faces, *shot.spared]
        result.suspects = pipeline.missed(result, known, min_face, clip.looked)
        yield result


def recover_clip(
    pipeline: Pipeline,
    frames: Iterable[torch.Tensor],
    key: Key,
    nonce: bytes | None = None,
    refine_steps: int = 0,
    progress: Progress = lambda done: None,
    min_face: float = 40,
    faces: Iterable[Selection] | None = None,
) -> Iterator[Result]:
    """Bring the people of a clip back: each frame from its imprints; where there are none, one identity a person.

    Arguments and results as in `anonymize_clip`. `refine_steps` are spent on every face: 0 where imprints are expected.
    """
    clip = _Clip(pipeline, refine_steps, progress, min_face)

    def change(identity: Identity) -> Identity:
        return pipeline.recover_identity(identity, key, nonce)

    for _, result in clip.run(frames, faces, change):
        yield result


class _Clip:
    """What is in hand of a clip."""

    def __init__(self, pipeline: Pipeline, refine_steps: int, progress: Progress, min_face: float) -> None:
        self.pipeline, self.refine_steps, self.min_face = pipeline, refine_steps, min_face
        self.shots: deque[Shot] = deque()  # not rendered yet
        self.live: list[Track] = []  # who may be in the next frame
        self.people: list[Person] = []
        self.progress, self.done = progress, 0.0
        self.halves = 0  # half of the work on a frame is to look at it, half to render it

    def run(
        self,
        frames: Iterable[torch.Tensor],
        faces: Iterable[Selection] | None,
        change: Callable[[Identity], Identity],
    ) -> Iterator[tuple[Shot, Result]]:
        """Look at each frame, and render the one that is AHEAD frames back."""
        pairs = ((frame, None) for frame in frames) if faces is None else zip(frames, faces, strict=True)
        for number, (picture, selection) in enumerate(pairs):
            self.look(number, picture, selection)
            if len(self.shots) > AHEAD:
                yield self.render(change)
        while self.shots:
            yield self.render(change)

    def looked(self) -> None:
        """Nothing moved on, but here the run can be ended."""
        self.progress(self.done)

    def within(self, done: int, total: int) -> None:
        """A part of half the work on a frame is done."""
        self.done = (self.halves + done / total) / 2
        self.progress(self.done)

    def half_done(self) -> None:
        """The frame was looked at, or rendered."""
        self.halves += 1
        self.done = self.halves / 2
        self.progress(self.done)

    def look(self, number: int, picture: torch.Tensor, selection: Selection | None) -> None:
        """Find and encode the faces of a frame, and tell whose they are."""
        if selection is None:
            found = self.pipeline.detect(picture, self.min_face, self.looked)
            selection = Selection(found, [True] * len(found))
        shot = Shot(number, picture, [], selection.spared)
        self.shots.append(shot)
        seen: list[Sighting] = []
        for face in selection.chosen:

            def stepped(done: int, total: int, before: int = len(seen), faces: int = len(selection.chosen)) -> None:
                self.within(before * total + done, faces * total)

            seen.append(self.encode(picture, face, stepped))
        self.live = [track for track in self.live if number - max(track.sightings) <= AHEAD]
        last = [track.sightings[max(track.sightings)] for track in self.live]
        expected = [_expected(track, number) for track in self.live]
        whose = match(expected, self.likeness(last), selection.chosen, self.likeness(seen))
        for sighting, index in zip(seen, whose, strict=True):
            if index is None:
                track = Track()
            else:
                track = self.live[index]
                self.bridge(track, number, sighting)
            track.sightings[number] = sighting
            shot.tracks.append(track)
        self.check_spared(shot)
        self.live += [track for track in shot.tracks if track not in self.live]
        self.half_done()

    def check_spared(self, shot: Shot) -> None:
        """Nobody who was replaced a moment ago may be spared now: one frame with the old face gives a person away."""
        lost = [track for track in self.live if track not in shot.tracks]
        if not lost or not shot.spared:
            return
        last = self.likeness([track.sightings[max(track.sightings)] for track in lost])
        seen = self.likeness([self.encode(shot.picture, face, lambda *_: self.looked()) for face in shot.spared])
        expected = [_expected(track, shot.number) for track in lost]
        if any(index is not None for index in match(expected, last, shot.spared, seen)):
            raise PictureError(
                f"Frame {shot.number + 1} spares somebody who is replaced in the frames before. Choose the same people "
                "in all frames, with masks: numbers count from left to right anew where people pass each other."
            )

    def encode(self, picture: torch.Tensor, face: Face, progress: Callable[[int, int], None]) -> Sighting:
        """One face of a frame."""
        encoding = self.pipeline.encode(picture, [face], self.refine_steps, progress)
        return Sighting(face, *self.pipeline.disentangle(encoding))

    def likeness(self, sightings: list[Sighting]) -> torch.Tensor:
        """Codes [N, D] whose cosines tell whether two sightings are of one person."""
        mean = self.pipeline.generator.mean_w
        if not sightings:
            return mean.new_zeros(0, self.pipeline.generator.styles * len(mean))
        codes = torch.cat([sighting.identity.latent for sighting in sightings])
        return F.normalize((codes - mean).flatten(1))

    def bridge(self, track: Track, number: int, sighting: Sighting) -> None:
        """Put a face back into the frames between, in which the detector lost it though it is there."""
        before = max(track.sightings)
        old, new = track.sightings[before].face, sighting.face
        for shot in self.shots:
            if before < shot.number < number:
                share = (shot.number - before) / (number - before)
                face = self.pipeline.finder.retrace(shot.picture, torch.lerp(old.points, new.points, share))
                others = [*(other.sightings[shot.number].face for other in shot.tracks), *shot.spared]
                self.looked()
                if face.score >= PRESENT and not any(same_place(face.box, other.box) for other in others):
                    track.sightings[shot.number] = self.encode(shot.picture, face, lambda *_: self.looked())
                    shot.tracks.append(track)

    def render(self, change: Callable[[Identity], Identity]) -> tuple[Shot, Result]:
        """Finish the oldest frame in hand."""
        shot = self.shots.popleft()
        smoothed = [(track, *_smoothed(track, shot.number)) for track in shot.tracks]
        smoothed.sort(key=lambda one: one[1].box[0] + one[1].box[2])  # left to right
        faces = [face for _, face, _ in smoothed]
        seen = [track.sightings[shot.number] for track, _, _ in smoothed]
        if faces:
            latent = torch.cat([codes[:1] for _, _, codes in smoothed])  # [F, L, dim]
            code = torch.cat([codes[1:] for _, _, codes in smoothed])
            rest = latent - code
            code = self.pipeline.kria.hold(code, torch.cat([self.who(track, shot).code for track, _, _ in smoothed]))
            maps = [sighting.attributes.features for sighting in seen]
            fronts = [sighting.attributes.front for sighting in seen if sighting.attributes.front is not None]
            front = torch.cat(fronts) if fronts else None
            attributes = Attributes(rest, {px: torch.cat([one[px] for one in maps]) for px in maps[0]}, front)
            imprints = [found for sighting in seen for found in sighting.identity.imprints]
            identity = change(Identity(code, latent, imprints, [False] * len(faces)))
            made = self.pipeline.render(shot.picture, faces, identity, attributes, self.within, shot.spared)
            whole = torch.cat([identity.whole(index, attributes) for index in range(len(faces))])
            result = Result(made.picture, made.mask, made.owner, made.imprinted, faces, whole, identity.restored)
        else:
            result = self.nobody(shot.picture)
        for track in self.live:  # later frames are smoothed without the oldest sightings
            track.sightings = {at: one for at, one in track.sightings.items() if at >= shot.number - AHEAD}
        self.half_done()
        return shot, result

    def nobody(self, picture: torch.Tensor) -> Result:
        """The result for a frame in which there is nothing to do."""
        mask = torch.zeros_like(picture[:, :1])
        owner = torch.full(picture.shape[-2:], -1, dtype=torch.int16)
        latents = torch.zeros(0, self.pipeline.generator.styles, self.pipeline.generator.dim)
        return Result(picture, mask, owner, [], [], latents, [])

    def who(self, track: Track, shot: Shot) -> Person:
        """Whom a track shows: the one it is known to, one who was there before, or somebody new."""
        seen = torch.cat([sighting.identity.code for sighting in track.sightings.values()])  # [N, L, dim]
        if track.person is None:
            here = [other.person for other in {*self.live, *shot.tracks} if other.person is not None]
            away = [person for person in self.people if person not in here]
            total = seen.sum(0, keepdim=True)
            alike = [float(F.cosine_similarity(total.flatten(), person.total.flatten(), 0)) for person in away]
            if alike and max(alike) >= SAME:
                track.person = away[alike.index(max(alike))]
            else:
                track.person = Person(total / len(seen), torch.zeros_like(total))
                self.people.append(track.person)
        track.person.total += track.sightings[shot.number].identity.code
        return track.person


def _expected(track: Track, number: int) -> Face:
    """The last face of a track moved to where it should be in a frame, at the speed that it had."""
    *_, last = numbers = sorted(track.sightings)
    face = track.sightings[last].face
    if len(numbers) == 1:
        return face
    before = numbers[-2]
    speed = (face.mesh - track.sightings[before].face.mesh).mean(0) / (last - before)  # [3]
    return Face.from_mesh(face.mesh + speed * (number - last), face.score)


def _smoothed(track: Track, number: int) -> tuple[Face, torch.Tensor]:
    """Face of a track in a frame, its W+ code and its identity code [2, L, dim], from the frames around it."""
    seen, one = track.sightings, track.sightings[number].face
    weights = smoothing(list(seen), number)
    meshes = torch.stack([sighting.face.mesh for sighting in seen.values()]).double()  # [N, 468, 3]
    mesh = torch.einsum("n,nij->ij", weights, meshes)
    # after a jolt the face is where it is: a new face beside it would leave some of it uncovered
    off = (one.mesh - mesh).mean(0)
    mesh += off * (1 - STRAY * (one.points[1] - one.points[0]).norm() / off[:2].norm().clamp(min=1e-9)).clamp(min=0)
    codes = [torch.cat([sighting.identity.latent, sighting.identity.code]) for sighting in seen.values()]
    return Face.from_mesh(mesh, one.score), torch.einsum("n,nkij->kij", weights.to(codes[0]), torch.stack(codes))
