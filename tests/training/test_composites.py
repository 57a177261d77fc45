"""Composites are made as `Pipeline.render` makes pictures."""

import pytest
import torch
import torch.nn.functional as F

from dbaf.faces.align import crop
from dbaf.pipeline import Pipeline
from dbaf.training import composites
from dbaf.training.composites import pasted


def test_a_face_pasted_into_its_own_picture_changes_little(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    photo = F.interpolate(portrait, size=256, mode="area").clamp(-1, 1)
    again, _ = pasted(pipeline.finder, photo, photo)
    assert again.shape == photo.shape
    assert torch.equal(((again + 1) * 127.5).round() / 127.5 - 1, again)  # 8 bits
    assert (again - photo).abs().mean() < 0.06  # it was resampled


def test_another_face_keeps_the_surroundings(
    pipeline: Pipeline, portrait: torch.Tensor, group: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = F.interpolate(portrait, size=256, mode="area").clamp(-1, 1)
    other = F.interpolate(group[..., 20:300, 10:290], size=256, mode="area").clamp(-1, 1)
    quads: list[torch.Tensor] = []

    def noted(picture: torch.Tensor, quad: torch.Tensor, size: int) -> torch.Tensor:
        quads.append(quad)
        return crop(picture, quad, size)

    monkeypatch.setattr(composites, "crop", noted)
    picture, _ = pasted(pipeline.finder, photo, other)
    kept = crop(photo, quads[-1], 256).clamp(-1, 1)  # in the square of the new face, which is not quite the old one's
    changed = (picture - kept).abs().mean(1)[0]
    assert changed[:30].mean() < 0.004  # it was rounded
    assert changed[90:200, 90:166].mean() > 0.1
