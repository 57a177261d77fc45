"""What is known about one face in a picture."""

from dataclasses import dataclass

import torch

from dbaf.faces.align import ffhq_quad

# Indices into the 468 points of the MediaPipe face mesh. Left and right are those of the picture.
LEFT_EYE = (33, 160, 158, 133, 153, 144)  # the six points that dlib marks too, so that FFHQ squares agree
RIGHT_EYE = (362, 385, 387, 263, 373, 380)
NOSE_TIP = 4
LEFT_MOUTH, RIGHT_MOUTH = 61, 291
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)  # their upper edges, from left to right
# the outline of the face, clockwise from the top of the forehead
# fmt: off
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
# fmt: on


@dataclass(frozen=True, eq=False)
class Face:
    """One face; all in pixels of the full picture, x right, y down, pixel centres at +0.5.

    Attributes:
        box: x0, y0, x1, y1 around the mesh.
        score: probability given by the detector, 0 to 1.
        points: [5, 2] image-left eye, image-right eye, nose tip, image-left mouth corner, image-right mouth corner.
        mesh: [468, 3] MediaPipe face mesh; z grows away from the camera, in the same unit.
    """

    box: tuple[float, float, float, float]
    score: float
    points: torch.Tensor
    mesh: torch.Tensor

    @property
    def quad(self) -> torch.Tensor:
        """FFHQ crop square [4, 2] float64: top-left, bottom-left, bottom-right, top-right."""
        return ffhq_quad(self.points)

    @property
    def area(self) -> float:
        """Of the box, in pixels; of two faces that overlap, the larger one is in front."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)

    @classmethod
    def from_mesh(cls, mesh: torch.Tensor, score: float) -> "Face":
        """The face that a mesh [468, 3] in picture pixels describes."""
        mesh = mesh.detach().cpu().float()
        low, high = mesh[:, :2].amin(dim=0).tolist(), mesh[:, :2].amax(dim=0).tolist()
        return cls(
            box=(low[0], low[1], high[0], high[1]),
            score=score,
            points=five_points(mesh),
            mesh=mesh,
        )


def five_points(mesh: torch.Tensor) -> torch.Tensor:
    """The points [5, 2] of `Face.points` from a mesh [468, 3]."""
    flat = mesh[:, :2]
    eyes = [flat[list(LEFT_EYE)].mean(dim=0), flat[list(RIGHT_EYE)].mean(dim=0)]
    return torch.stack([*eyes, flat[NOSE_TIP], flat[LEFT_MOUTH], flat[RIGHT_MOUTH]])


def main_face(faces: list[Face], picture: torch.Tensor) -> Face:
    """The face nearest the middle of a picture [1, 3, H, W]: whom a portrait is of."""
    height, width = picture.shape[-2:]
    middle = torch.tensor([width / 2, height / 2])
    return min(faces, key=lambda face: float((face.points.mean(0) - middle).norm()))
