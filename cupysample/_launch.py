"""A plan as a kernel launch: which kernel, which instance, which grid, and the numbers it is given.

``launch`` is a pure function of a plan, two layouts and the addresses of tables. The tests run what it returns on the
CPU; ``_cuda`` hands it to the driver.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample._arrays import Layout
from cupysample._kernels import Defines
from cupysample._plan import DTYPES, Plan
from cupysample._tables import ALIKE, BEGUN, HELD, PAIRED, PAIRS, PLAIN, alike, begun_rows, has_table
from cupysample._taps import METHODS, Axis, fixed_point_bits
from cupysample._tuning import (
    ALONE,
    BAND_CHANNELS,
    BAND_COLUMNS,
    BAND_DEPTHS,
    BAND_FILLED,
    BAND_GROUPS,
    BAND_GROUPS_BYTES,
    BAND_INTEGER_ROWS,
    BAND_INTEGERS,
    BAND_ROWS,
    BAND_SPLIT_ROWS,
    BAND_TALL,
    BAND_TAPS,
    BAND_THREADS,
    BLOCK,
    FILLING_BLOCKS,
    GATHERED_ELEMENTS,
    HELD_BYTES,
    MAX_BLOCKS,
    MULTIPROCESSORS,
    RATIOS,
    RESIDENT_BANDS,
    RESIDENT_BYTES,
    RESIDENT_THREADS,
    RESIDENT_WALKS,
    RUN_BLOCKS,
    RUN_DEPTHS,
    RUN_ROWS,
    RUN_START,
    RUN_THREADS,
    SHRUNK_TAPS,
    STAGES,
    STAGES_BYTES,
    STREAMED_BYTES,
    TABLE_ROWS,
    WALKED_ALONE,
    WALKED_CHANNELS,
    WALKED_COLUMNS,
    WALKED_HELD,
    WALKED_ROWS,
    WALKED_THREADS,
    WINDOWED_BLOCKS,
    WINDOWED_ELEMENTS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARITHMETIC = {"float": 1, "integer": 2, "fixed": 3, "mean": 4, "copy": 5}
FORWARD, TRANSPOSED = 1, 2
"""Rows computed by the threads, of a matrix or of its transpose; see kernels/taps.cuh."""
METHOD_NUMBERS = {method: number for number, method in enumerate(METHODS)}
REALS = {"complex64": "float32", "complex128": "float64"}
MEAN_PIXELS = 1 << 24
"""Pixels of a mean whose sum fits 32 bits."""
SEPARABLE = ("float", "mean")
"""Arithmetics whose axes may be summed in any order."""
GROWING = ("float", "fixed", "copy")
"""Those of rows that grow by a known factor."""
IN_ORDER = 2
"""Of ``CS_PACKED``: and bytes lie in a window as they do in memory."""
WARP = 32
VECTOR_BYTES = 16
"""The widest load or store of a thread."""

_BATCH = np.dtype([("extent", "i8"), ("source_stride", "i8"), ("out_stride", "i8")])
_AXIS = np.dtype(
    [
        ("left", "u8"),
        ("count", "u8"),
        ("weight", "u8"),
        ("n_in", "i8"),
        ("n_out", "i8"),
        ("source_stride", "i8"),
        ("out_stride", "i8"),
        ("step", "f8"),
        ("method", "i4"),
        ("align_corners", "i4"),
        ("wide", "i4"),
        ("bits", "i4"),
    ]
)


_SHARE = np.dtype([(name, "i8") for name in ("packed", "streamed", "pixels", "channels", "rows", "splits")])


@cache
def geometry_dtype(axes: int) -> np.dtype[Any]:
    """``struct Geometry`` of kernels/geometry.cuh, byte for byte."""
    return np.dtype([("outer", _BATCH, 2), ("inner", _BATCH), ("axis", _AXIS, axes), ("share", _SHARE)])


class Launch(NamedTuple):
    """One kernel launch but for the two addresses: ``kernel(source, out, geometry)``."""

    kernel: str
    defines: Defines
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    geometry: NDArray[Any]


class Table(NamedTuple):
    """Addresses of the arrays of ``table_arrays``; 0 for what a kernel does not read."""

    lefts: int
    counts: int = 0
    weights: int = 0


class Dim(NamedTuple):
    """An extent of the view of a launch; strides in elements."""

    extent: int
    source_stride: int
    out_stride: int


class View(NamedTuple):
    """What a plan is applied to: ``[outer, outer, axes, inner]``; a complex number is two reals in ``inner``.

    dtype:   what is computed with; "bits8" … "bits128" for copies.
    small:   whether every offset and index fits an int.
    source_alignment, out_alignment:  bytes, powers of two at most ``VECTOR_BYTES``, that the addresses are multiples of.
    """

    dtype: str
    itemsize: int
    outer: tuple[Dim, Dim]
    axes: tuple[Dim, ...]
    inner: Dim
    small: bool
    source_alignment: int
    out_alignment: int

    @property
    def outputs(self) -> int:
        """Elements of out."""
        return math.prod(dim.extent for dim in (*self.outer, *self.axes, self.inner))


def launch(plan: Plan, source: Layout, out: Layout, table: Callable[[Axis, int], Table]) -> Launch:
    """Return the launch that applies ``plan``; ``table`` gives the addresses of what ``table_arrays`` returns."""
    view = _view(plan, source, out)
    copy = plan.arithmetic == "copy"
    tabulated = not copy and all(has_table(axis) for axis in plan.axes)
    if plan.arithmetic == "mean":
        tabulated = tabulated and math.prod(axis.width for axis in plan.axes) < MEAN_PIXELS
    made = few_taps(plan, view) if copy or tabulated else None
    if tabulated and (made is None or _is_better_summed_separably(plan, view, made)):
        made = band(plan, view) or made
    if made is None:
        tabulated = tabulated and plan.arithmetic != "mean"
        made = nearest(plan, view) if copy else resample(plan, view, tabulated)

    geometry = np.zeros(1, geometry_dtype(len(plan.axes)))
    geometry["outer"] = list(view.outer)
    geometry["inner"] = view.inner
    geometry["share"] = made.share
    for d, (axis, dim) in enumerate(zip(plan.axes, view.axes, strict=True)):
        entry = geometry["axis"][0, d]
        if tabulated:
            entry["left"], entry["count"], entry["weight"] = table(axis, made.tables[d])
        entry["n_in"], entry["n_out"] = axis.n_in, axis.n_out
        entry["source_stride"], entry["out_stride"] = dim.source_stride, dim.out_stride
        entry["step"], entry["method"] = axis.step, METHOD_NUMBERS[axis.method]
        entry["align_corners"] = axis.align_corners
        entry["wide"] = axis.index_dtype == np.float64
        entry["bits"] = fixed_point_bits(axis) if plan.arithmetic == "fixed" else 0
    return Launch(made.kernel, made.defines, made.grid, (made.threads, 1, 1), 0, geometry)


class Share(NamedTuple):
    """How threads share the work; see the kernels."""

    packed: bool = False
    streamed: bool = False
    pixels: int = 1
    channels: int = 1
    rows: int = 1
    splits: int = 1


class Made(NamedTuple):
    """A launch but for the numbers of the view; ``tables``: the kind of each axis, as of ``table_arrays``."""

    kernel: str
    defines: Defines
    grid: tuple[int, int, int]
    threads: int = BLOCK
    share: Share = Share()
    tables: tuple[int, ...] = (PLAIN, PLAIN, PLAIN)


# ---------------------------------------------------------------------------------------------------------------------
# The general kernels: any size, any stride


def nearest(plan: Plan, view: View) -> Made:
    """kernels/nearest.cu."""
    return Made("nearest", nearest_defines(len(plan.axes), view.dtype, view.small), _one_output_a_thread(view), BLOCK)


def resample(plan: Plan, view: View, tabulated: bool) -> Made:
    """kernels/resample.cu."""
    computed = 0
    if not tabulated:
        computed = TRANSPOSED if plan.axes[0].transposed else FORWARD
    small = view.small and not computed
    defines = resample_defines(len(plan.axes), view.dtype, plan.arithmetic, small, computed)
    return Made("resample", defines, _one_output_a_thread(view), BLOCK)


def _one_output_a_thread(view: View) -> tuple[int, int, int]:
    return min(-(-view.outputs // BLOCK), MAX_BLOCKS), 1, 1


def _defines(axes: int, dtype: str, arithmetic: str, index: str, computed: int) -> Defines:
    return (
        ("CS_AXES", str(axes)),
        ("CS_TYPE", f"CS_{dtype.upper()}"),
        ("CS_ARITHMETIC", str(ARITHMETIC[arithmetic])),
        ("CS_INDEX", index),
        ("CS_COMPUTED", str(computed)),
    )


def nearest_defines(axes: int, dtype: str, small: bool) -> Defines:
    """The defines of an instance of kernels/nearest.cu."""
    return _defines(axes, dtype, "copy", _index(small), 0)


def resample_defines(axes: int, dtype: str, arithmetic: str, small: bool, computed: int) -> Defines:
    """The defines of an instance of kernels/resample.cu."""
    return _defines(axes, dtype, arithmetic, _index(small), computed)


def _index(small: bool) -> str:
    return "int" if small else "long long"


# ---------------------------------------------------------------------------------------------------------------------
# Few taps: a thread has some elements of a row and walks down a run of rows


def few_taps(plan: Plan, view: View) -> Made | None:
    """kernels/few_taps.cu, or None where rows have too many taps or offsets are too large for it."""
    taps = _taps(plan)
    if taps is None or taps > most_taps(len(plan.axes), plan.arithmetic) or not _offsets_fit(plan, view):
        return None
    if not _is_regular(view) or 1 < plan.axes[-1].n_in < taps:
        return None
    wide = _is_wide(plan, view, vector(len(plan.axes), view.dtype, plan.arithmetic, taps, wide=True))
    elements = vector(len(plan.axes), view.dtype, plan.arithmetic, taps, wide)
    pitch = 0 if wide else _pitch(plan, view, taps)
    slot = NO_SLOT if wide else _slot(plan, view, elements, taps, pitch)
    elements = slot.elements or elements
    packed = wide or slot.units > 0 or _is_packed(plan, view, elements)
    planes, rows, depths = _planes(view)
    across = planes * -(-view.axes[-1].extent * view.inner.extent // elements)
    if max(across, rows, depths, *(axis.n_in for axis in plan.axes)) >= _indices():
        return None
    blocks = -(-across // RUN_THREADS)
    longest = RUN_ROWS["wide" if wide else "copied" if slot.units else "gathered"][len(plan.axes)][taps]
    if slot.units:
        of_sums = RUN_BLOCKS[len(plan.axes)][taps][view.itemsize]
        resident = MULTIPROCESSORS * (WINDOWED_BLOCKS[pitch][taps] if slot.windows else of_sums)
        runs, run_depths = _runs(blocks * depths, resident, rows, longest, RUN_START[taps], ALONE), 1
    else:
        waves = across * rows * depths // RESIDENT_THREADS
        run_rows = _between(waves, 1, min(rows, longest))
        runs, run_depths = -(-rows // run_rows), _between(waves // run_rows, 1, RUN_DEPTHS)
    defines = few_taps_defines(len(plan.axes), view.dtype, plan.arithmetic, taps, wide, pitch, slot)
    return Made(
        "few_taps",
        defines,
        _grid(blocks, runs, -(-depths // run_depths)),
        RUN_THREADS,
        Share(packed, streamed=view.outputs * view.itemsize > STREAMED_BYTES),
        (taps,) * (len(plan.axes) - 1) + (-(taps + ALIKE * slot.number + PAIRED * slot.windows),),
    )


def _runs(blocks: int, resident: int, rows: int, longest: int, start: int, alone: float) -> int:
    """In how many runs the rows take least time, if so many blocks share each, and so many in all begin at about the same time.

    A multiprocessor's blocks slow each other down; one that is alone takes ``alone`` of their time.
    """

    def time(runs: int) -> float:
        full, rest = divmod(blocks * runs, resident)
        if not full:  # none follows another, and some multiprocessors have one more than others
            rest += -rest % MULTIPROCESSORS
        return (full + (max(alone, rest / resident) if rest else 0)) * (-(-rows // runs) + start)

    least = -(-rows // longest)
    return min(range(least, min(rows, least + 2 * MULTIPROCESSORS) + 1), key=time)


def _planes(view: View) -> tuple[int, int, int]:
    """Planes, the rows of one, and depths; a row is the last axis with ``inner``."""
    first, second = (dim.extent for dim in view.outer)
    if len(view.axes) == 1:
        return first, second, 1
    return first * second, view.axes[-2].extent, view.axes[0].extent if len(view.axes) > 2 else 1


def _between(n: int, least: int, most: int) -> int:
    return max(least, min(n, most))


def _grid(x: int, y: int, z: int) -> tuple[int, int, int]:
    """The blocks wanted, at most as many as the driver takes; kernels cover the rest."""
    return min(x, MAX_BLOCKS), min(y, 65535), min(z, 65535)


_TAPS = (1, 2, 4, 8)


def _taps(plan: Plan) -> int | None:
    """Taps of the longest row of any axis, rounded up to a power of two; None if it has more, or some row has none."""
    if plan.arithmetic == "copy":
        return 1
    if any(axis.width > 3 * _TAPS[-1] for axis in plan.axes):  # a bound, not worth a table
        return None
    counts = [axis.taps().count for axis in plan.axes]
    longest = max(int(count.max()) for count in counts)
    return next((taps for taps in _TAPS[1:] if taps >= longest and all(count.min() > 0 for count in counts)), None)


def most_taps(axes: int, arithmetic: str) -> int:
    """Taps whose windows fit into the registers."""
    return 8 if axes < 3 else 4 if arithmetic in ("float", "mean") else 2


def vector(axes: int, dtype: str, arithmetic: str, taps: int, wide: bool) -> int:
    """Elements of a thread: what a store holds, if the registers do: the sums of the rows of a window."""
    if arithmetic == "copy":
        return VECTOR_BYTES * 8 // int(dtype.removeprefix("bits"))
    depths = 1 if axes < 3 else taps if arithmetic == "float" else 2
    held = taps * depths * (8 if DTYPES[dtype].accumulate == "float64" else 4)
    elements = min(VECTOR_BYTES // _itemsize(dtype), HELD_BYTES // held)
    least, most = GATHERED_ELEMENTS.get(arithmetic, (1, elements)) if not wide and axes < 3 else (1, elements)
    return _between(elements, least, most)


def _itemsize(dtype: str) -> int:
    return {"bfloat16": 2}.get(dtype) or np.dtype(dtype).itemsize


def pitches(dtype: str, taps: int) -> tuple[int, ...]:
    """Distances between the pixels of a row that instances know: a tap then costs no address. 0 for any other."""
    return (0,) if taps == 1 else (0, 1, 3) if dtype == "uint8" else (0, 1)


def _pitch(plan: Plan, view: View, taps: int) -> int:
    stride = view.axes[-1].source_stride
    return stride if plan.axes[-1].n_in > 1 and stride in pitches(view.dtype, taps) else 0


class Slot(NamedTuple):
    """Where a thread has its part of a row on its way to it: so many units of so many bytes; see kernels/few_taps.cu.

    ratio:     where the windows of neighbours lie alike, (pixels of the row, of its source); else (0, 1).
    windows:   the words of each window are read by themselves.
    elements:  of a thread; 0 without a slot: as ``vector`` has them.
    """

    units: int = 0
    unit: int = 4
    ratio: tuple[int, int] = (0, 1)
    windows: bool = False
    elements: int = 0

    @property
    def number(self) -> int:
        """Of the ratio in the kind of a table; 0 for none."""
        return 1 + RATIOS.index(self.ratio) if self.ratio[0] else 0


NO_SLOT = Slot()
"""Windows are read where they are."""


def slots(axes: int, dtype: str, arithmetic: str, elements: int, taps: int, pitch: int) -> Iterator[Slot]:
    """The slots for the windows of neighbours: where they lie alike, of bytes, and in rows that do not shrink; the best first.

    None for more than 4 bytes an element, and for pixels no distance of which is known.
    """
    itemsize = int(dtype.removeprefix("bits")) // 8 if dtype.startswith("bits") else _itemsize(dtype)
    if itemsize > 4 or (taps > 1 and pitch == 0):
        return
    for ratio in RATIOS if pitch < 2 else ():
        grows, shrinks = ratio
        known = (
            arithmetic in GROWING if shrinks == 1 else axes == 2 and taps in SHRUNK_TAPS.get((dtype, arithmetic), ())
        )
        if not known:
            continue
        several = WINDOWED_ELEMENTS[1][0] if shrinks > 1 and arithmetic == "fixed" else elements
        begin = alike(several, taps, ratio)
        # Bytes: from thread to thread, and of the pixels before the first.
        step, before = several * shrinks // grows * itemsize, -int(begin[0]) * itemsize
        if several * shrinks % grows == 0 and step % 4 == 0:
            # Where a row shrinks the last units of a thread are the next one's first anyway, and wide ones are fewer.
            unit = max(4, math.gcd(step, VECTOR_BYTES, before if shrinks == 1 else 0))
            pixels = int(begin[-1] - begin[0]) + taps
            yield Slot(-(-(-before % unit + pixels * itemsize) // unit), unit, ratio, elements=several)
    if arithmetic == "fixed" and axes < 3 and (pitch > 1 or taps > 2):
        step = max(2, taps // 2)  # from window to window: of antialiased linear and cubic rows, and of those by 1/2
        for several in WINDOWED_ELEMENTS[pitch]:
            last = 3 + (several // pitch - 1) * step * pitch
            yield Slot(last // 4 + _window_words(taps, pitch), windows=True, elements=several)
    elif taps < 8 or itemsize > 1:  # those would take too many registers
        pixels = elements if pitch < 2 else (elements + pitch - 2) // pitch + 1
        units = ((pixels + taps - 1) * max(pitch, 1) * itemsize + 4 - itemsize + 3) // 4 | 1  # odd, for banks
        yield Slot(units, elements=elements)


def _window_words(taps: int, pitch: int) -> int:
    """Words that may have a part of a window of bytes."""
    return -(-(taps * pitch + 3) // 4)


def _slot(plan: Plan, view: View, elements: int, taps: int, pitch: int) -> Slot:
    """The first slot whose units threads may copy ahead: rows of the source are dense, of whole units, and all are read.

    Rows of out are vectors.
    """
    axis, dim, inner = plan.axes[-1], view.axes[-1], view.inner
    dense = inner.extent in (1, inner.extent * inner.source_stride) and dim.source_stride == inner.extent
    short = axis.n_out * inner.extent <= TABLE_ROWS  # others would take long to look through
    if not dense or not short or _skips_rows(plan):
        return NO_SLOT
    extents = [*(each.extent for each in view.outer), *(each.n_in for each in plan.axes[:-1])]
    rows = zip((*view.outer, *view.axes[:-1]), extents, strict=True)
    steps = [axis.n_in * inner.extent, *(each.source_stride for each, n in rows if n > 1)]
    aligned = math.gcd(view.source_alignment, *(step * view.itemsize for step in steps))
    for slot in slots(len(plan.axes), view.dtype, plan.arithmetic, elements, taps, pitch):
        fits = slot.windows or slot.ratio[1] > 1 or axis.n_in <= axis.n_out
        packed = fits and _is_of_vectors(view, slot.elements)
        if packed and aligned % slot.unit == 0 and _has_windows(slot, axis, inner, taps, view.itemsize):
            return slot
    return NO_SLOT


def _has_windows(slot: Slot, axis: Axis, inner: Dim, taps: int, itemsize: int) -> bool:
    """Whether the slot of every thread holds its windows."""
    left, count, weight = axis.taps().left, axis.taps().count, axis.taps().weight
    if slot.number:
        begin = alike(axis.n_out, taps, slot.ratio)
        behind = left + count - begin - taps
        clamped = np.arange(axis.n_out) < slot.ratio[0] // 2  # to the first pixel; then the second weighs 0
        all_follow = clamped.any() and (behind[clamped] == 1).all()
        if taps == 2 and all_follow and weight is not None and not weight[clamped, 1].any():
            behind[clamped] = 0
        return inner.extent == 1 and bool((left >= begin).all() and (behind <= 0).all())
    pixel, channel = np.divmod(np.arange(axis.n_out * inner.extent).reshape(-1, slot.elements), inner.extent)
    first = np.minimum(left, axis.n_in - taps)[pixel] * inner.extent + channel
    if slot.windows:  # pixels of inner.extent bytes, which is the pitch
        last = first.max(axis=1) - inner.extent + 1
        return int((last // 4 - first.min(axis=1) // 4).max()) + _window_words(taps, inner.extent) <= slot.units
    begin = first.min(axis=1) * itemsize // 4
    end = (first.max(axis=1) + (taps - 1) * inner.extent + 1) * itemsize
    return int((-(-end // 4) - begin).max()) <= slot.units


def _skips_rows(plan: Plan) -> bool:
    """Whether some source rows lie between windows, in none."""
    if len(plan.axes) == 1:
        return False
    axis = plan.axes[-2]
    if plan.arithmetic == "copy":
        return axis.n_in > axis.n_out
    taps = axis.taps()
    return bool((taps.left[1:] > taps.left[:-1] + taps.count[:-1]).any())


def few_taps_defines(axes: int, dtype: str, arithmetic: str, taps: int, wide: bool, pitch: int, slot: Slot) -> Defines:
    """The defines of an instance of kernels/few_taps.cu."""
    elements = slot.elements or vector(axes, dtype, arithmetic, taps, wide)
    row_bytes = slot.units * slot.unit * RUN_THREADS * (taps if axes > 2 else 1)
    return (
        *_defines(axes, dtype, arithmetic, "int", 0),
        ("CS_TAPS", str(taps)),
        ("CS_VECTOR", str(elements)),
        ("CS_WIDE", str(int(wide))),
        ("CS_PITCH", str(pitch)),
        ("CS_SLOT", str(slot.units)),
        ("CS_UNIT", str(slot.unit)),
        ("CS_GROWTH", str(slot.ratio[0])),
        ("CS_SHRINK", str(slot.ratio[1])),
        ("CS_WINDOWS", str(int(slot.windows))),
        ("CS_STAGES", str(min(STAGES, STAGES_BYTES // row_bytes) if slot.units else 1)),
        ("CS_THREADS", str(RUN_THREADS)),
    )


def _offsets_fit(plan: Plan, view: View) -> bool:
    """Whether offsets inside a row and from row to row, in bytes, and the number of a row's elements fit an int."""
    axis, inner, n_in = view.axes[-1], view.inner, plan.axes[-1].n_in
    source = (n_in - 1) * abs(axis.source_stride) + (inner.extent - 1) * abs(inner.source_stride)
    out = (axis.extent - 1) * abs(axis.out_stride) + (inner.extent - 1) * abs(inner.out_stride)
    row = abs((*view.outer, *view.axes)[-2].source_stride)
    return max(max(source, row, out) * view.itemsize, max(n_in, axis.extent) * inner.extent) < _indices()


