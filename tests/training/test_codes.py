"""The bank of codes goes with its photographs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dbaf.errors import DbafError
from dbaf.faces.mesh import POINTS
from dbaf.training.codes import chosen, load_coded
from dbaf.training.observe import RAW
from dbaf.training.photos import UNKNOWN, load_photos


def written(folder: Path, index: list[int]) -> tuple[Path, Path]:
    """Three photographs, each of its own grey, and codes of those in `index`, each of its number."""
    grey = torch.arange(3, dtype=torch.uint8)
    photos = {
        "pictures": grey[:, None, None, None].expand(3, 3, 8, 8).contiguous(),
        "attributes": torch.rand(3, RAW, generator=torch.Generator().manual_seed(0)),
        "embeddings": torch.zeros(3, 192),
        "people": torch.arange(3),
        "origins": torch.tensor([3, UNKNOWN, 1]),
    }
    save_file(photos, folder / "photos.safetensors")
    codes = torch.tensor(index, dtype=torch.float16)[:, None, None].expand(-1, 2, 4).contiguous()
    save_file({"wplus": codes, "index": torch.tensor(index)}, folder / "codes.bin")
    return folder, folder / "codes.bin"


def test_every_code_stands_beside_its_photograph(tmp_path: Path) -> None:
    coded = load_coded(*written(tmp_path, [2, 0]))
    assert coded["pictures"][:, 0, 0, 0].tolist() == [2, 0]
    assert coded["wplus"][:, 0, 0].tolist() == [2.0, 0.0]
    assert coded["meshes"].shape == (2, POINTS, 2)
    assert coded["origins"].tolist() == [1, 3]


def test_codes_of_other_photographs_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DbafError, match=r"codes\.bin is not of the photographs"):
        load_coded(*written(tmp_path, [5]))


def test_shards_of_a_version_that_did_not_know_origins_are_an_error(tmp_path: Path) -> None:
    folder, _ = written(tmp_path, [0])
    shard = load_file(folder / "photos.safetensors")
    del shard["origins"]
    save_file(shard, folder / "older.safetensors")
    with pytest.raises(DbafError, match=r"older\.safetensors .* origins"):
        load_photos(folder)


def test_people_with_several_photographs_or_a_known_origin_come_first() -> None:
    people = torch.tensor([5, 1, 5, 2, 3, 2, 4, 2])
    origins = torch.tensor([-1, -1, -1, -1, -1, -1, 0, -1])
    index = chosen(people, origins, 7)
    assert people[index].bincount()[[2, 4, 5]].tolist() == [3, 1, 2]
    assert len(set(index.tolist())) == 7
    assert set(people[chosen(people, origins, 5)].tolist()) == {2, 5}
    assert sorted(chosen(people, origins, 100).tolist()) == list(range(8))
