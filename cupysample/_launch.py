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

from cupysample import _bands, _few_taps
from cupysample._arrays import Layout
from cupysample._bands import band
from cupysample._few_taps import few_taps
from cupysample._kernels import Defines
from cupysample._made import COMPUTING, Made, Share, basic_defines, bytes_of
from cupysample._plan import REALS, Plan, arithmetic_of
from cupysample._tables import PLAIN, Kind, has_table
from cupysample._taps import METHODS, Axis, fixed_point_bits
from cupysample._tuning import BAND_FILLED, BAND_TAPS, BLOCK, MAX_BLOCKS
from cupysample._view import Dim, View, view_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORWARD, TRANSPOSED = 1, 2
"""Rows computed by the threads, of a matrix or of its transpose; see kernels/computed_taps.cuh."""
METHOD_NUMBERS = {method: number for number, method in enumerate(METHODS)}
MEAN_PIXELS = 1 << 24
"""Pixels of a mean whose sum fits 32 bits."""

_DIVISOR = np.dtype([("value", "i8"), ("multiplier", "u4"), ("shift", "u4")])
_BATCH = np.dtype([("extent", _DIVISOR), ("source_stride", "i8"), ("out_stride", "i8")])
_AXIS = np.dtype(
    [
        ("left", "u8"),
        ("count", "u8"),
        ("weight", "u8"),
        ("n_in", "i8"),
        ("n_out", _DIVISOR),
        ("source_stride", "i8"),
        ("out_stride", "i8"),
        ("step", "f8"),
        ("method", "i4"),
        ("align_corners", "i4"),
        ("in_double", "i4"),
        ("bits", "i4"),
    ]
)
_NUMBERS = ("packed", "streamed", "phase", "pixels")
"""Of ``Share``, by which nothing is divided."""
_SHARE = np.dtype([(name, "i8" if name in _NUMBERS else _DIVISOR) for name in Share._fields])


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
    geometry: NDArray[Any]


class Table(NamedTuple):
    """Addresses of the arrays of ``table_arrays``; 0 for what a kernel does not read."""

    lefts: int
    counts: int = 0
    weights: int = 0


_NO_TABLE = Table(0)


Tables = Callable[[list[tuple[Axis, Kind]]], list[Table]]
"""Gives the addresses of what ``table_arrays`` returns of each."""


def launch(plan: Plan, source: Layout, out: Layout, tables: Tables) -> Launch:
    """Return the launch that applies ``plan``; it has the ``tables`` of the axes, all at once, if it reads any.

    It is the same for all layouts whose ``canonical`` ones are.
    """
    view = view_of(plan, source, out)
    made = _made(plan, view)
    fixed = plan.arithmetic == "fixed"
    of_axes = tables(list(zip(plan.axes, made.tables, strict=True))) if made.tables else [_NO_TABLE] * len(plan.axes)
    axes = [(*table, *_axis(axis, dim, fixed)) for table, axis, dim in zip(of_axes, plan.axes, view.axes, strict=True)]
    share = tuple(
        number if name in _NUMBERS else _divisor(number) for name, number in zip(Share._fields, made.share, strict=True)
    )
    geometry = [_batch(dim) for dim in view.outer], _batch(view.inner), axes, share
    block = made.threads // made.layers, 1, made.layers
    return Launch(made.kernel, made.defines, made.grid, block, np.array([geometry], geometry_dtype(len(plan.axes))))


def _made(plan: Plan, view: View) -> Made:
    """The launch by the fastest kernel that takes it."""
    if plan.arithmetic == "copy":
        return few_taps(plan, view) or nearest(plan, view)
    mean = plan.arithmetic == "mean"
    if not all(has_table(axis) for axis in plan.axes) or (
        mean and math.prod(axis.width for axis in plan.axes) >= MEAN_PIXELS
    ):
        return resample(plan, view, tabulated=False)
    return _summed_separably(plan, view, few_taps(plan, view)) or resample(plan, view, tabulated=not mean)


def _axis(axis: Axis, dim: Dim, fixed: bool) -> tuple[Any, ...]:
    """``struct Axis`` but for its table."""
    bits = fixed_point_bits(axis) if fixed else 0
    in_double = axis.index_dtype == np.float64
    numbers = axis.n_in, _divisor(axis.n_out), dim.source_stride, dim.out_stride, axis.step
    return *numbers, METHOD_NUMBERS[axis.method], axis.align_corners, in_double, bits


def _batch(dim: Dim) -> tuple[tuple[int, int, int], int, int]:
    return _divisor(dim.extent), dim.source_stride, dim.out_stride


def _divisor(n: int) -> tuple[int, int, int]:
    """``struct Divisor``; one beyond 2^31, which divides no number of 32 bits, has no multiplier."""
    shift = (n - 1).bit_length()
    return n, (1 << 31 + shift) // n + 1 if n <= 1 << 31 else 0, shift


