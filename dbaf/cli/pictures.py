"""`dbaf anonymize`, `recover`, `reconstruct` and `inspect`: what is done with pictures."""

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbaf.cli.options import (
    CopyFaceless,
    Device,
    DeviceOption,
    Inputs,
    KeyEnv,
    KeyFile,
    LinkageChoice,
    Out,
    Overwrite,
    PassEnv,
    RefineSteps,
    Report,
    SealChoice,
    check_device,
    errors,
    open_key,
    same_file,
)
from dbaf.errors import PictureError
from dbaf.keys import Key, new_nonce

if TYPE_CHECKING:
    from PIL import Image

    from dbaf.batch import Outcome, Processed, Task
    from dbaf.images import Picture
    from dbaf.pipeline import Pipeline

MODEL = "mobile"


def anonymize(
    inputs: Inputs,
    out: Out,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase_env: PassEnv = None,
    linkage: Annotated[
        LinkageChoice,
        typer.Option(
            help="linked: a person gets the same new face in every picture. irreversible: the key is thrown away."
        ),
    ] = LinkageChoice.unlinked,
    seal: Annotated[
        SealChoice,
        typer.Option(
            help="Also encrypt the original faces under the key, so that recovery is exact: in the PNG or beside it."
        ),
    ] = SealChoice.none,
    recipient: Annotated[
        list[Path] | None, typer.Option(help="Key file of somebody else who may open the seal; may be repeated.")
    ] = None,
    imprint: Annotated[
        bool,
        typer.Option(
            help="Hide each face's identity, encrypted under the key, in its pixels: it outlives JPEG, not resizing."
        ),
    ] = True,
    refine_steps: RefineSteps = 0,
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
) -> None:
    """Replace every face by another one, under a key. Whoever has the key can undo it: this pseudonymises."""
    irreversible = linkage == LinkageChoice.irreversible
    if irreversible and (seal != SealChoice.none or key_file or key_env):
        raise typer.BadParameter("It takes no key and no seal: nobody is to undo it.", param_hint="--linkage")
    if recipient and seal == SealChoice.none:
        raise typer.BadParameter("Without --seal there is nothing for a recipient to open.", param_hint="--recipient")
    with errors():
        key = Key.generate() if irreversible else open_key(key_file, key_env, passphrase_env)
        keys = [key, *(Key.from_file(path) for path in recipient or [])]
    load = _loader(device)

    def process(picture: "Picture", source: Path) -> "Processed":
        from dbaf.batch import Processed
        from dbaf.capsule import mask_regions
        from dbaf.capsule import seal as sealed
        from dbaf.images import make_record, to_pil
        from dbaf.weights.bundle import bundle_digest

        if picture.record is not None:  # the same key twice gives the original faces: KRIA is its own inverse
            raise PictureError("Already pseudonymised by DBAF: doing it again could bring the original faces back.")
        nonce = None if linkage == LinkageChoice.linked else new_nonce()
        hidden = imprint and not irreversible
        result = load().anonymize(picture.rgb, key, nonce, refine_steps, imprint=hidden)
        image = to_pil(result.picture, picture.alpha, picture.grey)
        record = make_record(nonce, refine_steps, irreversible)
        capsule = None
        if seal != SealChoice.none:
            model = bytes.fromhex(bundle_digest(MODEL))
            capsule = sealed(_image(picture), image, mask_regions(result.mask), keys, model)
        beside = seal == SealChoice.sidecar
        faces, small = len(result.faces), result.imprinted.count(False)
        message = None
        if hidden and small and capsule is None:
            message = f"{small} of {faces} faces are too small for an imprint and come back roughly. --seal is exact."
        return Processed(image, faces, record, message, None if beside else capsule, capsule if beside else None)

    try:
        _batch("anonymize", inputs, out, process, report, copy_faceless, overwrite)
    finally:
        if irreversible:
            key.wipe()


def recover(
    inputs: Inputs,
    out: Out,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase_env: PassEnv = None,
    force: Annotated[
        bool, typer.Option("--force", help="Of a sealed picture that was changed since, write the sealed faces alone.")
    ] = False,
    refine_steps: Annotated[
        int | None, typer.Option(min=0, help="As for anonymize; by default as many as the picture's record says.")
    ] = None,
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
) -> None:
    """Bring the original faces back: exactly where they were sealed, else much alike from their imprint, else roughly.

    A wrong key is an error where they were sealed. Where not, it gives yet other faces, without an error.
    """
    with errors():
        key = open_key(key_file, key_env, passphrase_env)
    load = _loader(device)

    def process(picture: "Picture", source: Path) -> "Processed":
        from dbaf.batch import Processed, find_capsule
        from dbaf.images import record_nonce, record_refine_steps, to_pil

        sealed = find_capsule(source)
        if sealed is not None:
            return _opened(sealed[0], picture, key, force)
        nonce, steps = None, refine_steps or 0
        if picture.record is not None:
            nonce = record_nonce(picture.record)
            steps = record_refine_steps(picture.record) if refine_steps is None else refine_steps
        result = load().recover(picture.rgb, key, nonce, steps)
        faces, known = len(result.faces), result.restored.count(True)
        message = f"{known} of {faces} faces from their imprints, rendered anew: alike, not exact."
        if known < faces:
            message += " The others from their looks, roughly"
            message += "." if picture.record is not None else ", as linked: there is no DBAF record in the file."
        return Processed(to_pil(result.picture, picture.alpha, picture.grey), faces, None, message)

    _batch("recover", inputs, out, process, report, copy_faceless, overwrite)


