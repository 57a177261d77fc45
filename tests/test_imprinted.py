"""Imprints on the whole way, through files, with the embedded weights."""

import io

import pytest
import torch
from PIL import Image

from dbaf.errors import PictureError
from dbaf.images import from_pil, to_pil
from dbaf.keys import Key, new_nonce
from dbaf.pipeline import Pipeline
from dbaf.stages import Identity, Result


@pytest.fixture(scope="module")
def anonymized(pipeline: Pipeline, group: torch.Tensor, key: Key) -> Result:
    return pipeline.anonymize(group, key)


def saved(result: Result, quality: int | None = None) -> torch.Tensor:
    """The picture as it comes out of a PNG file, or a JPEG file."""
    data = io.BytesIO()
    result.image.save(data, "PNG") if quality is None else result.image.save(data, "JPEG", quality=quality)
    with Image.open(data) as image:
        return from_pil(image).rgb


def off(one: Identity, other: Identity) -> float:
    return (one.code - other.code).square().mean().item()


@pytest.mark.parametrize("quality", [None, 90])
def test_imprints_bring_identities_back(
    pipeline: Pipeline, anonymized: Result, group: torch.Tensor, key: Key, quality: int | None
) -> None:
    original, _ = pipeline.disentangle(pipeline.encode(group, anonymized.faces))
    assert anonymized.imprinted == [True] * 3
    picture = saved(anonymized, quality)
    seen, _ = pipeline.disentangle(pipeline.encode(picture, pipeline.detect(picture)))
    right, wrong = (pipeline.recover_identity(seen, other) for other in (key, Key(bytes(32))))
    looks = pipeline.recover_identity(seen, key, imprint=False)
    assert right.restored == [True] * 3
    assert wrong.restored == looks.restored == [False] * 3
    assert not right.proportions.any()  # as they were, so they need no change
    assert torch.equal(looks.proportions, -key.proportions(None, [0, 1, 2]))
    assert off(right, original) < 0.3 * off(looks, original)
    assert (wrong.code - pipeline.recover_identity(seen, Key(bytes(32)), imprint=False).code).abs().max() == 0


def test_imprints_need_neither_nonce_nor_record(pipeline: Pipeline, portrait: torch.Tensor, key: Key) -> None:
    small = to_pil(portrait).resize((256, 256))
    made = pipeline.anonymize(small, key, new_nonce())
    assert pipeline.recover(saved(made), key).restored == [True]


def test_what_was_anonymized_is_not_anonymized_again(pipeline: Pipeline, anonymized: Result, key: Key) -> None:
    """A second reflection undoes the first: the same key would lead back towards the original faces."""
    for again in (key, Key(bytes(32))):
        with pytest.raises(PictureError, match="Already pseudonymised"):
            pipeline.anonymize(saved(anonymized), again)


def test_imprints_can_be_left_out(pipeline: Pipeline, portrait: torch.Tensor, key: Key) -> None:
    small = to_pil(portrait).resize((256, 256))
    plain, marked = pipeline.anonymize(small, key, imprint=False), pipeline.anonymize(small, key)
    assert (plain.imprinted, marked.imprinted) == ([False], [True])
    for result, seen in ((plain, 0), (marked, 1)):  # anybody can tell
        picture = saved(result)
        assert sum(sealed is not None for sealed in pipeline.imprints(picture, pipeline.detect(picture))) == seen
    assert pipeline.recover(saved(plain), key).restored == [False]
    difference = (saved(plain) - saved(marked)) * 127.5
    assert 0 < difference.square().mean() < 255**2 / 10**4  # 40 dB
    assert torch.equal(plain.mask, marked.mask)
    assert not difference[(marked.mask == 0).expand_as(difference)].any()


def test_tiny_faces_have_no_room_for_an_imprint(pipeline: Pipeline, portrait: torch.Tensor, key: Key) -> None:
    tiny = pipeline.anonymize(to_pil(portrait).resize((78, 78)), key)
    assert tiny.imprinted == [False]
