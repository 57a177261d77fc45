"""What every training script shares: a resumable state, a log, seeds."""

import json
import time
from pathlib import Path

import torch
from torch import nn


class Run:
    """A training run in a folder: checkpoint, loss log (JSON lines).

    Args:
        folder: made if missing; an earlier run in it is continued.
        parts: trained modules and optimisers by name.
        every: seconds between checkpoints.
    """

    def __init__(self, folder: Path, parts: dict[str, nn.Module | torch.optim.Optimizer], every: float = 120) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.parts, self.every = folder, parts, every
        self.step = 0
        self.saved = self.started = time.monotonic()
        path = folder / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.step = state.pop("step")
            for name, part in parts.items():
                part.load_state_dict(state[name])
            print(f"resumed at step {self.step}")

    def log(self, **losses: torch.Tensor | float) -> None:
        """Count a step; append its losses to the log every 20 steps, write a checkpoint when it is due."""
        self.step += 1
        if self.step % 20 == 0:
            row = {"step": self.step, "seconds": round(time.monotonic() - self.started, 1)}
            row |= {name: round(float(value), 4) for name, value in losses.items()}
            print(row, flush=True)
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        if time.monotonic() - self.saved > self.every:
            self.save()

    def save(self) -> None:
        """Write the checkpoint, replacing the last one only when it is complete."""
        state: dict = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save(state | {"step": self.step}, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")
        self.saved = time.monotonic()
