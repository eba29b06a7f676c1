"""A launch but for the numbers of the view, and what every kernel's is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cupysample._kernels import Defines
from cupysample._plan import DTYPES, REALS
from cupysample._tables import Kind
from cupysample._tuning import IDLE_LAYERS, LAYERS, MAX_BLOCKS, MULTIPROCESSORS

ARITHMETIC = {"float": 1, "integer": 2, "fixed": 3, "mean": 4, "copy": 5}
WARP = 32
"""Threads of one."""
COMPUTING = (
    *((dtype, row.arithmetic) for dtype, row in DTYPES.items() if dtype not in REALS and row.arithmetic != "copy"),
    ("uint8", "mean"),
)
"""Dtypes that are computed with, and how."""


class Share(NamedTuple):
    """How threads share the work: the fields of these names in kernels/geometry.cuh.

    packed:    whether a thread's elements are neighbours, moved as vectors.
    streamed:  whether out is stored as what caches need not keep (few_taps.cu).
    phase:     1 where pairs of source rows begin with odd ones (band_walk.cu).
    pixels, channels:  of a tile; ``blocks`` tiles have the same pixels.
    parts:     threads (few_taps.cu) or tiles of a row.
    rows:      of a group.
    splits:    parts of a block that each sum some of a group's source rows (band.cu).
    runs_h, runs_d:  runs that H and D are cut into.
    """

    packed: bool = False
    streamed: bool = False
    phase: int = 0
    pixels: int = 1
    parts: int = 1
    blocks: int = 1
    channels: int = 1
    rows: int = 1
    splits: int = 1
    runs_h: int = 1
    runs_d: int = 1


class Made(NamedTuple):
    """A launch but for the numbers of the view.

    tables:  of each axis; () where rows are computed, or copied.
    layers:  depths that a block has side by side, each for as many of its threads.
    """

    kernel: str
    defines: Defines
    grid: tuple[int, int, int]
    threads: int
    share: Share = Share()
    tables: tuple[Kind, ...] = ()
    layers: int = 1


def basic_defines(axes: int, dtype: str, arithmetic: str, index: str = "int", computed: int = 0) -> Defines:
    """Those that every instance has."""
    return (
        ("CS_AXES", str(axes)),
        ("CS_TYPE", f"CS_{dtype.upper()}"),
        ("CS_ARITHMETIC", str(ARITHMETIC[arithmetic])),
        ("CS_INDEX", index),
        ("CS_COMPUTED", str(computed)),
    )


def bounded_grid(x: int, y: int, z: int) -> tuple[int, int, int]:
    """The blocks wanted, at most as many as the driver takes; kernels cover the rest."""
    return min(x, MAX_BLOCKS), min(y, 65535), min(z, 65535)


def between(n: int, least: int, most: int) -> int:
    """``n``, or the bound that it is beyond."""
    return max(least, min(n, most))


def bytes_of(dtype: str) -> int:
    """Of an element, or of so many bits."""
    if dtype.startswith("bits"):
        return int(dtype.removeprefix("bits")) // 8
    return {"bfloat16": 2}.get(dtype) or np.dtype(dtype).itemsize


def layers_of(depths: int, most: int) -> int:
    """How many of them a block has side by side, at most so many: few are nobody's."""
    return next(n for n in LAYERS if n <= most and -(-depths // n) * n <= (1 + IDLE_LAYERS) * depths)


def best_runs(blocks: int, resident: int, rows: int, longest: int, start: int, alone: float) -> int:
    """In how many runs the rows take least time, if so many blocks share each, and so many in all begin at about the same time.

    A multiprocessor's blocks slow each other down; one that is alone takes ``alone`` of their time. Every multiprocessor has as
    many of the ``resident`` ones.
    """

    def time(runs: int) -> float:
        full, rest = divmod(blocks * runs, resident)
        if not full:  # none follows another, and some multiprocessors have one more than others
            rest += -rest % MULTIPROCESSORS
        return (full + (max(alone, rest / resident) if rest else 0)) * (-(-rows // runs) + start)

    least = -(-rows // longest)
    return min(_runs(rows, least, min(rows, least + 2 * MULTIPROCESSORS)), key=time)


def _runs(rows: int, least: int, most: int) -> Iterator[int]:
    """Numbers of runs, those alone with fewer rows each than any before: more runs of as many rows take no less time."""
    runs = least
    while runs <= most:
        yield runs
        longest = -(-rows // runs)
        runs = -(-rows // (longest - 1)) if longest > 1 else most + 1
