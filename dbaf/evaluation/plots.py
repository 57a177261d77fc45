"""Distributions as inline SVG, by matplotlib (the extra `evaluate`)."""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from dbaf.evaluation.run import Measured
from dbaf.evaluation.summary import Table
from dbaf.evaluation.verification import all_pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 60
# told apart with every kind of colour vision: Okabe & Ito, "Color universal design", 2008
COLOURS = {
    "genuine": "#009E73",
    "impostor": "#555555",
    "anonymized": "#D55E00",
    "recovered": "#0072B2",
    "wrong key": "#CC79A7",
}
MORE_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def distances(measured: Measured) -> str:
    """Distances of the recogniser: pairs of real photos, and every original with what became of it. Inline SVG."""
    table = _table(measured, "dbaf")
    pairs = all_pairs(measured.embeddings, [photo.person for photo in measured.gallery])
    values = {
        "genuine": pairs.distance[pairs.genuine],
        "impostor": pairs.distance[~pairs.genuine],
        "anonymized": table.distances("anonymized")[0],
        "recovered": table.distances("recovered")[0],
        "wrong key": table.distances("wrong")[0],
    }
    names = {
        "genuine": "genuine: two photos of one person",
        "impostor": "impostor: photos of two people",
        "anonymized": "original and pseudonymised",
        "recovered": "original and recovered",
        "wrong key": "original and recovered with a wrong key",
    }
    shown = [(f"{names[name]} (n = {len(v):,})", v, COLOURS[name]) for name, v in values.items() if len(v)]
    return _histogram(shown, measured, "distance between embeddings")


def methods(measured: Measured) -> str:
    """Distances between originals and outputs of every method. Inline SVG."""
    values = [(name, _table(measured, name).distances("anonymized")[0]) for name in measured.records]
    coloured = zip(values, MORE_COLOURS, strict=False)
    shown = [(f"{name} (n = {len(v)})", v, colour) for (name, v), colour in coloured if len(v)]
    return _histogram(shown, measured, "distance between the embeddings of original and output")


def _table(measured: Measured, method: str) -> Table:
    rows = [(p, r) for p, r in zip(measured.chosen, measured.records[method], strict=True) if r and r["faces"]]
    return Table([photo for photo, _ in rows], [record for _, record in rows])


def _histogram(shown: Sequence[tuple[str, torch.Tensor, str]], measured: Measured, axis: str) -> str:
    """One curve a (name, distances, colour); empty if there is none."""
    from matplotlib.figure import Figure

    if not shown:
        return ""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes: Any = figure.subplots()
    high = max(float(values.max()) for _, values, _ in shown) * 1.02 or 1.0
    edges = torch.linspace(0, high, BINS + 1, dtype=torch.float64)
    for name, values, colour in shown:
        share = torch.histogram(values.double(), edges).hist / len(values)
        axes.stairs(share.numpy(), edges.numpy(), color=colour, linewidth=1.8, label=name)
        axes.stairs(share.numpy(), edges.numpy(), color=colour, alpha=0.08, fill=True)
    threshold = measured.calibration.threshold.value
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1)
    top = axes.get_ylim()[1]
    axes.annotate(f"threshold {threshold:.3f} ", (threshold, top * 0.97), ha="right", va="top", fontsize=9)
    axes.set(xlabel=f"{axis}: the same person to the left", ylabel="share of pairs", xlim=(0, high), ylim=(0, top))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return _svg(figure)


def _svg(figure: "Figure") -> str:
    """The `<svg>` element alone: in a page it needs no declaration and no namespace, and so no address of any kind."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dbaf", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", svg)
    return svg.replace("<svg", '<svg role="img"', 1)
