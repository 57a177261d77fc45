"""Reading MobileStyleGAN out of its wheel."""

import os
import zipfile
from pathlib import Path

import pytest

from dbaf.errors import WeightsError
from dbaf.weights.bundle import bundle_folder
from dbaf.weights.convert import convert_mobilestylegan
from dbaf.weights.convert_faces import convert_faces, convert_landmarks
from dbaf.weights.convert_judges import convert_judges

WHEEL = os.environ.get("DBAF_RANDOM_FACE_WHEEL")
SHARED = os.environ.get("DBAF_SHARED")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no wheel")
    with pytest.raises(WeightsError, match="random-face"):
        convert_mobilestylegan(tmp_path / "x.whl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other/__init__.py", "")
    with pytest.raises(WeightsError, match=r"other\.whl is not the wheel 'random-face'"):
        convert_mobilestylegan(tmp_path / "other.whl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_sources_of_the_face_networks_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"yunet_n\.pth is missing"):
        convert_faces(tmp_path, tmp_path / "out")
    (tmp_path / "yunet_n.pth").write_bytes(b"no checkpoint")
    (tmp_path / "facemesh.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"facemesh\.json is not"):
        convert_landmarks(tmp_path / "facemesh.json")


@pytest.mark.skipif(WHEEL is None, reason="SKIPPED: set DBAF_RANDOM_FACE_WHEEL to random_face-*.whl to convert it")
def test_conversion_reproduces_the_embedded_weights(tmp_path: Path) -> None:
    convert_mobilestylegan(Path(WHEEL or ""), tmp_path)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert shards
    for shard in shards:
        assert shard.read_bytes() == (bundle_folder("mobile") / shard.name).read_bytes()


def test_missing_sources_of_the_judges_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"face_recognition_model-weights_manifest\.json"):
        convert_judges(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(SHARED is None, reason="SKIPPED: set DBAF_SHARED to the folder with models/ to convert the judges")
def test_conversion_reproduces_the_judges(tmp_path: Path) -> None:
    convert_judges(Path(SHARED or "") / "models", tmp_path)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) == 3
    for shard in shards:
        assert shard.read_bytes() == (bundle_folder("judges") / shard.name).read_bytes()
