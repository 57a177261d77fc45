"""What a picture of a face shows: who it is, how the face lies, and its coarse colours."""

import torch
import torch.nn.functional as F
from rich.progress import track

from dbaf.faces import FaceFinder
from dbaf.faces.mask import reach
from dbaf.faces.mesh import INPUT, POINTS
from dbaf.training.mobilefacenet import MobileFaceNet

COARSE = 12  # px, side of the coarse picture
RAW = 2 * POINTS + 3 * COARSE**2  # numbers of the mesh and the coarse picture


def mesh_view(pictures: torch.Tensor) -> torch.Tensor:
    """FFHQ crops [B, 3, 256, 256] -> the part that the face mesh wants [B, 3, 192, 192]."""
    return F.interpolate(pictures[:, :, 26:256, 13:243], size=INPUT, mode="bilinear", antialias=True)


def in_square(mesh: torch.Tensor) -> torch.Tensor:
    """Mesh [B, 468, 2] in sides of the mesh's view -> square coordinates of the FFHQ crop."""
    return (mesh * 230 + torch.tensor([13.0, 26.0]).to(mesh)) / 256


@torch.no_grad()
def reaches(pictures: torch.Tensor, finder: FaceFinder) -> torch.Tensor:
    """FFHQ crops [N, 3, 256, 256] uint8 -> [N, DIRECTIONS] for `inner_mask`."""
    found = []
    for batch in track(pictures.split(32), "outlines"):
        mesh, _ = finder.landmarks(mesh_view(batch.to(finder.device).float() / 127.5 - 1))
        found.append(reach(in_square(mesh[..., :2] / INPUT)).cpu())
    return torch.cat(found)


@torch.no_grad()
def observe(pictures: torch.Tensor, recogniser: MobileFaceNet, finder: FaceFinder) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [N, 3, 256, 256] uint8 -> embeddings [N, 192], raw attributes [N, RAW]."""
    embeddings, attributes = [], []
    for batch in track(pictures.split(32), "observing"):
        x = batch.float() / 127.5 - 1
        mesh, _ = finder.landmarks(mesh_view(x))  # [B, 468, 3]
        coarse = F.interpolate(x, size=COARSE, mode="area").flatten(1)
        embeddings.append(recogniser.embed_ffhq(x))
        attributes.append(torch.cat([mesh[..., :2].flatten(1) / INPUT, coarse / 10], 1))
    return torch.cat(embeddings), torch.cat(attributes)
