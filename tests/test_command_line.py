"""The command line: what it reports, what it does to every kind of picture, and how it fails."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import textwrap
import types
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps

import cupysample
from cupysample import _demo, _pictures, _remedies, _report
from cupysample.__main__ import MODES, main

ORIENTATION = 0x0112  # the EXIF tag
RANDOM = np.random.default_rng(20)


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    """Pixels that no smoothing leaves alone."""
    return RANDOM.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def resampled(pixels: Any, size: tuple[int, int] = (7, 5), mode: str = "bicubic", antialias: bool = True) -> Any:
    """What `interpolate` itself makes of the pixels of a picture."""
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    result = cupysample.interpolate(planes.transpose(2, 0, 1)[None], size=size, mode=mode, antialias=antialias)
    return result[0].transpose(1, 2, 0).reshape(size + pixels.shape[2:])


def pixels_of(path: Path) -> Any:
    """The pixels of a file."""
    with Image.open(path) as image:
        return np.asarray(image)


def resize(source: Path, target: Path, *more: str) -> Image.Image:
    """Runs the command, on the CPU for the sake of machines with a GPU, and opens the result."""
    more = more or ("--size", "7x5", "--mode", "bicubic", "--antialias")
    assert main(["resize", str(source), str(target), "--device", "cpu", *more]) == 0
    with Image.open(target) as image:
        image.load()
        return image


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs a command that must fail with status 2 and one line, and returns the line."""
    try:
        status: Any = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code
    output, line = capsys.readouterr()
    assert (status, output) == (2, "")
    assert line.count("\n") == 1 and line.startswith("python -m cupysample")
    return line


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small RGB picture."""
    path = tmp_path / "photo.png"
    Image.fromarray(noise(9, 11, 3)).save(path)
    return path


# ---- resize: what comes out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "antialias"),
    [*((mode, False) for mode in MODES if mode != "lanczos"), ("bilinear", True), ("bicubic", True), ("lanczos", True)],
)
def test_resize_is_interpolate(photo: Path, tmp_path: Path, mode: str, antialias: bool) -> None:
    flag = ["--antialias"] if antialias else []
    image = resize(photo, tmp_path / "out.png", "--size", "5x20", "--mode", mode, *flag)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(image, resampled(pixels_of(photo), (5, 20), mode, antialias))


@pytest.mark.parametrize(
    ("extent", "height", "width"),
    [
        (("--size", "4x6"), 4, 6),
        (("--size", "4X6"), 4, 6),
        (("--size", "4"), 4, 4),
        (("--scale", "2"), 18, 22),
        (("--scale", "0.5"), 4, 5),
        (("--scale", "2x.5"), 18, 5),
    ],
)
def test_extent(photo: Path, tmp_path: Path, extent: tuple[str, str], height: int, width: int) -> None:
    assert resize(photo, tmp_path / "out.png", *extent, "--mode", "bilinear").size == (width, height)


def test_scale_is_a_scale_factor(photo: Path, tmp_path: Path) -> None:
    """Its coordinates use the factor given, as in torch, and not the ratio of the rounded sizes."""
    image = resize(photo, tmp_path / "out.png", "--scale", "1.3", "--mode", "bilinear")
    planes = pixels_of(photo).transpose(2, 0, 1)[None]
    expected = cupysample.interpolate(planes, scale_factor=1.3, mode="bilinear")[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        *(("L", ending) for ending in (".png", ".webp", ".tif", ".tiff", ".jp2", ".tga", ".bmp", ".pgm")),
        *(("RGB", ending) for ending in (".png", ".webp", ".tif", ".jp2", ".tga", ".bmp", ".ppm", ".PNG")),
        *(("I;16", ending) for ending in (".png", ".tif", ".jp2", ".pgm")),
        ("CMYK", ".tif"),
        ("I", ".tif"),
        ("F", ".tif"),
        ("F", ".pfm"),
    ],
)
def test_every_mode_keeps_its_depth(tmp_path: Path, mode: str, ending: str) -> None:
    pixels = {
        "L": noise(9, 11),
        "RGB": noise(9, 11, 3),
        "CMYK": noise(9, 11, 4),
        "I;16": noise(9, 11, dtype=np.uint16),
        "I": noise(9, 11, dtype=np.int32) - 2**30,
        "F": RANDOM.normal(size=(9, 11)).astype(np.float32) * 1e6,
    }[mode]
    source = tmp_path / "in.tif"
    Image.frombytes(mode, (11, 9), pixels.tobytes()).save(source)
    image = resize(source, tmp_path / f"out{ending}")
    if mode == "L" and ending == ".webp":
        image = image.convert("L")  # WebP knows no grey: it holds three equal channels
    expected = resampled(pixels)
    if (mode, ending) == ("I;16", ".pgm"):
        assert image.mode == "I"  # the name Pillow gives 16 bits in this format
    else:
        assert image.mode == mode
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("ending", [".jpg", ".jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_high_quality(tmp_path: Path, mode: str, ending: str) -> None:
    """CMYK included, whose inks Photoshop's JPEGs hold inverted."""
    ramp = Image.linear_gradient("L").resize((64, 64))
    picture = ramp if mode == "L" else Image.merge(mode, [ramp, ramp.rotate(90), ramp.rotate(180), ramp][: len(mode)])
    picture.save(tmp_path / "in.tif")
    image = resize(tmp_path / "in.tif", tmp_path / f"out{ending}", "--size", "32", "--mode", "area")
    assert image.mode == mode
    expected = resampled(np.asarray(picture), (32, 32), "area", antialias=False)
    assert np.abs(np.asarray(image).astype(int) - expected).max() <= 6


