"""kernels/band.cu and its kin: windows of any width, separably; a block has a tile of a row of out, and some rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache

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
from cupysample._tables import PAIRS, PLAIN, Kind, begun_rows
from cupysample._taps import Axis, counts
from cupysample._tuning import (
    ALONE,
    AXES,
    BAND_CHANNELS,
    BAND_COLUMNS,
    BAND_DEPTHS,
    BAND_GROUPS,
    BAND_GROUPS_BYTES,
    BAND_INTEGER_ROWS,
    BAND_INTEGERS,
    BAND_ROWS,
    BAND_SPLIT_FILLED,
    BAND_SPLIT_ROWS,
    BAND_TALL,
    BAND_THREADS,
    FILLING_BLOCKS,
    LAYERS,
    OVERFILLED,
    RESIDENT_BAND_BYTES,
    RESIDENT_BANDS,
    RESIDENT_THREADS,
    RESIDENT_WALKS,
    WALKED_ALONE,
    WALKED_CHANNELS,
    WALKED_COLUMNS,
    WALKED_FILLED,
    WALKED_HELD,
    WALKED_ROWS,
    WALKED_THREADS,
    WALKED_WINDOWS,
)
from cupysample._view import VECTOR_BYTES, View, are_aligned, indices, offsets_fit, source_steps

SEPARABLE = ("float", "mean")
"""Arithmetics whose axes may be summed in any order."""
IN_ORDER = 2
"""Of ``CS_PACKED``: and bytes lie in a window as they do in memory."""


def band(plan: Plan, view: View) -> Made | None:
    """kernels/band.cu, or band_integer.cu for what rounds axis by axis; or those that walk down H; None for large offsets."""
    axis, inner = plan.axes[-1], view.inner
    if not offsets_fit(plan, view):
        return None
    if walked := band_walk(plan, view):
        return walked
    separable, row = plan.arithmetic in SEPARABLE, axis.n_in * inner.extent
    shapes = band_shapes(view.dtype, plan.arithmetic)
    if _window_rows(plan) >= BAND_TALL:
        shapes = [(t, v) for t, v in shapes if v <= _neighbours(view.dtype, plan.arithmetic)]
    threads, columns = _shape(shapes, row)
    elements = min(columns, _neighbours(view.dtype, plan.arithmetic))
    channels = _channels(view, BAND_CHANNELS)
    if plan.arithmetic == "fixed":  # whose windows are whole
        longest = counts(axis)[1] + elements
        channels = channels if longest * channels <= threads * columns else 1
        if longest > threads * columns:
            return None
    packed = elements > 1 and _source_is_aligned(plan, view, channels, elements)
    planes, rows, depths = view.planes
    most = threads * (columns if separable else _band_elements(len(plan.axes), view.dtype))
    for splits in _splits(plan, threads // max(channels, WARP) if separable else 1):
        pixels = _tile(axis, channels, threads // splits * columns, elements if packed else 1, most)
        share = _tiles(view, packed, pixels, channels)
        across = planes * share.parts
        if across * rows * depths * threads >= BAND_SPLIT_FILLED * RESIDENT_THREADS:
            break
    if max(across, rows, depths) >= indices():
        return None
    if plan.arithmetic == "fixed" and len(plan.axes) == 2 and 0 < begun_rows(plan.axes[0])[0] <= BAND_INTEGER_ROWS:
        return _band_bytes(plan, threads, columns, across, share)
    waves = across * rows * depths // FILLING_BLOCKS
    group = between(waves, 1, min(rows, _band_rows(plan.arithmetic)))
    groups = -(-rows // group)
    run_groups = between(waves // group, 1, min(groups, _band_groups(plan, view, group, columns)))
    run_depths = between(waves // (group * run_groups), 1, BAND_DEPTHS)
    grid = bounded_grid(across, -(-groups // run_groups), -(-depths // run_depths))
    defines = band_defines(len(plan.axes), view.dtype, plan.arithmetic, threads, columns, packed)
    share = share._replace(rows=group, splits=splits, runs_h=grid[1], runs_d=grid[2])
    tables = (*[PLAIN] * (len(plan.axes) - 1), PAIRS if plan.arithmetic == "fixed" else PLAIN)
    return Made(_band_kernel(plan.arithmetic), defines, grid, threads, share, tables)


def _band_bytes(plan: Plan, threads: int, columns: int, across: int, share: Share) -> Made:
    """kernels/band_bytes.cu."""
    elements = 1 if share.pixels * share.channels <= threads else BAND_INTEGERS
    runs = _walked_runs(plan, across, RESIDENT_BAND_BYTES[elements > 1] // threads, ALONE)
    order = IN_ORDER if share.packed and share.channels == 1 else int(share.packed)
    defines = band_bytes_defines(threads, columns, elements, order)
    tables = (Kind("begun", BAND_INTEGER_ROWS), PAIRS)
    grid = bounded_grid(across, runs, 1)
    return Made("band_bytes", defines, grid, threads, share._replace(runs_h=grid[1]), tables)


def band_walk(plan: Plan, view: View) -> Made | None:
    """kernels/band_walk.cu, or None where it has no instance, rows are short, or the source is not read by vectors."""
    axis, inner, vector = plan.axes[-1], view.inner, VECTOR_BYTES // view.itemsize
    least = WALKED_ROWS.get(len(plan.axes), {}).get(view.dtype)
    if plan.arithmetic != "float" or least is None or _window_rows(plan) < least:
        return None
    row, longest = axis.n_in * inner.extent, counts(axis)[1]
    threads, _ = _shape([(threads, WALKED_COLUMNS) for threads in WALKED_THREADS[len(plan.axes)]], row)
    window = threads * WALKED_COLUMNS
    channels = _channels(view, BAND_CHANNELS)
    while channels > WALKED_CHANNELS // view.itemsize and WALKED_WINDOWS * longest * channels > window:
        channels = _channels(view, 1 << (channels - 1).bit_length() >> 1)
    fits = row >= WALKED_FILLED * window and longest * channels + vector - 1 <= window
    height = plan.axes[-2]
    if height.n_in <= height.n_out or not fits or not _source_is_aligned(plan, view, channels, vector):
        return None
    begun, phase = begun_rows(height)
    held = next((held for held in WALKED_HELD[len(plan.axes)] if 0 < begun <= held), 0)
    if not held:
        return None
    pixels = _tile(axis, channels, window, vector, window)
    planes, rows, depths = view.planes
    share = _tiles(view, True, pixels, channels)
    across = planes * share.parts
    if max(across, rows, depths) >= indices():
        return None
    layers = layers_of(depths, _most_layers(threads))
    deep, block = -(-depths // layers), threads * layers
    runs = _walked_runs(plan, across * deep, RESIDENT_WALKS[held] // block, WALKED_ALONE)
    defines = band_walk_defines(len(plan.axes), view.dtype, threads, held, layers)
    grid = bounded_grid(across, runs, deep)
    share = share._replace(phase=phase, runs_h=grid[1], runs_d=grid[2])
    tables = (*[PLAIN] * (len(plan.axes) - 2), Kind("begun", held), PLAIN)
    return Made("band_walk", defines, grid, block, share, tables, layers)


def _shape(shapes: list[tuple[int, int]], row: int) -> tuple[int, int]:
    """Of (threads, columns of a thread) the first for which a row has at most half as many columns more; else the last."""
    return next(
        ((threads, columns) for threads, columns in shapes if row <= OVERFILLED * threads * columns), shapes[-1]
    )


def _tiles(view: View, packed: bool, pixels: int, channels: int) -> Share:
    """A row in tiles of so many pixels and channels."""
    blocks = -(-view.inner.extent // channels)
    tiles = -(-view.axes[-1].extent // pixels) * blocks
    return Share(packed, pixels=pixels, parts=tiles, blocks=blocks, channels=channels)


def _most_layers(threads: int) -> int:
    """Depths that a block of band_walk.cu has side by side, at most."""
    return WALKED_THREADS[2][-1] // threads


def _walked_runs(plan: Plan, across: int, resident: int, alone: float) -> int:
    """In how many runs the rows take least time where a block walks down H, so many across and resident at a time."""
    axis = plan.axes[-2]
    start = -(-_window_rows(plan) * axis.n_out // axis.n_in) + 1
    return best_runs(across, resident, axis.n_out, axis.n_out, start, alone)


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
    return counts(plan.axes[-2])[1] if len(plan.axes) > 1 else 1


@lru_cache(maxsize=AXES)
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
    axis, inner, n_in, strides = view.axes[-1], view.inner, plan.axes[-1].n_in, source_steps(plan, view)
    dense = inner.extent == 1 or inner.source_stride == 1
    if channels == inner.extent and (n_in == 1 or axis.source_stride == channels):  # whole rows are dense
        dense = dense and n_in * channels % elements == 0
        strides = strides[: len(strides) - (n_in > 1)]
    else:
        dense = dense and inner.extent % elements == 0 and channels % elements == 0
    return dense and are_aligned(view.source_alignment, strides, view.itemsize, elements)


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
    vector = VECTOR_BYTES // bytes_of(dtype)
    return min(vector, BAND_COLUMNS) if arithmetic in SEPARABLE else vector


def band_defines(axes: int, dtype: str, arithmetic: str, threads: int, columns: int, packed: bool) -> Defines:
    """The defines of an instance of kernels/band.cu, which serves both, packed and not; or of band_integer.cu."""
    integer = [("CS_ELEMENTS", str(_band_elements(axes, dtype))), ("CS_PACKED", str(int(packed)))]
    return (
        *basic_defines(axes, dtype, arithmetic),
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


def band_walk_defines(axes: int, dtype: str, threads: int, held: int, layers: int) -> Defines:
    """The defines of an instance of kernels/band_walk.cu: threads of a tile, rows whose sums they hold, depths side by side."""
    return (
        *basic_defines(axes, dtype, "float"),
        ("CS_THREADS", str(threads)),
        ("CS_COLUMNS", str(WALKED_COLUMNS)),
        ("CS_VECTOR", str(VECTOR_BYTES // bytes_of(dtype))),
        ("CS_ROWS", str(held)),
        ("CS_PACKED", "1"),
        ("CS_LAYERS", str(layers)),
    )


def instances() -> Iterator[tuple[str, Defines]]:
    """Every instance of these kernels."""
    for axes, (dtype, arithmetic) in itertools.product((1, 2, 3), COMPUTING):
        for threads, columns in band_shapes(dtype, arithmetic):
            for packed in (False,) if arithmetic in SEPARABLE else (False, True):
                yield _band_kernel(arithmetic), band_defines(axes, dtype, arithmetic, threads, columns, packed)
    for threads, columns in band_shapes("uint8", "fixed"):
        for elements in (1, BAND_INTEGERS):
            for order in (0, 1, IN_ORDER):
                yield "band_bytes", band_bytes_defines(threads, columns, elements, order)
    for axes, dtypes in WALKED_ROWS.items():
        for dtype, threads, held in itertools.product(dtypes, WALKED_THREADS[axes], WALKED_HELD[axes]):
            for layers in LAYERS:
                if layers == 1 or (axes > 2 and layers <= _most_layers(threads)):
                    yield "band_walk", band_walk_defines(axes, dtype, threads, held, layers)
