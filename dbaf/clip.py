"""Frames of a clip, one after another: people are followed, each keeps one new identity, and nothing flickers.

A frame is looked at when it comes in and rendered AHEAD frames later, so that smoothing sees both sides of it and a
face that the detector lost for a moment can be put back. No more than that is held, however long the clip is.

Of a person's identity code, what the key turns is the mean over the frames in hand when they are first rendered, and
stays: it is one new face whatever the encoder makes of a frame. The rest of the W+ codes is smoothed in time, as is
the place of the face.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F

from dbaf.errors import PictureError
from dbaf.faces import Face, Selection
from dbaf.faces.detect import same_place
from dbaf.faces.proportions import as_rendered
from dbaf.faces.track import iou, match
from dbaf.imprint.channel import FAINT
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Attributes, Identity, Result
from dbaf.tracks import Person, Shot, Sighting, Track

AHEAD = 8  # frames in hand beyond the one that is rendered; a face may be lost for fewer than that
PRESENT = 0.5  # presence, by the face mesh, of a face that the detector did not find between two frames in which it did
HIDES = 0.5  # intersection over union of a face with one behind it of which nothing shows
SAME = 0.65  # least cosine of the identity codes of a person who is back and of one who was there before

Made = TypeVar("Made")
Change = Callable[[list[Face], Identity, Attributes, list[int]], Identity]
"""From the faces of a frame, and each person's number in the clip, from 0, to who they become."""
Progress = Callable[[float], None]
"""Called with the number of frames that are done, in small steps, and again with the same number while the detector
looks. What it raises ends the run."""


def anonymize_clip(
    pipeline: Pipeline,
    frames: Iterable[torch.Tensor],
    key: Key,
    nonce: bytes | Sequence[bytes] | None = None,
    refine_steps: int = 0,
    progress: Progress = lambda done: None,
    imprint: bool = True,
    min_face: float = 40,
    faces: Iterable[Selection] | None = None,
    keep_looks: bool = True,
) -> Iterator[Result]:
    """Give every person of a clip another identity, the same one in all frames. Other than `Pipeline.anonymize`:

    Args:
        frames: pictures [1, 3, H, W] in [-1, 1], taken one by one.
        nonce: one for the whole clip; of several, the one that the people of the first frame with a face choose; None:
            linked.
        progress: see `Progress`.
        faces: for each frame the faces to replace and those to spare.

    Yields:
        A result for each frame, in their order. `faces` is empty where there is none; the picture is then as it was.

    Raises:
        PictureError: a face holds an imprint: it was anonymized before; or somebody is spared who was replaced.
        ValueError: there are more or fewer of `faces` than frames, or `nonce` is an empty list.
    """
    clip = _Clip(pipeline, refine_steps, progress, min_face, keep_looks)

    def change(faces: list[Face], identity: Identity, attributes: Attributes, people: list[int]) -> Identity:
        nonlocal nonce
        if nonce is not None and not isinstance(nonce, bytes):
            nonce = pipeline.choose_nonce(faces, identity, attributes, key, nonce, keep_looks, stepped=clip.looked)
        return pipeline.anonymize_identity(identity, key, nonce, imprint, keep_looks, people=people)

    for shot, result in clip.run(frames, faces, lambda shot: clip.render(shot, change)):
        known = [*result.faces, *shot.spared]
        result.suspects = pipeline.missed(result, known, min_face, clip.looked) + shot.hidden
        result.nonce = nonce if isinstance(nonce, bytes) else None
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
    keep_looks: bool = True,
) -> Iterator[Result]:
    """Bring the people of a clip back: each frame from its imprints; where there are none, one identity a person.

    Arguments and results as in `anonymize_clip`; where there are no imprints, `faces` as they were. `refine_steps` are
    spent on every face: 0 where imprints are expected.
    """
    clip = _Clip(pipeline, refine_steps, progress, min_face, keep_looks)

    def change(_: list[Face], identity: Identity, __: Attributes, people: list[int]) -> Identity:
        return pipeline.recover_identity(identity, key, nonce, keep_looks=keep_looks, people=people)

    for _, result in clip.run(frames, faces, lambda shot: clip.render(shot, change)):
        yield result


def follow_clip(
    pipeline: Pipeline,
    frames: Iterable[torch.Tensor],
    progress: Progress = lambda done: None,
    min_face: float = 40,
) -> Iterator[list[tuple[Face, int]]]:
    """Find the faces of a clip, and tell whose they are. Arguments as in `anonymize_clip`.

    Yields:
        For each frame its faces, left to right, each with the number of the person. People count from 1, in the order
        in which they come into sight, from left to right; who is back after a while is known by their looks.
    """
    clip = _Clip(pipeline, 0, progress, min_face)
    for _, people in clip.run(frames, None, clip.name):
        yield people


