"""Steps: what is done to a tile, one or a few calls of NumPy each, prepared for any memory.

A step knows shapes, strides and matrices; where source and output lie it is told when it runs. Strides are in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample._blocks import Choice, Matrices
from cupysample._tuning import CACHE_LINE, COPIED, DOT_ELEMENTS, GEMM_MACS, INDEXED, NARROWED_ELEMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE, OUT, SCRATCH = range(3)
"""Whose memory: the array that is read, the one that is written, the thread's own."""

BYTE, INDEX = np.dtype(np.uint8), np.dtype(np.int64)


class Strided(NamedTuple):
    """An array as numbers; ``offset`` is from the first element of the tile, or of the scratch memory."""

    memory: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def is_dense(self) -> bool:
        """Whether it is C-contiguous."""
        return self.strides == dense_strides(self.shape, self.dtype.itemsize, like=self.strides)

    def part(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Strided:
        """Another view of the same memory."""
        return Strided(self.memory, offset, shape, strides, self.dtype)

    def at(self, tile: Tile) -> NDArray[Any]:
        """The array."""
        _, offset, shape, strides, dtype = self
        return np.ndarray(shape, dtype, tile.memories[self[0]], offset + tile.offsets[self[0]], strides)


def dense_strides(shape: Sequence[int], itemsize: int, like: Sequence[int] | None = None) -> tuple[int, ...]:
    """C-contiguous strides; those of axes with one element, which say nothing, are taken from ``like``."""
    strides = []
    for d in reversed(range(len(shape))):
        strides.append(like[d] if like is not None and shape[d] == 1 else itemsize)
        itemsize *= shape[d]
    return tuple(reversed(strides))


def scratch_bytes(shape: Sequence[int], itemsize: int) -> int:
    """Of a dense array, to the end of its last cache line: the next begins there."""
    return -(-math.prod(shape) * itemsize // CACHE_LINE) * CACHE_LINE


class Tile:
    """Where a tile lies in the memory of this call: what steps are run with."""

    __slots__ = ("memories", "offsets", "out", "source")

    source: NDArray[Any]
    """The window of pixels that the tile reads, as it lies."""
    out: NDArray[Any]
    """The tile of the output."""
    memories: tuple[Any, Any, Any]
    offsets: tuple[int, int, int]


class Step:
    """Does its part of a tile; returns False where its numbers are not finite, so that all of the tile must be done exactly."""

    __slots__ = ()

    def __call__(self, tile: Tile) -> bool | None:
        raise NotImplementedError

    @property
    def held(self) -> Sequence[NDArray[Any]]:
        """The arrays that it keeps alive."""
        return ()


# ---------------------------------------------------------------------------------------------------------------------
# Sums


class _Product(Step):
    """Matrices times windows, or windows times matrices."""

    __slots__ = ("matrix", "matrix_first", "x", "y")

    def __init__(self, matrix: NDArray[Any], x: Strided, y: Strided, matrix_first: bool) -> None:
        self.matrix, self.x, self.y, self.matrix_first = matrix, x, y, matrix_first

    @property
    def held(self) -> Sequence[NDArray[Any]]:
        return (self.matrix,)

    def __call__(self, tile: Tile) -> None:
        x, y = self.x.at(tile), self.y.at(tile)
        if self.matrix_first:
            np.matmul(self.matrix, x, out=y)
        else:
            np.matmul(x, self.matrix, out=y)


def products(
    matrices: Matrices, choice: Choice, x: Strided, y: Strided, axis: int, pixel: int, row: int
) -> Iterator[Step]:
    """Apply a band along an axis; ``x`` begins with ``pixel``, ``y`` with the output ``row``.

    The channels that are multiplied from the right are all that lies behind the axis, contiguous in both. Each product of
    matrices stays below what BLAS would deal to threads of its own, which stall where several threads multiply at once.
    """
    right, channels = choice.right, choice.channels
    order = -1 if right else 1
    outer, inner = _merged(x, y, range(axis)), _merged(x, y, range(axis + 1, len(x.shape)))
    x_axis, y_axis = x.strides[axis], y.strides[axis]
    x_number, y_number = inner.pop()[1:] if channels > 1 else (x_axis, y_axis)
    vectors, x_vector, y_vector = ((outer if right else inner) or [(1, x_axis, y_axis)]).pop()
    for stretch in matrices:
        blocks, (rows, width) = stretch.blocks, stretch.matrix.shape[:0:-1] if right else stretch.matrix.shape[1:]
        matrix = stretch.matrix if blocks > 1 else stretch.matrix[0]
        x_offset = x.offset + (stretch.pixel - pixel) * x_axis
        y_offset = y.offset + (stretch.row - row) * y_axis
        steps = blocks, stretch.step * x_axis, rows // channels * y_axis
        for first, pieces, n in _pieces(vectors, GEMM_MACS // (rows * width)):
            axes = [*outer, *inner, (pieces, n * x_vector, n * y_vector), steps]
            axes = [each for each in axes if each[0] > 1]
            batch, x_batch, y_batch = zip(*axes, strict=True) if axes else ((), (), ())
            x_core, y_core = (x_number, x_vector)[::order], (y_number, y_vector)[::order]
            windows = x.part(x_offset + first * x_vector, (*batch, *(width, n)[::order]), (*x_batch, *x_core))
            results = y.part(y_offset + first * y_vector, (*batch, *(rows, n)[::order]), (*y_batch, *y_core))
            yield _Product(matrix, windows, results, matrix_first=not right)


@lru_cache(maxsize=256)
def _pieces(n: int, largest: int) -> list[tuple[int, int, int]]:
    """Cut n into pieces, (first, pieces, extent of each): equal ones, and what remains."""
    count = -(-n // largest)
    divides = next((k for k in range(count, 2 * count) if n % k == 0), count)
    extent = -(-n // divides)
    whole = n // extent
    found = [(0, whole, extent), (whole * extent, 1, n % extent)]
    return [each for each in found if each[2]]


def _view(of: Strided, offset: int, axes: list[tuple[int, int]]) -> Strided:
    return of.part(offset, tuple(n for n, _ in axes), tuple(stride for _, stride in axes))


def _merged(x: Strided, y: Strided, axes: Sequence[int]) -> list[tuple[int, int, int]]:
    """(extent, stride of x, stride of y) of as few axes as describe these, of equal extent in both."""
    found: list[tuple[int, int, int]] = []
    for d in axes:
        n, a, b = x.shape[d], x.strides[d], y.strides[d]
        if found and found[-1][1:] == (n * a, n * b):
            found[-1] = (found[-1][0] * n, a, b)
        elif n > 1:
            found.append((n, a, b))
    return found


class _Sum(Step):
    """Views, added up in their order, times a weight."""

    __slots__ = ("terms", "weight", "y")

    def __init__(self, terms: list[Strided], y: Strided, weight: Any) -> None:
        self.terms, self.y, self.weight = terms, y, weight

    def __call__(self, tile: Tile) -> None:
        y = self.y.at(tile)
        total = self.terms[0].at(tile)
        for term in self.terms[1:]:
            total = np.add(total, term.at(tile), out=y)
        if self.weight != 1 or len(self.terms) == 1:
            np.multiply(total, self.weight, out=y)


def slices(factor: int, weight: Any, x: Strided, y: Strided, axis: int) -> Step:
    """Add up the pixels ``factor i … factor i + factor - 1`` of an axis: its strided slices."""
    spread = Strided(
        x.memory, x.offset, y.shape, (*x.strides[:axis], factor * x.strides[axis], *x.strides[axis + 1 :]), x.dtype
    )
    merged = _merged(spread, y, range(len(y.shape)))
    terms = [_view(x, x.offset + k * x.strides[axis], [(n, stride) for n, stride, _ in merged]) for k in range(factor)]
    return _Sum(terms, _view(y, y.offset, [(n, stride) for n, _, stride in merged]), weight)


class Finite(Step):
    """Whether there is no infinity, no NaN and no number whose square overflows.

    BLAS multiplies what lies outside of a window by zero, which is only right for finite numbers; and an infinity or a NaN
    that went in is still one after any number of products. Dot products short enough to stay in one thread of BLAS.
    """

    __slots__ = ("dots",)

    def __init__(self, x: Strided) -> None:
        item = x.dtype.itemsize
        outer = [axis[:2] for axis in _merged(x, x, range(len(x.shape)))]
        n = outer.pop()[0] if outer and outer[-1][1] == item else 1
        whole, rest = divmod(n, DOT_ELEMENTS)
        pieces = [
            (x.offset, [*outer, (whole, DOT_ELEMENTS * item)], DOT_ELEMENTS),
            (x.offset + whole * DOT_ELEMENTS * item, outer, rest),
        ]
        self.dots = [
            (_view(x, offset, [*axes, (1, item), (n, item)]), _view(x, offset, [*axes, (n, item), (1, item)]))
            for offset, axes, n in pieces
            if n and all(extent for extent, _ in axes)
        ]

    def __call__(self, tile: Tile) -> bool:
        return all(math.isfinite(np.add.reduce(np.matmul(a.at(tile), b.at(tile)), axis=None)) for a, b in self.dots)


# ---------------------------------------------------------------------------------------------------------------------
# Rounding and conversion


class Load(Step):
    """Copy the window of the source, or what was picked of it, widened, less an offset."""

    __slots__ = ("offset", "widen", "x", "y")

    def __init__(
        self, x: Strided | None, y: Strided, widen: Callable[[NDArray[Any], NDArray[Any]], None] | None, offset: int
    ) -> None:
        self.x, self.y, self.widen, self.offset = x, y, widen, offset

    def __call__(self, tile: Tile) -> None:
        x, y = tile.source if self.x is None else self.x.at(tile), self.y.at(tile)
        if self.widen is None:
            np.copyto(y, x, casting="unsafe")
        else:
            self.widen(x, y)
        if self.offset:
            y -= self.offset


class Store(Step):
    """Round to the dtype of the output, half to even; ``spare`` is as large as ``x``, for those who need it."""

    __slots__ = ("narrow", "spare", "x")

    def __init__(
        self, x: Strided, spare: Strided, narrow: Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], None] | None
    ) -> None:
        self.x, self.spare, self.narrow = x, spare, narrow

    def __call__(self, tile: Tile) -> None:
        if self.narrow is None:
            np.copyto(tile.out, self.x.at(tile), casting="unsafe")
            return
        x, spare, out = self.x.at(tile), self.spare.at(tile).view(np.uint32), tile.out
        if not out.flags.c_contiguous:
            self.narrow(x, spare, out)
            return
        x, spare, out = x.reshape(-1), spare.reshape(-1), out.reshape(-1)
        for k in range(0, len(x), NARROWED_ELEMENTS):  # fewer would wait more often, more leave the cache
            part = slice(k, k + NARROWED_ELEMENTS)
            self.narrow(x[part], spare[: len(x) - k][:NARROWED_ELEMENTS], out[part])


class Round(Step):
    """Add a bias, round down and cut to bounds, as fixed point does after every axis; no ``floor`` for a truncating store."""

    __slots__ = ("bias", "bounds", "floor", "x")

    def __init__(self, x: Strided, bias: NDArray[Any], bounds: tuple[int, int] | None, floor: bool) -> None:
        self.x, self.bias, self.bounds, self.floor = x, bias, bounds, floor

    @property
    def held(self) -> Sequence[NDArray[Any]]:
        return (self.bias,)

    def __call__(self, tile: Tile) -> None:
        x = self.x.at(tile)
        x += self.bias
        if self.floor:
            np.floor(x, out=x)
        if self.bounds:
            np.clip(x, *self.bounds, out=x)


class Mean(Step):
    """Divide sums by how many pixels they are of, the product of ``counts``, once, and round half to even.

    counts:  a number, or arrays whose axes are those of ``x``; ``spare``: as large as ``x``, for the product of these.
    """

    __slots__ = ("counts", "spare", "x")

    def __init__(self, x: Strided, spare: Strided, counts: list[NDArray[Any]]) -> None:
        self.x, self.counts = x, counts
        shape = np.broadcast_shapes(*(each.shape for each in counts))
        self.spare = spare.part(spare.offset, shape, dense_strides(shape, spare.dtype.itemsize))

    @property
    def held(self) -> Sequence[NDArray[Any]]:
        return self.counts

    def __call__(self, tile: Tile) -> None:
        x, (pixels, *others) = self.x.at(tile), self.counts
        for count in others:
            pixels = np.multiply(pixels, count, out=self.spare.at(tile))
        np.divide(x, pixels, out=x)
        np.rint(x, out=x)


# ---------------------------------------------------------------------------------------------------------------------
# Copies


class Copy(Step):
    """Copy the window of the source, which is sliced like the output."""

    __slots__ = ()

    def __call__(self, tile: Tile) -> None:
        np.copyto(tile.out, tile.source)


class Pick(NamedTuple):
    """Pixels of one axis: their indices, or how often each is repeated; ``y``: a place for the result."""

    axis: int
    pixels: NDArray[np.int64] | int
    y: Strided


class Gather(Step):
    """Pick pixels along one axis after another; the last time straight into the output where that is laid out for it."""

    __slots__ = ("picks",)

    def __init__(self, picks: list[Pick]) -> None:
        self.picks = picks

    @property
    def held(self) -> Sequence[NDArray[Any]]:
        return [pick.pixels for pick in self.picks if not isinstance(pick.pixels, int)]

    def __call__(self, tile: Tile) -> None:
        x, out = tile.source, tile.out
        for axis, pixels, y in self.picks:
            wide = WIDE.get((y.dtype.itemsize, pixels)) if isinstance(pixels, int) and axis == x.ndim - 1 else None
            if isinstance(pixels, int):
                fits = wide is None or out.strides[-1] == out.itemsize
            else:
                fits = out.flags.c_contiguous
            result = out if fits and y is self.picks[-1].y else y.at(tile)
            if not isinstance(pixels, int):
                _pick(x, pixels, axis, result)
            elif wide is not None:
                integers = result.view(wide.dtype)
                np.copyto(integers, x)
                np.multiply(integers, wide, out=integers)
            else:
                for k in range(pixels):
                    result[(slice(None),) * axis + (slice(k, None, pixels),)] = x
            x = result
        if x is not out:
            np.copyto(out, x)


class GatherAtOnce(Step):
    """Pick pixels along several axes at once, each with all that lies behind it, straight into the output.

    What ``pixels`` say for each axis adds up to the pixel that an output is.
    """

    __slots__ = ("index", "pixels", "x", "y")

    def __init__(self, pixels: Sequence[NDArray[np.int64]], index: Strided, x: Strided, y: Strided) -> None:
        self.pixels, self.index, self.x, self.y = pixels, index, x, y

    @property
    def held(self) -> Sequence[NDArray[Any]]:
        return self.pixels

    def __call__(self, tile: Tile) -> None:
        index = self.index.at(tile)
        np.copyto(index, self.pixels[0])
        for pixels in self.pixels[1:]:
            np.add(index, pixels, out=index)
        np.take(self.x.at(tile), index.reshape(-1), axis=1, out=self.y.at(tile), mode="clip")


class Take(Step):
    """Pick pixels along one axis of the window of the source, or of what was picked of it."""

    __slots__ = ("axis", "pixels", "x", "y")

    def __init__(self, x: Strided | None, axis: int, pixels: NDArray[np.int64], y: Strided) -> None:
        self.x, self.axis, self.pixels, self.y = x, axis, pixels, y

    @property
    def held(self) -> Sequence[NDArray[Any]]:
        return (self.pixels,)

    def __call__(self, tile: Tile) -> None:
        _pick(tile.source if self.x is None else self.x.at(tile), self.pixels, self.axis, self.y.at(tile))


def _pick(x: NDArray[Any], pixels: NDArray[np.int64], axis: int, out: NDArray[Any]) -> None:
    """Pick pixels of one axis, copying no more than ``COPIED`` results first.

    ``np.take`` first copies what has gaps, whole; an index takes longer where pixels are short.
    """
    behind = x.shape[axis + 1 :]
    if x.flags.c_contiguous or (math.prod(behind) < INDEXED and x.size <= COPIED * out.size):
        np.take(x, pixels, axis=axis, out=out, mode="clip")
        return
    if x.strides[axis + 1 :] == dense_strides(behind, x.itemsize):
        x, out = (each.reshape(*each.shape[: axis + 1], -1) for each in (x, out))
    out[...] = x[(slice(None),) * axis + (pixels,)]


WIDE = {
    (item, times): np.dtype(f"u{item * times}").type(sum(1 << 8 * item * k for k in range(times)))
    for item, times in ((1, 2), (1, 4), (1, 8), (2, 2), (2, 4), (4, 2))
}
"""By bytes of a pixel and how often it is repeated: what to multiply it by, as a wider integer."""
