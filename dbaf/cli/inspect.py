"""`dbaf inspect`: what a picture carries."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dbaf.cli import pictures as commands
from dbaf.cli.options import Device, DeviceOption, ModelName, check_device, errors, open_model
from dbaf.errors import PictureError


def inspect(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE", exists=True, dir_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    model: ModelName = "mobile",
    device: DeviceOption = Device.auto,
) -> None:
    """Tell what a picture carries: DBAF record, imprints, capsule, and whether it is still the one that was sealed."""
    from dbaf.batch import find_capsule
    from dbaf.capsule import describe
    from dbaf.capsule.pixels import picture_hash
    from dbaf.images import read_picture, to_pil

    with errors():
        check_device(device)
        pipeline = commands.load_pipeline(device, open_model(model))
    failed = False
    for path in pictures:
        try:
            picture = read_picture(path)
            sealed = find_capsule(path)
            faces = pipeline.detect(picture.rgb)
            imprints = [imprint for imprint in pipeline.imprints(picture.rgb, faces) if imprint is not None]
            found: dict[str, Any] = {"file": str(path), "record": picture.record, "faces": len(faces)}
            found |= {"imprints": len(imprints), "capsule": None}
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
    stated = "none" if record is None else record.get("linkage", "unstated" if record else "damaged")
    lines = [found["file"], f"  record   {stated}"]
    lines.append(f"  imprints {found['imprints']} of {found['faces']} faces")
    if capsule is None:
        lines.append("  capsule  none")
    else:
        state = "unchanged since" if capsule["picture_unchanged"] else "CHANGED since: only --force opens it"
        places = "; ".join(f"{x1 - x0} x {y1 - y0} at {x0}, {y0}" for x0, y0, x1, y1 in capsule["regions"])
        lines.append(f"  capsule  {capsule['bytes']} bytes, {capsule['recipients']} recipient(s), picture {state}")
        lines.append(f"  sealed   {places}")
    return "\n".join(lines)
