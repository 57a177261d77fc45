"""Generators: W+ codes to pictures. The config stored with the weights says which one to build."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from dbaf.generators.mobile import MobileGenerator
from dbaf.generators.stylegan2 import StyleGAN2
from dbaf.weights.bundle import load_network

Generator = MobileGenerator | StyleGAN2
KINDS: Mapping[str, Callable[..., Generator]] = {"mobile": MobileGenerator, "stylegan2": StyleGAN2}


def load_generator(folder: Path) -> Generator:
    """Build the generator of a bundle, in evaluation mode, without gradients.

    Raises:
        WeightsError: a shard is missing, short or altered; the kind is not known.
    """
    generator = load_network(folder, "generator", KINDS)
    # convolutions on CPU are faster with channels last, depthwise ones 1.7 times
    return generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
