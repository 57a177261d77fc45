"""From the encoder's guess to a closer code, with the embedded weights, on a generated face."""

import torch

from dbaf.encoders.refine import feedback, refine
from dbaf.faces import crop
from dbaf.pipeline import Pipeline


def seen_part(pipeline: Pipeline, portrait: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The square of the portrait's face, and an ellipse of it."""
    (face,) = pipeline.detect(portrait)
    return crop(portrait, face.quad, 256), ellipse()


def ellipse() -> torch.Tensor:
    """[1, 1, 256, 256], about what encoders get to see of a square."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 256), torch.linspace(-1, 1, 256), indexing="ij")
    inside = (x / 0.5).square() + ((y - 0.1) / 0.7).square() < 1
    return inside.float()[None, None]


def error(pipeline: Pipeline, picture: torch.Tensor, seen: torch.Tensor, wplus: torch.Tensor) -> float:
    """Mean difference of the reconstruction within the part that counts."""
    return float(((pipeline.generator.preview(wplus) - picture).abs() * seen).mean() / seen.mean())


def test_refinement_brings_the_seen_part_closer(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    picture, seen = seen_part(pipeline, portrait)
    components, calls = pipeline.latent_code, []
    with torch.inference_mode():  # as in ComfyUI
        code, _ = pipeline.encoder(picture * seen)
        better = refine(
            pipeline.generator, pipeline.encoder, components, picture, seen, code, 8, lambda: calls.append(None)
        )
        assert error(pipeline, picture, seen, better) < 0.95 * error(pipeline, picture, seen, code)
    assert len(calls) == 8
    # an imprint can say all that was found
    assert torch.allclose(components.latent(components.coordinates(better)), better, atol=1e-2)


def test_feedback_corrects_what_the_encoder_gets_wrong(pipeline: Pipeline) -> None:
    """As the picture shows it: codes differ along much that does not show."""
    seen = ellipse()
    code = pipeline.generator.widen(pipeline.generator.mapping(torch.randn(4, 512, generator=torch.manual_seed(0))))
    code = pipeline.generator.mean_w + 0.6 * (code - pipeline.generator.mean_w)
    for one in code.split(1):
        with torch.no_grad():
            picture = pipeline.generator.preview(one)
            guess, _ = pipeline.encoder(picture * seen)
            better = feedback(pipeline.generator, pipeline.encoder, seen, guess)
            assert error(pipeline, picture, seen, better) < 0.97 * error(pipeline, picture, seen, guess)


def test_it_is_repeatable_and_off_by_default(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    faces = pipeline.detect(portrait)
    plain, refined = pipeline.encode(portrait, faces), pipeline.encode(portrait, faces, refine_steps=2)
    assert torch.equal(plain.latent, pipeline.encode(portrait, faces, refine_steps=0).latent)
    assert not torch.equal(plain.latent, refined.latent)
    assert torch.equal(refined.latent, pipeline.encode(portrait, faces, refine_steps=2).latent)
