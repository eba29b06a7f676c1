"""Ways: how a plan is resampled by BLAS and NumPy's loops, and which way is the cheapest.

What is cheapest is counted: every order of memory and of the axes, and for each axis every strategy, has a predicted time
by the costs in ``_tuning``.

    products   matrices times the windows of a band (``_blocks``), by BLAS
    slices     the sum of strided slices, where every output is a mean of as many pixels of its own

Where outputs skip pixels there are these ways with those pixels left out first, and without.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample._arrays import Layout
from cupysample._blocks import Choice, choose, pixels_read
from cupysample._plan import DTYPES, Plan
from cupysample._program import Order, is_dense, least_outputs, ordered, orders
from cupysample._rounding import narrow_bfloat16, narrow_float16, widen_bfloat16, widen_float16
from cupysample._taps import Axis, counts, fixed_point_bits
from cupysample._tuning import (
    AXES,
    CALL_NS,
    COPY_NS,
    GATHER_NS,
    INDEXED,
    LANE_BYTES,
    LOOP_NS,
    SLICE_NS,
    SLICES,
    TILE_BYTES,
)

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
    """A way to resample: the order of memory, the arithmetic, the passes, the predicted time.

    packed:  axes, in that order, of whose pixels those that no output reads are left out first.
    """

    order: Order
    work: Work
    packed: tuple[int, ...]
    source: End
    out: End
    passes: list[Pass]
    ns: float


def ways(plan: Plan, source: Layout, out: Layout, native: tuple[bool, bool]) -> Iterator[Way]:
    """Every way. Fixed point has but one order of the axes, for it rounds after each."""
    work = _work(plan, source.dtype)
    axes = [d for d, axis in enumerate(plan.axes) if not axis.identity]
    undivided = out.shape[1] <= int(
        least_outputs(TILE_BYTES // work.dtype.itemsize, plan.sizes)
    )  # all are in every tile
    permutations = [axes[::-1]] if plan.arithmetic == "fixed" else list(itertools.permutations(axes))
    skipping = tuple(d for d in axes if native[0] and _skips(plan.axes[d]))
    for order, skipped in itertools.product(orders(len(out.shape)), ((), skipping) if skipping else ((),)):
        packed = {order.index(d + 2): len(pixels_read(plan.axes[d])) for d in skipped}
        ends = [
            End(
                is_native and array.dtype == work.dtype.name and is_dense(array, order),
                by.get(array.dtype) if is_native else None,
            )
            for array, is_native, by in zip((source, out), native, (WIDEN, NARROW), strict=True)
        ]
        convert, read = _pack_ns(ordered(source.shape, order), packed)
        if packed:
            ends[0] = ends[0]._replace(in_place=False)
        for array, end, copied in zip((source, out), ends, (read, out.shape), strict=True):
            convert += 0 if end.in_place else _copy_ns(array, order, math.prod(copied))
        for permuted in permutations:
            passes: list[Pass] = []
            shape = list(read)
            for d in permuted:
                position = order.index(d + 2)
                whole = undivided and all(behind == 1 for behind in order[position + 1 :])  # channels
                found = _strategies(plan.axes[d], shape, position, whole, work.dtype, position in packed)
                best = min(found, key=lambda each: each.ns, default=None)
                if best is None:
                    break
                shape[best.position] = best.axis.n_out
                passes.append(best)
            else:
                ns = convert + sum(each.ns for each in passes)
                yield Way(order, work, tuple(packed), ends[0], ends[1], passes, ns)


WIDEN: dict[str, Callable[..., None]] = {"float16": widen_float16, "bfloat16": widen_bfloat16}
NARROW: dict[str, Callable[..., None]] = {"float16": narrow_float16, "bfloat16": narrow_bfloat16}


def _work(plan: Plan, dtype: str) -> Work:
    """The arithmetic.

    For fixed point float32 where it holds every sum exactly, and what is added to round, else float64. In units of
    ``2**-bits`` these are integers, at most 255 Σ|weight| in whatever order they are added, or 128 Σ|weight| where the
    middle, 128, is subtracted from the pixels: exact up to 2**24. For means likewise; below ``MEANS`` pixels also a
    quotient is only rounded to a half that is one.
    """
    if plan.arithmetic == "float":
        return Work(np.dtype(DTYPES[dtype].accumulate))
    if plan.arithmetic == "mean":
        pixels = math.prod(counts(axis)[1] for axis in plan.axes)
        return Work(np.dtype(np.float32 if pixels < MEANS else np.float64))
    axes = [axis for axis in plan.axes if not axis.identity]
    for offset in (0, 128):
        if all(_largest(axis, offset) < 1 << 24 for axis in axes):
            return Work(np.dtype(np.float32), offset)
    return Work(np.dtype(np.float64))


MEANS = 1 << 16
"""Quotients of a sum and fewer pixels, if no half of an odd number, are further from each than float32 rounds below 256."""


@lru_cache(maxsize=AXES)
def _largest(axis: Axis, offset: int) -> int:
    """The largest number, in units of ``2**-bits``, on the way from pixels less an offset to a byte."""
    total = np.abs(weights_of(axis), dtype=np.int64).sum(axis=1)
    sums = max(offset, 255 - offset) * total + np.abs(bias_of(axis, offset))
    return max(int(sums.max()), (256 << fixed_point_bits(axis)) - 1 if offset else 0)


def bias_of(axis: Axis, offset: int) -> NDArray[np.int64]:
    """What is added to each sum of pixels less an offset, to round half up to an output less that offset."""
    one = 1 << fixed_point_bits(axis)
    rest: NDArray[np.int64] = weights_of(axis).sum(axis=1, dtype=np.int64) - one
    return offset * rest + (one >> 1)


def weights_of(axis: Axis) -> NDArray[Any]:
    weight = axis.taps().weight
    assert weight is not None
    return weight


def _skips(axis: Axis) -> bool:
    """Whether outputs read at most three quarters of the pixels.

    Milliseconds with all pixels and with those that are read, of a picture, 3 x 1080 x 1920, one thread of a Xeon shared with
    others, 2026-11-29: bilinear to 224 x 224 float16 7.9 2.7, uint8 4.0 1.3, channels_last 8.4 2.2, 4.1 1.2; to 64 x 64 float32
    2.2 0.4, float16 5.0 0.5, uint8 1.4 0.3; bicubic to 64 x 64 float16 5.5 0.9, uint8 1.9 0.6.
    """
    return 4 * axis.n_out * axis.width <= 3 * axis.n_in


def _pack_ns(shape: tuple[int, ...], packed: dict[int, int]) -> tuple[float, tuple[int, ...]]:
    """Predicted time of leaving axes of an array so many pixels, one after another; and its shape then."""
    total, left = 0.0, list(shape)
    for position, n in packed.items():
        left[position] = n
        total += math.prod(left) * GATHER_NS[False, math.prod(left[position + 1 :]) < INDEXED]
    return total, tuple(left)


def _copy_ns(layout: Layout, order: Order, elements: int) -> float:
    """Predicted time of copying elements from or to this order of an array's axes, by whether the last has the smallest stride."""
    steps = [abs(layout.strides[d]) for d in order if layout.shape[d] > 1]
    along, across = COPY_NS
    transposed = steps and min(steps) < steps[-1]
    return elements * (along + across * layout.itemsize * bool(transposed))


def _strategies(
    axis: Axis, shape: list[int], position: int, whole: bool, work: np.dtype[Any], packed: bool
) -> Iterator[Pass]:
    """Every way to resample one axis of an array of such a shape; ``whole``: what lies behind it is in every tile."""
    behind = math.prod(shape[position + 1 :])
    others = math.prod(shape) // shape[position]
    tiles = max(1, others * max(shape[position], axis.n_out) * work.itemsize // TILE_BYTES)
    for channels in {1, behind if whole and behind * work.itemsize < LANE_BYTES else 1}:
        right = channels == behind
        vectors = max(1, others // channels // tiles if right else behind)
        times = max(1, others // channels // vectors)
        choice = choose(axis, right, channels, work.itemsize, vectors, times, tiles, packed)
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
    if rest or factor > SLICES or axis.dtype == "fixed":
        return None
    taps = axis.taps()
    if not ((taps.count == factor).all() and (taps.left == factor * np.arange(axis.n_out)).all()):
        return None
    if taps.weight is None:
        return Slices(factor, 1)
    weights = taps.weight[:, :factor]
    return Slices(factor, weights[0, 0]) if (weights == weights[0, 0]).all() else None
