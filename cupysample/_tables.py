"""The tables of axes that kernels read: windows and weights, as each kernel has them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample._taps import Axis, Taps
from cupysample._tuning import AXES, TABLE_BYTES, TABLE_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Kind(NamedTuple):
    """How a kernel has the table of an axis.

    form:    row of ``FORMS``.
    places:  taps of an entry of "window" and "neighbours"; of "begun", rows of out whose sums are held.
    ratio:   of "neighbours", where windows lie alike: (pixels of a row, of its source); else (0, 1).
    paired:  of "neighbours": weights of fixed point have 16 bits, so that an instruction multiplies two.
    """

    form: str
    places: int = 0
    ratio: tuple[int, int] = (0, 1)
    paired: bool = False


PLAIN, PAIRS = Kind("plain"), Kind("pairs")


def has_table(axis: Axis) -> bool:
    """Whether the axis' rows are tabulated; longer ones are computed by each thread."""
    return axis.n_out <= TABLE_ROWS and axis.n_in < 2**31 and axis.n_out * (axis.width + 2) * 8 <= TABLE_BYTES


@lru_cache(maxsize=AXES)
def begun_rows(axis: Axis) -> tuple[int, int]:
    """Rows of out that have begun and not ended at a time, at most, where a kernel walks down the axis; 0 where none can.

    And source rows that the first step lacks, lest it be more: 1 where pairs begin with odd ones.
    """
    taps = axis.taps()
    if not taps.count.all():
        return 0, 0
    rows, phase = _fewest_begun(taps)
    return (rows if axis.n_in * rows * 8 <= TABLE_BYTES else 0), phase


def _fewest_begun(taps: Taps) -> tuple[int, int]:
    found = []
    for phase in (0, 1) if _step(taps) == 2 else (0,):
        begin, _, first = _begun(taps, phase)
        found.append((1 + int((np.arange(len(begin)) - first[begin]).max()), phase))
    return min(found)


