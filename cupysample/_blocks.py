"""Blocks: a band as small dense matrices, for BLAS.

``rows`` consecutive outputs read overlapping windows; all that they read is one window of ``width`` pixels, and they are a
dense matrix times it. Where the windows of consecutive blocks are equally far apart, the blocks are one ``Stretch``: one call
of NumPy over a strided view. Around the few blocks at the borders, an axis of a simple ratio is a single one::

    linear, 8 -> 16, blocks of 4 rows       stretch  row  pixel  step  matrices
       pixels  0 1 2                             0    0     0     1    1 x (4, 4)
                 1 2 3 4                         1    4     1     2    2 x (4, 4)
                     3 4 5 6                     2   12     4     0    1 x (4, 4)
                           5 6 7

Along the last axis a block multiplies from the right; along another from the left, the numbers behind a pixel being as many
vectors. Where these are few, the channels of a photograph, it multiplies from the right too, with every weight a diagonal
matrix: most of it is zero, but so few vectors would leave BLAS as idle.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample._kept import Entry, keep
from cupysample._taps import CHUNK_WEIGHTS, Axis, Taps, fixed_point_bits
from cupysample._tuning import (
    AXES,
    CALL_NS,
    GEMM_MACS,
    GEMM_NS,
    KEPT_MATRICES_BYTES,
    LANE_BYTES,
    MATRICES,
    MATRICES_BYTES,
    PICKED,
    PICKED_BYTES,
    PRODUCT_NS,
    ROWS,
    RUNS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Choice(NamedTuple):
    """How an axis is cut.

    rows:      outputs of a block.
    width:     pixels of its window.
    calls:     of NumPy, for all of the axis.
    right:     whether blocks multiply from the right, so that the numbers of a pixel are few and contiguous.
    channels:  these numbers, if so, else 1.
    packed:    whether pixels that no output reads have been left out of what is multiplied.
    """

    rows: int
    width: int
    calls: int
    right: bool
    channels: int
    packed: bool

    @property
    def macs(self) -> int:
        """Multiply-adds of a block and a vector."""
        return self.rows * self.width * self.channels**2

    def ns(self, itemsize: int, n_out: int, vectors: int, times: int, tiles: int) -> float:
        """Predicted nanoseconds for an array of ``times`` by ``vectors`` by ``n_out`` outputs; see ``choose``."""
        per_vector, per_mac = PRODUCT_NS[self.right]
        lanes = LANE_BYTES // itemsize
        columns = vectors if self.right else _padded(vectors, lanes)
        macs = _padded(self.rows * self.channels, lanes) * self.width * self.channels if self.right else self.macs
        blocks = times * n_out / self.rows
        gemms = blocks * -(-vectors // max(1, GEMM_MACS // self.macs))
        per_block = columns * (per_vector + macs * itemsize * per_mac)
        return blocks * per_block + gemms * GEMM_NS + tiles * self.calls * CALL_NS


class Stretch(NamedTuple):
    """Blocks whose windows are equally far apart.

    row:     first output.
    pixel:   first pixel of the first window; the next window begins ``step`` pixels later.
    matrix:  (blocks, rows, width), or (blocks, width channels, rows channels) to multiply from the right; (1, …) where those
             of all blocks are the same.
    """

    row: int
    pixel: int
    step: int
    blocks: int
    matrix: NDArray[Any]


class Matrices(tuple[Stretch, ...]):
    """Those of some outputs of an axis, in order."""

    @property
    def nbytes(self) -> int:
        """Of all together."""
        return sum(stretch.matrix.nbytes for stretch in self)


_matrices: dict[tuple[Axis, int, int, Choice, np.dtype[Any]], Entry[Matrices]] = {}


def matrices_of(axis: Axis, start: int, stop: int, choice: Choice, dtype: np.dtype[Any]) -> Matrices:
    """Return the matrices of the outputs ``start … stop - 1``; kept, for calls of other sizes have the same along one axis.

    Fixed-point weights come scaled by ``2**-bits``: a power of two, so that products and sums stay exact.
    """
    key = axis, start, stop, choice, dtype
    found = _matrices.get(key)
    return found[0] if found else keep(_matrices, key, Matrices(_stretches(*key)), MATRICES, KEPT_MATRICES_BYTES)


def _stretches(axis: Axis, start: int, stop: int, choice: Choice, dtype: np.dtype[Any]) -> list[Stretch]:
    taps, end, rows = *_read(axis, start, stop, choice.packed), choice.rows
    pixel, width = _windows(taps, rows, end)
    matrices = _dense(taps, pixel, width, rows, dtype)
    if axis.dtype == "fixed":
        matrices *= dtype.type(0.5 ** fixed_point_bits(axis))
    n = stop - start
    whole = n // rows
    found = []
    for first, last in _equally_spaced(pixel[:whole]):
        step = int(pixel[first + 1] - pixel[first]) if last - first > 1 else 0
        some = _compact(matrices[first:last], choice)
        found.append(Stretch(start + first * rows, int(pixel[first]), step, last - first, some))
    if n % rows:
        rest = _compact(matrices[whole:, : n % rows], choice)
        found.append(Stretch(start + whole * rows, int(pixel[whole]), 0, 1, rest))
    return found


_pixels_read: dict[Axis, Entry[NDArray[np.int64]]] = {}


def pixels_read(axis: Axis) -> NDArray[np.int64]:
    """The pixels of an axis all of whose rows are kept that some output reads, ascending."""
    found = _pixels_read.get(axis)
    if found:
        return found[0]
    taps = axis.taps()
    k = np.arange(taps.count.max())
    pixels = np.unique((taps.left[:, None] + k)[k < taps.count[:, None]])
    return keep(_pixels_read, axis, pixels, PICKED, PICKED_BYTES)


def window(axis: Axis, start: int, stop: int, packed: bool) -> tuple[int, int]:
    """Of these outputs, among all pixels or, ``packed``, among those that some output reads."""
    first, end = axis.window(start, stop)
    if packed:
        first, end = np.searchsorted(pixels_read(axis), (first, end)).tolist()
    return first, end


def _read(axis: Axis, start: int, stop: int, packed: bool) -> tuple[Taps, int]:
    """The rows of these outputs, and the end of their window."""
    taps = axis.taps(start, stop)
    if packed:
        taps = Taps(np.searchsorted(pixels_read(axis), taps.left), taps.count, taps.weight)
    return taps, window(axis, start, stop, packed)[1]


def _compact(matrices: NDArray[Any], choice: Choice) -> NDArray[Any]:
    """Copied without gaps, for BLAS takes twice as long for a transposed matrix; one for all where they are the same."""
    if len(matrices) > 1 and (matrices[1:] == matrices[0]).all():
        matrices = matrices[:1]
    matrices = matrices.swapaxes(1, 2) if choice.right else matrices
    return _spread(matrices, choice.channels) if choice.channels > 1 else matrices.copy()


def _spread(matrices: NDArray[Any], n: int) -> NDArray[Any]:
    """Every number as a diagonal matrix: ``np.kron`` with ``np.eye(n)``, which takes longer and more memory."""
    blocks, rows, columns = matrices.shape
    spread = np.zeros((blocks, rows, n, columns, n), matrices.dtype)
    for k in range(n):
        spread[:, :, k, :, k] = matrices
    return spread.reshape(blocks, rows * n, columns * n)


def _windows(taps: Taps, rows: int, end: int) -> tuple[NDArray[np.int64], int]:
    """First pixel of the window of each block, and the width of all of them; none reaches beyond the taps' ``end``.

    Both ends of the windows of rows never decrease.
    """
    ends = taps.left + taps.count
    low, high = taps.left[::rows], ends[rows - 1 :: rows]
    width = max(1, int((high - low[: len(high)]).max(initial=1)), int(ends[-1] - low[-1]))
    return np.minimum(low, end - width), width


def _dense(taps: Taps, pixel: NDArray[np.int64], width: int, rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The matrices of all blocks; the last is filled up with rows of zeros."""
    matrices = np.zeros((len(pixel) * rows, width), dtype)
    first = taps.left - pixel.repeat(rows)[: len(taps.left)]
    k = np.arange(taps.count.max(initial=1))
    step = max(1, CHUNK_WEIGHTS // len(k))
    for start in range(0, len(first), step):
        chunk = slice(start, start + step)
        row, tap = np.nonzero(k < taps.count[chunk, None])
        row += start
        matrices[row, first[row] + tap] = 1 if taps.weight is None else taps.weight[row, tap]
    return matrices.reshape(len(pixel), rows, width)


def _equally_spaced(pixel: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut into stretches in which the numbers are equally far apart."""
    found, first, steps = [], 0, pixel[1:] - pixel[:-1]
    for turn in np.flatnonzero(steps[1:] != steps[:-1]).tolist():  # the step behind the number ``turn + 1`` is another
        if turn >= first:
            found.append((first, turn + 2))
            first = turn + 2
    return [*found, (first, len(pixel))] if len(pixel) else []


def _padded(n: int, lanes: int) -> int:
    """As many as the registers of BLAS's kernels hold."""
    return -(-n // lanes) * lanes


@lru_cache(maxsize=256)
def choose(
    axis: Axis, right: bool, channels: int, itemsize: int, vectors: int, times: int, tiles: int, packed: bool
) -> tuple[float, Choice] | None:
    """Return the cheapest way to cut an axis and its predicted time; None where windows or matrices are too large.

    vectors:  that a product has, as rows of what is multiplied from the right, else as columns.
    times:    how often there are so many vectors, in an array of so many ``tiles``.
    """
    return min(
        (
            (choice.ns(itemsize, axis.n_out, vectors, times, tiles), choice)
            for choice in _choices(axis, right, channels, itemsize, packed)
        ),
        default=None,
    )


@lru_cache(maxsize=AXES)
def _choices(axis: Axis, right: bool, channels: int, itemsize: int, packed: bool) -> tuple[Choice, ...]:
    """The ways to cut an axis whose windows and matrices are not too large."""
    taps, end = _read(axis, 0, axis.n_out, packed)
    found = []
    for rows in sorted({min(max(1, n // channels), axis.n_out) for n in ROWS[right]}):
        pixel, width = _windows(taps, rows, end)
        choice = Choice(rows, width, len(_equally_spaced(pixel)), right, channels, packed)
        held = axis.n_out * width * channels**2 * itemsize
        if choice.calls <= RUNS and choice.macs <= GEMM_MACS and held <= MATRICES_BYTES:
            found.append(choice)
    return tuple(found)
