"""What a face recogniser finds out of two linkages, on generated people; `evaluate` has figures on real ones."""

from statistics import mean

import pytest
import torch
import torch.nn.functional as F

from dbaf.evaluation.recogniser import Dlib
from dbaf.generators.mobile import MobileGenerator
from dbaf.images import from_pil, to_pil
from dbaf.keys import NONCE_BYTES, Key
from dbaf.pipeline import Pipeline

PEOPLE = 3


@pytest.fixture(scope="module")
def photos(generator: MobileGenerator) -> list[list[torch.Tensor]]:
    """Two photos [1, 3, 256, 256] each of some people: the pose and the colours are those of somebody else."""

    @torch.no_grad()
    def code(seed: int) -> torch.Tensor:
        z = torch.randn(1, generator.dim, generator=torch.Generator().manual_seed(seed))
        return generator.widen(generator.mean_w + 0.7 * (generator.mapping(z) - generator.mean_w))

    @torch.no_grad()
    def photo(who: int, number: int) -> torch.Tensor:
        latent, other = code(100 + who).clone(), code(900 + 10 * who + number)
        latent[:, :2], latent[:, 14:] = other[:, :2], other[:, 14:]
        return F.interpolate(generator(latent).clamp(-1, 1), size=256, mode="area")

    return [[photo(who, number) for number in range(2)] for who in range(PEOPLE)]


@torch.no_grad()
def test_linked_photos_of_a_person_are_more_alike_than_unlinked_ones(
    pipeline: Pipeline, photos: list[list[torch.Tensor]]
) -> None:
    key, judge = Key(bytes(range(32))), Dlib()

    def distance(first: bytes | None, second: bytes | None) -> float:
        """Mean of those of the people's two photos, each anonymized under its nonce."""
        distances = []
        for pair in photos:
            seen = []
            for photo, nonce in zip(pair, (first, second), strict=True):
                saved = from_pil(to_pil(pipeline.anonymize(photo, key, nonce).picture)).rgb
                seen.append(judge.embed(saved, pipeline.detect(saved)[0].points))
            distances.append(float((seen[0] - seen[1]).norm()))
        return mean(distances)

    assert distance(None, None) < distance(bytes(NONCE_BYTES), bytes(range(NONCE_BYTES))) - 0.05
