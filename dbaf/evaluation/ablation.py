"""The pipeline with a part changed or left out: what each one does shows in what is missing then."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from dbaf.kria import KRIA, KeyedTurn
from dbaf.pipeline import Pipeline
from dbaf.stages import Identity

Change = Callable[[Pipeline], None]  # in place


def load(bundle: str, changes: Sequence[Change]) -> Pipeline:
    """The pipeline of a bundle, changed.

    Args:
        bundle: an embedded family, or a bundle folder.
        changes: of this module.

    Raises:
        WeightsError: there is no such bundle.
    """
    pipeline = Pipeline.from_pretrained(bundle)
    for change in changes:
        change(pipeline)
    return pipeline


def plain_kria(pipeline: Pipeline) -> None:
    """KRIA only reflects: it neither stretches nor moves."""
    assert isinstance(pipeline.kria, KRIA)
    for turn in pipeline.kria.modules():
        if isinstance(turn, KeyedTurn):
            turn.stretch, turn.move = 1.0, 0.0


def no_maar(pipeline: Pipeline) -> None:
    """The generator keeps its own noise."""
    pipeline.maar = lambda features: {}  # type: ignore[assignment]


def no_occlusion(pipeline: Pipeline) -> None:
    """Nobody sees what is in front of a face."""
    pipeline.occlusion = None


def no_gesture_code(pipeline: Pipeline) -> None:
    """Attributes are what CID finds."""
    pipeline.gesture_code = None


def no_cid(pipeline: Pipeline) -> None:
    """A code is all identity."""
    pipeline.cid = torch.zeros_like  # type: ignore[assignment]
    pipeline.gesture_code = None


def no_proportions(pipeline: Pipeline) -> None:
    """New faces are as they are rendered."""
    anonymized = pipeline.anonymize_identity

    def as_it_is(identity: Identity, *how: Any, **more: Any) -> Identity:
        return replace(anonymized(identity, *how, **more), proportions=identity.proportions)

    pipeline.anonymize_identity = as_it_is  # type: ignore[method-assign]


def identity_removed(pipeline: Pipeline) -> None:
    """Everybody gets the mean identity code of their crowd, and no imprint."""
    assert isinstance(pipeline.kria, KRIA)
    kria = pipeline.kria

    def removed(identity: Identity, *_: Any, **__: Any) -> Identity:
        codes = torch.cat([kria.middle_of(code) for code in identity.code.split(1)])
        return Identity(codes, identity.latent, [[]] * len(codes), [False] * len(codes), identity.proportions)

    pipeline.anonymize_identity = removed  # type: ignore[method-assign]
