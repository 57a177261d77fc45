"""What a new identity must leave alone: skin colour, mouth, eyes and brows, fringes, and perceived age and origin.

Two kinds of directions of W+. What a picture shows can be measured, and its mean derivative by the code says which
changes of the code show in it. Age and origin are labels of photographs; how the mean code moves with them is a
direction.
"""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import track

from dbaf.encoders.compact import SIZE, CompactEncoder
from dbaf.faces import FaceFinder
from dbaf.faces.gestures import gestures, gestures_of
from dbaf.faces.mask import inner_mask, reach, to_square
from dbaf.faces.mesh import INPUT
from dbaf.faces.occlusion import STRANDS, OcclusionNet, around_features
from dbaf.generators import Generator
from dbaf.training.composites import POINTS
from dbaf.training.observe import in_square, mesh_view
from dbaf.training.photos import central_face, scaled

SMALL = 128  # px of the previews
CHEEKS = (slice(56, 80), slice(40, 88))  # rows and columns of a preview: nose and cheeks
YEARS = 20.0  # of age, count as much as another origin
ORIGINS = (1, 2, 3)  # UTKFace's numbers, beside 0


def shown(picture: torch.Tensor, finder: FaceFinder) -> torch.Tensor:
    """What a preview [1, 3, SMALL, SMALL] shows: [11] red, green, blue; and what the face does."""
    large = F.interpolate(picture, size=SIZE, mode="bilinear")
    mesh = finder.landmarks(mesh_view(large))[0][..., :2] / INPUT  # [1, 468, 2]
    return torch.cat([picture[0][:, CHEEKS[0], CHEEKS[1]].mean((1, 2)), gestures(mesh)[0]])


def visible(codes: torch.Tensor, generator: Generator, finder: FaceFinder) -> torch.Tensor:
    """Mean derivative of `shown` by W+ codes [N, L, dim] of photographs: [11, L, dim]."""
    rows = []
    for code in track(codes.split(1), "what shows"):
        code = code.clone().requires_grad_(True)
        values = shown(generator.preview(code, size=SMALL), finder)
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


@torch.no_grad()
def labelled(
    folder: Path, count: int, encoder: CompactEncoder, finder: FaceFinder
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Photographs named as UTKFace's are, `age_sex_origin_...`: W+ codes [N, L, dim], gestures [N, GESTURES], and age
    and origin [N, 4]."""
    photos = sorted(folder.iterdir())
    random.Random(0).shuffle(photos)
    codes, doing, labels = [], [], []
    for photo in track(photos[:count], "labels"):
        square = central_face(photo, finder)
        if square is None or photo.name.count("_") < 3:  # some names lack a label
            continue
        face = finder.retrace(square, POINTS)
        reached = reach(to_square(face.mesh[:, :2], face.quad))[None].float()
        codes.append(encoder(square * inner_mask(reached, SIZE))[0])
        doing.append(gestures_of(face))
        age, _, origin = (int(number) for number in photo.name.split("_")[:3])
        labels.append([age / YEARS, *(float(origin == one) for one in ORIGINS)])
    return torch.cat(codes), torch.cat(doing), torch.tensor(labels)


def moving(coordinates: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How the mean of coordinates [N, R] moves with each of the labels [N, Q], the others held: [Q, R]."""
    centred = torch.cat([labels - labels.mean(0), torch.ones(len(labels), 1)], 1)
    return torch.linalg.lstsq(centred, coordinates).solution[:-1]
