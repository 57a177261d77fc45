"""Clips: who is who over frames, what is smoothed, and what is in hand; then a few frames with the real networks."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dbaf.clip import AHEAD, anonymize_clip, follow_clip, recover_clip
from dbaf.errors import PictureError
from dbaf.faces import Face, Selection
from dbaf.faces.proportions import as_rendered
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Attributes, Encoding, Identity, Rendering, Result

KEY = Key(bytes(range(32)))
WHO = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))[[0, 1, 0]]  # W+ codes of people; 2 looks as 0


def face(x: float, score: float = 0.9) -> Face:
    mesh = torch.rand(468, 3, generator=torch.Generator().manual_seed(1)) * 40
    return Face.from_mesh(mesh + torch.tensor([x, 20.0, 0.0]), score)


class Film:
    """A pipeline that finds in frame t who the script says: {person: x}, and encodes them with a little noise."""

    latent_code = None

    def __init__(self, script: list[dict[int, float]], hidden: dict[int, float] | None = None) -> None:
        self.script, self.hidden = script, hidden or {}  # hidden: frame -> presence of a face that is not detected
        self.faces: list[dict[int, Face]] = [{who: face(x) for who, x in people.items()} for people in script]
        self.generator = SimpleNamespace(mean_w=torch.zeros(16), styles=4, dim=16)
        self.kria = SimpleNamespace(hold=lambda identity, held, keep_looks: held)
        self.finder = SimpleNamespace(retrace=self.retrace)
        self.codes: list[torch.Tensor] = []  # identities that were rendered, [F, 4, 16] a frame
        self.people: list[list[int]] = []  # and whose they are
        self.suspected: list[Face] = []
        self.imprint: bytes | None = None

    def frames(self, taken: Callable[[int], Any] = int) -> Iterator[torch.Tensor]:
        for number in range(len(self.script)):
            taken(number)
            yield torch.full((1, 3, 80, 400), number / 1000)

    def detect(self, picture: torch.Tensor, min_face: float, looked: Callable[[], None]) -> list[Face]:
        looked()
        return list(self.faces[round(float(picture[0, 0, 0, 0]) * 1000)].values())

    def retrace(self, picture: torch.Tensor, points: torch.Tensor) -> Face:
        number = round(float(picture[0, 0, 0, 0]) * 1000)
        x = float((points - face(0).points).mean(0)[0])
        return face(x, self.hidden.get(number, 0.0))

    def encode(self, picture: torch.Tensor, faces: list[Face], refine_steps: int, progress: Any) -> Encoding:
        number = round(float(picture[0, 0, 0, 0]) * 1000)
        named = {id(one): who for who, one in self.faces[number].items()}
        noise = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(number)) * 0.1
        progress(1, 1)
        maps = {16: torch.zeros(1, 1, 16, 16)}
        return Encoding(WHO[[named.get(id(faces[0]), 0)]] + noise, maps, torch.zeros(1, 8), [self.imprint])

    def disentangle(self, encoding: Encoding) -> tuple[Identity, Attributes]:
        found = [[] if one is None else [one] for one in encoding.imprints]
        who = Identity(encoding.latent * 0.9, encoding.latent, found, [False], as_rendered(1))
        return who, Attributes(encoding.latent * 0.1, encoding.features)

    def anonymize_identity(
        self, identity: Identity, key: Key, nonce: bytes | None, imprint: bool, keep_looks: bool, people: list[int]
    ) -> Identity:
        self.people.append(people)
        if any(identity.imprints):
            raise PictureError("Already pseudonymised")
        none: list[list[bytes]] = [[]] * len(identity.code)
        return Identity(-identity.code, identity.latent, none, identity.restored, identity.proportions)

    def recover_identity(
        self, identity: Identity, key: Key, nonce: bytes | None, keep_looks: bool, people: list[int]
    ) -> Identity:
        return self.anonymize_identity(identity, key, nonce, False, keep_looks, people)

    def render(
        self,
        picture: torch.Tensor,
        faces: list[Face],
        identity: Identity,
        attributes: Attributes,
        progress: Any,
        spared: list[Face],
        step: float,
    ) -> Rendering:
        self.codes.append(identity.code)
        for done in range(len(faces)):
            progress(done + 1, len(faces))
        owner = torch.zeros(picture.shape[-2:], dtype=torch.int16)
        return Rendering(picture + 1, torch.ones_like(picture[:, :1]), owner, [False] * len(faces))

    def missed(self, made: Result, known: list[Face], min_face: float, looked: Any) -> list[Face]:
        looked()
        self.known = known
        return self.suspected


def run(film: Film, way: Callable[..., Iterator[Result]] = anonymize_clip, **arguments: Any) -> list[Result]:
    return list(way(film, film.frames(), KEY, **arguments))


def codes(film: Film) -> torch.Tensor:
    return torch.cat(film.codes).flatten(1)


def test_count_and_order_stay_and_empty_frames_pass() -> None:
    film = Film([{}, {}] + [{0: 10}] * 20 + [{}] + [{0: 10}] * 3)
    film.suspected = [face(300)]
    results = run(film)
    assert [round(float(result.picture[0, 0, 0, 0]), 3) for result in results] == [
        number / 1000 + (1 if number not in (0, 1, 22) else 0) for number in range(26)
    ]
    assert [len(result.faces) for result in results] == [0] * 2 + [1] * 20 + [0] + [1] * 3
    assert not results[0].mask.any()
    assert all(result.suspects for result in results)  # frames without a face are looked at, too


def test_the_first_frame_with_a_face_chooses_the_nonce_for_all() -> None:
    film = Film([{}, {0: 10, 1: 300}] + [{0: 10}] * 12)
    nonces, asked = [bytes([number]) * 16 for number in range(3)], []

    def choose(faces: list[Face], identity: Identity, attributes: Attributes, key: Key, *rest: Any, **_: Any) -> bytes:
        asked.append((len(faces), len(identity.code), len(attributes.code), rest[0]))
        return rest[0][1]

    film.choose_nonce = choose  # type: ignore[attr-defined]
    assert [result.nonce for result in run(film, nonce=nonces)] == [None] + [nonces[1]] * 13
    assert asked == [(2, 2, 2, nonces)]
    assert run(Film([{0: 10}]), nonce=nonces[2])[0].nonce == nonces[2]
    assert run(Film([{0: 10}]))[0].nonce is None


@pytest.mark.parametrize("way", [anonymize_clip, recover_clip])
def test_everybody_keeps_one_identity_though_they_cross(way: Callable[..., Iterator[Result]]) -> None:
    film = Film([{0: 20 + 6 * t, 1: 320 - 6 * t} for t in range(50)])
    results = run(film, way)
    first, second = (codes[0] for codes in film.codes[0].split(1))
    for number, pair in enumerate(film.codes):
        apart = 300 - 12 * number
        if abs(apart) > 10:
            assert torch.equal(pair[0], first if apart > 0 else second)
            assert film.people[number] == ([0, 1] if apart > 0 else [1, 0])
        assert results[number].faces[0].box[0] <= results[number].faces[1].box[0]
    assert len(codes(film).unique(dim=0)) == 2


def test_who_is_back_after_long_is_known_again_and_a_stranger_is_not() -> None:
    film = Film([{0: 20}] * 12 + [{}] * 20 + [{0: 300}] * 12 + [{}] * 20 + [{1: 20}] * 12)
    run(film)
    seen = codes(film)
    assert torch.equal(seen[0], seen[23])
    assert not torch.equal(seen[0], seen[24])
    assert len(seen.unique(dim=0)) == 2


def test_two_alike_are_never_one() -> None:
    """Twins, or one person and their mirror image: whom the frame shows already cannot come in a second time."""
    film = Film([{0: 20}] * 20 + [{0: 20, 2: 200}] * 20)
    run(film)
    assert torch.equal(film.codes[0][0], film.codes[-1][0])
    assert not torch.equal(film.codes[-1][0], film.codes[-1][1])


@pytest.mark.parametrize(("presence", "found"), [(0.9, 1), (0.1, 0)])
def test_a_face_that_the_detector_lost_is_put_back_if_it_is_there(presence: float, found: int) -> None:
    film = Film([{0: 10 + 2 * t} if t not in (12, 13) else {} for t in range(25)], {12: presence, 13: presence})
    results = run(film)
    assert [len(result.faces) for result in results] == [1] * 12 + [found] * 2 + [1] * 11
    assert len(codes(film).unique(dim=0)) == 1
    if found:
        assert abs(float((results[12].faces[0].points - face(34).points).mean())) < 0.5


@pytest.mark.parametrize(("x", "shows"), [(12, False), (28, True)])
def test_nobody_is_put_over_a_spared_face(x: float, shows: bool) -> None:
    """Somebody who is not meant walks in front of the person for one frame: beside them part of the person may show."""
    film = Film([{0: 10} if t != 12 else {1: x} for t in range(25)], {12: 0.9})
    choices = [Selection(list(people.values()), [0 in people]) for people in film.faces]
    results = run(film, faces=choices)
    assert len(results[12].faces) == 0
    assert [number for number, result in enumerate(results) if result.suspects] == ([12] if shows else [])


def test_nobody_is_spared_who_was_replaced() -> None:
    """As where the leftmost face is to be replaced and people pass each other; who only walks past is no matter."""
    film = Film([{0: 40 + 6 * t, 1: 200 - 6 * t} for t in range(30)])

    def leftmost(people: dict[int, Face]) -> Selection:
        found = sorted(people.values(), key=lambda face: face.box[0])
        return Selection(found, [True, False])

    with pytest.raises(PictureError, match=r"Frame 1\d spares somebody who is replaced"):
        run(film, faces=[leftmost(people) for people in film.faces])
    film.faces = [people if abs(160 - 12 * t) > 30 else {1: people[1]} for t, people in enumerate(film.faces)]
    choices = [Selection(list(people.values()), [who == 0 for who in people]) for people in film.faces]
    assert len(codes_of(film, choices).unique(dim=0)) == 1


def codes_of(film: Film, choices: list[Selection]) -> torch.Tensor:
    run(film, faces=choices)
    return codes(film)


def test_people_keep_their_numbers() -> None:
    """Though they pass each other, or come back; who comes later has a higher one; lost faces are put back."""
    script = [{0: 20 + 6 * t, 1: 320 - 6 * t} for t in range(45)] + [{0: 290}] * 12 + [{1: 50, 0: 290}] * 3
    del script[3][0]
    film = Film(script, {3: 0.9})
    for number, frame in enumerate(follow_clip(film, film.frames())):  # type: ignore[arg-type]
        people = script[number] | ({0: 38} if number == 3 else {})
        if abs(300 - 12 * number) > 10 or number >= 45:
            assert [who for _, who in frame] == [who + 1 for who in sorted(people, key=lambda who: people[who])]
            assert [face.box[0] for face, _ in frame] == sorted(face.box[0] for face, _ in frame)


def test_a_cut_is_not_smoothed_over() -> None:
    film = Film([{0: 100}] * 12 + [{1: 110}] * 12)
    results = run(film)
    assert len(codes(film).unique(dim=0)) == 2
    for number, result in enumerate(results):
        assert abs(float((result.faces[0].points - face(100 if number < 12 else 110).points).mean())) < 0.01


def test_shaking_boxes_are_smoothed_but_never_far_from_the_face() -> None:
    shake = torch.randn(40, generator=torch.Generator().manual_seed(0)).tolist()
    film = Film([{0: 100 + 0.3 * value} for value in shake])
    places = torch.tensor([float(result.faces[0].points[0, 0]) for result in run(film)])
    raw = torch.tensor([float(people[0].points[0, 0]) for people in film.faces])
    assert places.diff(n=2).std() < 0.4 * raw.diff(n=2).std()
    jolt = Film([{0: 100 if t < 10 else 112} for t in range(20)])
    for result, people in zip(run(jolt), jolt.faces, strict=True):
        old = people[0]
        off = (result.faces[0].points - old.points).mean(0).norm() / (old.points[1] - old.points[0]).norm()
        assert off < 0.05


def test_only_a_few_frames_are_in_hand() -> None:
    film = Film([{0: 10}] * 60)
    taken: list[int] = []
    for number, _ in enumerate(anonymize_clip(film, film.frames(taken.append), KEY)):  # type: ignore[arg-type]
        assert taken[-1] <= number + AHEAD


def test_progress_never_goes_back_and_what_it_raises_ends_the_run() -> None:
    film = Film([{0: 10, 1: 200}, {}] * 10)
    told: list[float] = []
    run(film, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 20
    with pytest.raises(KeyboardInterrupt):
        run(film, progress=interrupted)


def interrupted(done: float) -> None:
    if done > 3:
        raise KeyboardInterrupt


def test_what_is_anonymized_already_is_refused() -> None:
    film = Film([{0: 10}] * 3)
    film.imprint = b"sealed"
    with pytest.raises(PictureError, match="Already"):
        run(film)


def test_choices_must_be_as_many_as_frames() -> None:
    film = Film([{0: 10}] * 12)
    with pytest.raises(ValueError, match="shorter"):
        run(film, faces=[Selection([], [])] * 3)


@pytest.fixture(scope="module")
def filmed(portrait: torch.Tensor) -> list[torch.Tensor]:
    """Five noisy frames of a person [1, 3, 256, 256]."""
    small = F.interpolate(portrait, size=256, mode="area")
    noise = torch.randn(5, 1, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 4
    return [(((small + 1) * 127.5 + one).round().clamp(0, 255) / 127.5 - 1) for one in noise]


def test_there_and_back_with_the_real_networks(pipeline: Pipeline, filmed: list[torch.Tensor]) -> None:
    made = list(anonymize_clip(pipeline, filmed, KEY))
    assert [len(result.faces) for result in made] == [1] * 5
    assert all(result.imprinted == [True] and not result.suspects for result in made)
    for result, frame in zip(made, filmed, strict=True):
        untouched = (result.mask == 0).expand_as(frame)
        assert torch.equal(result.picture[untouched], frame[untouched])
    alone = [pipeline.anonymize(frame, KEY, imprint=False) for frame in filmed[:2]]
    steps = [(one.latents - other.latents).square().mean() for one, other in (made[:2], alone)]
    assert steps[0] < 0.3 * steps[1]
    back = list(recover_clip(pipeline, [result.picture for result in made], KEY))
    assert all(result.restored == [True] for result in back)
    assert pipeline.recover(made[2].picture, KEY).restored == [True]  # a still, too
    noise = (made[0].picture - unprinted(pipeline, filmed))[made[0].mask.expand_as(filmed[0]) > 0] * 127.5
    assert float(noise.square().mean().sqrt()) < 1.3  # a camera's is 1.5 and more


def unprinted(pipeline: Pipeline, frames: list[torch.Tensor]) -> torch.Tensor:
    """The first frame of a clip without imprints, on the 8-bit grid."""
    picture = next(iter(anonymize_clip(pipeline, frames, KEY, imprint=False))).picture
    return ((picture + 1) * 127.5).round() / 127.5 - 1
