"""Matrices: windows lie inside, rows sum to one, bands descend, rows computed in pieces are the rows of the whole."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupysample import _coordinates, _taps
from cupysample._taps import METHODS, Axis, Taps

SIZES = [1, 2, 3, 4, 5, 7, 8, 16, 31, 100]


def axis(method: str, n_in: int, n_out: int, dtype: str = "float32", *, align_corners: bool = False) -> Axis:
    """An axis whose step comes from the sizes."""
    number = _taps.weight_dtype("float32" if method.startswith("nearest") else dtype)
    step = _coordinates.scale(n_in, n_out, None, align_corners, _coordinates.index_dtype(n_in, n_out, number))
    return Axis(method, n_in, n_out, step, align_corners, dtype)


def dense(taps: Taps, n_in: int) -> np.ndarray:
    """The matrix itself."""
    assert taps.weight is not None
    matrix = np.zeros((len(taps.left), n_in))
    for i, (left, count) in enumerate(zip(taps.left, taps.count, strict=True)):
        matrix[i, left : left + count] = taps.weight[i, :count]
    return matrix


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows(method: str, dtype: str) -> None:
    """Sum 1, both ends never decrease, no more taps than the bound, nothing beyond ``count``."""
    for n_in, n_out in itertools.product(SIZES, SIZES):
        a = axis(method, n_in, n_out, dtype)
        taps = a.taps()
        assert taps.weight is not None
        assert taps.weight.dtype == dtype
        assert taps.weight.shape[0] == len(taps.left) == n_out
        assert taps.count.max() <= a.width
        assert (np.diff(taps.left) >= 0).all()
        assert (np.diff(taps.left + taps.count) >= 0).all()
        beyond = np.arange(taps.weight.shape[1]) >= taps.count[:, None]
        assert not taps.weight[beyond].any()
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(taps.weight.sum(1), 1, atol=float(16 * eps * (1 + n_in)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_transpose(method: str, align_corners: bool) -> None:
    """The matrix of the transposed axis is the transposed matrix, no wider than its bound; twice is once not at all."""
    for n_in, n_out in itertools.product(SIZES, SIZES):
        a = axis(method, n_in, n_out, "float64", align_corners=align_corners)
        taps = a.T.taps()
        np.testing.assert_array_equal(dense(taps, n_out), dense(a.taps(), n_in).T)
        assert taps.count.max() <= a.T.width
        assert a == a.T.T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "fixed", "transposed"])
def test_rows_in_pieces(method: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any range of rows, built by itself, is that range of all rows."""

    def rows(n_in: int, n_out: int) -> Axis:
        return axis(method, n_out, n_in).T if dtype == "transposed" else axis(method, n_in, n_out, dtype)

    for n_in, n_out in [(7, 23), (50, 9), (12, 12), (1, 6)]:
        whole = rows(n_in, n_out).taps()
        with monkeypatch.context() as patch:
            patch.setattr(_taps, "KEPT_WEIGHTS", 1)
            for start in range(0, n_out, 4):
                stop = min(start + 4, n_out)
                piece = rows(n_in, n_out).taps(start, stop)
                np.testing.assert_array_equal(piece.left, whole.left[start:stop])
                np.testing.assert_array_equal(piece.count, whole.count[start:stop])
                assert piece.weight is not None
                assert whole.weight is not None
                width = piece.weight.shape[1]
                np.testing.assert_array_equal(piece.weight, whole.weight[start:stop, :width])
        with monkeypatch.context() as patch:
            patch.setattr(_taps, "CHUNK_WEIGHTS", 3 * rows(n_in, n_out).width)
            chunked = _taps._build_all(rows(n_in, n_out))
            for name in ("left", "count", "weight"):
                actual, expected = getattr(chunked, name), getattr(whole, name)
                assert (actual is None) == (expected is None)
                if expected is not None:
                    np.testing.assert_array_equal(actual, expected)
                    assert actual.dtype == expected.dtype
                    assert not actual.flags.writeable


