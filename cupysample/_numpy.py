"""Apply a plan to host memory with NumPy.

Axis by axis, last axis first, tap by tap in ascending order: the order in which the kernels add, so that integers and
uint8 agree with them to the bit. Work is done in tiles of the output that fit a cache, each reading only the window of
the source that its taps need; what is widened to the accumulate type is never more than a tile.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cupysample._plan import DTYPES, Plan
from cupysample._taps import Taps, fixed_point_bits
from cupysample._tuning import TILE_ELEMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray


def apply(plan: Plan, dtype: str, source: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the resampled ``source`` into ``out``; ``dtype`` is that of both, bfloat16 viewed as uint16."""
    with np.errstate(all="ignore"):
        if plan.arithmetic == "copy" or not dtype.startswith("complex"):
            _apply(plan, source, out, dtype)
        else:  # a real operator on two reals: infinities of one part never reach the other
            part = "float32" if dtype == "complex64" else "float64"
            _apply(plan, source.real, out.real, part)
            _apply(plan, source.imag, out.imag, part)


def _apply(plan: Plan, source: NDArray[Any], out: NDArray[Any], dtype: str) -> None:
    for tile in _tiles(plan, source.shape[:2]):
        batch, rows = tile[:2], tile[2:]
        taps = [axis.taps(r.start, r.stop) for axis, r in zip(plan.axes, rows, strict=True)]
        first = [int(t.left.min()) for t in taps]
        last = [int((t.left + t.count).max()) for t in taps]
        window = source[batch + tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        taps = [Taps(t.left - a, t.count, t.weight) for t, a in zip(taps, first, strict=True)]
        out[tile] = _resample(plan, window, taps, dtype)


def _tiles(plan: Plan, batch: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut (N, C, *size) into tiles; a tile's cost is the larger of what it reads and what it writes."""
    costs = [1.0, 1.0] + [max(1.0, axis.n_in / axis.n_out) for axis in plan.axes]
    extents = (*batch, *plan.size)
    blocks: list[int] = []
    budget = float(TILE_ELEMENTS)
    for extent, cost in zip(reversed(extents), reversed(costs), strict=True):
        blocks.insert(0, max(1, min(extent, int(budget / cost))))
        budget /= blocks[0] * cost
    starts = [range(0, extent, block) for extent, block in zip(extents, blocks, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(slice(a, min(a + b, n)) for a, b, n in zip(corner, blocks, extents, strict=True))


def _resample(plan: Plan, window: NDArray[Any], taps: list[Taps], dtype: str) -> NDArray[Any]:
    """Resample one window: (n, c, *in) of the dtype in, (n, c, *out) of the dtype out."""
    if plan.arithmetic == "copy":
        for d, t in enumerate(taps):
            window = np.take(window, t.left, axis=d + 2)
        return window
    x = _widen(window, dtype, plan.arithmetic)
    for d in reversed(range(len(taps))):
        axis = plan.axes[d]
        if axis.identity:
            continue
        x = _contract(x, taps[d], d + 2)
        if plan.arithmetic == "fixed":
            bits = fixed_point_bits(axis)
            x = np.clip((x + (1 << bits >> 1)) >> bits, 0, 255)
    if plan.arithmetic == "mean":
        x = _divide(x, taps)
    return _narrow(x, dtype, plan.arithmetic)


def _contract(x: NDArray[Any], taps: Taps, axis: int) -> NDArray[Any]:
    """Apply the matrix along one axis: sums in ascending order of the taps, every product and sum rounded."""
    if len(taps.left) < taps.count.max():
        return _contract_rows(x, taps, axis)
    fewest = int(taps.count.min())
    if fewest:
        total = _term(x, taps, axis, 0, slice(None))
    else:  # a transposed matrix has rows without taps
        total = np.zeros((*x.shape[:axis], len(taps.count), *x.shape[axis + 1 :]), x.dtype)
    for k in range(min(fewest, 1), int(taps.count.max())):
        if k < fewest:
            total += _term(x, taps, axis, k, slice(None))
        else:
            rows = np.flatnonzero(taps.count > k)
            total[(slice(None),) * axis + (rows,)] += _term(x, taps, axis, k, rows)
    return total


def _term(x: NDArray[Any], taps: Taps, axis: int, k: int, rows: Any) -> NDArray[Any]:
    """Return tap ``k`` of the rows, times its weight."""
    term: NDArray[Any] = np.take(x, taps.left[rows] + k, axis=axis)
    if taps.weight is not None:
        term *= taps.weight[rows, k].reshape((-1,) + (1,) * (x.ndim - axis - 1))
    return term


def _contract_rows(x: NDArray[Any], taps: Taps, axis: int) -> NDArray[Any]:
    """The same sums, row by row: for fewer rows than taps."""
    rows = []
    for i, (left, count) in enumerate(zip(taps.left.tolist(), taps.count.tolist(), strict=True)):
        terms = x[(slice(None),) * axis + (slice(left, left + count),)]
        if taps.weight is not None:
            terms = terms * taps.weight[i, :count].reshape((-1,) + (1,) * (x.ndim - axis - 1))
        if not count:
            terms = np.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
        rows.append(np.add.accumulate(terms, axis=axis)[(slice(None),) * axis + (-1,)])
    return np.stack(rows, axis=axis)


def _widen(x: NDArray[Any], dtype: str, arithmetic: str) -> NDArray[Any]:
    """Convert to the accumulate type; exact but for 64-bit integers."""
    if dtype == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32)
    accumulate = {"fixed": "int32", "mean": "int64"}.get(arithmetic, DTYPES[dtype].accumulate)
    return x.astype(accumulate, copy=False)


def _narrow(x: NDArray[Any], dtype: str, arithmetic: str) -> NDArray[Any]:
    """Round once to the dtype: half to even; integers saturate."""
    if dtype == "bfloat16":
        bits = x.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(np.isnan(x), bits >> 16 | 0x40, rounded).astype(np.uint16)
    if arithmetic != "integer":
        return x.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    largest = x.dtype.type(limits.max)
    if int(largest) > limits.max:  # 2**63 and 2**64 are float64, the integers below them are not
        largest = np.nextafter(largest, x.dtype.type(0))
    x = np.rint(x)
    result: NDArray[Any] = np.clip(x, limits.min, largest).astype(dtype)
    result[x > largest] = limits.max
    return result


def _divide(total: NDArray[Any], taps: list[Taps]) -> NDArray[Any]:
    """Divide integer sums by the number of pixels of their windows, rounding half to even."""
    pixels = taps[0].count
    for t in taps[1:]:
        pixels = pixels[..., None] * t.count
    quotient, rest = np.divmod(total, pixels)
    up = (2 * rest > pixels) | ((2 * rest == pixels) & (quotient & 1 == 1))
    return np.asarray(quotient + up)
