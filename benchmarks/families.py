"""Time and memory of every stage, for the families side by side: one face, one picture of 1024 px.

    python benchmarks/families.py --out benchmarks/families.json

`mobile` has its weights. `reference` has random ones of the released sizes, for 256 and 1024 px: they cost the same.
Each stage runs in a process of its own, which loads only the networks that it needs: the peak is that of the whole
process, loading included. Times are CPU seconds of one thread, which neighbours on the machine hardly touch.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dbaf.cid import CID
from dbaf.encoders import KINDS as ENCODERS
from dbaf.encoders.e4e import E4E
from dbaf.faces import FaceFinder
from dbaf.generators import load_generator
from dbaf.generators.stylegan2 import StyleGAN2
from dbaf.keys import Key
from dbaf.kria_mlp import KINDS as KRIAS
from dbaf.kria_mlp import MlpKRIA
from dbaf.maar import MAAR
from dbaf.pipeline import Pipeline
from dbaf.weights.bundle import bundle_folder, load_network
from dbaf.weights.checkpoint import Converted, write_parts

CHANNELS = {256: [512, 512, 512, 512, 512, 256, 128], 1024: [512, 512, 512, 512, 512, 256, 128, 64, 32]}
REPEATS = 3  # after one that warms up
PERSON = 3  # seed

Task = Callable[[], object]


def write_reference(folder: Path, size: int) -> None:
    """A bundle of the family `reference` at the released widths, with random weights."""
    torch.manual_seed(0)
    styles = 2 * len(CHANNELS[size])
    attention = {"depth": 6, "heads": 14, "mlp": 2048, "head_dim": 64, "attends": False, "projects": False}
    networks: dict[str, tuple[str | None, type[torch.nn.Module], dict[str, Any]]] = {
        "generator": ("stylegan2", StyleGAN2, {"channels": CHANNELS[size]}),
        "encoder": ("e4e", E4E, {"styles": styles}),
        "cid": (None, CID, {"groups": [4, 4, styles - 8], **attention}),
        "kria": ("mlp", MlpKRIA, {"groups": [4, 4]}),
        "maar": (None, MAAR, {"channels": {"16": 512, "32": 256, "64": 128}}),
    }
    for part, (kind, network, config) in networks.items():
        named = config if kind is None else {"kind": kind, **config}
        made = Converted(part, network(**config).state_dict(), named, "random weights", {})
        write_parts(folder, [made], half=False)


def stage_all(folder: Path, picture: torch.Tensor) -> Task:
    """Detection to pasting, through the pipeline."""
    pipeline = Pipeline.from_pretrained(str(folder), "cpu")
    key = Key(bytes(32))
    return lambda: pipeline.anonymize(picture, key)


def stage_detect(folder: Path, picture: torch.Tensor) -> Task:
    """Faces and their meshes."""
    finder = FaceFinder.from_bundle(folder)
    return lambda: finder.find(picture)


def stage_encode(folder: Path, picture: torch.Tensor) -> Task:
    """One aligned face."""
    encoder = load_network(folder, "encoder", ENCODERS)
    face = torch.nn.functional.interpolate(picture, size=256, mode="area")
    return lambda: encoder(face)


def stage_disentangle(folder: Path, picture: torch.Tensor) -> Task:
    """One W+ code."""
    cid = load_network(folder, "cid", CID)
    code = torch.randn(1, sum(cid.groups), 512)
    return lambda: cid(code)


def stage_anonymize(folder: Path, picture: torch.Tensor) -> Task:
    """One identity code and a mapped key."""
    kria = load_network(folder, "kria", KRIAS)
    code, key = torch.randn(1, _styles(folder), 512), torch.randn(1, 3, 512)
    return lambda: kria(code, key)


def stage_render(folder: Path, picture: torch.Tensor) -> Task:
    """MAAR and the generator."""
    generator, maar = load_generator(folder), load_network(folder, "maar", MAAR)
    code = torch.randn(1, generator.styles, 512)
    maps = {
        int(px): torch.randn(1, scale.get_parameter("0.weight").shape[1], int(px), int(px))
        for px, scale in maar.scales.items()
    }
    return lambda: generator(code, maar(maps))


STAGES = {
    "all": stage_all,
    "detect": stage_detect,
    "encode": stage_encode,
    "disentangle": stage_disentangle,
    "anonymize": stage_anonymize,
    "render": stage_render,
}


def _styles(folder: Path) -> int:
    """L of a bundle, from the head of a file: loading a network would count as memory."""
    with safe_open(next(folder.glob("encoder-00001-*")), framework="pt") as shard:
        return json.loads(shard.metadata()["dbaf"])["config"]["styles"]


@torch.no_grad()
def write_inputs(work: Path) -> dict[str, Path]:
    """A generated person, `picture.safetensors`, and the bundle folder of every family."""
    generator = load_generator(bundle_folder("mobile"))
    w = generator.mapping(torch.randn(1, generator.dim, generator=torch.Generator().manual_seed(PERSON)))
    person = generator(generator.widen(generator.mean_w + 0.7 * (w - generator.mean_w))).clamp(-1, 1)
    save_file({"picture": person.contiguous()}, work / "picture.safetensors")
    folders = {"mobile": bundle_folder("mobile")}
    for size in CHANNELS:
        folders[f"reference-{size}"] = work / f"reference-{size}"
        write_reference(folders[f"reference-{size}"], size)
    return folders


@torch.no_grad()
def measure(stage: str, folder: Path, work: Path) -> dict[str, float]:
    """CPU seconds to load and to run (median), and the peak of this process in MB."""
    torch.set_num_threads(1)
    picture = load_file(work / "picture.safetensors")["picture"]
    started = time.process_time()
    task = STAGES[stage](folder, picture)
    load = time.process_time() - started
    times = []
    for _ in range(1 + REPEATS):
        started = time.process_time()
        task()
        times.append(time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"load_cpu_s": round(load, 2), "run_cpu_s": round(statistics.median(times[1:]), 3), "peak_mb": round(peak)}


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a new process. On Linux its peak starts at that of the one that starts it: keep that small."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    machine = {"processor": platform.machine(), "torch": torch.__version__}
    families: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as work:
        for family, folder in apart(write_inputs, Path(work)).items():
            size = sum(shard.stat().st_size for shard in folder.glob("*.safetensors"))
            families[family] = {"weights_mb": round(size / 1e6)}
            for stage in STAGES:
                families[family][stage] = apart(measure, stage, folder, Path(work))
                print(f"{family:<15} {stage:<12} {families[family][stage]}", flush=True)
    args.out.write_text(json.dumps({"machine": machine, "families": families}, indent=1) + "\n")


if __name__ == "__main__":
    main()
