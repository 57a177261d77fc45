"""Latent optimisation with the embedded weights, on a generated face."""

import torch
import torch.nn.functional as F

from dbaf.encoders.refine import face_weights, refine
from dbaf.pipeline import Pipeline


def square(portrait: torch.Tensor) -> torch.Tensor:
    return F.interpolate(portrait, size=256, mode="area")


def test_the_picture_comes_closer_and_unused_styles_stay(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    picture = square(portrait)
    calls: list[None] = []
    with torch.inference_mode():  # as in ComfyUI
        code, _ = pipeline.encoder(picture)
        better = refine(pipeline.generator, pipeline.encoder, picture, code, 8, lambda: calls.append(None))
        errors = [(pipeline.generator.preview(wplus) - picture).abs().mean().item() for wplus in (code, better)]
    assert len(calls) == 8
    assert errors[1] < 0.9 * errors[0], errors
    unused = [style for style in range(pipeline.generator.styles) if style not in pipeline.generator.active]
    assert torch.equal(code[:, unused], better[:, unused])


def test_it_is_repeatable_and_off_by_default(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    faces = pipeline.detect(portrait)
    plain, refined = pipeline.encode(portrait, faces), pipeline.encode(portrait, faces, refine_steps=2)
    assert torch.equal(plain.latent, pipeline.encode(portrait, faces, refine_steps=0).latent)
    assert not torch.equal(plain.latent, refined.latent)
    assert torch.equal(refined.latent, pipeline.encode(portrait, faces, refine_steps=2).latent)


def test_pixels_of_the_face_count_most() -> None:
    weights = face_weights(64)
    assert torch.isclose(weights.mean(), torch.tensor(1.0))
    assert torch.isclose(weights[0, 0, 32, 32], 5 * weights[0, 0, 0, 0])
