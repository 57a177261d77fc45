"""`report.json` and the self-contained page `report.html`, and the lines for the terminal."""

import importlib.util
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dbaf.errors import DbafError
from dbaf.evaluation import plots
from dbaf.evaluation.methods import GROUPS
from dbaf.evaluation.peers import DEFACE_MISSING, deface_version
from dbaf.evaluation.recogniser import load_recogniser
from dbaf.evaluation.run import Measured, Setup
from dbaf.evaluation.summary import calibration_json, summarise
from dbaf.evaluation.verification import FAR
from dbaf.files import replacing
from dbaf.keys import DRAWS
from dbaf.weights.bundle import bundle_digest

TEMPLATE = Path(__file__).with_name("report.html.j2")
WORST = 6


@dataclass(frozen=True)
class Metric:
    """How a figure is shown.

    Attributes:
        section, name: where it stands in the report.
        title: in words.
        form: `%`, or a unit after the number.
        better: which direction is better, an arrow, or nothing.
        column: its heading in the table of the methods, if it stands there.
    """

    section: str
    name: str
    title: str
    form: str = "%"
    better: str = ""
    column: str = ""


P, U = "privacy", "utility"
METRICS = (
    Metric(P, "leak", "leak: output passes as the original's person", better="↓", column="leak"),
    Metric(P, "leak_linked", "  the same under a linked key", better="↓"),
    Metric(P, "impostors_originals", "  beside it: two different people of these photos pass as one"),
    Metric(P, "leak_to_another_photo", "leak: output passes as the person on another photo", better="↓"),
    Metric(P, "reid_at_1", "re-ID@1: nearest other photo is of the same person", better="↓", column="re-ID@1"),
    Metric(P, "reid_at_1_linked", "  the same under a linked key", better="↓"),
    Metric(P, "reid_at_1_originals", "  beside it: re-ID@1 of the originals"),
    Metric(P, "recovered", "recovery with the key, through the PNG", better="↑", column="recovery"),
    Metric(P, "recovered_jpeg90", "recovery with the key, through JPEG 90", better="↑"),
    Metric(P, "recovered_looks", "  without imprints, by KRIA from the looks", better="↑"),
    Metric(P, "recovered_looks_jpeg90", "  the same, through JPEG 90", better="↑"),
    Metric(P, "wrong_key", "recovery with a wrong key", better="↓"),
    Metric(P, "diversity", "diversity: outputs under two keys pass as one person", better="↓"),
    Metric(P, "reconstructed", "reconstruction: identity unchanged, rendered again", better="↑"),
    Metric(P, "same_person_same_key", "linkage: a person's outputs under one key pass as one", better="↑"),
    Metric(P, "same_person_two_keys", "  under two keys pass as one", better="↓"),
    Metric(P, "strangers_two_keys", "outputs of two people under two keys pass as one", better="↓"),
    Metric(P, "impostors_outputs_one_key", "outputs of two people under one key pass as one", better="↓"),
    Metric(P, "distance_anonymized", "distance, original to output", "", "↑"),
    Metric(P, "distance_linked", "  under a linked key", "", "↑"),
    Metric(P, "distance_recovered", "distance, original to recovered", "", "↓"),
    Metric(P, "distance_recovered_looks", "  without imprints", "", "↓"),
    Metric(P, "distance_wrong", "distance, original to recovered with a wrong key", "", "↑"),
    Metric(P, "distance_reconstructed", "distance, original to reconstructed", "", "↓"),
    Metric(U, "face_found", "detection: photos with a face"),
    Metric(U, "face_found_in_output", "detection: a face found in the output", better="↑", column="face found"),
    Metric(U, "landmark_error_iod", "landmark error / inter-ocular distance", "", "↓", "landmark error"),
    Metric(U, "landmark_error_iod_recovered", "  of the recovered picture", "", "↓"),
    Metric(U, "yaw_error_degrees", "yaw error, median", "°", "↓", "yaw error"),
    Metric(U, "pitch_error_degrees", "pitch error, median", "°", "↓"),
    Metric(U, "roll_error_degrees", "roll error, median", "°", "↓"),
    Metric(U, "yaw_error_degrees_recovered", "  yaw error of the recovered picture", "°", "↓"),
    Metric(U, "pitch_error_degrees_recovered", "  pitch error of the recovered picture", "°", "↓"),
    Metric(U, "roll_error_degrees_recovered", "  roll error of the recovered picture", "°", "↓"),
    Metric(U, "expression_agreement", "expression agreement", better="↑", column="expression"),
    Metric(U, "expression_agreement_recovered", "  of the recovered picture", better="↑"),
    Metric(U, "background_untouched", "background untouched, bit for bit", better="↑", column="background untouched"),
    Metric(U, "background_psnr_db", "background PSNR where touched, median", " dB", "↑"),
    Metric(U, "perceptual_distance", "MobileNetV2-feature distance", "", "↓", "feature distance"),
    Metric(U, "perceptual_distance_recovered", "  of the recovered picture", "", "↓"),
)


