"""kernels/few_taps.cu: a thread has some elements of a row of out and walks down a run of rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cupysample._kernels import Defines
from cupysample._made import (
    COMPUTING,
    WARP,
    Made,
    Share,
    basic_defines,
    best_runs,
    between,
    bounded_grid,
    bytes_of,
    layers_of,
)
from cupysample._plan import DTYPES, Plan
from cupysample._tables import Kind, alike
from cupysample._taps import Axis, counts
from cupysample._tuning import (
    ALONE,
    AXES,
    GATHERED_ELEMENTS,
    HELD_BYTES,
    MULTIPROCESSORS,
    RATIOS,
    RESIDENT_THREADS,
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
    TWO_DEPTHS,
    WINDOWED_BLOCKS,
    WINDOWED_ELEMENTS,
)
from cupysample._view import VECTOR_BYTES, Dim, View, are_aligned, indices, offsets_fit, source_steps

TAPS = (1, 2, 4, 8)
GROWING = ("float", "fixed", "copy")
"""Arithmetics that have instances for rows that grow by a known factor."""


def few_taps(plan: Plan, view: View) -> Made | None:
    """kernels/few_taps.cu, or None where rows have too many taps or offsets are too large for it."""
    taps = _taps(plan)
    if taps is None or taps > most_taps(len(plan.axes), plan.arithmetic) or not offsets_fit(plan, view):
        return None
    if not _is_regular(view) or 1 < plan.axes[-1].n_in < taps:
        return None
    wide = _is_wide(plan, view, vector(len(plan.axes), view.dtype, plan.arithmetic, taps, wide=True))
    elements = vector(len(plan.axes), view.dtype, plan.arithmetic, taps, wide)
    pitch = 0 if wide else _pitch(plan, view, taps)
    slot = NO_SLOT if wide else _slot(plan, view, elements, taps, pitch)
    elements = slot.elements or elements
    packed = wide or slot.units > 0 or _is_packed(plan, view, elements)
    planes, rows, depths = view.planes
    depths = depths // slot.depths + slot.depths // 2
    threads = -(-view.axes[-1].extent * view.inner.extent // elements)
    across = planes * threads
    if max(across, rows, depths) >= indices():
        return None
    layers = layers_of(depths, RUN_THREADS // WARP) if slot.units else 1
    blocks = -(-across // (RUN_THREADS // layers))
    longest = RUN_ROWS["wide" if wide else "copied" if slot.units else "gathered"][len(plan.axes)][taps]
    if slot.units:
        of_sums = RUN_BLOCKS[len(plan.axes)][taps][view.itemsize]
        resident = MULTIPROCESSORS * (WINDOWED_BLOCKS[pitch][taps] if slot.windows else of_sums)
        deep = -(-depths // layers)
        runs = best_runs(blocks * deep, resident, rows, longest, RUN_START[taps], ALONE)
    else:
        waves = across * rows * depths // RESIDENT_THREADS
        run_rows = between(waves, 1, min(rows, longest))
        runs, deep = -(-rows // run_rows), -(-depths // between(waves // run_rows, 1, RUN_DEPTHS))
    grid = bounded_grid(blocks, runs, deep)
    streamed = view.outputs * view.itemsize > STREAMED_BYTES
    return Made(
        "few_taps",
        few_taps_defines(len(plan.axes), view.dtype, plan.arithmetic, taps, wide, pitch, slot),
        grid,
        RUN_THREADS,
        Share(packed, streamed, parts=threads, runs_h=grid[1], runs_d=grid[2] * layers),
        _tables(plan, taps, slot),
        layers,
    )


def _tables(plan: Plan, taps: int, slot: Slot) -> tuple[Kind, ...]:
    """Of each axis; copies have none."""
    if plan.arithmetic == "copy":
        return ()
    along_w = Kind("neighbours", taps, slot.ratio, paired=slot.windows or slot.ratio[0] > 0)
    return *[Kind("window", taps)] * (len(plan.axes) - 1), along_w


def _taps(plan: Plan) -> int | None:
    """Taps of the longest row of any axis, rounded up to a power of two; None if it has more, or some row has none."""
    if plan.arithmetic == "copy":
        return 1
    if any(axis.width > 3 * TAPS[-1] for axis in plan.axes):  # a bound, not worth a table
        return None
    fewest, longest = map(list, zip(*map(counts, plan.axes), strict=True))
    return next((taps for taps in TAPS[1:] if taps >= max(longest) and min(fewest) > 0), None)


def most_taps(axes: int, arithmetic: str) -> int:
    """Taps whose windows fit into the registers."""
    return 8 if axes < 3 else 4 if arithmetic in ("float", "mean") else 2


def vector(axes: int, dtype: str, arithmetic: str, taps: int, wide: bool) -> int:
    """Elements of a thread: what a store holds, if the registers do: the sums of the rows of a window."""
    if arithmetic == "copy":
        return VECTOR_BYTES // bytes_of(dtype)
    depths = 1 if axes < 3 else taps if arithmetic == "float" else 2
    held = taps * depths * (8 if DTYPES[dtype].accumulate == "float64" else 4)
    elements = min(VECTOR_BYTES // bytes_of(dtype), HELD_BYTES // held)
    least, most = GATHERED_ELEMENTS.get(arithmetic, (1, elements)) if not wide and axes < 3 else (1, elements)
    return between(elements, least, most)


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
    depths:    of out that share the planes of a row's window, and are made at once.
    """

    units: int = 0
    unit: int = 4
    ratio: tuple[int, int] = (0, 1)
    windows: bool = False
    elements: int = 0
    depths: int = 1


