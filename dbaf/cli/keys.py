"""`dbaf key`: make keys, tell them apart, and change who can open sealed pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dbaf.cli.options import QUIET, KeyEnv, PassEnv, errors, open_key, open_other
from dbaf.errors import DbafError, PictureError
from dbaf.keys import new_key_file, passphrase_from_env

app = typer.Typer(help="Secret keys.", **QUIET)

SecondPassEnv = Annotated[
    str | None, typer.Option(metavar="VAR", help="Name of a variable that holds the second key's passphrase.")
]
Pictures = Annotated[list[Path], typer.Argument(metavar="PICTURE", exists=True, dir_okay=False)]

GIVE_SECOND = "Give it with --second-passphrase-env VARIABLE."


@app.command("new")
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE")],
    passphrase_env: PassEnv = None,
    weak: Annotated[bool, typer.Option("--weak", help="Take a passphrase that is easy to guess.")] = False,
) -> None:
    """Write a new key file that only you can read; never overwrites.

    With --passphrase-env the file opens only with that passphrase.
    """
    with errors():
        new_key_file(path, passphrase_from_env(passphrase_env) if passphrase_env is not None else None, weak)
    typer.echo(f"Wrote {path}. Keep a copy in a safe place: without it no face comes back.")


@app.command("show")
def show(
    path: Annotated[Path | None, typer.Argument(metavar="FILE")] = None,
    key_env: KeyEnv = None,
    passphrase_env: PassEnv = None,
) -> None:
    """Check that a key opens, and show its fingerprint, which tells keys apart and is no secret."""
    with errors():
        typer.echo(f"fingerprint {open_key(path, key_env, passphrase_env).check}")


@app.command("wrap")
def wrap(
    key_file: Annotated[Path, typer.Argument(metavar="KEY")],
    other: Annotated[Path, typer.Argument(metavar="OTHER")],
    pictures: Pictures,
    passphrase_env: PassEnv = None,
    second_passphrase_env: SecondPassEnv = None,
) -> None:
    """Let a second key open sealed pictures too. The pixels stay as they are."""
    from dbaf.capsule import rewrap

    with errors():
        key, second = open_key(key_file, None, passphrase_env), open_other(other, second_passphrase_env, GIVE_SECOND)
    _rewrite(pictures, lambda capsule: rewrap(capsule, key, add=[second]))


@app.command("rotate")
def rotate(
    old: Annotated[Path, typer.Argument(metavar="OLD")],
    new_key: Annotated[Path, typer.Argument(metavar="NEW")],
    pictures: Pictures,
    passphrase_env: PassEnv = None,
    second_passphrase_env: SecondPassEnv = None,
) -> None:
    """Seal pictures under a new key in place of an old one. The pixels stay as they are.

    Copies made before still open with the old key. Recovery from the picture alone still needs the old key.
    """
    from dbaf.capsule import rewrap

    with errors():
        key, fresh = open_key(old, None, passphrase_env), open_other(new_key, second_passphrase_env, GIVE_SECOND)
    _rewrite(pictures, lambda capsule: rewrap(capsule, key, add=[fresh], remove=[key]))


def _rewrite(pictures: list[Path], change: Callable[[bytes], bytes]) -> None:
    """Replace the capsules of pictures, in the file or beside it; a failure is told and the rest goes on."""
    from dbaf.batch import find_capsule, sidecar_of
    from dbaf.capsule import embed
    from dbaf.files import replacing

    failed = 0
    for path in pictures:
        try:
            sealed = find_capsule(path)
            if sealed is None:
                raise PictureError(f"There is no capsule in it, nor in {sidecar_of(path).name}.")
            capsule, place = sealed
            changed = change(capsule)
            data = embed(path.read_bytes(), changed) if place == path else changed
            with replacing(place, mode=place.stat().st_mode & 0o777) as file:
                file.write(data)
        except DbafError as error:
            typer.echo(f"Error: {path}: {error}", err=True)
            failed += 1
    typer.echo(f"{len(pictures) - failed} changed, {failed} failed")
    if failed:
        raise typer.Exit(1)
