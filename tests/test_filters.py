"""Filters are what their names say; the declared support is true."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from pathlib import Path

import numpy as np
import pytest

from cupysample import _filters
from cupysample._filters import Filter
from cupysample._rounding import fma

FILTERS = {
    "triangle": _filters.TRIANGLE,
    "cubic": _filters.KEYS_CUBIC,
    "cubic antialias": _filters.KEYS_CUBIC_ANTIALIAS,
    "lanczos": _filters.LANCZOS,
}


@pytest.mark.parametrize("name", FILTERS)
def test_interpolating(name: str) -> None:
    """1 at 0 and 0 at every other integer, so that samples at pixel centres are kept."""
    x = np.arange(-5.0, 6.0)
    np.testing.assert_allclose(FILTERS[name].weight(x), x == 0, atol=1e-16)


@pytest.mark.parametrize("name", FILTERS)
def test_symmetric_and_zero_exactly_outside_the_support(name: str) -> None:
    filter: Filter = FILTERS[name]
    x = np.linspace(0, 6, 6001)
    weight = filter.weight(x)
    np.testing.assert_array_equal(weight, filter.weight(-x))
    assert not weight[x >= filter.support].any()
    just_inside = np.array([filter.support - 0.01])
    assert filter.weight(just_inside)[0] != 0


@pytest.mark.parametrize("name", ["triangle", "cubic", "cubic antialias"])
def test_taps_of_any_phase_sum_to_one(name: str) -> None:
    phase = np.linspace(0, 1, 101)
    total = sum(FILTERS[name].weight(phase + k) for k in range(-3, 4))
    np.testing.assert_allclose(total, np.ones_like(phase), rtol=4e-15)


@pytest.mark.parametrize(
    ("name", "x", "value"),
    [
        ("triangle", 0.25, 0.75),
        ("cubic", 0.5, 0.59375),
        ("cubic", 1.5, -0.09375),
        ("cubic antialias", 0.5, 0.5625),
        ("cubic antialias", 1.5, -0.0625),
        ("lanczos", 0.5, 0.6079271018540267),
        ("lanczos", 1.5, -0.13509491152311703),
        ("lanczos", 2.5, 0.024317084074161068),
    ],
)
def test_known_values(name: str, x: float, value: float) -> None:
    assert FILTERS[name].weight(np.array([x]))[0] == pytest.approx(value, rel=1e-14)


def test_sine() -> None:
    """sin(pi x): exactly 0 at integers, odd, and the C library's sine of the nearest argument within 2 ulp."""
    assert not _filters.sine(np.arange(-3.0, 4.0)).any()
    x = np.random.default_rng(0).uniform(-3, 3, 100_000)
    np.testing.assert_array_equal(_filters.sine(-x), -_filters.sine(x))
    r = x - np.rint(x)
    expected = np.where(np.rint(x) % 2 == 1, -1, 1) * np.sin(np.pi * r)
    np.testing.assert_allclose(_filters.sine(x), expected, rtol=6e-16)


def test_the_kernels_have_the_same_sine() -> None:
    text = (Path(__file__).parents[1] / "kernels" / "computed_taps.cuh").read_text()
    body = text[text.index("double sine(double x)") :].split("\n}\n")[0]
    assert [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", body)] == list(_filters.SINE[::-1])


def test_fma_rounds_once() -> None:
    """Equal to the C library's ``fmaf``, also where the sum lies between two float32 and beside their midpoint."""
    path = ctypes.util.find_library("m")
    assert path is not None
    fmaf = ctypes.CDLL(path).fmaf
    fmaf.restype, fmaf.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    rng = np.random.default_rng(5)
    n = 20_000
    a, b = rng.standard_normal((2, n)).astype(np.float32)
    c = (rng.standard_normal(n) * 10.0 ** rng.uniform(-8, 8, n)).astype(np.float32)
    # Sums beside a midpoint of two float32: 1 + 2**-24 plus a product far below float64's last bit of it.
    a[: n // 2] = np.float32(1 + 2**-12) * np.float32(2.0**-12)
    b[: n // 2] = np.exp2(rng.integers(-60, -1, n // 2)).astype(np.float32) * rng.choice([-1, 1], n // 2)
    c[: n // 2] = np.ldexp(np.float32(1), rng.integers(-20, 20, n // 2)).astype(np.float32)
    expected = np.array([fmaf(*abc) for abc in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)], np.float32)
    np.testing.assert_array_equal(fma(a, b, c), expected)


def test_fma_beside_a_midpoint() -> None:
    """The case that rounding twice gets wrong: ``1 + 2**-24 - 2**-60`` is 1, its nearest float64 rounds to even."""
    a, b = np.array([1 - 2.0**-18], np.float32), np.array([(1 + 2.0**-18) * 2.0**-24], np.float32)
    assert float(a[0]) * float(b[0]) < 2.0**-24
    assert np.float32(float(a[0]) * float(b[0]) + 1.0) == 1  # even
    odd = np.array([1 + 2.0**-23], np.float32)
    assert fma(a, b, odd)[0] == odd[0]
    assert np.float32(np.float64(float(a[0]) * float(b[0])) + np.float64(odd[0])) == odd[0] + np.float32(2**-23)
