"""What is left of the pipeline without a part."""

import copy
from types import SimpleNamespace
from typing import Any

import torch
from made_up import fitted_kria, noise

from dbaf.evaluation import ablation
from dbaf.faces.proportions import as_rendered
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Identity


def without(pipeline: Pipeline, *changes: ablation.Change) -> Pipeline:
    """A copy that shares its networks."""
    changed = copy.copy(pipeline)
    for change in changes:
        change(changed)
    return changed


def test_without_maar_the_generator_keeps_its_noise(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    small = torch.nn.functional.interpolate(portrait, size=256, mode="area")
    faces = pipeline.detect(small)
    identity, attributes = pipeline.disentangle(pipeline.encode(small, faces))
    bare = without(pipeline, ablation.no_maar, ablation.no_occlusion)
    code = identity.latent[:1]
    whole, alone = (one.generator(code, one.maar(attributes.features)) for one in (pipeline, bare))
    assert torch.equal(alone, pipeline.generator(code))
    assert not torch.equal(alone, whole)
    assert bare.encode(small, faces).front is None
    assert pipeline.encode(small, faces).front is not None


def test_without_cid_a_code_is_all_identity(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    small = torch.nn.functional.interpolate(portrait, size=256, mode="area")
    encoding = pipeline.encode(small, pipeline.detect(small))
    assert torch.equal(without(pipeline, ablation.no_cid).disentangle(encoding)[0].code, encoding.latent)
    attributes = without(pipeline, ablation.no_gesture_code).disentangle(encoding)[1]
    assert torch.equal(attributes.code, pipeline.cid(encoding.latent))
    assert not torch.allclose(pipeline.disentangle(encoding)[1].code, attributes.code, atol=0.01)


def test_kria_that_only_reflects_is_its_own_inverse() -> None:
    made_up: Any = SimpleNamespace(kria=fitted_kria())
    x, key = noise(3, 30, seed=1) / 10, noise(3, 3, 32, seed=2)  # far from the limit
    assert not torch.allclose(made_up.kria.turned(made_up.kria.turned(x, key), key), x, atol=0.05)
    ablation.plain_kria(made_up)
    assert torch.allclose(made_up.kria.turned(made_up.kria.turned(x, key), key), x, atol=0.01)


def test_without_proportions_faces_are_as_they_are_rendered(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    identity, _ = pipeline.disentangle(pipeline.encode(portrait, pipeline.detect(portrait)))
    bare, key = without(pipeline, ablation.no_proportions), Key(bytes(32))
    assert not bare.anonymize_identity(identity, key).proportions.any()
    assert pipeline.anonymize_identity(identity, key).proportions.all()
    assert torch.equal(bare.anonymize_identity(identity, key).code, pipeline.anonymize_identity(identity, key).code)


def test_without_identity_everybody_of_a_crowd_is_alike() -> None:
    made_up: Any = SimpleNamespace(kria=fitted_kria())
    ablation.identity_removed(made_up)
    codes = noise(6, 7, 32, seed=3)
    everybody = Identity(codes, codes, [[b"imprint"]] * 6, [False] * 6, as_rendered(6))
    removed = made_up.anonymize_identity(everybody, None)
    for sign in (-1, 1):
        crowd = removed.code[made_up.kria.scored(codes).sign() == sign]
        assert len(crowd) > 1
        assert torch.allclose(crowd, crowd[:1].expand_as(crowd), atol=1e-5)
    assert removed.imprints == [[]] * 6
