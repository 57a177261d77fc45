"""`dbaf anonymize`, `recover` and `reconstruct`: what is done with pictures."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbaf.cli.albums import look_through
from dbaf.cli.batches import run_batch
from dbaf.cli.clips import check_clip, check_face, clip_results
from dbaf.cli.options import (
    CopyFaceless,
    Device,
    DeviceOption,
    Inputs,
    KeyEnv,
    KeyFile,
    LinkageChoice,
    Looks,
    LooksChoice,
    MinFace,
    ModelName,
    Out,
    Overwrite,
    PassEnv,
    RefineSteps,
    Report,
    SealChoice,
    SkipExisting,
    check_device,
    errors,
    open_key,
    open_model,
    open_other,
)
from dbaf.errors import NoFaceError, PictureError
from dbaf.keys import Key, new_nonces

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dbaf.album import Album
    from dbaf.batch import Processed
    from dbaf.faces import Face
    from dbaf.images import Picture
    from dbaf.pipeline import Pipeline
    from dbaf.stages import Result


def anonymize(
    inputs: Inputs,
    out: Out,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase_env: PassEnv = None,
    linkage: Annotated[
        LinkageChoice | None,
        typer.Option(
            help="linked: a person gets about the same new face in all pictures. irreversible: the key is thrown away.",
            show_default="unlinked",
        ),
    ] = None,
    album: Annotated[
        bool,
        typer.Option(
            "--album", help="The pictures belong together: who is in several gets one new face in all. Looks twice."
        ),
    ] = False,
    clip: Annotated[
        bool,
        typer.Option(
            "--clip", help="IN is a folder of frames, in the order of their names: a person keeps one face in all."
        ),
    ] = False,
    looks: Looks = LooksChoice.keep,
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
    min_face: MinFace = 40,
    accept_suspects: Annotated[
        bool,
        typer.Option("--accept-suspects", help="Write a picture although something in it may be a face left alone."),
    ] = False,
    model: ModelName = "mobile",
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Replace every face by another one, under a key. Whoever has the key can undo it: this pseudonymises."""
    linkage = linkage or (LinkageChoice.linked if album else LinkageChoice.unlinked)
    irreversible = linkage == LinkageChoice.irreversible
    album = album and linkage != LinkageChoice.unlinked
    if irreversible and (seal != SealChoice.none or key_file or key_env):
        raise typer.BadParameter("It takes no key and no seal: nobody is to undo it.", param_hint="--linkage")
    if recipient and seal == SealChoice.none:
        raise typer.BadParameter("Without --seal there is nothing for a recipient to open.", param_hint="--recipient")
    if clip:
        check_clip(inputs, skip_existing)
    if album and clip:
        raise typer.BadParameter("The frames of a clip belong together anyway.", param_hint="--album")
    with errors():
        key = Key.generate() if irreversible else open_key(key_file, key_env, passphrase_env)
        later = "Seal without it, then let it in with: python -m dbaf key wrap"
        keys = [key, *(open_other(path, None, later) for path in recipient or [])]
        model = open_model(model)
    load = _loader(device, model)
    hidden, keep_looks = imprint and not irreversible, looks == LooksChoice.keep
    linked = album or linkage == LinkageChoice.linked

    @functools.cache
    def people() -> "Album":
        from dbaf.batch import plan

        return look_through(plan(inputs, out), load(), min_face)

    @functools.cache
    def frames() -> "Callable[[Path], Result]":
        from dbaf.batch import plan
        from dbaf.clip import anonymize_clip

        def follow(pictures: "Iterator[torch.Tensor]") -> "Iterator[Result]":
            return anonymize_clip(
                load(),
                pictures,
                key,
                None if linked else new_nonces(),
                refine_steps,
                imprint=hidden,
                min_face=min_face,
                keep_looks=keep_looks,
            )

        return clip_results([task.source for task in plan(inputs, out)], follow)

    def process(picture: "Picture", source: Path) -> "Processed":
        from dbaf.batch import Processed
        from dbaf.capsule import mask_regions
        from dbaf.capsule import seal as sealed
        from dbaf.images import make_record, to_pil
        from dbaf.weights.bundle import bundle_digest

        if picture.record is not None:  # the same key twice leads back: a second reflection undoes the first
            raise PictureError("Already pseudonymised by DBAF: doing it again could bring the original faces back.")
        if clip:
            result = frames()(source)
        else:
            pipeline = load()
            held = people().held(source) if album else None
            try:
                result = pipeline.anonymize(
                    picture.rgb,
                    key,
                    None if linked else new_nonces(),
                    refine_steps,
                    imprint=hidden,
                    min_face=min_face,
                    keep_looks=keep_looks,
                    held=held,
                )
            except NoFaceError:  # before its pixels may be copied as they are
                _refuse(pipeline.suspects(picture.rgb, [], min_face), accept_suspects)
                raise
        _refuse(result.suspects, accept_suspects)
        check_face(result)
        image = to_pil(result.picture, picture.alpha, picture.grey)
        record = make_record(result.nonce, refine_steps, irreversible, keep_looks)
        capsule = None
        if seal != SealChoice.none:
            digest = bytes.fromhex(bundle_digest(model))
            capsule = sealed(_image(picture), image, mask_regions(result.mask), keys, digest)
        beside = seal == SealChoice.sidecar
        faces, small = len(result.faces), result.imprinted.count(False)
        message = None
        if hidden and small and capsule is None:
            message = (
                f"{small} of {faces} faces are too small for an imprint and come back alike at best. --seal is exact."
            )
        return Processed(image, faces, record, message, None if beside else capsule, capsule if beside else None)

    try:
        run_batch("anonymize", inputs, out, process, report, copy_faceless, overwrite, skip_existing)
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
    min_face: MinFace = 40,
    model: ModelName = "mobile",
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Bring the original faces back: exactly where sealed, else much alike from their imprint, else alike at best.

    A wrong key is an error where they were sealed. Where not, it gives yet other faces, without an error.
    """
    with errors():
        key = open_key(key_file, key_env, passphrase_env)
        model = open_model(model)
    load = _loader(device, model)

    def process(picture: "Picture", source: Path) -> "Processed":
        from dbaf.batch import Processed, find_capsule
        from dbaf.images import record_keeps_looks, record_nonce, record_refine_steps, to_pil

        sealed = find_capsule(source)
        if sealed is not None:
            return _opened(sealed[0], picture, key, force)
        nonce, steps, keep_looks = None, refine_steps or 0, True
        if picture.record is not None:
            keep_looks = record_keeps_looks(picture.record)
            nonce = record_nonce(picture.record)
            steps = record_refine_steps(picture.record) if refine_steps is None else refine_steps
        result = load().recover(picture.rgb, key, nonce, steps, min_face=min_face, keep_looks=keep_looks)
        faces, known = len(result.faces), result.restored.count(True)
        message = f"{known} of {faces} faces from their imprints, rendered anew: alike, not exact."
        if known < faces:
            message += " The others from their looks, alike at best"
            stated = picture.record is not None and "linkage" in picture.record
            message += "." if stated else ", as linked: no DBAF record in the file says so."
        return Processed(to_pil(result.picture, picture.alpha, picture.grey), faces, None, message)

    run_batch("recover", inputs, out, process, report, copy_faceless, overwrite, skip_existing)


def reconstruct(
    inputs: Inputs,
    out: Out,
    refine_steps: RefineSteps = 0,
    model: ModelName = "mobile",
    device: DeviceOption = Device.auto,
    report: Report = None,
    copy_faceless: CopyFaceless = False,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Encode and render the same identity: what encoder and generator alone can do. Protects nobody."""
    with errors():
        model = open_model(model)
    load = _loader(device, model)

    def process(picture: "Picture", source: Path) -> "Processed":
        from dbaf.batch import Processed
        from dbaf.images import to_pil

        result = load().reconstruct(picture.rgb, refine_steps)
        return Processed(to_pil(result.picture, picture.alpha, picture.grey), len(result.faces), picture.record)

    run_batch("reconstruct", inputs, out, process, report, copy_faceless, overwrite, skip_existing)


def _refuse(suspects: list["Face"], accepted: bool) -> None:
    """PictureError, which says where they are, if there are places that may be faces and that nobody accepted."""
    if not suspects or accepted:
        return
    corners = "; ".join(", ".join(str(round(value)) for value in face.box) for face in suspects)
    raise PictureError(
        f"Nothing was written: {len(suspects)} place(s) may show a face that was not replaced, at {corners} "
        "(left, top, right, bottom). Look there; a smaller --min-face may find it; --accept-suspects writes it anyway."
    )


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


def _loader(device: Device, model: str) -> Callable[[], "Pipeline"]:
    """Loads the networks when they are first needed: opening a seal takes none."""
    with errors():
        check_device(device)
    return functools.cache(lambda: load_pipeline(device, model))


def load_pipeline(device: Device, model: str) -> "Pipeline":
    """The networks of a model."""
    from dbaf.pipeline import Pipeline

    return Pipeline.from_pretrained(model, device=device.value)