def check_packages() -> None:
    """Raises DbafError if a package that the page needs is missing: before hours of computing, not after."""
    missing = [name for name in ("matplotlib", "jinja2") if importlib.util.find_spec(name) is None]
    if missing:
        raise DbafError(f"The report needs {' and '.join(missing)}. Run: pip install {' '.join(missing)}")


def report_json(data: str, measured: Measured, setup: Setup) -> dict[str, Any]:
    """All figures of one data set; JSON-able, without embeddings, pictures or anything of the key."""
    return heading(setup) | {
        "data": data,
        "recogniser": recogniser_json(measured, setup),
        "methods": methods_json(measured, setup),
        "problems": measured.problems,
    }


def heading(setup: Setup) -> dict[str, Any]:
    """What was measured on what."""
    cuda = setup.device != "cpu" and torch.cuda.is_available()
    return {
        "model": {"name": setup.model, "manifest_sha256": bundle_digest(setup.model)},
        "refine_steps": setup.refine_steps,
        "looks": "keep" if setup.keep_looks else "free",
        "machine": {
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "cpu": platform.machine(),
            "torch": torch.__version__,
        },
        "keys": {
            "groups": GROUPS,
            "nonces_to_choose_from": DRAWS,
            "right": "the given key; of a person's nonces the one that is chosen",
            "linked": "public keys by person",
            "second": "the same key; one of the next group's nonces, chosen",
            "wrong": "a fixed other key, the same nonce",
        },
        "intervals": "95 % bootstrap over people",
    }


def recogniser_json(measured: Measured, setup: Setup) -> dict[str, Any]:
    """Who judged privacy, and how well that judge sees."""
    recogniser = load_recogniser(setup.recogniser)
    form = {"euclidean": "Euclidean distance", "cosine": "Euclidean distance of embeddings of length 1"}
    return {"name": recogniser.name, "compared_by": form[recogniser.distance], "far": FAR} | calibration_json(
        measured.calibration
    )


def methods_json(measured: Measured, setup: Setup) -> dict[str, Any]:
    """Figures by method; a peer that is not installed says so."""
    figures = summarise(measured)
    if setup.peers:
        ran = figures.get("deface")
        figures["deface"] = {"missing": DEFACE_MISSING} if ran is None else {"version": deface_version()} | ran
    return figures


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write JSON; the file appears complete or not at all."""
    _write(path, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def write_html(path: Path, report: dict[str, Any], measured: Measured) -> None:
    """Write the page: everything that it shows is in it."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    withheld = report["recogniser"]["withheld"]
    several = sum("missing" not in figures for figures in report["methods"].values()) > 1
    page = template.render(
        report=report,
        metrics=METRICS,
        table=[metric for metric in METRICS if metric.column],
        show=show,
        interval=interval,
        distances=None if withheld else Markup(plots.distances(measured)),
        by_method=Markup(plots.methods(measured)) if several and not withheld else None,
        examples=examples(measured),
        worst=worst(measured, blind=bool(withheld)),
    )
    _write(path, page)


