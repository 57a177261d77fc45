"""Drawn things in front of faces, with the mask of each: what `dbaf.training.occlusion` learns from.

Masks, hands, glasses, hair, hats, microphones and scraps, each placed by the face mesh. Their textures are plain, or
come from other photographs.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from dbaf.faces.face import LEFT_EYE, OVAL, RIGHT_EYE

SIZE = 256
FINE = 2  # shapes are drawn this many times as large
Shape = Image.Image  # "L", SIZE * FINE
CLOTH = ((235, 238, 240), (150, 200, 225), (30, 30, 34), (225, 160, 180), (40, 50, 90), (90, 110, 90), (150, 40, 50))
HAIR = ((20, 16, 14), (45, 30, 22), (90, 62, 40), (150, 115, 70), (200, 170, 120), (130, 130, 130))
JAW = tuple(OVAL[8:29])  # from the image-right ear around the chin to the other one


def canvas() -> tuple[Shape, ImageDraw.ImageDraw]:
    shape = Image.new("L", (SIZE * FINE, SIZE * FINE))
    return shape, ImageDraw.Draw(shape)


def outline(points: np.ndarray) -> list[tuple[float, float]]:
    """Square coordinates [N, 2] -> points that Pillow draws."""
    return [(float(x), float(y)) for x, y in points * (SIZE * FINE)]


def smooth(points: np.ndarray, count: int = 24) -> np.ndarray:
    """Points [count, 2] along a curve near the points [N, 2]."""
    steps = np.linspace(0, len(points) - 1, count)
    curve = np.stack([np.interp(steps, np.arange(len(points)), points[:, axis]) for axis in (0, 1)], 1)
    padded = np.pad(curve, ((2, 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, axis], np.full(5, 0.2), "valid") for axis in (0, 1)], 1)


def mask(mesh: np.ndarray, rng: np.random.Generator) -> Shape:
    """A cloth over mouth and nose; now and then below the nose."""
    shape, draw = canvas()
    centre = mesh.mean(0)
    jaw = mesh[list(JAW)]
    drop = int(rng.integers(0, 4))  # how far from the ears it begins
    jaw = jaw[drop : len(jaw) - drop]
    jaw = centre + (jaw - centre) * rng.uniform(0.97, 1.12)
    nose = mesh[[6, 197, 195, 5, 4, 2][int(rng.choice(6, p=[0.1, 0.25, 0.3, 0.15, 0.1, 0.1]))]]
    left, right = (mesh[i] + rng.normal(0, 0.015, 2) for i in ((123, 50, 101)[drop % 3], (352, 280, 330)[drop % 3]))
    top = smooth(np.stack([jaw[-1], left, nose, right, jaw[0]]))
    draw.polygon(outline(np.concatenate([jaw, top])), fill=255)
    if rng.random() < 0.6:  # straps
        for end, outward in ((jaw[0], 1), (jaw[-1], -1)):
            far = end + np.array([outward * 0.2, -rng.uniform(0, 0.15)])
            draw.line(outline(np.stack([end, far])), fill=255, width=int(rng.integers(3, 8)))
    return shape


def hand(mesh: np.ndarray, rng: np.random.Generator) -> Shape:
    """Fingers and a palm from the edge of the picture."""
    shape, draw = canvas()
    target = mesh[int(rng.integers(len(mesh)))] + rng.normal(0, 0.03, 2)
    angle = rng.uniform(-0.2, np.pi + 0.2)  # from below and the sides
    along = -np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    width, length = rng.uniform(0.035, 0.06), rng.uniform(0.15, 0.3)
    count = int(rng.integers(1, 5))
    for finger in range(count):
        offset = across * (finger - (count - 1) / 2) * width * rng.uniform(1.0, 1.5)
        tip = target + offset + along * rng.uniform(-0.05, 0.05)
        bend = tip - along * length * 0.5 + across * rng.normal(0, 0.015)
        curve = smooth(np.stack([tip, bend, tip - along * length]), 16)
        draw.line(outline(curve), fill=255, width=int(width * SIZE * FINE), joint="curve")
        radius = width / 2
        draw.ellipse([*outline(np.stack([tip - radius, tip + radius]))[0], *outline((tip + radius)[None])[0]], fill=255)
    if rng.random() < 0.6:
        palm = target - along * (length + 0.1)
        reach = rng.uniform(0.1, 0.18)
        draw.ellipse([*outline((palm - reach)[None])[0], *outline((palm + reach)[None])[0]], fill=255)
    return shape


def glasses(mesh: np.ndarray, rng: np.random.Generator) -> Shape:
    """Frames; half of the time with dark lenses."""
    shape, draw = canvas()
    eyes = [mesh[list(LEFT_EYE)].mean(0), mesh[list(RIGHT_EYE)].mean(0)]
    apart = eyes[1] - eyes[0]
    unit = float(np.linalg.norm(apart))
    across = apart / max(unit, 1e-6)
    down = np.array([-across[1], across[0]])
    wide, high = unit * rng.uniform(0.3, 0.44), unit * rng.uniform(0.2, 0.36)
    power, line = rng.uniform(2, 6), int(rng.integers(3, 14))
    dark = rng.random() < 0.5
    angle = np.linspace(0, 2 * np.pi, 48)
    sides = []
    for eye in eyes:
        middle = eye + down * unit * rng.uniform(0.0, 0.08)
        x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power) * wide
        y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power) * high
        ring = middle + x[:, None] * across + y[:, None] * down
        if dark:
            draw.polygon(outline(ring), fill=255)
        draw.line(outline(ring), fill=255, width=line, joint="curve")
        sides.append(middle)
    bridge = np.stack([sides[0] + across * wide, sides[1] - across * wide]) - down * high * rng.uniform(0, 0.5)
    draw.line(outline(bridge), fill=255, width=line)
    for middle, outward in ((sides[0], -1), (sides[1], 1)):
        start = middle + across * outward * wide - down * high * 0.4
        draw.line(outline(np.stack([start, start + across * outward * unit * 0.5])), fill=255, width=max(line - 1, 2))
    return shape


def hair(mesh: np.ndarray, rng: np.random.Generator) -> Shape:
    """Strands from above: a few thin ones, or a fringe."""
    shape, draw = canvas()
    top, low = mesh[10], mesh[:, 1].max()
    span = mesh[:, 0].max() - mesh[:, 0].min()
    root = top + np.array([rng.uniform(-0.5, 0.5) * span, -0.06])
    thick = rng.random() < 0.5
    lean = rng.uniform(-0.7, 0.7) * span
    for _ in range(int(rng.integers(2, 12))):
        start = root + rng.normal(0, 0.05, 2)
        length = rng.uniform(0.1, 0.4 if thick else 0.9) * (low - top[1])
        tip = start + np.array([lean * rng.uniform(0.3, 1.2), length])
        middle = (start + tip) / 2 + rng.normal(0, 0.03, 2)
        width = int(rng.integers(6, 34) if thick else rng.integers(1, 6))
        draw.line(outline(smooth(np.stack([start, middle, tip]))), fill=255, width=width, joint="curve")
    return shape


def hat(mesh: np.ndarray, rng: np.random.Generator) -> Shape:
    """Everything above a curve over the forehead."""
    shape, draw = canvas()
    brow = mesh[[105, 334]].mean(0)
    level = brow[1] - rng.uniform(0.01, 0.12)
    bulge, tilt = rng.uniform(-0.04, 0.06), rng.normal(0, 0.03)
    x = np.linspace(0, 1, 24)
    y = level + tilt * (x - 0.5) + bulge * (1 - ((x - brow[0]) / 0.4) ** 2)
    draw.polygon(outline(np.concatenate([np.stack([x, y], 1), [[1, 0], [0, 0]]])), fill=255)
    return shape


def microphone(mesh: np.ndarray, rng: np.random.Generator) -> Shape:
    """A rod with a head, from below or the side."""
    shape, draw = canvas()
    head = mesh[[13, 17, 152][int(rng.integers(3))]] + rng.normal(0, 0.05, 2)
    end = np.array([rng.uniform(-0.1, 1.1), 1.2])
    width = rng.uniform(0.02, 0.07)
    draw.line(outline(np.stack([head, end])), fill=255, width=int(width * SIZE * FINE))
    radius = width * rng.uniform(0.6, 1.4)
    draw.ellipse([*outline((head - radius)[None])[0], *outline((head + radius)[None])[0]], fill=255)
    return shape


def scrap(mesh: np.ndarray, rng: np.random.Generator) -> Shape:
    """A polygon or an ellipse anywhere over the face: paper, a cup, a phone, a flag."""
    shape, draw = canvas()
    centre = mesh[int(rng.integers(len(mesh)))] + rng.normal(0, 0.06, 2)
    reach = rng.uniform(0.05, 0.22, 2)
    if rng.random() < 0.4:
        draw.ellipse([*outline((centre - reach)[None])[0], *outline((centre + reach)[None])[0]], fill=255)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        draw.polygon(outline(centre + np.stack([np.cos(angles), np.sin(angles)], 1) * reach), fill=255)
    return shape


# how to draw it, share of the draws, where its colours may come from
KINDS: tuple[tuple[Callable[[np.ndarray, np.random.Generator], Shape], float, str], ...] = (
    (mask, 0.3, "cloth"),
    (hand, 0.18, "skin"),
    (glasses, 0.16, "dark"),
    (hair, 0.12, "hair"),
    (hat, 0.08, "cloth"),
    (microphone, 0.06, "dark"),
    (scrap, 0.1, "photo"),
)


def texture(kind: str, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours [SIZE, SIZE, 3] in 0..255 for an occluder; `other` [SIZE, SIZE, 3] is another photograph."""
    if kind == "skin":  # a cheek, enlarged
        x, y = (int(v) for v in rng.integers(90, 140, 2))
        piece = Image.fromarray(other[y : y + 40, x : x + 30])
    elif kind == "photo" or (kind == "cloth" and rng.random() < 0.3):
        side = int(rng.integers(60, 256))
        x, y = (int(v) for v in rng.integers(0, SIZE - side + 1, 2))
        piece = Image.fromarray(other[y : y + side, x : x + side])
    else:
        palette = {"cloth": CLOTH, "hair": HAIR, "dark": ((18, 18, 20), (40, 30, 25), (120, 110, 90), (70, 70, 75))}[
            kind
        ]
        base = np.array(palette[int(rng.integers(len(palette)))], dtype=np.float64) + rng.normal(0, 14, 3)
        piece = Image.fromarray(np.broadcast_to(base.clip(0, 255), (8, 8, 3)).astype(np.uint8))
    colours = np.asarray(piece.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float64)
    light = Image.fromarray(rng.uniform(120, 255, (4, 4)).astype(np.uint8)).resize(
        (SIZE, SIZE), Image.Resampling.BICUBIC
    )
    colours = colours * (np.asarray(light, dtype=np.float64)[..., None] / 210)
    if kind in ("cloth", "hair"):  # folds and strands
        angle, pitch = rng.uniform(-0.3, 0.3) if kind == "cloth" else rng.uniform(1.2, 1.9), rng.uniform(4, 40)
        y, x = np.mgrid[:SIZE, :SIZE]
        wave = np.sin((y * np.cos(angle) + x * np.sin(angle)) * 2 * np.pi / pitch + rng.uniform(0, 6))
        colours = colours + (rng.uniform(0, 14) * wave)[..., None]
    return colours + rng.normal(0, 3, colours.shape)


