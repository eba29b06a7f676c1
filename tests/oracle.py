"""The definition of ``interpolate``, written a second time: slow, plain, and independent of everything it is used to test.

Every mode is, along one axis, a banded matrix: output ``d`` is ``Σ_k weight[d, k] · x[left[d] + k]`` for
``k < count[d]``; more axes are its composition, W first, then H, then D.

* Floating results are float64 (complex128): the definition itself, from float64 coordinates and weights. How far a
  float32 computation may be from it is what ``tests/bounds.py`` says.
* Copies (nearest, nearest-exact) have the input's dtype and bits.
* Integers are specified down to each rounding, so they are compared for equality. Coordinates, weights, products and
  sums are numbers of the accumulate type T: float32 for int8, int16 and uint16, float64 for 32 and 64 bits. ``Number``
  says what each operation rounds. uint8 is torch's fixed point instead (``fixed_point``).
* A non-finite pixel makes non-finite (here: NaN) exactly the outputs whose window ``[left, left + count)`` holds it,
  whatever the weight. The window is the one of the accumulate type: float32 for half, single and complex64.

Only valid calls are understood. Imports nothing but NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FAMILY = {
    "nearest": "nearest",
    "nearest-exact": "nearest-exact",
    "area": "area",
    **dict.fromkeys(("linear", "bilinear", "trilinear"), "linear"),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), "cubic"),
    "lanczos": "lanczos",
}
"""What a mode does along one axis."""

COPIES = ("nearest", "nearest-exact")
"""The modes that copy pixels."""

TAPS = {"linear": 2, "cubic": 4, "lanczos": 6}
"""Width of the filter, in pixels of the coarser grid."""

FLOAT32_EXTENT = 2**22
"""Longer axes, in or out, have float64 coordinates whatever the dtype: float32 would lose their pixels."""

SINGLE = ("float16", "bfloat16", "float32", "complex64", "int8", "int16", "uint16")
"""The dtypes whose accumulate type is float32."""


# ---------------------------------------------------------------------------------------------------------------------
# Which number each call puts where


@dataclass(frozen=True)
class Axis:
    """One axis of a call.

    family:         a value of ``FAMILY``.
    n_in, n_out:    its lengths.
    factor:         the user's scale factor where that, and not the lengths, gives the step of the coordinates.
    align_corners:  whether the step is (n_in - 1) / (n_out - 1); never with a factor.
    antialias:      whether the filter widens with the step.
    copied:         whether the rules about unchanged sizes make it the identity.
    """

    family: str
    n_in: int
    n_out: int
    factor: float | None = None
    align_corners: bool = False
    antialias: bool = False
    copied: bool = False


def output_size(spatial: Sequence[int], size: Any = None, scale_factor: Any = None) -> tuple[int, ...]:
    """``size``, or ``trunc(n · s)`` of the float64 product; a scalar stands for every axis."""
    if size is not None:
        sizes = size if isinstance(size, Sequence) else [size] * len(spatial)
        return tuple(int(n) for n in sizes)
    return tuple(int(float(n) * s) for n, s in zip(spatial, _factors(spatial, scale_factor), strict=True))


def _factors(spatial: Sequence[int], scale_factor: Any) -> tuple[float, ...]:
    factors = scale_factor if isinstance(scale_factor, Sequence) else [scale_factor] * len(spatial)
    return tuple(float(s) for s in factors)


def axes(
    spatial: Sequence[int],
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> tuple[Axis, ...]:
    """The axes of a call.

    A user's factor is the step's reciprocal, unless it is recomputed (area: always) or the corners are aligned.
    Unchanged sizes, which matter when a factor is not exactly 1:

    * linear and cubic without antialias copy if *every* axis is unchanged, and filter all of them otherwise;
    * 2-D nearest and nearest-exact, and lanczos, copy each axis that is unchanged;
    * the others (antialiased linear and cubic, area, 1-D and 3-D nearest) have no such rule.
    """
    family = FAMILY[mode]
    sizes = output_size(spatial, size, scale_factor)
    unchanged = [n_in == n_out for n_in, n_out in zip(spatial, sizes, strict=True)]
    factors: Sequence[float | None] = [None] * len(spatial)
    if scale_factor is not None and not recompute_scale_factor and not align_corners and family != "area":
        factors = _factors(spatial, scale_factor)
    if family in ("linear", "cubic") and not antialias:
        copied = [all(unchanged)] * len(spatial)
    elif family == "lanczos" or (family in COPIES and len(spatial) == 2):
        copied = unchanged
    else:
        copied = [False] * len(spatial)
    return tuple(
        Axis(family, int(n_in), n_out, factor, bool(align_corners), bool(antialias), is_copied)
        for n_in, n_out, factor, is_copied in zip(spatial, sizes, factors, copied, strict=True)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic


def fma(a: Any, b: Any, c: Any) -> Array:
    """``a · b + c`` with one rounding, of float32 numbers.

    The product of two float32 numbers is a float64 number. Their sum with ``c`` is rounded to odd in float64 (where
    inexact, to the neighbour whose last bit is 1), which makes the second rounding, to float32, the only one that
    counts (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008).
    """
    product = np.multiply(a, b, dtype=np.float64)
    addend = np.asarray(c, np.float64)
    total = np.asarray(product + addend)
    # TwoSum (Knuth): product + addend = total + error, exactly.
    virtual = total - product
    error = (product - (total - virtual)) + (addend - virtual)
    is_even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.copysign(np.inf, error))
    return np.asarray(np.where((error != 0) & is_even, odd, total).astype(np.float32))


@dataclass(frozen=True)
class Number:
    """The type T in which coordinates and weights are computed: every operation rounds to T, with ties to even.

    ``fma`` rounds once in float32; in float64 it is a product and a sum, each rounded.
    """

    dtype: Any

    def fma(self, a: Any, b: Any, c: Any) -> Array:
        """``a · b + c``."""
        return fma(a, b, c) if self.dtype is np.float32 else np.asarray(a * b + c)


FLOAT32 = Number(np.float32)
FLOAT64 = Number(np.float64)


def accumulate_type(dtype: str) -> Number:
    """T of a dtype."""
    return FLOAT32 if dtype in SINGLE else FLOAT64


def index_type(axis: Axis, number: Number) -> Number:
    """The type of an axis' coordinates: T, or float64 where an extent is above 2²²."""
    return FLOAT64 if max(axis.n_in, axis.n_out) > FLOAT32_EXTENT else number


