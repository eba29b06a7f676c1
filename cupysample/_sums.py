"""Sums: floats, fixed point and means, axis by axis, the cheapest way, as steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cupysample import _steps, _ways
from cupysample._arrays import Layout
from cupysample._blocks import Choice, matrices_of, pixels_read, window
from cupysample._plan import Plan
from cupysample._program import Program, Range, fitted, is_dense, ordered, outputs_of
from cupysample._steps import OUT, SCRATCH, SOURCE, Step, Strided
from cupysample._taps import Axis, fixed_point_bits
from cupysample._tuning import AXES, COPIED, TILE_BYTES
from cupysample._ways import Pass, Slices, Way, bias_of, weights_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prepare(plan: Plan, source: Layout, out: Layout, source_is_native: bool, out_is_native: bool) -> Program | None:
    """Return the program of the cheapest way; None where there is none: an axis is too long for tables of its matrix."""
    if not all(axis.is_kept for axis in plan.axes):
        return None
    native = source_is_native, out_is_native
    way = min(_ways.ways(plan, source, out, native), key=lambda way: way.ns, default=None)
    if way is None:
        return None
    read = {way.order.index(d + 2): axis.n_in for d, axis in enumerate(plan.axes)}
    # Of the axis that is packed first no other pixel is read.
    read |= {position: len(pixels_read(plan.axes[way.order[position] - 2])) for position in way.packed[:1]}
    elements, order = TILE_BYTES // way.work.dtype.itemsize, [each.position for each in way.passes]
    outputs = outputs_of(elements, ordered(out.shape, way.order), read, order)
    return fitted(functools.partial(_prepare, plan, source, out, way, Shared()), outputs)


def _prepare(plan: Plan, source: Layout, out: Layout, way: Way, shared: Shared, outputs: float) -> Program:
    """The program of a way for tiles of so many outputs, but with all channels where they are in its matrices."""
    program = Program(plan, source, out, way.order)
    outputs = max(outputs, *(each.strategy.channels for each in way.passes if isinstance(each.strategy, Choice)), 1)
    units = {each.position: each.strategy.rows for each in way.passes if isinstance(each.strategy, Choice)}
    whole = way.packed if is_dense(source, way.order) else ()
    if way.packed:
        program.memory = max(program.memory, COPIED * TILE_BYTES)  # what is picked where there are gaps
    return program.cut(outputs, functools.partial(_steps_of, program, way, whole, shared), units, whole=whole)


class Shared:
    """What tiles have in common."""

    def __init__(self) -> None:
        self.products = functools.cache(_products)
        self.biases = functools.cache(_biases)
        self.pixels = functools.cache(_pixels)


def _steps_of(
    program: Program, way: Way, whole: tuple[int, ...], shared: Shared, tile: tuple[Range, ...]
) -> tuple[Step, ...]:
    """The steps of the outputs in these ranges; ``whole``: as of ``Program.cut``."""
    windows = {d: window(axis, *tile[d], d in way.packed) for d, axis in program.axes.items()}
    shape = [
        b - a for a, b in (program.window(d, rows, whole) if d in windows else rows for d, rows in enumerate(tile))
    ]
    picked = []
    for d in way.packed:
        shape[d] = windows[d][1] - windows[d][0]
        picked.append(tuple(shape))
    shape = [b - a for a, b in (windows.get(d, rows) for d, rows in enumerate(tile))]
    shapes = [tuple(shape)]
    for each in way.passes:
        a, b = tile[each.position]
        shape[each.position] = b - a
        shapes.append(tuple(shape))
    picks, (*views, spare) = _views(program, way, picked, shapes)
    arithmetic = program.plan.arithmetic
    # If the smallest of the stages is finite, so is what went in and what comes out.
    checked = min(views, key=lambda view: view.size) if arithmetic == "float" else None

    steps: list[Step] = []
    for d, x, y in zip(way.packed, (None, *picks), picks, strict=False):
        first, _ = program.window(d, tile[d], whole)
        steps.append(_steps.Take(x, d, shared.pixels(program.axes[d], *windows[d], first), y))
    if not way.source.in_place and views[0] not in picks:
        steps.append(_steps.Load(picks[-1] if picks else None, views[0], way.source.convert, way.work.offset))
    if checked is views[0]:
        steps.append(_steps.Finite(checked))
    for each, x, y in zip(way.passes, views, views[1:], strict=False):
        rows, (pixel, _) = tile[each.position], windows[each.position]
        if isinstance(each.strategy, Slices):
            steps.append(_steps.slices(each.strategy.factor, each.strategy.weight, x, y, each.position))
        else:
            steps += shared.products(each.axis, each.strategy, x, y, each.position, pixel, rows)
        if arithmetic == "fixed":
            steps.append(_round(way, shared.biases, each, rows, y))
        if checked is y:
            steps.append(_steps.Finite(y))
    if arithmetic == "mean":
        steps.append(_mean(program, tile, views[-1], spare))
    if not way.out.in_place:
        steps.append(_steps.Store(views[-1], spare, way.out.convert))
    return tuple(steps)


def _products(
    axis: Axis,
    choice: Choice,
    x: Strided,
    y: Strided,
    position: int,
    pixel: int,
    rows: Range,
) -> tuple[Step, ...]:
    """The outputs ``rows`` of an axis by products of matrices."""
    return tuple(_steps.products(matrices_of(axis, *rows, choice, x.dtype), choice, x, y, position, pixel, rows[0]))


def _pixels(axis: Axis, start: int, stop: int, first: int) -> NDArray[np.int64]:
    """Those that are read, the ones from ``start`` to ``stop`` among them, counted from a first one."""
    return pixels_read(axis)[start:stop] - first


def _views(
    program: Program, way: Way, picked: list[tuple[int, ...]], shapes: list[tuple[int, ...]]
) -> tuple[list[Strided], list[Strided]]:
    """What is picked, axis by axis; the window, and the result of each pass.

    They are in the arrays themselves or, taking turns, at two places in scratch; the last picked is the window, if it needs
    no conversion. And once more as much as the last result, where that is not itself: to convert or divide it.
    """
    work, source = way.work.dtype, np.dtype({"bfloat16": "uint16"}.get(program.dtype, program.dtype))
    before = picked if source != work else picked[:-1]
    stages = [*((shape, source) for shape in before), *((shape, work) for shape in (*shapes, shapes[-1]))]
    last = len(stages) - 2
    places = {0: SOURCE} if way.source.in_place else {}
    places |= {last: OUT} if way.out.in_place else {}
    if way.out.convert is None and program.plan.arithmetic != "mean":
        places[last + 1] = OUT
    sizes = [
        0 if n in places else _steps.scratch_bytes(shape, dtype.itemsize) for n, (shape, dtype) in enumerate(stages)
    ]
    even, odd = max(sizes[::2]), max(sizes[1::2])
    program.scratch = max(program.scratch, even + odd)
    views = [
        Strided(places[n], 0, shape, program.strides[places[n]], dtype)
        if n in places
        else Strided(SCRATCH, n % 2 * even, shape, _steps.dense_strides(shape, dtype.itemsize), dtype)
        for n, (shape, dtype) in enumerate(stages)
    ]
    return views[: len(picked)], views[len(before) :]


def _mean(program: Program, tile: tuple[Range, ...], y: Strided, spare: Strided) -> Step:
    """Divide the sums of a tile by the pixels of their windows."""
    pixels, counts = y.dtype.type(1), []
    for d, axis in program.axes.items():
        count = axis.taps(*tile[d]).count.astype(y.dtype)
        if (count == count[0]).all():
            pixels *= count[0]
        else:
            counts.append(count.reshape([-1 if n == d else 1 for n in range(len(tile))]))
    return _steps.Mean(y, spare, [counts[0] * pixels, *counts[1:]] if counts else [np.asarray(pixels)])


def _round(way: Way, biases: Callable[..., NDArray[Any]], each: Pass, rows: Range, y: Strided) -> Step:
    """Round the sums of a pass of fixed point, the outputs ``rows``; the last puts the offset back."""
    last, offset = each is way.passes[-1], way.work.offset
    low = 0 if last else -offset
    bounds = (low, low + 255) if _overshoots(each.axis) else None
    # One loop for the numbers behind an output, or where these are few, one for all the outputs.
    few = isinstance(each.strategy, Choice) and each.strategy.right
    n, behind = rows[1] - rows[0], math.prod(y.shape[each.position + 1 :])
    bias = biases(each.axis, rows, offset, low, behind if few else 1, y.dtype)
    if len(bias) > 1:
        shape = (y.size // (n * behind), *((n * behind,) if few else (n, behind)))
        y = Strided(y.memory, y.offset, shape, _steps.dense_strides(shape, y.dtype.itemsize), y.dtype)
        bias = bias if few else bias[:, None]
    return _steps.Round(y, bias, bounds, floor=not last)


def _biases(axis: Axis, rows: Range, offset: int, low: int, times: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What rounds the sums of the outputs ``rows``, each so many numbers, to bytes from ``low`` on; one where all are alike."""
    bits = fixed_point_bits(axis)
    bias = (bias_of(axis, offset)[slice(*rows)] + (offset + low << bits)) * 0.5**bits
    bias = bias[:1] if (bias == bias[0]).all() else bias.repeat(times)
    return bias.astype(dtype)


@functools.lru_cache(maxsize=AXES)
def _overshoots(axis: Axis) -> bool:
    """Whether a fixed-point sum may lie outside of 0 … 255 after rounding."""
    weights, bits = weights_of(axis), fixed_point_bits(axis)
    return bool((weights < 0).any()) or 255 * int(weights.sum(axis=1).max()) + (1 << bits >> 1) >= 256 << bits