def test_sixteen_bits_of_either_byte_order(tmp_path: Path) -> None:
    pixels = noise(9, 11, dtype=np.uint16)
    Image.frombytes("I;16B", (11, 9), pixels.astype(">u2").tobytes()).save(tmp_path / "in.tif")
    with Image.open(tmp_path / "in.tif") as source:
        assert source.mode == "I;16B"
    np.testing.assert_array_equal(resize(tmp_path / "in.tif", tmp_path / "out.png"), resampled(pixels))


def test_sixteen_bits_that_pillow_reads_as_32(tmp_path: Path) -> None:
    """A PGM of 16 bits opens in mode I, which PNG cannot store."""
    pixels = noise(9, 11, dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / "in.pgm")
    with Image.open(tmp_path / "in.pgm") as source:
        assert source.mode == "I"
    image = resize(tmp_path / "in.pgm", tmp_path / "out.png")
    assert image.mode == "I;16"
    np.testing.assert_array_equal(image, resampled(pixels))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def written_with_16_bits(path: Path, channels: int) -> None:
    """A picture that Pillow cannot write; PNG has grey with alpha too, which OpenCV cannot write."""
    pixels = noise(9, 11, channels, dtype=np.uint16)
    if channels != 2:
        assert cv2.imwrite(str(path), pixels)
        return
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = (b"IHDR", struct.pack(">IIBBBBB", 11, 9, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts))


@pytest.mark.parametrize(
    ("name", "channels", "note"),
    [
        *((f"in.{ending}", 3, True) for ending in ("png", "tif", "ppm")),
        *((f"in.{ending}", 4, True) for ending in ("png", "tif")),
        ("in.png", 2, True),
        *((f"in.{ending}", 1, False) for ending in ("png", "tif", "pgm")),
    ],
)
def test_depth_that_pillow_drops_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, channels: int, note: bool
) -> None:
    written_with_16_bits(tmp_path / name, channels)
    image = resize(tmp_path / name, tmp_path / "out.png")
    assert capsys.readouterr().err.count("has more than 8 bits a colour; Pillow reads 8 of them\n") == note
    assert (image.mode == "I;16") != note


