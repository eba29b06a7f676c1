"""The command line: `python -m cupysample`."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import cupysample
from cupysample._remedies import PILLOW, one_line
from cupysample._report import UserError, pick, report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM = "python -m cupysample"
MODES = ("nearest", "nearest-exact", "bilinear", "bicubic", "area", "lanczos")
ANTIALIASED = ("bilinear", "bicubic", "lanczos")
LONGEST = 2**29 - 1  # pixels a side: Pillow's rows have less than 2 GiB, and no product with bytes overflows

_DESCRIPTION = "Without a command: says which device cupysample runs on here, why, and what it found."
_RESIZE = """\
Resizes a picture file exactly as cupysample.interpolate does.

EXIF orientation is applied; the ICC profile is kept, other metadata is not. Grey keeps its depth: 8 or 16 bits,
32-bit integer or float. Colours and alpha have 8 bits: of deeper ones Pillow reads no more, which a note says (but for
JPEG 2000 and AVIF). Palettes become RGB, or RGBA if they have transparent colours; 1-bit becomes grey.
Transparent pictures are mixed premultiplied by alpha. CMYK is resized ink by ink; YCbCr and HSV become RGB."""
_EXAMPLES = f"""\
examples:
  {PROGRAM} resize photo.jpg half.png --scale 0.5 --mode bicubic --antialias
  {PROGRAM} resize photo.jpg thumbnail.webp --size 128x192 --mode lanczos --antialias
  {PROGRAM} resize icon.png large.png --scale 8 --mode nearest"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Ends the program as every wrong use does."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status: 0, 2 after one line on what is wrong, 1 where nobody reads the output."""
    try:
        try:
            return _run(arguments)
        finally:
            print(end="", flush=True)  # here, where its failure is caught
    except OSError as error:  # of the output: commands have their own words for files
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python ends
        if isinstance(error, BrokenPipeError):
            return 1
        print(f"{PROGRAM}: error: the output cannot be written ({one_line(error)})", file=sys.stderr)
        return 2


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except UserError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    return 0


# ---- the commands ----------------------------------------------------------------------------------------------------


def _report(_: argparse.Namespace) -> None:
    print(report())


def _demo(options: argparse.Namespace) -> None:
    pictures = _with_pillow()
    from cupysample import _demo as demo

    pictures.check_stored(options.output, "RGB")  # before the work
    photo = demo.photograph(pictures.read(options.picture or demo.PHOTOGRAPH))
    device = pick(options.device)
    with _complaints():
        pictures.write(demo.draw(photo, device), options.output)
        print(demo.timings(photo, device))
    print(f"wrote {options.output}")


def _resize(options: argparse.Namespace) -> None:
    _check_antialias(options.mode, options.antialias)
    pictures = _with_pillow()
    picture = pictures.read(options.input)
    pictures.check_stored(options.output, picture.mode, options.size or _scaled(picture, options.scale))
    device = pick(options.device)
    extent: dict[str, Any] = {"size": options.size} if options.size else {"scale_factor": options.scale}
    start = time.perf_counter()
    with _complaints():
        result = pictures.resize(picture, device, mode=options.mode, antialias=options.antialias, **extent)
    milliseconds = (time.perf_counter() - start) * 1e3
    pictures.write(result, options.output)
    if picture.frames > 1:
        print(f"{options.input}: holds {picture.frames} pictures; the first was resized", file=sys.stderr)
    if picture.lost:
        print(f"{options.input}: {picture.lost}", file=sys.stderr)
    how = f"{options.mode}{' antialias' if options.antialias else ''} on {device.name}, {milliseconds:.1f} ms"
    print(f"{options.output}: {result.mode} {picture.size} -> {result.size}, {how}")


def _check_antialias(mode: str, antialias: bool) -> None:
    """In the words of the command line; `interpolate` has torch's."""
    if antialias and mode not in ANTIALIASED:
        raise UserError(f"--antialias: goes with --mode {', '.join(ANTIALIASED)}, got {mode}")
    if mode == "lanczos" and not antialias:
        raise UserError("--mode lanczos: needs --antialias")


