"""What the nodes do with batches, alpha, missing faces, cancelling and mixed-up inputs."""

from typing import Any

import pytest
import torch

from dbaf.errors import NoFaceError, PictureError
from dbaf.keys import Key

STOP, KEEP = "stop with an error", "keep the picture as it is"


def make_image(faces: list[int], channels: int = 3) -> torch.Tensor:
    """An IMAGE batch [B, 32, 48, C] of 8-bit values; picture i has faces[i] faces to the fake pipeline."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (len(faces), 32, 48, channels), generator=generator) / 255
    image[:, 0, 0, 0] = torch.tensor(faces) / 255
    return image


def detect(nodes: dict[str, Any], pipeline: Any, image: torch.Tensor, **chosen: Any) -> tuple[Any, torch.Tensor]:
    """IMAGE -> faces and preview; `chosen` replaces the widgets' defaults."""
    widgets = {"without_face": STOP, "min_face": 40, "choose": "all", "numbers": "1", "count": 1, "spare_chosen": False}
    widgets["batch"] = "pictures"
    return nodes["DBAF_DetectFaces"].execute(pipeline, image, **(widgets | chosen)).args


def walk(nodes: dict[str, Any], pipeline: Any, image: torch.Tensor, mode: str = STOP) -> tuple[torch.Tensor, ...]:
    """IMAGE -> anonymized IMAGE, MASK through the whole graph."""
    faces, preview = detect(nodes, pipeline, image, without_face=mode)
    assert preview.shape == (*image.shape[:3], 3)
    (latent,) = nodes["DBAF_Encode"].execute(pipeline, image, faces, 0).args
    identity, attributes = nodes["DBAF_Disentangle"].execute(pipeline, latent).args
    (new,) = nodes["DBAF_Anonymize"].execute(pipeline, identity, Key.generate(), True, "keep").args
    return nodes["DBAF_MAARBlend"].execute(pipeline, image, faces, new, attributes).args


@pytest.mark.parametrize("channels", [3, 4])
def test_batch_walks_through(nodes: dict[str, Any], pipeline: Any, channels: int) -> None:
    image = make_image([1, 2, 3], channels)
    out, mask, face_masks = walk(nodes, pipeline, image)
    assert face_masks.shape == (6, *image.shape[1:3])
    assert torch.equal(face_masks[3:].amax(0), mask[2])
    assert out.shape == image.shape
    assert out.dtype == image.dtype
    assert mask.shape == image.shape[:3]
    assert [len(identity) for identity in pipeline.rendered] == [1, 2, 3]
    assert all((identity == 1).all() for identity in pipeline.rendered)
    assert torch.equal(out[mask == 0], image[mask == 0])  # bit for bit, although the fake render drifts by 1e-7
    assert torch.equal(out[..., 3:], image[..., 3:])
    inside = out[..., :3][mask > 0] * 255
    assert torch.allclose(inside, inside.round(), atol=1e-4)


def test_recover_is_its_own_node(nodes: dict[str, Any], pipeline: Any) -> None:
    identity = [torch.ones(1, 23, 512), None]
    (back,) = nodes["DBAF_Recover"].execute(pipeline, identity, Key.generate(), "keep").args
    assert torch.equal(back[0], torch.zeros(1, 23, 512))
    assert back[1] is None


def test_picture_without_face_stops(nodes: dict[str, Any], pipeline: Any) -> None:
    with pytest.raises(NoFaceError, match="picture 2 of 3"):
        walk(nodes, pipeline, make_image([1, 0, 1]))


def test_picture_without_face_is_kept_on_request(nodes: dict[str, Any], pipeline: Any) -> None:
    image = make_image([1, 0, 1])
    out, mask, _ = walk(nodes, pipeline, image, KEEP)
    assert torch.equal(out[1], image[1])
    assert not mask[1].any()
    assert mask[0].any()
    assert len(pipeline.rendered) == 2


def test_mixed_up_batches_are_named(nodes: dict[str, Any], pipeline: Any) -> None:
    faces, _ = detect(nodes, pipeline, make_image([1, 1]))
    with pytest.raises(PictureError, match="'image' is of 3, 'faces' is of 2"):
        nodes["DBAF_Encode"].execute(pipeline, make_image([1, 1, 1]), faces, 0)


def test_grey_image_is_refused(nodes: dict[str, Any], pipeline: Any) -> None:
    with pytest.raises(PictureError, match="1 channels"):
        detect(nodes, pipeline, torch.zeros(1, 8, 8, 1))


def test_progress_and_cancel(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    walk(nodes, pipeline, make_image([1, 2, 3]))
    assert host.progress == [6, 6]  # the blend's: a step for each face
    host.cancel_after = 2
    with pytest.raises(Exception, match=r"^$") as stopped:
        walk(nodes, pipeline, make_image([1, 2, 3]))
    assert type(stopped.value).__name__ == "CancelledError"
    assert host.progress == [2, 3]  # already in the detection: a step for each picture


def test_every_refinement_step_counts_as_progress(nodes: dict[str, Any], pipeline: Any, host: Any) -> None:
    image = make_image([1, 2, 3])
    faces, _ = detect(nodes, pipeline, image)
    nodes["DBAF_Encode"].execute(pipeline, image, faces, 5)
    assert host.progress == [36, 36]  # and one for each face's first guess


def test_text_of_what_travels_shows_no_content(nodes: dict[str, Any], pipeline: Any) -> None:
    faces, _ = detect(nodes, pipeline, make_image([2]))
    assert str(faces) == f"{faces}" == "<DBAF data of 1 picture(s)>"


def test_pictures_arrive_as_the_library_reads_them(nodes: dict[str, Any]) -> None:
    border = nodes["DBAF_Encode"].execute.__globals__
    values = torch.arange(256)
    image = (values / 255).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    (picture,) = border["Pictures"](image)
    assert torch.equal(picture[0, 0].flatten(), values / 127.5 - 1)
    to_image = border["Pictures"].__init__.__globals__["to_image"]
    back = to_image(picture, torch.ones(1, 1, 16, 16), image)
    assert torch.equal((back[0, ..., 0] * 255).to(torch.uint8).flatten(), values.to(torch.uint8))  # as Save Image does