def test_transparency_that_pillow_drops_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Grey of 16 bits of which one is transparent: a chunk behind the header of one that has none."""
    Image.fromarray(noise(9, 11, dtype=np.uint16)).save(tmp_path / "in.png")
    assert not _pictures.read(tmp_path / "in.png").lost
    data, header = (tmp_path / "in.png").read_bytes(), 33
    (tmp_path / "in.png").write_bytes(data[:header] + png_chunk(b"tRNS", struct.pack(">H", 7)) + data[header:])
    resize(tmp_path / "in.png", tmp_path / "out.png")
    assert "in.png: has a transparent colour" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["png", "tif", "ppm", "jpg", "webp", "gif", "bmp"])
def test_no_depth_is_missed_in_8_bits(tmp_path: Path, ending: str) -> None:
    Image.fromarray(noise(9, 11, 3)).save(tmp_path / f"in.{ending}")
    assert not _pictures.read(tmp_path / f"in.{ending}").lost


def test_bits_become_greys(tmp_path: Path) -> None:
    bits = noise(9, 11) > 127
    Image.fromarray(bits).save(tmp_path / "in.png")
    image = resize(tmp_path / "in.png", tmp_path / "out.png")
    assert image.mode == "L"
    np.testing.assert_array_equal(image, resampled(bits * np.uint8(255)))


@pytest.mark.parametrize("ending", [".png", ".gif"])
def test_palettes_become_colours(tmp_path: Path, ending: str) -> None:
    source = tmp_path / f"in{ending}"
    Image.fromarray(noise(9, 11, 3)).quantize(7).save(source)
    with Image.open(source) as picture:
        assert picture.mode == "P"
        colours = np.asarray(picture.convert("RGB"))
    image = resize(source, tmp_path / "out.png")
    assert image.mode == "RGB"
    np.testing.assert_array_equal(image, resampled(colours))


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    """Hues are angles: no mean of them is a mean of colours."""
    picture = Image.fromarray(noise(9, 11, 3)).convert(mode)
    assert _pictures._working_mode(picture) == "RGB"
    np.testing.assert_array_equal(_pictures._pixels(picture, "RGB"), picture.convert("RGB"))


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, ending: str) -> None:
    """The pixels come out upright, and nothing in the file turns them a second time."""
    upright = Image.fromarray(noise(6, 4, 3))
    stored = {  # what a camera held that way stores
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    source = upright.transpose(stored[orientation]) if orientation in stored else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    source.save(tmp_path / f"in{ending}", exif=exif)
    image = resize(tmp_path / f"in{ending}", tmp_path / f"out{ending}", "--size", "12x8", "--mode", "nearest")
    np.testing.assert_array_equal(image, np.asarray(upright).repeat(2, 0).repeat(2, 1))
    assert image.getexif().get(ORIENTATION, 1) == 1
    np.testing.assert_array_equal(ImageOps.exif_transpose(image), image)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif"])
def test_the_profile_is_kept(tmp_path: Path, ending: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(noise(9, 11, 3)).save(tmp_path / "in.png", icc_profile=profile)
    assert resize(tmp_path / "in.png", tmp_path / f"out{ending}").info["icc_profile"] == profile


def test_of_several_pictures_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (Image.new("RGB", (11, 9), colour) for colour in ("#ff0000", "#0000ff"))
    first.save(tmp_path / "in.gif", save_all=True, append_images=[second])
    image = resize(tmp_path / "in.gif", tmp_path / "out.png")
    assert image.getcolors() == [(35, (255, 0, 0))]
    assert "holds 2 pictures; the first was resized" in capsys.readouterr().err


# ---- resize: transparency --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
@pytest.mark.parametrize(
    ("mode", "antialias"), [("bilinear", False), ("bicubic", True), ("area", False), ("lanczos", True)]
)
def test_invisible_colours_do_not_bleed(tmp_path: Path, mode: str, antialias: bool, ending: str) -> None:
    """Transparent red beside opaque blue: whatever is visible stays blue."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :9] = (255, 0, 0, 0)
    pixels[:, 9:] = (0, 0, 255, 255)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    more = ("--size", "5x7", "--mode", mode, *(["--antialias"] if antialias else []))
    image = np.asarray(resize(tmp_path / "in.png", tmp_path / f"out{ending}", *more))
    assert image.shape == (5, 7, 4)
    visible = image[image[..., 3] > 0]
    assert set(map(tuple, visible[:, :3].tolist())) == {(0, 0, 255)}
    expected = resampled(pixels[..., 3], (5, 7), mode, antialias)
    assert np.abs(image[..., 3].astype(int) - expected).max() <= 1
    assert (image[..., 3] > 0).any() and (image[..., 3] < 255).any()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_opaque_pixels_are_those_of_the_picture_without_alpha(tmp_path: Path, mode: str) -> None:
    pixels = noise(32, 32, len(mode))
    pixels[..., -1] = 255
    pixels[:, 24:, -1] = noise(32, 8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    for extent in ("17x16", "57x80"):
        image = resize(tmp_path / "in.png", tmp_path / "out.png", "--size", extent, "--mode", "lanczos", "--antialias")
        assert image.mode == mode
        height, width = image.size[::-1]
        opaque = width * 24 // 32 - 3 * max(1, width // 32)  # as far as no window reaches what is not opaque
        expected = resampled(pixels[..., :-1].squeeze(), (height, width), "lanczos")
        result = np.asarray(image)
        np.testing.assert_array_equal(result[:, :opaque, :-1].squeeze(), expected[:, :opaque])
        assert (result[:, :opaque, -1] == 255).all()


def test_alpha_that_is_opaque_throughout(tmp_path: Path) -> None:
    pixels = noise(9, 11, 4)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "in.png")
    image = resize(tmp_path / "in.png", tmp_path / "out.png")
    assert image.mode == "RGBA"
    np.testing.assert_array_equal(image, resampled(pixels))


def test_even_translucency_changes_no_colour(tmp_path: Path) -> None:
    """A constant alpha cancels, and so the colours are those of the opaque picture, but for the last rounding."""
    pixels = noise(20, 20, 4)
    pixels[..., 3] = 128
    Image.fromarray(pixels).save(tmp_path / "in.png")
    image = np.asarray(resize(tmp_path / "in.png", tmp_path / "out.png")).astype(int)
    assert (image[..., 3] == 128).all()
    assert np.abs(image[..., :3] - resampled(pixels[..., :3])).max() <= 1


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_copies_even_invisible_colours(tmp_path: Path, mode: str) -> None:
    pixels = noise(9, 11, 4)
    pixels[::2, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "in.png")
    image = resize(tmp_path / "in.png", tmp_path / "out.png", "--size", "20", "--mode", mode)
    np.testing.assert_array_equal(image, resampled(pixels, (20, 20), mode, antialias=False))


