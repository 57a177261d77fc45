"""Progress bars on stderr, shown on a terminal only."""

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


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that takes (bytes done, bytes in all); without a call there is no bar."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

        def show(done: int, total: int) -> None:
            row = bar.task_ids[0] if bar.task_ids else bar.add_task(f"download {name}")
            bar.update(row, completed=done, total=total)

        yield show
