"""Latent critics: from W+ straight to what a picture would show, without rendering it.

    python -m dbaf.training.critics --recogniser MobileFaceNet.tflite

Two ridge regressions on generated pairs: W+ -> recogniser embedding (identity), and W+ -> face mesh and coarse
colours (attributes). They let CID and KRIA train at hundreds of codes a second; pictures have the last word.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from dbaf.faces.detect import FaceFinder
from dbaf.generators import load_generator
from dbaf.training.mobilefacenet import MobileFaceNet
from dbaf.training.observe import RAW, observe
from dbaf.training.synthetic import load_pairs
from dbaf.weights.bundle import bundle_folder

ATTRIBUTE_DIMS = 96  # principal components of mesh and coarse colours
HELD_OUT = 300


class LatentCritic(nn.Module):
    """Linear maps of the active styles, in units of the deviation of w."""

    mean_w: torch.Tensor
    scale: torch.Tensor
    raw_mean: torch.Tensor
    components: torch.Tensor

    def __init__(
        self, active: list[int], dim: int = 512, identity: int = 192, attributes: int = ATTRIBUTE_DIMS
    ) -> None:
        super().__init__()
        self.active = active
        self.register_buffer("mean_w", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("raw_mean", torch.zeros(RAW))
        self.register_buffer("components", torch.zeros(RAW, attributes))
        self.identity_map = nn.Linear(len(active) * dim, identity)
        self.attribute_map = nn.Linear(len(active) * dim, attributes)

    def features(self, wplus: torch.Tensor) -> torch.Tensor:
        """W+ [B, L, dim] -> [B, active * dim]."""
        return ((wplus[:, self.active] - self.mean_w) / self.scale).flatten(1)

    def identity(self, wplus: torch.Tensor) -> torch.Tensor:
        """W+ [B, L, dim] -> predicted recogniser embedding, unit norm [B, 192]."""
        return F.normalize(self.identity_map(self.features(wplus)), dim=1)

    def attributes(self, wplus: torch.Tensor) -> torch.Tensor:
        """W+ [B, L, dim] -> predicted attribute components, unit variance [B, ATTRIBUTE_DIMS]."""
        return self.attribute_map(self.features(wplus))

    def project(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw attributes of a picture, from `observe` [B, RAW] -> the same components [B, ATTRIBUTE_DIMS]."""
        return (raw - self.raw_mean) @ self.components


def load_critic(path: Path) -> LatentCritic:
    """Read a critic written by this script, without gradients."""
    with safe_open(path, framework="pt") as file:
        critic = LatentCritic(json.loads(file.metadata()["active"]))
        critic.load_state_dict({key: file.get_tensor(key) for key in file.keys()})
    return critic.eval().requires_grad_(False)


def ridge(x: torch.Tensor, y: torch.Tensor, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Dual ridge regression: weights [D, T] and intercept [T] of x [N, D] -> y [N, T]."""
    mean, centre = x.mean(0), y.mean(0)
    x, y = x - mean, y - centre
    gram = x @ x.T
    weights = x.T @ torch.linalg.solve(gram + strength * gram.diagonal().mean() * torch.eye(len(x)), y)
    return weights, centre - mean @ weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=Path("runs/synthetic"))
    parser.add_argument("--recogniser", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/critics.safetensors"))
    args = parser.parse_args()
    folder = bundle_folder("mobile")
    generator = load_generator(folder)
    pictures, wplus = load_pairs(args.pairs)
    embeddings, raw = observe(pictures, MobileFaceNet.from_tflite(args.recogniser), FaceFinder.from_bundle(folder))
    critic = LatentCritic(generator.active).requires_grad_(False)
    critic.raw_mean.copy_(raw.mean(0))
    components = torch.pca_lowrank(raw - raw.mean(0), ATTRIBUTE_DIMS)[2]
    critic.components.copy_(components / ((raw - raw.mean(0)) @ components).std(0))
    attributes = critic.project(raw)
    critic.mean_w.copy_(generator.mean_w)
    critic.scale.copy_(wplus.flatten(0, 1).std(0))
    x = critic.features(wplus)
    for name, layer, y in (
        ("identity", critic.identity_map, embeddings),
        ("attributes", critic.attribute_map, attributes),
    ):
        weights, bias = min(
            (ridge(x[HELD_OUT:], y[HELD_OUT:], strength) for strength in (0.03, 0.1, 0.3)),
            key=lambda fit: (x[:HELD_OUT] @ fit[0] + fit[1] - y[:HELD_OUT]).square().mean().item(),
        )
        layer.weight.copy_(weights.T)
        layer.bias.copy_(bias)
        held_out = F.cosine_similarity(layer(x[:HELD_OUT]), y[:HELD_OUT]).mean()
        print(f"{name}: cosine on {HELD_OUT} unseen pairs {held_out:.3f}, trained on {len(x) - HELD_OUT}")
    save_file(critic.state_dict(), args.out, {"active": json.dumps(critic.active)})


if __name__ == "__main__":
    main()
