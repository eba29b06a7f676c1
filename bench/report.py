"""Results as tables and a picture: ``python -m bench.report RESULTS.json [--readme README.md]``.

The tables are printed, and put between the marks of the README; the picture is ``RESULTS.png`` beside the file. What is
below its goal (``bench/goals.py``) is listed at the end.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from bench import goals
from bench.record import Record, key_of
from bench.workloads import AVERAGED

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
CPU_BEGIN, CPU_END = "<!-- measured on a CPU -->", "<!-- /measured on a CPU -->"

Row = dict[str, Any]


def tables(results: dict[str, Any], date: str) -> str:
    """What was measured where, then a table for each direction, in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    text = (
        f"{results['device']}, {date}; {results['driver']}; {versions}; commit {results['commit'][:12]}. "
        f"A copy moves {results['copy_gbps']:.0f} GB/s in the same run. Ratios are the other's time over ours; "
        "blank where it was not timed or has no such call."
    )
    earlier = sorted({row["commit"][:12] for row in results["rows"] if "commit" in row})
    text += f" Rows with * are of an earlier commit, {', '.join(earlier)}.\n" if earlier else "\n"
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
        f"{row['time_us']:.1f}{' *' * ('commit' in row)}",
        f"{row['gbps']:.0f}",
        of_copy,
        *ratios,
    ]


def cpu_table(results: dict[str, Any], date: str) -> str:
    """NumPy's times with one thread and two, and the others' over them, in Markdown; geometric means at the end."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    peers = sorted({peer for row in results["cpu"] for peer in row["ratio"]} - {"torch"})
    head = ["call", "dtype, layout", "us", "torch", *peers, "us, two threads", "torch", *peers]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for pair in cpu_pairs(results["cpu"]):
        row = pair[0]
        name = " ".join([row["workload"], "x".join(map(str, row["shape"])), row["direction"]]).removesuffix(" forward")
        cells = [f"{row['dtype']}, {row['layout']}".removesuffix(", contiguous")]
        for each in pair:
            cells += [f"{each['time_us']:.0f}" if each["time_us"] >= 100 else f"{each['time_us']:.1f}"]
            cells += [f"{each['ratio'][peer]:.2f}x" if peer in each["ratio"] else "" for peer in ("torch", *peers)]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    means = " and ".join(
        f"{geometric_mean(pair[n]['ratio']['torch'] for pair in cpu_pairs(results['cpu'])[:AVERAGED]):.2f}x"
        for n in range(2)
    )
    return (
        f"{results['device']}, {date}; {results['driver']}; {versions}; commit {results['commit'][:12]}. Ratios are the "
        "other's time over ours, medians of rounds in which they take turns; SciPy and Pillow have one thread.\n\n"
        + "\n".join(lines)
        + f"\n\nGeometric mean over torch of the first {AVERAGED}: {means} with one thread and two.\n"
    )


def cpu_pairs(rows: list[Row]) -> list[list[Row]]:
    """The rows with one thread, each with that of two."""
    ordered = {key_of(row): [row] for row in rows if row["threads"] == 1}
    for row in rows:
        if row["threads"] == 2:
            ordered[key_of(row)].append(row)
    return list(ordered.values())


def cpu_picture(results: dict[str, Any], date: str) -> Image.Image:
    """A bar for each call that torch has and number of threads, as long as the logarithm of torch's time over ours."""
    pairs = [pair for pair in cpu_pairs(results["cpu"]) if "torch" in pair[0]["ratio"]]
    image = Image.new("RGB", (WIDTH, (len(pairs) + 3) * LINE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)

    def at(ratio: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(min(max(ratio, 0.25), 32)) + 2) / 7

    draw.text((8, 4), f"torch's time over NumPy's: {results['device']}, {date}", "black", font)
    for ratio in (0.25, 0.5, 1, 2, 4, 8, 16, 32):
        line = (at(ratio), LINE * 1.8, at(ratio), image.height - LINE)
        draw.line(line, "black" if ratio == 1 else "#cccccc", 1)
        draw.text((at(ratio) - 8, image.height - LINE + 2), f"{ratio:g}x", "#666666", font)
    for n, pair in enumerate(pairs):
        y = (n + 2) * LINE
        name = " ".join(key_of(pair[0]))
        draw.text((8, y), name, "black", font)
        for row, color, top in zip(pair, ("#3b7dd8", "#7fb069"), (3, 10), strict=False):
            ends = sorted((at(1), at(row["ratio"]["torch"])))
            draw.rectangle((ends[0], y + top, ends[1], y + top + 6), color)
    draw.text((WIDTH - 170, 4), "one thread", "#3b7dd8", font)
    draw.text((WIDTH - 170, 18), "two threads", "#7fb069", font)
    return image


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
        name = " ".join(key_of(row))
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


def put_into(readme: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what is between the marks."""
    content = readme.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1:
        raise ValueError(f"{readme}: needs one line {begin} and one line {end}")
    before, rest = content.split(begin)
    after = rest.split(end)[1]
    readme.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")


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
    date, target = date_of(options.results), options.results.with_suffix(".png")
    if results.get("rows"):
        text, image, marks = tables(results, date), picture(results, date), (BEGIN, END)
    elif results.get("cpu"):
        text, image, marks = cpu_table(results, date), cpu_picture(results, date), (CPU_BEGIN, CPU_END)
    else:
        parser.error(f"{options.results}: holds no rows of bench/test_workloads.py or bench/test_numpy.py")
    image.save(target)
    if options.readme:
        put_into(options.readme, text, *marks)
    print(text)
    if below := goals.missed(results.get("rows", [])):
        print("Less than is meant:", *below, sep="\n    ")
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