def _scaled(picture: Any, scale: tuple[float, float]) -> tuple[int, int]:
    """The sides of the result."""
    height, width = (n * s for n, s in zip(picture.pixels.shape, scale, strict=False))
    if min(height, width) < 1:
        raise UserError(f"--scale: a picture of {picture.size} pixels would shrink to nothing")
    if max(height, width) > LONGEST:
        raise UserError(f"--scale: at most {LONGEST} pixels a side, got {height:.7g}x{width:.7g}")
    return int(height), int(width)


def _with_pillow() -> Any:
    """The module of pictures: the one thing here that needs Pillow, so it is imported where it is needed."""
    try:
        from cupysample import _pictures
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == "PIL":
            raise UserError(f"this command needs Pillow: {PILLOW}") from error
        raise UserError(f"Pillow does not import ({one_line(error)}): {PILLOW}") from error
    return _pictures


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    """What `interpolate` complains of, a size or a mode, was asked for on the command line."""
    try:
        yield
    except MemoryError as error:
        raise UserError("not enough memory for a result of that size") from error
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise UserError(" ".join(str(error).split())) from error


# ---- the arguments ---------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(PROGRAM, description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"cupysample {cupysample.__version__}")
    parser.set_defaults(run=_report)
    commands = parser.add_subparsers(title="commands", metavar="{demo,resize}")

    demo = commands.add_parser(
        "demo",
        help="one photograph through every mode, in one labelled picture",
        description="Resizes a photograph with every 2-D mode, down and up, and writes one labelled picture.",
    )
    demo.add_argument("picture", metavar="PICTURE", nargs="?", type=Path, help="default: an included photograph")
    demo.add_argument(
        "--output", metavar="FILE", type=Path, default=Path("cupysample-demo.png"), help="default: %(default)s"
    )
    _add_device(demo)
    demo.set_defaults(run=_demo)

    resize = commands.add_parser(
        "resize",
        help="resize a picture file",
        description=_RESIZE,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    resize.add_argument("input", metavar="IN", type=Path, help="a picture that Pillow reads")
    resize.add_argument("output", metavar="OUT", type=Path, help="its ending chooses the format; replaced if it exists")
    extent = resize.add_mutually_exclusive_group(required=True)
    extent.add_argument("--size", metavar="HxW", type=_size, help="pixels, height first as in torch; N means NxN")
    extent.add_argument("--scale", metavar="S", type=_scale, help="factor on both sides; SHxSW: on height and width")
    resize.add_argument("--mode", metavar="M", required=True, choices=MODES, help=f"one of {', '.join(MODES)}")
    resize.add_argument(
        "--antialias", action="store_true", help="filter before shrinking, with bilinear and bicubic; lanczos needs it"
    )
    _add_device(resize)
    resize.set_defaults(run=_resize)
    return parser


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="auto (the default): the GPU if one answers, else NumPy",
    )


def _size(text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"(\d+)(?:[xX](\d+))?", text, re.ASCII)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW in whole pixels, such as 480x640, nor a single number")
    height, width = int(match[1]), int(match[2] or match[1])
    if not (height and width):
        raise argparse.ArgumentTypeError(f"{text!r}: both sides must be at least 1")
    if max(height, width) > LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r}: at most {LONGEST} pixels a side")
    return height, width


def _scale(text: str) -> tuple[float, float]:
    try:
        factors = [float(part) for part in text.lower().split("x")]
    except ValueError:
        factors = []
    if len(factors) not in (1, 2) or not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise argparse.ArgumentTypeError(f"{text!r} is not a factor above 0, such as 0.5, nor two, such as 0.5x2")
    return factors[0], factors[-1]


if __name__ == "__main__":
    sys.exit(main())