def _summed_separably(plan: Plan, view: View, made: Made | None) -> Made | None:
    """The launch of band.cu or its kin, where it takes fewer instructions than few_taps.cu (``BAND_FILLED``); else ``made``."""
    if made is None:
        return band(plan, view)
    gathers = {("CS_WIDE", "0"), ("CS_SLOT", "0")} <= set(made.defines) and len(plan.axes) > 1
    if not gathers or made.tables[0].places < BAND_TAPS.get(view.dtype, _few_taps.TAPS[-1] + 1):
        return made
    if any(axis.n_in <= axis.n_out for axis in plan.axes[-2:]) or (separate := band(plan, view)) is None:
        return made
    columns = separate.threads // separate.layers // separate.share.splits * int(dict(separate.defines)["CS_COLUMNS"])
    return separate if plan.axes[-1].n_in * view.inner.extent >= BAND_FILLED * separate.share.parts * columns else made


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
    antialias = computed > 0 and any(METHODS[axis.method].normalised for axis in plan.axes)
    defines = resample_defines(len(plan.axes), view.dtype, plan.arithmetic, small, computed, antialias)
    return Made(
        "resample", defines, _one_output_a_thread(view), BLOCK, tables=(PLAIN,) * len(plan.axes) if tabulated else ()
    )


def _one_output_a_thread(view: View) -> tuple[int, int, int]:
    return min(-(-view.outputs // BLOCK), MAX_BLOCKS), 1, 1


def nearest_defines(axes: int, dtype: str, small: bool) -> Defines:
    """The defines of an instance of kernels/nearest.cu."""
    return basic_defines(axes, dtype, "copy", _index(small))


def resample_defines(axes: int, dtype: str, arithmetic: str, small: bool, computed: int, antialias: bool) -> Defines:
    """The defines of an instance of kernels/resample.cu."""
    return *basic_defines(axes, dtype, arithmetic, _index(small), computed), ("CS_ANTIALIAS", str(int(antialias)))


def _index(small: bool) -> str:
    return "int" if small else "long long"


# ---------------------------------------------------------------------------------------------------------------------
# What there is


def instances() -> list[tuple[str, Defines]]:
    """Every instance that ``launch`` can ask for."""
    return [*_general_instances(), *_few_taps.instances(), *_bands.instances()]


MOST_TAPS = {"linear": 2, "cubic": 4}
"""Of the rows of methods that have no more, whatever the factor."""


def instances_of(axes: int, dtype: str, method: str, transposed: bool) -> list[tuple[str, Defines]]:
    """Every instance that ``launch`` can ask for where so many axes of arrays of a dtype are resampled by a method.

    That is whatever their sizes and strides, but for ``out`` of a linear method with gaps between pixels of several channels,
    which needs band.cu; as complex numbers do wherever their channels have gaps.
    """
    arithmetic = "float" if transposed else arithmetic_of(method, dtype).arithmetic
    most = _few_taps.TAPS[-1] if transposed else MOST_TAPS.get(method, _few_taps.TAPS[-1])
    computed = str(TRANSPOSED if transposed else FORWARD), str(int(METHODS[method].normalised))
    copied = basic_defines(axes, f"bits{8 * bytes_of(dtype)}", "copy")[:3]  # also what keeps its size
    summed = basic_defines(axes, REALS.get(dtype, dtype), arithmetic)[:3]

    def is_asked_for(kernel: str, defines: Defines) -> bool:
        of = dict(defines)
        if defines[:3] != summed:
            return defines[:3] == copied
        if kernel == "few_taps":
            return int(of["CS_TAPS"]) <= most
        if kernel == "resample":
            return of["CS_COMPUTED"] == "0" or (of["CS_COMPUTED"], of["CS_ANTIALIAS"]) == computed
        return most > 2 or (kernel == "band" and dtype in REALS)

    return [instance for instance in instances() if is_asked_for(*instance)]


def _general_instances() -> Iterator[tuple[str, Defines]]:
    for axes in (1, 2, 3):
        for bits, small in itertools.product((8, 16, 32, 64, 128), (True, False)):
            yield "nearest", nearest_defines(axes, f"bits{bits}", small)
        for dtype, arithmetic in COMPUTING:
            for small in (True, False) if arithmetic != "mean" else ():
                yield "resample", resample_defines(axes, dtype, arithmetic, small, 0, False)
            for computed, antialias in itertools.product((FORWARD, TRANSPOSED), (False, True)):
                if (computed == FORWARD or arithmetic == "float") and not (antialias and arithmetic == "mean"):
                    yield "resample", resample_defines(axes, dtype, arithmetic, False, computed, antialias)
