"""Results as tables and a picture: ``python -m bench.report RESULTS.json [--readme README.md]``.

The tables are printed, and put between the marks of the README; the picture is ``RESULTS.png`` beside the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from bench.record import Record

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

Row = dict[str, Any]


def tables(results: dict[str, Any], date: str) -> str:
    """What was measured where, then a table for each direction, in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    text = (
        f"{results['device']}, {date}; {results['driver']}; {versions}; commit {results['commit'][:12]}. "
        f"A copy moves {results['copy_gbps']:.0f} GB/s in the same run. Ratios are the other's time over ours.\n"
    )
    peers = sorted({peer for row in results["rows"] for peer in row["ratio"]} - {"torch"})
    for direction in ("forward", "backward"):
        rows = [row for row in results["rows"] if row["direction"] == direction]
        if rows:
            head = [direction, "dtype", "layout", "us", "GB/s", "of copy", "torch", *peers]
            lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
            lines += ["| " + " | ".join(_cells(row, peers)) + " |" for row in rows]
            text += "\n" + "\n".join(lines) + "\n"
    return text


def _cells(row: Row, peers: list[str]) -> list[str]:
    ratios = [f"{row['ratio'][peer]:.2f}x" if peer in row["ratio"] else "" for peer in ("torch", *peers)]
    size = "x".join(map(str, row["shape"]))
    of_copy = f"{row['copy_fraction']:.0%}"
    return [
        f"{row['workload']} {size}",
        row["dtype"],
        row["layout"],
        f"{row['time_us']:.1f}",
        f"{row['gbps']:.0f}",
        of_copy,
        *ratios,
    ]


WIDTH, LINE, LEFT, RIGHT = 1100, 22, 430, 90


def picture(results: dict[str, Any], date: str) -> Image.Image:
    """A bar for each row, as long as its share of the copy bandwidth; a tick where torch is."""
    rows: list[Row] = results["rows"]
    image = Image.new("RGB", (WIDTH, (len(rows) + 3) * LINE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    span = WIDTH - LEFT - RIGHT
    draw.text((8, 4), f"share of the bandwidth of a copy: {results['device']}, {date}", "black", font)
    for percent in range(0, 101, 20):
        x = LEFT + span * percent / 100
        draw.line((x, LINE * 1.8, x, image.height - LINE), "#cccccc")
        draw.text((x - 12, image.height - LINE + 2), f"{percent} %", "#666666", font)
    for n, row in enumerate(rows):
        y = (n + 2) * LINE
        name = " ".join(str(row[key]) for key in ("workload", "dtype", "layout", "direction"))
        draw.text((8, y), name, "black", font)
        end = LEFT + span * min(row["copy_fraction"], 1.1)
        draw.rectangle((LEFT, y + 3, end, y + LINE - 5), "#3b7dd8")
        if "torch" in row["ratio"]:
            x = LEFT + span * row["copy_fraction"] / row["ratio"]["torch"]
            draw.line((x, y, x, y + LINE - 2), "#d8473b", 3)
        draw.text((end + 6, y), f"{row['copy_fraction']:.0%}", "black", font)
    draw.text((WIDTH - 170, 4), "bar: cupysample", "#3b7dd8", font)
    draw.text((WIDTH - 170, 18), "tick: torch", "#d8473b", font)
    return image


def put_into(readme: Path, text: str) -> None:
    """Replace what is between the marks."""
    content = readme.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise ValueError(f"{readme}: needs one line {BEGIN} and one line {END}")
    before, rest = content.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def date_of(path: Path) -> str:
    """The date in the name DEVICE-YYYY-MM-DD.json; the whole name without one."""
    date = path.stem[-10:]
    return date if date.count("-") == 2 and date.replace("-", "").isdigit() else path.stem


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, draw the picture, and write the README if it is named."""
    parser = argparse.ArgumentParser("python -m bench.report", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS.json")
    parser.add_argument("--readme", type=Path)
    options = parser.parse_args(arguments)
    results = Record(options.results).read()
    if not results.get("rows"):
        parser.error(f"{options.results}: holds no rows of bench/test_workloads.py")
    text, target = tables(results, date_of(options.results)), options.results.with_suffix(".png")
    picture(results, date_of(options.results)).save(target)
    if options.readme:
        put_into(options.readme, text)
    print(text)
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