def reconstruct(
    inputs: Inputs,
    out: Out,
    refine_steps: RefineSteps = 0,
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
) -> None:
    """Encode and render the same identity: what encoder and generator alone can do. Protects nobody."""
    load = _loader(device)

    def process(picture: "Picture", source: Path) -> "Processed":
        from dbaf.batch import Processed
        from dbaf.images import to_pil

        result = load().reconstruct(picture.rgb, refine_steps)
        return Processed(to_pil(result.picture, picture.alpha, picture.grey), len(result.faces), picture.record)

    _batch("reconstruct", inputs, out, process, report, copy_faceless, overwrite)


def inspect(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE", exists=True, dir_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Tell what a picture carries: DBAF record, capsule, and whether it is still the one that was sealed."""
    from dbaf.batch import find_capsule
    from dbaf.capsule import describe
    from dbaf.capsule.pixels import picture_hash
    from dbaf.images import read_picture

    failed = False
    for path in pictures:
        try:
            picture = read_picture(path)
            sealed = find_capsule(path)
            found: dict[str, Any] = {"file": str(path), "record": picture.record, "capsule": None}
            if sealed is not None:
                found["capsule"] = described = describe(sealed[0])
                described["picture_unchanged"] = described["picture_sha256"] == picture_hash(_image(picture)).hex()
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


def _image(picture: "Picture") -> "Image.Image":
    """The 8-bit picture that a file held."""
    from dbaf.images import to_pil

    return to_pil(picture.rgb, picture.alpha, picture.grey)


def _opened(capsule: bytes, picture: "Picture", key: Key, force: bool) -> "Processed":
    """Exact recovery."""
    from dbaf.batch import Processed
    from dbaf.capsule import open_capsule

    opened = open_capsule(capsule, _image(picture), key, force)
    if opened.image is None:
        pieces = tuple(piece for _, piece in opened.faces)
        message = "The picture was changed: wrote its sealed faces only."
        return Processed(None, len(pieces), message=message, pieces=pieces)
    return Processed(opened.image, len(opened.faces), message="Recovered exactly, from the sealed original.")


def _batch(
    command: str,
    inputs: list[Path],
    out: Path,
    process: Callable[["Picture", Path], "Processed"],
    report: Path | None,
    copy_faceless: bool,
    overwrite: bool,
) -> None:
    """Everything that the picture commands share: plan, run with progress, report, exit code."""
    with errors():
        from dbaf.batch import plan, run
        from dbaf.files import replacing

        if report is not None and os.path.lexists(report) and not overwrite:
            raise typer.BadParameter(f"{report} exists; --overwrite replaces it.", param_hint="--json")
        tasks = plan(inputs, out)
        if not tasks:
            raise typer.BadParameter(f"No pictures in {', '.join(map(str, inputs))}.", param_hint="IN...")
        if report is not None and any(same_file(report, task.source) for task in tasks):
            raise typer.BadParameter(f"{report} is an input, and inputs are never touched.", param_hint="--json")

    start = time.perf_counter()
    outcomes: list[Outcome] = []
    stopped = False
    with errors():
        try:
            for outcome in _progress(command, tasks, run(tasks, process, overwrite, copy_faceless)):
                outcomes.append(outcome)
        except KeyboardInterrupt:
            stopped = True
    written = sum(outcome.status == "written" for outcome in outcomes)
    copied = sum(outcome.status == "copied" for outcome in outcomes)
    faceless = sum(outcome.status == "faceless" for outcome in outcomes)
    failed = len(outcomes) - written - copied - faceless
    line = f"{written} written, {copied} copied, {faceless} without a face, {failed} failed"
    stop = f"; stopped, {len(tasks) - len(outcomes)} not done" if stopped else ""
    typer.echo(f"{command}: {line} in {time.perf_counter() - start:.1f} s{stop}")
    with errors():
        if report is not None:
            entries = {"version": 1, "command": command, "pictures": [o.asdict() for o in outcomes]}
            with replacing(report) as file:
                file.write((json.dumps(entries, indent=1) + "\n").encode())
    if stopped:
        raise typer.Exit(130)
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


def _progress(command: str, tasks: list["Task"], outcomes: Iterator["Outcome"]) -> Iterator["Outcome"]:
    """Show a bar (on a terminal) and a line for every picture that there is something to say about, on stderr."""
    from dbaf.progress import progress_bar

    with progress_bar(f"{command} {tasks[0].source.name}", len(tasks)) as (update, console):
        for index, outcome in enumerate(outcomes, 1):
            if outcome.message:
                text = f"{outcome.input}: {outcome.status}: {outcome.message}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)
            following = f"{command} {tasks[index].source.name}" if index < len(tasks) else command
            update(index, len(tasks), following)
            yield outcome


def _loader(device: Device) -> Callable[[], "Pipeline"]:
    """Loads the networks when they are first needed: opening a seal takes none."""
    with errors():
        check_device(device)
    return functools.cache(lambda: load_pipeline(device))


def load_pipeline(device: Device) -> "Pipeline":
    """The embedded model."""
    from dbaf.pipeline import Pipeline

    return Pipeline.from_pretrained(MODEL, device=device.value)
