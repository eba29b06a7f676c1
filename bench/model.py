"""What each workload should take on a GPU, from what can be counted without one: ``python -m bench.model``.

Bytes: input and output once, at what a copy reaches. Instructions: of the machine code, along the path that the workload
takes through the loops, at what a multiprocessor can issue. The larger of the two is the time: a prediction. It knows
nothing of latency, caches and tails. ``--readme bench/README.md`` writes the table.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.goals import Goal, goal
from bench.record import Record, key_of
from bench.sass import Instruction, Loop, Sass, sass
from bench.workloads import WORKLOADS, Workload, numpy_dtype
from cupysample import _arrays, _interpolate, _launch
from cupysample._launch import Launch, Table
from cupysample._plan import Plan
from tests.launches import arguments_of

BEGIN, END = "<!-- model -->", "<!-- /model -->"


class Device(NamedTuple):
    """What kernels for sm_90 run on; ``copy``: bytes a second that a copy moves."""

    multiprocessors: int
    clock: float
    copy: float


DEVICES = {"h100": Device(132, 1.85e9, 3.0e12), "h200": Device(132, 1.85e9, 4.3e12)}
"""SXM modules, by the names of their results. The copy of an H100 is measured; of an H200 it is predicted, for it has the same
multiprocessors and memory of 4.8 TB/s for 3.35."""
SHOWN = "h100"
"""The one of README.md."""
LANES = 128
"""Instructions that a multiprocessor issues in a clock, counted in threads."""
ISSUED = 0.7
"""The share of them that a good kernel issues."""
LAUNCH_US = 2.3
"""The time of an empty kernel."""


class Prediction(NamedTuple):
    """Of a workload; ``limit`` is what sets the time."""

    workload: Workload
    kernel: str
    registers: int
    threads: int
    """Resident in a multiprocessor, of 2048."""
    instructions: float
    """Of a thread, for each output."""
    budget: float
    """Instructions for each output that hide behind the bytes."""
    time_us: float
    copy_fraction: float

    @property
    def limit(self) -> str:
        return "instructions" if self.instructions > self.budget else "bytes"


def predict(workload: Workload, name: str = SHOWN) -> Prediction | None:
    """On the device of that name; None for the general kernels, which nobody needs to predict."""
    device = DEVICES[name]
    plan, made = launch(workload)
    counters = {"few_taps": few_taps, "band": band, "band_bytes": band_bytes, "band_walk": band_walk}
    if made.kernel not in counters:
        return None
    code = sass(made.kernel, made.defines)
    outputs = math.prod(workload.shape if workload.gradient else workload.output_shape)
    instructions = counters[made.kernel](code, plan, made)
    issue = device.multiprocessors * device.clock * LANES * ISSUED
    copied = workload.minimum_bytes / device.copy
    time_us = max(copied, instructions * outputs / issue) * 1e6 + LAUNCH_US
    return Prediction(
        workload,
        made.kernel,
        code.registers,
        resident(code, math.prod(made.block)),
        instructions,
        copied * issue / outputs,
        time_us,
        copied / (time_us * 1e-6),
    )


def launch(workload: Workload) -> tuple[Plan, Launch]:
    """The launch of the whole workload; its arrays are never made, only described."""
    n, c, *spatial = workload.output_shape if workload.gradient else workload.shape
    dtype = numpy_dtype(workload.dtype)
    shape = (n, *spatial, c) if workload.channels_last else (n, c, *spatial)
    strides = [math.prod(shape[d + 1 :]) * dtype.itemsize for d in range(len(shape))]
    x = np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides)
    x = np.moveaxis(x, -1, 1) if workload.channels_last else x
    size = workload.shape if workload.gradient else None
    call = _interpolate.checked(_arrays.library(x, "input"), x, size, arguments_of(**workload.arguments), None)
    return call.plan, _launch.launch(call.plan, call.source, call.out, lambda of: [Table(0)] * len(of))


def resident(code: Sass, block: int) -> int:
    """Threads in a multiprocessor of 65536 registers, given to warps in units of 8 a thread, and 227 KiB to share."""
    blocks = min(2048 // block, 65536 // (-(-code.registers // 8) * 8 * block))
    if code.shared:
        blocks = min(blocks, (227 << 10) // (code.shared + 1024))
    return blocks * block


def few_taps(code: Sass, plan: Plan, made: Launch) -> float:
    """A row of out in each depth, the source rows that it needs anew, and a share of what is done once a run."""
    elements, depths = (int(dict(made.defines)[name]) for name in ("CS_VECTOR", "CS_DEPTHS"))
    packed = bool(made.geometry["share"]["packed"][0])
    stores = (
        max(each.stores for each in code.instructions)
        if packed
        else min(s for s in map(_stores, code.instructions) if s)
    )

    def store(each: Instruction) -> bool:
        return each.stores == stores

    row = code.innermost(store)
    assert row is not None
    source = max(code.inside(row, _loads), key=lambda loop: loop.latch - loop.head, default=None)
    each_row = code.shortest(row.head, row.latch, store)
    # The shortest path stores one depth.
    stored = [n for n in range(row.head, row.latch) if store(code.instructions[n])]
    each_row += stored[len(stored) - len(stored) // depths] - stored[0]
    each_source_row = code.shortest(source.head, source.latch) if source else 0
    rows, step, window = int(made.geometry["outer"]["extent"]["value"][0, 1]), 1.0, 1.0
    if len(plan.axes) > 1:
        axis = plan.axes[-2]
        rows, step, window = axis.n_out, axis.n_in / axis.n_out, float(axis.taps().count.max())
    run = -(-rows // made.grid[1])
    setup = code.shortest(0, row.head)
    work = each_row + each_source_row * min(step + max(window - step, 0) / run, window) + setup / run
    return work / (elements * depths)


def band(code: Sass, plan: Plan, made: Launch) -> float:
    """What the threads of a block do for a group of rows, shared among its outputs."""
    defines, share = dict(made.defines), made.geometry["share"][0]
    threads, elements = int(defines["CS_THREADS"]), int(defines["CS_COLUMNS"])
    rows, pixels, width = int(share["rows"]["value"]), int(share["pixels"]), int(share["channels"]["value"])
    vector = max(each.loads for each in code.instructions) if share["packed"] else 0

    def read(each: Instruction) -> bool:
        return each.loads == vector if vector else each.loads > 0

    outputs = code.innermost(lambda each: each.stores > 0)
    assert outputs is not None
    summing = sorted((loop for loop in code.innermost_loops if _products(code, loop)), key=lambda loop: loop.head)
    source = summing[0 if share["packed"] else 1]  # over rows of vectors, of elements; then over taps, unrolled and not
    each_row = _products(code, source) / (int(defines["CS_ROWS"]) * elements)
    filtering = max(summing[2:], key=lambda loop: _products(code, loop))
    each_tap = (filtering.latch - filtering.head + 1) / (_products(code, filtering) / int(defines["CS_ROWS"]))
    outside, inside = (
        length / each_row
        for length in (code.shortest(source.head, source.latch), code.longest(source.head, source.latch, read))
    )

    def taps(d: int) -> float:
        return float(plan.axes[d].taps().count.mean())

    def step(d: int) -> float:
        return plan.axes[d].n_in / plan.axes[d].n_out

    last = len(plan.axes) - 1
    union = (rows - 1) * step(last - 1) + taps(last - 1) if last > 0 else rows
    share_inside = taps(last - 1) / union if last > 0 else 1 / rows
    planes = taps(0) if last > 1 else 1
    window = ((pixels - 1) * step(last) + taps(last)) * width
    reading = min(-(-window // (32 * elements)) * 32, threads)  # whole warps
    sums = reading * planes * union * (outside + (inside - outside) * share_inside)
    filters = (
        -(-pixels * width // threads) * threads * (code.shortest(outputs.head, outputs.latch) + each_tap * taps(last))
    )
    rest = (
        threads
        * 2
        * code.shortest(0, outputs.head)
        / max(-(-plan.axes[max(last - 1, 0)].n_out // (made.grid[1] * rows)), 1)
    )
    return float((sums + filters + rest) / (pixels * width * rows))


def band_bytes(code: Sass, plan: Plan, made: Launch) -> float:
    """A word of four source rows, its share of a row of out, and of what is done once a run."""
    defines, share = dict(made.defines), made.geometry["share"][0]
    threads, pixels, width = int(defines["CS_THREADS"]), int(share["pixels"]), int(share["channels"]["value"])
    filtering = max(code.innermost_loops, key=lambda loop: _shared_reads(code, loop))
    writing = next(
        loop for loop in code.innermost_loops if any(each.stores for each in code.instructions[loop.head : loop.latch])
    )
    word, tile = (loop for loop in code.loops if loop.holds(filtering))
    # Of every element four bytes are read at a time, one for each row.
    each_read = (filtering.latch - filtering.head + 1) / (
        _shared_reads(code, filtering) / 4 / int(defines["CS_ELEMENTS"])
    )
    # The rows are written between two barriers, at once or byte by byte; the next are read behind these.
    *_, written = (n for n in range(word.head, filtering.head) if code.instructions[n].text.startswith("BAR"))
    by_bytes = width > 1 or defines["CS_PACKED"] == "0"
    writes = code.longest if by_bytes else code.shortest
    each_word = writes(word.head, written, lambda each: each.text.startswith("STS.U8" if by_bytes else "STS.128"))
    ahead = code.instructions[written : filtering.head]
    reads = [id(each) for each in ahead if each.loads == max(each.loads for each in ahead)]
    each_word += code.shortest(written + 1, word.latch, lambda each: id(each) in reads)
    each_row = code.shortest(writing.head, writing.latch, lambda each: each.stores > 0)
    rows, columns = plan.axes
    run, window = -(-rows.n_out // made.grid[1]), float(rows.taps().count.mean())
    words = (rows.n_in / rows.n_out + (window - rows.n_in / rows.n_out + 3) / run) / 4
    taps = (float(columns.taps().count.mean()) + 1.5 + 3) // 4
    setup = code.shortest(tile.head, word.head) / run
    return float(threads * (words * (each_word + each_read * taps) + each_row + setup) / (pixels * width))


def band_walk(code: Sass, plan: Plan, made: Launch) -> float:
    """A pair of source rows in each of its depths, its share of a row of out, and of what is done once a run."""
    defines, share = dict(made.defines), made.geometry["share"][0]
    threads, pixels, width = int(defines["CS_THREADS"]), int(share["pixels"]), int(share["channels"]["value"])
    filtering = max(code.innermost_loops, key=lambda loop: _shared_reads(code, loop))
    element, ending, pair = [loop for loop in code.loops if loop.holds(filtering)][:3]
    each_tap = (filtering.latch - filtering.head + 1) / _products(code, filtering)
    at_once = sum(each.stores > 0 for each in code.instructions[element.head : element.latch])
    each_element = code.shortest(element.head, element.latch, lambda each: each.stores > 0) / at_once
    # In 3-D the depths are a loop of their own inside.
    depth = code.innermost(_waits)
    assert depth is not None
    each_depth = code.shortest(depth.head, depth.latch, _waits)
    each_pair = 0 if depth == pair else code.shortest(pair.head, pair.latch)
    # The sums of any of the rows that have begun may be those that go to shared memory.
    sums = [each for each in code.instructions[ending.head : ending.latch] if each.text.startswith("STS")]
    each_row = code.shortest(ending.head, ending.latch, lambda each: each is sums[len(sums) // 2])
    rows, columns = plan.axes[-2:]
    step, depths = rows.n_in / rows.n_out, float(plan.axes[0].taps().count.mean()) if len(plan.axes) > 2 else 1
    run, window = -(-rows.n_out // made.grid[1]), float(rows.taps().count.mean())
    pairs = (step + (window - step + 1) / run) / 2
    elements = -(-pixels * width // threads) * (each_element + each_tap * float(columns.taps().count.mean()))
    setup = code.shortest(0, pair.head) / run
    return float(threads * (pairs * (each_pair + each_depth * depths) + each_row + elements + setup) / (pixels * width))


def _shared_reads(code: Sass, loop: Loop) -> int:
    return sum(each.text.startswith("LDS") for each in code.instructions[loop.head : loop.latch + 1])


def _products(code: Sass, loop: Loop) -> int:
    return sum(each.text.startswith(("FFMA", "DFMA")) for each in code.instructions[loop.head : loop.latch + 1])


def _stores(each: Instruction) -> int:
    return each.stores


def _waits(each: Instruction) -> bool:
    return each.text.startswith("DEPBAR")


def _loads(each: Instruction) -> bool:
    return each.loads > 0


def table(predictions: list[Prediction], device: str) -> str:
    """The predictions in Markdown, beside what is meant, and was measured on the device of that name."""
    head = [
        "workload",
        "dtype",
        "layout",
        "direction",
        "kernel",
        "registers",
        "threads",
        "instructions",
        "budget",
        "us",
        "of copy",
        "meant",
        "measured",
        "limit",
    ]
    rows = rows_measured(device)
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for p in predictions:
        meant, row = goal(p.workload.key), rows.get(p.workload.key)
        cells = [
            *p.workload.key,
            f"`{p.kernel}`",
            str(p.registers),
            str(p.threads),
            f"{p.instructions:.1f}",
            f"{p.budget:.0f}",
            f"{p.time_us:.0f}",
            _percent(p.copy_fraction, meant),
            f"{meant.share:.0%}",
            _percent(row["copy_fraction"], meant) + " *" * ("commit" in row) if row else "",
            p.limit,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(fraction: float, meant: Goal) -> str:
    """In bold where it is less."""
    return f"{fraction:.0%}" if meant.has(fraction) else f"**{fraction:.0%}**"


def rows_measured(device: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """The newest committed results of a device, if any."""
    newest = max((Path(__file__).parent / "results").glob(f"{device}-*.json"), default=None)
    rows = Record(newest).read()["rows"] if newest else []
    return {key_of(row): row for row in rows}


def predictions(device: str = SHOWN) -> list[Prediction]:
    """Of every workload that is more than a launch."""
    large = [workload for workload in WORKLOADS if not workload.name.startswith("tiny")]
    return [found for workload in large if (found := predict(workload, device))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and write it if a file is named."""
    parser = argparse.ArgumentParser("python -m bench.model", description=__doc__)
    parser.add_argument("--readme", type=Path)
    parser.add_argument("--device", choices=DEVICES, default=SHOWN)
    options = parser.parse_args(arguments)
    text = table(predictions(options.device), options.device)
    if options.readme:
        before, rest = options.readme.read_text(encoding="utf-8").split(BEGIN)
        after: Any = rest.split(END)[1]
        options.readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
