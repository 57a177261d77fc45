"""The widget `looks`: kept or free, there and back, as the library does it."""

from typing import Any

import pytest
import torch

from dbaf.album import Album
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.stages import Identity

KEY = Key(bytes(range(32)))
STOP = "stop with an error"


@pytest.fixture
def picture(photos: dict[str, torch.Tensor]) -> torch.Tensor:
    """[1, 3, H, W] in [-1, 1], of 8-bit values."""
    return ((photos["one"] + 1) * 127.5).round() / 127.5 - 1


def to_image(picture: torch.Tensor) -> torch.Tensor:
    """[1, 3, H, W] in [-1, 1] -> IMAGE."""
    return (picture.movedim(1, -1) + 1) / 2


def test_step_by_step(nodes: dict[str, Any], mobile: Pipeline, picture: torch.Tensor) -> None:
    identity, _ = mobile.disentangle(mobile.encode(picture, mobile.detect(picture)))

    def there(looks: str, imprint: bool = False) -> Identity:
        (made,) = nodes["DBAF_Anonymize"].execute(mobile, [identity], KEY, imprint, looks).args
        return made[0]

    def back(who: Identity, looks: str) -> Identity:
        (made,) = nodes["DBAF_Recover"].execute(mobile, [who], KEY, looks).args
        return made[0]

    kept, free = there("keep"), there("free")
    assert torch.equal(kept.code, mobile.anonymize_identity(identity, KEY).code)
    assert torch.equal(free.code, mobile.anonymize_identity(identity, KEY, keep_looks=False).code)
    assert (kept.code - free.code).abs().mean() > 0.01
    for who, looks in ((kept, "keep"), (free, "free")):
        torch.testing.assert_close(back(who, looks).code, identity.code, atol=1e-3, rtol=1e-3)
    assert (back(free, "keep").code - identity.code).abs().mean() > 0.01
    marked = there("free", imprint=True)
    assert back(marked, "keep").restored == [True]
    assert torch.equal(back(marked, "keep").code, back(marked, "free").code)


def test_in_one_node(nodes: dict[str, Any], mobile: Pipeline, picture: torch.Tensor) -> None:
    def there(looks: str, batch: str = "pictures") -> tuple[torch.Tensor, torch.Tensor]:
        widgets = {"imprint": False, "refine_steps": 0, "without_face": STOP, "min_face": 40, "accept_suspects": True}
        widgets |= {"batch": batch, "looks": looks, "linkage": "linked", "variation": 0}
        widgets |= {"model": mobile, "image": to_image(picture), "key": KEY}
        made = nodes["DBAF_AnonymizeImage"].execute(**{name: [value] for name, value in widgets.items()})
        return made.args[0][0], made.args[1][0]

    def back(image: torch.Tensor, looks: str) -> torch.Tensor:
        return nodes["DBAF_RecoverImage"].execute(mobile, image, KEY, 0, STOP, 40, "pictures", looks).args[0]

    (kept, mask), (free, _) = there("keep"), there("free")
    assert (kept - free).abs()[mask == 1].mean() > 0.01
    for image, keep in ((kept, True), (free, False)):
        library = mobile.anonymize(picture, KEY, imprint=False, keep_looks=keep)
        torch.testing.assert_close(image, to_image(library.picture), atol=1 / 255, rtol=0)
    album = Album(mobile)
    album.look(0, picture)
    library = mobile.anonymize(picture, KEY, imprint=False, held=album.held(0), keep_looks=False)
    torch.testing.assert_close(there("free", "album")[0], to_image(library.picture), atol=1 / 255, rtol=0)
    original = mobile.recover(free.movedim(-1, 1) * 2 - 1, KEY, keep_looks=False)
    torch.testing.assert_close(back(free, "free"), to_image(original.picture), atol=1 / 255, rtol=0)
    assert (back(free, "keep") - back(free, "free")).abs().mean() > 0.001
