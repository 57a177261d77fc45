"""`dbaf inspect`: what a picture carries."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dbaf.errors import PictureError


def inspect(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE", exists=True, dir_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Tell what a picture carries: DBAF record, capsule, and whether it is still the one that was sealed."""
    from dbaf.batch import find_capsule
    from dbaf.capsule import describe
    from dbaf.capsule.pixels import picture_hash
    from dbaf.images import read_picture, to_pil

    failed = False
    for path in pictures:
        try:
            picture = read_picture(path)
            sealed = find_capsule(path)
            found: dict[str, Any] = {"file": str(path), "record": picture.record, "capsule": None}
            if sealed is not None:
                found["capsule"] = described = describe(sealed[0])
                described["picture_unchanged"] = (
                    described["picture_sha256"] == picture_hash(to_pil(picture.rgb, picture.alpha, picture.grey)).hex()
                )
        except PictureError as error:
            typer.echo(f"Error: {error}", err=True)
            failed = True
            continue
        typer.echo(json.dumps(found) if as_json else _told(found))
    if failed:
        raise typer.Exit(1)


def _told(found: dict[str, Any]) -> str:
    record, capsule = found["record"], found["capsule"]
    lines = [found["file"], f"  record   {record.get('linkage', 'damaged') if record is not None else 'none'}"]
    if capsule is None:
        lines.append("  capsule  none")
    else:
        state = "unchanged since" if capsule["picture_unchanged"] else "CHANGED since: only --force opens it"
        places = "; ".join(f"{x1 - x0} x {y1 - y0} at {x0}, {y0}" for x0, y0, x1, y1 in capsule["regions"])
        lines.append(f"  capsule  {capsule['bytes']} bytes, {capsule['recipients']} recipient(s), picture {state}")
        lines.append(f"  sealed   {places}")
    return "\n".join(lines)
