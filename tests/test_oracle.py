"""The oracle and the bound themselves: against torch, Pillow, exact rational arithmetic, and numbers worked out by hand."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from tests import bounds, cases, oracle
from tests.cases import Case
from tests.oracle import FLOAT32, FLOAT64, Axis, Number

Array = NDArray[Any]

SIZES = [1, 2, 3, 4, 5, 7, 8, 16, 31, 100]
FILTERED = [("linear", False), ("linear", True), ("cubic", False), ("cubic", True), ("lanczos", True)]
FACTORS = [None, 0.3, 0.77, 1.0, 1.05, 2.0, 2.5]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads cost more than they save on small arrays."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def by_torch(x: Array, **arguments: Any) -> Array:
    """What torch returns."""
    return np.asarray(F.interpolate(torch.from_numpy(np.ascontiguousarray(x)), **arguments).numpy())


def random_cases(seed: int, count: int, dtype: str, modes: tuple[str, ...], dimensions: tuple[int, ...]) -> list[Case]:
    """Random calls with the given modes and numbers of axes."""
    rng = np.random.default_rng(seed)
    found: list[Case] = []
    while len(found) < count:
        mode, n = str(rng.choice(modes)), int(rng.choice(dimensions))
        if n in cases.MODES[mode]:
            variants = cases.variants(mode)
            variant = variants[int(rng.integers(len(variants)))]
            rule = str(rng.choice(cases.SIZE_RULES))
            found.append(cases.random_case(rng, mode, n, dtype, "contiguous", rule, variant))
    return found


def call(case: Case) -> tuple[Axis, ...]:
    """The axes of a case."""
    return oracle.axes(case.spatial, **case.arguments)


def torch_agrees(case: Case) -> bool:
    """Whether torch on a CPU has the call, without its known faults and without its own rules for unchanged sizes."""
    if case.antialias and len(case.spatial) != 2:
        return False
    width = call(case)[-1]
    if (case.antialias or case.dtype == "uint8") and 1 in (width.n_in, width.n_out):
        return False
    return case.dtype == "uint8" or all(axis.factor is None or axis.n_in != axis.n_out for axis in call(case))


# ---------------------------------------------------------------------------------------------------------------------
# Exact arithmetic


def rounded(value: Fraction, number: Number) -> Fraction:
    """The nearest number of the type, ties to even; normal numbers only."""
    if value == 0:
        return value
    precision = 24 if number == FLOAT32 else 53
    exponent = math.floor(math.log2(abs(value)))
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    ulp = Fraction(2) ** (exponent - precision + 1)
    return round(value / ulp) * ulp


class Exact:
    """The rules of the weights once more, one number at a time, each rounding written out."""

    def __init__(self, axis: Axis, number: Number) -> None:
        self.axis, self.number = axis, number

    def round(self, value: Fraction | float) -> Fraction:
        """Round to T."""
        return rounded(Fraction(value), self.number)

    def fma(self, a: Fraction, b: Fraction, c: Fraction | float) -> Fraction:
        """One rounding in float32, two in float64."""
        return self.round((a * b if self.number == FLOAT32 else self.round(a * b)) + Fraction(c))

    def step(self) -> Fraction:
        """Source pixels per output pixel."""
        axis = self.axis
        if axis.align_corners:
            return self.round(Fraction(axis.n_in - 1, axis.n_out - 1)) if axis.n_out > 1 else Fraction(0)
        return self.round(1.0 / axis.factor) if axis.factor else self.round(Fraction(axis.n_in, axis.n_out))

    def horner(self, x: Fraction, a: Fraction) -> Fraction:
        """Keys' cubic of 0 <= x <= 2."""
        if x < 1:
            return self.fma(self.round(self.fma(a + 2, x, -(a + 3)) * x), x, 1)
        return self.fma(self.fma(self.fma(a, x, -5 * a), x, 8 * a), x, -4 * a) if x < 2 else Fraction(0)

    def filter(self, x: Fraction) -> Fraction:
        """The antialias filters."""
        if self.axis.family == "linear":
            return self.round(1 - abs(x)) if abs(x) < 1 else Fraction(0)
        if self.axis.family == "cubic":
            return self.horner(abs(x), Fraction(-1, 2))
        if x == 0 or abs(x) >= 3:
            return Fraction(int(x == 0))
        p, q = math.pi * float(x), math.pi * (float(x) / 3)
        return self.round((math.sin(p) / p) * (math.sin(q) / q))

    def row(self, d: int) -> dict[int, Fraction]:
        """The weight of each pixel in the window of output d."""
        axis = self.axis
        if axis.family == "area":
            start, end = d * axis.n_in // axis.n_out, -((-(d + 1) * axis.n_in) // axis.n_out)
            return dict.fromkeys(range(start, end), self.round(Fraction(1, end - start)))
        if axis.antialias:
            return self.antialias(d)
        r, last = self.step(), axis.n_in - 1
        x = self.round(r * d) if axis.align_corners else self.fma(r, Fraction(2 * d + 1, 2), Fraction(-1, 2))
        if axis.family == "linear":
            x = max(x, Fraction(0))
            i = min(int(x), last)
            if i == last:
                return {i: Fraction(1)}
            return {i: self.round(1 - self.round(x - i)), i + 1: self.round(x - i)}
        a, i = Fraction(-3, 4), math.floor(x)
        t = self.round(x - i)
        u = self.round(1 - t)
        weights = {
            i - 1: self.horner_outer(self.round(t + 1), a),
            i: self.horner_inner(t, a),
            i + 1: self.horner_inner(u, a),
            i + 2: self.horner_outer(self.round(u + 1), a),
        }
        folded: dict[int, Fraction] = {}
        for pixel, weight in weights.items():
            inside = min(max(pixel, 0), last)
            folded[inside] = self.round(folded.get(inside, Fraction(0)) + weight)
        return folded

    def horner_inner(self, x: Fraction, a: Fraction) -> Fraction:
        """((a+2)x - (a+3))x² + 1."""
        return self.fma(self.round(self.fma(a + 2, x, -(a + 3)) * x), x, 1)

    def horner_outer(self, x: Fraction, a: Fraction) -> Fraction:
        """((ax - 5a)x + 8a)x - 4a."""
        return self.fma(self.fma(self.fma(a, x, -5 * a), x, 8 * a), x, -4 * a)

    def antialias(self, d: int) -> dict[int, Fraction]:
        """The normalised filter."""
        r, half, n_in = self.step(), Fraction(oracle.TAPS[self.axis.family], 2), self.axis.n_in
        support, inv = (self.round(half * r), self.round(1 / r)) if r >= 1 else (half, Fraction(1))
        center = self.round(r * Fraction(2 * d + 1, 2))
        start = max(int(self.round(self.round(center - support) + Fraction(1, 2))), 0)
        end = min(int(self.round(self.round(center + support) + Fraction(1, 2))), n_in)
        weights, total = {}, Fraction(0)
        for j in range(start, end):
            argument = self.round(self.round(self.round(j - center) + Fraction(1, 2)) * inv)
            weights[j] = self.filter(argument)
            total = self.round(total + weights[j])
        return {j: self.round(w / total) if total else w for j, w in weights.items()}

    def apply(self, x: Array) -> list[Fraction]:
        """A line of pixels, taps ascending, product and sum rounded."""
        result = []
        for d in range(self.axis.n_out):
            total = Fraction(0)
            for pixel, weight in sorted(self.row(d).items()):
                total = self.round(total + self.round(weight * self.round(Fraction(int(x[pixel])))))
            result.append(total)
        return result


