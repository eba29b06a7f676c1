"""Pictures in files: read them with Pillow, resize them, write them.

What is resized is what the file shows: EXIF orientation applied, palettes and transparent colours resolved. A picture
keeps its ICC profile; other metadata, some of which would no longer be true, is left behind. Greys keep their depth (8
bits, 16 bits, integer, float); colours and alpha have 8 bits, for Pillow reads no more. CMYK is resampled ink by ink,
which keeps its profile valid; YCbCr and HSV become RGB.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cupysample._remedies import one_line
from cupysample._report import Device, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Pillow's mode of a file -> the mode it is resampled in. Bits become greys so that in-between shades have a place.
_WORKING_MODE = {
    **dict.fromkeys(("1", "L"), "L"),
    **dict.fromkeys(("LA", "La"), "LA"),
    **dict.fromkeys(("RGB", "RGBX", "P", "YCbCr", "HSV"), "RGB"),
    **dict.fromkeys(("RGBA", "RGBa", "PA"), "RGBA"),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), "I;16"),
    **{mode: mode for mode in ("CMYK", "I", "F")},
}
_BITS_PER_SAMPLE = 258  # a TIFF's tag
_SEE_THROUGH = {"L": "LA", "RGB": "RGBA"}

# A file's ending -> the modes that it stores without loss of depth, colour or transparency. Pillow would convert
# silently in some of the other cases, and 16 bits would become 8.
_STORED_MODES = {
    ".png": ("L", "LA", "RGB", "RGBA", "I;16"),
    ".jpg": ("L", "RGB", "CMYK"),
    ".jpeg": ("L", "RGB", "CMYK"),
    ".webp": ("L", "LA", "RGB", "RGBA"),
    ".tif": ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    ".tiff": ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    ".jp2": ("L", "LA", "RGB", "RGBA", "I;16"),
    ".tga": ("L", "LA", "RGB", "RGBA"),
    ".bmp": ("L", "RGB"),
    ".pgm": ("L", "I;16"),
    ".ppm": ("RGB",),
    ".pfm": ("F",),
}
# The longest side that a format, or its encoder, takes.
_LONGEST = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383, ".tga": 65535}
# The point of the exercise is the resampling: no format adds visible artefacts of its own.
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}


class PictureError(UserError):
    """What is wrong with a picture or with its file, in one sentence."""


@dataclass(frozen=True)
class Picture:
    """Pixels of shape (height, width, channels) in one of Pillow's modes."""

    pixels: NDArray[Any]
    mode: str
    icc_profile: bytes | None = None
    frames: int = 1  # in the file it came from: the first one is here
    lost: str = ""  # what the file has and this has not, because Pillow does not read it

    @property
    def size(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"{height}x{width}"


def read(path: Path) -> Picture:
    """The picture (the first, if the file holds several) the way up that it is meant to be seen."""
    try:
        with warnings.catch_warnings():
            # Of a large picture, which the user asked for by name; twice as large is Pillow's error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _read(path)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not a picture in any format that Pillow reads") from error
    except Image.DecompressionBombError as error:
        rule, _, _ = str(error).partition(", could be")
        raise PictureError(f"{path}: too large for Pillow: {rule}") from error
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or one_line(error)}") from error
    except Exception as error:  # Pillow's decoders raise nearly anything for a damaged file
        raise PictureError(f"{path}: cannot be read ({one_line(error)})") from error


def _read(path: Path) -> Picture:
    with Image.open(path) as image:
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG and its previews
        sixteen_bits = image.mode == "I" and image.format in ("PNG", "PPM", "JPEG2000")
        lost = _lost(image)
        upright = ImageOps.exif_transpose(image)
        mode = _working_mode(upright)
        pixels = _pixels(upright, mode)
    if sixteen_bits:
        mode, pixels = "I;16", pixels.clip(0, 65535).astype(np.uint16)
    return Picture(pixels, mode, upright.info.get("icc_profile") or None, frames, lost)


def resize(picture: Picture, device: Device, **options: Any) -> Picture:
    """The picture resized; `options` are those of `cupysample.interpolate`.

    Transparent pictures are resampled with their colours multiplied by alpha, or else the invisible colour of
    transparent pixels would bleed into the visible ones. The nearest modes copy pixels: nothing is mixed.
    """
    if picture.mode in ("LA", "RGBA") and not options["mode"].startswith("nearest"):
        return replace(picture, pixels=_resize_premultiplied(device, picture.pixels, options))
    return replace(picture, pixels=device.resize(picture.pixels, **options))


