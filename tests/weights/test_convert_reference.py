"""Checkpoints of the authors: what comes out agrees with their code; whatever is wrong is said and writes nothing."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

from dbaf.cid import CID
from dbaf.cli import app
from dbaf.encoders import KINDS as ENCODERS
from dbaf.encoders.irse50 import IRSE50
from dbaf.errors import WeightsError
from dbaf.generators import load_generator
from dbaf.kria_mlp import KINDS as KRIAS
from dbaf.maar import MAAR
from dbaf.weights.bundle import EMBEDDED, load_network, load_part, parts, save_part
from dbaf.weights.convert_dbaf import convert_dbaf
from dbaf.weights.convert_e4e import convert_e4e, convert_irse50
from dbaf.weights.convert_stylegan2 import convert_stylegan2

# What the authors' code gave with these weights: docs/reference.md.
GOLDEN = load_file(Path(__file__).parents[1] / "golden_reference.safetensors")
CID_FILE, KRIA_FILE, MAAR_FILE, GENERATOR_FILE = (
    f"best_model_{name}.pth" for name in ("w_disentanglement", "id_mlp", "attr_block", "decoder_finetune")
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    reference.save_release(folder, 256)
    reference.save_e4e(folder / "e4e.pt", 14)
    return folder


@pytest.fixture(scope="module")
def bundle(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle")
    convert_dbaf(sources, out)
    convert_e4e(sources / "e4e.pt", out)
    return out


@torch.no_grad()
def chain(bundle: Path) -> dict[str, torch.Tensor]:
    """Every stage of our networks for one picture."""
    generator, encoder = load_generator(bundle), load_network(bundle, "encoder", ENCODERS)
    cid, kria = load_network(bundle, "cid", CID), load_network(bundle, "kria", KRIAS)
    key = generator.mapping(reference.latents("key", 3, reference.DIM))[None]
    w, maps = encoder(reference.picture())
    attributes, noise = cid(w), load_network(bundle, "maar", MAAR)(maps)
    new = kria(w - attributes, key)
    back = kria(new, key)
    picture, recovered = generator(new + attributes, noise), generator(back + attributes, noise)
    return {
        "w": w,
        "A": attributes,
        "key": key.repeat_interleave(torch.tensor([4, 4, w.shape[1] - 8]), 1),
        "maar16": noise[16],
        "maar32": F.avg_pool2d(noise[32], 4),
        "maar64": F.avg_pool2d(noise[64], 8),
        "new": new,
        "back": back,
        "picture": F.interpolate(picture, size=64, mode="area"),
        "crop": picture[..., 96:144, 96:144],
        "recovered": F.interpolate(recovered, size=64, mode="area"),
    }


def test_one_picture_comes_out_as_with_the_authors_code(bundle: Path) -> None:
    ours = chain(bundle)
    for name, tensor in ours.items():
        tolerance = 1e-3 if name in {"picture", "crop", "recovered"} else 1e-4
        torch.testing.assert_close(tensor, GOLDEN[f"256.{name}"], atol=tolerance, rtol=1e-4)


def test_so_does_one_of_1024_px(tmp_path: Path) -> None:
    reference.save_release(tmp_path, 1024)
    reference.save_e4e(tmp_path / "e4e.pt", 18)
    convert_dbaf(tmp_path, tmp_path / "out")
    convert_e4e(tmp_path / "e4e.pt", tmp_path / "out")
    ours = chain(tmp_path / "out")
    for name, tolerance in {"w": 1e-4, "A": 1e-4, "new": 1e-4, "picture": 1e-3}.items():
        torch.testing.assert_close(ours[name], GOLDEN[f"1024.{name}"], atol=tolerance, rtol=1e-4)


def test_a_bundle_is_whole_and_says_where_it_comes_from(bundle: Path, sources: Path) -> None:
    assert parts(bundle) == ["cid", "detector", "encoder", "generator", "kria", "landmarks", "maar"]
    for part in ("detector", "landmarks"):
        (shard,) = bundle.glob(f"{part}-*.safetensors")
        assert shard.read_bytes() == (EMBEDDED / "mobile" / shard.name).read_bytes()
    for part, file, licence in (
        ("cid", CID_FILE, "MIT"),
        ("kria", KRIA_FILE, "MIT"),
        ("maar", MAAR_FILE, "MIT"),
        ("generator", GENERATOR_FILE, "NVIDIA-Source-Code-License-NC"),
        ("encoder", "e4e.pt", "CC-BY-NC-SA-4.0"),
    ):
        for shard in bundle.glob(f"{part}-*.safetensors"):
            with safe_open(shard, framework="pt") as opened:
                about = json.loads(opened.metadata()["dbaf"])
            assert licence in about["licence"]
            assert about["sources"] == {file: hashlib.sha256((sources / file).read_bytes()).hexdigest()}
    assert str(sources) not in "".join(path.read_text("latin1")[:5000] for path in bundle.iterdir())


def test_single_files_under_any_name(sources: Path, tmp_path: Path) -> None:
    for file, part in ((CID_FILE, "cid"), (KRIA_FILE, "kria"), (MAAR_FILE, "maar"), (GENERATOR_FILE, "generator")):
        (tmp_path / "renamed.pth").write_bytes((sources / file).read_bytes())
        convert_dbaf(tmp_path / "renamed.pth", tmp_path / part)
        assert parts(tmp_path / part) == sorted([part, "detector", "landmarks"])


def test_tensors_that_share_memory_are_told_apart(sources: Path, tmp_path: Path) -> None:
    def tie(state: dict) -> None:
        state["mapper.1.model.0.weight"] = state["mapper.0.model.0.weight"]
        state["mapper.2.model.1.weight"] = state["mapper.1.model.1.weight"].T.contiguous().T

    convert_dbaf(edited(sources / KRIA_FILE, tmp_path, tie), tmp_path / "out")
    tensors, _ = load_part(tmp_path / "out", "kria")
    assert torch.equal(tensors["mappers.0.0.weight"], tensors["mappers.1.0.weight"])
    assert torch.equal(tensors["mappers.1.1.weight"], tensors["mappers.2.1.weight"])


def test_half_precision_on_request(sources: Path, tmp_path: Path) -> None:
    convert_dbaf(sources / KRIA_FILE, tmp_path / "whole")
    convert_dbaf(sources / KRIA_FILE, tmp_path / "half", half=True)
    whole, half = ((tmp_path / name / "kria-00001-of-00001.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole


def test_files_of_old_versions_of_pytorch(sources: Path, tmp_path: Path) -> None:
    """Another file format, and normalisations that do not count batches: as model_ir_se50.pth has been published."""
    state = torch.load(sources / MAAR_FILE, weights_only=True)
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    convert_dbaf(tmp_path / "old.pth", tmp_path / "old")
    convert_dbaf(sources / MAAR_FILE, tmp_path / "new")
    (one, _), (other, _) = (load_part(tmp_path / name, "maar") for name in ("old", "new"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def generator_state() -> reference.State:
    return reference.weights(reference.generator_shapes([16, 16, 16, 8], 24))


def test_the_mean_latent_is_taken_over_or_made(tmp_path: Path) -> None:
    mean = reference.latents("mean", 24)
    torch.save({"g_ema": generator_state(), "latent_avg": mean, "d": {}}, tmp_path / "with.pt")
    torch.save({"g_ema": generator_state()}, tmp_path / "without.pt")
    convert_stylegan2(tmp_path / "with.pt", tmp_path / "a")
    convert_stylegan2(tmp_path / "without.pt", tmp_path / "b")
    assert torch.equal(load_generator(tmp_path / "a").mean_w, mean)
    generator = load_generator(tmp_path / "b")
    mapped = generator.mapping(torch.randn(20_000, 24, generator=torch.Generator().manual_seed(5)))
    torch.testing.assert_close(generator.mean_w, mapped.mean(0), atol=0.03, rtol=0)
    assert generator.mean_w.abs().max() > 0.1


def test_the_backbone_for_training(sources: Path, tmp_path: Path) -> None:
    state = reference.weights(reference.irse50_shapes(16))
    head = reference.norm("output_layer.0", 128) | reference.linear("output_layer.3", 128, 8)
    state |= reference.weights(head | reference.norm("output_layer.4", 8))
    torch.save(state, tmp_path / "model_ir_se50.pth")
    convert_irse50(tmp_path / "model_ir_se50.pth", tmp_path / "out")
    backbone = load_network(tmp_path / "out", "backbone", {"irse50": IRSE50})
    convert_e4e(sources / "e4e.pt", tmp_path / "out")
    encoder = load_network(tmp_path / "out", "encoder", ENCODERS)
    for stride, found in backbone(reference.picture()).items():  # the same names, hence the same weights
        torch.testing.assert_close(found, encoder.backbone(reference.picture())[stride])


def edited(path: Path, out: Path, edit: Callable[[dict], Any]) -> Path:
    """A copy of a checkpoint, changed."""
    content = torch.load(path, weights_only=True)
    edit(content)
    out.mkdir(exist_ok=True)
    torch.save(content, out / path.name)
    return out / path.name


def test_all_that_is_wrong_with_a_file_is_listed(sources: Path, tmp_path: Path) -> None:
    def spoil(state: dict) -> None:
        del state["linear_w.bias"]
        state["layers.1.transformer.layers.1.0.norm.weight"] = torch.ones(5)
        state["layers.2.transformer.layers.0.1.fn.net.0.bias"][3] = float("nan")

    path = edited(sources / CID_FILE, tmp_path, spoil)
    with pytest.raises(WeightsError, match=CID_FILE) as error:
        convert_dbaf(path, tmp_path / "out")
    for said in (
        "missing: embed.bias",
        "stacks.1.1.norm1.weight [5] instead of [32]",
        "finite numbers: stacks.2.0.mlp.0.bias",
    ):
        assert said in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", [CID_FILE, KRIA_FILE, MAAR_FILE, GENERATOR_FILE])
def test_unknown_tensors_are_listed(sources: Path, tmp_path: Path, file: str) -> None:
    path = edited(sources / file, tmp_path, lambda state: state.update(surprise=torch.ones(2)))
    with pytest.raises(WeightsError, match=f"{file} holds tensors that are not known: surprise"):
        convert_dbaf(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", [CID_FILE, KRIA_FILE, MAAR_FILE, GENERATOR_FILE])
def test_no_tensor_may_be_missing_or_misshapen(sources: Path, tmp_path: Path, file: str) -> None:
    state = generator_state() if file == GENERATOR_FILE else torch.load(sources / file, weights_only=True)
    out = tmp_path / "out"
    for name in state:
        if not name.endswith(("num_batches_tracked", ".kernel")):
            for other in ({}, {name: torch.ones(3, 3, 3)}, {name: torch.tensor(1.0)}):
                torch.save({k: v for k, v in state.items() if k != name} | other, tmp_path / file)
                with pytest.raises(WeightsError, match=file):
                    convert_dbaf(tmp_path / file, out)
    assert not out.exists()


def test_a_folder_names_every_file_that_is_missing_or_wrong(sources: Path, tmp_path: Path, bundle: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    edited(sources / KRIA_FILE, tmp_path, lambda state: state.pop("mapper.1.model.0.bias"))
    (tmp_path / CID_FILE).write_bytes((sources / CID_FILE).read_bytes())
    (tmp_path / MAAR_FILE).write_bytes(b"PK no checkpoint")
    with pytest.raises(WeightsError) as error:
        convert_dbaf(tmp_path, bundle)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    expected = {KRIA_FILE: "mappers.1.0.bias", MAAR_FILE: "not a PyTorch", GENERATOR_FILE: "Cannot read"}
    for line, (file, said) in zip(lines, expected.items(), strict=True):
        assert file in line
        assert said in line
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_a_network_that_is_none_of_dbaf_s(sources: Path, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="none of DBAF's networks"):
        convert_dbaf(tmp_path / "other.pth", tmp_path / "out")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    torch.save({"g_ema": generator_state(), "args": Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pt")
    with pytest.raises(WeightsError, match=r"bomb\.pt .* wants to run \w+\.mkdir\..* its tensors alone") as error:
        convert_stylegan2(tmp_path / "bomb.pt", tmp_path / "out")
    assert not (tmp_path / "exploded").exists()
    assert "weights_only" not in str(error.value)  # no advice to run it


def test_nvidia_s_pickles_are_refused_with_the_way_to_go(tmp_path: Path) -> None:
    for name, content in (
        ("stylegan2-ffhq-config-f.pkl", b"\x80\x03"),
        ("renamed.pt", b"\x80\x03cdnnlib.tflib.network\nx"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=r"NVIDIA.*convert_weight\.py"):
            convert_stylegan2(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "a list instead of a dictionary"),
        ({"g": {}}, "holds no 'g_ema', only g"),
        ({"g_ema": 3}, "'g_ema' is no dictionary"),
        ({"g_ema": {"input.input": "text"}}, "other things than plain tensors: input.input"),
        ({"g_ema": {"input.input": torch.ones(1, 16, 4, 4).to_sparse()}}, "other things than plain tensors"),
        ({"g_ema": {}}, "no tensor input.input"),
        ({"g_ema": generator_state(), "latent_avg": 0.5}, "'latent_avg' is no tensor"),
        ({"g_ema": generator_state(), "latent_avg": torch.zeros(3)}, r"mean_w \[3\] instead of \[24\]"),
        ({"g_ema": generator_state() | {"convs.0.conv.blur.kernel": torch.ones(4, 4)}}, "another kernel"),
    ],
)
def test_other_stylegan2_files(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=rf"x\.pt.*{said}"):
        convert_stylegan2(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda c: c["opts"].update(encoder_type="GradualStyleEncoder"), "type 'GradualStyleEncoder' instead of"),
        (lambda c: c.pop("opts"), "of the type None"),
        (lambda c: c.pop("latent_avg"), "no 'latent_avg' of 14 x 32"),
        (lambda c: c.update(latent_avg=torch.zeros(18, 32)), "no 'latent_avg' of 14 x 32"),
        (lambda c: c.pop("state_dict"), "holds no 'state_dict'"),
        (lambda c: c["state_dict"].update({"lost.weight": torch.ones(1)}), "not known: lost.weight"),
        (lambda c: c["state_dict"].pop("encoder.latlayer2.bias"), r"1 tensors are missing: lateral\.64\.bias"),
        (lambda c: c["state_dict"].pop("encoder.styles.5.linear.weight"), r"missing: blocks\.5\.linear\.weight"),
    ],
)
def test_other_e4e_files(sources: Path, tmp_path: Path, edit: Callable[[dict], Any], said: str) -> None:
    path = edited(sources / "e4e.pt", tmp_path / "edited", edit)
    with pytest.raises(WeightsError, match=said):
        convert_e4e(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(32,), (1, 32), (14, 32)])
def test_the_latent_average_may_be_one_for_all_styles(sources: Path, tmp_path: Path, size: tuple[int, ...]) -> None:
    mean = reference.latents("average", *size)
    path = edited(sources / "e4e.pt", tmp_path / "edited", lambda content: content.update(latent_avg=mean))
    convert_e4e(path, tmp_path / "out")
    assert torch.equal(load_part(tmp_path / "out", "encoder")[0]["mean_wplus"], mean.expand(14, 32))


def test_an_encoder_that_does_not_start_from_the_average(sources: Path, tmp_path: Path) -> None:
    path = edited(
        sources / "e4e.pt", tmp_path / "e", lambda content: content["opts"].update(start_from_latent_avg=False)
    )
    convert_e4e(path, tmp_path / "out")
    assert not load_part(tmp_path / "out", "encoder")[0]["mean_wplus"].any()


def test_a_kind_of_a_later_version_is_named(tmp_path: Path) -> None:
    save_part(tmp_path, "kria", {"x": torch.ones(1)}, {"kind": "quantum"}, "MIT")
    with pytest.raises(WeightsError, match=r"'kria' is of the kind 'quantum'; this version knows turn, mlp"):
        load_network(tmp_path, "kria", KRIAS)


def test_command_line(sources: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    out = tmp_path / "out"
    done = run(app, ["weights", "convert", "dbaf", str(sources / KRIA_FILE), str(out), "--half"])
    assert done.exit_code == 0, done.output
    assert parts(out) == ["detector", "kria", "landmarks"]
    assert run(app, ["weights", "convert", "faces", str(sources), str(out), "--half"]).exit_code == 2
    failed = run(app, ["weights", "convert", "e4e", str(sources / KRIA_FILE), str(tmp_path / "none")])
    assert failed.exit_code == 1
    assert "state_dict" in failed.output
    assert "Traceback" not in failed.output
    assert not (tmp_path / "none").exists()