def _is_regular(view: View) -> bool:
    """Whether elements of a row of out are one stride apart."""
    axis, inner = view.axes[-1], view.inner
    return 1 in (axis.extent, inner.extent) or axis.out_stride == inner.extent * inner.out_stride


def _is_packed(plan: Plan, view: View, elements: int) -> bool:
    """Whether so many neighbours in a row of out are one vector, and a thread should have them.

    It should not where a row shrinks: then neighbours in out read what lies too far apart for one request of a warp.
    """
    return plan.axes[-1].n_in <= view.axes[-1].extent and _is_of_vectors(view, elements)


def _is_of_vectors(view: View, elements: int) -> bool:
    """Whether so many neighbours in a row of out are one vector."""
    return view.axes[-1].extent * view.inner.extent % elements == 0 and _out_is_aligned(view, elements)


def _is_wide(plan: Plan, view: View, elements: int) -> bool:
    """Whether so many neighbours of a pixel are one vector, in source and out."""
    inner, extents = view.inner, [*(dim.extent for dim in view.outer), *(axis.n_in for axis in plan.axes)]
    strides = [dim.source_stride for dim, n in zip((*view.outer, *view.axes), extents, strict=True) if n > 1]
    aligned = _are_aligned(view.source_alignment, strides, view.itemsize, elements)
    return inner.extent % elements == 0 and inner.source_stride == 1 and aligned and _out_is_aligned(view, elements)


