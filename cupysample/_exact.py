"""The sums of the definition, tap by tap, with NumPy: what the faster strategies are held to and fall back on.

Axis by axis, last axis first, taps in ascending order, every product and sum rounded by itself: the order in which the
kernels add, so that integers and uint8 agree with them to the bit, and no value reaches an output outside of its window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cupysample._plan import DTYPES, Plan
from cupysample._taps import Taps, fixed_point_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resample(plan: Plan, dtype: str, source: NDArray[Any], rows: list[slice]) -> NDArray[Any]:
    """Return the outputs ``rows`` of every spatial axis, for a source (n, c, *in) with all of its pixels."""
    taps = [axis.taps(r.start, r.stop) for axis, r in zip(plan.axes, rows, strict=True)]
    first = [int(t.left.min()) for t in taps]
    last = [int((t.left + t.count).max()) for t in taps]
    window = source[(slice(None), slice(None), *(slice(a, b) for a, b in zip(first, last, strict=True)))]
    return _resample(
        plan, window, [Taps(t.left - a, t.count, t.weight) for t, a in zip(taps, first, strict=True)], dtype
    )


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
    total = np.zeros((*x.shape[:axis], len(taps.left), *x.shape[axis + 1 :]), x.dtype)
    for i, (left, count) in enumerate(zip(taps.left.tolist(), taps.count.tolist(), strict=True)):
        if count:  # a transposed matrix has rows without taps
            terms = x[(slice(None),) * axis + (slice(left, left + count),)]
            if taps.weight is not None:
                terms = terms * taps.weight[i, :count].reshape((-1,) + (1,) * (x.ndim - axis - 1))
            sums = np.add.accumulate(terms, axis=axis)
            total[(slice(None),) * axis + (i,)] = sums[(slice(None),) * axis + (-1,)]
    return total


def _widen(x: NDArray[Any], dtype: str, arithmetic: str) -> NDArray[Any]:
    """Convert to the accumulate type; exact but for 64-bit integers."""
    if dtype == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(accumulator(dtype, arithmetic), copy=False)


def accumulator(dtype: str, arithmetic: str) -> np.dtype[Any]:
    """The dtype of products and sums; of copies the widest that there is."""
    return np.dtype({"fixed": "int32", "mean": "int64", "copy": "complex128"}.get(arithmetic, DTYPES[dtype].accumulate))


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
    quotient, rest = np.divmod(total, pixels, out=(total, np.empty_like(total)))
    rest *= 2
    rest += quotient & 1  # a tie goes up where that makes it even
    quotient += rest > pixels
    return quotient