NO_SLOT = Slot()
"""Windows are read where they are."""


def slots(axes: int, dtype: str, arithmetic: str, elements: int, taps: int, pitch: int) -> Iterator[Slot]:
    """The slots for the windows of neighbours: where they lie alike, of bytes, and in rows that do not shrink; the best first.

    None for more than 4 bytes an element, and for pixels no distance of which is known.
    """
    itemsize = bytes_of(dtype)
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
            slot = Slot(-(-(-before % unit + pixels * itemsize) // unit), unit, ratio, elements=several)
            if axes == 3 and arithmetic == "float" and taps in TWO_DEPTHS and ratio == (2, 1):
                yield slot._replace(depths=2)
            yield slot
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
    steps = source_steps(plan, view)
    steps[len(steps) - (axis.n_in > 1) :] = [axis.n_in * inner.extent]
    aligned = math.gcd(view.source_alignment, *(step * view.itemsize for step in steps))
    for slot in slots(len(plan.axes), view.dtype, plan.arithmetic, elements, taps, pitch):
        fits = slot.windows or slot.ratio[1] > 1 or axis.n_in <= axis.n_out
        fits = fits and (slot.depths == 1 or _share_windows(plan.axes[0]))
        packed = fits and _is_of_vectors(view, slot.elements)
        if packed and aligned % slot.unit == 0 and _has_windows(slot, axis, inner.extent, taps, view.itemsize):
            return slot
    return NO_SLOT


@lru_cache(maxsize=AXES)
def _has_windows(slot: Slot, axis: Axis, channels: int, taps: int, itemsize: int) -> bool:
    """Whether the slot of every thread holds its windows."""
    left, count, weight = axis.taps().left, axis.taps().count, axis.taps().weight
    if slot.ratio[0]:
        begin = alike(axis.n_out, taps, slot.ratio)
        behind = left + count - begin - taps
        clamped = np.arange(axis.n_out) < slot.ratio[0] // 2  # to the first pixel; then the second weighs 0
        all_follow = clamped.any() and (behind[clamped] == 1).all()
        if taps == 2 and all_follow and weight is not None and not weight[clamped, 1].any():
            behind[clamped] = 0
        return channels == 1 and bool((left >= begin).all() and (behind <= 0).all())
    pixel, channel = np.divmod(np.arange(axis.n_out * channels).reshape(-1, slot.elements), channels)
    first = np.minimum(left, axis.n_in - taps)[pixel] * channels + channel
    if slot.windows:  # pixels of so many bytes, which is the pitch
        last = first.max(axis=1) - channels + 1
        return int((last // 4 - first.min(axis=1) // 4).max()) + _window_words(taps, channels) <= slot.units
    begin = first.min(axis=1) * itemsize // 4
    end = (first.max(axis=1) + (taps - 1) * channels + 1) * itemsize
    return int((-(-end // 4) - begin).max()) <= slot.units


def _skips_rows(plan: Plan) -> bool:
    """Whether some source rows lie between windows, in none; also where that would take long to find out.

    Copies that shrink skip most. Those that hardly grow may skip one: a float32 product, rounded up, steps over a pixel.
    """
    if len(plan.axes) == 1:
        return False
    axis = plan.axes[-2]
    if axis.n_out > TABLE_ROWS or (plan.arithmetic == "copy" and axis.n_in > axis.n_out):
        return True
    return _has_gaps(axis)


@lru_cache(maxsize=AXES)
def _has_gaps(axis: Axis) -> bool:
    taps = axis.taps()
    return bool((taps.left[1:] > taps.left[:-1] + taps.count[:-1]).any())


@lru_cache(maxsize=AXES)
def _share_windows(axis: Axis) -> bool:
    """Whether there are rows 2 i - 1 and 2 i, and these have the same window."""
    taps = axis.taps()
    return axis.n_out > 2 and all(bool((each[1:-1:2] == each[2::2]).all()) for each in (taps.left, taps.count))


def few_taps_defines(axes: int, dtype: str, arithmetic: str, taps: int, wide: bool, pitch: int, slot: Slot) -> Defines:
    """The defines of an instance of kernels/few_taps.cu."""
    elements = slot.elements or vector(axes, dtype, arithmetic, taps, wide)
    row_bytes = slot.units * slot.unit * RUN_THREADS * (taps if axes > 2 else 1)
    return (
        *basic_defines(axes, dtype, arithmetic),
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
        ("CS_DEPTHS", str(slot.depths)),
    )


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
    inner = view.inner
    aligned = are_aligned(view.source_alignment, source_steps(plan, view), view.itemsize, elements)
    return inner.extent % elements == 0 and inner.source_stride == 1 and aligned and _out_is_aligned(view, elements)


def _out_is_aligned(view: View, elements: int) -> bool:
    """Whether rows of out are dense and begin with a vector."""
    dims: list[Dim] = [*view.outer, *view.axes]
    axis, inner = dims.pop(), view.inner
    dense = (axis.extent == 1 or axis.out_stride == inner.extent) and (inner.extent == 1 or inner.out_stride == 1)
    strides = [dim.out_stride for dim in dims if dim.extent > 1]
    return dense and are_aligned(view.out_alignment, strides, view.itemsize, elements)


def instances() -> Iterator[tuple[str, Defines]]:
    """Every instance of kernels/few_taps.cu."""
    copied = [(f"bits{bits}", "copy") for bits in (8, 16, 32, 64, 128)]
    for axes, (dtype, arithmetic) in itertools.product((1, 2, 3), (*copied, *COMPUTING)):
        for taps in TAPS[:1] if arithmetic == "copy" else TAPS[1:]:
            for wide, pitch in ((True, 0), *((False, pitch) for pitch in pitches(dtype, taps))):
                if taps <= most_taps(axes, arithmetic):
                    for slot in _slots(axes, dtype, arithmetic, taps, wide, pitch):
                        yield "few_taps", few_taps_defines(axes, dtype, arithmetic, taps, wide, pitch, slot)


def _slots(axes: int, dtype: str, arithmetic: str, taps: int, wide: bool, pitch: int) -> tuple[Slot, ...]:
    only_shrinks = arithmetic == "mean" and axes == 1 and taps > 2
    elements = vector(axes, dtype, arithmetic, taps, wide)
    return NO_SLOT, *(() if wide or only_shrinks else slots(axes, dtype, arithmetic, elements, taps, pitch))
