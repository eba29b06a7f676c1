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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from cupysample import _coordinates, _filters
from cupysample._filters import Filter
from cupysample._kept import Entry, keep
from cupysample._tuning import AXES, PARTS, PARTS_BYTES, TAPS, TAPS_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cupysample._rounding import Reals

    Windows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
    Rows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], Reals | None]

KEPT_WEIGHTS = 1 << 18
"""Weights of an axis, at most, all rows of which are kept."""

CHUNK_WEIGHTS = 1 << 16
"""Weights built at a time: some 8 MiB with all that leads to them."""

ADDED_WEIGHTS = 1 << 14
"""Weights of rows that are added up at a time.

MiB beside a gradient of lanczos, 1,000,000 from 20, in 1 and 16 threads, and seconds, for 2**14 to 2**16: 5 13 1.7, 7 22 1.6,
10 41 1.8 (2-core Xeon shared with others, 2026-11-28).
"""


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
        """The dtype of the coordinates: that of the weights, or float32 of copies, as torch's; float64 where an axis is too long."""
        dtype = np.dtype(np.float32) if METHODS[self.method].copies else weight_dtype(self.dtype)
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
    def added(self) -> int:
        """Weights that are built for the sums of its rows, beside those of the rows, at a time."""
        return ADDED_WEIGHTS if self.transposed and METHODS[self.method].normalised else 0

    @property
    def is_kept(self) -> bool:
        """Whether all rows are built at once, and kept."""
        return self.n_out * self.width <= KEPT_WEIGHTS

    def taps(self, start: int = 0, stop: int | None = None) -> Taps:
        """Return rows ``start … stop - 1``."""
        if not self.is_kept:
            return _part(self, start, self.n_out if stop is None else stop)
        rows = _all_taps(self)
        return rows[start:stop] if start or stop is not None else rows

    def window(self, start: int, stop: int) -> tuple[int, int]:
        """First pixel that rows ``start … stop - 1`` read, and the end; one pixel to look at where they read none.

        Both ends of the windows never decrease.
        """
        first = min(self._ends(start)[0], self.n_in - 1)
        return first, max(self._ends(stop - 1)[1], first + 1)

    def _ends(self, row: int) -> tuple[int, int]:
        """First pixel of a row's window, and the end."""
        taps, row = (_all_taps(self), row) if self.is_kept else (_part(self, row, row + 1), 0)
        left = int(taps.left[row])
        return left, left + int(taps.count[row])

    @property
    def period(self) -> tuple[int, int]:
        """So many rows on, the matrix is the same, so many pixels on, but near its borders; zeros where it need not be.

        Coordinates, multiples of half the smallest digit of the step, must be numbers of their dtype, and of float32 where
        fixed point rounds to that: nothing is rounded then but the weights, which depend on the distance to pixels alone.
        """
        if self.transposed:
            pixels, rows = self.T.period
            return rows, pixels
        if self.method == "area":
            common = math.gcd(self.n_in, self.n_out)
            return self.n_out // common, self.n_in // common
        pixels, rows = self.step.as_integer_ratio()
        digits = 53 if _coordinates.index_dtype(self.n_in, self.n_out, np.dtype(np.float32)) == np.float64 else 24
        exact = 2 * rows * (self.n_in + self.width) < 1 << digits
        return (rows, pixels) if exact and pixels > 0 else (0, 0)

    @property
    def interior(self) -> tuple[int, int]:
        """Rows of an axis with a period that no border reaches, from the first to the end: by their distance from it, in pixels."""
        forward = self.T if self.transposed else self
        margin = forward.width + 2
        if self.transposed:  # of the outputs that read a pixel none may be near it
            return 2 * margin, min(forward.n_in, math.floor(forward.step * forward.n_out)) - 2 * margin
        return math.ceil(margin / self.step), min(math.floor((self.n_in - margin) / self.step), self.n_out)


def weight_dtype(dtype: str) -> np.dtype[Any]:
    """The dtype weights are computed in."""
    return np.dtype(np.float32 if dtype == "float32" else np.float64)


_kept: dict[Axis, Entry[Taps]] = {}
_parts: dict[tuple[Axis, int, int], Entry[Taps]] = {}


def _all_taps(axis: Axis) -> Taps:
    """All rows."""
    found = _kept.get(axis)
    return found[0] if found else keep(_kept, axis, _build_all(axis), TAPS, TAPS_BYTES)


def _part(axis: Axis, start: int, stop: int) -> Taps:
    """Rows of an axis that is not kept; the last used are kept, for the tiles that need the same ones, or alike."""
    back = _periods_back(axis, start, stop)
    rows, pixels = axis.period
    key = axis, start - back * rows, stop - back * rows
    found = _parts.pop(key, None)
    taps = keep(_parts, key, found[0] if found else _build(*key), PARTS, PARTS_BYTES)
    return Taps(taps.left + back * pixels, taps.count, taps.weight) if back else taps


