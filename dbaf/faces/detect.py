"""Finding faces: a detector on an image pyramid and on turned copies, a face mesh on every candidate."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from dbaf.errors import PictureError
from dbaf.faces.align import square, warp
from dbaf.faces.detector import Candidates, YuNet
from dbaf.faces.face import LEFT_EYE, RIGHT_EYE, Face
from dbaf.faces.mesh import INPUT, FaceMesh
from dbaf.weights.bundle import load_part

CANDIDATE = 0.7  # detector score from which a place is looked at
SURE = 0.88  # detector score that needs no second opinion; below it, the presence given by the mesh has to make up
VISIBLE = 0.3  # share of the face's box that must lie in the picture
SMALLEST = 20.0  # px that the smallest wanted face has on the finest level of the pyramid
TURNS = (-90.0, -45.0, 45.0, 90.0)  # degrees; the detector itself holds to about 30 either way
TURNED = 3_200_000  # px of the largest level that is also turned: all levels of a 12 MP photo, coarser ones above
TRACE = 0.1  # presence from which a candidate that `find` left out may be a face
LIKELY = 0.84  # detector score of one whatever the mesh says, which sees no presence in most masked faces
# Where the detector's box lies, by the five points: its centre above their middle, its half side; in their largest
# distance from it. The mesh depends on the box it starts from: from a careless one it is .04 of the eyes' distance off
LIFT, REACH = 0.27, 1.81
BORDER = 64  # px of grey around a level: a face that fills the frame, or is cut by its edge, needs surroundings


class FaceFinder(nn.Module):
    """Finds every face of a picture with its mesh. Not trainable: everything runs without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = YuNet()
        self.landmarks = FaceMesh()
        self.requires_grad_(False).eval()

    @classmethod
    def from_bundle(cls, folder: Path) -> "FaceFinder":
        """Read the parts "detector" and "landmarks" of a bundle.

        Raises:
            WeightsError: a part is missing or damaged.
        """
        finder = cls()
        finder.detector.load_state_dict(load_part(folder, "detector")[0])
        finder.landmarks.load_state_dict(load_part(folder, "landmarks")[0])
        return finder

    @property
    def device(self) -> torch.device:
        """Where the networks run; pictures may lie elsewhere."""
        return self.detector.stem.weight.device

    @torch.no_grad()
    def find(
        self, picture: torch.Tensor, min_face: float = 40.0, looked: Callable[[], None] = lambda: None
    ) -> list[Face]:
        """Every face, from left to right, then from top to bottom; the same list for the same picture.

        Args:
            picture: [1, 3, H, W] in [-1, 1].
            min_face: shortest face wanted, in pixels of the picture: the longer side of its box.
            looked: called after each look of the detector, at most a few seconds apart; what it raises ends the search.

        Raises:
            PictureError: the tensor is not one colour picture.
        """
        if picture.dim() != 4 or picture.shape[:2] != (1, 3) or not picture.numel():
            raise PictureError(f"Expected one colour picture [1, 3, H, W], found a tensor {list(picture.shape)}.")
        height, width = picture.shape[-2:]
        traced = [
            self._trace(picture, *candidate) for candidate in self._candidates(picture, min_face, CANDIDATE, looked)
        ]
        found: list[Face] = []
        # a neck, seen in a turned copy, may score higher than the face above it, but the mesh sees no face in it
        for face, presence in sorted(traced, key=lambda one: one[0].score + one[1], reverse=True):
            x0, y0, x1, y1 = face.box
            shown = max(min(x1, width) - max(x0, 0), 0) * max(min(y1, height) - max(y0, 0), 0)
            inside = shown >= VISIBLE * (x1 - x0) * (y1 - y0)
            big = max(x1 - x0, y1 - y0) >= min_face
            if (
                inside
                and big
                and presence >= _needed(face.score)
                and not any(same_place(face.box, other.box) for other in found)
            ):
                found.append(face)
        return sorted(
            found,
            key=lambda face: (face.box[0] + face.box[2], face.box[1] + face.box[3]),
        )

    @torch.no_grad()
    def suspects(
        self,
        picture: torch.Tensor,
        known: list[Face],
        min_face: float = 40.0,
        looked: Callable[[], None] = lambda: None,
    ) -> list[Face]:
        """Places that may show a face and are none of the known ones: a more sensitive look than `find`.

        Args:
            picture: [1, 3, H, W] in [-1, 1].
            known: its faces.
            min_face: as for `find`; the detector's boxes are a little smaller than faces.
            looked: as for `find`.
        """
        found: list[Face] = []
        for box, points, score in self._candidates(picture, min_face, CANDIDATE, looked):
            if float((box[2:] - box[:2]).max()) < 0.75 * min_face:
                continue
            face, presence = self._trace(picture, box, points, score)
            boxes, others = [tuple(box.tolist()), face.box], [*known, *found]
            new = not any(same_place(one, other.box) for one in boxes for other in others)
            if new and (score >= LIKELY or presence >= min(TRACE, _needed(score))):
                found.append(face)
        return found

    @torch.no_grad()
    def retrace(self, picture: torch.Tensor, points: torch.Tensor) -> Face:
        """The face whose five points [5, 2] are roughly known, e.g. in a re-rendered crop: no detector, 20 ms.

        Args:
            picture: [1, 3, H, W] in [-1, 1].
            points: as `Face.points`, in pixels of `picture`.

        Returns:
            A face whose `score` is the presence that the mesh gives: near 0 where there is none.
        """
        middle, eyes = points.mean(dim=0), points[1] - points[0]
        reach = (points - middle).norm(dim=1).max()
        up = torch.stack([eyes[1], -eyes[0]]) / eyes.norm().clamp(min=1e-6)
        centre, reach = middle + LIFT * reach * up, REACH * reach
        face, presence = self._trace(picture, torch.cat([centre - reach, centre + reach]), points, 1.0)
        return replace(face, score=presence)

    def _candidates(
        self, picture: torch.Tensor, min_face: float, least: float, looked: Callable[[], None]
    ) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
        """Box [4], points [5, 2] and score, `least` or more, of every place worth a look; best first, no overlaps."""
        boxes, points, scores = [], [], []
        for level, to_picture in self._views(picture, min_face):
            seen = self.detector.candidates(level, least)
            seen = _suppress(seen, 0.4)
            corners = torch.cat([seen.boxes.reshape(-1, 2, 2), seen.points], dim=1).double()  # [N, 7, 2]
            moved = (corners @ to_picture[:, :2].T + to_picture[:, 2]).float()
            # a turned box is described by a square of the same area about the same centre
            centre = moved[:, :2].mean(dim=1)
            half = (moved[:, 1] - moved[:, 0]).norm(dim=1, keepdim=True) / math.sqrt(8)
            boxes.append(torch.cat([centre - half, centre + half], dim=1))
            points.append(moved[:, 2:])
            scores.append(seen.scores)
            looked()
        merged = _suppress(Candidates(torch.cat(boxes), torch.cat(points), torch.cat(scores)), 0.4)
        return list(zip(merged.boxes, merged.points, merged.scores.tolist(), strict=True))

    def _views(self, picture: torch.Tensor, min_face: float) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """What the detector looks at: [1, 3, h, w], and the matrix [2, 3] from its pixels to those of the picture."""
        height, width = picture.shape[-2:]
        scale = min(1.0, SMALLEST / min_face)
        level = picture
        while True:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            if size != level.shape[-2:]:
                level = F.interpolate(
                    level,
                    size=size,
                    mode="bilinear",
                    antialias=True,
                    align_corners=False,
                )
            back = torch.tensor([[width / size[1], 0, 0], [0, height / size[0], 0]], dtype=torch.float64)
            level = level.to(self.device)
            border = min(max(size) // 4, BORDER)
            turns = TURNS if size[0] * size[1] <= TURNED else ()
            for degrees in (0.0, *turns):
                view, to_level = _turned(level, math.radians(degrees), border)
                linear = back[:, :2] @ to_level[:, :2]
                yield (
                    view,
                    torch.cat(
                        [linear, (back[:, :2] @ to_level[:, 2] + back[:, 2])[:, None]],
                        dim=1,
                    ),
                )
            if max(size) <= 128:
                return
            scale /= 2

    def _trace(
        self,
        picture: torch.Tensor,
        box: torch.Tensor,
        points: torch.Tensor,
        score: float,
    ) -> tuple[Face, float]:
        """Mesh of one candidate, from a crop turned upright; twice, the second time around the first mesh."""
        eyes = points[1] - points[0]
        angle = math.atan2(float(eyes[1]), float(eyes[0]))
        centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()) * 1.5
        for _ in range(2):
            quad = square(centre, max(side, 1.0), angle)
            view = warp(picture, quad, INPUT, INPUT, mirrored=False).to(self.device)
            mesh, presence = self.landmarks(view)
            local = mesh[0].cpu().double() / INPUT  # 0 to 1 across the crop
            axes = torch.stack([quad[3] - quad[0], quad[1] - quad[0]])  # [2, 2]: right, down
            flat = quad[0] + local[:, :2] @ axes
            middle = (local[:, :2].amin(dim=0) + local[:, :2].amax(dim=0)) / 2
            centre = quad[0] + middle @ axes
            extent = float((local[:, :2].amax(dim=0) - local[:, :2].amin(dim=0)).max())
            traced = torch.cat([flat, local[:, 2:] * side], dim=1)
            eyes = flat[list(RIGHT_EYE)].mean(dim=0) - flat[list(LEFT_EYE)].mean(dim=0)
            angle, side = (
                math.atan2(float(eyes[1]), float(eyes[0])),
                extent * side * 1.5,
            )
        return Face.from_mesh(traced, score), float(presence)