def step(axis: Axis, number: Number = FLOAT64) -> Any:
    """Source pixels per output pixel, r: T(1/s), T(I)/T(O), or with aligned corners T(I-1)/T(O-1) (0 where O = 1)."""
    T = number.dtype
    if axis.align_corners:
        return T(axis.n_in - 1) / T(axis.n_out - 1) if axis.n_out > 1 else T(0)
    if axis.factor is not None:
        return T(1.0 / axis.factor)
    return T(axis.n_in) / T(axis.n_out)


# ---------------------------------------------------------------------------------------------------------------------
# Filters. T decides the roundings; the comments are the mathematics.


def triangle(x: Array, number: Number) -> Array:
    """1 - |x|, 0 from |x| = 1 on."""
    x = np.abs(x)
    return np.where(x < 1, 1 - x, number.dtype(0))


def cubic_inner(x: Array, a: float, number: Number) -> Array:
    """Keys' cubic for |x| ≤ 1: ((a+2)x - (a+3))x² + 1 = fma(fma(a+2, x, -(a+3))·x, x, 1)."""
    T = number.dtype
    return number.fma(number.fma(T(a + 2), x, T(-(a + 3))) * x, x, T(1))


def cubic_outer(x: Array, a: float, number: Number) -> Array:
    """Keys' cubic for 1 ≤ |x| ≤ 2: ((ax - 5a)x + 8a)x - 4a = fma(fma(fma(a, x, -5a), x, 8a), x, -4a)."""
    T = number.dtype
    return number.fma(number.fma(number.fma(T(a), x, T(-5 * a)), x, T(8 * a)), x, T(-4 * a))


def keys(x: Array, number: Number, a: float = -0.5) -> Array:
    """Keys' cubic convolution kernel; a = -0.5 with antialias, -0.75 without."""
    x = np.abs(x)
    inner, outer = cubic_inner(x, a, number), cubic_outer(x, a, number)
    return np.where(x < 1, inner, np.where(x < 2, outer, number.dtype(0)))


PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459")
TAYLOR = [float((-1) ** k * PI ** (2 * k + 1) / math.factorial(2 * k + 1)) for k in range(11)]
"""The series of sin(πr): what follows is below half an ulp of it for |r| <= 1/2."""


