"""The border between ComfyUI and `dbaf`: IMAGE batches, masks, progress and cancelling."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar

from dbaf.errors import PictureError
from dbaf.networks import Progress
from dbaf.stages import Rendering

STEPS = 1000  # of a progress bar, for each picture whose own number of steps is not known beforehand


class Pictures(Sequence[torch.Tensor]):
    """IMAGE [B, H, W, 3 or 4] in [0, 1] as B pictures [1, 3, H, W] in [-1, 1], without alpha, made when asked for.

    An 8-bit value arrives exactly as `dbaf.images` would have read it (v / 127.5 - 1), so that a node and the
    command line give the same bytes.

    Raises:
        PictureError: another number of channels.
    """

    def __init__(self, image: torch.Tensor) -> None:
        if image.shape[-1] not in (3, 4):
            raise PictureError(
                f"The image has {image.shape[-1]} channels; DBAF takes RGB or RGBA. Convert it to RGB before this node."
            )
        self.image = image

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.image[index][None, ..., :3].float().movedim(-1, 1) * 255 / 127.5 - 1


def to_image(picture: torch.Tensor, mask: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Picture [1, 3, H, W] in [-1, 1] and mask [1, 1, H, W] -> IMAGE [1, H, W, C] like `original` [1, H, W, C].

    Where the mask is 0 every value is the original's, whatever its depth; alpha is the original's everywhere.
    Elsewhere values are k / 255, since ComfyUI's Save Image cuts off where `dbaf` rounds: so the bytes agree.
    """
    original = original.cpu()
    rgb = ((picture.cpu() + 1) * 127.5).round().clamp(0, 255).movedim(1, -1) / 255  # [1, H, W, 3]
    replaced = mask.cpu().movedim(1, -1) > 0  # [1, H, W, 1]
    rgb = torch.where(replaced, rgb.to(original.dtype), original[..., :3])
    return torch.cat([rgb, original[..., 3:]], dim=-1)


def to_outputs(
    image: torch.Tensor, made: Iterable[Rendering | None]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What was made of each picture of an IMAGE [B, H, W, C], None = nothing -> IMAGE, MASK, and a MASK for each face.

    Renderings are taken one by one and not kept.

    Returns:
        IMAGE [B, H, W, C]; MASK [B, H, W] of all faces together; MASK [F, H, W] of the F faces of all pictures, in
        their order, or one of zeros if there is no face, since other nodes do not take an empty batch.
    """
    images = torch.empty(image.shape, dtype=image.dtype)
    masks = torch.zeros(image.shape[:3])
    face_masks = []
    for index, rendering in enumerate(made):
        original = image[index : index + 1]
        if rendering is None:
            images[index] = original[0].cpu()
            continue
        images[index] = to_image(rendering.picture, rendering.mask, original)[0]
        masks[index] = rendering.mask[0, 0].cpu()
        face_masks.append(rendering.face_masks[:, 0].cpu())  # [faces, H, W]
    face_masks = [one for one in face_masks if len(one)]
    return images, masks, torch.cat(face_masks or [torch.zeros(1, *image.shape[1:3])])


def check_counts(**batches: Sequence[object]) -> int:
    """The number of pictures in all of these, given by input name.

    Raises:
        PictureError: they differ, so they do not come from the same batch.
    """
    counts = {name: len(batch) for name, batch in batches.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"'{name}' is of {count}" for name, count in counts.items())
        raise PictureError(
            f"The inputs belong to different batches of pictures: {found}. Take all from the same image."
        )
    return next(iter(counts.values()))


def progress(total: int) -> Callable[..., None]:
    """A progress bar on the node: call the result after each of `total` steps. There a cancelled run stops."""
    bar = ProgressBar(total)

    def step(*_: object) -> None:
        bar.update(1)
        throw_exception_if_processing_interrupted()

    return step


def download_progress(done: int, total: int) -> None:
    """Shows bytes done, of bytes in all, on the node. There a cancelled run stops."""
    ProgressBar(total).update_absolute(done)
    throw_exception_if_processing_interrupted()


def each_picture(count: int) -> Iterator[int]:
    """Indices 0 .. count - 1, with progress."""
    step = progress(count)
    for index in range(count):
        yield index
        step()


class Bar:
    """A progress bar on the node for work on `count` pictures in all. There a cancelled run stops."""

    def __init__(self, count: int) -> None:
        self.bar, self.begun = ProgressBar(count * STEPS), 0

    def pictures(self, count: int) -> Iterator[tuple[int, Progress]]:
        """Indices 0 .. count - 1 of the next pictures, each with the callback for progress within that picture."""
        for index in range(count):
            within = self._next(1)
            within(0, 1)
            yield index, within
            within(1, 1)

    def clip(self, count: int) -> Callable[[float], None]:
        """For the next `count` pictures: call the result with the number of those that are done."""
        within = self._next(count)
        return lambda done: within(done, count)

    def _next(self, count: int) -> Callable[[float, float], None]:
        start, steps = self.begun, count * STEPS
        self.begun += steps

        def within(done: float, total: float) -> None:
            self.bar.update_absolute(start + int(steps * done / total))
            throw_exception_if_processing_interrupted()

        return within
