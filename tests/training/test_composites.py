"""Composites are made as `Pipeline.render` makes pictures."""

import torch
import torch.nn.functional as F

from dbaf.pipeline import Pipeline
from dbaf.training.composites import pasted


def test_a_face_pasted_into_its_own_picture_changes_little(pipeline: Pipeline, portrait: torch.Tensor) -> None:
    photo = F.interpolate(portrait, size=256, mode="area").clamp(-1, 1)
    again, _ = pasted(pipeline.finder, photo, photo)
    assert again.shape == photo.shape
    assert torch.equal(((again + 1) * 127.5).round() / 127.5 - 1, again)  # 8 bits
    assert (again - photo).abs().mean() < 0.06  # it was resampled


def test_another_face_keeps_the_surroundings(pipeline: Pipeline, portrait: torch.Tensor, group: torch.Tensor) -> None:
    photo = F.interpolate(portrait, size=256, mode="area").clamp(-1, 1)
    other = F.interpolate(group[..., 20:300, 10:290], size=256, mode="area").clamp(-1, 1)
    changed = (pasted(pipeline.finder, photo, other)[0] - photo).abs().mean(1)[0]
    assert changed[90:200, 90:166].mean() > 3 * changed[:30].mean()