def sine(x: Array) -> Array:
    """sin(πx) in float64, by the series about the nearest integer and Horner's rule: every operation rounded.

    The sines of libraries differ in the last bit, from one to the next and with the vector unit; this one is a definition.
    """
    n = np.rint(x)
    r = x - n
    square = r * r
    total = np.full_like(r, TAYLOR[10])
    for k in range(9, -1, -1):
        total = total * square + TAYLOR[k]
    result: Array = (total * r) * (1 - 2 * (n % 2))
    return result


def lanczos3(x: Array, number: Number) -> Array:
    """sinc(x) · sinc(x/3) with sinc(x) = sin(πx)/(πx), 0 from |x| = 3 on; in float64, then rounded to T.

    Precisely: (sine(x)/(π·x)) · (sine(x/3)/(π·(x/3))).
    """
    exact = x.astype(np.float64)
    near = np.where(exact == 0, 1.0, exact)
    far = near / 3
    value = np.where(exact == 0, 1.0, (sine(near) / (math.pi * near)) * (sine(far) / (math.pi * far)))
    return np.where(np.abs(exact) < 3, value, 0.0).astype(number.dtype)


FILTERS: dict[str, Callable[[Array, Number], Array]] = {"linear": triangle, "cubic": keys, "lanczos": lanczos3}
"""The filters of antialias."""


# ---------------------------------------------------------------------------------------------------------------------
# Bands


@dataclass(frozen=True)
class Band:
    """Row d reads pixels ``left[d]`` to ``left[d] + count[d] - 1`` with the first ``count[d]`` of ``weight[d]``.

    What is beyond ``count`` in ``weight`` is 0.
    """

    left: NDArray[np.int64]
    count: NDArray[np.int64]
    weight: Array

    @property
    def window(self) -> NDArray[np.bool_]:
        """Which entries of ``weight`` are taps."""
        return np.asarray(np.arange(self.weight.shape[1]) < self.count[:, None])


@lru_cache(maxsize=32)
def band(axis: Axis, number: Number = FLOAT64) -> Band:
    """The band of an axis, in T; on an axis above 2²² in float64, its weights rounded to T at the end."""
    if axis.copied:
        return _single_taps(np.arange(axis.n_out), number)
    if axis.family in COPIES:
        return _single_taps(nearest(axis), number)
    if axis.family == "area":
        return area_band(axis, number)
    build = antialias_band if axis.antialias else linear_band if axis.family == "linear" else cubic_band
    rows = build(axis, index_type(axis, number))
    return replace(rows, weight=rows.weight.astype(number.dtype))


def _single_taps(index: NDArray[np.int64], number: Number) -> Band:
    return Band(index, np.ones_like(index), np.ones((len(index), 1), number.dtype))


def nearest(axis: Axis) -> NDArray[np.int64]:
    """The pixel of each output: floor(d·r), or floor((d + 0.5)·r) for nearest-exact, at most the last one.

    The product is rounded to float32 for every dtype (above 2²² to float64); no fma and no other rounding.
    """
    number = index_type(axis, FLOAT32)
    d = np.arange(axis.n_out).astype(number.dtype)
    if axis.family == "nearest-exact":
        d = d + number.dtype(0.5)
    return np.asarray(np.minimum(np.floor(d * step(axis, number)).astype(np.int64), axis.n_in - 1))


def area_band(axis: Axis, number: Number) -> Band:
    """Equal weights T(1)/T(count) over pixels floor(d·I/O) to ceil((d+1)·I/O) - 1, in integers."""
    left, count = area_window(axis)
    weight = number.dtype(1) / np.maximum(count, 1).astype(number.dtype)
    taps = np.arange(count.max(initial=0))
    return Band(left, count, np.where(taps < count[:, None], weight[:, None], number.dtype(0)))