class _Clip:
    """What is in hand of a clip."""

    def __init__(
        self, pipeline: Pipeline, refine_steps: int, progress: Progress, min_face: float, keep_looks: bool = True
    ) -> None:
        self.pipeline, self.refine_steps, self.min_face = pipeline, refine_steps, min_face
        self.keep_looks = keep_looks
        self.shots: deque[Shot] = deque()  # not rendered yet
        self.live: list[Track] = []  # who may be in the next frame
        self.people: list[Person] = []
        self.progress, self.done = progress, 0.0
        self.halves = 0  # half of the work on a frame is to look at it, half to render it

    def run(
        self,
        frames: Iterable[torch.Tensor],
        faces: Iterable[Selection] | None,
        finish: Callable[[Shot], Made],
    ) -> Iterator[tuple[Shot, Made]]:
        """Look at each frame, and finish the one that is AHEAD frames back."""
        pairs = ((frame, None) for frame in frames) if faces is None else zip(frames, faces, strict=True)
        for number, (picture, selection) in enumerate(pairs):
            self.look(number, picture, selection)
            if len(self.shots) > AHEAD:
                yield self.oldest(finish)
        while self.shots:
            yield self.oldest(finish)

    def oldest(self, finish: Callable[[Shot], Made]) -> tuple[Shot, Made]:
        """Finish the oldest frame in hand."""
        shot = self.shots.popleft()
        made = finish(shot)
        for track in self.live:  # later frames are smoothed without the oldest sightings
            track.sightings = {at: one for at, one in track.sightings.items() if at >= shot.number - AHEAD}
        self.half_done()
        return shot, made

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
        places = [track.expected(number) for track in self.live]
        whose = match(places, self.likeness(last), selection.chosen, self.likeness(seen))
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
        places = [track.expected(shot.number) for track in lost]
        if any(index is not None for index in match(places, last, shot.spared, seen)):
            raise PictureError(
                f"Frame {shot.number + 1} spares somebody who is replaced in the frames before. Choose the same people "
                "in all frames: DBAF Detect Faces follows them if its 'batch' is 'clip', too."
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
                if face.score < PRESENT:
                    continue
                if any(same_place(face.box, other.box) for other in others):
                    behind = Face.from_mesh(torch.lerp(old.mesh, new.mesh, share), face.score)
                    if all(iou(behind.box, other.box) < HIDES for other in others):
                        shot.hidden.append(behind)
                else:
                    track.sightings[shot.number] = self.encode(shot.picture, face, lambda *_: self.looked())
                    shot.tracks.append(track)

    def render(self, shot: Shot, change: Change) -> Result:
        """The result for a frame."""
        smoothed = [(track, *track.smoothed(shot.number)) for track in shot.tracks]
        smoothed.sort(key=lambda one: one[1].box[0] + one[1].box[2])  # left to right
        faces = [face for _, face, _ in smoothed]
        seen = [track.sightings[shot.number] for track, _, _ in smoothed]
        if faces:
            latent = torch.cat([codes[:1] for _, _, codes in smoothed])  # [F, L, dim]
            code = torch.cat([codes[1:] for _, _, codes in smoothed])
            rest = latent - code
            people = [self.who(track, shot) for track, _, _ in smoothed]
            code = self.pipeline.kria.hold(code, torch.cat([person.code for person in people]), self.keep_looks)
            maps = [sighting.attributes.features for sighting in seen]
            fronts = [sighting.attributes.front for sighting in seen if sighting.attributes.front is not None]
            front = torch.cat(fronts) if fronts else None
            attributes = Attributes(rest, {px: torch.cat([one[px] for one in maps]) for px in maps[0]}, front)
            imprints = [found for sighting in seen for found in sighting.identity.imprints]
            who = Identity(code, latent, imprints, [False] * len(faces), as_rendered(len(faces)))
            identity = change(faces, who, attributes, [self.people.index(person) for person in people])
            made = self.pipeline.render(shot.picture, faces, identity, attributes, self.within, shot.spared, FAINT)
            whole = torch.cat([identity.whole(index, attributes) for index in range(len(faces))])
            return Result(made.picture, made.mask, made.owner, made.imprinted, faces, whole, identity.restored)
        return self.nobody(shot.picture)

    def name(self, shot: Shot) -> list[tuple[Face, int]]:
        """The faces of a frame, left to right, each with the number of the person, from 1."""
        tracks = sorted(shot.tracks, key=lambda track: sum(track.sightings[shot.number].face.box[::2]))
        people = [self.who(track, shot) for track in tracks]
        faces = [track.sightings[shot.number].face for track in tracks]
        return [(face, self.people.index(person) + 1) for face, person in zip(faces, people, strict=True)]

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
