"""What a new identity must leave alone can be measured: the colour of the skin, and hair that hangs into the face."""

import torch
from rich.progress import track

from dbaf.encoders.compact import SIZE
from dbaf.faces.mask import inner_mask, reach
from dbaf.faces.occlusion import STRANDS, OcclusionNet, around_features
from dbaf.generators import Generator
from dbaf.training.observe import in_square
from dbaf.training.photos import scaled

SMALL = 128  # px of the previews
CHEEKS = (slice(56, 80), slice(40, 88))  # rows and columns of a preview: nose and cheeks


def skin(picture: torch.Tensor) -> torch.Tensor:
    """Red, green and blue [3] of the cheeks of a preview [1, 3, SMALL, SMALL]."""
    return picture[0][:, CHEEKS[0], CHEEKS[1]].mean((1, 2))


def visible(codes: torch.Tensor, generator: Generator) -> torch.Tensor:
    """Mean derivative of `skin` by W+ codes [N, L, dim] of photographs: [3, L, dim]."""
    rows = []
    for code in track(codes.split(1), "what shows"):
        code = code.clone().requires_grad_(True)
        values = skin(generator.preview(code, size=SMALL))
        rows.append(torch.stack([torch.autograd.grad(value, code, retain_graph=True)[0][0] for value in values]))
    return torch.stack(rows).mean(0)


@torch.no_grad()
def fringes(pictures: torch.Tensor, meshes: torch.Tensor, net: OcclusionNet) -> torch.Tensor:
    """How much hair hangs into faces: the root of the share that it covers, above the brows and beside the eyes.

    Args:
        pictures: FFHQ crops [N, 3, 256, 256] uint8.
        meshes: [N, 468, 2] in sides of the mesh's view.
        net: sees hair.

    Returns:
        [N, 1] in [0, 1].
    """
    shares = []
    for crop, mesh in track(list(zip(pictures.split(1), in_square(meshes), strict=True)), "fringes"):
        inside = inner_mask(reach(mesh)[None], SIZE)
        room = inside * around_features(mesh)
        shares.append((net.front(scaled(crop), inside, STRANDS) * room).sum() / room.sum().clamp(min=1))
    return torch.stack(shares)[:, None].sqrt()
