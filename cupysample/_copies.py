"""Copies: the nearest modes, by slices, repeats and gathers, whatever the dtype.

slices     where the pixels picked are equally far apart
repeats    where every pixel is picked as often: strided copies, or along the last axis one wider integer
gathers    any others
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from cupysample import _steps
from cupysample._arrays import Layout
from cupysample._plan import Plan
from cupysample._program import Order, Program, Range, is_dense, orders, outputs_of
from cupysample._steps import SCRATCH, Pick, Step, Strided
from cupysample._taps import Axis
from cupysample._tuning import COPIED, GATHER_NS, TILE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prepare(plan: Plan, source: Layout, out: Layout, source_is_native: bool, out_is_native: bool) -> Program | None:
    """Return the program of the cheapest order; None where bytes must be swapped, or an axis is too long for tables."""
    if not (source_is_native and out_is_native) or not all(axis.is_kept for axis in plan.axes):
        return None
    planar, interleaved = orders(len(out.shape))
    program = Program(plan, source, out, interleaved if is_dense(out, interleaved) else planar)
    program.view = np.dtype(f"u{source.itemsize}") if source.itemsize <= np.dtype(np.uint64).itemsize else None
    element = program.view or np.dtype(source.dtype)
    sliced = {d: step for d, axis in program.axes.items() if (step := _step(axis))}
    repeated = {d: times for d, axis in program.axes.items() if d not in sliced and (times := _times(axis))}
    gathered = min(
        itertools.permutations(d for d in program.axes if d not in sliced),
        key=lambda order: _ns(program, order, repeated),
    )

    # Whole rows have no gaps between them, and of those that are picked first no other is read; nor of slices.
    whole = gathered if is_dense(source, program.order) else ()
    read = {d: axis.n_in for d, axis in program.axes.items() if d in gathered and d not in whole[:1]}
    outputs = outputs_of(TILE_BYTES // element.itemsize, program.shape, read, gathered)

    @functools.cache  # tiles share it
    def pixels(d: int, a: int, b: int) -> NDArray[np.int64] | int:
        """What the outputs ``a … b - 1`` of an axis pick, as ``Pick`` has it."""
        times = repeated.get(d, 0)
        left = program.axes[d].taps(a, b).left
        return times if times and not a % times and not b % times else left - program.window(d, (a, b), whole)[0]

    def steps(tile: tuple[Range, ...]) -> tuple[Step, ...]:
        if not gathered:
            return (_steps.Copy(),)
        shape = [b - a for a, b in tile]
        for d in gathered:
            first, end = program.window(d, tile[d], whole)
            shape[d] = end - first
        picks, offset = [], 0
        for d in gathered:
            a, b = tile[d]
            shape[d] = b - a
            result = Strided(SCRATCH, offset, tuple(shape), _steps.dense_strides(shape, element.itemsize), element)
            picks.append(Pick(d, pixels(d, a, b), result))
            offset += _steps.scratch_bytes(shape, element.itemsize)
        program.scratch = max(program.scratch, offset)
        return (_steps.Gather(picks),)

    program.memory += COPIED * TILE_BYTES  # what is picked where there are gaps
    return program.cut(outputs, steps, repeated, sliced, whole=whole)


def _step(axis: Axis) -> int:
    """How far apart the pixels picked are; 0 if not equally far."""
    left = axis.taps().left
    step = int(left[1] - left[0]) if len(left) > 1 else 1
    return step if (np.diff(left) == step).all() else 0


def _times(axis: Axis) -> int:
    """How often every pixel is picked; 0 if not all as often."""
    times = axis.n_out // axis.n_in
    return times if (axis.taps().left == np.arange(axis.n_out) // max(times, 1)).all() else 0


def _ns(program: Program, order: Order, repeated: dict[int, int]) -> float:
    """Predicted time of gathering along some axes in an order."""
    shape = [program.axes[d].n_in if d in order else n for d, n in enumerate(program.shape)]
    total = 0.0
    for d in order:
        shape[d] = program.shape[d]
        total += math.prod(shape) * GATHER_NS[d in repeated, d == len(shape) - 1]
    return total
