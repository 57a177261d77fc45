"""`dbaf evaluate`: a folder of photos in, a report out."""

from collections.abc import Callable
from pathlib import Path

import typer

from dbaf.errors import DbafError, PictureError
from dbaf.evaluation.cache import Cache
from dbaf.evaluation.calibration import MIN_IMPOSTORS, MIN_PEOPLE, large_enough
from dbaf.evaluation.dataset import choose, photos_in
from dbaf.evaluation.recogniser import load_recogniser, stored_calibration
from dbaf.evaluation.report import check_packages, lines, report_json, write_html, write_json
from dbaf.evaluation.run import Setup, measure
from dbaf.keys import Key
from dbaf.progress import progress_bar


def run(
    data: Path,
    out: Path,
    key: Callable[[], Key],
    limit: int | None,
    peers: bool,
    refine_steps: int,
    keep_looks: bool,
    recogniser: Path | None,
    jobs: int,
    model: str,
    device: str,
) -> None:
    """Evaluate, write `report.json` and `report.html` into `out`, print a line a metric.

    Raises:
        DbafError: packages are missing, the key does not open, there is no photo with a face, or the recogniser has no
            threshold; all but the last two before anything is computed.
    """
    check_packages()
    key().wipe()
    photos = photos_in(data, out)
    chosen = choose(photos, limit)
    judge = load_recogniser(recogniser)
    if stored_calibration(judge) is None and not large_enough([photo.person for photo in photos]):
        raise DbafError(
            f"The recogniser {judge.name} has no threshold, and {data} is too small to take one: it needs {MIN_PEOPLE} "
            f"people with two photos each and {MIN_IMPOSTORS} pairs of different people."
        )
    setup = Setup(key, model, device, recogniser, peers, refine_steps, keep_looks)
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"Cannot use the folder {out}: {error.strerror}.") from error
    cache = Cache(out / "cache")
    name = data.resolve().name
    with progress_bar("evaluate", len(photos)) as (update, _):
        measured = measure(
            name,
            photos,
            chosen,
            setup,
            cache,
            jobs,
            lambda done, total, label: update(done, total, f"evaluate {label}"),
        )
    report = report_json(name, measured, setup)
    write_json(out / "report.json", report)
    write_html(out / "report.html", report, measured)
    for problem in measured.problems:
        typer.echo(f"Left out: {problem}", err=True)
    for line in lines(report):
        typer.echo(line)
    typer.echo(
        f"Wrote {out / 'report.html'} and {out / 'report.json'}. Keep {out} private: it shows and describes faces."
    )