def area_window(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel and number of pixels of each output."""
    d = np.arange(axis.n_out)
    left = d * axis.n_in // max(axis.n_out, 1)
    end = -(-(d + 1) * axis.n_in // max(axis.n_out, 1))
    return left, end - left


def coordinates(axis: Axis, number: Number = FLOAT64) -> Array:
    """Position of each output among the source pixels: fma(r, d + 0.5, -0.5), or r·d with aligned corners."""
    T = number.dtype
    d = np.arange(axis.n_out).astype(T)
    r = step(axis, number)
    return r * d if axis.align_corners else number.fma(r, d + T(0.5), T(-0.5))


def linear_band(axis: Axis, number: Number) -> Band:
    """With x = max(coordinate, 0), i = min(trunc(x), I-1), l = x - i: pixels i, i+1 with weights 1-l, l.

    Where i is the last pixel, the window is that pixel, and its weight 1.
    """
    T = number.dtype
    x = np.maximum(coordinates(axis, number), T(0))
    left = np.minimum(x.astype(np.int64), axis.n_in - 1)
    l1 = x - left.astype(T)
    weight = np.stack([1 - l1, l1], axis=1)
    is_last = left == axis.n_in - 1
    weight[is_last] = (1, 0)
    return Band(left, np.where(is_last, 1, 2), weight)


def cubic_band(axis: Axis, number: Number) -> Band:
    """With i = floor(x), t = x - i, a = -0.75: pixels i-1 … i+2, weights c₂(t+1), c₁(t), c₁(1-t), c₂((1-t)+1).

    The window is cut to the array; a tap outside is added to the edge's weight, in ascending order of the taps.
    """
    T = number.dtype
    x = coordinates(axis, number)
    i = np.floor(x)
    t = x - i
    u = 1 - t
    inner = cubic_inner(np.stack([t, u]), -0.75, number)
    outer = cubic_outer(np.stack([t + T(1), u + T(1)]), -0.75, number)
    return fold(i.astype(np.int64) - 1, np.stack([outer[0], inner[0], inner[1], outer[1]], axis=1), axis.n_in)


def fold(first: NDArray[np.int64], weight: Array, n_in: int) -> Band:
    """The band of taps ``first[d] + k``, those outside of the array added to the edge in ascending order."""
    n_taps = weight.shape[1]
    left = first.clip(0, n_in - 1)
    count = (first + n_taps - 1).clip(0, n_in - 1) - left + 1
    rows = np.arange(len(first))
    folded = np.zeros_like(weight)
    for k in range(n_taps):
        folded[rows, (first + k).clip(0, n_in - 1) - left] += weight[:, k]
    return Band(left, count, folded)


def antialias_band(axis: Axis, number: Number) -> Band:
    """The filter stretched by max(r, 1), at most as wide as the array, normalised to sum 1.

    In T, every operation rounded, with n the filter's width:
    support = (n/2)·r, inv = 1/r where r ≥ 1; else support = n/2, inv = 1;  center = r·(d + 0.5);
    left = max(trunc(center - support + 0.5), 0);  count = min(trunc(center + support + 0.5), I) - left;
    weight of pixel j: filter(((j - center) + 0.5)·inv), divided by the sum over ascending j unless that is 0.
    Aligned corners change r and nothing else.
    """
    T = number.dtype
    r = step(axis, number)
    half = T(TAPS[axis.family] / 2)
    support, inv = (half * r, T(1) / r) if r >= 1 else (half, T(1))
    center = r * (np.arange(axis.n_out).astype(T) + T(0.5))
    left = np.maximum(((center - support) + T(0.5)).astype(np.int64), 0)
    count = np.minimum(((center + support) + T(0.5)).astype(np.int64), axis.n_in) - left
    k = np.arange(count.max(initial=0))
    pixel = (left[:, None] + k).astype(T)
    weight = FILTERS[axis.family](((pixel - center[:, None]) + T(0.5)) * inv, number)
    weight[k >= count[:, None]] = 0
    total = np.add.accumulate(weight, axis=1)[:, -1:]  # one addition after the other, unlike np.sum
    return Band(left, count, weight / np.where(total == 0, T(1), total))


def apply(rows: Band, x: Array, axis: int) -> Array:
    """Taps ascending; product and sum are each rounded to the type of x and the weights. x is finite."""
    x = np.moveaxis(x, axis, -1)
    n_in = x.shape[-1]
    out = np.zeros((*x.shape[:-1], len(rows.left)), x.dtype)
    for k in range(rows.weight.shape[1]):
        pixel = np.minimum(rows.left + k, n_in - 1)  # rows with fewer taps read some pixel, with weight 0
        out += rows.weight[:, k] * x[..., pixel]
    return np.moveaxis(out, -1, axis)


def dense(rows: Band, n_in: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The matrix of a band, and the matrix of its windows."""
    pixel = np.arange(n_in)
    window = (pixel >= rows.left[:, None]) & (pixel < (rows.left + rows.count)[:, None])
    weights = np.zeros(window.shape)
    weights[window] = rows.weight[rows.window]
    return weights, window


def matrix(
    n_in: int,
    n_out: int,
    mode: str,
    *,
    scale_factor: float | None = None,
    align_corners: bool = False,
    antialias: bool = False,
    dtype: str = "float64",
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The (n_out, n_in) weights of one axis, and which of them are in the window, weights of 0 included.

    The filter itself: no rule about unchanged sizes (``matrices`` has them). ``dtype`` is the array's, whose accumulate
    type the weights are computed in; float64 is the definition. ``scale_factor`` is ignored with aligned corners.
    """
    factor = None if align_corners or FAMILY[mode] == "area" else scale_factor
    axis = Axis(FAMILY[mode], n_in, n_out, factor, align_corners, antialias)
    return dense(band(axis, accumulate_type(dtype)), n_in)


def matrices(
    spatial: Sequence[int], *, dtype: str = "float64", **arguments: Any
) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """``matrix`` of every axis of a call with the arguments of ``interpolate``."""
    return [dense(band(axis, accumulate_type(dtype)), axis.n_in) for axis in axes(spatial, **arguments)]


def reached(is_special: NDArray[np.bool_], *, dtype: str, **arguments: Any) -> NDArray[np.bool_]:
    """Which outputs have a marked pixel in their window; ``dtype`` and ``arguments`` are those of the call."""
    found = is_special.astype(np.float64)
    for axis, position in _passes(axes(is_special.shape[2:], **arguments)):
        rows = band(axis, accumulate_type(dtype))
        found = apply(replace(rows, weight=rows.window.astype(np.float64)), found, position)
    return np.asarray(found > 0)


def read(shape: tuple[int, ...], *, dtype: str, **arguments: Any) -> NDArray[np.bool_]:
    """Which pixels of an array of this shape some output has in its window."""
    found = np.ones(shape[2:], bool)
    for axis, position in _passes(axes(shape[2:], **arguments)):
        _, windows = dense(band(axis, accumulate_type(dtype)), axis.n_in)
        found &= np.expand_dims(windows.any(axis=0), [d for d in range(len(shape) - 2) if d != position - 2])
    return np.broadcast_to(found, shape)


# ---------------------------------------------------------------------------------------------------------------------
# uint8


def fixed_point(x: NDArray[np.uint8], axis: Axis, position: int) -> NDArray[np.uint8]:
    """One pass of torch's CPU arithmetic: weights of 16 bits, a sum of 32 bits, rounded and saturated to 8 bits.

    Weights are q = trunc(w·2^p ± 0.5), half away from 0, with the largest p ≤ 22 that keeps the largest below 2¹⁵. The
    result is (Σ q·x + 2^(p-1)) >> p, within 0 … 255.
    """
    rows, p = quantised(axis)
    return narrow(apply(rows, x.astype(np.int64), position), p)


@lru_cache(maxsize=32)
def quantised(axis: Axis) -> tuple[Band, int]:
    """The band of q, and p."""
    rows = antialias_band(axis, FLOAT64) if axis.antialias else fixed_point_band(axis)
    p = 0
    while p < 22 and int(0.5 + float(rows.weight.max(initial=0)) * 2 ** (p + 1)) < 2**15:
        p += 1
    q = np.trunc(rows.weight * 2**p + np.copysign(0.5, rows.weight)).astype(np.int64)
    return replace(rows, weight=q), p


def narrow(total: NDArray[np.int64], p: int) -> NDArray[np.uint8]:
    """The sum of a pass, rounded and saturated."""
    return np.asarray((total + 2**p // 2 >> p).clip(0, 255).astype(np.uint8))


def fixed_point_band(axis: Axis) -> Band:
    """Float64 weights of linear and cubic without antialias, as torch's CPU code makes them for uint8.

    i = floor(float32(x)), floor(x) on an axis above 2²²; l = x - i within 0 … 1; pixels i+1-n/2 … i+n/2 with weights filter(k + 1 - n/2 - l), those
    outside added to the edge.
    """
    n = TAPS[axis.family]
    x = coordinates(axis)
    if axis.family == "linear":
        x = np.maximum(x, 0)
    i = np.floor(x.astype(index_type(axis, FLOAT32).dtype)).astype(np.int64)
    position = np.arange(n) + 1 - n // 2 - (x - i).clip(0, 1)[:, None]
    weight = triangle(position, FLOAT64) if axis.family == "linear" else keys(position, FLOAT64, -0.75)
    return fold(i + 1 - n // 2, weight, axis.n_in)


def integer_area(x: NDArray[np.uint8], call: Sequence[Axis]) -> NDArray[np.uint8]:
    """The exact sum over the window of all axes, divided by its number of pixels, rounded once with ties to even."""
    total = x.astype(np.int64)
    pixels = np.ones([1] * x.ndim, np.int64)
    for axis, position in _passes(call):
        left, count = area_window(axis)
        ones = (np.arange(count.max(initial=0)) < count[:, None]).astype(np.int64)
        total = apply(Band(left, count, ones), total, position)
        pixels = pixels * count.reshape([-1 if i == position else 1 for i in range(x.ndim)])
    return mean(total, pixels)


def mean(total: NDArray[np.int64], pixels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Their quotient, rounded with ties to even."""
    quotient, remainder = np.divmod(total, pixels)
    round_up = (2 * remainder > pixels) | ((2 * remainder == pixels) & (quotient % 2 == 1))
    return np.asarray((quotient + round_up).astype(np.uint8))


# ---------------------------------------------------------------------------------------------------------------------
# Whole calls


def _passes(call: Sequence[Axis]) -> list[tuple[Axis, int]]:
    """Each axis with its position in the array, W first, then H, then D."""
    return [(axis, 2 + i) for i, axis in reversed(list(enumerate(call)))]


def to_integer(value: Array, dtype: np.dtype[Any]) -> Array:
    """Round with ties to even, once, and saturate."""
    limits = np.iinfo(dtype)
    value = np.rint(value).astype(np.float64)
    low, high = value <= float(limits.min), value >= float(limits.max)
    inside = np.where(low | high, 0, value).astype(dtype)
    return np.where(low, dtype.type(limits.min), np.where(high, dtype.type(limits.max), inside))


def interpolate(
    x: Array,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Array:
    """The definition of ``cupysample.interpolate`` for an array (N, C, *spatial) and valid arguments.

    Floating input gives float64 or complex128, but nearest and nearest-exact the input's dtype and bits; integers and
    bool give their own dtype. NaN stands for any non-finite value, but where the call copies.
    """
    call = axes(x.shape[2:], size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    x = x.astype(x.dtype.newbyteorder("="))
    if FAMILY[mode] in COPIES:
        for axis, position in _passes(call):
            x = np.take(x, band(axis).left, axis=position)
        return x
    if x.dtype == np.uint8:
        if FAMILY[mode] == "area":
            return integer_area(x, call)
        for axis, position in _passes(call):
            if axis.n_in != axis.n_out:
                x = fixed_point(x, axis, position)
        return x
    if x.dtype.kind in "iu":
        if all(axis.copied for axis in call):
            return x
        number = accumulate_type(x.dtype.name)
        value: Array = x.astype(number.dtype)
        for axis, position in _passes(call):
            value = apply(band(axis, number), value, position)
        return to_integer(value, x.dtype)
    result: Array = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
    if all(axis.copied for axis in call):
        return result
    is_finite = np.isfinite(result)
    if not is_finite.all():
        result = np.where(is_finite, result, 0)
    for axis, position in _passes(call):
        result = apply(band(axis), result, position)
    if not is_finite.all():
        arguments = {
            "size": size,
            "scale_factor": scale_factor,
            "mode": mode,
            "align_corners": align_corners,
            "recompute_scale_factor": recompute_scale_factor,
            "antialias": antialias,
        }
        result[reached(~is_finite, dtype=x.dtype.name, **arguments)] = np.nan
    return result


def backward(grad: Array, spatial: Sequence[int], **arguments: Any) -> Array:
    """The adjoint of ``interpolate`` for an input of that spatial size: the transposed dense matrix of every axis."""
    call = axes(spatial, **arguments)
    result: Array = grad.astype(np.complex128 if grad.dtype.kind == "c" else np.float64)
    for axis, position in _passes(call):
        weights, _ = dense(band(axis), axis.n_in)
        result = np.moveaxis(np.tensordot(weights.T, result, (1, position)), 0, position)
    return result
