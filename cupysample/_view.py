"""What a plan is applied to: a view of two arrays, ``[outer, outer, axes, inner]``, as numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

from cupysample._arrays import ALIGNMENT, Layout
from cupysample._plan import REALS, Plan
from cupysample._tuning import BLOCK, MAX_BLOCKS

VECTOR_BYTES = ALIGNMENT
"""The widest load or store of a thread: a launch knows no more of an address than how it lies among so many bytes."""


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

    @property
    def planes(self) -> tuple[int, int, int]:
        """Planes, the rows of one, and depths; a row is the last axis with ``inner``."""
        first, second = (dim.extent for dim in self.outer)
        if len(self.axes) == 1:
            return first, second, 1
        return first * second, self.axes[-2].extent, self.axes[0].extent if len(self.axes) > 2 else 1


def view_of(plan: Plan, source: Layout, out: Layout) -> View:
    """The view of a plan's two arrays, in their canonical layouts; ValueError where strides are no whole elements."""
    dtype, itemsize, parts = source.dtype, source.itemsize, 1
    if plan.arithmetic == "copy":
        dtype = f"bits{8 * itemsize}"
    elif dtype in REALS:  # a complex number is two reals
        dtype, itemsize, parts = REALS[dtype], itemsize // 2, 2
    source_strides = _in_elements(source, itemsize, "input")
    out_strides = _in_elements(out, itemsize, "out")
    dims = [Dim(*each) for each in zip(out.shape, source_strides, out_strides, strict=True)]
    steps = [abs(dim.out_stride) for dim in dims[2:] if dim.extent > 1]
    outer, inner = _fold([*dims[:2], Dim(parts, 1, 1)], min(steps, default=2**63))
    small = _fits_int32(source.shape, source_strides, parts) and _fits_int32(out.shape, out_strides, parts)
    return View(dtype, itemsize, outer, tuple(dims[2:]), inner, small, _alignment(source), _alignment(out))


def source_steps(plan: Plan, view: View) -> list[int]:
    """Strides, in elements, of the source's axes of more than one pixel, the last axis last; `inner` apart."""
    extents = [*(dim.extent for dim in view.outer), *(axis.n_in for axis in plan.axes)]
    return [dim.source_stride for dim, n in zip((*view.outer, *view.axes), extents, strict=True) if n > 1]


def _in_elements(layout: Layout, itemsize: int, name: str) -> tuple[int, ...]:
    strides = layout.canonical().strides
    if any(stride % itemsize for stride in strides):
        raise ValueError(f"{name}: strides must be multiples of the element's {itemsize} bytes, got {layout.strides}")
    return tuple(stride // itemsize for stride in strides)


def _alignment(layout: Layout) -> int:
    return math.gcd(layout.misalignment, VECTOR_BYTES)


def _fits_int32(shape: tuple[int, ...], strides: tuple[int, ...], parts: int) -> bool:
    """Whether every offset and index fits an int."""
    reach = sum(abs(stride) * (extent - 1) for extent, stride in zip(shape, strides, strict=True))
    return math.prod(shape) * parts < indices() and reach + parts < indices()


def indices() -> int:
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
        if merged and merged[-1][1:] == (n * dim.source_stride, n * dim.out_stride):
            merged[-1] = Dim(merged[-1].extent * n, dim.source_stride, dim.out_stride)
        else:
            merged.append(dim)
    inner = merged.pop() if merged and abs(merged[-1].out_stride) < dense else _ONE
    first, second = [_ONE] * (2 - len(merged)) + merged
    return (first, second), inner


_ONE = Dim(1, 0, 0)


def offsets_fit(plan: Plan, view: View) -> bool:
    """Whether offsets inside a row and from row to row, in bytes, the number of a row's elements and pixels of any axis fit an int."""
    axis, inner, n_in = view.axes[-1], view.inner, plan.axes[-1].n_in
    source = (n_in - 1) * abs(axis.source_stride) + (inner.extent - 1) * abs(inner.source_stride)
    out = (axis.extent - 1) * abs(axis.out_stride) + (inner.extent - 1) * abs(inner.out_stride)
    row = abs((*view.outer, *view.axes)[-2].source_stride)
    elements, pixels = max(n_in, axis.extent) * inner.extent, max(each.n_in for each in plan.axes)
    return max(max(source, row, out) * view.itemsize, elements, pixels) < indices()


def are_aligned(alignment: int, strides: list[int], itemsize: int, elements: int) -> bool:
    """Whether vectors of ``elements``, or the largest of which these are made, stay aligned wherever ``strides`` lead."""
    elements &= -elements
    return elements * itemsize <= alignment and all(stride % elements == 0 for stride in strides)
