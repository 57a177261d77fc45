"""Who is who in an album, on generated people."""

import itertools

import pytest
import torch
from made_up import in_a_mirror

from dbaf.album import Album, people_of, same_people
from dbaf.evaluation.recogniser import Dlib
from dbaf.faces import Selection
from dbaf.images import from_pil, to_pil
from dbaf.keys import Key
from dbaf.pipeline import Pipeline

KEY = Key(bytes(range(32)))
KEYS = (KEY, *(Key(bytes([number]) * 32) for number in range(1, 5)))


def album_of(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> Album:
    album = Album(pipeline)
    for name, photo in photos.items():
        album.look(name, photo)
    return album


def test_the_new_faces_of_a_person_are_more_alike_than_without_an_album(
    pipeline: Pipeline, photos: dict[str, torch.Tensor]
) -> None:
    """On average over people and keys: the new faces of one person may be alike without an album, too."""
    both = photos | {"other again": in_a_mirror(photos["other"])}
    album, judge = album_of(pipeline, both), Dlib()

    def distance(names: tuple[str, str], key: Key, together: bool) -> float:
        seen = []
        for name in names:
            held = album.held(name) if together else None
            saved = from_pil(to_pil(pipeline.anonymize(both[name], key, held=held).picture)).rgb
            seen.append(judge.embed(saved, pipeline.detect(saved)[0].points))
        return float((seen[0] - seen[1]).norm())

    pairs = itertools.product((("one", "again"), ("other", "other again")), KEYS)
    nearer = [distance(names, key, together=False) - distance(names, key, together=True) for names, key in pairs]
    assert sum(nearer) / len(nearer) > 0.02, nearer


def test_a_key_turns_the_same_for_all_photos_of_a_person(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    album, turned = album_of(pipeline, photos), []
    for name in ("one", "again"):
        identity, _ = pipeline.disentangle(pipeline.encode(photos[name], pipeline.detect(photos[name])))
        (held,) = album.held(name)
        alone = pipeline.kria.coordinates(identity.code)
        turned.append(pipeline.kria.coordinates(pipeline.kria.hold(identity.code, held)))
        assert (turned[-1] - alone).abs().max() > 0.1
    torch.testing.assert_close(turned[0], turned[1], atol=1e-3, rtol=0)


def test_somebody_seen_once_keeps_the_own_code(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    (held,) = album_of(pipeline, photos).held("other")
    identity, _ = pipeline.disentangle(pipeline.encode(photos["other"], pipeline.detect(photos["other"])))
    together = pipeline.anonymize_identity(identity, KEY, held=[held]).code
    alone = pipeline.anonymize_identity(identity, KEY).code
    assert (together - alone).norm() < 0.01 * (alone - identity.code).norm()


def test_people_of_an_album_keep_proportions_of_their_own(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    album = album_of(pipeline, photos)

    def proportions(name: str, key: Key = KEY) -> torch.Tensor:
        identity, _ = pipeline.disentangle(pipeline.encode(photos[name], pipeline.detect(photos[name])))
        return pipeline.anonymize_identity(identity, key, held=album.held(name)).proportions

    assert torch.equal(proportions("one"), proportions("again"))
    assert not torch.equal(proportions("one"), proportions("other"))
    assert not torch.equal(proportions("one"), proportions("one", KEYS[1]))


def test_the_order_of_an_album_does_not_matter(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    there, back = album_of(pipeline, photos), album_of(pipeline, dict(reversed(photos.items())))
    for one, other in zip(there.held("one"), back.held("one"), strict=True):
        assert torch.equal(one, other)


def test_the_original_comes_back_from_an_album(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    """Each photo has its own code in its imprint, not the person's mean."""
    held = album_of(pipeline, photos).held("one")
    saved = from_pil(to_pil(pipeline.anonymize(photos["one"], KEY, held=held).picture)).rgb
    alone = from_pil(to_pil(pipeline.anonymize(photos["one"], KEY).picture)).rgb
    back, expected = pipeline.recover(saved, KEY), pipeline.recover(alone, KEY)
    assert back.restored == [True]
    assert float((back.latents - expected.latents).abs().max()) < 0.5 * float(expected.latents.std())


def test_spared_faces_are_nobodys(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    album, alone = Album(pipeline), album_of(pipeline, {"again": photos["again"]})
    album.look("one", photos["one"], Selection(pipeline.detect(photos["one"]), [False]))
    album.look("again", photos["again"])
    assert album.held("one") == []
    assert torch.equal(album.held("again")[0], alone.held("again")[0])
    assert Album(pipeline).held("nothing") == []


def test_a_look_tells_how_far_it_is_and_can_be_ended(pipeline: Pipeline, photos: dict[str, torch.Tensor]) -> None:
    album, steps = Album(pipeline), []
    album.look("one", photos["one"], progress=lambda *step: steps.append(step))
    assert set(steps) == {(0, 1), (1, 1)}
    assert steps[-1] == (1, 1)

    def end(done: int, _: int) -> None:
        if done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        album.look("again", photos["again"], progress=end)
    assert len(album.seen) == 1
    assert torch.equal(album.held("one")[0], album_of(pipeline, {"one": photos["one"]}).held("one")[0])


def groups(embeddings: torch.Tensor, pictures: list[int]) -> set[frozenset[int]]:
    return {frozenset(members) for members in people_of(same_people(embeddings, pictures))}


def test_people_are_grouped_by_what_they_have_in_common_on_average() -> None:
    centres = torch.eye(4)[:3]  # three people, 1.4 apart
    near = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) * 0.05
    embeddings = centres.repeat(3, 1) + near
    assert groups(embeddings, list(range(9))) == {frozenset({n, n + 3, n + 6}) for n in range(3)}
    shuffled = [4, 7, 1, 0, 8, 3, 6, 2, 5]
    found = {frozenset(shuffled[n] for n in group) for group in groups(embeddings[shuffled], list(range(9)))}
    assert found == groups(embeddings, list(range(9)))


def test_a_chain_of_likenesses_does_not_make_one_person() -> None:
    line = torch.arange(6)[:, None] * 0.4  # each like the next, the ends far apart
    assert max(len(group) for group in groups(line.float(), list(range(6)))) < 4


def test_two_faces_of_one_picture_are_two_people() -> None:
    same = torch.zeros(3, 2)
    assert len(groups(same, [0, 0, 1])) == 2
    assert len(groups(same, [0, 0, 0])) == 3
    assert groups(torch.zeros(0, 2), []) == set()