def _out_is_aligned(view: View, elements: int) -> bool:
    """Whether rows of out are dense and begin with a vector."""
    dims: list[Dim] = [*view.outer, *view.axes]
    axis, inner = dims.pop(), view.inner
    dense = (axis.extent == 1 or axis.out_stride == inner.extent) and (inner.extent == 1 or inner.out_stride == 1)
    strides = [dim.out_stride for dim in dims if dim.extent > 1]
    return dense and _are_aligned(view.out_alignment, strides, view.itemsize, elements)


def _are_aligned(alignment: int, strides: list[int], itemsize: int, elements: int) -> bool:
    """Whether vectors of ``elements``, or the largest of which these are made, stay aligned wherever ``strides`` lead."""
    elements &= -elements
    return elements * itemsize <= alignment and all(stride % elements == 0 for stride in strides)


# ---------------------------------------------------------------------------------------------------------------------
# Bands of any width, separably: a block has a tile of a row of out, and some rows


def band(plan: Plan, view: View) -> Made | None:
    """kernels/band.cu, or band_integer.cu for what rounds axis by axis; or those that walk down H; None for large offsets."""
    axis, dim, inner = plan.axes[-1], view.axes[-1], view.inner
    if not _offsets_fit(plan, view):
        return None
    if walked := band_walk(plan, view):
        return walked
    separable, row = plan.arithmetic in SEPARABLE, axis.n_in * inner.extent
    shapes = band_shapes(view.dtype, plan.arithmetic)
    if _window_rows(plan) >= BAND_TALL:
        shapes = [(t, v) for t, v in shapes if v <= _neighbours(view.dtype, plan.arithmetic)]
    threads, columns = next(((t, v) for t, v in shapes if row <= 1.5 * t * v), shapes[-1])
    elements = min(columns, _neighbours(view.dtype, plan.arithmetic))
    channels = _channels(view, BAND_CHANNELS)
    if plan.arithmetic == "fixed":  # whose windows are whole
        longest = int(axis.taps().count.max()) + elements
        channels = channels if longest * channels <= threads * columns else 1
        if longest > threads * columns:
            return None
    packed = elements > 1 and _source_is_aligned(plan, view, channels, elements)
    planes, rows, depths = _planes(view)
    most = threads * (columns if separable else _band_elements(len(plan.axes), view.dtype))
    for splits in _splits(plan, threads // max(channels, WARP) if separable else 1):
        pixels = _tile(axis, channels, threads // splits * columns, elements if packed else 1, most)
        across = planes * -(-dim.extent // pixels) * -(-inner.extent // channels)
        if across * rows * depths >= RESIDENT_THREADS // 4 // threads:
            break
    if max(across, rows, depths) >= _indices():
        return None
    if plan.arithmetic == "fixed" and len(plan.axes) == 2 and 0 < begun_rows(plan.axes[0]) <= BAND_INTEGER_ROWS:
        outputs = 1 if pixels * channels <= threads else BAND_INTEGERS
        runs = _walked_runs(plan, across, RESIDENT_BYTES[outputs > 1] // threads, ALONE)
        defines = band_bytes_defines(threads, columns, outputs, IN_ORDER if packed and channels == 1 else int(packed))
        share = Share(packed, pixels=pixels, channels=channels)
        return Made(
            "band_bytes", defines, _grid(across, runs, 1), threads, share, (BEGUN + HELD * BAND_INTEGER_ROWS, PAIRS)
        )
    waves = across * rows * depths // FILLING_BLOCKS
    group = _between(waves, 1, min(rows, _band_rows(plan.arithmetic)))
    groups = -(-rows // group)
    run_groups = _between(waves // group, 1, min(groups, _band_groups(plan, view, group, columns)))
    run_depths = _between(waves // (group * run_groups), 1, BAND_DEPTHS)
    grid = _grid(across, -(-groups // run_groups), -(-depths // run_depths))
    defines = band_defines(len(plan.axes), view.dtype, plan.arithmetic, threads, columns, packed)
    share, tables = Share(packed, pixels=pixels, channels=channels, rows=group, splits=splits), [PLAIN] * len(plan.axes)
    if plan.arithmetic == "fixed":
        tables[-1] = PAIRS
    return Made(_band_kernel(plan.arithmetic), defines, grid, threads, share, tuple(tables))


def band_walk(plan: Plan, view: View) -> Made | None:
    """kernels/band_walk.cu, or None where it has no instance, rows are short, or the source is not read by vectors."""
    axis, inner, vector = plan.axes[-1], view.inner, VECTOR_BYTES // view.itemsize
    least = WALKED_ROWS.get(len(plan.axes), {}).get(view.dtype)
    if plan.arithmetic != "float" or least is None or _window_rows(plan) < least:
        return None
    height = plan.axes[-2]
    held = next((held for held in WALKED_HELD[len(plan.axes)] if 0 < begun_rows(height) <= held), 0)
    row, longest = axis.n_in * inner.extent, int(axis.taps().count.max())
    threads = next((t for t in WALKED_THREADS if row <= 1.5 * t * WALKED_COLUMNS), WALKED_THREADS[-1])
    window = threads * WALKED_COLUMNS
    channels = _channels(view, BAND_CHANNELS)
    while channels > WALKED_CHANNELS // view.itemsize and 4 * longest * channels > window:
        channels = _channels(view, 1 << (channels - 1).bit_length() >> 1)
    fits = 2 * row >= window and longest * channels + vector - 1 <= window
    if not held or height.n_in <= height.n_out or not fits or not _source_is_aligned(plan, view, channels, vector):
        return None
    pixels = _tile(axis, channels, window, vector, window)
    planes, rows, depths = _planes(view)
    across = planes * -(-axis.n_out // pixels) * -(-inner.extent // channels)
    if max(across, rows, depths) >= _indices():
        return None
    runs = _walked_runs(plan, across * depths, RESIDENT_WALKS // threads, WALKED_ALONE)
    defines = band_walk_defines(len(plan.axes), view.dtype, threads, held)
    tables = (*[PLAIN] * (len(plan.axes) - 2), BEGUN + HELD * held, PLAIN)
    return Made(
        "band_walk",
        defines,
        _grid(across, runs, depths),
        threads,
        Share(True, pixels=pixels, channels=channels),
        tables,
    )


def _walked_runs(plan: Plan, across: int, resident: int, alone: float) -> int:
    """In how many runs the rows take least time where a block walks down H, so many across and resident at a time."""
    axis = plan.axes[-2]
    start = -(-_window_rows(plan) * axis.n_out // axis.n_in) + 1
    return _runs(across, resident, axis.n_out, axis.n_out, start, alone)


def _channels(view: View, most: int) -> int:
    """Channels of a tile, at most so many, a power of two: all, where rows are one stride; else a divisor of the threads."""
    axis, inner = view.axes[-1], view.inner
    channels = min(inner.extent, most)
    if channels < inner.extent or (channels > 1 and axis.source_stride != channels * inner.source_stride):
        channels = min(1 << (channels - 1).bit_length(), most)
    return channels


def _band_kernel(arithmetic: str) -> str:
    return "band" if arithmetic in SEPARABLE else "band_integer"


def _band_rows(arithmetic: str) -> int:
    """Rows of a group, at most."""
    return BAND_ROWS if arithmetic in SEPARABLE else BAND_INTEGER_ROWS


def _band_groups(plan: Plan, view: View, rows: int, columns: int) -> int:
    """Groups that a block walks through, at most: one where L2 would not hold for the next what all blocks have read."""
    if len(plan.axes) > 2:  # there the next depth comes before it
        return 1
    step = -(-plan.axes[-2].n_in // plan.axes[-2].n_out) if len(plan.axes) > 1 else 1
    read = ((rows - 1) * step + _window_rows(plan)) * columns * RESIDENT_BANDS * view.itemsize
    return BAND_GROUPS if view.itemsize == 1 or read <= BAND_GROUPS_BYTES else 1


def _band_elements(axes: int, dtype: str) -> int:
    """Elements of out of a thread of kernels/band_integer.cu."""
    return BAND_INTEGERS // (2 if axes > 2 or DTYPES[dtype].accumulate == "float64" else 1)


def _splits(plan: Plan, most: int) -> list[int]:
    """In how many parts a block may sum the rows of a group, each some rows long."""
    taps = _window_rows(plan)
    return [splits for splits in (1, 2, 4, 8) if splits == 1 or splits <= min(most, taps // BAND_SPLIT_ROWS)]


def _window_rows(plan: Plan) -> int:
    """Rows of the longest window along H; 1 in 1-D."""
    return int(plan.axes[-2].taps().count.max()) if len(plan.axes) > 1 else 1


def band_shapes(dtype: str, arithmetic: str) -> list[tuple[int, int]]:
    """(threads, columns of a thread) of the instances, for rows from short to long."""
    short, middle, long = BAND_THREADS
    neighbours = _neighbours(dtype, arithmetic)
    if arithmetic not in SEPARABLE:
        return [(short, neighbours), (middle, neighbours)]
    narrow = [(short, neighbours // 2)] if neighbours == 8 else []
    wider = [(long, BAND_COLUMNS)] if dtype == "float32" else []
    return [(short, 1), *narrow, (short, neighbours), (middle, neighbours), (long, neighbours), *wider]


def _neighbours(dtype: str, arithmetic: str) -> int:
    """Elements that a thread of these kernels reads at once."""
    vector = VECTOR_BYTES // _itemsize(dtype)
    return min(vector, BAND_COLUMNS) if arithmetic in SEPARABLE else vector


def band_defines(axes: int, dtype: str, arithmetic: str, threads: int, columns: int, packed: bool) -> Defines:
    """The defines of an instance of kernels/band.cu, which serves both, packed and not; or of band_integer.cu."""
    integer = [("CS_ELEMENTS", str(_band_elements(axes, dtype))), ("CS_PACKED", str(int(packed)))]
    return (
        *_defines(axes, dtype, arithmetic, "int", 0),
        ("CS_THREADS", str(threads)),
        ("CS_COLUMNS", str(columns)),
        ("CS_VECTOR", str(min(columns, _neighbours(dtype, arithmetic)))),
        ("CS_ROWS", str(_band_rows(arithmetic))),
        *([("CS_CHANNELS", str(BAND_CHANNELS))] if arithmetic in SEPARABLE else integer),
    )


def band_bytes_defines(threads: int, columns: int, elements: int, order: int) -> Defines:
    """The defines of an instance of kernels/band_bytes.cu: band_integer.cu's, with so many elements of out a thread."""
    same = dict(band_defines(2, "uint8", "fixed", threads, columns, order > 0))
    return tuple((same | {"CS_ELEMENTS": str(elements), "CS_PACKED": str(order)}).items())


def band_walk_defines(axes: int, dtype: str, threads: int, held: int) -> Defines:
    """The defines of an instance of kernels/band_walk.cu, which holds the sums of so many rows."""
    return (
        *_defines(axes, dtype, "float", "int", 0),
        ("CS_THREADS", str(threads)),
        ("CS_COLUMNS", str(WALKED_COLUMNS)),
        ("CS_VECTOR", str(VECTOR_BYTES // _itemsize(dtype))),
        ("CS_ROWS", str(held)),
        ("CS_PACKED", "1"),
    )


def _is_better_summed_separably(plan: Plan, view: View, made: Made) -> bool:
    """Whether band.cu takes fewer instructions than few_taps.cu: see ``BAND_FILLED``."""
    gathers = {("CS_WIDE", "0"), ("CS_SLOT", "0")} <= set(made.defines) and len(plan.axes) > 1
    if not gathers or made.tables[0] < BAND_TAPS.get(view.dtype, _TAPS[-1] + 1):
        return False
    if any(axis.n_in <= axis.n_out for axis in plan.axes[-2:]) or (separate := band(plan, view)) is None:
        return False
    tiles = -(-view.axes[-1].extent // separate.share.pixels) * -(-view.inner.extent // separate.share.channels)
    columns = separate.threads // separate.share.splits * int(dict(separate.defines)["CS_COLUMNS"])
    return plan.axes[-1].n_in * view.inner.extent >= BAND_FILLED * tiles * columns


def _tile(axis: Axis, channels: int, window: int, aligned: int, most: int) -> int:
    """The pixels of a tile: as many as read at most ``window`` elements, and are at most so many themselves; or one.

    A window begins at a multiple of ``aligned`` elements.
    """
    taps = axis.taps()
    begin, end = taps.left, taps.left + taps.count
    if axis.n_out * channels <= most and int(begin[0]) == 0 and int(end[-1]) * channels <= window:
        return axis.n_out
    window -= aligned - 1
    pixels = min(axis.n_out, max(min(window, most) // channels, 1))
    while pixels > 1:
        widest = int((end[pixels - 1 :] - begin[: axis.n_out - pixels + 1]).max()) * channels
        if widest <= window:
            break
        pixels = max(1, min(pixels - 1, pixels * window // widest))
    return -(-axis.n_out // -(-axis.n_out // pixels))  # no tile much smaller than the others


def _source_is_aligned(plan: Plan, view: View, channels: int, elements: int) -> bool:
    """Whether so many neighbours in a row of the source, or in a block of channels, are one vector."""
    axis, inner, n_in = view.axes[-1], view.inner, [axis.n_in for axis in plan.axes]
    extents = [*(dim.extent for dim in view.outer), *n_in]
    strides = [dim.source_stride for dim, n in zip((*view.outer, *view.axes), extents, strict=True) if n > 1]
    dense = inner.extent == 1 or inner.source_stride == 1
    if channels == inner.extent and (n_in[-1] == 1 or axis.source_stride == channels):  # whole rows are dense
        dense = dense and n_in[-1] * channels % elements == 0
        strides = strides[: len(strides) - (n_in[-1] > 1)]
    else:
        dense = dense and inner.extent % elements == 0 and channels % elements == 0
    return dense and _are_aligned(view.source_alignment, strides, view.itemsize, elements)


# ---------------------------------------------------------------------------------------------------------------------
# What there is


def instances() -> list[tuple[str, Defines]]:
    """Every instance that ``launch`` can ask for."""
    return list(_instances())


def _instances() -> Iterator[tuple[str, Defines]]:
    computing = [(dtype, row.arithmetic) for dtype, row in DTYPES.items() if dtype not in REALS]
    computing = [(dtype, arithmetic) for dtype, arithmetic in computing if arithmetic != "copy"] + [("uint8", "mean")]
    for axes in (1, 2, 3):
        for dtype in ("bits8", "bits16", "bits32", "bits64", "bits128"):
            for small in (True, False):
                yield "nearest", nearest_defines(axes, dtype, small)
            for wide in (False, True):
                for slot in _slots(axes, dtype, "copy", 1, wide, 0):
                    yield "few_taps", few_taps_defines(axes, dtype, "copy", 1, wide, 0, slot)
        for dtype, arithmetic in computing:
            for small, computed in ((True, 0), (False, 0), (False, FORWARD), (False, TRANSPOSED)):
                if computed == FORWARD or arithmetic == "float" or (arithmetic != "mean" and not computed):
                    yield "resample", resample_defines(axes, dtype, arithmetic, small, computed)
            for taps in _TAPS[1:]:
                for wide, pitch in ((True, 0), *((False, pitch) for pitch in pitches(dtype, taps))):
                    if taps <= most_taps(axes, arithmetic):
                        for slot in _slots(axes, dtype, arithmetic, taps, wide, pitch):
                            yield "few_taps", few_taps_defines(axes, dtype, arithmetic, taps, wide, pitch, slot)
            for threads, columns in band_shapes(dtype, arithmetic):
                for packed in (False,) if arithmetic in SEPARABLE else (False, True):
                    yield _band_kernel(arithmetic), band_defines(axes, dtype, arithmetic, threads, columns, packed)

    for threads, columns in band_shapes("uint8", "fixed"):
        for elements in (1, BAND_INTEGERS):
            for order in (0, 1, IN_ORDER):
                yield "band_bytes", band_bytes_defines(threads, columns, elements, order)
    for axes, dtypes in WALKED_ROWS.items():
        for dtype, threads, held in itertools.product(dtypes, WALKED_THREADS, WALKED_HELD[axes]):
            yield "band_walk", band_walk_defines(axes, dtype, threads, held)


def _slots(axes: int, dtype: str, arithmetic: str, taps: int, wide: bool, pitch: int) -> tuple[Slot, ...]:
    only_shrinks = arithmetic == "mean" and axes == 1 and taps > 2
    elements = vector(axes, dtype, arithmetic, taps, wide)
    return NO_SLOT, *(() if wide or only_shrinks else slots(axes, dtype, arithmetic, elements, taps, pitch))


# ---------------------------------------------------------------------------------------------------------------------
# The view


def _view(plan: Plan, source: Layout, out: Layout) -> View:
    dtype, itemsize, parts = source.dtype, source.itemsize, 1
    if plan.arithmetic == "copy":
        dtype = f"bits{8 * itemsize}"
    elif dtype in REALS:  # a complex number is two reals
        dtype, itemsize, parts = REALS[dtype], itemsize // 2, 2
    source_strides = _in_elements(source.strides, itemsize, "input")
    out_strides = _in_elements(out.strides, itemsize, "out")
    dims = [Dim(*each) for each in zip(out.shape, source_strides, out_strides, strict=True)]
    steps = [abs(dim.out_stride) for dim in dims[2:] if dim.extent > 1]
    outer, inner = _fold([*dims[:2], Dim(parts, 1, 1)], min(steps, default=2**63))
    small = _fits_int32(source.shape, source_strides, parts) and _fits_int32(out.shape, out_strides, parts)
    return View(dtype, itemsize, outer, tuple(dims[2:]), inner, small, _alignment(source), _alignment(out))


def _in_elements(strides: tuple[int, ...], itemsize: int, name: str) -> tuple[int, ...]:
    if any(stride % itemsize for stride in strides):
        raise ValueError(f"{name}: strides must be multiples of the element's {itemsize} bytes, got {strides}")
    return tuple(stride // itemsize for stride in strides)


def _alignment(layout: Layout) -> int:
    return math.gcd(layout.misalignment, VECTOR_BYTES)


def _fits_int32(shape: tuple[int, ...], strides: tuple[int, ...], parts: int) -> bool:
    """Whether every offset and index fits an int."""
    reach = sum(abs(stride) * (extent - 1) for extent, stride in zip(shape, strides, strict=True))
    return math.prod(shape) * parts < _indices() and reach + parts < _indices()


def _indices() -> int:
    """Bound of an index that fits an int, with room for the last grid-stride step."""
    return 2**31 - BLOCK * MAX_BLOCKS


def _fold(batch: list[Dim], dense: int) -> tuple[tuple[Dim, Dim], Dim]:
    """Fold batch, channels and complex part into two outer dimensions and one inner.

    What is denser in the output than ``dense``, the resampled axes, goes inside. Neighbours that are one stride merge.
    """
    merged: list[Dim] = []
    for dim in batch:
        if dim.extent == 1:
            continue
        n = dim.extent
        if (
            merged
            and _same_side(merged[-1], dim, dense)
            and merged[-1][1:] == (n * dim.source_stride, n * dim.out_stride)
        ):
            merged[-1] = Dim(merged[-1].extent * n, dim.source_stride, dim.out_stride)
        else:
            merged.append(dim)
    inner = merged.pop() if merged and abs(merged[-1].out_stride) < dense else _ONE
    first, second = [_ONE] * (2 - len(merged)) + merged
    return (first, second), inner


_ONE = Dim(1, 0, 0)


def _same_side(a: Dim, b: Dim, dense: int) -> bool:
    return (abs(a.out_stride) < dense) == (abs(b.out_stride) < dense)
