"""Pictures in and out: every common file to RGB tensors, results to clean PNG files.

Reading applies the EXIF orientation and converts grey, palette, 16-bit, CMYK and colour-managed pictures to 8-bit
sRGB. Writing stores pixels and, where asked, one record of ours; nothing else of the source survives.
"""

import base64
import io
import json
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin

from dbaf.errors import DbafError, PictureError
from dbaf.files import replacing
from dbaf.keys import NONCE_BYTES

try:  # Pillow may be built without LittleCMS
    from PIL import ImageCms
except ImportError:
    ImageCms = None  # type: ignore[assignment]

MAX_PIXELS = 200_000_000
# No format that starts other programs (EPS) or whose pixels are no photograph; formats this Pillow lacks are left out
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
RECORD = "dbaf"  # keyword of the PNG text chunk
MOST_REFINE_STEPS = 500  # a record that names more is not followed: files come from anywhere


@dataclass
class Picture:
    """A picture as the library works on it."""

    rgb: torch.Tensor
    """[1, 3, H, W] float32 in [-1, 1], sRGB."""
    alpha: torch.Tensor | None = None
    """[1, 1, H, W] float32 in [0, 1], or None if the source has no transparency."""
    grey: bool = False
    """The source has one colour channel."""
    record: dict[str, Any] | None = None
    """What `write_png` stored with it, see `make_record`."""


# The record of a pseudonymised picture whose linkage the writer does not know
UNSTATED: dict[str, Any] = {"version": 1}


def make_record(
    nonce: bytes | None, refine_steps: int = 0, irreversible: bool = False, keep_looks: bool = True
) -> dict[str, Any]:
    """The record of a pseudonymised picture: what recovery needs besides the key. It holds no secret.

    Args:
        nonce: None = linked; else the 16 bytes of the unlinked picture.
        refine_steps: with which it was encoded; recovery should take as many.
        irreversible: the key was random and is gone.
        keep_looks: as for `Pipeline.anonymize`.
    """
    if irreversible:
        return {"version": 1, "linkage": "irreversible"}
    record: dict[str, Any] = {"version": 1, "linkage": "linked" if nonce is None else "unlinked"}
    if nonce is not None:
        record["nonce"] = base64.b64encode(nonce).decode()
    if refine_steps:
        record["refine_steps"] = refine_steps
    if not keep_looks:
        record["looks"] = "free"
    return record


def record_keeps_looks(record: dict[str, Any]) -> bool:
    """`keep_looks` of `make_record`."""
    return record.get("looks") != "free"


def record_refine_steps(record: dict[str, Any]) -> int:
    """The refinement steps that a record names; 0 if it names none, or no sensible number of them."""
    steps = record.get("refine_steps", 0)
    return steps if isinstance(steps, int) and 0 <= steps <= MOST_REFINE_STEPS else 0


def record_nonce(record: dict[str, Any]) -> bytes | None:
    """The nonce that a record of `make_record` holds; None = linked, or not stated.

    Raises:
        PictureError: the record is damaged or of a later version.
    """
    version, linkage = record.get("version"), record.get("linkage")
    if isinstance(version, int) and version != 1:
        raise PictureError(f"The picture's DBAF record has version {version}: update this software.")
    if version == 1 and linkage == "irreversible":
        raise PictureError("This picture was made with --linkage irreversible: its key is gone, and so are its faces.")
    if version == 1 and (linkage == "linked" or "linkage" not in record):
        return None
    nonce = b""
    with suppress(ValueError, TypeError):
        nonce = base64.b64decode(record.get("nonce", ""), validate=True)
    if version != 1 or linkage != "unlinked" or len(nonce) != NONCE_BYTES:
        raise PictureError("The picture's DBAF record is damaged: it names neither 'linked' nor a nonce of 16 bytes.")
    return nonce