@pytest.mark.parametrize(("mode", "out"), [("P", "RGBA"), ("RGB", "RGBA"), ("L", "LA"), ("1", "LA")])
def test_transparent_colours(tmp_path: Path, mode: str, out: str) -> None:
    """A colour that the file declares transparent, as GIF and PNG can, and does not mix into its neighbours."""
    picture = Image.new("RGB", (12, 12), "#000000")
    picture.paste("#ffffff", (6, 0, 12, 12))
    key: Any = {"P": 0, "RGB": (0, 0, 0), "L": 0, "1": 0}[mode]
    picture = picture.convert(mode) if mode != "P" else picture.quantize(2)
    if mode == "P":
        key = picture.getpixel((0, 0))
    picture.save(tmp_path / "in.png", transparency=key)
    image = resize(tmp_path / "in.png", tmp_path / "out.png", "--size", "5", "--mode", "bilinear", "--antialias")
    assert image.mode == out
    pixels = np.asarray(image)
    assert (pixels[:, 0, -1] == 0).all() and (pixels[:, -1, -1] == 255).all()
    assert (pixels[pixels[..., -1] > 0][:, :-1] == 255).all()
    assert ((pixels[..., -1] > 0) & (pixels[..., -1] < 255)).any()


# ---- resize: what goes wrong -----------------------------------------------------------------------------------------

SIZE = ("--size", "4x4", "--mode", "bilinear")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("IN", "OUT.png", "--mode", "bilinear"), "one of the arguments --size --scale is required"),
        (("IN", "OUT.png", "--size", "4", "--scale", "2", "--mode", "area"), "not allowed with argument"),
        (("IN", "OUT.png", "--size", "4"), "required: --mode"),
        (("IN", "OUT.png", "--size", "4x4x4", "--mode", "area"), "'4x4x4' is not HxW"),
        (("IN", "OUT.png", "--size", "0x4", "--mode", "area"), "'0x4': both sides must be at least 1"),
        (("IN", "OUT.png", "--size", "-3", "--mode", "area"), "'-3' is not HxW"),
        (("IN", "OUT.png", "--scale", "nan", "--mode", "area"), "'nan' is not a factor above 0"),
        (("IN", "OUT.png", "--scale", "0", "--mode", "area"), "'0' is not a factor above 0"),
        (("IN", "OUT.png", "--scale", "2x2x2", "--mode", "area"), "is not a factor above 0"),
        (
            ("IN", "OUT.png", "--scale", "0.001", "--mode", "area"),
            "--scale: a picture of 9x11 pixels would shrink to nothing",
        ),
        (("IN", "OUT.png", "--size", "4", "--mode", "cubic"), "invalid choice: 'cubic'"),
        (
            ("IN", "OUT.png", "--size", "4", "--mode", "nearest", "--antialias"),
            "--antialias: goes with --mode bilinear, bicubic, lanczos, got nearest",
        ),
        (("IN", "OUT.png", "--size", "4", "--mode", "lanczos"), "--mode lanczos: needs --antialias"),
        (("IN", "OUT.png", "--size", "4", "--mode", "area", "--device", "tpu"), "invalid choice: 'tpu'"),
        (("IN", "OUT.png", "--size", "9000000000x1", "--mode", "nearest"), "at most 536870911 pixels a side"),
        (
            ("IN", "OUT.png", "--scale", "1e8", "--mode", "area"),
            "--scale: at most 536870911 pixels a side, got 9e+08x1.1e+09",
        ),
        (("IN", "OUT.png", "--scale", "1e308", "--mode", "bilinear"), "pixels a side, got infxinf"),
        (("IN", "OUT.png", "--size", "536870911", "--mode", "bilinear"), "not enough memory for a result of that size"),
        (("IN", "OUT.xyz", *SIZE), "OUT.xyz: the name must end in one of .png, "),
        (("IN", "OUT", *SIZE), "OUT: the name must end in one of .png, "),
        (("IN", "nowhere/OUT.png", *SIZE), "OUT.png: No such file or directory"),
        (("IN", "folder.png", *SIZE), "folder.png: Is a directory"),
        (("nothing.png", "OUT.png", *SIZE), "nothing.png: No such file or directory"),
        ((".", "OUT.png", *SIZE), "Is a directory"),
        (("text.png", "OUT.png", *SIZE), "text.png: not a picture in any format that Pillow reads"),
        (("cut.png", "OUT.png", *SIZE), "cut.png: "),
        (("lab.tif", "OUT.png", *SIZE), "lab.tif: pictures of mode LAB are not supported"),
        (("alpha.png", "OUT.jpg", *SIZE), ".jpg files cannot store a picture of mode RGBA; these can: .png, .webp"),
        (
            ("cmyk.tif", "OUT.png", *SIZE),
            ".png files cannot store a picture of mode CMYK; these can: .jpg, .jpeg, .tif",
        ),
        (("IN", "OUT.webp", "--size", "1x20000", "--mode", "bilinear"), "at most 16383 pixels a side, and this"),
        (
            ("IN", "OUT.jpg", "--size", "1x65501", "--mode", "nearest"),
            "OUT.jpg: .jpg files have at most 65500 pixels a side, and this picture has 1x65501",
        ),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    photo: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    folder = photo.parent
    monkeypatch.chdir(folder)
    photo.rename("IN")
    Path("text.png").write_text("no picture")
    Path("cut.png").write_bytes(Path("IN").read_bytes()[:120])
    Image.new("LAB", (8, 8)).save("lab.tif")
    Image.new("RGBA", (8, 8)).save("alpha.png")
    Image.new("CMYK", (8, 8)).save("cmyk.tif")
    Path("folder.png").mkdir()
    target = Path(arguments[1])
    if target.name.startswith("OUT") and target.parent == Path():
        target.write_text("what was there before")
    before = sorted(path.name for path in folder.iterdir())
    assert words in failure(capsys, "resize", *arguments, *([] if "--device" in arguments else ["--device", "cpu"]))
    assert sorted(path.name for path in folder.iterdir()) == before
    if target.is_file():
        assert target.read_text() == "what was there before"


