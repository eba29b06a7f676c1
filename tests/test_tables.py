"""The tables that kernels read hold the matrix of an axis, whichever way they hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupysample import _interpolate, _tables
from cupysample._tables import PAIRS, PLAIN, Kind
from cupysample._taps import Axis
from tests import launches


def axes() -> Iterator[Axis]:
    """Rows that shrink and grow, of every filter, and their transposes."""
    for n_in, n_out in ((64, 32), (61, 17), (64, 63), (37, 5), (200, 3), (9, 1), (33, 66), (20, 57)):
        for dtype in ("float32", "float64", "uint8"):
            for mode, antialias in (
                ("linear", True),
                ("cubic", True),
                ("lanczos", True),
                ("linear", False),
                ("area", False),
            ):
                if dtype == "uint8" and mode == "area":
                    continue
                arguments = launches.arguments_of(size=n_out, mode=mode, antialias=antialias)
                plan = _interpolate.plan_of((1, 1, n_in), dtype, *arguments)
                yield plan.axes[0]
                if dtype != "uint8":
                    yield plan.transposed(dtype).axes[0]


def matrix(axis: Axis) -> NDArray[Any]:
    """[n_out, n_in], NaN where a row has no tap."""
    taps = axis.taps()
    assert taps.weight is not None
    dense = np.full((axis.n_out, axis.n_in), np.nan)
    for i in range(axis.n_out):
        dense[i, taps.left[i] : taps.left[i] + taps.count[i]] = taps.weight[i, : taps.count[i]]
    return dense


def test_rows_of_a_matrix() -> None:
    for axis in axes():
        left, count, weight = _tables.table_arrays(axis, PLAIN)
        dense = np.full((axis.n_out, axis.n_in), np.nan)
        for i in range(axis.n_out):
            dense[i, left[i] : left[i] + count[i]] = weight[: count[i], i]
        np.testing.assert_array_equal(dense, matrix(axis))


def test_words_of_four_pixels() -> None:
    for axis in axes():
        if axis.dtype != "fixed":
            continue
        left, count, weight = _tables.table_arrays(axis, PAIRS)
        dense = np.zeros((axis.n_out, axis.n_in + 8))
        for i in range(axis.n_out):
            first = left[i] // 4 * 4
            words = (left[i] % 4 + count[i] + 3) // 4
            dense[i, first : first + 4 * words] = weight[:words, i].reshape(-1)
        np.testing.assert_array_equal(dense[:, : axis.n_in], np.nan_to_num(matrix(axis)))
        assert not dense[:, axis.n_in :].any()


def test_rows_that_have_begun() -> None:
    """Every pixel of a row is in the steps between those where it begins and ends, and found among as many rows as are held."""
    seen = set()
    for axis in axes():
        held, phase = _tables.begun_rows(axis)
        if not held:
            assert not axis.taps().count.all()
            continue
        first, (begin, end), weight = _tables.table_arrays(axis, Kind("begun", held))
        fixed = axis.dtype == "fixed"
        step = 4 if fixed else 2
        assert int(end[-1]) == len(weight)
        assert len(first) == len(weight) + 1
        assert first[-1] == axis.n_out
        assert not (fixed and phase)
        dense = np.full((axis.n_out, step * len(weight)), 0.0 if fixed else np.nan)
        for i in range(axis.n_out):
            assert first[end[i] - 1] <= i < first[end[i]]  # ends there
            for q in range(begin[i], end[i]):
                assert 0 <= i - first[q] < held
                row = weight[q, i - first[q]] if fixed else weight[q, :, i % held]
                if q == 0 and phase:  # it has one pixel, in place of the one before
                    assert np.isnan(row[1])
                    row = row[::-1]
                dense[i, step * q : step * (q + 1)] = row
        if phase:
            assert np.isnan(dense[:, 0]).all()
            dense = np.delete(dense, 0, axis=1)
        expected = matrix(axis)
        expected = np.nan_to_num(expected) if fixed else expected
        width = min(axis.n_in, dense.shape[1])
        np.testing.assert_array_equal(dense[:, :width], expected[:, :width])
        if not fixed:
            assert weight.dtype.itemsize * weight.shape[2] % 16 == 0  # read as vectors
            assert np.isnan(dense[:, width:]).all()
        assert any(i - first[begin[i]] == held - 1 for i in range(axis.n_out))  # no more are held than need be
        seen.add((fixed, held, phase))
    assert seen >= {(False, 3, 0), (False, 5, 0), (False, 6, 1), (False, 7, 0), (True, 3, 0), (True, 8, 0)}


@pytest.mark.parametrize("places", [2, 4, 8])
def test_windows_of_some_places(places: int) -> None:
    """The last place is taken, or in ``Neighbours`` those that bits tell."""
    for axis in axes():
        taps = axis.taps()
        if not 0 < taps.count.min() <= taps.count.max() <= min(places, axis.n_in):
            continue
        (window,), (neighbours,) = (
            _tables.table_arrays(axis, kind) for kind in (Kind("window", places), Kind("neighbours", places))
        )
        for table, taken in (
            (window, lambda row: range(places - row["count"], places)),
            (neighbours, lambda row: [p for p in range(places) if row["count"] >> p & 1]),
        ):
            dense = np.full((axis.n_out, axis.n_in), np.nan)
            for i, row in enumerate(table):
                first = row["left"] - (places - row["count"]) if table is window else row["left"]
                for p in taken(row):
                    dense[i, first + p] = row["weight"][p]
            np.testing.assert_array_equal(dense, matrix(axis))
