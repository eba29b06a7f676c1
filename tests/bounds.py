"""How far a floating result may be from the definition: the only place where the tests' float tolerance is made.

An output is ``Σ w·x`` over its window. With T the accumulate type and eps its machine epsilon, ``bound`` adds up

* ``eps · (8 + total taps) · Σ|w||x|``: the roundings of weights, products and sums, which are relative to each term; the
  total is the sum of the taps along each axis;
* ``Σ|Δw||x|``: what rounded coordinates and filters do to the weights (``weight_errors``);
* the underflow of the products and sums, half the smallest number of T for each;
* half an ulp of the output's dtype at the result.

It is first-order in eps, which the factor ``8 + taps`` (a rounding is half an eps) has room for. Copies are exact: 0.
Sums that overflow T on the way to a result that does not are outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import oracle
from tests.oracle import Array, Axis, Band

Tolerance = NDArray[np.float64]


# ---------------------------------------------------------------------------------------------------------------------
# Floating dtypes


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: bits of the significand with the leading one, exponents of normal numbers."""

    precision: int
    smallest_exponent: int
    largest_exponent: int

    @property
    def eps(self) -> float:
        """Distance from 1 to the next number."""
        return float(2.0 ** (1 - self.precision))

    @property
    def smallest(self) -> float:
        """The smallest positive number, a subnormal."""
        return float(2.0 ** (self.smallest_exponent - self.precision + 1))

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float((2 - self.eps) * 2.0**self.largest_exponent)

    def half_ulp(self, value: Array | float) -> Tolerance:
        """Half the distance between neighbours at a value, which is the most that rounding moves it.

        That of float64 subnormals is no float64 number; it is rounded up.
        """
        exponent = np.where(value == 0, self.smallest_exponent, np.frexp(np.abs(value))[1] - 1)
        exponent = np.clip(exponent, self.smallest_exponent, self.largest_exponent)
        return np.maximum(np.ldexp(0.5 * self.eps, exponent), FLOAT64_SMALLEST)


FLOAT64_SMALLEST = 5e-324

FORMATS = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}
FORMATS |= {"complex64": FORMATS["float32"], "complex128": FORMATS["float64"]}


def accumulate_format(dtype: str) -> Format:
    """The format of the accumulate type of a floating dtype."""
    return FORMATS["float32" if oracle.accumulate_type(dtype) == oracle.FLOAT32 else "float64"]


def overflow(dtype: str) -> float:
    """The smallest number that rounds to infinity."""
    kind = FORMATS[dtype]
    return kind.largest + float(kind.half_ulp(kind.largest))


# ---------------------------------------------------------------------------------------------------------------------
# Errors of the weights


def keys(a: float) -> Callable[[Array], Array]:
    """Keys' cubic convolution kernel ("Cubic convolution interpolation", 1981, equation 15 for any a)."""

    def kernel(s: Array) -> Array:
        s = np.abs(s)
        near = (a + 2) * s**3 - (a + 3) * s**2 + 1
        far = a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a
        return np.asarray(np.where(s < 1, near, np.where(s < 2, far, 0)))

    return kernel


def triangle(s: Array) -> Array:
    """Linear interpolation."""
    return np.asarray(np.maximum(0, 1 - np.abs(s)))


def lanczos3(s: Array) -> Array:
    """The sinc, windowed by the central lobe of one three times as wide."""
    return np.asarray(np.where(np.abs(s) < 3, np.sinc(s) * np.sinc(s / 3), 0))


@dataclass(frozen=True)
class Filter:
    """A continuous kernel of ``taps`` pixels, and the absolute error of its evaluation in T, in units of eps.

    ``roundings`` follows each rounding of Horner's rule through the operations after it, at the worst argument: near 2,
    where the cubic is 0 but its parts are not. The triangle is one exact subtraction; the lanczos is rounded to float32
    once, and in float64 πx has an error.
    """

    kernel: Callable[[Array], Array]
    taps: int
    roundings: int


FILTERS = {
    ("linear", False): Filter(triangle, 2, 0),
    ("linear", True): Filter(triangle, 2, 0),
    ("cubic", False): Filter(keys(-0.75), 4, 6),
    ("cubic", True): Filter(keys(-0.5), 4, 3),
    ("lanczos", True): Filter(lanczos3, 6, 2),
}
"""By family and antialias."""

SECANT = 2.0**-13
"""Where a coordinate's error is smaller than this (in arguments of the kernel), its effect is the slope of a secant of
this length, as a float64 difference of kernels cannot resolve the error itself."""