def _begun(taps: Taps, phase: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The steps in which each row of the matrix begins and ends; the first row that ends in each step, or behind it."""
    left = taps.left + phase
    begin, end = left // _step(taps), (left + taps.count - 1) // _step(taps)
    return begin, end, np.searchsorted(end, np.arange(int(end[-1]) + 2))


def _step(taps: Taps) -> int:
    """Source rows that a kernel which walks down an axis takes at a time."""
    return 4 if taps.weight is not None and taps.weight.dtype == np.int32 else 2


def table_arrays(axis: Axis, kind: Kind) -> tuple[NDArray[Any], ...]:
    """Return an axis' table as a kernel reads it."""
    taps = axis.taps()
    weight = taps.weight
    if weight is None:
        weight = (np.arange(taps.count.max()) < taps.count[:, None]).astype(np.uint32)
    return FORMS[kind.form](axis, taps, weight, kind)


def _plain(_axis: Axis, taps: Taps, weight: NDArray[Any], _: Kind) -> tuple[NDArray[Any], ...]:
    """left, count and weight[tap][row]."""
    return taps.left.astype(np.int32), taps.count.astype(np.int32), np.ascontiguousarray(np.swapaxes(weight, 0, 1))


def _pairs(axis: Axis, taps: Taps, weight: NDArray[Any], kind: Kind) -> tuple[NDArray[Any], ...]:
    """The same with kernels/window.cuh's ``FourWeights`` for weights."""
    return _plain(axis, taps, _words(taps.left, taps.count, weight), kind)


def _window(_axis: Axis, taps: Taps, weight: NDArray[Any], kind: Kind) -> tuple[NDArray[Any], ...]:
    """kernels/held_rows.cuh's ``Window``: the last place is taken."""
    weight = _short(weight) if weight.dtype == np.int32 else weight
    return (_entries(taps.left, taps.count, _placed(weight, kind.places - taps.count, kind.places)),)


def _neighbours(axis: Axis, taps: Taps, weight: NDArray[Any], kind: Kind) -> tuple[NDArray[Any], ...]:
    """kernels/held_rows.cuh's ``Neighbours``: the first place is taken, unless places would end behind the row."""
    weight = _short(weight) if weight.dtype == np.int32 and kind.paired else weight
    first = np.maximum(taps.left + kind.places - max(axis.n_in, kind.places), 0)  # the place of tap 0
    if kind.ratio[0]:
        first = taps.left - alike(axis.n_out, kind.places, kind.ratio)
    hangs = first + taps.count > kind.places
    bits = ((1 << taps.count) - 1 << first) & (1 << kind.places) - 1 | hangs << kind.places
    return (_entries(taps.left - first, bits, _placed(weight, first, kind.places)),)


def _placed(weight: NDArray[Any], first: NDArray[np.int64], places: int) -> NDArray[Any]:
    """The weights in so many places where that of tap 0 is ``first``, which is one of them or the next."""
    rows, width = weight.shape
    placed = np.zeros((rows, places + width), weight.dtype)
    begin = np.arange(rows) * (places + width) + first
    placed.reshape(-1)[begin[:, None] + np.arange(width)] = weight
    return placed[:, :places]


def _entries(left: NDArray[np.int64], count: NDArray[np.int64], weight: NDArray[Any]) -> NDArray[Any]:
    """An array of ``struct Window`` or ``Neighbours``: a multiple of 16 bytes each."""
    table = np.zeros(len(left), _entry_dtype(weight.shape[1], weight.dtype))
    table["left"], table["count"], table["weight"] = left, count, weight
    return table


def _begun_rows(_axis: Axis, taps: Taps, weight: NDArray[Any], kind: Kind) -> tuple[NDArray[Any], ...]:
    """By steps of some source rows: the first row of out that ends; those in which each begins and behind which it ends; weights.

    Of fixed point [steps][held][step], from the first row that has not ended; of floats [steps][step][held], of row i in place
    i % held, 16 bytes or a multiple of it, NaN outside of a window. A first step that lacks one has the other in its place.
    """
    held, step, (_, phase) = kind.places, _step(taps), _fewest_begun(taps)
    begin, end, first = _begun(taps, phase)
    rows = first[:-1, None] + np.arange(held)
    known = np.minimum(rows, len(begin) - 1)
    source = step * np.arange(len(rows))[:, None] + np.arange(step) - phase
    if phase:
        source[0] = 0, -1
    k = source[:, None] - taps.left[known][..., None]
    inside = (rows < len(begin))[..., None] & (k >= 0) & (k < taps.count[known][..., None])
    found = weight[known[..., None], np.where(inside, k, 0)]
    steps = np.stack((begin, end + 1)).astype(np.int32)
    if step == 4:
        return first.astype(np.int32), steps, _short(np.where(inside, found, 0))
    places = -(-held * weight.itemsize // 16) * 16 // weight.itemsize
    of = np.full((len(rows), step, places), np.nan, weight.dtype)
    place = np.broadcast_to((rows % held)[:, None], (len(rows), step, held))
    np.put_along_axis(of, place, np.swapaxes(np.where(inside, found, np.nan), 1, 2), axis=2)
    return first.astype(np.int32), steps, of


def _words(left: NDArray[np.int64], count: NDArray[np.int64], weight: NDArray[Any]) -> NDArray[np.int16]:
    """(rows, words, 4): the weights of four pixels, the first of which is ``left`` rounded down to a multiple of 4."""
    words = int((left % 4 + count).max() + 3) // 4
    return _short(_placed(weight, left % 4, 4 * words)).reshape(len(left), words, 4)


def _short(weight: NDArray[Any]) -> NDArray[np.int16]:
    """Weights of fixed point, which fit 16 bits (``fixed_point_bits``)."""
    assert np.abs(weight).max() < 1 << 15
    return weight.astype(np.int16)


@cache
def _entry_dtype(places: int, weight: np.dtype[Any]) -> np.dtype[Any]:
    """``struct Window`` and ``Neighbours`` of kernels/held_rows.cuh: a multiple of 16 bytes."""
    size = 8 + places * weight.itemsize
    return np.dtype(
        {
            "names": ["left", "count", "weight"],
            "formats": ["i4", "i4", (weight, places)],
            "offsets": [0, 4, 8],
            "itemsize": -(-size // 16) * 16,
        }
    )


def alike(n_out: int, taps: int, ratio: tuple[int, int]) -> NDArray[np.int64]:
    """Where windows of so many taps begin in a row that has ``ratio`` pixels and its source: ``begin_of`` of kernels/few_taps.cuh."""
    grows, shrinks = ratio
    ahead, behind = (grows // 2 if taps > 1 else 0), (taps - shrinks if shrinks > 1 else taps) // 2
    return (np.arange(n_out) * shrinks + ahead) // grows - behind


FORMS = {"plain": _plain, "pairs": _pairs, "window": _window, "neighbours": _neighbours, "begun": _begun_rows}
"""By the kernels: resample.cu, band.cu, band_walk.cu; W of band_integer.cu and band_bytes.cu; H and D, and W, of few_taps.cu;
H of band_bytes.cu and band_walk.cu."""
