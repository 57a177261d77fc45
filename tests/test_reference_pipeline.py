"""The whole chain on a converted bundle of the family `reference`: its networks at tiny widths, with random weights."""

from pathlib import Path

import pytest
import reference
import torch

from dbaf.errors import NoFaceError, WeightsError
from dbaf.images import to_pil
from dbaf.keys import Key, new_nonce
from dbaf.pipeline import Pipeline
from dbaf.weights.convert_dbaf import convert_dbaf
from dbaf.weights.convert_e4e import convert_e4e
from dbaf.weights.convert_stylegan2 import convert_stylegan2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    reference.save_release(folder / "release", 256)
    reference.save_e4e(folder / "e4e.pt", 14)
    convert_dbaf(folder / "release", folder / "bundle")
    convert_e4e(folder / "e4e.pt", folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(str(folder), device="cpu")


def test_there_and_back(tiny: Pipeline, portrait: torch.Tensor, key: Key) -> None:
    picture = torch.nn.functional.interpolate(portrait, size=320, mode="area")
    done: list[tuple[int, int]] = []
    result = tiny.anonymize(picture, key, progress=lambda step, total: done.append((step, total)))
    assert result.picture.shape == picture.shape
    assert result.latents.shape == (1, 14, reference.DIM)
    assert result.picture.isfinite().all()
    outside = (result.mask == 0).expand_as(picture)
    assert torch.equal(result.picture[outside], picture[outside])
    assert (result.picture - picture).abs()[(result.mask > 0.99).expand_as(picture)].mean() > 0.02
    assert done[-1][0] == done[-1][1]
    assert torch.equal(tiny.anonymize(picture, key).picture, result.picture)
    for other in (tiny.anonymize(picture, Key(bytes(32))), tiny.anonymize(picture, key, new_nonce())):
        assert (other.latents - result.latents).abs().max() > 0.01
    recovered = tiny.recover(picture, key)  # random weights make no faces, so it is done to the original
    assert recovered.restored == [False]
    torch.testing.assert_close(recovered.latents, result.latents)
    again = tiny.reconstruct(picture)
    assert (again.latents - result.latents).abs().max() > 0.01


def test_a_face_does_not_depend_on_its_neighbours(tiny: Pipeline, group: torch.Tensor, key: Key) -> None:
    faces = tiny.detect(group)
    assert len(faces) == 3
    identity, attributes = tiny.disentangle(tiny.encode(group, faces))
    together = tiny.anonymize_identity(identity, key)
    for index, face in enumerate(faces):
        own, rest = tiny.disentangle(tiny.encode(group, [face]))
        assert torch.equal(tiny.anonymize_identity(own, key).whole(0, rest), together.whole(index, attributes))


def test_without_the_part_for_imprints_there_are_none(tiny: Pipeline, portrait: torch.Tensor, key: Key) -> None:
    assert tiny.latent_code is None
    small = to_pil(portrait).resize((256, 256))
    with_it, without = tiny.anonymize(small, key, imprint=True), tiny.anonymize(small, key, imprint=False)
    assert with_it.imprinted == without.imprinted == [False]
    assert torch.equal(with_it.picture, without.picture)


def test_refinement_says_what_to_do(tiny: Pipeline, portrait: torch.Tensor, key: Key) -> None:
    for run in (tiny.anonymize, tiny.recover):
        with pytest.raises(WeightsError, match="cannot refine: set refine_steps to 0, or take the model 'mobile'"):
            run(portrait, key, refine_steps=2)


def test_the_encoder_sees_all_of_the_square(tiny: Pipeline, portrait: torch.Tensor) -> None:
    faces = tiny.detect(portrait)
    x0, y0, x1, y1 = (round(v) + d for v, d in zip(faces[0].box, (-4, -4, 4, 4), strict=True))
    other = -portrait
    other[:, :, y0:y1, x0:x1] = portrait[:, :, y0:y1, x0:x1]
    one, two = (tiny.encode(picture, faces) for picture in (portrait, other))
    assert (one.latent - two.latent).abs().max() > 0.01


def test_no_face_is_an_error(tiny: Pipeline, key: Key) -> None:
    with pytest.raises(NoFaceError):
        tiny.anonymize(torch.zeros(1, 3, 200, 200), key)


def test_parts_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    reference.save_release(tmp_path, 256)
    convert_dbaf(tmp_path, tmp_path / "bundle")
    reference.save_e4e(tmp_path / "e4e.pt", 18)
    convert_e4e(tmp_path / "e4e.pt", tmp_path / "bundle")
    with pytest.raises(WeightsError, match=r"do not fit.*'generator': 14, 'encoder': 18, 'cid': 14"):
        Pipeline.from_pretrained(str(tmp_path / "bundle"))


def test_a_bundle_without_an_encoder_says_what_it_has(tmp_path: Path) -> None:
    state = reference.weights(reference.generator_shapes(reference.CHANNELS[256], reference.DIM))
    torch.save({"g_ema": state}, tmp_path / "g.pt")
    convert_stylegan2(tmp_path / "g.pt", tmp_path / "bundle")
    with pytest.raises(WeightsError, match="no part 'encoder'; it has: detector, generator, landmarks"):
        Pipeline.from_pretrained(str(tmp_path / "bundle"))