@lru_cache(maxsize=AXES)
def counts(axis: Axis) -> tuple[int, int]:
    """The fewest and most taps of a row."""
    count = axis.taps().count
    return int(count.min()), int(count.max())


def _periods_back(axis: Axis, start: int, stop: int) -> int:
    """By how many periods these rows come after others that are alike, the first ones that no border reaches."""
    rows, _ = axis.period
    if not rows:
        return 0
    first, end = axis.interior
    return (start - first) // rows if first <= start and stop <= end else 0


def _build_all(axis: Axis) -> Taps:
    """All rows, built some at a time."""
    pieces = [_build(axis, start, stop) for start, stop in _chunks(axis, 0, axis.n_out)]
    if len(pieces) == 1:
        return pieces[0]
    left, count = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("left", "count"))
    weight = None
    if pieces[0].weight is not None:
        width = max(piece.weight.shape[1] for piece in pieces if piece.weight is not None)
        weight = np.zeros((axis.n_out, width), pieces[0].weight.dtype)
        for (start, stop), piece in zip(_chunks(axis, 0, axis.n_out), pieces, strict=True):
            assert piece.weight is not None
            weight[start:stop, : piece.weight.shape[1]] = piece.weight
    return _frozen(left, count, weight)


def _chunks(axis: Axis, start: int, stop: int) -> list[tuple[int, int]]:
    """Rows that are built together: those that have some of ``start … stop - 1``."""
    rows = max(1, CHUNK_WEIGHTS // axis.width)
    return [(first, min(first + rows, axis.n_out)) for first in range(start // rows * rows, stop, rows)]


def _frozen(left: NDArray[np.int64], count: NDArray[np.int64], weight: Reals | None) -> Taps:
    """They are cached, so shared."""
    for array in (left, count, weight):
        if array is not None:
            array.flags.writeable = False
    return Taps(left, count, weight)


_quiet = np.errstate(all="ignore")
"""What a user has raised is for numbers of the user's."""


@_quiet
def _build(axis: Axis, start: int, stop: int) -> Taps:
    """Compute the rows, quantise the weights for fixed point, check the invariant that kernels rely on."""
    left, count, weight = (_transposed_rows if axis.transposed else _rows)(axis, start, stop)
    if weight is not None:
        if axis.dtype == "fixed":
            weight = quantise(weight, fixed_point_bits(axis))
        else:
            weight = weight.astype(axis.dtype, copy=False)
    assert (left >= 0).all() and (count >= 0 if axis.transposed else count >= 1).all()
    assert (left + count <= axis.n_in).all()
    return _frozen(left, count, weight)


def _rows(axis: Axis, start: int, stop: int) -> Rows:
    """Rows as the axis' method has them."""
    method, index = METHODS[axis.method], np.arange(start, stop, dtype=np.int64)
    left, count = method.window(axis, index)
    if axis.dtype == "mean":
        return left, count, None
    weight = _undivided(axis, index, left, count)
    return left, count, weight / _total([weight])[:, None] if method.normalised else weight


def _undivided(axis: Axis, index: NDArray[np.int64], left: NDArray[np.int64], count: NDArray[np.int64]) -> Reals:
    """What the pixels ``left … left + count - 1`` of the windows count in these rows, before any division; 0 behind them."""
    k = np.arange(count.max(initial=1))
    order: Literal["F", "C"] = "F" if len(k) < len(left) else "C"  # what follows keeps it, and has long loops
    pixel = np.add(left[:, None], k, order=order)
    weight = METHODS[axis.method].weight(axis, index, pixel)
    return np.where(pixel < (left + count)[:, None], weight, weight.dtype.type(0))


def _total(weights: Iterable[Reals]) -> Reals:
    """The sum of the weights of each row in ascending order, as the kernels add; 1 where it is 0."""
    total: Any = None
    for some in weights:
        total = np.add.accumulate(some if total is None else np.column_stack((total, some)), axis=1)[:, -1]
    divisor: Reals = np.where(total == 0, total.dtype.type(1), total)
    return divisor


@lru_cache(maxsize=16)
def _totals(axis: Axis, chunk: tuple[int, int]) -> Reals:
    """The sum of the weights of each row of a chunk, added up some columns at a time.

    Kept, for tiles along a long row ask for the sums of the same rows.
    """
    index = np.arange(*chunk, dtype=np.int64)
    left, count = METHODS[axis.method].window(axis, index)
    step = max(1, ADDED_WEIGHTS // len(index))
    columns = range(0, int(count.max()), step)
    return _total(_undivided(axis, index, left + k, np.clip(count - k, 0, step)) for k in columns)


def _transposed_rows(axis: Axis, start: int, stop: int) -> Rows:
    """Rows of the transpose: which outputs read source pixel j, and with what weight; none is a row without taps.

    Both ends of the windows never decrease, so the outputs that read a pixel are neighbours and the transpose of a band
    is a band. Of their windows no more is built than what the rows read, for one may be as long as the source.
    """
    forward, method = axis.T, METHODS[axis.method]
    first = min(_first_output(forward, lambda left, count: left + count > start), forward.n_out - 1)
    last = max(_first_output(forward, lambda left, _: left >= stop), first + 1)  # one to look at where none reads them
    index = np.arange(first, last, dtype=np.int64)
    begin, count = method.window(forward, index)
    begin, end = np.clip((begin, begin + _read(forward, index, begin, count)), start, stop)
    weights = _undivided(forward, index, begin, end - begin)
    if method.normalised:
        chunks = _chunks(forward, first, last)
        total = np.concatenate([_totals(forward, chunk) for chunk in chunks])
        weights = weights / total[first - chunks[0][0] :][: last - first, None]
    pixel = np.arange(start, stop, dtype=np.int64)
    left = np.searchsorted(end, pixel, side="right")
    count = np.searchsorted(begin, pixel, side="right") - left
    k = np.arange(count.max(initial=1))
    inside = k < count[:, None]
    row = np.where(inside, left[:, None] + k, 0)
    tap = np.where(inside, pixel[:, None] - begin[row], 0)
    return left + first, count, np.where(inside, weights[row, tap], 0)


def _first_output(axis: Axis, reached: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]) -> int:
    """Return the first output whose window (left, count) fulfils a monotonic condition: of some hundred, then between two."""
    low, high = 0, axis.n_out
    while low < high:
        index = np.arange(low, high, -(-(high - low) // 256), dtype=np.int64)
        before = np.count_nonzero(~reached(*METHODS[axis.method].window(axis, index)))
        low, high = int(index[before - 1]) + 1 if before else low, int(index[before]) if before < len(index) else high
    return low


def _read(
    forward: Axis, index: NDArray[np.int64], left: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many pixels the rows really read: linear outputs that lie on a pixel give the next the weight 0.

    The first output of an upscaling is one, its coordinate clamped to 0: kept, its zero would make a row of the transpose 5
    taps long where 4 do. Zeros of other methods stay: without them windows would go back and forth.
    """
    if forward.method != "linear":
        return count
    next_one = METHODS["linear"].weight(forward, index, left[:, None] + 1)[:, 0]
    read: NDArray[np.int64] = count - ((count == 2) & (next_one == 0))
    return read


# ---------------------------------------------------------------------------------------------------------------------
# Methods. Each computes the windows (left, count) of the given output indices, and what pixels (n, k) count in these rows.


def nearest_window(axis: Axis, index: NDArray[np.int64], offset: float) -> Windows:
    """One tap: ``min(floor((index + offset) * step), n_in - 1)``.

    Coordinates are float32 whatever the data's dtype, as in torch's CUDA kernels.
    """
    number = axis.index_dtype.type
    coordinate = _coordinates.asymmetric(index.astype(number), number(axis.step), offset)
    left = np.minimum(np.floor(coordinate).astype(np.int64), axis.n_in - 1)
    return left, np.ones_like(left)


def area_window(axis: Axis, index: NDArray[np.int64]) -> Windows:
    """``[floor(i n_in / n_out), ceil((i + 1) n_in / n_out))``: adaptive average pooling, exact integers."""
    left = index * axis.n_in // axis.n_out
    return left, -(-(index + 1) * axis.n_in // axis.n_out) - left


def nearest(axis: Axis, index: NDArray[np.int64], _pixel: NDArray[np.int64]) -> Reals:
    """The one tap."""
    return np.ones((len(index), 1), axis.index_dtype)


def area(axis: Axis, index: NDArray[np.int64], _pixel: NDArray[np.int64]) -> Reals:
    """The mean."""
    _, count = area_window(axis, index)
    weight: Reals = np.reciprocal(count[:, None].astype(axis.index_dtype))
    return weight


def _coordinate(axis: Axis, index: NDArray[np.int64], clamped: bool) -> tuple[NDArray[np.int64], Reals]:
    """The pixel below the coordinate of an output, and how far above that it is.

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
    return np.minimum(base, axis.n_in - 1), phase


def interpolate_window(axis: Axis, index: NDArray[np.int64], filter: Filter, clamped: bool) -> Windows:
    """The ``2 support`` taps around the coordinate, but for those beyond the border."""
    base, _ = _coordinate(axis, index, clamped)
    reach = int(filter.support)
    left, last = _inside(base + (1 - reach), axis), _inside(base + reach, axis)
    return left, last - left + 1


def _inside(pixel: NDArray[np.int64], axis: Axis) -> NDArray[np.int64]:
    """What lies beyond a border becomes the edge pixel."""
    return np.minimum(np.maximum(pixel, 0), axis.n_in - 1)


def interpolate(axis: Axis, index: NDArray[np.int64], pixel: NDArray[np.int64], filter: Filter, clamped: bool) -> Reals:
    """Weights of the taps; those beyond the border add theirs to the edge pixel, in ascending order."""
    base, phase = _coordinate(axis, index, clamped)
    taps = _phase_weights(phase, filter, axis.dtype)
    weight = np.zeros_like(pixel, taps.dtype)
    for k in range(taps.shape[1]):
        tap = _inside(base + (1 - int(filter.support) + k), axis)
        weight += np.where(tap[:, None] == pixel, taps[:, k, None], taps.dtype.type(0))
    return weight


def _phase_weights(phase: Reals, filter: Filter, dtype: str) -> Reals:
    """Weights of the taps around a coordinate, in the order and rounding of torch."""
    one = phase.dtype.type(1)
    if dtype == "fixed":
        reach = int(filter.support)
        return filter.weight(np.arange(1 - reach, reach + 1) - phase[:, None])
    if filter.support == 1:
        return np.stack([one - phase, phase], axis=1)
    return filter.weight(np.stack([phase + one, phase, one - phase, (one - phase) + one], axis=1))


def _stretched(axis: Axis, index: NDArray[np.int64]) -> tuple[Reals, Any]:
    """Centre of an output, and by what the filter is stretched: by the step where it shrinks.

    ``align_corners`` changes the step and nothing else: torch keeps the half-pixel centre.
    """
    number = axis.index_dtype.type
    step = number(axis.step)
    return step * (index.astype(number) + number(0.5)), max(step, number(1))


def antialias_window(axis: Axis, index: NDArray[np.int64], filter: Filter) -> Windows:
    """What the stretched filter covers, cut at the border."""
    center, stretch = _stretched(axis, index)
    support, half = center.dtype.type(filter.support) * stretch, center.dtype.type(0.5)
    left = np.maximum(np.trunc(center - support + half).astype(np.int64), 0)
    return left, np.minimum(np.trunc(center + support + half).astype(np.int64), axis.n_in) - left


def antialias(axis: Axis, index: NDArray[np.int64], pixel: NDArray[np.int64], filter: Filter) -> Reals:
    """The stretched filter at the pixels."""
    center, stretch = _stretched(axis, index)
    number = center.dtype.type
    return filter.weight((pixel.astype(number) - center[:, None] + number(0.5)) * (number(1) / stretch))


class Method(NamedTuple):
    """A row of the table.

    window:  left and count of outputs (n).
    weight:  what pixels (n, k) count in the rows of these outputs, wherever they lie in the windows.
    width:   a bound on the count.
    normalised: whether these are divided by their sum over the window: the antialiased methods.
    copies:     whether every output is one pixel.
    """

    window: Callable[[Axis, NDArray[np.int64]], Windows]
    weight: Callable[[Axis, NDArray[np.int64], NDArray[np.int64]], Reals]
    width: Callable[[Axis], int]
    normalised: bool = False
    copies: bool = False


def _nearest(offset: float) -> Method:
    return Method(lambda axis, index: nearest_window(axis, index, offset), nearest, lambda axis: 1, copies=True)


def _interpolating(filter: Filter, *, clamped: bool) -> Method:
    return Method(
        lambda axis, index: interpolate_window(axis, index, filter, clamped),
        lambda axis, index, pixel: interpolate(axis, index, pixel, filter, clamped),
        lambda axis: 2 * int(filter.support),
    )


def _antialiasing(filter: Filter) -> Method:
    return Method(
        lambda axis, index: antialias_window(axis, index, filter),
        lambda axis, index, pixel: antialias(axis, index, pixel, filter),
        lambda axis: min(axis.n_in, 2 * math.ceil(filter.support * max(axis.step, 1.0)) + 1),
        normalised=True,
    )


METHODS: dict[str, Method] = {
    "nearest": _nearest(0.0),
    "nearest-exact": _nearest(0.5),
    "area": Method(area_window, area, lambda axis: -(-axis.n_in // axis.n_out) + 1),
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


@lru_cache(maxsize=AXES)
@_quiet
def fixed_point_bits(axis: Axis) -> int:
    """Return the number of fractional bits with which the largest weight of the axis still fits into int16."""
    largest = 0.0
    for start, stop in _chunks(axis, 0, axis.n_out):
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
