"""DBAF Load, DBAF Load Folder and DBAF Save: pictures with their capsules, and without the workflow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from dbaf.batch import SUFFIXES, find_capsule, natural, sidecar_of
from dbaf.capsule import embed
from dbaf.errors import PictureError
from dbaf.files import replacing
from dbaf.images import UNSTATED, read_picture, to_pil, write_png

from .border import Pictures, check_counts, each_picture
from .sockets import CapsuleSocket, PerPicture, schema, supported

INSIDE, BESIDE = "in the picture", "in a file beside it"


def _input_files() -> list[str]:
    return [path.name for path in _pictures(Path(folder_paths.get_input_directory()))]


def _folders() -> dict[str, list[Path]]:
    """The input folder, as ".", and its sub-folders with their pictures; those without any are left out."""
    root = Path(folder_paths.get_input_directory())
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir() and path.name[0] != ".")]
    pictures = {folder.relative_to(root).as_posix(): _pictures(folder) for folder in folders}
    return {name: files for name, files in pictures.items() if files or name == "."}


def _pictures(folder: Path) -> list[Path]:
    """The pictures right in a folder, by name, numbers in their order."""
    shown = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES]
    return sorted(shown, key=lambda path: natural(path.name))


def _path_of(name: str) -> Path:
    """The file behind a choice; PictureError if it is gone."""
    path = Path(folder_paths.get_annotated_filepath(name))
    if not path.is_file():
        raise PictureError(f"There is no file '{name}' in the input folder. Press R to refresh the list.")
    return path


class Load(io.ComfyNode):
    """Name of a file -> IMAGE and its capsule."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Load",
            display_name="DBAF Load",
            aliases=["load image", "open sealed picture"],
            description="Loads a picture of the input folder with the capsule in it or in NAME.dbaf beside it.",
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=_input_files(),
                    upload=io.UploadType.image,
                    tooltip="A file in ComfyUI's input folder. Uploads keep a capsule that is in the picture.",
                )
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture, without alpha."),
                CapsuleSocket.Output(display_name="capsule", tooltip="For DBAF Unseal; empty if it carries none."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, picture: str) -> str:
        """When the files were changed."""
        path = _path_of(picture)
        return " ".join(str(file.stat().st_mtime_ns) for file in (path, sidecar_of(path)) if file.is_file())

    @classmethod
    def validate_inputs(cls, picture: str) -> bool:
        """Uploads after the start are not among the options. A missing file is an error of the run: see DBAF Key."""
        return True

    @classmethod
    def execute(cls, picture: str) -> io.NodeOutput:
        path = _path_of(picture)
        found = find_capsule(path)
        image = (read_picture(path).rgb.movedim(1, -1) + 1) / 2  # [1, H, W, 3]
        return io.NodeOutput(image, PerPicture([None if found is None else found[0]]))


class LoadFolder(io.ComfyNode):
    """Name of a folder -> its pictures, a list."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_LoadFolder",
            display_name="DBAF Load Folder",
            aliases=["load images", "album", "batch", "directory"],
            description="Loads all pictures of a folder, of any sizes, as a list: each node after it works on one "
            "after the other.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=list(_folders()),
                    default=".",
                    tooltip="A folder in ComfyUI's input folder; '.' is the input folder itself. Sub-folders are not "
                    "entered.",
                )
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", is_output_list=True, tooltip="The pictures, without alpha, in their order."
                ),
                io.String.Output(
                    display_name="names",
                    is_output_list=True,
                    tooltip="FOLDER/NAME of each, for 'filename_prefix' of DBAF Save: then you know which is which.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> str:
        """Names of its pictures, and when they were changed."""
        return " ".join(f"{path.name} {path.stat().st_mtime_ns}" for path in _folders().get(folder, []))

    @classmethod
    def validate_inputs(cls, folder: str) -> bool:
        """Folders that came after the start are not among the options. A missing one is an error of the run."""
        return True

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        paths = _folders().get(folder)
        if not paths:
            raise PictureError(
                f"There is no picture in '{folder}' of the input folder. Put some there, press R, and choose it."
            )
        images = [(read_picture(paths[index]).rgb.movedim(1, -1) + 1) / 2 for index in each_picture(len(paths))]
        return io.NodeOutput(images, [(Path(folder) / path.stem).as_posix() for path in paths])


class Save(io.ComfyNode):
    """IMAGE and capsules -> PNG files that tell nothing else."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "DBAF_Save",
            display_name="DBAF Save",
            aliases=["save image", "save without metadata", "export"],
            description="Saves PNG files without the workflow, which would tell the names of your files. Sealed "
            "pictures keep their capsule.",
            inputs=[
                io.Image.Input("image", tooltip="Finished pictures."),
                CapsuleSocket.Input("capsule", optional=True, tooltip="From DBAF Seal, of the same pictures."),
                io.String.Input(
                    "filename_prefix", default="dbaf", tooltip="Start of the file names in ComfyUI's output folder."
                ),
                io.Combo.Input(
                    "capsule_goes",
                    options=[INSIDE, BESIDE],
                    default=INSIDE,
                    tooltip="Beside it: NAME.png.dbaf, which you can keep while you share the picture.",
                ),
                io.Boolean.Input(
                    "with_workflow",
                    default=False,
                    tooltip="Also store the workflow in the file, as Save Image does: with the names of your files.",
                    **supported(io.Boolean.Input, advanced=True),
                ),
            ],
            outputs=[],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        filename_prefix: str,
        capsule_goes: str,
        with_workflow: bool,
        capsule: PerPicture[bytes | None] | None = None,
    ) -> io.NodeOutput:
        pictures = Pictures(image)
        capsules = PerPicture([None] * len(pictures)) if capsule is None else capsule
        height, width = image.shape[1:3]
        place, name, number, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), width, height
        )
        saved = []
        for index in each_picture(check_counts(image=pictures, capsule=capsules)):
            file, data = f"{name}_{number + index:05}_.png", capsules[index]
            alpha = image[index : index + 1, ..., 3].cpu()[None] if image.shape[-1] == 4 and data is None else None
            path, add = Path(place) / file, _embedding(data) if capsule_goes == INSIDE else None
            if data is not None and capsule_goes == BESIDE:
                with replacing(sidecar_of(path), overwrite=False) as beside:
                    beside.write(data)
            record = None if data is None else UNSTATED
            write_png(
                path, to_pil(pictures[index], alpha), record, add=add, text=_workflow(cls) if with_workflow else {}
            )
            saved.append({"filename": file, "subfolder": subfolder, "type": "output"})
        return io.NodeOutput(ui={"images": saved})


def _embedding(capsule: bytes | None) -> Callable[[bytes], bytes] | None:
    return None if capsule is None else lambda png: embed(png, capsule)


def _workflow(node: type[io.ComfyNode]) -> dict[str, str]:
    """What Save Image stores: keyword -> JSON."""
    stored: dict[str, Any] = {"prompt": node.hidden.prompt, **(node.hidden.extra_pnginfo or {})}
    return {keyword: json.dumps(value) for keyword, value in stored.items() if value is not None}
