"""Sums: floats and fixed point, axis by axis, in the cheapest order by the cheapest strategies.

What is cheapest is counted: every order of memory and of the axes, and for each axis every strategy, has a predicted time
by the costs in ``_tuning``.

    products   matrices times the windows of a band (``_blocks``), by BLAS
    slices     the sum of strided slices, where every output is a mean of as many pixels of its own
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample import _steps
from cupysample._arrays import Layout
from cupysample._blocks import Choice, Run, choose, runs
from cupysample._plan import DTYPES, Plan
from cupysample._program import Order, Program, Range, is_dense, ordered, orders, vectors
from cupysample._rounding import narrow_bfloat16, narrow_float16, widen_bfloat16, widen_float16
from cupysample._steps import OUT, SCRATCH, SOURCE, Step, View
from cupysample._taps import Axis, fixed_point_bits
from cupysample._tuning import CACHE_LINE, CALL_NS, COPY_NS, LANE_BYTES, LOOP_NS, SLICE_NS, SLICES, TILE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Slices(NamedTuple):
    """An axis of which every output is ``weight`` times the sum of ``factor`` pixels of its own."""

    factor: int
    weight: Any


class Pass(NamedTuple):
    """An axis, where it is in the order of memory, how it is resampled, and in what predicted time."""

    axis: Axis
    position: int
    strategy: Choice | Slices
    ns: float


class End(NamedTuple):
    """How the steps meet the source or the output: in place, as an operand; or copied, by a conversion of our own."""

    in_place: bool
    convert: Callable[..., None] | None


class Work(NamedTuple):
    """The dtype of products and sums, and what is subtracted from pixels to make them smaller."""

    dtype: np.dtype[Any]
    offset: int = 0


class Way(NamedTuple):
    """A way to resample: the order of memory, the arithmetic, the passes, the predicted time."""

    order: Order
    work: Work
    source: End
    out: End
    passes: list[Pass]
    ns: float


def prepare(plan: Plan, source: Layout, out: Layout, source_is_native: bool, out_is_native: bool) -> Program | None:
    """Return the program of the cheapest way; None where there is none: an axis is too long for tables of its matrix."""
    if not all(axis.tabulated for axis in plan.axes):
        return None
    native = source_is_native, out_is_native
    way = min(_ways(plan, source, out, native), key=lambda way: way.ns, default=None)
    if way is None:
        return None
    program = Program(plan, source, out, way.order)
    units = {each.position: each.strategy.rows for each in way.passes if isinstance(each.strategy, Choice)}
    # Tiles share what they can.
    multiply, biases = functools.cache(functools.partial(_products, functools.cache(runs))), functools.cache(_biases)
    elements = TILE_BYTES // way.work.dtype.itemsize
    return program.cut(elements, lambda tile: _steps_of(program, way, multiply, biases, tile), units)


def _ways(plan: Plan, source: Layout, out: Layout, native: tuple[bool, bool]) -> Iterator[Way]:
    """Every way. Fixed point has but one order of the axes, for it rounds after each."""
    work = _work(plan, source.dtype)
    axes = [d for d, axis in enumerate(plan.axes) if not axis.identity]
    undivided = out.shape[1] <= int(vectors(TILE_BYTES // work.dtype.itemsize, plan))
    permutations = [axes[::-1]] if plan.arithmetic == "fixed" else list(itertools.permutations(axes))
    for order in orders(len(out.shape)):
        ends = [
            End(
                is_native and array.dtype == work.dtype.name and is_dense(array, order),
                by.get(array.dtype) if is_native else None,
            )
            for array, is_native, by in zip((source, out), native, (WIDEN, NARROW), strict=True)
        ]
        copied = [array for array, end in zip((source, out), ends, strict=True) if not end.in_place]
        convert = sum(_copy_ns(array, order) for array in copied)
        for permuted in permutations:
            passes: list[Pass] = []
            shape = list(ordered(source.shape, order))
            for d in permuted:
                position = order.index(d + 2)
                whole = undivided and all(behind == 1 for behind in order[position + 1 :])  # channels
                found = _strategies(plan.axes[d], shape, position, whole, work.dtype)
                best = min(found, key=lambda each: each.ns, default=None)
                if best is None:
                    break
                shape[best.position] = best.axis.n_out
                passes.append(best)
            else:
                yield Way(order, work, ends[0], ends[1], passes, convert + sum(each.ns for each in passes))


WIDEN: dict[str, Callable[..., None]] = {"float16": widen_float16, "bfloat16": widen_bfloat16}
NARROW: dict[str, Callable[..., None]] = {"float16": narrow_float16, "bfloat16": narrow_bfloat16}


def _work(plan: Plan, dtype: str) -> Work:
    """The arithmetic.

    For fixed point float32 where it holds every sum exactly, and what is added to round, else float64. In units of
    ``2**-bits`` these are integers, at most 255 Σ|weight| in whatever order they are added, or 128 Σ|weight| where the
    middle, 128, is subtracted from the pixels: exact up to 2**24.
    """
    if plan.arithmetic == "float":
        real = "float64" if dtype == "complex128" else "float32" if "complex" in dtype else DTYPES[dtype].accumulate
        return Work(np.dtype(real))
    axes = [axis for axis in plan.axes if not axis.identity]
    for offset in (0, 128):
        if all(_largest(axis, offset) < 1 << 24 for axis in axes):
            return Work(np.dtype(np.float32), offset)
    return Work(np.dtype(np.float64))


def _largest(axis: Axis, offset: int) -> int:
    """The largest number, in units of ``2**-bits``, on the way from pixels less an offset to a byte."""
    total = np.abs(_weights(axis), dtype=np.int64).sum(axis=1)
    sums = max(offset, 255 - offset) * total + np.abs(_bias(axis, offset))
    return max(int(sums.max()), (256 << fixed_point_bits(axis)) - 1 if offset else 0)


def _bias(axis: Axis, offset: int) -> NDArray[np.int64]:
    """What is added to each sum of pixels less an offset, to round half up to an output less that offset."""
    one = 1 << fixed_point_bits(axis)
    rest: NDArray[np.int64] = _weights(axis).sum(axis=1, dtype=np.int64) - one
    return offset * rest + (one >> 1)


def _weights(axis: Axis) -> NDArray[Any]:
    weight = axis.taps().weight
    assert weight is not None
    return weight


def _copy_ns(layout: Layout, order: Order) -> float:
    """Predicted time of copying an array from or to this order of its axes, by whether the last has the smallest stride."""
    steps = [abs(layout.strides[d]) for d in order if layout.shape[d] > 1]
    along, across = COPY_NS
    transposed = steps and min(steps) < steps[-1]
    return math.prod(layout.shape) * (along + across * layout.itemsize * bool(transposed))


def _strategies(axis: Axis, shape: list[int], position: int, whole: bool, work: np.dtype[Any]) -> Iterator[Pass]:
    """Every way to resample one axis of an array of such a shape; ``whole``: what lies behind it is in every tile."""
    behind = math.prod(shape[position + 1 :])
    others = math.prod(shape) // shape[position]
    tiles = max(1, others * max(axis.n_in, axis.n_out) * work.itemsize // TILE_BYTES)
    for channels in {1, behind if whole and behind * work.itemsize < LANE_BYTES else 1}:
        right = channels == behind
        vectors = max(1, others // channels // tiles if right else behind)
        times = max(1, others // channels // vectors)
        choice = choose(axis, right, channels, work.itemsize, vectors, times, tiles)
        if choice is not None:
            yield Pass(axis, position, choice[1], choice[0])
    slices = _slices(axis)
    if slices is not None:
        per_output, per_pixel = SLICE_NS[behind == 1]
        per_pixel += LOOP_NS / (axis.n_out if behind == 1 else behind)
        ns = others * axis.n_out * (per_output + per_pixel * slices.factor) + tiles * slices.factor * CALL_NS
        yield Pass(axis, position, slices, ns)


def _slices(axis: Axis) -> Slices | None:
    """What an axis is as a sum of slices, if it is one."""
    factor, rest = divmod(axis.n_in, axis.n_out)
    if rest or not 1 <= factor <= SLICES or axis.dtype == "fixed":
        return None
    taps, weights = axis.taps(), _weights(axis)[:, :factor]
    own = (taps.count == factor).all() and (taps.left == factor * np.arange(axis.n_out)).all()
    return Slices(factor, weights[0, 0]) if own and (weights == weights[0, 0]).all() else None


# ---------------------------------------------------------------------------------------------------------------------
# Steps


def _steps_of(
    program: Program,
    way: Way,
    multiply: Callable[..., tuple[Step, ...]],
    biases: Callable[..., NDArray[Any]],
    tile: tuple[Range, ...],
) -> tuple[Step, ...]:
    """The steps of the outputs in these ranges."""
    windows = {position: axis.window(*tile[position]) for position, axis in program.axes.items()}
    shape = [b - a for a, b in (windows.get(d, rows) for d, rows in enumerate(tile))]
    shapes = [tuple(shape)]
    for each in way.passes:
        a, b = tile[each.position]
        shape[each.position] = b - a
        shapes.append(tuple(shape))
    *views, spare = _views(program, way, shapes)
    fixed = program.plan.arithmetic == "fixed"
    # If the smallest of the stages is finite, so is what went in and what comes out.
    checked = None if fixed else min(views, key=lambda view: view.size)

    steps: list[Step] = []
    if not way.source.in_place:
        steps.append(_steps.Load(views[0], way.source.convert, way.work.offset))
    if checked is views[0]:
        steps.append(_steps.Finite(checked))
    for each, x, y in zip(way.passes, views, views[1:], strict=False):
        rows, (pixel, _) = tile[each.position], windows[each.position]
        if isinstance(each.strategy, Slices):
            steps.append(_steps.slices(each.strategy.factor, each.strategy.weight, x, y, each.position))
        else:
            steps += multiply(each.axis, each.strategy, x, y, each.position, pixel, rows)
        if fixed:
            steps.append(_round(way, biases, each, rows, y))
        if checked is y:
            steps.append(_steps.Finite(y))
    if not way.out.in_place:
        steps.append(_steps.Store(views[-1], spare, way.out.convert))
    return tuple(steps)


def _products(
    blocks: Callable[..., list[Run]],
    axis: Axis,
    choice: Choice,
    x: View,
    y: View,
    position: int,
    pixel: int,
    rows: Range,
) -> tuple[Step, ...]:
    """The outputs ``rows`` of an axis by products of matrices."""
    return tuple(_steps.products(blocks(axis, *rows, choice, x.dtype), choice, x, y, position, pixel, rows[0]))


def _views(program: Program, way: Way, shapes: list[tuple[int, ...]]) -> list[View]:
    """The window, and the result of each pass: in the arrays themselves or, taking turns, at two places in scratch.

    And once more as much as the last, where it is not itself: to convert it.
    """
    dtype, last = way.work.dtype, len(shapes) - 1
    item = dtype.itemsize
    shapes = [*shapes, shapes[-1]]
    places = {0: SOURCE} if way.source.in_place else {}
    places |= {last: OUT, last + 1: OUT} if way.out.in_place else {}
    if way.out.convert is None:
        places[last + 1] = OUT
    sizes = [
        0 if n in places else -(-math.prod(each) * item // CACHE_LINE) * CACHE_LINE for n, each in enumerate(shapes)
    ]
    even, odd = max(sizes[::2]), max(sizes[1::2])
    program.scratch = max(program.scratch, even + odd)
    return [
        View(places[n], 0, shape, program.strides[places[n]], dtype)
        if n in places
        else View(SCRATCH, n % 2 * even, shape, _steps.dense_strides(shape, item), dtype)
        for n, shape in enumerate(shapes)
    ]


def _round(way: Way, biases: Callable[..., NDArray[Any]], each: Pass, rows: Range, y: View) -> Step:
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
        y = View(y.memory, y.offset, shape, _steps.dense_strides(shape, y.dtype.itemsize), y.dtype)
        bias = bias if few else bias[:, None]
    return _steps.Round(y, bias, bounds, floor=not last)


def _biases(axis: Axis, rows: Range, offset: int, low: int, times: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What rounds the sums of the outputs ``rows``, each so many numbers, to bytes from ``low`` on; one where all are alike."""
    bits = fixed_point_bits(axis)
    bias = (_bias(axis, offset)[slice(*rows)] + (offset + low << bits)) * 0.5**bits
    bias = bias[:1] if (bias == bias[0]).all() else bias.repeat(times)
    return bias.astype(dtype)


@functools.lru_cache(maxsize=256)
def _overshoots(axis: Axis) -> bool:
    """Whether a fixed-point sum may lie outside of 0 … 255 after rounding."""
    weights, bits = _weights(axis), fixed_point_bits(axis)
    return bool((weights < 0).any()) or 255 * int(weights.sum(axis=1).max()) + (1 << bits >> 1) >= 256 << bits