def test_fma_rounds_once() -> None:
    rng = np.random.default_rng(0)
    a, b, c = ((rng.standard_normal(3000) * 2.0 ** rng.integers(-20, 20, 3000)).astype(np.float32) for _ in range(3))
    # Sums next to the middle of two float32 numbers, which a second rounding gets wrong.
    tie = np.float32(1) + np.float32(2**-12)
    a = np.concatenate([a, [tie, tie, tie, -tie]]).astype(np.float32)
    b = np.concatenate([b, [tie, tie, tie, tie]]).astype(np.float32)
    c = np.concatenate([c, [2.0**-60, -(2.0**-60), 0, 2.0**-60]]).astype(np.float32)
    twice = (a.astype(np.float64) * b + c).astype(np.float32)
    once = oracle.fma(a, b, c)
    assert (once != twice).any()
    for i in range(len(a)):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        assert Fraction(float(once[i])) == rounded(exact, FLOAT32), i


@pytest.mark.parametrize("number", [FLOAT32, FLOAT64], ids=["float32", "float64"])
@pytest.mark.parametrize(("family", "antialias"), [*FILTERED, ("area", False)])
def test_each_rounding_of_the_weights(family: str, antialias: bool, number: Number) -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        n_in, n_out = (int(n) for n in rng.integers(1, 24, 2))
        align_corners = family not in ("lanczos", "area") and bool(rng.integers(2))
        factor = None
        if family != "area" and not align_corners and rng.integers(2):
            factor = float((n_out + rng.random()) / n_in)
        axis = Axis(family, n_in, n_out, factor, align_corners, antialias)
        exact, rows = Exact(axis, number), oracle.band(axis, number)
        for d in range(n_out):
            expected = exact.row(d)
            assert list(expected) == list(range(rows.left[d], rows.left[d] + rows.count[d])), (axis, d)
            actual = rows.weight[d, : rows.count[d]].tolist()
            if family == "lanczos":  # another sine: it may differ in the last bits
                np.testing.assert_allclose(actual, [float(w) for w in expected.values()], rtol=0, atol=1e-15)
            else:
                assert actual == [float(w) for w in expected.values()], (axis, d)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_each_rounding_of_integers(dtype: str) -> None:
    """Two axes: W, then H, each sum rounded after each tap, to the integer only at the end."""
    limits = np.iinfo(dtype)
    number = oracle.accumulate_type(dtype)
    modes = ("area", "bilinear", "bicubic")
    for case in random_cases(2, 25, dtype, modes, (2,)):
        x = case.values()[:1, :1, :6, :6]
        arguments = case.arguments | {"size": tuple(1 + n % 7 for n in case.spatial), "scale_factor": None}
        arguments |= {"recompute_scale_factor": None}
        height, width = oracle.axes(x.shape[2:], **arguments)
        if height.copied:
            continue
        intermediate = [Exact(width, number).apply(row) for row in x[0, 0]]
        columns = np.array(intermediate, object).T
        expected = np.array([_column(Exact(height, number), column) for column in columns], object).T
        clipped = [[min(max(round(v), limits.min), limits.max) for v in row] for row in expected]
        assert oracle.interpolate(x, **arguments)[0, 0].tolist() == clipped, (case, arguments)


