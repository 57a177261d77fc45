#!/usr/bin/env python3
"""How long ComfyUI waits for this pack when it starts, apart from what it has loaded itself.

    COMFYUI_PYTHON benchmarks/import_time.py COMFYUI_DIR

Prints milliseconds: importing what the host has anyway (torch, PIL, comfy), then the pack, in a fresh interpreter each.
"""

import subprocess
import sys
from pathlib import Path

PACK = Path(__file__).resolve().parents[1]
RUNS = 5
LOAD = f"""
import sys, time
sys.argv = ["main.py", "--cpu"]
start = time.perf_counter()
import comfy.options
comfy.options.enable_args_parsing()
import torch, numpy, PIL.Image, einops, safetensors.torch, nodes, comfy.model_patcher
from comfy_api.latest import io
host = time.perf_counter()
import importlib.util
place = {str(PACK)!r}
spec = importlib.util.spec_from_file_location("pack", place + "/__init__.py", submodule_search_locations=[place])
module = importlib.util.module_from_spec(spec)
sys.modules["pack"] = module
spec.loader.exec_module(module)
print(1000 * (host - start), 1000 * (time.perf_counter() - host))
"""


def main(comfyui: str) -> None:
    """Print the median of several starts."""
    times = []
    for _ in range(RUNS):
        run = subprocess.run([sys.executable, "-c", LOAD], cwd=comfyui, capture_output=True, text=True, check=True)
        times.append([float(value) for value in run.stdout.split()[-2:]])
    host, pack = (sorted(values)[RUNS // 2] for values in zip(*times, strict=True))
    print(f"host {host:.0f} ms, pack {pack:.0f} ms (median of {RUNS})")


if __name__ == "__main__":
    main(sys.argv[1])
