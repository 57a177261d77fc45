"""Drawn occluders and the labels that colour gives: right for pictures whose answer is known."""

import numpy as np
import pytest
import torch

from dbaf.training.occluders import KINDS, SIZE, occlude
from dbaf.training.occlusion import under_mask
from dbaf.training.skin import BARE, not_skin


@pytest.fixture
def mesh() -> np.ndarray:
    """468 points over an oval, the named ones about where a face has them."""
    index = np.arange(468)
    radius, angle = np.sqrt((index + 0.5) / 468), index * 2.4
    points = np.stack([0.5 + 0.2 * radius * np.cos(angle), 0.6 + 0.28 * radius * np.sin(angle)], 1)
    for place, indices in (((0.42, 0.52), (33, 160, 158, 133)), ((0.58, 0.52), (362, 385, 387, 263))):
        points[list(indices)] = place
    points[[70, 63, 105, 66, 107]] = [(x, 0.45) for x in (0.34, 0.38, 0.42, 0.45, 0.47)]
    points[[336, 296, 334, 293, 300]] = [(x, 0.45) for x in (0.53, 0.55, 0.58, 0.62, 0.66)]
    points[[4, 2, 152, 10]] = [(0.5, 0.62), (0.5, 0.66), (0.5, 0.88), (0.5, 0.32)]
    for middle, outline in zip((0.4, 0.6, 0.5), BARE, strict=True):
        turn = np.linspace(0, 2 * np.pi, len(outline), endpoint=False)
        points[list(outline)] = np.stack([middle + 0.03 * np.cos(turn), 0.6 + 0.05 * np.sin(turn)], 1)
    return points


@pytest.mark.parametrize("draw", [draw for draw, _, _ in KINDS])
def test_every_kind_covers_something_and_not_everything(mesh: np.ndarray, draw) -> None:
    shares = [np.asarray(draw(mesh, np.random.default_rng(seed))).mean() / 255 for seed in range(8)]
    assert 0 < max(shares)
    assert max(shares) < 0.6


def test_the_label_says_where_the_picture_changed_most(mesh: np.ndarray) -> None:
    photo, other = np.full((SIZE, SIZE, 3), 128, np.uint8), np.full((SIZE, SIZE, 3), 250, np.uint8)
    for seed in range(6):
        picture, front = occlude(photo, mesh, other, np.random.default_rng(seed))
        again, _ = occlude(photo, mesh, other, np.random.default_rng(seed))
        assert np.array_equal(picture, again)
        change = np.abs(picture.astype(float) - photo).mean(2)
        assert change[front > 0.9].mean() > 2 * change[front == 0].mean()


def test_a_cap_is_no_skin_and_a_highlight_is(mesh: np.ndarray) -> None:
    picture = torch.tensor([0.3, -0.05, -0.2])[:, None, None] + 0.02 * torch.randn(
        3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)
    )
    rows, columns = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
    inside = ((columns - 0.5) / 0.2).square() + ((rows - 0.6) / 0.3).square() < 1
    picture[:, : int(0.38 * SIZE)] = torch.tensor([-0.8, -0.8, -0.7])[:, None, None]
    picture[:, int(0.41 * SIZE) : int(0.42 * SIZE), 120:136] = -0.9  # a wrinkle, alone
    found = not_skin(picture, torch.from_numpy(mesh).float(), inside)
    assert found[int(0.36 * SIZE), SIZE // 2] > 0.9
    assert found[int(0.415 * SIZE), SIZE // 2] < 0.1
    assert found[SIZE // 2 :].max() == 0


def test_a_face_mask_covers_the_chin_and_not_the_eyes(mesh: np.ndarray) -> None:
    covered = under_mask(mesh)
    assert covered.any()
    assert not covered[: int(0.6 * SIZE)].any()