def _column(exact: Exact, column: Array) -> list[Fraction]:
    result = []
    for d in range(exact.axis.n_out):
        total = Fraction(0)
        for pixel, weight in sorted(exact.row(d).items()):
            total = exact.round(total + exact.round(weight * column[pixel]))
        result.append(total)
    return result


@pytest.mark.parametrize("family", ["nearest", "nearest-exact"])
def test_nearest_is_floor_of_the_rounded_product(family: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(120):
        n_in, n_out = (int(n) for n in rng.integers(1, 130, 2))
        factor = float((n_out + rng.random()) / n_in) if rng.integers(2) else None
        r = rounded(Fraction(1.0 / factor) if factor else Fraction(n_in, n_out), FLOAT32)
        half = Fraction(family == "nearest-exact") / 2
        expected = [min(math.floor(rounded((d + half) * r, FLOAT32)), n_in - 1) for d in range(n_out)]
        assert oracle.nearest(Axis(family, n_in, n_out, factor)).tolist() == expected


# ---------------------------------------------------------------------------------------------------------------------
# By hand


def test_imports_only_numpy() -> None:
    tree = ast.parse(Path(oracle.__file__).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= {
        "__future__", "collections", "dataclasses", "fractions", "functools", "math", "numpy", "typing",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pixels", "arguments", "expected"),
    [
        # d·r and (d + ½)·r with r = 2/3
        ([5, 6], {"size": 3, "mode": "nearest"}, [5, 5, 6]),
        ([5, 6, 7, 8, 9], {"size": 3, "mode": "nearest"}, [5, 6, 8]),
        ([5, 6, 7, 8, 9], {"size": 3, "mode": "nearest-exact"}, [5, 7, 9]),
        # float32(41 · float32(2/82)) is below 1, where 41 · 2/82 = 1
        ([0, 1], {"size": 82, "mode": "nearest"}, [0] * 42 + [1] * 40),
        # r = 1/1.05, one axis: no identity
        (range(10), {"scale_factor": 1.05, "mode": "nearest"}, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        # coordinates -¼ (clamped to 0), ¼, ¾, 1¼ (clamped to the last pixel)
        ([0, 4], {"size": 4, "mode": "linear"}, [0, 1, 3, 4]),
        ([0, 4], {"size": 3, "mode": "linear", "align_corners": True}, [0, 2, 4]),
        ([1, 2, 3, 4, 5], {"size": 1, "mode": "linear"}, [3]),
        ([1, 2, 3, 4, 5], {"size": 1, "mode": "linear", "align_corners": True}, [1]),
        # the coordinate of output d is (d + ½)/1.3 - ½, or (d + ½)·6/7 - ½
        (range(6), {"scale_factor": 1.3, "mode": "linear"}, [max((d + 0.5) / 1.3 - 0.5, 0) for d in range(7)]),
        (
            range(6),
            {"scale_factor": 1.3, "mode": "linear", "recompute_scale_factor": True},
            [0, *((d + 0.5) * 6 / 7 - 0.5 for d in range(1, 6)), 5],
        ),
        # t = ½ with a = -0.75: (-3, 19, 19, -3)/32
        ([0, 0, 32, 0, 0, 0], {"size": 3, "mode": "cubic"}, [-3, 19, 0]),
        # … and the two taps on the left folded into the edge: (-3 + 19)/32
        ([32, 0, 0, 0, 0, 0], {"size": 3, "mode": "cubic"}, [16, 0, 0]),
        # r = 2: triangle over 4 pixels, (1, 3, 3, 1)/8, cut and renormalised to (3, 3, 1)/7 at the ends
        (range(8), {"size": 4, "mode": "linear", "antialias": True}, [5 / 7, 2.5, 4.5, 7 - 5 / 7]),
        # r = 1/2: the filter is as wide as without antialias; Keys with a = -0.5 at ¼, ¾, 1¼, 1¾, normalised
        (
            [0, 0, 0, 1, 0, 0, 0],
            {"size": 14, "mode": "cubic", "antialias": True},
            np.array([0, 0, 0, -3, -9, 29, 111, 111, 29, -9, -3, 0, 0, 0]) / 128,
        ),
        # windows [0, 2), [1, 4), [3, 5)
        ([0, 2, 4, 6, 8], {"size": 3, "mode": "area"}, [1, 4, 7]),
        ([0, 2], {"size": 3, "mode": "area"}, [0, 1, 2]),
        # 100 · 0.29 is less than 29
        (range(100), {"scale_factor": 0.29, "mode": "nearest", "recompute_scale_factor": True}, [d * 100 // 28 for d in range(28)]),
    ],
)  # fmt: skip
def test_by_hand(pixels: Any, arguments: dict[str, Any], expected: Any) -> None:
    x = np.array(pixels, float)[None, None]
    np.testing.assert_allclose(oracle.interpolate(x, **arguments)[0, 0], expected, atol=1e-14)


def test_sine_is_the_sine() -> None:
    """Within 2 ulp of the C library's, at an argument that is exact: the sine of πr, |r| <= 1/2, and its sign."""
    x = np.random.default_rng(3).uniform(-3, 3, 5000)
    for value, result in zip(x.tolist(), oracle.sine(x).tolist(), strict=True):
        r = value - round(value)
        assert abs(result - (-1) ** round(value) * math.sin(math.pi * r)) <= 6e-16 * abs(result)
    assert not oracle.sine(np.arange(-3.0, 4.0)).any()


def test_lanczos_by_hand() -> None:
    """A step of 2: arguments ±¼, ±¾ … ±2¾."""

    def sinc(v: float) -> float:
        return math.sin(math.pi * v) / (math.pi * v)

    weights = np.array([sinc(v) * sinc(v / 3) for v in np.arange(-11, 12, 2) / 4])
    actual, window = oracle.matrix(40, 20, "lanczos", antialias=True)
    np.testing.assert_allclose(actual[10, 15:27], weights / weights.sum(), atol=1e-15)
    assert window[10].nonzero()[0].tolist() == list(range(15, 27))


@pytest.mark.parametrize(
    ("pixels", "dtype", "size", "mode", "expected"),
    [
        ([0, 1], "int16", 1, "area", [0]),  # ½ to even
        ([1, 2], "int16", 1, "area", [2]),
        ([-1, 0], "int64", 1, "area", [0]),
        ([0, 1], "uint8", 1, "area", [0]),
        ([1, 2, 2, 1], "uint8", 1, "area", [2]),
        ([0, 0, 32767, 32767], "int16", 8, "cubic", [0, -1152, -3456, 7424, 25343, *[32767] * 3]),
        ([0, 255], "uint8", 4, "linear", [0, 64, 191, 255]),
        ([0, 0, 255, 255], "uint8", 8, "cubic", [0, 0, 0, 58, 197, 255, 255, 255]),
        ([2**63 - 1, 2**63 - 1], "int64", 3, "linear", [2**63 - 1] * 3),  # 2⁶³ in float64
        ([2**64 - 1, 2**64 - 1], "uint64", 3, "linear", [2**64 - 1] * 3),
    ],
)
def test_integers_by_hand(pixels: list[int], dtype: str, size: int, mode: str, expected: list[int]) -> None:
    x = np.array(pixels, dtype)[None, None]
    actual = oracle.interpolate(x, size=size, mode=mode)
    assert actual.dtype == dtype
    assert actual[0, 0].tolist() == expected


def test_sizes() -> None:
    assert oracle.output_size((49, 100, 88), None, (1 / 49, 0.29, 120 / 88)) == (0, 28, 119)
    assert oracle.output_size((5, 6), 7) == (7, 7)
    assert oracle.output_size((5, 6), None, np.float32(1.3)) == (6, 7)


def test_which_axes_are_copied() -> None:
    """With a factor of 1.05, sizes of 10 are unchanged, of 20 are not."""

    def copied(mode: str, spatial: tuple[int, ...], **arguments: Any) -> list[bool]:
        return [axis.copied for axis in oracle.axes(spatial, scale_factor=1.05, mode=mode, **arguments)]

    for mode in ("nearest", "nearest-exact"):
        assert copied(mode, (10,)) == [False]
        assert copied(mode, (10, 20)) == [True, False]
        assert copied(mode, (10, 10, 10)) == [False, False, False]
    for mode in ("bilinear", "bicubic"):
        assert copied(mode, (10, 20)) == [False, False]
        assert copied(mode, (10, 10)) == [True, True]
        assert copied(mode, (10, 10), antialias=True) == [False, False]
    assert copied("lanczos", (10, 20), antialias=True) == [True, False]
    assert copied("area", (10, 10)) == [False, False]
    x = np.random.default_rng(0).integers(-(2**62), 2**62, (1, 1, 10, 10))
    assert np.array_equal(oracle.interpolate(x, scale_factor=1.05, mode="bicubic"), x)
    assert not np.array_equal(oracle.interpolate(x / 1.0, scale_factor=1.05, mode="bicubic", antialias=True), x)


def test_nearest_keeps_bits() -> None:
    payload = np.array([[[0x7FC12345, 0x80000000, 0x7F800000]]], np.uint32).view(np.float32)
    y = oracle.interpolate(payload.astype(">f4").view(">f4"), size=6)
    assert y.dtype == np.float32
    assert y.view(np.uint32)[0, 0, ::2].tolist() == [0x7FC12345, 0x80000000, 0x7F800000]
    for dtype in cases.DTYPES:
        x = cases.values(np.random.default_rng(0), (2, 1, 5, 3), dtype)
        y = oracle.interpolate(x, size=(10, 3))
        assert y.dtype == x.dtype
        assert y.tobytes() == np.repeat(x, 2, axis=2).tobytes()


def test_long_axes_have_float64_coordinates() -> None:
    n = 2**23 + 64
    axis = Axis("nearest-exact", n, n)
    assert np.array_equal(oracle.nearest(axis), np.arange(n))
    axis = Axis("linear", n, 4)
    assert oracle.band(axis, FLOAT32).left.tolist() == [n * (2 * d + 1) // 8 - 1 for d in range(4)]
    assert oracle.band(axis, FLOAT32).weight.tolist() == [[0.5, 0.5]] * 4
    short = Axis("linear", 2**22, 3)
    assert oracle.band(short, FLOAT32).left.tolist() != oracle.band(short).left.tolist() or not np.array_equal(
        oracle.band(short, FLOAT32).weight, oracle.band(short).weight.astype(np.float32)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Matrices


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("mode", "antialias"), [*FILTERED, ("area", False), ("nearest", False), ("nearest-exact", False)]
)
def test_rows(mode: str, antialias: bool, dtype: str) -> None:
    """They sum to 1, both ends of the window never decrease, and nothing outside of it has a weight."""
    tolerance = float(np.finfo(dtype).eps) * 8
    for n_in, n_out in itertools.product(SIZES, SIZES):
        for align_corners in (False, True) if mode in ("linear", "cubic") else (False,):
            weights, window = oracle.matrix(
                n_in, n_out, mode, align_corners=align_corners, antialias=antialias, dtype=dtype
            )
            assert weights.shape == window.shape == (n_out, n_in)
            np.testing.assert_allclose(weights.sum(1), 1, rtol=0, atol=tolerance * (1 + n_in))
            assert (weights[~window] == 0).all()
            first = window.argmax(1)
            end = n_in - window[:, ::-1].argmax(1)
            assert (end - first == window.sum(1)).all()  # without gaps, and not empty
            assert (np.diff(first) >= 0).all()
            assert (np.diff(end) >= 0).all()


@pytest.mark.parametrize(("mode", "antialias"), FILTERED)
def test_weights_are_the_kernel(mode: str, antialias: bool) -> None:
    """The textbook: kernel((j - c) / stretch); outside taps go to the edge, or normalised with antialias."""
    kernel = bounds.FILTERS[mode, antialias].kernel
    for n_in, n_out in itertools.product(SIZES, SIZES):
        align_corners = mode != "lanczos" and (n_in + n_out) % 2 == 1
        r = (n_in - 1) / max(n_out - 1, 1) * (n_out > 1) if align_corners else n_in / n_out
        c = np.arange(n_out) * r if align_corners and not antialias else (np.arange(n_out) + 0.5) * r - 0.5
        reach = 4 * n_in + 8
        j = np.arange(-reach, n_in + reach)
        all_weights = kernel((j - c[:, None]) / (max(r, 1) if antialias else 1))
        expected = all_weights[:, reach:-reach].copy()
        if antialias:
            expected /= expected.sum(1, keepdims=True)
        else:
            expected[:, 0] += all_weights[:, :reach].sum(1)
            expected[:, -1] += all_weights[:, -reach:].sum(1)
        actual, _ = oracle.matrix(n_in, n_out, mode, align_corners=align_corners, antialias=antialias)
        np.testing.assert_allclose(actual, expected, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_matrices_are_the_call(dtype: str) -> None:
    """The result is the product of the axes' matrices, and what a non-finite pixel reaches that of the windows."""
    for case in random_cases(4, 60, dtype, tuple(cases.MODES), (1, 2, 3)):
        x = case.values()
        middle: tuple[Any, ...] = (..., *(n // 2 for n in case.spatial))
        x[middle] = np.inf if case.seed % 2 else np.nan
        with np.errstate(invalid="ignore"):
            finite = np.where(np.isfinite(x), x, 0).astype(np.complex128 if x.dtype.kind == "c" else np.float64)
        expected, marks = finite, ~np.isfinite(x)
        for axis, (weights, window) in enumerate(oracle.matrices(case.spatial, dtype=dtype, **case.arguments), 2):
            expected = np.moveaxis(np.moveaxis(expected, axis, -1) @ weights.T, -1, axis)
            marks = np.moveaxis(np.moveaxis(marks, axis, -1) @ window.T, -1, axis)
        actual = oracle.interpolate(x, **case.arguments)
        assert np.array_equal(~np.isfinite(actual), marks), case
        assert np.array_equal(oracle.reached(~np.isfinite(x), dtype=dtype, **case.arguments), marks), case
        if dtype == "float64" or case.mode in cases.POINT:
            np.testing.assert_allclose(np.where(marks, 0, actual), np.where(marks, 0, expected), atol=1e-12)


def test_windows_hold_zero_weights() -> None:
    for n_in in (2, 3, 9):
        weights, window = oracle.matrix(n_in, n_in, "linear")
        assert np.array_equal(weights, np.eye(n_in))
        assert window.sum(1).tolist() == [2] * (n_in - 1) + [1]
        weights, window = oracle.matrix(n_in, n_in, "cubic")
        assert np.array_equal(weights, np.eye(n_in))
        assert window.sum(1).tolist() == [min(i + 2, n_in - 1) - max(i - 1, 0) + 1 for i in range(n_in)]


# ---------------------------------------------------------------------------------------------------------------------
# torch and Pillow


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mode", ["linear", "bilinear", "trilinear", "bicubic", "lanczos", "area"])
def test_torch(mode: str, dtype: str) -> None:
    """Also float32, which torch's CPU code rounds elsewhere than its CUDA code: the bound has room for both."""
    compared = 0
    for case in random_cases(5, 300, dtype, (mode,), (1, 2, 3)):
        if torch_agrees(case):
            x = case.values()
            tolerance = bounds.bound(x, dtype=dtype, **case.arguments)
            expected = oracle.interpolate(x, **case.arguments)
            bounds.assert_within(by_torch(x, **case.arguments), expected, tolerance, case=case)
            compared += 1
    assert compared >= 40


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("dimensions", [1, 3])
def test_nearest_torch(mode: str, dimensions: int) -> None:
    """The CPU code of torch has an fma in nearest-exact; it and one rounding differ in few places, and then by one pixel."""
    differ = compared = 0
    for case in random_cases(6, 200, "float32", (mode,), (dimensions,)):
        x = np.arange(math.prod(case.spatial), dtype=np.float32).reshape(1, 1, *case.spatial)
        unequal = by_torch(x, **case.arguments) != oracle.interpolate(x, **case.arguments)
        differ += int(unequal.sum())
        compared += unequal.size
    assert differ <= (0 if mode == "nearest" else compared // 500)


@pytest.mark.parametrize(("mode", "antialias"), FILTERED)
def test_uint8_torch(mode: str, antialias: bool) -> None:
    """The bits of torch, in two dimensions."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    compared = 0
    for i, case in enumerate(random_cases(7, 700, "uint8", (mode,), (2,))):
        if torch_agrees(case) and case.antialias == antialias:
            x = case.values() if i % 3 else np.where(case.values() > 127, np.uint8(255), np.uint8(0))
            assert np.array_equal(by_torch(x, **case.arguments), oracle.interpolate(x, **case.arguments)), case
            compared += 1
    assert compared >= 120


def test_uint8_of_one_and_three_axes_is_torch_in_passes() -> None:
    """W and H by torch, then D by torch as the height of a picture (H·W, D)."""
    compared = 0
    for case in random_cases(8, 250, "uint8", ("linear", "trilinear", "cubic", "tricubic", "lanczos"), (1, 3)):
        family = oracle.FAMILY[case.mode]
        mode = {"linear": "bilinear", "cubic": "bicubic"}.get(family, family)
        rest = {"mode": mode, "align_corners": case.align_corners, "antialias": case.antialias}
        *outer, last = call(case)
        if 1 in (last.n_in, last.n_out) or any(axis.factor for axis in call(case)):
            continue
        x = case.values()
        n, c = x.shape[:2]
        if len(outer) == 0:
            doubled = np.repeat(x[:, :, None], 2, axis=2)
            y = by_torch(doubled, size=(2, last.n_out), **rest)[:, :, 0]
        else:
            depth, height = outer
            planes = x.reshape(n * c, depth.n_in, height.n_in, last.n_in)
            y = by_torch(planes.reshape(-1, 1, height.n_in, last.n_in), size=(height.n_out, last.n_out), **rest)
            flat = y.reshape(n * c, 1, depth.n_in, height.n_out * last.n_out)
            y = by_torch(flat, size=(depth.n_out, height.n_out * last.n_out), **rest)
            y = y.reshape(n, c, depth.n_out, height.n_out, last.n_out)
        assert np.array_equal(y, oracle.interpolate(x, **case.arguments)), case
        compared += 1
    assert compared >= 60


@pytest.mark.parametrize(("mode", "antialias"), FILTERED)
def test_three_axes_are_torch_in_passes(mode: str, antialias: bool) -> None:
    """1-D and 3-D modes that torch lacks: torch in two dimensions, H·W by D."""
    mode_2d = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    rng = np.random.default_rng(9)
    for _ in range(12):
        spatial, size = (tuple(int(n) for n in rng.integers(2, 9, 3)) for _ in range(2))
        align_corners = None if mode == "lanczos" else bool(rng.integers(2))
        rest: dict[str, Any] = {"align_corners": align_corners, "antialias": antialias}
        x = rng.standard_normal((1, 2, *spatial))
        y = by_torch(x.reshape(-1, 1, *spatial[1:]), size=size[1:], mode=mode_2d, **rest)
        y = by_torch(y.reshape(2, 1, spatial[0], -1), size=(size[0], size[1] * size[2]), mode=mode_2d, **rest)
        mode_3d = {"linear": "trilinear", "cubic": "tricubic"}.get(mode, mode)
        actual = oracle.interpolate(x, size=size, mode=mode_3d, **rest)
        np.testing.assert_allclose(actual, y.reshape(actual.shape), atol=1e-13)
        line = oracle.interpolate(x[:, :, 0, 0], size=7, mode=mode, **rest)
        plane = np.repeat(x[:, :, 0, :1], 2, axis=2)
        y = by_torch(plane, size=(2, 7), mode=mode_2d, **rest)[:, :, 0]
        np.testing.assert_allclose(line, y, atol=1e-13)


@pytest.mark.parametrize(
    ("mode", "resample"),
    [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos", Image.Resampling.LANCZOS),
        ("area", Image.Resampling.BOX),
    ],
)
def test_pillow(mode: str, resample: Image.Resampling) -> None:
    """Images of mode F are float32 with float64 weights; the box is the area where sizes divide."""
    rng = np.random.default_rng(10)
    for _ in range(60):
        height, width = (int(n) for n in rng.integers(1, 40, 2))
        size = tuple(int(n) for n in rng.integers(1, 60, 2))
        if mode == "area":
            height, width = height // 8 + 1, width // 8 + 1
            size = (height, width)
            height, width = height * int(rng.integers(1, 6)), width * int(rng.integers(1, 6))
        x = rng.standard_normal((height, width)).astype(np.float32)
        expected = np.asarray(Image.fromarray(x).resize(size[::-1], resample))
        actual = oracle.interpolate(x[None, None], size=size, mode=mode, antialias=mode != "area")[0, 0]
        np.testing.assert_allclose(actual, expected, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# The bound


def test_half_ulp() -> None:
    rng = np.random.default_rng(11)
    for name in ("float16", "bfloat16", "float32", "float64"):
        kind = bounds.FORMATS[name]
        dtype = cases.numpy_dtype(name)
        info = ml_dtypes.finfo(dtype)
        assert kind.eps == float(info.eps)
        assert kind.largest == float(info.max)
        assert kind.smallest == float(info.smallest_subnormal)
        smallest, largest = math.log2(kind.smallest), kind.largest_exponent
        values = np.concatenate(
            [[0, kind.smallest, 3 * kind.smallest, 1, kind.largest], 2 ** rng.uniform(smallest, largest, 500)]
        )
        values = values.astype(dtype)
        with np.errstate(over="ignore"):
            above = np.nextafter(values, dtype.type(np.inf)).astype(np.float64)
        spacing = above - values.astype(np.float64)
        spacing[4] = spacing[3] * 2.0**largest  # the next number would be infinity
        expected = np.maximum(spacing / 2, bounds.FLOAT64_SMALLEST)
        np.testing.assert_array_equal(kind.half_ulp(values.astype(np.float64)), expected)
    with np.errstate(over="ignore"):
        threshold = bounds.overflow("float16")
        assert np.isinf(np.float64(threshold).astype(np.float16))
        assert np.isfinite(np.nextafter(threshold, 0).astype(np.float16))


@pytest.mark.parametrize(("mode", "antialias"), FILTERED)
def test_weight_errors_cover_float32(mode: str, antialias: bool) -> None:
    """Each weight of the float32 rules; and no more than a few times their largest error."""
    eps = float(np.finfo(np.float32).eps)
    used = 0.0
    pairs = [*itertools.product(SIZES, SIZES), (257, 1000), (1000, 257), (999, 3), (1000, 1000)]
    for n_in, n_out in pairs:
        for factor in (None, float(n_out + 0.3) / n_in):
            axis = Axis(mode, n_in, n_out, factor, antialias=antialias)
            weights, _ = oracle.dense(oracle.band(axis), n_in)
            single, _ = oracle.dense(oracle.band(axis, FLOAT32), n_in)
            allowed = eps * (8 + oracle.band(axis).count[:, None]) * np.abs(weights)
            allowed += oracle.dense(bounds.weight_errors(axis, "float32"), n_in)[0]
            error = np.abs(single - weights)
            assert (error <= allowed).all(), axis
            used = max(used, float((error[error > 0] / allowed[error > 0]).max(initial=0)))
    assert used > 0.25


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_bound_covers_the_accumulate_type(dtype: str) -> None:
    """The rules of T, rounded to the dtype: pixels that are noise, few ones among zeros, and all the same."""
    number = oracle.accumulate_type(dtype)
    modes = tuple(mode for mode in cases.MODES if mode not in cases.POINT)
    for i, case in enumerate(random_cases(12, 150, dtype, modes, (1, 2, 3))):
        x = case.values()
        if i % 3 == 1:
            x = (np.random.default_rng(i).random(x.shape) < 0.2).astype(x.dtype)
        elif i % 3 == 2:
            x = np.ones_like(x)
        expected = oracle.interpolate(x, **case.arguments)
        wide = {"complex64": np.complex64, "complex128": np.complex128}.get(dtype, number.dtype)
        y = x.astype(wide)
        for axis, position in oracle._passes(call(case)):
            y = oracle.apply(oracle.band(axis, number), y, position)
        tolerance = bounds.bound(x, dtype=dtype, **case.arguments)
        bounds.assert_within(y.astype(x.dtype), expected, tolerance, case=case)


def test_bound_is_small() -> None:
    """Noise on axes of up to 60 pixels: within some 100 eps."""
    for dtype, eps in (("float32", 2.0**-23), ("float64", 2.0**-52)):
        for case in random_cases(13, 150, dtype, ("linear", "bilinear", "tricubic", "area", "lanczos"), (1, 2, 3)):
            tolerance = bounds.bound(case.values(), dtype=dtype, **case.arguments)
            assert tolerance.max() <= 600 * eps * np.abs(case.values()).max(), case


def test_bound_of_copies_is_zero() -> None:
    x = np.ones((1, 2, 5, 6), np.float32)
    for arguments in (
        {"size": (9, 9)},
        {"size": (9, 9), "mode": "nearest-exact"},
        {"scale_factor": 1.05, "mode": "bilinear"},
        {"size": (5, 6), "mode": "lanczos", "antialias": True},
    ):
        assert not bounds.bound(x, **arguments).any()
    assert not bounds.bound(x.astype(np.int16), size=(9, 9), mode="bilinear").any()
    assert bounds.bound(x, size=(9, 9), mode="bilinear").all()
    assert bounds.bound(x, size=(5, 6), mode="bilinear", antialias=True).all()


def test_bound_with_non_finite_pixels() -> None:
    x = np.ones((1, 1, 20), np.float32)
    x[..., 3], x[..., 12] = np.nan, -np.inf
    tolerance = bounds.bound(x, size=41, mode="cubic")
    expected = oracle.interpolate(x, size=41, mode="cubic")
    assert np.isfinite(tolerance).all()
    bounds.assert_within(expected, expected, tolerance)
    infinite = np.where(np.isnan(expected), np.inf, expected)
    bounds.assert_within(infinite, expected, tolerance)
    for spoilt in (np.nan_to_num(expected, nan=1.0), np.full_like(expected, np.nan)):
        with pytest.raises(AssertionError, match="outputs are wrong"):
            bounds.assert_within(spoilt, expected, tolerance)
    mask = np.zeros(expected.shape, bool)
    mask[..., 0] = True
    with pytest.raises(AssertionError, match="outputs are wrong"):
        bounds.assert_within(infinite, np.nan_to_num(expected), tolerance, nonfinite=mask)


def test_assert_within_finds_errors() -> None:
    expected = np.linspace(-1, 1, 100).reshape(1, 1, 10, 10)
    tolerance = np.full(expected.shape, 1e-6)
    bounds.assert_within(expected + 1e-6 * (1 - 1e-9), expected, tolerance)
    for error in (1.001e-6, -1.001e-6, np.nan, np.inf):
        actual = expected.copy()
        actual[0, 0, 3, 4] += error
        with pytest.raises(AssertionError, match=r"1 of 100 outputs are wrong.*\(0, 0, 3, 4\).*a case"):
            bounds.assert_within(actual, expected, tolerance, case="a case")
    with pytest.raises(AssertionError, match="shape"):
        bounds.assert_within(expected[0], expected, tolerance)
    for dtype in (np.float32, np.complex64, np.complex128):
        with pytest.raises(AssertionError, match="wrong"):
            bounds.assert_within((expected + 1e-5).astype(dtype), expected, tolerance)


def test_assert_within_refuses_what_hides_errors() -> None:
    expected = np.linspace(-1, 1, 100).reshape(1, 1, 10, 10)
    for tolerance, message in ((np.inf, "finite"), (np.nan, "finite"), (-1e-6, "negative"), (0.5, "results up to 1")):
        with pytest.raises(AssertionError, match=message):
            bounds.assert_within(expected, expected, np.full(expected.shape, tolerance))
    for bad in (np.inf, np.nan):
        one = np.full(expected.shape, 1e-6)
        one[0, 0, 2, 2] = bad
        with pytest.raises(AssertionError, match="finite"):
            bounds.assert_within(expected, expected, one)
    # A tolerance of less than the spacing of float64 numbers cannot be seen to fail.
    with pytest.raises(AssertionError, match="not noticed"):
        bounds.assert_within(expected, expected, np.full(expected.shape, 1e-18))
    bounds.assert_within(expected, expected, 0.0)
    with pytest.raises(AssertionError, match="wrong"):
        bounds.assert_within(np.nextafter(expected, 2), expected, 0.0)


def test_overflow_to_infinity() -> None:
    expected = np.array([65519.0, 65530.0, -70000.0, 1.0])
    with np.errstate(over="ignore"):
        actual = expected.astype(np.float16)
    tolerance = bounds.FORMATS["float16"].half_ulp(expected)
    assert np.isinf(actual).tolist() == [False, True, True, False]
    bounds.assert_within(actual, expected, tolerance)
    for wrong in ([65504, -np.inf, -np.inf, 1], [65504, np.inf, np.inf, 1], [65504, np.inf, -np.inf, np.inf]):
        with pytest.raises(AssertionError, match="wrong"):
            bounds.assert_within(np.array(wrong, np.float16), expected, tolerance)
    with pytest.raises(AssertionError, match="wrong"):
        bounds.assert_within(np.array([65504, 65504, -65504, 1], np.float16), expected, tolerance)
