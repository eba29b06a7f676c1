"""Copies: the nearest modes, by slices, repeats and gathers, whatever the dtype.

slices     where the pixels picked are equally far apart
repeats    where every pixel is picked as often: strided copies, or along the last axis one wider integer
gathers    any others, axis by axis
at once    any of these along all axes, where both arrays are dense and it takes less than axis by axis
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
from cupysample._steps import BYTE, INDEX, OUT, SCRATCH, SOURCE, Pick, Step, Strided
from cupysample._taps import Axis
from cupysample._tuning import AT_ONCE_BYTES, AT_ONCE_PIXELS, AT_ONCE_TILE, COPIED, GATHER_NS, SLICED_BYTES, TILE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prepare(plan: Plan, source: Layout, out: Layout, source_is_native: bool, out_is_native: bool) -> Program | None:
    """Return the program of the cheapest order; None where bytes must be swapped, or an axis is too long for tables."""
    if not (source_is_native and out_is_native) or not all(axis.is_kept for axis in plan.axes):
        return None
    # Of one channel, which lies before as well as behind, rows of pixels are the better ones.
    planar, interleaved = orders(len(out.shape))
    order = interleaved if is_dense(out, interleaved) and not is_dense(out, planar) else planar
    program = Program(plan, source, out, order)
    program.view = np.dtype(f"u{source.itemsize}") if source.itemsize <= np.dtype(np.uint64).itemsize else None
    element = program.view or np.dtype(source.dtype)
    sliced = {d: step for d, axis in program.axes.items() if (step := _step(axis))}
    repeated = {d: times for d, axis in program.axes.items() if d not in sliced and (times := _times(axis))}
    gathered = min(
        itertools.permutations(d for d in program.axes if d not in sliced),
        key=lambda order: _ns(program, order, repeated),
    )
    dense = is_dense(source, order)
    if dense and is_dense(out, order):
        picked, pixel = _pixel(program, sliced)
        indexed = len(sliced) + len(repeated) < len(program.axes)
        if picked and _pays(program, gathered, indexed, pixel, source.itemsize):
            return _at_once(program, picked, pixel, pixel * source.itemsize)

    # Whole rows have no gaps between them, and of those that are picked first no other is read; nor of slices.
    whole = gathered if dense else ()
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


def _pixel(program: Program, sliced: dict[int, int]) -> tuple[list[int], int]:
    """The axes along which pixels are picked, to the last that changes, and the elements that lie behind them."""
    changed = [d for d, axis in program.axes.items() if sliced.get(d) != 1 or axis.n_out < axis.n_in]
    last = max(changed, default=-1)
    return [d for d in program.axes if d <= last], math.prod(program.shape[last + 1 :])


def _pays(program: Program, gathered: Order, indexed: bool, pixel: int, itemsize: int) -> bool:
    """Whether pixels of so many elements are picked sooner along all axes at once than axis by axis."""
    if pixel * itemsize > AT_ONCE_TILE:
        return False
    if not gathered:
        return pixel > 1 and pixel * itemsize <= SLICED_BYTES
    if not indexed:
        return pixel > 1
    between = sum(_stages(program, gathered)[:-1])
    return between * itemsize >= AT_ONCE_BYTES * (math.prod(program.shape) // pixel)


def _at_once(program: Program, picked: list[int], pixel: int, nbytes: int) -> Program:
    """Both arrays are dense: a tile is pixels that follow each other, each of so many elements and bytes."""
    pitches = {d: math.prod(program.axes[e].n_in for e in picked if e > d) for d in picked}
    plane = program.axes[picked[0]].n_in * pitches[picked[0]] * nbytes
    whole = tuple(program.axes)  # several planes without a gap, for ``np.take`` copies what has any

    @functools.cache  # tiles share it
    def pixels(d: int, a: int, b: int) -> tuple[NDArray[np.int64], int]:
        """What the outputs ``a … b - 1`` of an axis add to the number of a pixel in the window, and what its last one would."""
        first, end = program.window(d, (a, b), whole)
        places = program.axes[d].taps(a, b).left - first
        return (places * pitches[d]).reshape(-1, *(1 for e in picked if e > d)), (end - first - 1) * pitches[d]

    def steps(tile: tuple[Range, ...]) -> tuple[Step, ...]:
        each, last = zip(*(pixels(d, *tile[d]) for d in picked), strict=True)
        planes, shape = math.prod(b - a for a, b in tile[: picked[0]]), tuple(len(places) for places in each)
        index = Strided(SCRATCH, 0, shape, _steps.dense_strides(shape, INDEX.itemsize), INDEX)
        program.scratch = max(program.scratch, _steps.scratch_bytes(shape, INDEX.itemsize))
        x = Strided(SOURCE, 0, (planes, 1 + sum(last), nbytes), (plane, nbytes, 1), BYTE)
        y = Strided(OUT, 0, (planes, index.size, nbytes), (index.size * nbytes, nbytes, 1), BYTE)
        return (_steps.GatherAtOnce(each, index, x, y),)

    return program.cut(pixel * min(AT_ONCE_PIXELS, AT_ONCE_TILE // nbytes), steps, whole=whole)


def _step(axis: Axis) -> int:
    """How far apart the pixels picked are; 0 if not equally far."""
    left = axis.taps().left
    step = int(left[1] - left[0]) if len(left) > 1 else 1
    return step if (np.diff(left) == step).all() else 0


def _times(axis: Axis) -> int:
    """How often every pixel is picked; 0 if not all as often."""
    times = axis.n_out // axis.n_in
    return times if (axis.taps().left == np.arange(axis.n_out) // max(times, 1)).all() else 0


def _stages(program: Program, order: Order) -> list[int]:
    """Elements after each of some axes is gathered, in an order."""
    shape = [program.axes[d].n_in if d in order else n for d, n in enumerate(program.shape)]
    stages = []
    for d in order:
        shape[d] = program.shape[d]
        stages.append(math.prod(shape))
    return stages


def _ns(program: Program, order: Order, repeated: dict[int, int]) -> float:
    """Predicted time of gathering along some axes in an order."""
    last = len(program.shape) - 1
    return sum(n * GATHER_NS[d in repeated, d == last] for d, n in zip(order, _stages(program, order), strict=True))
