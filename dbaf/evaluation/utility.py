"""What must survive the replacement: landmarks, head pose, and every pixel outside the mask."""

import math

import torch

from dbaf.faces.face import Face
from dbaf.faces.mask import to_square

LEFT_EYE_CORNERS = (33, 133)  # outer and inner corner, image-left, in the MediaPipe mesh
RIGHT_EYE_CORNERS = (263, 362)


def landmark_error(original: torch.Tensor, output: torch.Tensor) -> float:
    """Mean distance of mesh points in the picture plane, as a share of the original's inter-ocular distance.

    Args:
        original, output: [468, 3] meshes in pixels of the same picture.
    """
    eyes = [original[list(corners), :2].mean(0) for corners in (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS)]
    distance = (original[:, :2] - output[:, :2]).norm(dim=1).mean()
    return float(distance / (eyes[1] - eyes[0]).norm())


def rotation_error(original: torch.Tensor, output: torch.Tensor) -> tuple[float, float, float]:
    """Yaw, pitch and roll between two heads, in degrees: of the rotation that best takes one mesh onto the other.

    Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976. The two faces differ in shape,
    so that this bounds the pose error from above.

    Args:
        original, output: [468, 3] meshes in pixels, x right, y down, z away from the camera.
    """
    a, b = ((mesh - mesh.mean(0)).double() for mesh in (original, output))
    u, _, vt = torch.linalg.svd(a.T @ b)
    mirror = torch.diag(torch.tensor([1.0, 1.0, float(torch.sign(torch.linalg.det(vt.T @ u.T)))]).double())
    rotation = vt.T @ mirror @ u.T  # b ~ rotation @ a
    yaw = math.atan2(float(rotation[0, 2]), float(rotation[2, 2]))
    pitch = math.asin(max(-1.0, min(1.0, -float(rotation[1, 2]))))
    roll = math.atan2(float(rotation[1, 0]), float(rotation[1, 1]))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def background_psnr(original: torch.Tensor, output: torch.Tensor, mask: torch.Tensor) -> float | None:
    """Peak signal-to-noise ratio of the pixels outside the mask, in dB; None if they are the same bit for bit.

    Args:
        original, output: [1, 3, H, W] in [-1, 1]; mask: [1, 1, H, W], 0 = outside.
    """
    outside = (mask == 0).expand_as(original)
    error = float((original[outside].double() - output[outside].double()).square().sum())
    return 10 * math.log10(4 * int(outside.sum()) / error) if error else None


def squares(faces: list[Face], height: int, width: int) -> torch.Tensor:
    """Mask [1, 1, H, W]: 1 inside the FFHQ squares of the faces. For methods that do not say what they change."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    points = torch.stack([x, y], 2).view(-1, 2)
    mask = torch.zeros(height * width, dtype=torch.bool)
    for face in faces:
        places = to_square(points, face.quad)
        mask |= ((places >= 0) & (places <= 1)).all(1)
    return mask.view(1, 1, height, width).float()
