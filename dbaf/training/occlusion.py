"""Train the network that sees what is in front of a face.

    python -m dbaf.training.occlusion --backbone mobilenet_v2.pth

Things are drawn in front of faces (`dbaf.training.occluders`): of photographed ones, of generated ones, and of new
ones pasted into photographs (`dbaf.training.composites`), whose beards and lips would else pass for such things when
they are recovered. Above the eyebrows, colour tells hair and hats from skin (`dbaf.training.skin`), and cloth from skin
where people wear face masks, whose chins are under them. Real glasses in photographs are not labelled: around the
eyes, what is not drawn counts little. Settings: `config.toml`. Resumes from its last checkpoint.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from rich.progress import track
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dbaf.encoders.mobilenet import MobileNetV2
from dbaf.faces import FaceFinder
from dbaf.faces.face import LEFT_EYE, RIGHT_EYE
from dbaf.faces.mask import inner_mask, reach
from dbaf.faces.mesh import INPUT
from dbaf.faces.occlusion import SIZE, OcclusionNet
from dbaf.training.common import DEVICE, LICENCE, Run, compiled, settings
from dbaf.training.encoder import start_from_imagenet
from dbaf.training.observe import in_square, mesh_view
from dbaf.training.occluders import JAW, occlude
from dbaf.training.photos import load_photos, scaled
from dbaf.training.skin import cloth, not_skin
from dbaf.training.synthetic import load_pairs
from dbaf.weights.bundle import bundle_folder, save_part

FROZEN = 7  # layers of the backbone, down to stride 8: most of the cost of a step
HELD_OUT = 200  # drawn photographs
DRAWN = 0.8  # share of the photographs in front of which something is drawn
DOUBTFUL = 0.15  # weight of "nothing in front" around the eyes, where there may be glasses
FEWEST = 200  # pixels of a face mask by which its colours are known
SHINES = 2  # highlights, half of them not to be seen
MAP = SIZE // 2  # px of the network's output


def polygon(points: np.ndarray) -> torch.Tensor:
    """[SIZE, SIZE] bool: inside a polygon of points [N, 2] in square coordinates."""
    shape = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(shape).polygon([(float(x) * SIZE, float(y) * SIZE) for x, y in points], fill=1)
    return torch.from_numpy(np.array(shape)) > 0


def around_eyes(mesh: np.ndarray) -> torch.Tensor:
    """[SIZE, SIZE] bool: where glasses would be, for a mesh [468, 2] in square coordinates."""
    eyes = np.stack([mesh[list(LEFT_EYE)].mean(0), mesh[list(RIGHT_EYE)].mean(0)])
    across = eyes[1] - eyes[0]
    down = np.array([-across[1], across[0]])
    corners = [eyes[0] - 0.9 * across, eyes[1] + 0.9 * across]
    return polygon(
        np.stack([corners[0] - 0.3 * down, corners[1] - 0.3 * down, corners[1] + 0.5 * down, corners[0] + 0.5 * down])
    )


def under_mask(mesh: np.ndarray) -> torch.Tensor:
    """[SIZE, SIZE] bool: what every face mask covers, from above the mouth to the chin."""
    nose, chin = mesh[2], mesh[152]
    jaw = mesh[list(JAW)]
    down = (chin - nose) / max(float(np.linalg.norm(chin - nose)), 1e-6)
    covered = jaw[(jaw - nose) @ down > 0]
    centre = (nose + chin) / 2
    return polygon(centre + 0.85 * (covered - centre))


@torch.no_grad()
def generated(folder: Path, finder: FaceFinder) -> dict[str, torch.Tensor]:
    """Generated faces with nothing in front, as `load_photos` gives photographs.

    Without the people of `dbaf.training.synthetic` the network would take sharpness, which photographs of masks have,
    for a mask.
    """
    pictures = load_pairs(folder)[0]
    meshes = [
        finder.landmarks(mesh_view(scaled(part).to(DEVICE)))[0][..., :2].cpu() / INPUT for part in pictures.split(8)
    ]
    mesh = torch.cat(meshes)
    return {"pictures": pictures, "meshes": mesh, "reach": reach(in_square(mesh))}


class Drawn:
    """Photographs with things in front, their labels and weights, at the size of the network's output."""

    def __init__(self, photos: dict[str, torch.Tensor], count: int) -> None:
        rng = np.random.default_rng(0)
        meshes = in_square(photos["meshes"])
        pictures, labels, weights = [], [], []
        for index in track(rng.permutation(len(meshes))[:count].tolist(), "drawing"):
            photo, mesh = photos["pictures"][index], meshes[index]
            inside = inner_mask(photos["reach"][index : index + 1], SIZE)[0, 0] > 0
            above = not_skin(scaled(photo), mesh, inside)
            array, front = photo.permute(1, 2, 0).numpy(), np.zeros((SIZE, SIZE))
            if rng.random() < DRAWN:
                other = photos["pictures"][int(rng.integers(len(meshes)))].permute(1, 2, 0).numpy()
                array, front = occlude(array, mesh.numpy(), other, rng)
            label = torch.maximum(torch.from_numpy(front).float(), above)
            weight = torch.where(around_eyes(mesh.numpy()) & (label < 0.1), DOUBTFUL, 1.0)
            pictures.append(torch.from_numpy(array.copy()).permute(2, 0, 1))
            labels.append(label)
            weights.append(weight * inside)
        self.pictures = torch.stack(pictures)  # [N, 3, SIZE, SIZE] uint8
        self.labels, self.weights = (
            F.avg_pool2d(torch.stack(maps)[:, None], SIZE // MAP).half() for maps in (labels, weights)
        )

    def __getitem__(self, index: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return scaled(self.pictures[index]), self.labels[index].float(), self.weights[index].float()


class Worn:
    """Photographs of people in face masks, labelled by colours."""

    def __init__(self, photos: dict[str, torch.Tensor]) -> None:
        pictures, labels, weights = [], [], []
        meshes = in_square(photos["meshes"])
        for index in track(range(len(meshes)), "labelling"):
            photo, mesh = photos["pictures"][index], meshes[index]
            inside = inner_mask(photos["reach"][index : index + 1], SIZE)[0, 0] > 0
            certain = under_mask(mesh.numpy()) & inside
            if certain.sum() < FEWEST:
                continue
            label = cloth(scaled(photo), mesh, inside, certain).float()
            label = torch.maximum(label, not_skin(scaled(photo), mesh, inside))
            pictures.append(photo)
            labels.append(label)
            weights.append(torch.where(around_eyes(mesh.numpy()) & (label < 0.1), DOUBTFUL, 1.0) * inside)
        self.pictures = torch.stack(pictures)
        self.labels, self.weights = (
            F.avg_pool2d(torch.stack(maps)[:, None], SIZE // MAP) for maps in (labels, weights)
        )

    def __getitem__(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return scaled(self.pictures[index]), self.labels[index], self.weights[index]


def distort(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Light, colour and softness of other cameras, and darker or shinier skin; [B, 3, SIZE, SIZE] in [-1, 1]."""

    def uniform(low: float, high: float, channels: int) -> torch.Tensor:
        return torch.empty(len(x), channels, 1, 1).uniform_(low, high, generator=rng)

    if torch.rand(1, generator=rng) < 0.4:
        size = int(torch.randint(80, 220, (1,), generator=rng))
        x = F.interpolate(F.interpolate(x, size=size, mode="bilinear", antialias=True), size=SIZE, mode="bilinear")
    steps = (torch.arange(SIZE) + 0.5) / SIZE
    for _ in range(SHINES):
        away = (steps[None, :] - uniform(0.25, 0.75, 1)).square() + (steps[:, None] - uniform(0.35, 0.9, 1)).square()
        shine = uniform(-0.6, 0.6, 1).clamp(min=0) * torch.exp(-away / uniform(0.02, 0.1, 1).square())
        x = x + shine * (1 - x)  # [B, 1, SIZE, SIZE] over [B, 3, SIZE, SIZE]
    x = 2 * ((x + 1) / 2).clamp(0, 1) ** uniform(0.7, 2.0, 1) - 1
    x = x * uniform(0.8, 1.2, 1) + uniform(-0.15, 0.15, 1) + uniform(-0.05, 0.05, 3)
    return (x + 0.02 * torch.randn(x.shape, generator=rng)).clamp(-1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("runs/photos"))
    parser.add_argument("--pairs", type=Path, default=Path("runs/synthetic"))
    parser.add_argument("--composites", type=Path, default=Path("runs/composites"))
    parser.add_argument("--worn", default="occluded-*", help="shards of --photos that show people in face masks")
    parser.add_argument("--backbone", type=Path, required=True, help="torchvision MobileNetV2 state dict")
    parser.add_argument("--run", type=Path, default=Path("runs/occlusion"))
    args = parser.parse_args()
    torch.manual_seed(0)
    setting = settings("occlusion")
    finder = FaceFinder.from_bundle(bundle_folder("mobile")).to(DEVICE)
    sources = generated(args.pairs, finder), generated(args.composites, finder), load_photos(args.photos, "[!o]*")
    drawn = Drawn({name: torch.cat([source[name] for source in sources]) for name in sources[0]}, setting.drawn)
    worn = Worn(load_photos(args.photos, args.worn))
    network = OcclusionNet()
    start = MobileNetV2()
    start_from_imagenet(start, args.backbone)
    network.features.load_state_dict(start.features[: len(network.features)].state_dict())
    network.features[:FROZEN].requires_grad_(False)
    network.to(DEVICE)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], setting.peak_rate)
    run = Run(args.run, {"network": network, "average": average, "optimiser": optimiser}, setting.steps)
    forward = compiled(network)
    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = setting.peak_rate * min(1, (run.step + 1) / 50) * (1 - run.step / setting.steps)
        chosen = torch.randint(len(drawn.pictures) - HELD_OUT, (setting.batch - setting.worn,), generator=rng)
        parts = drawn[HELD_OUT + chosen], worn[torch.randint(len(worn.pictures), (setting.worn,), generator=rng)]
        x, label, weight = (torch.cat(both) for both in zip(*parts, strict=True))
        if torch.rand(1, generator=rng) < 0.5:
            x, label, weight = x.flip(3), label.flip(3), weight.flip(3)
        x, label, weight = distort(x, rng).to(DEVICE), label.to(DEVICE), weight.to(DEVICE)
        network.train()
        network.features.eval()  # its normalisation stays ImageNet's
        with torch.autocast(DEVICE.type, torch.bfloat16):
            logits = forward(x.contiguous(memory_format=torch.channels_last)).float()
        entropy = (weight * F.binary_cross_entropy_with_logits(logits, label, reduction="none")).sum() / weight.sum()
        found = weight * logits.sigmoid()
        dice = 1 - (2 * (found * label).sum() + 1) / (found.sum() + (weight * label).sum() + 1)
        optimiser.zero_grad()
        (entropy + 0.3 * dice).backward()
        optimiser.step()
        average.update_parameters(network)
        if run.log(entropy=entropy, dice=dice):
            run.sheet(
                x,
                logits.detach()
                .sigmoid()
                .mul(2)
                .sub(1)
                .expand(-1, 3, -1, -1)
                .repeat_interleave(2, 2)
                .repeat_interleave(2, 3),
            )
    run.save()
    best = average.module.eval()
    with torch.no_grad():
        x, label, weight = drawn[:HELD_OUT]
        found = torch.cat([best(part.to(DEVICE)).cpu() for part in x.split(20)]) > 0
    wanted, counted = label > 0.5, weight > 0.5
    overlap = (found & wanted & counted).sum() / ((found | wanted) & counted).sum()
    wrong = (found & ~wanted & counted).sum() / (~wanted & counted).sum()
    print(f"unseen, n = {HELD_OUT}: overlap (IoU) {overlap:.3f}, face taken for something else {wrong:.4f}")
    save_part(
        bundle_folder("mobile"),
        "occlusion",
        best.cpu().state_dict(),
        {},
        f"{LICENCE}; backbone from MobileNetV2, BSD-3-Clause",
    )


if __name__ == "__main__":
    main()
