"""`dbaf weights`: what is embedded, and converting what others published."""

import importlib
import json
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
    """List the embedded weights, model families and the judges of `evaluate`, with parts, sizes and licences."""
    from safetensors import safe_open

    from dbaf.weights.bundle import EMBEDDED, MANIFEST

    with errors():
        for manifest in sorted(EMBEDDED.glob(f"*/{MANIFEST}")):
            typer.echo(manifest.parent.name)
            sizes: dict[str, int] = {}
            licences: dict[str, str] = {}
            for name, entry in json.loads(manifest.read_text())["shards"].items():
                part = entry["part"]
                sizes[part] = sizes.get(part, 0) + entry["bytes"]
                if part not in licences and (manifest.parent / name).is_file():
                    with safe_open(manifest.parent / name, framework="numpy") as shard:
                        licences[part] = json.loads(shard.metadata()["dbaf"])["licence"]
            for part, size in sorted(sizes.items()):
                typer.echo(f"  {part:<12} {size / 1e6:6.1f} MB  {licences.get(part, 'FILE MISSING')}")
            typer.echo(f"  {'total':<12} {sum(sizes.values()) / 1e6:6.1f} MB")


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