def check_stored(path: Path, mode: str, sides: tuple[int, int] = (1, 1)) -> None:
    """PictureError unless files of that name, in a folder that is there, store pictures of that mode and size as they are."""
    ending = path.suffix.lower()
    if ending not in _STORED_MODES:
        raise PictureError(f"{path}: the name must end in one of {', '.join(_STORED_MODES)}")
    if mode not in _STORED_MODES[ending]:
        able = ", ".join(name for name, modes in _STORED_MODES.items() if mode in modes)
        raise PictureError(f"{path}: {ending} files cannot store a picture of mode {mode}; these can: {able}")
    if max(sides) > (longest := _LONGEST.get(ending, max(sides))):
        size = "x".join(map(str, sides))
        raise PictureError(f"{path}: {ending} files have at most {longest} pixels a side, and this picture has {size}")
    if not path.parent.is_dir():
        raise PictureError(f"{path}: No such file or directory")


def write(picture: Picture, path: Path) -> None:
    """Writes the file whole or not at all, over one that is there."""
    check_stored(path, picture.mode, picture.pixels.shape[:2])
    options = dict(_SAVE_OPTIONS.get(path.suffix.lower(), {}))
    if picture.icc_profile:
        options["icc_profile"] = picture.icc_profile
    try:
        with _replacing(path) as temporary:
            as_image(picture).save(temporary, **options)
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or one_line(error)}") from error
    except Exception as error:  # an encoder's own limits
        raise PictureError(f"{path}: cannot be written ({one_line(error)})") from error


# ---- between Pillow and NumPy ----------------------------------------------------------------------------------------


def _working_mode(image: Image.Image) -> str:
    if image.mode not in _WORKING_MODE:
        raise PictureError(f"pictures of mode {image.mode} are not supported; convert it to RGB first")
    mode = _WORKING_MODE[image.mode]
    return _SEE_THROUGH.get(mode, mode) if image.has_transparency_data else mode


def _lost(image: Image.Image) -> str:
    """What Pillow does not read of a file that is not loaded yet."""
    if image.mode[0] == "I" and "transparency" in image.info:
        return "has a transparent colour, which grey of 16 bits has not here"
    return "has more than 8 bits a colour; Pillow reads 8 of them" if _is_deeper(image) else ""


def _is_deeper(image: Image.Image) -> bool:
    """Whether Pillow reads 8 bits of more in the file, which is not loaded yet; JPEG 2000 and AVIF do not tell."""
    if image.mode[0] in "IF":
        return False
    if image.format == "TIFF":
        return bool(max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))) > 8)
    arguments = image.tile[0][3] if image.tile else ""  # of Pillow's decoder
    if image.format == "PPM" and isinstance(arguments, tuple):
        return int(arguments[1]) > 255  # the largest value
    return ";16" in str(arguments)


def _pixels(image: Image.Image, mode: str) -> NDArray[Any]:
    """(height, width, channels) in the machine's byte order: the 16-bit modes of a file may have the other one."""
    array = np.asarray(image if mode in ("I;16", image.mode) else image.convert(mode))
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native if native.ndim == 3 else native[..., None]


def as_image(picture: Picture) -> Image.Image:
    """The picture as Pillow holds it."""
    height, width = picture.pixels.shape[:2]
    pixels = picture.pixels.astype("<u2", copy=False) if picture.mode == "I;16" else picture.pixels
    return Image.frombytes(picture.mode, (width, height), np.ascontiguousarray(pixels).tobytes())


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` that takes its place and permissions if all goes well, and is removed if not."""
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = target.with_name(f".cupysample-{os.getpid()}{target.suffix}")  # as the ending, so the format
    try:
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


# ---- transparency ----------------------------------------------------------------------------------------------------


def _resize_premultiplied(device: Device, pixels: NDArray[Any], options: dict[str, Any]) -> NDArray[Any]:
    """Straight alpha in, straight alpha out, premultiplied float32 in between.

    Where only opaque pixels take part, the colour is the very one of the same picture without alpha: it is taken from
    the 8-bit resampling. A third channel group, 1 where a pixel is not opaque, tells where that is.
    """
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    opaque_colour = device.resize(colour, **options)
    if (alpha == 255).all():
        return np.concatenate([opaque_colour, np.full_like(opaque_colour[..., :1], 255)], axis=2)
    weight = alpha.astype(np.float32)
    planes = device.resize(np.concatenate([colour * weight, weight, weight < 255], axis=2, dtype=np.float32), **options)
    sums, cover, mixed = planes[..., :-2], planes[..., -2:-1], planes[..., -1:] != 0
    blended = np.divide(sums, cover, out=np.zeros_like(sums), where=cover > 0.5)  # below, alpha rounds to 0
    straight = np.where(mixed, np.rint(blended).clip(0, 255), opaque_colour)
    return np.concatenate([straight, np.where(mixed, np.rint(cover).clip(0, 255), 255)], axis=2).astype(np.uint8)
