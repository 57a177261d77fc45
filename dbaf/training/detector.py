"""Teach the face detector faces behind masks, hands and hats.

    python -m dbaf.training.detector lfw/train

Goes on from the bundle's detector, which is its own teacher: what that says of a scene in which nothing covers the
faces is what it is to say when they are covered (distillation; Hinton et al., arXiv 1503.02531). People who do wear
face masks have no bare picture: there the teacher looks at another person in the same place, as aligned faces lie
alike. Every other scene is a whole photograph, upright or turned as `dbaf.faces.detect` turns it, with nothing drawn:
there the detector is to stay as it was, or it would find faces in flags and fists. Light and contrast vary.
Settings: `config.toml`. Resumes from its last checkpoint.
"""

import argparse
import copy
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dbaf.faces import FaceFinder
from dbaf.faces.detector import OUTPUTS
from dbaf.images import read_picture
from dbaf.training.common import DEVICE, Run, settings
from dbaf.training.observe import in_square
from dbaf.training.occluders import occlude
from dbaf.training.photos import load_photos, scaled
from dbaf.weights.bundle import bundle_folder, load_part, save_part
from dbaf.weights.convert_faces import DETECTOR_LICENCE

SIDE = 320  # px of a scene
MOST = 4  # people in it
NEAR, FAR = 480.0, 50.0  # px of their squares, of which faces take about half
ZOOMED = 1600.0  # px of the largest whole photographs: cloth, skin and leaves fill the scene
TURN = 25.0  # degrees either way
TURNS = (0.0, 0.0, -90.0, -45.0, 45.0, 90.0)  # of whole photographs
WORN = 0.25  # share of the people who wear face masks, of those in scenes
COVERED = 0.8  # share of the others in front of whom something is drawn
HIDDEN = 0.7  # share of a face of which nothing is to be learnt if more of it is covered
FAINT = 0.1  # least contrast
POSITIVE = 0.5  # teacher's score from which a cell shows a face
BALANCE = 30.0  # weight of such cells


class Scenes:
    """Pairs of scenes [N, 3, SIDE, SIDE] uint8: with bare faces, and the same faces covered."""

    def __init__(
        self, bare: dict[str, torch.Tensor], worn: dict[str, torch.Tensor], photos: list[Path], count: int
    ) -> None:
        self.clean = torch.empty(count, 3, SIDE, SIDE, dtype=torch.uint8)
        self.covered = torch.empty_like(self.clean)
        rng = np.random.default_rng(0)
        meshes = in_square(bare["meshes"])
        for index in track(range(count), "scenes"):
            ground = scaled(bare["pictures"][int(rng.integers(len(meshes)))][None, :, :48, :48])  # a corner: no face
            clean = F.interpolate(ground, size=SIDE, mode="bilinear")
            covered = clean.clone()
            if index % 2:
                photo = read_picture(photos[int(rng.integers(len(photos)))]).rgb
                turn = TURNS[int(rng.integers(len(TURNS)))]
                clean = covered = put(clean, photo, *anywhere(rng, ZOOMED, turn))
            for _ in range(0 if index % 2 else int(rng.integers(1, MOST + 1))):
                number = int(rng.integers(len(meshes)))
                face = bare["pictures"][number]
                if rng.random() < WORN:
                    other = worn["pictures"][int(rng.integers(len(worn["pictures"])))]
                elif rng.random() < COVERED:
                    other = drawn(face, meshes[number], bare, rng)
                else:
                    other = face
                place = anywhere(rng, NEAR)
                clean, covered = put(clean, scaled(face[None]), *place), put(covered, scaled(other[None]), *place)
            for scenes, scene in ((self.clean, clean), (self.covered, covered)):
                scenes[index] = ((scene[0] + 1) * 127.5).round().clamp(0, 255).byte()


def drawn(
    face: torch.Tensor, mesh: torch.Tensor, photos: dict[str, torch.Tensor], rng: np.random.Generator
) -> torch.Tensor:
    """An FFHQ crop [3, 256, 256] uint8 with something in front of the face; as it is if that would hide the face."""
    other = photos["pictures"][int(rng.integers(len(photos["pictures"])))]
    array, front = occlude(face.permute(1, 2, 0).numpy(), mesh.numpy(), other.permute(1, 2, 0).numpy(), rng)
    box = (torch.stack([mesh.amin(0), mesh.amax(0)]) * len(front)).clamp(0, len(front)).int()
    (x0, y0), (x1, y1) = box.tolist()
    if front[y0:y1, x0:x1].mean() > HIDDEN:
        return face
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def anywhere(rng: np.random.Generator, near: float, degrees: float = 0.0) -> tuple[float, torch.Tensor]:
    """A square in a scene, of at most `near` pixels and turned by about so much.

    Returns:
        Its side in pixels, and the matrix [2, 3] from the scene's axes, -1 to 1, to the square's.
    """
    side = FAR * (near / FAR) ** rng.random()
    angle = math.radians(degrees + rng.uniform(-TURN, TURN))
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) * (SIDE / side)
    centre = torch.from_numpy(rng.uniform(-0.8, 0.8, 2)).float()
    return side, torch.cat([turn, -(turn @ centre)[:, None]], 1)


