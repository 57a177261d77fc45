"""What the picture commands share: many pictures, a bar, a report, an exit code."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dbaf.cli.options import errors, same_file

if TYPE_CHECKING:
    from dbaf.batch import Outcome, Processed, Task
    from dbaf.images import Picture


def run_batch(
    command: str,
    inputs: list[Path],
    out: Path,
    process: Callable[["Picture", Path], "Processed"],
    report: Path | None,
    copy_faceless: bool,
    overwrite: bool,
    skip_existing: bool,
) -> None:
    """Plan, run with progress, report; raises typer.Exit unless all went well."""
    with errors():
        from dbaf.batch import plan, run
        from dbaf.files import replacing

        if report is not None and os.path.lexists(report) and not overwrite:
            raise typer.BadParameter(f"{report} exists; --overwrite replaces it.", param_hint="--json")
        tasks = plan(inputs, out)
        if not tasks:
            raise typer.BadParameter(f"No pictures in {', '.join(map(str, inputs))}.", param_hint="IN...")
        if report is not None and any(same_file(report, task.source) for task in tasks):
            raise typer.BadParameter(f"{report} is an input, and inputs are never touched.", param_hint="--json")

    start = time.perf_counter()
    outcomes: list[Outcome] = []
    stopped = False
    with errors():
        try:
            for outcome in _progress(command, tasks, run(tasks, process, overwrite, copy_faceless, skip_existing)):
                outcomes.append(outcome)
        except KeyboardInterrupt:
            stopped = True
    count = Counter(outcome.status for outcome in outcomes)
    line = (
        f"{count['written']} written, {count['copied']} copied, {count['faceless']} without a face, "
        f"{count['failed']} failed"
    )
    if skip_existing:
        line += f", {count['there']} there before"
    stop = f"; stopped, {len(tasks) - len(outcomes)} not done" if stopped else ""
    typer.echo(f"{command}: {line} in {time.perf_counter() - start:.1f} s{stop}")
    with errors():
        if report is not None:
            entries = {"version": 1, "command": command, "pictures": [o.asdict() for o in outcomes]}
            with replacing(report) as file:
                file.write((json.dumps(entries, indent=1) + "\n").encode())
    if stopped:
        raise typer.Exit(130)
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


def _progress(command: str, tasks: list["Task"], outcomes: Iterator["Outcome"]) -> Iterator["Outcome"]:
    """Show a bar (on a terminal) and a line for every picture that there is something to say about, on stderr."""
    from dbaf.progress import progress_bar

    with progress_bar(f"{command} {tasks[0].source.name}", len(tasks)) as (update, console):
        for index, outcome in enumerate(outcomes, 1):
            if outcome.message:
                text = f"{outcome.input}: {outcome.status}: {outcome.message}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)
            following = f"{command} {tasks[index].source.name}" if index < len(tasks) else command
            update(index, len(tasks), following)
            yield outcome
