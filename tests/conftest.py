"""Generated people for every test, made once a session."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import settings
from made_up import in_a_mirror

from dbaf.generators import load_generator
from dbaf.generators.mobile import MobileGenerator
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import bundle_folder

settings.register_profile("dbaf", deadline=None)  # a test may take as long as a busy machine needs
settings.load_profile("dbaf")


@pytest.fixture(scope="session")
def generator() -> MobileGenerator:
    return load_generator(bundle_folder("mobile"))


def person(generator: MobileGenerator, seed: int) -> torch.Tensor:
    """A generated face [1, 3, 1024, 1024] in [-1, 1]."""
    z = torch.randn(1, generator.dim, generator=torch.Generator().manual_seed(seed))
    w = generator.mean_w + 0.7 * (generator.mapping(z) - generator.mean_w)
    with torch.no_grad():
        return generator(generator.widen(w)).clamp(-1, 1)


@pytest.fixture(scope="session")
def portrait(generator: MobileGenerator) -> torch.Tensor:
    return person(generator, 3)


@pytest.fixture(scope="session")
def small(portrait: torch.Tensor) -> torch.Tensor:
    """The portrait at 256 px."""
    return F.interpolate(portrait, size=256, mode="area")


@pytest.fixture(scope="session")
def key() -> Key:
    """A key that everybody knows."""
    return Key(bytes(range(32)))


@pytest.fixture(scope="session")
def group(generator: MobileGenerator) -> torch.Tensor:
    """Three people on a grey canvas [1, 3, 320, 900]."""
    canvas = torch.zeros(1, 3, 320, 900)
    for index, seed in enumerate((5, 12, 21)):
        face = F.interpolate(person(generator, seed), size=280, mode="bilinear", antialias=True)
        canvas[..., 20:300, 10 + 300 * index : 290 + 300 * index] = face
    return canvas


@pytest.fixture(scope="session")
def photos(generator: MobileGenerator) -> dict[str, torch.Tensor]:
    """A photo of one person, another in a mirror and in dim, blue light, and one of somebody else: [1, 3, 256, 256]."""
    one, other = (F.interpolate(person(generator, seed), size=256, mode="area") for seed in (100, 101))
    return {"one": one, "again": in_a_mirror(one), "other": other}


@pytest.fixture(scope="session")
def serious(generator: MobileGenerator) -> torch.Tensor:
    """Somebody with closed lips [1, 3, 320, 320]."""
    return F.interpolate(person(generator, 75), size=320, mode="area")


@pytest.fixture(scope="session")
def smiling(generator: MobileGenerator) -> torch.Tensor:
    """Somebody who shows teeth [1, 3, 320, 320]."""
    return F.interpolate(person(generator, 90), size=320, mode="area")


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    return Pipeline.from_pretrained("mobile", device="cpu")
