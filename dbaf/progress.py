"""A progress bar on stderr, shown on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def progress_bar(
    description: str, total: int | None
) -> Iterator[tuple[Callable[[int, int | None, str], None], "Console"]]:
    """Yields a function that takes (done, total, description), and the console to print other lines on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    # File names are data, not markup
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        row = bar.add_task(description, total=total)
        yield lambda done, all_, text: bar.update(row, completed=done, total=all_, description=text), console
