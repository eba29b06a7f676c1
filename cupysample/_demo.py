"""The demo: one photograph through every two-dimensional mode, down and up, side by side in one labelled picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import cupysample
from cupysample._pictures import Picture, PictureError, as_image, resize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cupysample._report import Device

PHOTOGRAPH = Path(__file__).parent / "data" / "coffee.jpg"

Pixels = NDArray[np.uint8]


class Mode(NamedTuple):
    """A mode of `interpolate`, and what the eye should look for in the two rows of tiles."""

    mode: str
    antialias: bool
    down: str
    up: str

    @property
    def label(self) -> str:
        """The name under which the mode is shown."""
        return f"{self.mode}, antialias" if self.antialias else self.mode

    @property
    def options(self) -> dict[str, Any]:
        """The mode as arguments of `interpolate`."""
        return {"mode": self.mode, "antialias": self.antialias}


MODES = (
    Mode("nearest", False, "keeps the first pixel of {area}", "blocks"),
    Mode("nearest-exact", False, "keeps the middle pixel of {area}", "blocks; is nearest at whole factors"),
    Mode("bilinear", False, "reads 4 pixels of {area}: still aliases", "smooth but soft"),
    Mode("bicubic", False, "reads 16 pixels of {area}: still aliases", "crisp; halos along edges"),
    Mode("area", False, "the plain mean of all {area}", "blocks; nothing to average going up"),
    Mode("bilinear", True, "weighs them all; softest", "is bilinear; antialias acts going down"),
    Mode("bicubic", True, "weighs them all; sharp", "a gentler cubic; fainter halos"),
    Mode("lanczos", True, "weighs them all; sharpest", "crispest; a faint second halo"),
)

COLUMNS = 4
TILE = (288, 384)  # height, width of a tile; 8 and 6 divide both
DOWN, UP = 6, 8  # how many screen pixels show one pixel of the small picture; how many times larger the crop gets
SMALLER = 4  # the least factor of the downward half: from here on it is true that bicubic sees too little
MARGIN, GAP, LABEL = 14, 12, 56
HEADER, TITLE = 220, 72
WIDTH = 2 * MARGIN + COLUMNS * TILE[1] + (COLUMNS - 1) * GAP
PAPER, INK, FADED, RULE = "#ffffff", "#16191d", "#4d5761", "#d5dae0"


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, photo: Pixels) -> Pixels:
        """That part of the photograph, without a copy."""
        return photo[self.top : self.top + self.height, self.left : self.left + self.width]


class Tile(NamedTuple):
    """One picture on the sheet with its two lines of text."""

    label: str
    caption: str
    pixels: Pixels


def photograph(picture: Picture) -> Pixels:
    """Any picture as 8-bit RGB, large enough for the demo; what is transparent becomes white."""
    height, width = picture.pixels.shape[:2]
    least = tuple(SMALLER * extent // DOWN for extent in TILE)
    if height < least[0] or width < least[1]:
        raise PictureError(
            f"the demo needs a picture of at least {least[0]}x{least[1]} pixels (HxW), and this one is {picture.size}"
        )
    pixels = picture.pixels
    if pixels.dtype != np.uint8:
        low, high = np.nanmin(pixels), np.nanmax(pixels)
        span = max(float(high) - float(low), 1e-30)
        pixels = np.rint(np.nan_to_num((pixels - float(low)) / span) * 255).astype(np.uint8)
    if picture.mode in ("LA", "RGBA"):
        alpha = pixels[..., -1:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    elif picture.mode == "CMYK":
        pixels = np.asarray(as_image(picture).convert("RGB"))
    return np.broadcast_to(pixels, (height, width, 3))


def draw(photo: Pixels, device: Device) -> Picture:
    """The sheet of tiles: the photograph, every mode making it small, every mode making its sharpest part large."""
    whole, detail = _boxes(photo)
    small = (TILE[0] // DOWN, TILE[1] // DOWN)
    factor = whole.height / small[0]
    section = TITLE + (TILE[0] + LABEL + GAP) * (len(MODES) // COLUMNS)
    sheet = Image.new("RGB", (WIDTH, HEADER + 2 * section + MARGIN), PAPER)
    _header(sheet, photo, whole, detail, device)
    _section(
        sheet,
        HEADER,
        f"Down: {factor:.1f} times smaller, each pixel shown {DOWN} x {DOWN}",
        "Without antialias most of the picture is never read: fine texture turns to noise, thin lines turn to beads.",
        _tiles(device, whole.of(photo), small, [mode.down.format(area=round(factor**2)) for mode in MODES]),
    )
    _section(
        sheet,
        HEADER + section,
        f"Up: {UP} times larger, pixel for pixel",
        "Look for steps along an edge (blocks), for its width (blur), and for a halo beside it (ringing).",
        _tiles(device, detail.of(photo), TILE, [mode.up for mode in MODES]),
    )
    return Picture(np.asarray(sheet), "RGB")


def timings(photo: Pixels, device: Device, most: int = 1024) -> str:
    """A table of the time of each mode, down and up; of a large photograph only the middle counts."""
    middle = np.ascontiguousarray(_middle(photo, most, most).of(photo))
    height, width = middle.shape[:2]
    sizes = (max(height // 4, 1), max(width // 4, 1)), (height * 2, width * 2)
    columns = "".join(f"{f'to {down}x{across}':>14}" for down, across in sizes)
    lines = [f"{device.name}, milliseconds for a photograph of {height}x{width}, RGB, uint8", f"{'':22}{columns}"]
    for mode in MODES:
        times = (device.seconds(middle, size=size, **mode.options) * 1e3 for size in sizes)
        lines.append(f"  {mode.label:<20}" + "".join(f"{time:14.3f}" for time in times))
    return "\n".join(lines)


# ---- what to show ----------------------------------------------------------------------------------------------------


def _boxes(photo: Pixels) -> tuple[Box, Box]:
    """The middle of the photograph in the shape of a tile, and in it the part with the strongest edges."""
    height, width = photo.shape[:2]
    unit = min(height / TILE[0], width / TILE[1])
    tall, wide = round(TILE[0] * unit), round(TILE[1] * unit)
    whole = _middle(photo, tall, wide)
    search = _middle(photo, min(tall, 2048), min(wide, 2048))  # in the middle: sums over 100 megapixels take gigabytes
    found = _sharpest(search.of(photo), TILE[0] // UP, TILE[1] // UP)
    return whole, replace(found, top=search.top + found.top, left=search.left + found.left)


def _middle(photo: Pixels, height: int, width: int) -> Box:
    """The box of that size, or as large as the photograph, in its middle."""
    height, width = min(height, photo.shape[0]), min(width, photo.shape[1])
    return Box((photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2, height, width)


def _sharpest(photo: Pixels, height: int, width: int) -> Box:
    """The box with the strongest edges: fourth powers, so that a few clear lines win over much grain."""
    grey = photo.mean(axis=2)
    edges = np.zeros_like(grey)
    edges[1:] += np.diff(grey, axis=0) ** 4
    edges[:, 1:] += np.diff(grey, axis=1) ** 4
    total = np.pad(edges.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return Box(int(top), int(left), height, width)


def _tiles(device: Device, photo: Pixels, size: tuple[int, int], captions: list[str]) -> Iterator[Tile]:
    """One tile a mode. Small results are magnified pixel by pixel: what shows them must not resample them again."""
    for mode, caption in zip(MODES, captions, strict=True):
        pixels = resize(Picture(photo, "RGB"), device, size=size, **mode.options).pixels
        squares = TILE[0] // size[0]
        yield Tile(mode.label, caption, pixels.repeat(squares, axis=0).repeat(squares, axis=1))


# ---- drawing ---------------------------------------------------------------------------------------------------------


def _text(sheet: Image.Image, place: tuple[int, int], text: str, size: int, colour: str) -> None:
    ImageDraw.Draw(sheet).text(place, text, fill=colour, font=ImageFont.load_default(size))


def _header(sheet: Image.Image, photo: Pixels, whole: Box, detail: Box, device: Device) -> None:
    thumbnail = Image.fromarray(np.ascontiguousarray(photo))
    thumbnail.thumbnail((TILE[1], HEADER - MARGIN - GAP))
    factor = thumbnail.width / photo.shape[1]
    pen = ImageDraw.Draw(thumbnail)
    for box in (whole, detail):
        left, top = round(box.left * factor), round(box.top * factor)
        right, bottom = round((box.left + box.width) * factor) - 1, round((box.top + box.height) * factor) - 1
        pen.rectangle((left, top, right, bottom), outline=PAPER, width=2)
    sheet.paste(thumbnail, (MARGIN, MARGIN))
    left = MARGIN + thumbnail.width + 2 * GAP
    _text(sheet, (left, MARGIN + 8), "cupysample.interpolate", 46, INK)
    _text(sheet, (left, MARGIN + 72), "one photograph, every 2-D mode, down and up", 26, INK)
    height, width = photo.shape[:2]
    origin = f"The photograph has {width} x {height} pixels; the two halves below show what is in the white frames."
    _text(sheet, (left, MARGIN + 122), origin, 19, FADED)
    _text(sheet, (left, MARGIN + 150), f"cupysample {cupysample.__version__} on {device.name}", 19, FADED)


def _section(sheet: Image.Image, top: int, title: str, hint: str, tiles: Iterator[Tile]) -> None:
    ImageDraw.Draw(sheet).line((MARGIN, top, WIDTH - MARGIN, top), fill=RULE, width=1)
    _text(sheet, (MARGIN, top + 6), title, 28, INK)
    _text(sheet, (MARGIN, top + 40), hint, 20, FADED)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, COLUMNS)
        left = MARGIN + column * (TILE[1] + GAP)
        upper = top + TITLE + row * (TILE[0] + LABEL + GAP)
        sheet.paste(Image.fromarray(tile.pixels), (left, upper))
        _text(sheet, (left, upper + TILE[0] + 2), tile.label, 24, INK)
        _text(sheet, (left, upper + TILE[0] + 30), tile.caption, 18, FADED)
