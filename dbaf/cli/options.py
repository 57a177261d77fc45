"""What the commands share: their options, the key that they name, and errors as one line on stderr."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dbaf.errors import DbafError, LockedKeyError, SecretError
from dbaf.keys import Key, passphrase_from_env

# No rich tracebacks: they can show local variables, and some of those are secrets
QUIET: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}


class Device(StrEnum):
    """Where the networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class LinkageChoice(StrEnum):
    """`dbaf.keys.Linkage` for the command line."""

    linked = "linked"
    unlinked = "unlinked"
    irreversible = "irreversible"


class LooksChoice(StrEnum):
    """What of the looks a new face keeps."""

    keep = "keep"
    free = "free"


class SealChoice(StrEnum):
    """Where the sealed original goes."""

    none = "none"
    embed = "embed"
    sidecar = "sidecar"


Inputs = Annotated[list[Path], typer.Argument(metavar="IN", exists=True, help="Pictures, or folders of them.")]
Out = Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder for the PNG files, made if missing.")]
KeyFile = Annotated[Path | None, typer.Option(help="Key file, see 'dbaf key new'.")]
KeyEnv = Annotated[str | None, typer.Option(metavar="VAR", help="Name of a variable that holds a key file's text.")]
PassEnv = Annotated[str | None, typer.Option(metavar="VAR", help="Name of a variable that holds the passphrase.")]
ModelName = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME", help="'mobile', a bundle folder, or owner/name[@revision] on the Hugging Face Hub."
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute.")]
Report = Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write a report of every picture here.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs (never an input).")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave pictures whose output is there: go on after an interruption.")
]
REFINE_HELP = "Follow each face more closely: about .3 s a step and face; 40 is a good number."
RefineSteps = Annotated[int, typer.Option(min=0, help=REFINE_HELP)]
Looks = Annotated[
    LooksChoice,
    typer.Option(
        help="keep: new faces of about the same perceived sex, age and origin. free: of any, as the key says."
    ),
]
MinFace = Annotated[int, typer.Option(min=16, help="Faces smaller than this many pixels are left alone.")]
CopyFaceless = Annotated[bool, typer.Option("--copy-faceless", help="Copy the pixels of pictures without a face.")]


def open_key(file: Path | None, variable: str | None, passphrase_variable: str | None) -> Key:
    """The key that the options name.

    Raises:
        BadParameter: none or both of the two sources are given.
        SecretError: it does not open.
    """
    if (file is None) == (variable is None):
        raise typer.BadParameter("Give exactly one of the two.", param_hint="--key-file / --key-env")
    passphrase = passphrase_from_env(passphrase_variable) if passphrase_variable is not None else None
    if file is not None:
        return Key.from_file(file, passphrase)
    assert variable is not None
    return Key.from_env(variable, passphrase)


def open_other(file: Path, passphrase_variable: str | None, remedy: str) -> Key:
    """A second key file beside that of `open_key`, with a passphrase of its own.

    Args:
        file: of the key.
        passphrase_variable: name of the variable that holds its passphrase.
        remedy: what the error says to do if it needs one and there is none.

    Raises:
        SecretError: it does not open.
    """
    passphrase = passphrase_from_env(passphrase_variable) if passphrase_variable is not None else None
    try:
        return Key.from_file(file, passphrase)
    except LockedKeyError:
        raise SecretError(f"The key file {file} is protected by a passphrase. {remedy}") from None


def check_device(device: Device) -> None:
    """BadParameter if there is no such device."""
    import torch

    if device == Device.cuda and not torch.cuda.is_available():
        raise typer.BadParameter("This machine has no CUDA device for torch; use --device cpu.", param_hint="--device")


def open_model(name: str) -> str:
    """The name of a model that is here now: one of the Hub is downloaded if need be, and named by its commit.

    Raises:
        WeightsError: there is none, or it cannot be downloaded.
    """
    from dbaf.progress import download_bar
    from dbaf.weights.bundle import bundle_folder
    from dbaf.weights.hub import name_of

    with download_bar(name) as progress:
        folder = bundle_folder(name, progress=progress)
    return str(name_of(folder) or name)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one existing file."""
    return one.exists() and other.exists() and os.path.samefile(one, other)


@contextmanager
def errors() -> Iterator[None]:
    """Errors for people become one line on stderr: exit 2 if the key or the usage is wrong, else 1."""
    try:
        yield
    except DbafError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, SecretError) else 1) from None