def put(scene: torch.Tensor, crop: torch.Tensor, side: float, matrix: torch.Tensor) -> torch.Tensor:
    """A scene [1, 3, SIDE, SIDE] with a crop [1, 3, S, S], both in [-1, 1], in a square of `anywhere`."""
    part = F.interpolate(crop, size=round(side), mode="bilinear", antialias=True)
    part = torch.cat([part, torch.ones_like(part[:, :1])], 1)
    grid = F.affine_grid(matrix[None], [1, 4, SIDE, SIDE], align_corners=False)
    part = F.grid_sample(part, grid, mode="bilinear", align_corners=False)
    return scene * (1 - part[:, 3:]) + part[:, :3]


def lit(x: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """What makes pictures [B, 3, H, W] fainter, or darker, or lighter: factors and summands [B, 1, 1, 1]."""
    contrast = torch.empty(len(x), 1, 1, 1).uniform_(math.log(FAINT), 0, generator=rng).exp()
    return contrast, (1 - contrast) * torch.empty_like(contrast).uniform_(-1, 1, generator=rng)


def score(maps: torch.Tensor) -> torch.Tensor:
    """Raw maps [B, 16, h, w] -> the detector's score in every cell [B, 1, h, w]."""
    face, thing = maps[:, :1], maps[:, 1:2]
    return (face.sigmoid() * thing.sigmoid()).sqrt()


def distance(student: list[torch.Tensor], teacher: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """How far one detector's maps are from another's: scores in every cell, boxes and points where there are faces."""
    scores, places, faces = [], [], []
    for mine, wanted in zip(student, teacher, strict=True):
        shown = (score(wanted) > POSITIVE).float()  # [B, 1, h, w]
        likely = wanted[:, :2].sigmoid()
        wrong, least = (
            F.binary_cross_entropy_with_logits(logits[:, :2], likely, reduction="none") for logits in (mine, wanted)
        )
        scores.append(((1 + (BALANCE - 1) * shown) * (wrong - least)).sum())
        away = F.smooth_l1_loss(mine[:, sum(OUTPUTS[:2]) :], wanted[:, sum(OUTPUTS[:2]) :], reduction="none")
        places.append((shown * away).sum())
        faces.append(shown.sum())
    count = torch.stack(faces).sum().clamp(min=1)
    return {"scores": torch.stack(scores).sum() / (BALANCE * count), "places": torch.stack(places).sum() / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whole", type=Path, help="folder of folders of photographs")
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--worn", default="occluded-*", help="shards of --photos that show people in face masks")
    parser.add_argument("--run", type=Path, default=Path("runs/detector"))
    args = parser.parse_args()
    setting = settings("detector")
    bundle = bundle_folder("mobile")
    bare, worn = load_photos(args.photos, "[!o]*"), load_photos(args.photos, args.worn)
    scenes = Scenes(bare, worn, sorted(args.whole.glob("*/*.jpg")), setting.scenes)
    teacher = FaceFinder.from_bundle(bundle).detector.to(DEVICE)
    student = copy.deepcopy(teacher).requires_grad_(True)
    average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimiser = torch.optim.AdamW(student.parameters(), setting.peak_rate)
    run = Run(args.run, {"student": student, "average": average, "optimiser": optimiser}, setting.steps)
    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = setting.peak_rate * min(1, (run.step + 1) / 50) * (1 - run.step / setting.steps)
        chosen = torch.randint(setting.scenes, (setting.batch,), generator=rng)
        clean, covered = scaled(scenes.clean[chosen]), scaled(scenes.covered[chosen])
        if torch.rand(1, generator=rng) < 0.5:
            clean, covered = clean.flip(3), covered.flip(3)
        factor, summand = lit(clean, rng)
        clean, covered = clean * factor + summand, covered * factor + summand
        with torch.no_grad():
            wanted = teacher(clean.to(DEVICE))
        losses = distance(student(covered.to(DEVICE)), wanted)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(student)
        if run.log(**losses):
            run.sheet(clean, covered)
    run.save()
    weights = average.module.cpu().state_dict()
    licence = f"{DETECTOR_LICENCE}; trained further by this project on covered faces"
    save_part(bundle, "detector", weights, load_part(bundle, "detector")[1], licence, half=False)


if __name__ == "__main__":
    main()
