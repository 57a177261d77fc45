"""`dbaf weights`: what is here, what is on the Hub, and converting what others published."""

import importlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dbaf.cli.options import QUIET, errors

app = typer.Typer(help="Model weights.", **QUIET)


class Kind(StrEnum):
    """Foreign weights that can be converted."""

    mobilestylegan = "mobilestylegan"
    faces = "faces"
    judges = "judges"
    stylegan2 = "stylegan2"
    e4e = "e4e"
    irse50 = "irse50"
    dbaf = "dbaf"


CONVERTERS = {
    Kind.mobilestylegan: ("dbaf.weights.convert", "convert_mobilestylegan"),
    Kind.faces: ("dbaf.weights.convert_faces", "convert_faces"),
    Kind.judges: ("dbaf.weights.convert_judges", "convert_judges"),
    Kind.stylegan2: ("dbaf.weights.convert_stylegan2", "convert_stylegan2"),
    Kind.e4e: ("dbaf.weights.convert_e4e", "convert_e4e"),
    Kind.irse50: ("dbaf.weights.convert_e4e", "convert_irse50"),
    Kind.dbaf: ("dbaf.weights.convert_dbaf", "convert_dbaf"),
}
EMBEDDED_KINDS = {Kind.mobilestylegan, Kind.faces, Kind.judges}  # whose precision is settled


@app.command("list")
def weights_list() -> None:
    """List the embedded weights and those in the Hub's cache, with parts, sizes and licences.

    Who may use what for which purpose: docs/licences.md.
    """
    from dbaf.weights.bundle import EMBEDDED, MANIFEST, describe_parts
    from dbaf.weights.hub import cached

    with errors():
        embedded = {manifest.parent.name: manifest.parent for manifest in sorted(EMBEDDED.glob(f"*/{MANIFEST}"))}
        for name, folder in (embedded | cached()).items():
            typer.echo(name)
            parts = describe_parts(folder)
            for part, (size, licence) in parts.items():
                typer.echo(f"  {part:<12} {size / 1e6:6.1f} MB  {licence or 'FILE MISSING'}")
            typer.echo(f"  {'total':<12} {sum(part.size for part in parts.values()) / 1e6:6.1f} MB")


@app.command("fetch")
def weights_fetch(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Bundle on the Hugging Face Hub.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.", show_default="main")] = None,
) -> None:
    """Download a bundle into the Hub's cache: its newest version, what is missing, and damaged files anew.

    Environment: HF_TOKEN (private bundles), HF_ENDPOINT (a mirror), HF_HOME (the cache), HF_HUB_OFFLINE.
    """
    from dbaf.progress import download_bar
    from dbaf.weights.hub import fetch, name_of

    with errors(), download_bar(name) as progress:
        folder = fetch(name if revision is None else f"{name}@{revision}", renew=True, progress=progress)
        typer.echo(f"{name_of(folder)} is in {folder}; every sha256 is right.")


@app.command("push")
def weights_push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Bundle folder.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository, made if missing.")],
    private: Annotated[bool, typer.Option("--private", help="Not for everybody to see.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="report.json of 'dbaf evaluate': its figures go into the card."),
    ] = None,
) -> None:
    """Publish a bundle on the Hugging Face Hub, with a generated model card. Takes a token in HF_TOKEN."""
    from dbaf.weights.publish import push

    with errors():
        published = push(folder, name, private, report)
    typer.echo(f"Uploaded {', '.join(published.files)} as {published.name}.")


@app.command("convert")
def weights_convert(
    kind: Annotated[Kind, typer.Argument(help="Where they come from.")],
    source: Annotated[Path, typer.Argument(exists=True, help="File or folder with the foreign weights.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", file_okay=False, help="Bundle folder.")],
    half: Annotated[
        bool, typer.Option("--half", help="Store fp16: half the size, not quite the same pictures.")
    ] = False,
) -> None:
    """Convert foreign weights into parts of a bundle of safetensors shards: docs/reference.md."""
    if half and kind in EMBEDDED_KINDS:
        raise typer.BadParameter(f"{kind} has its own precision.", param_hint="--half")
    module, function = CONVERTERS[kind]
    options = {"half": True} if half else {}
    with errors():
        getattr(importlib.import_module(module), function)(source, out, **options)
    typer.echo(f"Converted {source} into {out}.")
