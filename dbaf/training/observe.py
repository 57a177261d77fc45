"""What a picture of a face shows: who it is, how the face lies, and its coarse colours."""

import torch
import torch.nn.functional as F
from rich.progress import track

from dbaf.faces import FaceFinder
from dbaf.training.mobilefacenet import MobileFaceNet

COARSE = 12  # px, side of the coarse picture
RAW = 468 * 2 + 3 * COARSE**2  # numbers of the mesh and the coarse picture


def mesh_view(pictures: torch.Tensor) -> torch.Tensor:
    """FFHQ crops [B, 3, 256, 256] -> the part that the face mesh wants [B, 3, 192, 192]."""
    return F.interpolate(pictures[:, :, 26:256, 13:243], size=192, mode="bilinear", antialias=True)


@torch.no_grad()
def observe(pictures: torch.Tensor, recogniser: MobileFaceNet, finder: FaceFinder) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [N, 3, 256, 256] uint8 -> embeddings [N, 192], raw attributes [N, RAW]."""
    embeddings, attributes = [], []
    for batch in track(pictures.split(32), "observing"):
        x = batch.float() / 127.5 - 1
        mesh, _ = finder.landmarks(mesh_view(x))  # [B, 468, 3]
        coarse = F.interpolate(x, size=COARSE, mode="area").flatten(1)
        embeddings.append(recogniser.embed_ffhq(x))
        attributes.append(torch.cat([mesh[..., :2].flatten(1) / 192, coarse / 10], 1))
    return torch.cat(embeddings), torch.cat(attributes)