def occlude(
    photo: np.ndarray, mesh: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one or two things in front of a face.

    Args:
        photo: [SIZE, SIZE, 3] uint8, FFHQ alignment.
        mesh: [468, 2] of its face, in square coordinates.
        other: [SIZE, SIZE, 3] uint8, where textures come from.
        rng: draws everything.

    Returns:
        [SIZE, SIZE, 3] uint8, and what is in front [SIZE, SIZE] in [0, 1].
    """
    picture, front = photo.astype(np.float64), np.zeros((SIZE, SIZE))
    for _ in range(1 + int(rng.random() < 0.35)):
        draw, _, colours = KINDS[int(rng.choice(len(KINDS), p=[share for _, share, _ in KINDS]))]
        shape = draw(mesh, rng).resize((SIZE, SIZE), Image.Resampling.BOX)
        soft = np.asarray(shape.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4))), dtype=np.float64) / 255
        inside = np.asarray(shape.filter(ImageFilter.GaussianBlur(8)), dtype=np.float64) / 255
        shaded = texture(colours, other, rng) * (1 - rng.uniform(0, 0.4) * (1 - inside))[..., None]
        shadow = np.asarray(shape.filter(ImageFilter.GaussianBlur(5)), dtype=np.float64) / 255
        picture = picture * (1 - rng.uniform(0, 0.35) * shadow)[..., None]
        picture += soft[..., None] * (shaded - picture)
        front = np.maximum(front, soft)
    return picture.clip(0, 255).astype(np.uint8), front
