"""Plan: what to compute, independent of where the pixels are.

A plan is one ``Axis`` per spatial dimension and the arithmetic they share. Modes are rows of ``MODES``; dtypes are rows
of ``DTYPES``. Nothing here looks at an array, so plans are cached by numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from cupysample import _coordinates
from cupysample._taps import METHODS, Axis, weight_dtype


class Mode(NamedTuple):
    """A row of the table of modes.

    family:        row of ``_taps.METHODS``, before antialiasing.
    dimensions:    numbers of spatial axes the mode is defined for.
    antialias:     whether the filter can be stretched; ``only`` says that it must be.
    """

    family: str
    dimensions: tuple[int, ...]
    antialias: bool = False
    only_antialias: bool = False

    @property
    def interpolates(self) -> bool:
        """Whether ``align_corners`` has a meaning."""
        return self.family not in ("nearest", "nearest-exact", "area")


MODES: dict[str, Mode] = {
    "nearest": Mode("nearest", (1, 2, 3)),
    "nearest-exact": Mode("nearest-exact", (1, 2, 3)),
    "area": Mode("area", (1, 2, 3)),
    "linear": Mode("linear", (1,), antialias=True),
    "bilinear": Mode("linear", (2,), antialias=True),
    "trilinear": Mode("linear", (3,), antialias=True),
    "cubic": Mode("cubic", (1,), antialias=True),
    "bicubic": Mode("cubic", (2,), antialias=True),
    "tricubic": Mode("cubic", (3,), antialias=True),
    "lanczos": Mode("lanczos", (1, 2, 3), antialias=True, only_antialias=True),
}


class Dtype(NamedTuple):
    """A row of the table of dtypes: how the non-nearest modes accumulate it.

    arithmetic:  "float" (products may be fused), "integer" (every product and sum rounded by itself, the result rounded
                 half to even and saturated), "fixed" (uint8: fixed point, rounded after every axis), "mean" (its area), "copy".
    accumulate:  what ``Axis.dtype`` becomes: the dtype of weights and sums, or "fixed" or "mean", whose sums are integers.
    """

    arithmetic: str
    accumulate: str


DTYPES: dict[str, Dtype] = {
    "float16": Dtype("float", "float32"),
    "bfloat16": Dtype("float", "float32"),
    "float32": Dtype("float", "float32"),
    "float64": Dtype("float", "float64"),
    "complex64": Dtype("float", "float32"),
    "complex128": Dtype("float", "float64"),
    "uint8": Dtype("fixed", "fixed"),
    "int8": Dtype("integer", "float32"),
    "int16": Dtype("integer", "float32"),
    "uint16": Dtype("integer", "float32"),
    "int32": Dtype("integer", "float64"),
    "uint32": Dtype("integer", "float64"),
    "int64": Dtype("integer", "float64"),
    "uint64": Dtype("integer", "float64"),
    "bool": Dtype("copy", "bool"),
}


REALS = {"complex64": "float32", "complex128": "float64"}
"""What the two parts of a complex number are."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One axis per spatial dimension, and the arithmetic: "copy", "float", "integer", "fixed" or "mean".

    "copy": every output is one input, bits and all. "mean": exact integer sums, one rounding half to even.
    """

    axes: tuple[Axis, ...]
    arithmetic: str

    def transposed(self, dtype: str) -> Plan:
        """The plan of the adjoint, for the gradient of an array of ``dtype``: the exact transpose of every axis."""
        if all(axis.identity for axis in self.axes):
            return self
        accumulate = DTYPES[dtype].accumulate  # copies have no arithmetic of their own, their gradients add up
        return Plan(tuple(replace(axis, dtype=accumulate).T for axis in self.axes), "float")

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        return tuple(axis.n_out for axis in self.axes)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Pixels and outputs of each axis."""
        return [(axis.n_in, axis.n_out) for axis in self.axes]


@lru_cache(maxsize=1024, typed=True)
def make(
    mode: str,
    dtype: str,
    size_in: tuple[int, ...],
    size_out: tuple[int, ...],
    scale_factors: tuple[float, ...] | None,
    align_corners: bool,
    antialias: bool,
) -> Plan:
    """Return the plan of a valid call; ``scale_factors`` is None where sizes alone decide the coordinates."""
    method = method_of(mode, antialias)
    arithmetic, accumulate = arithmetic_of(method, dtype)
    same = [n_in == n_out for n_in, n_out in zip(size_in, size_out, strict=True)]
    identity = _identities(method, arithmetic, same)

    def axis(d: int) -> Axis:
        n_in, n_out = size_in[d], size_out[d]
        if identity[d]:
            return Axis("nearest", n_in, n_out, 1.0, False, accumulate)
        dtype = _coordinates.index_dtype(n_in, n_out, weight_dtype(accumulate))
        factor = None if scale_factors is None else scale_factors[d]
        step = _coordinates.scale(n_in, n_out, factor, align_corners, dtype)
        return Axis(method, n_in, n_out, step, align_corners, accumulate)

    axes = tuple(axis(d) for d in range(len(size_in)))
    return Plan(axes, "copy" if all(axis.identity for axis in axes) else arithmetic)


def method_of(mode: str, antialias: bool) -> str:
    """The row of ``_taps.METHODS``."""
    return MODES[mode].family + ("-antialias" if antialias else "")


def arithmetic_of(method: str, dtype: str) -> Dtype:
    """Of a method for arrays of a dtype."""
    row = DTYPES[dtype]
    if METHODS[method].copies:
        return Dtype("copy", "float32")  # torch's index arithmetic, whatever the dtype
    if method == "area" and row.arithmetic == "fixed":
        return Dtype("mean", "mean")
    return row


def _identities(method: str, arithmetic: str, same: list[bool]) -> list[bool]:
    """Which axes of unchanged size are copied even where a user's scale factor would move the coordinates.

    torch disagrees with itself; these are the rules of its CUDA kernels (for lanczos and uint8, which it has on the CPU
    alone, the CPU's). Antialiased linear and cubic filter every axis; area needs no rule.
    """
    if arithmetic == "fixed" or method == "lanczos-antialias" or (METHODS[method].copies and len(same) == 2):
        return same
    if method in ("linear", "cubic") and all(same):
        return same
    return [False] * len(same)
