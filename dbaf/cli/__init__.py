"""The command line: `python -m dbaf COMMAND`, or `dbaf COMMAND`.

Exit codes: 0 all well, 1 some pictures failed, 2 wrong usage (also a key that does not open), 130 stopped by Ctrl-C.
torch and the networks are imported by the commands that need them, so that `--help` is quick.
"""

import typer

from dbaf.cli import inspect, keys, measure, pictures, weights
from dbaf.cli.options import QUIET
from dbaf.process import keep_freed_memory, share_cores

app = typer.Typer(help="Give the faces in pictures another identity under a secret key, and back.", **QUIET)
app.command()(pictures.anonymize)
app.command()(pictures.recover)
app.command()(pictures.reconstruct)
app.command()(inspect.inspect)
app.command()(measure.demo)
app.command()(measure.evaluate)
app.add_typer(keys.app, name="key")
app.add_typer(weights.app, name="weights")


def main() -> None:
    """Entry point of the program."""
    share_cores()
    keep_freed_memory()
    app()
