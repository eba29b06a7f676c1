"""Taps: resampling along one axis as the rows of a banded matrix.

Row ``i`` of the matrix reads the window ``left[i] … left[i] + count[i] - 1`` of the source with ``weight[i]``::

    linear, 3 -> 6               left count  weight
       1    .    .                 0    2     1    0
       .75  .25  .                 0    2     .75  .25
       .25  .75  .                 0    2     .25  .75
       .    .75  .25               1    2     .75  .25
       .    .25  .75               1    2     .25  .75
       .    .    1                 2    1     1

A method is a row of ``METHODS``: which coordinate rule, which filter, what happens at the border. The border is folded
into the matrix here, so nothing that applies a matrix ever tests for it: ``0 <= left`` and ``left + count <= n_in``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from cupysample import _coordinates, _filters
from cupysample._filters import Filter
from cupysample._kept import keep
from cupysample._tuning import TAPS, TAPS_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cupysample._rounding import Reals

    Rows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], Reals | None]

KEPT_WEIGHTS = 1 << 18
"""Weights of an axis, at most, all rows of which are kept."""

CHUNK_WEIGHTS = 1 << 16
"""Weights built at a time: some 8 MiB with all that leads to them."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Rows ``start … start + n - 1`` of an axis' matrix; ``weight[i, k]`` is 0 for ``k >= count[i]``.

    ``weight`` is None where every weight of a row is the same and the caller divides by ``count`` (exact means).
    """

    left: NDArray[np.int64]
    count: NDArray[np.int64]
    weight: Reals | None

    @property
    def nbytes(self) -> int:
        """Of the arrays."""
        return self.left.nbytes + self.count.nbytes + (0 if self.weight is None else self.weight.nbytes)

    def __getitem__(self, rows: slice) -> Taps:
        return Taps(self.left[rows], self.count[rows], None if self.weight is None else self.weight[rows])


@dataclass(frozen=True, slots=True)
class Axis:
    """One resampled axis: numbers only, hashable, the key of every table.

    dtype:  what weights are computed and stored in ("float32", "float64"); "fixed" computes them in float64 and stores
            integers with ``fixed_point_bits`` fractional bits; "mean" needs no weights.
    step:   source pixels per output pixel, rounded to the dtype of the coordinates.
    transposed: whether the matrix is the transpose of the one the other numbers describe; ``n_in`` and ``n_out`` are its
            own columns and rows either way.
    """

    method: str
    n_in: int
    n_out: int
    step: float
    align_corners: bool
    dtype: str
    transposed: bool = False

    @property
    def T(self) -> Axis:  # noqa: N802 - as NumPy's
        """The axis of the transposed matrix: the adjoint, which carries gradients back."""
        return replace(self, n_in=self.n_out, n_out=self.n_in, transposed=not self.transposed)

    @property
    def identity(self) -> bool:
        """Whether output i is input i."""
        return self.method == "nearest" and self.step == 1.0 and self.n_in == self.n_out

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """The dtype of the coordinates: that of the weights, or torch's float32 of the nearest modes, if long enough."""
        dtype = np.dtype(np.float32) if self.method.startswith("nearest") else weight_dtype(self.dtype)
        return _coordinates.index_dtype(self.n_in, self.n_out, dtype)

    @property
    def width(self) -> int:
        """A bound on the number of taps of a row."""
        if not self.transposed:
            return METHODS[self.method].width(self)
        if self.step == 0:
            return self.n_in
        # Windows of outputs are one step apart; the rest is for rounding and for coordinates clamped at the border.
        return min(self.n_in, math.ceil((self.T.width + 1) / self.step) + 2)

    @property
    def tabulated(self) -> bool:
        """Whether all rows are built, and kept."""
        return self.n_out * self.width <= KEPT_WEIGHTS

    def taps(self, start: int = 0, stop: int | None = None) -> Taps:
        """Return rows ``start … stop - 1``."""
        stop = self.n_out if stop is None else stop
        if self.tabulated:
            return _all_taps(self)[start:stop]
        return _build(self, start, stop)

    def window(self, start: int, stop: int) -> tuple[int, int]:
        """First pixel that rows ``start … stop - 1`` read, and the end; one pixel to look at where they read none."""
        taps = self.taps(start, stop)
        first = min(int(taps.left.min()), self.n_in - 1)
        return first, max(int((taps.left + taps.count).max()), first + 1)