def weight_errors(axis: Axis, dtype: str) -> Band:
    """A bound of the errors of an axis' weights, in windows one pixel wider at each end, as windows may move by one.

    A weight is kernel((j - c) / stretch), with c the coordinate and stretch = max(r, 1) with antialias, else 1. In a type
    with unit roundoff u = eps/2, and p = r·(d + ½):

    * r has one rounding, its product one, its sum with -½ one: c is off by at most 2u·p + u·|c| ≤ 1.5 eps·max(p, ½);
    * with antialias, j - c and its sum with ½ have one each (numbers up to support + 1), and 1/r and the product with it
      three: at most eps·(2.5·support + 1) more.

    The kernel changes by the larger of its changes to either side: it is monotonic on at least one of them up to the
    error, or smooth. Taps outside of the array are added to the edge before that, or cut with antialias, where
    w = k/Σk changes by (Δk + w·ΣΔk) / Σk. float64 results are compared with a definition that has the same
    errors in it: twice the bound.
    """
    one = replace(oracle.band(axis), weight=np.zeros((axis.n_out, 1)))
    if axis.copied or axis.family not in oracle.TAPS or axis.n_out == 0:
        return one
    filter = FILTERS[axis.family, axis.antialias]
    accumulate = accumulate_format(dtype)
    indices = accumulate if max(axis.n_in, axis.n_out) <= oracle.FLOAT32_EXTENT else FORMATS["float64"]
    r = float(oracle.step(axis))
    d = np.arange(axis.n_out)
    stretch = max(r, 1.0) if axis.antialias else 1.0
    support = filter.taps / 2 * stretch
    position = r * (d + 0.5)
    if axis.antialias:
        coordinate = position - 0.5
        uncertainty = indices.eps * (position + 2.5 * support + 1)
    else:
        coordinate = oracle.coordinates(axis)
        uncertainty = 1.5 * indices.eps * np.maximum(position, 0.5)

    first = np.floor(coordinate - support).astype(np.int64)
    if axis.antialias:
        first = np.maximum(first, 0)
    n_taps = int(2 * np.ceil(support)) + 2
    pixel = first[:, None] + np.arange(n_taps)
    argument = (pixel - coordinate[:, None]) / stretch
    uncertainty = (uncertainty / stretch)[:, None]
    shift = np.maximum(uncertainty, SECANT)
    here = filter.kernel(argument)
    below, above = ((filter.kernel(argument + s) - here) * (uncertainty / shift) for s in (-shift, shift))
    evaluation = np.where(np.abs(argument) < filter.taps / 2 + shift, filter.roundings * indices.eps, 0)
    if axis.antialias:
        inside = pixel < axis.n_in
        change = np.where(inside, np.maximum(np.abs(below), np.abs(above)) + evaluation, 0)
        weight = np.where(inside, here, 0)
        total = weight.sum(1, keepdims=True)
        change = (change + np.abs(weight / total) * change.sum(1, keepdims=True)) / total
        errors = Band(first, np.minimum(n_taps, axis.n_in - first), change)
    else:
        errors, below_edge, above_edge = (oracle.fold(first, part, axis.n_in) for part in (evaluation, below, above))
        change = np.maximum(np.abs(below_edge.weight), np.abs(above_edge.weight))
        errors = replace(errors, weight=errors.weight + change)
    return replace(errors, weight=errors.weight * (2 if accumulate == FORMATS["float64"] else 1))


# ---------------------------------------------------------------------------------------------------------------------
# The bound


