"""Face recognisers that judge privacy, as plug-ins: the shipped one, and any other from a local Python file.

A plug-in is a file that defines `recogniser()`, which takes nothing and returns an object like `Recogniser`:

    class Mine:
        name = "mine"
        distance = "cosine"                 # or "euclidean"
        def embed(self, picture, points):   # [1, 3, H, W] in [-1, 1], [5, 2] in pixels -> [D]
            ...                             # align by the points, then run the network

    def recogniser():
        return Mine()

The points are image-left eye, image-right eye, nose tip, image-left and image-right mouth corner; `similarity` and
`warp` of `dbaf.evaluation.align` align by them. The file is code and runs with your rights: load only what you trust.
Its threshold is taken on the data set, so that needs enough people. Never judge privacy by a recogniser that was a
loss in training.
"""

import importlib.util
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from dbaf.errors import DbafError
from dbaf.evaluation.dlib import DlibResNet, chip
from dbaf.weights.bundle import bundle_folder, load_part

JUDGES = "judges"  # the bundle


class Recogniser(Protocol):
    """A face recogniser with its own alignment.

    Attributes:
        name: as the report shows it.
        distance: how its embeddings are compared; for "cosine" they are brought to length 1 first, after which the
            Euclidean distance d says the same as the cosine: d^2 = 2 - 2 cos.
    """

    name: str
    distance: Literal["euclidean", "cosine"]

    def embed(self, picture: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Embedding [D] of the face with the points [5, 2] (pixels) of a picture [1, 3, H, W] in [-1, 1]."""
        ...


class Dlib:
    """The shipped recogniser."""

    name = "dlib_resnet"
    distance: Literal["euclidean", "cosine"] = "euclidean"

    def __init__(self) -> None:
        tensors, config = load_part(bundle_folder(JUDGES), self.name)
        self.calibration: dict[str, Any] = config["calibration"]
        self.net = DlibResNet()
        self.net.load_state_dict(tensors)
        self.net.requires_grad_(False).eval()

    def embed(self, picture: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """See `Recogniser`; [128]."""
        return self.net(chip(picture, points))[0]


def load_recogniser(file: Path | None) -> Recogniser:
    """The recogniser of a plug-in file; None: the shipped one.

    Raises:
        DbafError: the file is missing, fails, or gives something else than a recogniser.
    """
    if file is None:
        return Dlib()
    spec = importlib.util.spec_from_file_location("dbaf_recogniser", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise DbafError(f"{file} is no Python file. Give a .py file that defines recogniser().")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        made: Recogniser = module.recogniser()
    except Exception as error:  # foreign code
        raise DbafError(f"The recogniser {file} does not load: {type(error).__name__}: {error}") from error
    if made.distance not in ("euclidean", "cosine") or not isinstance(made.name, str) or not callable(made.embed):
        raise DbafError(f"{file}: recogniser() needs a name, a distance ('euclidean' or 'cosine') and embed().")
    return made


def stored_calibration(recogniser: Recogniser) -> dict[str, Any] | None:
    """What comes with the shipped recogniser; a plug-in has none."""
    return recogniser.calibration if isinstance(recogniser, Dlib) else None


def embedding(recogniser: Recogniser, picture: torch.Tensor, points: torch.Tensor) -> list[float]:
    """The recogniser's view of a face, ready for Euclidean distances.

    Raises:
        DbafError: the plug-in fails or gives no vector.
    """
    try:
        with torch.inference_mode():
            vector = torch.as_tensor(recogniser.embed(picture.cpu(), points.cpu())).detach().double().cpu()
    except Exception as error:  # foreign code
        raise DbafError(f"The recogniser {recogniser.name} failed: {type(error).__name__}: {error}") from error
    if vector.ndim != 1 or not bool(vector.isfinite().all()):
        raise DbafError(f"The recogniser {recogniser.name} gave {list(vector.shape)}; a finite vector [D] is needed.")
    if recogniser.distance == "cosine":
        vector = vector / vector.norm().clamp(min=1e-12)
    return [round(float(value), 6) for value in vector]
