"""Blocks: a band as small dense matrices, for BLAS.

``rows`` consecutive outputs read overlapping windows; all that they read is one window of ``width`` pixels, and they are a
dense matrix times it. Where the windows of consecutive blocks are equally far apart, the blocks are one ``Run``: one call
of NumPy over a strided view. Around the few blocks at the borders, an axis of a simple ratio is a single run::

    linear, 8 -> 16, blocks of 4 rows           run  row  pixel  step  matrices
       pixels  0 1 2                             0    0     0     1    1 x (4, 4)
                 1 2 3 4                         1    4     1     2    2 x (4, 4)
                     3 4 5 6                     2   12     4     0    1 x (4, 4)
                           5 6 7
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample._taps import Axis, Taps, fixed_point_bits
from cupysample._tuning import CALL_NS, GEMM_MACS, GEMM_NS, LANES, MATRICES, PRODUCT_NS, ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Run(NamedTuple):
    """Blocks whose windows are equally far apart.

    row:     first output.
    pixel:   first pixel of the first window; the next window begins ``step`` pixels later.
    matrix:  (blocks, rows, width), or (blocks, width, rows) to multiply from the right; one matrix for all, broadcast,
             where they are the same.
    """

    row: int
    pixel: int
    step: int
    matrix: NDArray[Any]


def runs(axis: Axis, start: int, stop: int, rows: int, dtype: np.dtype[Any], right: bool) -> list[Run]:
    """Return the matrices of the outputs ``start … stop - 1``, ``rows`` at a time; ``right``: to multiply from the right.

    Fixed-point weights come scaled by ``2**-bits``: a power of two, so that products and sums stay exact.
    """
    taps = axis.taps(start, stop)
    pixel, width = _windows(taps, rows, axis.window(start, stop)[1])
    matrices = _dense(taps, pixel, width, rows, dtype)
    if axis.dtype == "fixed":
        matrices *= dtype.type(0.5 ** fixed_point_bits(axis))
    n = stop - start
    whole = n // rows
    found = []
    for first, last in _equally_spaced(pixel[:whole]):
        step = int(pixel[first + 1] - pixel[first]) if last - first > 1 else 0
        found.append(Run(start + first * rows, int(pixel[first]), step, _compact(matrices[first:last], right)))
    if n % rows:
        rest = _compact(matrices[whole:, : n % rows], right)
        found.append(Run(start + whole * rows, int(pixel[whole]), 0, rest))
    return found


def _compact(matrices: NDArray[Any], right: bool) -> NDArray[Any]:
    """Without gaps, for BLAS takes twice as long for a transposed matrix; one for all where they are the same."""
    some = matrices[:1] if (matrices == matrices[0]).all() else matrices
    some = np.ascontiguousarray(some.swapaxes(1, 2) if right else some)
    return np.broadcast_to(some, (len(matrices), *some.shape[1:]))


def _windows(taps: Taps, rows: int, end: int) -> tuple[NDArray[np.int64], int]:
    """First pixel of the window of each block, and the width of all of them; none reaches beyond the taps' ``end``."""
    first = np.arange(0, len(taps.left), rows)
    low = np.minimum.reduceat(taps.left, first)
    high = np.maximum.reduceat(taps.left + taps.count, first)
    width = max(1, int((high - low).max()))
    return np.minimum(low, end - width), width


def _dense(taps: Taps, pixel: NDArray[np.int64], width: int, rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The matrices of all blocks; the last is filled up with rows of zeros."""
    assert taps.weight is not None
    matrices = np.zeros((len(pixel) * rows, width), dtype)
    k = np.arange(taps.weight.shape[1])
    row, tap = np.nonzero(k < taps.count[:, None])
    matrices[row, taps.left[row] + tap - pixel[row // rows]] = taps.weight[row, tap]
    return matrices.reshape(len(pixel), rows, width)


def _equally_spaced(pixel: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut into stretches in which the numbers are equally far apart."""
    found, first, steps = [], 0, np.diff(pixel).tolist()
    while first < len(pixel):
        last = first + 1
        while last < len(pixel) and steps[last - 1] == steps[first]:
            last += 1
        found.append((first, last))
        first = last
    return found


class Choice(NamedTuple):
    """How an axis is cut: rows of a block, the width of its windows, calls of NumPy for all of it."""

    rows: int
    width: int
    calls: int

    def ns(self, last: bool, n_out: int, vectors: int, times: int, tiles: int) -> float:
        """Predicted nanoseconds for an array of ``times`` by ``vectors`` by ``n_out`` outputs; see ``choose``."""
        per_vector, per_mac = PRODUCT_NS[last]
        rows, columns = (_padded(self.rows), vectors) if last else (self.rows, _padded(vectors))
        blocks = times * n_out / self.rows
        gemms = blocks * -(-vectors // max(1, GEMM_MACS // (self.rows * self.width)))
        return (
            blocks * columns * (per_vector + rows * self.width * per_mac)
            + gemms * GEMM_NS
            + tiles * self.calls * CALL_NS
        )


def _padded(n: int) -> int:
    """As many as the registers of BLAS's kernels hold."""
    return -(-n // LANES) * LANES


@lru_cache(maxsize=1024)
def choose(axis: Axis, last: bool, vectors: int, times: int, tiles: int) -> tuple[float, Choice] | None:
    """Return the cheapest way to cut an axis and its predicted time; None where windows or matrices are too large.

    last:     whether the axis is that of unit stride; a product then has so many ``vectors`` as rows, else as columns.
    times:    how often there are so many vectors, in an array of so many ``tiles``.
    """
    taps, end = axis.taps(), axis.window(0, axis.n_out)[1]
    found = []
    for rows in sorted({min(rows, axis.n_out) for rows in ROWS[last]}):
        pixel, width = _windows(taps, rows, end)
        if rows * width <= GEMM_MACS and axis.n_out * width <= MATRICES:
            choice = Choice(rows, width, len(_equally_spaced(pixel)))
            found.append((choice.ns(last, axis.n_out, vectors, times, tiles), choice))
    return min(found, default=None)