def weight_dtype(dtype: str) -> np.dtype[Any]:
    """The dtype weights are computed in."""
    return np.dtype(np.float32 if dtype == "float32" else np.float64)


_kept: dict[Axis, tuple[Taps, int]] = {}


def _all_taps(axis: Axis) -> Taps:
    """All rows."""
    found = _kept.get(axis)
    return found[0] if found else keep(_kept, axis, _build_all(axis), TAPS, TAPS_BYTES)


def _build_all(axis: Axis) -> Taps:
    """All rows, built some at a time."""
    pieces = [_build(axis, start, stop) for start, stop in _chunks(axis)]
    if len(pieces) == 1:
        return pieces[0]
    left, count = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("left", "count"))
    weight = None
    if pieces[0].weight is not None:
        width = max(piece.weight.shape[1] for piece in pieces if piece.weight is not None)
        weight = np.zeros((axis.n_out, width), pieces[0].weight.dtype)
        for (start, stop), piece in zip(_chunks(axis), pieces, strict=True):
            assert piece.weight is not None
            weight[start:stop, : piece.weight.shape[1]] = piece.weight
    return _frozen(left, count, weight)


def _chunks(axis: Axis) -> list[tuple[int, int]]:
    """Rows that are built together."""
    rows = max(1, CHUNK_WEIGHTS // axis.width)
    return [(start, min(start + rows, axis.n_out)) for start in range(0, axis.n_out, rows)]


def _frozen(left: NDArray[np.int64], count: NDArray[np.int64], weight: Reals | None) -> Taps:
    """They are cached, so shared."""
    for array in (left, count, weight):
        if array is not None:
            array.flags.writeable = False
    return Taps(left, count, weight)


def _build(axis: Axis, start: int, stop: int) -> Taps:
    """Compute the rows, quantise the weights for fixed point, check the invariant that kernels rely on."""
    left, count, weight = _rows(axis, start, stop)
    if axis.dtype == "fixed":
        assert weight is not None
        weight = quantise(weight, fixed_point_bits(axis))
    assert (left >= 0).all() and (count >= 0 if axis.transposed else count >= 1).all()
    assert (left + count <= axis.n_in).all()
    return _frozen(left, count, weight)


@np.errstate(all="ignore")  # what a user has raised is for numbers of the user's
def _rows(axis: Axis, start: int, stop: int) -> Rows:
    """The rows, with weights of fixed point before they are quantised."""
    if axis.transposed:
        return _transposed_rows(axis, start, stop)
    left, count, weight = METHODS[axis.method].rows(axis, np.arange(start, stop, dtype=np.int64))
    if weight is not None and axis.dtype != "fixed":
        weight = weight.astype(axis.dtype, copy=False)
    return left, count, weight


def _transposed_rows(axis: Axis, start: int, stop: int) -> Rows:
    """Rows of the transpose: which outputs read source pixel j, and with what weight; none is a row without taps.

    Both ends of the windows never decrease, so the outputs that read a pixel are neighbours and the transpose of a band
    is a band.
    """
    forward = axis.T
    first = min(_first_output(forward, lambda left, count: left + count > start), forward.n_out - 1)
    last = _first_output(forward, lambda left, _: left >= stop)
    taps = forward.taps(first, max(last, first + 1))  # pixels that no output reads still need a row to look at
    assert taps.weight is not None
    pixel = np.arange(start, stop, dtype=np.int64)
    left = np.searchsorted(taps.left + _read(forward, taps), pixel, side="right")
    count = np.searchsorted(taps.left, pixel, side="right") - left
    k = np.arange(count.max(initial=1))
    inside = k < count[:, None]
    row = np.where(inside, left[:, None] + k, 0)
    tap = np.where(inside, pixel[:, None] - taps.left[row], 0)
    weight = np.where(inside, taps.weight[row, tap], 0)
    return left + first, count, weight


def _read(forward: Axis, taps: Taps) -> NDArray[np.int64]:
    """How many pixels the rows really read: linear outputs that lie on a pixel do not read the next.

    The first output of an upscaling does, for its coordinate is clamped to 0. Of the transpose its zero would make a
    row of 5 taps where 4 do. (Without the zeros of other methods windows would go back and forth.)
    """
    assert taps.weight is not None
    if forward.method != "linear" or taps.weight.shape[1] < 2:
        return taps.count
    read: NDArray[np.int64] = taps.count - ((taps.count == 2) & (taps.weight[:, 1] == 0))
    return read


def _first_output(axis: Axis, reached: Callable[[int, int], bool]) -> int:
    """Return the first output whose window (left, count) fulfils a monotonic condition, by bisection."""
    low, high = 0, axis.n_out
    while low < high:
        middle = (low + high) // 2
        row = axis.taps(middle, middle + 1)
        if reached(int(row.left[0]), int(row.count[0])):
            high = middle
        else:
            low = middle + 1
    return low


# ---------------------------------------------------------------------------------------------------------------------
# Methods. Each computes (left, count, weight) of the given output indices.


def point(axis: Axis, index: NDArray[np.int64], offset: float) -> Rows:
    """One tap: ``min(floor((index + offset) * step), n_in - 1)``.

    Coordinates are float32 whatever the data's dtype, as in torch's CUDA kernels.
    """
    number = axis.index_dtype.type
    coordinate = _coordinates.asymmetric(index.astype(number), number(axis.step), offset)
    left = np.minimum(np.floor(coordinate).astype(np.int64), axis.n_in - 1)
    return left, np.ones_like(left), np.ones((len(left), 1), weight_dtype(axis.dtype))


def area(axis: Axis, index: NDArray[np.int64]) -> Rows:
    """Mean over ``[floor(i n_in / n_out), ceil((i + 1) n_in / n_out))``: adaptive average pooling, exact integers."""
    left = index * axis.n_in // axis.n_out
    count = -(-(index + 1) * axis.n_in // axis.n_out) - left
    if axis.dtype == "mean":
        return left, count, None
    number = axis.index_dtype.type
    inside = np.arange(count.max(initial=1)) < count[:, None]
    return left, count, np.where(inside, number(1) / count[:, None].astype(number), number(0))


def interpolate(axis: Axis, index: NDArray[np.int64], filter: Filter, clamped: bool) -> Rows:
    """The ``2 support`` taps around the coordinate; those beyond the border add their weight to the edge pixel.

    ``clamped``: coordinates below 0 are moved to 0 first (linear).
    """
    number = axis.index_dtype.type
    transform = _coordinates.align_corners if axis.align_corners else _coordinates.half_pixel
    coordinate = transform(index.astype(number), number(axis.step))
    if clamped:
        coordinate = np.maximum(coordinate, number(0))
    if axis.dtype == "fixed":  # torch floors a float32 here, also for float64 coordinates
        floored = _coordinates.index_dtype(axis.n_in, axis.n_out, np.dtype(np.float32))
        base = np.floor(coordinate.astype(floored)).astype(np.int64)
        phase = np.clip(coordinate - base, 0, 1)
    else:
        base = np.floor(coordinate).astype(np.int64)
        phase = coordinate - base.astype(number)
    base = np.minimum(base, axis.n_in - 1)
    reach = int(filter.support)
    taps = np.arange(1 - reach, reach + 1)
    return _fold(base[:, None] + taps, _phase_weights(phase, filter, axis.dtype), axis.n_in)


def _phase_weights(phase: Reals, filter: Filter, dtype: str) -> Reals:
    """Weights of the taps around a coordinate, in the order and rounding of torch."""
    one = phase.dtype.type(1)
    if dtype == "fixed":
        reach = int(filter.support)
        return filter.weight(np.arange(1 - reach, reach + 1) - phase[:, None])
    if filter.support == 1:
        return np.stack([one - phase, phase], axis=1)
    return filter.weight(np.stack([phase + one, phase, one - phase, (one - phase) + one], axis=1))


def _fold(taps: NDArray[np.int64], weight: Reals, n_in: int) -> Rows:
    """Replace pixels beyond the border by the edge pixel, adding weights in ascending order of the taps."""
    inside = np.clip(taps, 0, n_in - 1)
    left = inside[:, 0]
    folded = np.zeros_like(weight)
    rows = np.arange(len(left))
    for k in range(weight.shape[1]):
        folded[rows, inside[:, k] - left] += weight[:, k]
    return left, inside[:, -1] - left + 1, folded


def antialias(axis: Axis, index: NDArray[np.int64], filter: Filter) -> Rows:
    """The filter stretched by the step where it shrinks, cut at the border, weights divided by their sum.

    ``align_corners`` changes the step and nothing else: torch keeps the half-pixel centre.
    """
    number = axis.index_dtype.type
    step, half = number(axis.step), number(0.5)
    stretch = max(step, number(1))
    support = number(filter.support) * stretch
    center = step * (index.astype(number) + half)
    left = np.maximum(np.trunc(center - support + half).astype(np.int64), 0)
    count = np.minimum(np.trunc(center + support + half).astype(np.int64), axis.n_in) - left
    k = np.arange(count.max(initial=1))
    distance = ((left[:, None] + k).astype(number) - center[:, None] + half) * (number(1) / stretch)
    weight = np.where(k < count[:, None], filter.weight(distance), number(0))
    total = np.add.accumulate(weight, axis=1)[:, -1:]  # in ascending order, as the kernels add
    return left, count, weight / np.where(total == 0, number(1), total)


class Method(NamedTuple):
    """A row of the table: how rows are computed, and a bound on their width."""

    rows: Callable[[Axis, NDArray[np.int64]], Rows]
    width: Callable[[Axis], int]


def _interpolating(filter: Filter, *, clamped: bool) -> Method:
    return Method(lambda axis, index: interpolate(axis, index, filter, clamped), lambda axis: 2 * int(filter.support))


def _antialiasing(filter: Filter) -> Method:
    return Method(
        lambda axis, index: antialias(axis, index, filter),
        lambda axis: min(axis.n_in, 2 * math.ceil(filter.support * max(axis.step, 1.0)) + 1),
    )


METHODS: dict[str, Method] = {
    "nearest": Method(lambda axis, index: point(axis, index, 0.0), lambda axis: 1),
    "nearest-exact": Method(lambda axis, index: point(axis, index, 0.5), lambda axis: 1),
    "area": Method(area, lambda axis: -(-axis.n_in // axis.n_out) + 1),
    "linear": _interpolating(_filters.TRIANGLE, clamped=True),
    "cubic": _interpolating(_filters.KEYS_CUBIC, clamped=False),
    "linear-antialias": _antialiasing(_filters.TRIANGLE),
    "cubic-antialias": _antialiasing(_filters.KEYS_CUBIC_ANTIALIAS),
    "lanczos-antialias": _antialiasing(_filters.LANCZOS),
}


# ---------------------------------------------------------------------------------------------------------------------
# Fixed point, for uint8: torch's CPU kernels (``UpSampleKernel.cpp``), which follow Pillow's.

FIXED_POINT_BITS = 22
"""Most fractional bits: a sum of 255 times weights of total variation below 2 stays inside int32."""


@lru_cache(maxsize=256)
def fixed_point_bits(axis: Axis) -> int:
    """Return the number of fractional bits with which the largest weight of the axis still fits into int16."""
    largest = 0.0
    for start, stop in _chunks(axis):
        weight = _rows(axis, start, stop)[2]
        assert weight is not None
        largest = max(largest, float(weight.max()))
    bits = 0
    while bits < FIXED_POINT_BITS and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return bits


def quantise(weight: Reals, bits: int) -> NDArray[np.int32]:
    """Return ``weight * 2**bits`` rounded half away from zero."""
    scaled = weight * float(1 << bits)
    return np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32)
