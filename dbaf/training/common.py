"""What every training script shares: settings, a resumable state, a log, compiled losses."""

import json
import math
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import nn

from dbaf.cid import CID
from dbaf.encoders.compact import CompactEncoder
from dbaf.errors import DbafError
from dbaf.gesture_code import GestureCode
from dbaf.images import to_pil
from dbaf.kria import KRIA
from dbaf.weights.bundle import load_network

LICENCE = "Apache-2.0; trained by this project on generated faces and on photographs published for research, see NOTICE"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Function = TypeVar("Function", bound=Callable[..., Any])


def settings(script: str) -> SimpleNamespace:
    """The section of `config.toml` that belongs to a training script."""
    with Path(__file__).with_name("config.toml").open("rb") as file:
        return SimpleNamespace(**tomllib.load(file)[script])


def compiled(function: Function) -> Function:
    """`torch.compile`, which makes a bfloat16 step on a CPU several times as fast; as it is without a C++ compiler."""
    return torch.compile(function) if torch.cuda.is_available() or shutil.which("g++") else function  # type: ignore[return-value]


def load_encoder(folder: Path) -> CompactEncoder:
    """The encoder of a bundle, frozen, for inference."""
    return load_network(folder, "encoder", CompactEncoder, DEVICE)


def load_cid(folder: Path) -> CID:
    """The CID of a bundle, frozen, for inference."""
    return load_network(folder, "cid", CID, DEVICE)


def load_gestures(folder: Path) -> GestureCode:
    """The gesture code of a bundle, frozen, for inference."""
    return load_network(folder, "gestures", GestureCode, DEVICE)


def load_kria(folder: Path) -> KRIA:
    """The KRIA of a bundle, frozen, for inference."""
    return load_network(folder, "kria", KRIA, DEVICE)


class Run:
    """A training run in a folder: checkpoint, loss log (JSON lines).

    Args:
        folder: made if missing; an earlier run in it is continued.
        parts: trained modules and optimisers by name.
        steps: how many there will be.
        every: seconds between checkpoints.

    Raises:
        DbafError: the earlier run is finished: its result must not replace what was trained since.
    """

    def __init__(
        self, folder: Path, parts: dict[str, nn.Module | torch.optim.Optimizer], steps: int, every: float = 120
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.parts, self.every = folder, parts, every
        self.step = 0
        self.saved = self.started = time.monotonic()
        path = folder / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True, map_location=DEVICE)
            self.step = state.pop("step")
            if self.step >= steps:
                raise DbafError(f"The run in {folder} is finished, at step {self.step}. Move it away to train anew.")
            for name, part in parts.items():
                part.load_state_dict(state[name])
            print(f"resumed at step {self.step}")

    def log(self, **losses: torch.Tensor | float) -> bool:
        """Count a step; append its losses to the log every 20 steps. When a checkpoint is due, write it: True.

        Raises:
            RuntimeError: a loss is not finite; nothing is written.
        """
        self.step += 1
        values = torch.stack([torch.as_tensor(value, device=DEVICE).detach().float() for value in losses.values()])
        for name, value in zip(losses, values.tolist(), strict=True):
            if not math.isfinite(value):
                raise RuntimeError(f"{name} is {value} at step {self.step}: the last checkpoint is kept.")
        if self.step % 20 == 0:
            row = {"step": self.step, "seconds": round(time.monotonic() - self.started, 1)}
            row |= {name: float(f"{value:.4g}") for name, value in zip(losses, values.tolist(), strict=True)}
            print(row, flush=True)
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        if time.monotonic() - self.saved <= self.every:
            return False
        self.save()
        return True

    def save(self) -> None:
        """Write the checkpoint, replacing the last one only when it is complete."""
        state: dict = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save(state | {"step": self.step}, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")
        self.saved = time.monotonic()

    def sheet(self, *rows: torch.Tensor) -> None:
        """Write `sheet.jpg`: rows of pictures [B, 3, S, S] in [-1, 1] below one another."""
        sheet = torch.cat([torch.cat(list(row.cpu().clamp(-1, 1)), 2) for row in rows], 1)[
            None
        ]  # [1, 3, rows * S, B * S]
        to_pil(sheet).save(self.folder / "sheet.jpg")