def lines(report: dict[str, Any]) -> list[str]:
    """One line a metric of ours, for the terminal."""
    recogniser, figures = report["recogniser"], report["methods"]["dbaf"]
    tar = recogniser["tar_on_real_pairs"]
    judged = f"{recogniser['name']}: TAR {show(tar, '%')} {interval(tar, '%')} at FAR {recogniser['far']:g}"
    shown = [f"{judged}, threshold {recogniser['threshold']['value']:.3f}, taken on {recogniser['taken_on']}"]
    if recogniser["withheld"]:
        shown.append(f"PRIVACY WITHHELD. {recogniser['withheld']}")
    for metric in METRICS:
        figure = (figures[metric.section] or {}).get(metric.name)
        if figure is not None and figure["n"]:
            value = f"{show(figure, metric.form)} {interval(figure, metric.form)}"
            shown.append(f"{metric.title:<62} {value:<24} n = {figure['n']}")
    return shown + [f"{name}: {_in_short(other)}" for name, other in report["methods"].items() if name != "dbaf"]


def _in_short(figures: dict[str, Any]) -> str:
    """A peer's figures of the table of methods, in one line."""
    if "missing" in figures:
        return figures["missing"]
    columns = [(m, (figures[m.section] or {}).get(m.name)) for m in METRICS if m.column]
    return ", ".join(f"{metric.column} {show(figure, metric.form)}" for metric, figure in columns if figure)


def show(figure: dict[str, Any] | None, form: str) -> str:
    """A figure's value in its unit; a dash if there is none."""
    if figure is None or figure["value"] is None:
        return "–"
    return _number(figure["value"], form)


def interval(figure: dict[str, Any] | None, form: str) -> str:
    """A figure's 95 % interval in its unit."""
    if figure is None or figure["low"] is None:
        return ""
    return f"[{_number(figure['low'], form)}, {_number(figure['high'], form)}]"


def _number(value: float, form: str) -> str:
    if form == "%":
        return f"{value:.1%}"
    return f"{value:.3f}" if form == "" else f"{value:.1f}{form}"


def examples(measured: Measured) -> list[tuple[str, str]]:
    """The first photo that all methods worked on: names and thumbnails, the original first."""
    for records in zip(*measured.records.values(), strict=True):
        if all(record and record["faces"] for record in records):
            named = zip(measured.records, records, strict=True)
            outputs = [(method, record["thumbnail"]["anonymized"]) for method, record in named if record]
            return [("original", records[0]["thumbnail"]["original"]), *outputs]
    return []


def worst(measured: Measured, blind: bool) -> list[dict[str, Any]]:
    """The cases to look at first: title, what is told of each, and thumbnails. `blind`: none by the recogniser."""
    rows = [(p, r) for p, r in zip(measured.chosen, measured.records["dbaf"], strict=True) if r and r["faces"]]

    def distance(record: dict[str, Any], name: str) -> float:
        one, other = (torch.tensor(record["embedding"][n]).double() for n in ("original", name))
        return float((one - other).norm())

    def landmarks(record: dict[str, Any]) -> float | None:
        error: float | None = record["utility"]["anonymized"]["landmarks"]
        return error

    kinds: Sequence[tuple[str, str, Callable[[dict[str, Any]], float | None], bool]] = (
        ("Nearest to the original: the highest risk", "distance", lambda r: distance(r, "anonymized"), False),
        ("Worst recoveries", "distance", lambda r: distance(r, "recovered"), True),
        ("Largest landmark errors", "of the inter-ocular distance", landmarks, True),
    )
    sections = []
    for title, unit, get, descending in kinds[2:] if blind else kinds:
        valued = [(value, photo, record) for photo, record in rows if (value := get(record)) is not None]
        valued.sort(key=lambda row: row[0], reverse=descending)
        cases = [
            {"label": photo.label, "value": f"{value:.3f}", "thumbnails": record["thumbnail"]}
            for value, photo, record in valued[:WORST]
        ]
        sections.append({"title": title, "unit": unit, "cases": cases})
    return sections


def _write(path: Path, text: str) -> None:
    with replacing(path, mode=0o600) as file:  # it may show faces
        file.write(text.encode())