def bound(
    x: Array,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    dtype: str | None = None,
) -> Tolerance:
    """The tolerance of each output of ``oracle.interpolate`` with the same arguments, for a result of ``dtype`` (x's).

    Integers and copies: 0. Complex: of the modulus of the difference. Non-finite pixels count as 0; their outputs are
    not compared by distance.
    """
    dtype = x.dtype.name if dtype is None else dtype
    call = oracle.axes(x.shape[2:], size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    if dtype not in FORMATS or oracle.FAMILY[mode] in oracle.COPIES or all(axis.copied for axis in call):
        return np.zeros((*x.shape[:2], *(axis.n_out for axis in call)))
    finite = np.asarray(x.astype(np.complex128 if "complex" in dtype else np.float64))
    finite = np.where(np.isfinite(finite), finite, 0)
    accumulate = accumulate_format(dtype)

    # value = Π A |x|;  error = Π (A + E) |x| - value, without the cancellation.
    value: Array = np.abs(finite)
    error = np.zeros_like(value)
    taps = np.full([1] * x.ndim, 8.0)
    for i, axis in reversed(list(enumerate(call))):
        weights = oracle.band(axis)
        weights = replace(weights, weight=np.abs(weights.weight))
        errors = weight_errors(axis, dtype)
        error = (
            oracle.apply(weights, error, 2 + i)
            + oracle.apply(errors, error, 2 + i)
            + oracle.apply(errors, value, 2 + i)
        )
        value = oracle.apply(weights, value, 2 + i)
        taps = taps + weights.count.reshape([-1 if k == 2 + i else 1 for k in range(x.ndim)])
    computed = accumulate.eps * taps * value + error + accumulate.smallest * taps
    largest = float(np.abs(finite).max(initial=0.0))
    extent = max((axis.n_in for axis in call), default=1)
    limit = (2.0**-10 + 16 * len(call) * accumulate.eps * extent) * largest
    limit += (1024 + len(call) * extent) * accumulate.smallest
    assert (computed <= limit).all(), f"a tolerance of {computed.max()} for data up to {largest}"

    exact = oracle.interpolate(
        finite,
        size=size,
        scale_factor=scale_factor,
        mode=mode,
        align_corners=align_corners,
        recompute_scale_factor=recompute_scale_factor,
        antialias=antialias,
    )
    parts = (exact.real, exact.imag) if exact.dtype.kind == "c" else (exact,)
    half_ulps = [FORMATS[dtype].half_ulp(np.abs(part) + computed) for part in parts]
    return np.asarray(computed + np.linalg.norm(half_ulps, axis=0))


def backward_bound(grad: Array, spatial: Sequence[int], *, dtype: str, **arguments: Any) -> Tolerance:
    """The tolerance of ``oracle.backward``: that of ``bound``, with the transposed matrices and errors.

    Antialiased weights are divided by the sum of their row of the forward matrix, whose taps, each with half an eps, are
    not those of a row of the transpose.
    """
    call = oracle.axes(spatial, **arguments)
    accumulate = accumulate_format(dtype)
    value: Array = np.abs(grad.astype(np.complex128 if "complex" in dtype else np.float64))
    error = np.zeros_like(value)
    taps = np.full([1] * grad.ndim, 8.0)
    for i, axis in reversed(list(enumerate(call))):
        weights, window = oracle.dense(oracle.band(axis), axis.n_in)
        band = weight_errors(axis, dtype)
        errors = oracle.dense(band, axis.n_in)[0] if band.weight.any() else np.zeros_like(weights)
        weights = np.abs(weights)
        if axis.antialias and not axis.copied:
            errors = errors + weights * (accumulate.eps / 2 * window.sum(1, keepdims=True))

        def transposed(matrix: Array, x: Array, position: int = 2 + i) -> Array:
            return np.asarray(np.moveaxis(np.tensordot(matrix.T, x, (1, position)), 0, position))

        error = transposed(weights + errors, error) + transposed(errors, value)
        value = transposed(weights, value)
        taps = taps + window.sum(0).reshape([-1 if k == 2 + i else 1 for k in range(grad.ndim)])
    computed = accumulate.eps * taps * value + error + accumulate.smallest * taps
    exact = oracle.backward(grad, spatial, **arguments)
    parts = (exact.real, exact.imag) if exact.dtype.kind == "c" else (exact,)
    half_ulps = [FORMATS[dtype].half_ulp(np.abs(part) + computed) for part in parts]
    return np.asarray(computed + np.linalg.norm(half_ulps, axis=0))


def _is_wrong(
    actual: Array, expected: Array, tolerance: Tolerance, nonfinite: NDArray[np.bool_], overflows_at: float
) -> NDArray[np.bool_]:
    """Which outputs break the rule; the arguments are float64 or complex128."""
    finite = np.isfinite(actual)
    both = finite & ~nonfinite
    distance = np.abs(np.where(both, actual, 0) - np.where(both, expected, 0))
    overflowed = _has_overflowed(actual, expected, tolerance, overflows_at)
    return np.asarray(np.where(nonfinite, finite, np.where(finite, ~(distance <= tolerance), ~overflowed)))


def _has_overflowed(actual: Array, expected: Array, tolerance: Tolerance, overflows_at: float) -> NDArray[np.bool_]:
    """Which outputs are an infinity of the right sign, with an expected value that may round to one."""
    if actual.dtype.kind == "c":
        sides = [
            _has_overflowed(a, e, tolerance, overflows_at)
            for a, e in zip(_parts(actual), _parts(expected), strict=True)
        ]
        finite = [np.isfinite(part) for part in _parts(actual)]
        return (sides[0] | finite[0]) & (sides[1] | finite[1])
    return np.asarray(np.isinf(actual) & (np.copysign(1, actual) * expected + tolerance >= overflows_at))


def _parts(x: Array) -> tuple[Array, Array]:
    return x.real, x.imag


def assert_within(
    actual: Array,
    expected: Array,
    tolerance: Tolerance | float,
    *,
    nonfinite: NDArray[np.bool_] | None = None,
    case: object = "",
    sane: float = 0.125,
) -> None:
    """Every |actual - expected| is at most the tolerance; and an error of four tolerances would have been noticed.

    nonfinite:  which outputs must not be finite; the others must be. Default: where ``expected`` is not. They may be NaN
                or any infinity. A finite expectation beyond the largest number of ``actual.dtype`` may be an infinity.
    case:       is printed on failure.
    sane:       a larger share of the largest of many results in float32 or float64 is refused as a tolerance. Noise on an
                axis of 100 000 pixels in float32 has more.

    A tolerance that is not finite is refused too.
    """
    dtype = actual.dtype.name
    wide = np.complex128 if "c" in (actual.dtype.kind, expected.dtype.kind) else np.float64
    actual, expected = np.asarray(actual.astype(wide)), np.asarray(expected.astype(wide))
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}: {case}"
    tolerance = np.broadcast_to(np.asarray(tolerance, np.float64), expected.shape)
    assert np.isfinite(tolerance).all(), f"the tolerance is not finite: {case}"
    assert (tolerance >= 0).all(), f"the tolerance is negative: {case}"
    nonfinite = ~np.isfinite(expected) if nonfinite is None else np.broadcast_to(nonfinite, expected.shape)
    assert np.isfinite(expected[~nonfinite]).all(), f"expected values of finite outputs are not finite: {case}"
    overflows_at = overflow(dtype) if dtype in FORMATS else np.inf

    wrong = _is_wrong(actual, expected, tolerance, nonfinite, overflows_at)
    if wrong.any():
        raise AssertionError(_report(actual, expected, tolerance, nonfinite, wrong, case))

    compared = ~nonfinite & np.isfinite(actual)
    if not compared.any():
        return
    if compared.sum() >= 64 and dtype not in ("float16", "bfloat16"):
        magnitude = np.abs(expected[compared]).max()
        largest = tolerance[compared].max()
        assert largest <= max(sane * magnitude, 2.0**-126), (
            f"a tolerance of {largest} for results up to {magnitude}: {case}"
        )
    # The worst place is where the tolerance hides most. An error of 0 is the next float64.
    worst = np.unravel_index(np.argmax(np.where(compared, tolerance, -1)), expected.shape)
    spoilt = actual.copy()
    spoilt[worst] = expected[worst] + 4 * tolerance[worst]
    if tolerance[worst] == 0:
        spoilt[worst] = np.nextafter(expected[worst].real, np.inf)
    assert _is_wrong(spoilt, expected, tolerance, nonfinite, overflows_at)[worst], (
        f"an error of four tolerances at {worst}, {4 * tolerance[worst]} of {expected[worst]}, is not noticed: {case}"
    )


def _report(
    actual: Array,
    expected: Array,
    tolerance: Tolerance,
    nonfinite: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    case: object,
) -> str:
    """The worst output in words."""
    comparable = wrong & ~nonfinite & np.isfinite(actual)
    distance = np.abs(np.where(comparable, actual, 0) - np.where(comparable, expected, 0))
    excess = np.where(comparable, distance / np.maximum(tolerance, np.finfo(np.float64).tiny), np.inf)
    excess = np.where(wrong, excess, -1)
    worst = np.unravel_index(np.argmax(excess), expected.shape)
    place = tuple(map(int, worst))
    wanted = "a non-finite value" if nonfinite[worst] else f"{expected[worst]} ± {tolerance[worst]}"
    return (
        f"{int(wrong.sum())} of {wrong.size} outputs are wrong. The worst, at {place}: {actual[worst]}, expected "
        f"{wanted} ({excess[worst]:.3g} tolerances). {case}"
    )
