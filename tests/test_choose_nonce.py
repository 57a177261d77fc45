"""Which of several nonces an unlinked picture gets, with the embedded weights."""

from dataclasses import replace

import pytest
import torch

from dbaf.evaluation.recogniser import Dlib
from dbaf.faces.proportions import as_rendered
from dbaf.keys import NONCE_BYTES, Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Identity


def test_one_of_several_nonces_is_chosen_and_told(pipeline: Pipeline, small: torch.Tensor, key: Key) -> None:
    nonces = [bytes([number]) * NONCE_BYTES for number in range(4)]
    calls: list[int] = []
    made = pipeline.anonymize(small, key, nonces, progress=lambda done, total: calls.append(done))
    assert max(calls) == 2 + len(nonces)
    assert made.nonce in nonces
    assert pipeline.anonymize(small, key, nonces[::-1]).nonce == made.nonce
    assert torch.equal(pipeline.anonymize(small, key, made.nonce).picture, made.picture)
    assert pipeline.recover(made.image, key, made.nonce).restored == [True]
    identity, attributes = pipeline.disentangle(pipeline.encode(small, made.faces))

    def told(nonce: bytes) -> tuple[float, float]:
        return pipeline.previewed(made.faces, pipeline.anonymize_identity(identity, key, nonce), attributes)[0]

    alike, doing = zip(*(told(nonce) for nonce in nonces), strict=True)
    number = nonces.index(made.nonce)
    assert sum(one < alike[number] for one in alike) < 2
    assert sum(one < doing[number] for one in doing) < 3


def test_of_many_nonces_those_are_previewed_whose_codes_are_least_alike(
    pipeline: Pipeline, small: torch.Tensor, key: Key
) -> None:
    nonces, calls = [bytes([number]) * NONCE_BYTES for number in range(9)], []
    made = pipeline.anonymize(small, key, nonces, progress=lambda done, total: calls.append((done, total)))
    assert max(calls) == (6, 6)
    identity, _ = pipeline.disentangle(pipeline.encode(small, made.faces))
    new = {nonce: pipeline.anonymize_identity(identity, key, nonce).code for nonce in nonces}
    alike = {nonce: float(pipeline.kria.resemblance(identity.code, code)) for nonce, code in new.items()}
    assert made.nonce in sorted(nonces, key=lambda nonce: alike[nonce])[:4]


def test_the_face_that_changes_least_decides(
    pipeline: Pipeline, small: torch.Tensor, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, nonces = pipeline.detect(small), [bytes([number]) * NONCE_BYTES for number in range(6)]
    identity, attributes = pipeline.disentangle(pipeline.encode(small, faces))
    coded = dict(zip(nonces, [(0.1, 0.9), (0.2, 0.2), (0.3, 0.1), (0.3, 0.3), (0.0, 0.4), (0.8, 0.8)], strict=True))
    seen = dict(
        zip(
            nonces[1:5],
            [[(0.9, 0.0), (0.1, 0.0)], [(0.5, 0.0), (0.5, 0.9)], [(0.6, 0.1), (0.7, 0.1)], [(0.8, 0.0), (0.3, 0.0)]],
            strict=True,
        )
    )

    def anonymize_identity(_: Identity, __: Key, nonce: bytes, *___: object) -> Identity:
        return Identity(torch.tensor(nonce[0]), identity.latent, [], [], as_rendered(2))

    monkeypatch.setattr(pipeline, "anonymize_identity", anonymize_identity)
    monkeypatch.setattr(pipeline.kria, "resemblance", lambda _, code: torch.tensor(coded[nonces[int(code)]]))
    monkeypatch.setattr(pipeline, "previewed", lambda _, new, *__: seen[nonces[int(new.code)]])
    assert pipeline.choose_nonce(faces, identity, attributes, key, nonces) == nonces[3]


def test_a_preview_without_a_face_is_no_choice(pipeline: Pipeline, small: torch.Tensor, key: Key) -> None:
    faces = pipeline.detect(small)
    identity, attributes = pipeline.disentangle(pipeline.encode(small, faces))
    monster = Identity(identity.code * 40, identity.latent, [[]], [False], as_rendered(1))
    assert pipeline.previewed(faces, monster, attributes) == [(1.0, float("inf"))]
    with pytest.raises(ValueError, match="no nonce"):
        pipeline.choose_nonce(faces, identity, attributes, key, [])


def test_codes_and_previews_tell_what_a_recogniser_will_see(pipeline: Pipeline, small: torch.Tensor, key: Key) -> None:
    judge, faces = Dlib(), pipeline.detect(small)
    identity, attributes = pipeline.disentangle(pipeline.encode(small, faces))
    before = judge.embed(small, faces[0].points)
    pairs = []
    for number in range(8):
        new = pipeline.anonymize_identity(identity, key, bytes([number]) * NONCE_BYTES, imprint=False)
        new = replace(new, proportions=as_rendered(1))  # neither sees these
        made = pipeline.render(small, faces, new, attributes).picture
        after = judge.embed(made, pipeline.detect(made)[0].points)
        code = float(pipeline.kria.resemblance(identity.code, new.code))
        preview = pipeline.previewed(faces, new, attributes)[0][0]
        pairs.append((float((after - before).norm()), code, preview))
    distance = torch.corrcoef(torch.tensor(pairs).T)[0]
    assert distance[1:].max() < -0.3
