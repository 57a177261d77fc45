"""`dbaf demo` and `dbaf evaluate`: what it does, to look at and in numbers."""

import functools
import importlib
from pathlib import Path
from typing import Annotated

import typer

from dbaf.cli.options import (
    Device,
    DeviceOption,
    KeyEnv,
    KeyFile,
    Looks,
    LooksChoice,
    ModelName,
    PassEnv,
    RefineSteps,
    check_device,
    errors,
    open_key,
    open_model,
)


def demo(out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder.")] = Path("demo")) -> None:
    """Render a group picture of generated people, anonymize it, recover it with the right and with a wrong key."""
    with errors():
        importlib.import_module("dbaf.demo").run(out)


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATASET", exists=True, file_okay=False, help="Folder of photos; sub-folder = person."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder for report.html and report.json.")],
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase_env: PassEnv = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only about so many photos, two a person; the others still serve for comparison."),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also measure blur, pixelation, a black box and the tool 'deface'.")
    ] = False,
    recogniser: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Python file with another face recogniser, see dbaf.evaluation.recogniser. It runs as you.",
        ),
    ] = None,
    refine_steps: RefineSteps = 0,
    looks: Looks = LooksChoice.keep,
    jobs: Annotated[int, typer.Option(min=1, help="Processes. Each loads the networks.")] = 1,
    model: ModelName = "mobile",
    device: DeviceOption = Device.auto,
) -> None:
    """Measure on your photos: privacy, recovery, what is left of the pictures, speed; every figure with its interval.

    A person's photos lie in a sub-folder; a photo in DATASET itself is a person of its own. A run that was stopped goes
    on where it was. OUT/cache then holds face embeddings and small pictures of faces, and report.html shows some of
    them: that is biometric data of the people in DATASET. Keep OUT private.
    """
    from dbaf.evaluation.command import run

    if (key_file is None) == (key_env is None):  # before any network is loaded
        raise typer.BadParameter("Give exactly one of the two.", param_hint="--key-file / --key-env")
    with errors():
        check_device(device)
        model = open_model(model)
        key = functools.partial(open_key, key_file, key_env, passphrase_env)
        try:
            keep_looks = looks == LooksChoice.keep
            run(data, out, key, limit, peers, refine_steps, keep_looks, recogniser, jobs, model, device.value)
        except KeyboardInterrupt:
            typer.echo("evaluate: stopped. Give the same command again to go on.")
            raise typer.Exit(130) from None
