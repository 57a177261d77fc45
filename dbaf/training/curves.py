"""Plot the losses that training runs have logged, one panel a loss.

    python -m dbaf.training.curves --out docs/training.png encoder finish disentangle maar

Needs matplotlib, which the extra `train` brings.
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot  # after the choice of a backend without a window

SMOOTH = 9  # logged steps in a running mean
COLUMNS = 4


def read_log(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Loss name -> steps and values of a `log.jsonl`; of a step logged twice, after a resume, the last counts."""
    rows = {row["step"]: row for row in map(json.loads, path.read_text().splitlines())}
    names = dict.fromkeys(name for row in rows.values() for name in row if name not in ("step", "seconds", "rate"))
    return {
        name: (
            [step for step in sorted(rows) if name in rows[step]],
            [rows[step][name] for step in sorted(rows) if name in rows[step]],
        )
        for name in names
    }


def smooth(values: list[float]) -> np.ndarray:
    """Running mean over `SMOOTH` values, over fewer at the ends."""
    window = np.ones(min(SMOOTH, len(values)))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="RUN", help="names of runs")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    curves = [
        (f"{name}: {loss}", *points)
        for name in args.names
        for loss, points in read_log(args.runs / name / "log.jsonl").items()
    ]
    rows = -(-len(curves) // COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(3 * COLUMNS, 2 * rows), squeeze=False, layout="constrained")
    for axis, (title, steps, values) in zip(axes.flat, curves, strict=False):
        axis.plot(steps, values, color="#bbc", linewidth=0.7)
        axis.plot(steps, smooth(values), color="#235", linewidth=1.3)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    figure.savefig(args.out, metadata={"Date": None} if args.out.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
