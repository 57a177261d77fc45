"""Fit the coordinates of W+ codes in which refinement works and imprints are written.

    python -m dbaf.training.imprint --recogniser MOBILEFACENET

Takes the codes of `dbaf.training.codes`, and some ten minutes on one core for gradients: of identity, as the
recogniser of the training losses sees it, and of the encoder's feature maps, in the part of a face that is replaced.
Prints how much of the codes and of the gradients of photographs that were left out is kept.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import track

from dbaf.encoders.compact import SIZE
from dbaf.encoders.refine import SMALL, feature_maps
from dbaf.faces.mask import inner_mask
from dbaf.generators import load_generator
from dbaf.imprint import LatentCode
from dbaf.training.codes import load_coded
from dbaf.training.common import LICENCE, load_encoder
from dbaf.training.mobilefacenet import MobileFaceNet
from dbaf.weights.bundle import bundle_folder, save_part

COMPONENTS = 352
NATURAL = 160  # of them those of the codes
SPREAD = (
    0.35  # refined codes of 5 photographs lay .43 from the encoder's along the first 40 other axes, .3 along the next
)
LENGTHS = (192, 160, 128, 112, 96, 80, 72, 64, 56, 48, 40, 32, 20)  # bytes; the shorter for small faces
OBSERVED = 260  # photographs whose gradients are taken
CHECKED = 40  # of them left out of the fit


def gradients(codes: torch.Tensor, reaches: torch.Tensor, recogniser: MobileFaceNet) -> torch.Tensor:
    """Gradients, by W+, of random mixtures of what matters about faces: two of identity, one of feature maps each.

    Their mean outer product is that of the whole Jacobian (Hutchinson's estimator).

    Args:
        codes: W+ codes [N, L, dim].
        reaches: [N, DIRECTIONS] for `inner_mask`.
        recogniser: gives identity.

    Returns:
        [N, 3, L * dim], identity and maps of the same mean length.
    """
    bundle = bundle_folder("mobile")
    generator, encoder = load_generator(bundle), load_encoder(bundle)
    rows = []
    for code, reach in track(list(zip(codes.split(1), reaches.split(1), strict=True)), "gradients"):
        code = code.clone().requires_grad_(True)
        seen = F.interpolate(inner_mask(reach, SIZE), size=SMALL, mode="area")
        rendered = generator.preview(code, size=SMALL) * seen
        identity = recogniser.embed_ffhq(rendered)
        maps = feature_maps(encoder, rendered)
        mixed = [(identity * torch.randn_like(identity)).sum() for _ in range(2)]
        mixed.append(torch.stack([(m * torch.randn_like(m)).sum() / m[0, 0].numel() ** 0.5 for m in maps]).sum())
        rows.append(torch.stack([torch.autograd.grad(one, code, retain_graph=True)[0].flatten() for one in mixed]))
    found = torch.stack(rows)  # [N, 3, L * dim]
    lengths = found.norm(dim=2).mean(0)
    return found / torch.stack([lengths[:2].mean(), lengths[:2].mean(), lengths[2]])[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recogniser", type=Path, required=True)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    args = parser.parse_args()
    torch.manual_seed(0)
    photos = load_coded(args.photos, args.codes)
    latent, reaches = photos["wplus"], photos["reach"]
    found = gradients(latent[:OBSERVED], reaches[:OBSERVED], MobileFaceNet.from_tflite(args.recogniser))
    config: dict[str, Any] = {
        "components": COMPONENTS,
        "natural": NATURAL,
        "spread": SPREAD,
        "lengths": LENGTHS,
        "styles": latent.shape[1],
        "dim": latent.shape[2],
    }
    coder = LatentCode(**config)
    coder.fit(latent[CHECKED:], found[CHECKED:].flatten(0, 1))
    left_out, kept = found[:CHECKED].flatten(0, 1), latent[:CHECKED]
    around = (kept - kept.mean(0)).flatten(1)

    def shows(off: torch.Tensor) -> torch.Tensor:
        """What the gradients that were left out see of differences of codes [CHECKED, L, dim]."""
        return (off.flatten(1) @ left_out.T).square().sum()

    natural = coder.coordinates(kept) * (torch.arange(COMPONENTS) < NATURAL)
    print(f"natural ones: {1 - shows(coder.latent(natural) - kept) / shows(around):.4f} of the look, n = {CHECKED}")
    for length in LENGTHS:
        back = torch.stack([coder.unpack(coder.pack(one, length)) for one in kept])
        print(f"{length} bytes: {1 - shows(back - kept) / shows(around):.4f}")
    save_part(bundle_folder("mobile"), "imprint", coder.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
