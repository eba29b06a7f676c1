"""The NumPy path against the definition: every cell of the grid, random calls, non-finite values.

A cell is mode x dimension x dtype x layout x (size | scale factor | recomputed) x align_corners x antialias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cupysample
from tests import bounds, cases, oracle
from tests.cases import Case

REPEATS = 20
"""Cases of every cell."""
RANDOM_CASES = 20_000
RANDOM_PARTS = 20


def check(case: Case, x: NDArray[Any], actual: NDArray[Any]) -> None:
    """Exact for copies and integers; within the bound for floats."""
    expected = oracle.interpolate(x, **case.arguments)
    assert actual.shape == expected.shape, case
    assert actual.dtype == x.dtype.newbyteorder("="), case
    if case.dtype in cases.FLOATS and case.mode not in cases.POINT:
        bounds.assert_within(actual, expected, bounds.bound(x, dtype=case.dtype, **case.arguments))
    else:
        assert np.array_equal(actual, expected.astype(actual.dtype)), case


def run(case: Case) -> None:
    """Resample and compare; the input is read-only."""
    x = case.input()
    check(case, x, cupysample.interpolate(x, **case.arguments))


@pytest.mark.parametrize(
    ("mode", "dimensions", "dtype"),
    [(mode, n, dtype) for mode, dims in cases.MODES.items() for n in dims for dtype in cases.dtypes(mode)],
)
def test_grid(mode: str, dimensions: int, dtype: str) -> None:
    """Every layout, size rule and option, with extents that are special to some rule."""
    rng = np.random.default_rng([dimensions, *mode.encode(), *dtype.encode()])
    for cell in cases.cells(mode):
        for _ in range(REPEATS):
            run(cases.random_case(rng, mode, dimensions, dtype, *cell))


@pytest.mark.parametrize("part", range(RANDOM_PARTS))
def test_random_calls(part: int) -> None:
    rng = np.random.default_rng([2026, part])
    for _ in range(RANDOM_CASES // RANDOM_PARTS):
        run(cases.any_case(rng))


@pytest.mark.parametrize("mode", cases.MODES)
def test_non_finite_values_reach_exactly_the_outputs_whose_window_holds_them(mode: str) -> None:
    """Zero weights included: a window is a run of taps, whatever they weigh."""
    rng = np.random.default_rng(list(mode.encode()))
    for _ in range(300):
        case = cases.any_case(rng, modes=(mode,))
        if case.dtype not in cases.FLOATS:
            continue
        x = case.values()
        x[rng.random(x.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
        if case.dtype.startswith("complex"):
            x.imag[rng.random(x.shape) < 0.05] = np.inf
        y = cupysample.interpolate(cases.lay_out(x, case.layout), **case.arguments)
        special = ~np.isfinite(cases.lay_out(x, case.layout))
        reached = oracle.reached(special, dtype=case.dtype, **case.arguments)
        np.testing.assert_array_equal(~np.isfinite(y), reached, err_msg=str(case))


def test_a_wrong_result_is_noticed() -> None:
    """The comparison itself: a weight off by one part in a thousand, a tap dropped, an index one off."""
    x = cases.values(np.random.default_rng(0), (1, 1, 9, 11), "float32")
    case = Case("bilinear", "float32", "contiguous", (1, 1), (9, 11), (20, 7), None, False, False, False)
    y = cupysample.interpolate(x, **case.arguments)
    check(case, x, y)
    for wrong in (y * np.float32(1.001), np.roll(y, 1, axis=-1), y - x[0, 0, 0, 0] * np.float32(1e-4)):
        with pytest.raises(AssertionError):
            check(case, x, wrong)
