"""The ComfyUI nodes: they unpack, call `dbaf`, and pack. Relative imports only: ComfyUI has its own `nodes` module."""

from comfy_api.latest import io

from .blend import MaarBlend
from .detect import DetectFaces
from .disentangle import Disentangle
from .encode import Encode
from .files import Load, LoadFolder, Save
from .identity import Anonymize, Recover
from .key import LoadKey
from .mix import MixIdentities
from .model import LoadModel
from .seal import Seal, Unseal
from .whole import AnonymizeImage, Reconstruct, RecoverImage

NODES: list[type[io.ComfyNode]] = [
    LoadModel,
    LoadKey,
    AnonymizeImage,
    RecoverImage,
    Reconstruct,
    DetectFaces,
    Encode,
    Disentangle,
    Anonymize,
    Recover,
    MixIdentities,
    MaarBlend,
    Seal,
    Unseal,
    Load,
    LoadFolder,
    Save,
]