def test_linear_by_hand() -> None:
    expected = [[1, 0, 0], [0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0.75, 0.25], [0, 0.25, 0.75], [0, 0, 1]]
    taps = axis("linear", 3, 6).taps()
    np.testing.assert_array_equal(dense(taps, 3), expected)
    np.testing.assert_array_equal(taps.left, [0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(taps.count, [2, 2, 2, 2, 2, 1])


def test_cubic_folds_the_border_into_the_edge_pixel() -> None:
    """The first output of 2x, at -1/4, reads pixels -2 … 1; those below 0 count as pixel 0."""
    w = [-0.03515625, 0.26171875, 0.87890625, -0.10546875]  # Keys, a = -3/4, at phase 3/4
    row = dense(axis("cubic", 4, 8).taps(), 4)[0]
    np.testing.assert_allclose(row, [w[0] + w[1] + w[2], w[3], 0, 0], atol=1e-7)


def test_area_windows_overlap_where_the_sizes_do_not_divide() -> None:
    matrix = dense(axis("area", 5, 3).taps(), 5)
    np.testing.assert_allclose(
        matrix, [[0.5, 0.5, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 0.5, 0.5]], rtol=1e-6
    )


def test_antialias_by_hand() -> None:
    """Half size: a triangle of radius 2 around 1/2 + 2i, cut at the border and normalised."""
    matrix = dense(axis("linear-antialias", 4, 2, "float64").taps(), 4)
    np.testing.assert_allclose(matrix, [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]], rtol=1e-14)


def test_fixed_point_bits_hold_the_largest_weight_in_int16() -> None:
    assert _taps.fixed_point_bits(axis("linear", 3, 6, "fixed")) == 14
    assert _taps.fixed_point_bits(axis("linear-antialias", 4096, 2, "fixed")) == 22
    for method, n_in, n_out in itertools.product(["linear", "cubic", "lanczos-antialias"], SIZES, SIZES):
        weight = axis(method, n_in, n_out, "fixed").taps().weight
        assert weight is not None
        assert weight.dtype == np.int32
        assert weight.max() < 2**15


def test_cached_rows_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        axis("linear", 3, 6).taps().left[0] = 1


def test_nearest_follows_torch_in_float32() -> None:
    """2 -> 82 at 41: the exact coordinate is 1, float32 rounds it below."""
    assert axis("nearest", 2, 82).taps().left[41] == 0
    assert axis("nearest", 2, 84).taps().left[42] == 1


def test_long_axes_are_placed_in_float64() -> None:
    """2**24 pixels to themselves plus one half: float32 would repeat and skip pixels."""
    n = _coordinates.FLOAT32_EXTENT * 4
    a = axis("nearest-exact", n, n)
    start = n - 1000
    np.testing.assert_array_equal(a.taps(start, n).left, np.arange(start, n))
    b = axis("linear", n, 2 * n)
    np.testing.assert_array_equal(b.taps(2 * n - 5, 2 * n).left, [n - 3, n - 3, n - 2, n - 2, n - 1])


def test_a_part_of_a_transpose_takes_no_whole_windows() -> None:
    """A thousand pixels of a million that one mean reads."""
    a = axis("area", 1_000_000, 1).T
    tracemalloc.start()
    taps = a.taps(5000, 6000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(dense(taps, 1), np.full((1000, 1), np.float32(1e-6)))
    assert peak < 200_000


@pytest.mark.parametrize("method", [method for method in METHODS if method.endswith("antialias")])
def test_totals_of_long_rows_are_added_once(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many parts of the transpose ask for them: their pixels, and those of the parts, and no more."""
    a = axis(method, 300_000, 4)
    counted = 0

    def weight(*arguments: Any) -> NDArray[Any]:
        nonlocal counted
        found = METHODS[method].weight(*arguments)
        counted += found.size
        return found

    parts = [(start, start + 1000) for start in range(0, 300_000, 1000)]
    monkeypatch.setattr(_taps, "METHODS", METHODS | {method: METHODS[method]._replace(weight=weight)})
    _taps._totals.cache_clear()
    for part in parts:
        a.T.taps(*part)
    assert counted <= 2 * a.n_out * a.width


REPEATED = {(1500, 3000): True, (600, 2400): True, (3000, 1500): True, (3000, 2000): True, (3200, 400): True} | {
    (1500, 1501): False,  # nor that of means
    (2100, 900): False,  # by 7/3
    (2000, 3000): False,
}
"""From as many pixels to so many, and whether coordinates are numbers of few digits."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "fixed"])
@pytest.mark.parametrize(("n_in", "n_out"), REPEATED)
def test_rows_that_repeat_themselves(method: str, dtype: str, n_in: int, n_out: int, rng: np.random.Generator) -> None:
    """Are the rows as they would be built, wherever they are taken from."""
    if dtype == "fixed" and (METHODS[method].copies or method == "area"):
        return
    axes = [axis(method, n_in, n_out, dtype)]
    if not METHODS[method].copies and method != "area":
        axes.append(axis(method, n_in + 1, n_out + 1, dtype, align_corners=True))
    for a in axes if dtype == "fixed" else [*axes, *(a.T for a in axes)]:
        shared = 0
        for some in [[a.n_out // 2, a.n_out // 2 + 100], *rng.choice(a.n_out, (9, 2)).tolist()]:
            start, stop = min(some), max(some) + 1
            rows, expected = _taps._part(a, start, stop), _taps._build(a, start, stop)
            shared += _taps._periods_back(a, start, stop) > 0
            for name in ("left", "count", "weight"):
                np.testing.assert_array_equal(getattr(rows, name), getattr(expected, name))
        assert bool(shared) == (REPEATED[n_in, n_out] or (method == "area" and (n_in, n_out) != (1500, 1501)))


@pytest.mark.parametrize(
    ("n_in", "n_out"), [(1 << 22, 1 << 21), (3 << 20, 1 << 21), (1 << 18, 1 << 22), (5 << 19, 1 << 22)]
)
@pytest.mark.parametrize("method", ["nearest", "nearest-exact", "linear", "cubic-antialias"])
def test_long_rows_that_repeat_themselves(method: str, n_in: int, n_out: int) -> None:
    """Only where no coordinate is rounded, up to the last."""
    a = axis(method, n_in, n_out)
    for stop in range(100_000, n_out, 500_000):
        rows, expected = _taps._part(a, stop - 99, stop), _taps._build(a, stop - 99, stop)
        for name in ("left", "count", "weight"):
            np.testing.assert_array_equal(getattr(rows, name), getattr(expected, name))
