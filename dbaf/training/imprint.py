"""Fit the code of imprints to encoded photographs.

    python -m dbaf.training.imprint

Takes a minute, on the codes of `dbaf.training.codes`. Prints how much of the codes of photographs that were left out
survives as bytes.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from dbaf.imprint import LatentCode
from dbaf.training.codes import load_codes
from dbaf.training.common import LICENCE
from dbaf.weights.bundle import bundle_folder, save_part

COMPONENTS = 384
LENGTHS = (192, 128, 64, 48, 32, 20)  # bytes; the shorter for small faces
CHECKED = 200  # photographs left out


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    args = parser.parse_args()
    torch.manual_seed(0)
    bundle = bundle_folder("mobile")
    latent = load_codes(args.codes)
    latent = latent[torch.randperm(len(latent))]
    config: dict[str, Any] = {
        "components": COMPONENTS,
        "lengths": LENGTHS,
        "styles": latent.shape[1],
        "dim": latent.shape[2],
    }
    coder = LatentCode(**config)
    coder.fit(latent[CHECKED:])
    kept = latent[:CHECKED]
    spread = (kept - kept.mean(0)).square().sum()
    for length in LENGTHS:
        back = torch.stack([coder.unpack(coder.pack(one, length)) for one in kept])
        print(f"{length} bytes: {1 - (back - kept).square().sum() / spread:.3f} of the variance, n = {CHECKED}")
    save_part(bundle, "imprint", coder.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
