"""The other methods: they really change the face, and nothing else."""

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from toggling import face

from dbaf.errors import PictureError
from dbaf.evaluation import peers
from dbaf.evaluation.methods import Output

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the command")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    peers.deface_command.cache_clear()
    peers.deface_version.cache_clear()


@pytest.fixture
def photo() -> torch.Tensor:
    values = torch.randint(0, 256, (1, 3, 120, 160), generator=torch.Generator().manual_seed(0))
    return values.float() / 127.5 - 1


def only(method: peers.Method, photo: torch.Tensor, *faces: tuple[float, float]) -> Output:
    (output,) = method.outputs(photo, [face(x, y, 40) for x, y in faces], 0)
    return output


@pytest.mark.parametrize("method", [peers.Blur(), peers.Pixelate(), peers.Box()], ids=lambda method: method.name)
@pytest.mark.parametrize("place", [(80, 60), (2, 118)], ids=["inside", "at the corner"])
def test_filters_change_the_face_and_nothing_else(
    method: peers.Filter, place: tuple[float, float], photo: torch.Tensor
) -> None:
    output = only(method, photo, place)
    assert output.name == "anonymized"
    assert output.mask is not None
    outside = (output.mask == 0).expand_as(photo)
    assert torch.equal(output.picture[outside], photo[outside])
    inside = ~outside
    assert inside.any()
    before, after = photo[inside], output.picture[inside]
    assert (before != after).double().mean() > 0.95
    assert after.std() < 0.3 * before.std()  # the detail is gone
    if method.name != "box":
        assert abs(float(after.mean() - before.mean())) < 0.1


def test_pixelation_is_of_whole_tiles(photo: torch.Tensor) -> None:
    picture = only(peers.Pixelate(), photo, (80, 60)).picture[0, 0, 34:86, 54:106]  # 40 px and 6 on every side
    tiles = picture.view(13, 4, 13, 4).transpose(1, 2).flatten(2)
    assert (tiles == tiles[..., :1]).all()


def test_two_faces(photo: torch.Tensor) -> None:
    picture = only(peers.Box(), photo, (40, 60), (120, 60)).picture
    assert (picture[..., 60, 40] == -1).all()
    assert (picture[..., 60, 120] == -1).all()
    assert (picture[..., 60, 80] != -1).any()


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "deface"
    tool.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(peers, "deface_command", lambda: str(tool))


@POSIX
def test_deface_runs_as_a_user_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: torch.Tensor) -> None:
    script = """
if sys.argv[1:] == ["--version"]:
    print("9.9")
else:
    from PIL import Image, ImageOps
    (source,) = sys.argv[1:]
    ImageOps.invert(Image.open(source)).save(source.replace(".png", "_anonymized.png"))
"""
    command(tmp_path, monkeypatch, script)
    assert peers.deface_version() == "9.9"
    assert [method.name for method in peers.peers()] == ["blur", "pixelate", "box", "deface"]
    output = only(peers.Deface(), photo, (80, 60))
    assert torch.allclose(output.picture, -photo, atol=1e-6)
    assert output.mask is None


@POSIX
@pytest.mark.parametrize("script", ["sys.exit('no weights')", ""])
def test_deface_that_fails_is_reported(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: torch.Tensor
) -> None:
    command(tmp_path, monkeypatch, script)
    with pytest.raises(PictureError, match="no weights" if script else "wrote no picture"):
        only(peers.Deface(), photo, (80, 60))


def test_without_deface_the_others_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "deface_command", lambda: None)
    assert [method.name for method in peers.peers()] == ["blur", "pixelate", "box"]