def _needed(score: float) -> float:
    """The presence that a detector score must be backed by: 0 when it is sure, 0.5 for the weakest candidate."""
    return (SURE - score) / (2 * (SURE - CANDIDATE))


def _turned(level: torch.Tensor, angle: float, border: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A copy of `level` turned by `angle` on grey ground, and the matrix [2, 3] from its pixels back to the level's."""
    height, width = level.shape[-2:]
    if angle == 0.0:
        back = torch.tensor([[1, 0, -border], [0, 1, -border]], dtype=torch.float64)
        return F.pad(level, (border,) * 4), back
    cos, sin = math.cos(angle), math.sin(angle)
    rows = math.ceil(height * abs(cos) + width * abs(sin)) + border
    columns = math.ceil(width * abs(cos) + height * abs(sin)) + border
    linear = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    offset = (
        torch.tensor([width, height], dtype=torch.float64) / 2
        - linear @ torch.tensor([columns, rows], dtype=torch.float64) / 2
    )
    back = torch.cat([linear, offset[:, None]], dim=1)
    # the same matrix in the coordinates of grid_sample, which run from -1 to 1 on both sides
    grow = torch.tensor([columns, rows], dtype=torch.float64)
    shrink = torch.tensor([width, height], dtype=torch.float64)
    theta = torch.cat(
        [linear * grow[None] / shrink[:, None], torch.zeros(2, 1, dtype=torch.float64)],
        dim=1,
    )
    grid = F.affine_grid(theta[None].to(level), [1, 3, rows, columns], align_corners=False)
    return F.grid_sample(level, grid, mode="bilinear", padding_mode="zeros", align_corners=False), back


def _suppress(seen: Candidates, overlap: float) -> Candidates:
    """Non-maximum suppression: best first, ties in the order given."""
    order = torch.sort(seen.scores, descending=True, stable=True).indices
    kept: list[int] = []
    while len(order):
        best = int(order[0])
        kept.append(best)
        order = order[1:][_iou(seen.boxes[best], seen.boxes[order[1:]]) <= overlap]
    return Candidates(seen.boxes[kept], seen.points[kept], seen.scores[kept])


def _iou(box: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Intersection over union of a box [4] with boxes [N, 4]: [N]."""
    low, high = (
        torch.maximum(box[:2], boxes[:, :2]),
        torch.minimum(box[2:], boxes[:, 2:]),
    )
    shared = (high - low).clamp(min=0).prod(dim=1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) - shared)


def same_place(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two mesh boxes show one face: one's centre, or more than half of the smaller one, lies in the other."""
    for outer, inner in ((one, other), (other, one)):
        x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
        if outer[0] < x < outer[2] and outer[1] < y < outer[3]:
            return True
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width > 0 and height > 0 and width * height > 0.5 * min(areas)