def read_picture(path: Path | str) -> Picture:
    """Read a picture file: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000 or PPM, up to 200 megapixels.

    Raises:
        PictureError: missing, unsupported, too large, animated, truncated or corrupt; names the file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, _open(file, path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                megapixels = f"{width} x {height} = {width * height / 1e6:.0f} megapixels"
                raise PictureError(f"{path} has {megapixels}; the limit is {MAX_PIXELS // 10**6}. Scale it down first.")
            frames = getattr(image, "n_frames", 1)
            # The further frames of an MPO (JPEG of phones and stereo cameras) are previews and other views
            if frames > 1 and image.format != "MPO":
                raise PictureError(f"{path} has {frames} frames or pages; save the ones you need as single pictures.")
            return from_pil(image)
    except DbafError as error:
        raise (error if str(path) in str(error) else PictureError(f"{path}: {error}")) from None
    except OSError as error:
        raise PictureError(f"Cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # decoders raise nearly anything on corrupt data
        raise PictureError(f"Cannot read {path}: the file is corrupt ({type(error).__name__}: {error}).") from error


def from_pil(image: Image.Image) -> Picture:
    """A PIL picture of any mode; its EXIF orientation and colour profile are applied. The argument is not changed.

    Raises:
        PictureError: the pixels cannot be brought to 8 bits in one meaningful way.
    """
    image.load()
    record = _record(image)
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    alpha = None
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        oriented = ImageOps.exif_transpose(image)
        image = Image.fromarray(_eight_bits(np.asarray(oriented), image.mode))
    else:
        with suppress(Exception):  # damaged EXIF is no reason to refuse the pixels
            image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            alpha = torch.from_numpy(np.array(rgba.getchannel("A"))).float().div_(255)[None, None]
            profile = image.info.get("icc_profile")
            image = rgba.convert("RGB")
            image.info["icc_profile"] = profile
        image = _to_srgb(image)
    pixels = torch.from_numpy(np.array(image.convert("RGB")))  # [H, W, 3] uint8
    rgb = torch.empty(1, 3, *pixels.shape[:2])
    rgb[0].copy_(pixels.permute(2, 0, 1))
    return Picture(rgb.div_(127.5).sub_(1), alpha, grey, record)


def to_pil(rgb: torch.Tensor, alpha: torch.Tensor | None = None, grey: bool = False) -> Image.Image:
    """Back to 8 bits; the exact inverse of `from_pil` for values that were not changed.

    Args:
        rgb: [1, 3, H, W] in [-1, 1]; values outside are clamped.
        alpha: [1, 1, H, W] in [0, 1], or None.
        grey: return one colour channel (luma).

    Returns:
        A picture of mode RGB, RGBA, L or LA.
    """
    pixels = torch.empty(*rgb.shape[2:], 3, dtype=torch.uint8)
    for channel in range(3):  # one by one: a 100 MP picture is 1.2 GB of floats already
        pixels[..., channel] = rgb[0, channel].detach().float().cpu().add(1).mul_(127.5).round_().clamp_(0, 255)
    image = Image.fromarray(pixels.numpy())
    if grey:
        image = image.convert("L")
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha[0, 0].float().cpu().mul(255).round_().clamp_(0, 255).byte().numpy()))
    return image


def write_png(
    path: Path | str,
    image: Image.Image,
    record: dict[str, Any] | None = None,
    overwrite: bool = False,
    add: Callable[[bytes], bytes] | None = None,
    text: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write pixels and `record` as PNG, and nothing else that the picture carries (EXIF, profile, comments, ...).

    The file appears complete under its name or not at all. Missing folders are made.

    Args:
        path: to write.
        image: of mode L, LA, RGB or RGBA.
        record: see `make_record`.
        overwrite: replace an existing file.
        add: puts more into the finished file, such as `dbaf.capsule.embed`.
        text: keyword -> text of further text chunks.

    Raises:
        PictureError: the file exists and `overwrite` is False, or it cannot be written.
    """
    clean = image.copy()
    clean.info = {}
    chunks = PngImagePlugin.PngInfo()
    if record is not None:
        chunks.add_text(RECORD, json.dumps(record, separators=(",", ":"), sort_keys=True))
    for keyword, value in text.items():
        chunks.add_text(keyword, value)
    with replacing(Path(path), overwrite) as file:
        if add is None:
            clean.save(file, "PNG", pnginfo=chunks)
        else:
            whole = io.BytesIO()
            clean.save(whole, "PNG", pnginfo=chunks)
            file.write(add(whole.getvalue()))


def _open(file: io.BufferedReader, path: Path) -> Image.Image:
    """Like `Image.open`, without its size limit: that is process-wide, and the process may be another program's."""
    Image.init()
    prefix = file.read(16)
    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # "not mine", as Image.open reads it
            if factory and (accept is None or accept(prefix) is True):
                file.seek(0)
                return factory(file, str(path))
    raise PictureError(f"{path} is no readable picture: corrupt, or none of {', '.join(FORMATS)}.")


def _record(image: Image.Image) -> dict[str, Any] | None:
    text = image.info.get(RECORD) if image.format == "PNG" else None
    if text is None:
        return None
    try:
        record = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        record = None
    return record if isinstance(record, dict) else {}  # {}: there is one, but it is damaged


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """[H, W] integers or floats -> uint8. A range that may mean several things is refused."""
    low, high = values.min(), values.max()
    if mode == "F" and 0 <= low and high <= 1:
        return np.rint(values * 255).astype(np.uint8)
    if mode == "F" and 0 <= low and high <= 255:
        return np.rint(values).astype(np.uint8)
    if mode != "F" and 0 <= low and high <= 65535:
        return np.rint(values / np.float32(257)).astype(np.uint8)
    known = "0..1 or 0..255" if mode == "F" else "0..65535"
    raise PictureError(
        f"The grey values run from {low} to {high}; expected {known}. Save the picture with 8 or 16 bits."
    )


def _to_srgb(image: Image.Image) -> Image.Image:
    """Apply an embedded RGB or CMYK profile that is not sRGB. A damaged or grey one is ignored."""
    profile = image.info.get("icc_profile")
    if image.mode == "P":
        image = image.convert("RGB")
    if not profile or ImageCms is None or image.mode not in ("RGB", "CMYK"):
        return image
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" not in ImageCms.getProfileDescription(source).lower():
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            return image if converted is None else converted
    return image