def test_a_picture_replaces_itself(photo: Path) -> None:
    expected = resampled(pixels_of(photo))
    np.testing.assert_array_equal(resize(photo, photo), expected)
    assert list(photo.parent.iterdir()) == [photo]


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither links for everyone nor these permissions")
def test_the_file_is_an_ordinary_one(photo: Path, tmp_path: Path) -> None:
    """It has the permissions of any new file, or those of the one that it replaces; a link stays a link to what is written."""
    (tmp_path / "link.png").symlink_to("real.png")
    resize(photo, tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    (tmp_path / "other").touch()
    assert (tmp_path / "real.png").stat().st_mode == (tmp_path / "other").stat().st_mode
    (tmp_path / "real.png").chmod(0o600)
    resize(photo, tmp_path / "link.png")
    assert (tmp_path / "real.png").stat().st_mode & 0o777 == 0o600


def test_long_names(photo: Path, tmp_path: Path) -> None:
    """As long as a file system takes."""
    resize(photo, tmp_path / f"{251 * 'n'}.png")


def test_what_was_done_is_said(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resize(photo, tmp_path / "out.png")
    assert "out.png: RGB 9x11 -> 7x5, bicubic antialias on NumPy, " in capsys.readouterr().out


def test_large_pictures(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Up to twice Pillow's limit they are read without a word, and beyond are one line."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    resize(photo, tmp_path / "out.png")
    assert not capsys.readouterr().err
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    line = failure(capsys, "resize", photo, tmp_path / "out.png", *SIZE)
    assert line.endswith("photo.png: too large for Pillow: Image size (99 pixels) exceeds limit of 80 pixels\n")


def run_into(stdout: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which writes what it has to say when it ends."""
    return subprocess.run(
        [sys.executable, "-m", "cupysample", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
        cwd=folder,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [(), ("--help",), ("resize", "photo.png", "out.png", *SIZE), ("demo", "--output", "out.png")]
)
def test_nobody_reads_the_output(photo: Path, arguments: tuple[str, ...]) -> None:
    """As under ``| head``: no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = run_into(writer, photo.parent, *arguments)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [(), ("--help",), ("resize", "photo.png", "out.png", *SIZE)])
def test_the_output_does_not_fit(photo: Path, arguments: tuple[str, ...]) -> None:
    """On a full disk: one line."""
    with Path("/dev/full").open("w") as full:
        done = run_into(full.fileno(), photo.parent, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the output cannot be written" in done.stderr


def test_too_little_memory(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interpolate(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(cupysample, "interpolate", interpolate)
    line = failure(capsys, "resize", photo, tmp_path / "out.png", *SIZE, "--device", "cpu")
    assert line == "python -m cupysample: error: not enough memory for a result of that size\n"


# ---- the report and the devices, with CuPy in every state ------------------------------------------------------------

# A CuPy whose arrays are NumPy's: as much of it as the command line touches.
WORKING = """
    import types
    import numpy
    from numpy import asarray
    __version__ = "14.2.0"
    class ndarray: pass
    class RawModule: pass
    asnumpy = numpy.asarray
    properties = {"name": b"NVIDIA Pretend", "major": 9, "minor": 0, "totalGlobalMem": 140 * 2**30}
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12090,
        getDeviceProperties=lambda index: properties)
    nvrtc = types.SimpleNamespace(getVersion=lambda: (12, 9))
    cuda = types.SimpleNamespace(
        runtime=runtime, nvrtc=nvrtc, get_cuda_path=lambda: None,
        get_current_stream=lambda: types.SimpleNamespace(synchronize=lambda: None))
"""
WITHOUT_DRIVER = """
    def fail(*_): raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is\\ninsufficient")
    runtime.getDeviceCount = runtime.getDeviceProperties = cuda.get_current_stream = asarray = fail
    runtime.driverGetVersion = lambda: 0
    cuda.is_available = fail
"""
STATES = {
    "missing": (
        'raise ModuleNotFoundError("No module named \'cupy\'", name="cupy")',
        "CuPy is not installed; for an NVIDIA GPU: pip install",
        "not installed",
    ),
    "unwritable cache": (
        'raise PermissionError(13, "Permission denied", "/home/user/.cupy")',
        "does not import (PermissionError: [Errno 13] Permission denied: '/home/user/.cupy'); CuPy needs a kernel cache",
        "broken: PermissionError",
    ),
    "missing library": (
        'raise ImportError("libcuda.so.1: cannot open\\n  shared object file")',
        "does not import (ImportError: libcuda.so.1: cannot open shared object file); reinstall it",
        "broken: ImportError: libcuda.so.1: cannot open shared object file",
    ),
    "missing dependency": (
        'raise ModuleNotFoundError("No module named \'fastrlock\'", name="fastrlock")',
        "does not import (ModuleNotFoundError: No module named 'fastrlock'); reinstall it",
        "broken: ModuleNotFoundError",
    ),
    "damaged file": ("def", "does not import (SyntaxError", "broken: SyntaxError"),
    "silent error": ("raise KeyError()", "does not import (KeyError); reinstall it", "broken: KeyError"),
    "exit": ("raise SystemExit(3)", "does not import (SystemExit: 3); reinstall it", "broken: SystemExit: 3"),
    "full disk": (
        'raise OSError(28, "No space left on device")',
        "does not import (OSError: [Errno 28] No space left on device); CuPy needs a kernel cache",
        "broken: OSError",
    ),
    "empty": ("", "does not import (ImportError: it has no RawModule", "broken: ImportError: it has no RawModule"),
    "no driver": (
        WORKING + WITHOUT_DRIVER,
        "no GPU answers (RuntimeError: cudaErrorInsufficientDriver: CUDA driver version is insufficient); "
        "install the NVIDIA driver",
        "14.2.0",
    ),
    "old driver": (
        WORKING + WITHOUT_DRIVER + "    runtime.driverGetVersion = lambda: 11080\n",
        "the driver is for CUDA 11.8 and CuPy for CUDA 12.9: update the driver",
        "14.2.0",
    ),
    "hidden GPU": (
        WORKING + "    runtime.getDeviceCount = lambda: 0\n",
        "no GPU is visible; see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES",
        "14.2.0",
    ),
    "older NVRTC": (
        WORKING
        + "    def asarray(_): raise RuntimeError('CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available')\n",
        "the GPU runs no kernel (RuntimeError: CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available); "
        "NVRTC is older than the device: pip install --upgrade nvidia-cuda-nvrtc-cu12",
        "14.2.0",
    ),
    "no headers": (
        WORKING + "    def asarray(_): raise RuntimeError('Failed to find CUDA headers')\n",
        "the GPU runs no kernel (RuntimeError: Failed to find CUDA headers); kernels need NVRTC and the CUDA headers",
        "14.2.0",
    ),
}


ROOT = Path(cupysample.__file__).parent.parent


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the folder, where its modules shadow installed ones."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, *arguments]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("state", STATES)
def test_whatever_is_broken_numpy_runs_and_the_reason_is_given(photo: Path, state: str) -> None:
    source, reason, version = STATES[state]
    folder = photo.parent
    (folder / "cupy.py").write_text(textwrap.dedent(source))
    (folder / "script.py").write_text(
        """
import sys
from cupysample.__main__ import main
print(main([]))
print(*({"torch", "PIL"} & set(sys.modules)), ".")
print(main(["resize", "photo.png", "gpu.png", "--size", "4", "--mode", "area", "--device", "gpu"]))
print(main(["resize", "photo.png", "auto.png", "--size", "4", "--mode", "area"]))
"""
    )
    done = python(folder, "script.py")
    assert done.returncode == 0, done.stderr
    *report, status, modules, gpu, auto_line, auto = done.stdout.splitlines()
    assert report[1].startswith("runs on       NumPy: ") and reason in report[1]
    assert version in report[2]
    assert (status, modules) == ("0", ".")
    assert gpu == "2" and not (folder / "gpu.png").exists()
    assert reason in done.stderr and done.stderr.count("\n") == 1
    assert auto == "0" and "area on NumPy" in auto_line and (folder / "auto.png").exists()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A CuPy that answers."""
    cupy: Any = types.ModuleType("cupy")
    exec(textwrap.dedent(WORKING), cupy.__dict__)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    _report._import_cupy.cache_clear()
    yield cupy
    _report._import_cupy.cache_clear()


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_answers_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "runs on       GPU (NVIDIA Pretend): " in text
    assert "CUDA driver   13.0\nCUDA runtime  12.9\n" in text
    assert "0: NVIDIA Pretend, compute capability 9.0, 140.0 GiB" in text
    assert "NVRTC         12.9" in text


@pytest.mark.parametrize("device", ["auto", "gpu", "cpu"])
def test_the_device_that_runs(
    gpu: Any, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    moved = []

    def asarray(array: Any) -> Any:
        moved.append(array.shape)
        return array

    monkeypatch.setattr(gpu, "asarray", asarray)
    assert main(["resize", str(photo), str(photo), *SIZE, "--device", device]) == 0
    where = "NumPy" if device == "cpu" else "GPU (NVIDIA Pretend)"
    assert f"bilinear on {where}, " in capsys.readouterr().out
    # Height, width, channels as they lie in the picture: a channels_last array on the device too.
    assert (moved[-1:] == [(9, 11, 3)]) == (device != "cpu")


@pytest.mark.parametrize("made", [True, False])
def test_the_kernel_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "deep" / "cache"
    if made:
        folder.mkdir(parents=True)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(folder))
    assert f"kernel cache  {folder} (writable)" in _report.report()
    assert folder.exists() == made
    (tmp_path / "file").touch()
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert "NOT writable: set CUPY_CACHE_DIR" in _report.report()
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    assert "kernel cache  in memory only" in _report.report()


def test_wheels_that_overwrite_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remedies, "cupy_wheels", lambda: ["cupy-cuda12x", "cupy-cuda13x"])
    assert "cupy-cuda12x and cupy-cuda13x overwrite each other" in _remedies.of_import(ImportError())


def test_this_machine(tmp_path: Path) -> None:
    """As users start it; `import cupysample` alone loads nothing of CuPy, torch or Pillow."""
    done = python(tmp_path, "-m", "cupysample")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line[:13].rstrip() for line in done.stdout.splitlines()] == [
        *("cupysample", "runs on", "CuPy", "CUDA driver", "CUDA runtime", "GPU", "NVRTC", "CUDA headers"),
        *("kernel cache", "Python", "numpy", "torch", "ml_dtypes", "pillow"),
    ]
    assert cupysample.__version__ in done.stdout and np.__version__ in done.stdout
    script = "import sys, cupysample.__main__; print(*({'cupy', 'torch', 'PIL'} & set(sys.modules)), '.')"
    assert python(tmp_path, "-c", script).stdout == ".\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('raise ModuleNotFoundError("No module named \'PIL\'", name="PIL")', "this command needs Pillow: pip install"),
        (
            'raise ImportError("_imaging: wrong Python")',
            "Pillow does not import (ImportError: _imaging: wrong Python): pip",
        ),
    ],
)
def test_without_pillow(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "PIL.py").write_text(source)
    for arguments in (("demo",), ("resize", "a.png", "b.png", *SIZE)):
        done = python(tmp_path, "-m", "cupysample", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert words in done.stderr and _remedies.PILLOW in done.stderr
    assert python(tmp_path, "-m", "cupysample").returncode == 0


def test_the_readme_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("demo", "resize"):
        with pytest.raises(SystemExit):
            main([command, "-h"])
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
        assert {option for option in options if f"`{option}" not in readme} == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-h",), ("demo", "resize", "which device")),
        (("resize", "-h"), ("--size HxW", "--antialias", "nearest-exact", "premultiplied", "examples:")),
        (("demo", "-h"), ("PICTURE", "--output FILE", "cupysample-demo.png")),
        (("--version",), (cupysample.__version__,)),
    ],
)
def test_help(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    text = capsys.readouterr().out
    assert all(word in text for word in words)


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'shrink'" in failure(capsys, "shrink")


# ---- the demo --------------------------------------------------------------------------------------------------------


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One PNG of a size to show on a page, a label that fits under every tile, and the true pixels in the tiles."""
    texts: list[tuple[tuple[int, int], str, int]] = []
    draw_text = _demo._text

    def text(sheet: Any, place: tuple[int, int], words: str, size: int, colour: str) -> None:
        texts.append((place, words, size))
        draw_text(sheet, place, words, size, colour)

    monkeypatch.setattr(_demo, "_text", text)
    monkeypatch.setattr(_report.Device, "seconds", lambda *_, **__: 0.0125)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--device", "cpu"]) == 0
    with Image.open("cupysample-demo.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape[1:] == (1600, 3) and Path("cupysample-demo.png").stat().st_size < 1.5e6

    output = capsys.readouterr().out
    photo = pixels_of(_demo.PHOTOGRAPH)
    whole, detail = _demo._boxes(photo)
    for mode in _demo.MODES:
        assert f"  {mode.label:<20}        12.500        12.500\n" in output
        places = [place for place, words, _ in texts if words == mode.label]
        for (left, below), crop, size, zoom in zip(
            places, (whole, detail), ((48, 64), (288, 384)), (6, 1), strict=True
        ):
            expected = resampled(crop.of(photo), size, mode.mode, mode.antialias).repeat(zoom, 0).repeat(zoom, 1)
            np.testing.assert_array_equal(sheet[below - 290 : below - 2, left : left + 384], expected)
    assert output.startswith("NumPy, milliseconds for a photograph of 400x600, RGB, uint8\n") and output.endswith(
        "wrote cupysample-demo.png\n"
    )

    for (left, top), words, points in texts:
        box = ImageDraw.Draw(Image.new("RGB", (1, 1))).textbbox((left, top), words, font=ImageFont.load_default(points))
        column_end = left + 384 if points in (24, 18) else 1600
        assert box[2] <= column_end and box[3] < len(sheet), words
    assert all(mode in {shown.mode for shown in _demo.MODES} for mode in MODES)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "I;16", "F", "P", "tall", "wide", "least"])
def test_demo_of_any_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(_report.Device, "seconds", lambda *_, **__: 0.0)
    size = {"tall": (256, 700), "wide": (900, 192), "least": (256, 192)}.get(mode, (300, 260))
    with Image.open(_demo.PHOTOGRAPH) as image:
        picture = image.resize(size)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 200)
    elif mode not in ("tall", "wide", "least"):
        picture = picture.convert("L").convert(mode) if mode in ("F", "LA") else picture.convert(mode)
    picture.save(tmp_path / "in.tif")
    assert main(["demo", str(tmp_path / "in.tif"), "--output", str(tmp_path / "out.png"), "--device", "cpu"]) == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.width == 1600
        tile = np.asarray(image.crop((14, 290, 398, 570)))
    assert tile.std() > 20  # the photograph is recognisable: neither black nor white nor clipped


def test_a_transparent_picture_is_shown_on_white() -> None:
    pixels = np.zeros((192, 256, 4), np.uint8)
    pixels[:96, :, 3] = 255
    shown = _demo.photograph(_pictures.Picture(pixels, "RGBA"))
    assert (shown[:96] == 0).all() and (shown[96:] == 255).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("small.png",), "at least 192x256 pixels (HxW), and this one is 9x11"),
        (("nothing.png",), "nothing.png: No such file or directory"),
        (("--output", "out.gif"), "out.gif: the name must end in one of"),
        (("--output", "nowhere/out.png"), "nowhere/out.png: No such file or directory"),
        (("--device", "gpu"), "CuPy"),
    ],
)
def test_demo_errors(
    photo: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(photo.parent)
    photo.rename("small.png")
    monkeypatch.setattr(_report, "_import_cupy", lambda: ImportError("broken"))
    assert words in failure(capsys, "demo", *arguments)
    assert [path.name for path in Path().iterdir()] == ["small.png"]


@pytest.mark.usefixtures("gpu")
def test_timings_of_a_large_photograph_use_its_middle() -> None:
    """A row for each mode, on the device, in bounded time."""
    photo = noise(300, 40, 3)
    table = _demo.timings(photo, _report.pick("gpu"), most=64)
    title, columns, *rows = table.splitlines()
    assert title == "GPU (NVIDIA Pretend), milliseconds for a photograph of 64x40, RGB, uint8"
    assert columns.split() == ["to", "16x10", "to", "128x80"]
    assert len(rows) == len(_demo.MODES)
    assert all(float(time) > 0 for row in rows for time in row.split()[-2:])


def test_the_first_call_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It builds tables, and on a GPU it may compile; after it the best of a few counts."""
    delays = iter([0.0, 0.2, 0.2, 0.04, 0.2])
    clock = [0.0]

    def interpolate(array: Any, **_: Any) -> Any:
        clock[0] += next(delays)
        return array

    monkeypatch.setattr(cupysample, "interpolate", interpolate)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert _report.Device("NumPy").seconds(noise(4, 4, 3), budget=0.5) == pytest.approx(0.04)
    assert next(delays, None) is None


def test_the_tiles_keep_the_shape_of_things() -> None:
    """Both parts that are shown have the shape of a tile, and the second holds the one edge there is."""
    for height, width in ((700, 256), (192, 900), (400, 600)):
        photo = np.zeros((height, width, 3), np.uint8)
        photo[height // 2 + 20, width // 2 - 30] = 255
        whole, detail = _demo._boxes(photo)
        assert whole.width / whole.height == pytest.approx(4 / 3, rel=0.01)
        assert whole.of(photo).shape == (whole.height, whole.width, 3)
        assert detail.of(photo).shape == (36, 48, 3) and detail.of(photo).any()


def test_the_photograph_is_small_and_its_licence_is_beside_it() -> None:
    assert _demo.PHOTOGRAPH.stat().st_size <= 60 * 1024
    note = (_demo.PHOTOGRAPH.parent / "LICENSE-coffee.txt").read_text()
    assert all(word in note for word in ("coffee.jpg", "Rachel Michetti", "CC0", "scikit-image"))
