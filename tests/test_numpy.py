"""Programs of the NumPy path: every strategy against the definition, their memory, and what BLAS is given.

That calls in general are right is held by test_definition.py; here strategies are forced, tiles made small and inputs large.
"""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import cupysample
from cupysample import (
    _arrays,
    _blocks,
    _copies,
    _exact,
    _interpolate,
    _kept,
    _numpy,
    _plan,
    _rounding,
    _steps,
    _sums,
    _taps,
    _ways,
)
from cupysample._blocks import Choice
from cupysample._call import Call
from cupysample._program import Program
from cupysample._taps import Axis, Taps, fixed_point_bits
from cupysample._ways import Slices, Way
from tests import bounds, cases, oracle
from tests.cases import Case


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Programs made with other constants or strategies are forgotten."""
    yield
    forget()


def forget() -> None:
    _interpolate._calls.clear()
    _numpy._programs.clear()
    _blocks._matrices.clear()


def noise(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return cases.values(np.random.default_rng(0), shape, dtype)


def call_of(x: NDArray[Any], **arguments: Any) -> Call:
    """The checked call."""
    words = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    given: Any = tuple(({"mode": "nearest", "antialias": False} | arguments).get(word) for word in words)
    return _interpolate.checked(_arrays.library(x, "x"), x, None, given, None)


def program_of(x: NDArray[Any], **arguments: Any) -> Program:
    """What it runs."""
    call = call_of(x, **arguments)
    return _numpy.prepare(call.plan, call.source, call.out, x.dtype.isnative, True)


def peak_of(call: Callable[[], NDArray[Any]]) -> tuple[NDArray[Any], int]:
    """What a call returns, and how much memory it took at most, that included."""
    tracemalloc.start()
    result = call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, peak


def rows_built(patch: pytest.MonkeyPatch) -> list[int]:
    """How many rows of a matrix are built at a time, from now on."""
    build, built = _taps._build, []

    def counting(axis: Axis, start: int, stop: int) -> Taps:
        built.append(stop - start)
        return build(axis, start, stop)

    patch.setattr(_taps, "_build", counting)
    return built


def kinds(program: Program) -> set[str]:
    """The kinds of its steps."""
    return {type(step).__name__.strip("_") for cut in program.cuts for step in cut.steps}


# ---------------------------------------------------------------------------------------------------------------------
# What is chosen


CHOICES: dict[str, tuple[dict[str, Any], tuple[int, ...], str, str, set[str]]] = {
    "linear family": (
        {"scale_factor": 2, "mode": "bilinear"},
        (2, 3, 32, 32),
        "float32",
        "contiguous",
        {"Product", "Finite"},
    ),
    "float64": ({"scale_factor": 2, "mode": "bicubic"}, (2, 3, 32, 32), "float64", "contiguous", {"Product", "Finite"}),
    "antialias": (
        {"size": (20, 20), "mode": "lanczos", "antialias": True},
        (2, 3, 60, 60),
        "float32",
        "contiguous",
        {"Product", "Finite"},
    ),
    "channels behind": (
        {"scale_factor": 2, "mode": "bilinear"},
        (2, 64, 32, 32),
        "float32",
        "channels_last",
        {"Product", "Finite"},
    ),
    "few channels behind": (
        {"size": (15, 20), "mode": "bilinear", "antialias": True},
        (2, 3, 32, 32),
        "float32",
        "channels_last",
        {"Product", "Finite"},
    ),
    "strided": (
        {"scale_factor": 2, "mode": "bilinear"},
        (2, 3, 32, 32),
        "float32",
        "sliced",
        {"Load", "Product", "Finite"},
    ),
    "float16": (
        {"scale_factor": 2, "mode": "bilinear"},
        (2, 3, 32, 32),
        "float16",
        "contiguous",
        {"Load", "Product", "Finite", "Store"},
    ),
    "bfloat16": (
        {"scale_factor": 2, "mode": "bilinear"},
        (2, 3, 32, 32),
        "bfloat16",
        "contiguous",
        {"Load", "Product", "Finite", "Store"},
    ),
    "complex64": (
        {"scale_factor": 2, "mode": "bilinear"},
        (2, 3, 32, 32),
        "complex64",
        "contiguous",
        {"Load", "Product", "Finite", "Store"},
    ),
    "means of pixels": (
        {"scale_factor": 0.5, "mode": "area"},
        (1, 3, 540, 960),
        "float32",
        "contiguous",
        {"Sum", "Product", "Finite"},
    ),
    "fixed point": (
        {"scale_factor": 2, "mode": "bilinear"},
        (2, 3, 32, 32),
        "uint8",
        "contiguous",
        {"Load", "Product", "Round", "Store"},
    ),
    "nearest, slices": ({"scale_factor": 0.5}, (2, 3, 32, 32), "float32", "contiguous", {"Copy"}),
    "nearest, gathered": ({"scale_factor": 2}, (2, 3, 32, 32), "float32", "contiguous", {"Gather"}),
    "nearest, long pixels": ({"size": (47, 29)}, (2, 5, 32, 32), "float32", "channels_last", {"GatherAtOnce"}),
    "nearest, short pixels": ({"size": (47, 29)}, (2, 4, 32, 32), "float32", "channels_last", {"Gather"}),
    "nearest, few pixels": ({"size": (11, 10)}, (2, 3, 32, 32), "float32", "contiguous", {"GatherAtOnce"}),
    "nearest, not so few": ({"size": (11, 11)}, (2, 3, 32, 32), "float32", "contiguous", {"Gather"}),
    "nearest, short pixels, repeated": (
        {"scale_factor": 2},
        (2, 2, 32, 32),
        "uint8",
        "channels_last",
        {"GatherAtOnce"},
    ),
    "nearest, long pixels, sliced": ({"scale_factor": 0.5}, (2, 16, 32, 32), "float32", "channels_last", {"Copy"}),
    "nearest, short pixels, sliced": (
        {"scale_factor": 0.5},
        (2, 3, 32, 32),
        "uint8",
        "channels_last",
        {"GatherAtOnce"},
    ),
    "nearest, rows": ({"size": (47, 32)}, (2, 3, 32, 32), "float32", "contiguous", {"Gather"}),
    "nearest, rows, repeated": ({"size": (64, 32)}, (2, 3, 32, 32), "float32", "contiguous", {"GatherAtOnce"}),
    "nearest, long pixels with gaps": ({"size": (47, 29)}, (2, 4, 32, 32), "float32", "sliced", {"Gather"}),
    "nearest, nothing picked": ({"size": (32, 32)}, (2, 3, 32, 32), "float32", "contiguous", {"Copy"}),
    "nearest, nothing picked of little": ({"size": (2, 2)}, (1, 3, 2, 2), "uint8", "contiguous", {"Copy"}),
    "nearest, swapped bytes": ({"scale_factor": 2}, (2, 3, 32, 32), "float32", "big-endian", set()),
    "integers": ({"scale_factor": 2, "mode": "bilinear"}, (2, 3, 32, 32), "int16", "contiguous", set()),
    "exact means": (
        {"scale_factor": 0.5, "mode": "area"},
        (2, 3, 32, 32),
        "uint8",
        "contiguous",
        {"Load", "Product", "Mean", "Store"},
    ),
    "exact means of more": (
        {"scale_factor": 0.5, "mode": "area"},
        (1, 3, 540, 960),
        "uint8",
        "contiguous",
        {"Load", "Sum", "Product", "Mean", "Store"},
    ),
    "long axes": ({"scale_factor": 2, "mode": "linear"}, (1, 1, 100_000), "float32", "contiguous", set()),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    """Which steps a call consists of; and that it is right."""
    arguments, shape, dtype, layout, expected = CHOICES[name]
    x = cases.lay_out(noise(*shape, dtype=dtype), layout)
    assert kinds(program_of(x, **arguments)) == expected
    check(x, arguments)


def check(x: NDArray[Any], arguments: dict[str, Any]) -> None:
    """A call against the definition; planes are independent, so the first and the last are enough of many."""
    y, few = cupysample.interpolate(x, **arguments), np.s_[:: max(1, len(x) - 1), :: max(1, x.shape[1] - 1)]
    expected = oracle.interpolate(x[few], **arguments)
    if x.dtype.name in cases.FLOATS and arguments.get("mode", "nearest") not in cases.POINT:
        bounds.assert_within(y[few], expected, bounds.bound(x[few], **arguments))
    else:
        np.testing.assert_array_equal(y[few], expected)


@pytest.mark.parametrize("shape", [(1, 1, 30, 40), (2, 1, 30, 40), (1, 3, 30, 40)])
def test_copies_of_planes_are_rows_of_pixels(shape: tuple[int, ...]) -> None:
    """Also where one channel could be said to lie behind them: neighbours in a row are repeated as wider integers."""
    x = noise(*shape, dtype="uint8")
    assert program_of(x, scale_factor=2).order == (0, 1, 2, 3)
    x = cases.lay_out(noise(2, 3, 30, 40, dtype="uint8"), "channels_last")
    assert program_of(x, scale_factor=2).order == (0, 2, 3, 1)


@pytest.mark.parametrize("pixels", [1, 7, 100, 1 << 15])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_pixels_picked_at_once_in_any_tiles(layout: str, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile is some pixels of a row, some rows, depths or planes; axes that keep their size or lose a last pixel among them."""
    monkeypatch.setattr(_copies, "AT_ONCE_PIXELS", pixels)
    monkeypatch.setattr(_copies, "AT_ONCE_BYTES", 0)
    sizes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((3, 4, 11), (17,)),
        ((3, 4, 6, 7), (9, 5)),
        ((3, 4, 6, 7), (3, 14)),
        ((3, 4, 6, 7), (11, 7)),
        ((3, 4, 6, 7), (9, 6)),
        ((2, 4, 5, 6, 7), (3, 9, 11)),
        ((2, 4, 5, 6, 7), (7, 6, 7)),
        ((2, 4, 5, 6, 7), (7, 6, 9)),
        ((2, 4, 5, 6, 7), (5, 8, 7)),
        ((2, 4, 5, 6, 7), (2, 12, 14)),
    ]
    for shape, size in sizes:
        for dtype in ("float32", "complex128"):
            for mode in ("nearest", "nearest-exact"):
                x = cases.lay_out(noise(*shape, dtype=dtype), layout)
                forget()
                program = program_of(x, size=size, mode=mode)
                if (layout == "channels_last" and len(size) > 1) or size[-1] == shape[-1]:
                    assert kinds(program) == {"GatherAtOnce"}
                    assert pixels > 7 or len(program.cuts) > 1
                check(x, {"size": size, "mode": mode})
    forget()


def test_repeats_of_more_rows_than_a_tile_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile begins or ends, or both, between two rows of the source."""
    monkeypatch.setattr(_copies, "TILE_BYTES", 1024)
    x = noise(2, 3, 2, 20)
    assert kinds(program_of(x, scale_factor=(50, 2))) == {"Gather"}
    check(x, {"scale_factor": (50, 2)})


def test_axes_in_the_order_of_work() -> None:
    """Shrinking makes less of the array, so it comes first, and growing last; the cheaper of equals decides."""

    def order(arguments: dict[str, Any], *shape: int) -> list[int]:
        call = call_of(noise(*shape), **arguments)
        ways = list(_ways.ways(call.plan, call.source, call.out, (True, True)))
        assert sum(not way.packed for way in ways) == 2 * math.factorial(len(shape) - 2)
        return [each.position for each in min(ways, key=lambda way: way.ns).passes]

    assert order({"size": (540, 960), "mode": "bilinear", "antialias": True}, 1, 3, 1080, 1920) == [2, 3]
    assert order({"size": (540, 1920), "mode": "bilinear", "antialias": True}, 1, 3, 1080, 960) == [2, 3]
    assert order({"size": (1080, 960), "mode": "bilinear", "antialias": True}, 1, 3, 540, 1920) == [3, 2]
    assert order({"scale_factor": 2, "mode": "bilinear"}, 8, 64, 64, 64) == [3, 2]
    assert order({"size": (8, 16, 90), "mode": "trilinear"}, 2, 16, 32, 16, 30) == [2, 3, 4]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_photographs_are_not_transposed(dtype: str, channels: int) -> None:
    """Channels behind the pixels stay there, in blocks whose weights are diagonal matrices."""
    x = cases.lay_out(noise(1, channels, 270, 480, dtype=dtype), "channels_last")
    photographs: tuple[dict[str, Any], ...] = (
        {"size": (135, 240), "mode": "bilinear", "antialias": True},
        {"size": (101, 180), "mode": "bicubic", "antialias": True},
        {"scale_factor": 2, "mode": "bicubic"},
        {"scale_factor": 0.5, "mode": "area"},
    )
    for arguments in photographs:
        call = call_of(x, **arguments)
        way = min(_ways.ways(call.plan, call.source, call.out, (True, True)), key=lambda way: way.ns)
        found = {each.position: each.strategy for each in way.passes}
        if channels > 1:
            assert way.order == (0, 2, 3, 1)
            strategy = found[2]
            assert isinstance(strategy, Choice)
            assert strategy.channels == channels
        check(x, arguments)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced", "negative", "transposed"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "complex64", "uint8"])
def test_pixels_that_no_output_reads_do_not_matter(dtype: str, mode: str, layout: str) -> None:
    """Not even where they are not finite: they are left out, whatever lies between."""
    x = noise(2, 3, 300, 410, dtype=dtype)
    arguments: dict[str, Any] = {"size": (19, 23), "mode": mode}
    y = cupysample.interpolate(cases.lay_out(x, layout), **arguments)
    read = oracle.read(x.shape, dtype=dtype, **arguments)
    assert read.mean() < 0.2
    other = np.where(read, x, 255 if dtype == "uint8" else np.nan).astype(x.dtype)
    again = cupysample.interpolate(cases.lay_out(other, layout), **arguments)
    check(cases.lay_out(x, layout), arguments)
    if kinds(program_of(cases.lay_out(x, layout), **arguments)) & {"Take", "Gather", "GatherAtOnce"}:
        assert again.tobytes() == y.tobytes()
    else:  # what lies between weighs 0 in a product, so that it is made exactly
        assert (dtype, mode) in [("float32", "bicubic"), ("float64", "bicubic")]
        np.testing.assert_allclose(again, y, rtol=1e-5, atol=1e-6)


PARTS: dict[str, tuple[tuple[int, ...], Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "planes": ((1, 3, 2000, 3000), lambda x: x),
    "channels last": ((1, 2000, 3000, 3), lambda x: np.moveaxis(x, -1, 1)),
    "colours of four channels": ((1, 2000, 3000, 4), lambda x: np.moveaxis(x[..., :3], -1, 1)),
    "columns": ((1, 1, 900_000, 16), lambda x: x[..., :8]),
    "every other row": ((1, 3, 4000, 3000), lambda x: x[:, :, ::2]),
    "every other column": ((1, 3, 2000, 6000), lambda x: x[..., ::2]),
    "backwards": ((1, 3, 2000, 3000), lambda x: x[:, :, ::-1, ::-1]),
    "vectors, channels last": ((1, 900_000, 8), lambda x: np.moveaxis(x[..., :6], -1, 1)),
}
"""Parts of arrays, by their shape, whose axes are resampled to hardly any pixels."""


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_what_is_picked_is_not_copied_first(mode: str, name: str) -> None:
    """``np.take`` copies a window that has gaps."""
    shape, part = PARTS[name]
    x = part(noise(*shape, dtype="float16"))
    size = (70, 8 if x.shape[-1] == 8 else 90)[: x.ndim - 2]
    arguments: dict[str, Any] = {"size": size, "mode": "linear" if mode == "bilinear" and x.ndim == 3 else mode}
    check(x, arguments)
    _, peak = peak_of(lambda: cupysample.interpolate(x, **arguments))
    assert peak < x.nbytes / 8


def test_the_cheapest_strategy_is_the_first_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs decide, not the order of the table."""
    x, arguments = noise(2, 3, 32, 256), {"scale_factor": 0.5, "mode": "area"}
    for cost, expected in ((1e-6, {"Sum"}), (1e3, {"Product"})):
        monkeypatch.setattr(_ways, "SLICE_NS", {True: (0.0, cost), False: (0.0, cost)})
        monkeypatch.setattr(_ways, "CALL_NS", cost)
        assert kinds(program_of(x, **arguments)) - {"Finite"} == expected


# ---------------------------------------------------------------------------------------------------------------------
# Every strategy, forced


STRATEGIES: dict[str, Callable[[Way], bool]] = {
    "products": lambda way: all(isinstance(each.strategy, Choice) for each in way.passes),
    "slices": lambda way: any(isinstance(each.strategy, Slices) for each in way.passes),
    "channels from the right": lambda way: any(PASSES["channels from the right"](each.strategy) for each in way.passes),
    "packed": lambda way: bool(way.packed),
    "planar": lambda way: way.order[1] == 1,
    "interleaved": lambda way: way.order[1] != 1,
    "first axis first": lambda way: (
        [each.position for each in way.passes] == sorted(each.position for each in way.passes)
    ),
    "last axis first": lambda way: (
        [each.position for each in way.passes] == sorted((each.position for each in way.passes), reverse=True)
    ),
}


PASSES: dict[str, Callable[[Choice | Slices], bool]] = {
    "products": lambda strategy: isinstance(strategy, Choice),
    "slices": lambda strategy: isinstance(strategy, Slices),
    "channels from the right": lambda strategy: isinstance(strategy, Choice) and strategy.channels > 1,
}
"""Of a pass, where it has such a strategy."""


@pytest.fixture(params=STRATEGIES)
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ways of one kind, in small tiles, so that there are many, cut along every axis."""
    name: str = request.param
    ways, strategies = _ways.ways, _ways._strategies

    def some(*arguments: Any) -> Iterator[Way]:
        return iter([way for way in ways(*arguments) if STRATEGIES[name](way)] or list(ways(*arguments)))

    def split(*arguments: Any) -> Iterator[_ways.Pass]:
        found = list(strategies(*arguments))
        return iter([each for each in found if name not in PASSES or PASSES[name](each.strategy)] or found)

    monkeypatch.setattr(_ways, "ways", some)
    monkeypatch.setattr(_ways, "_strategies", split)
    for module in (_sums, _ways):
        monkeypatch.setattr(module, "TILE_BYTES", 4096)
    for bound in ("TILE_BYTES", "AT_ONCE_TILE"):
        monkeypatch.setattr(_copies, bound, 1024)
    forget()


def some_cases(n: int, seed: int, **only: Any) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    while n:
        case = cases.any_case(rng, **only)
        yield case
        n -= 1


@pytest.mark.usefixtures("forced")
def test_forced_strategies_are_right() -> None:
    for case in some_cases(400, 3):
        if case.dtype in cases.FLOATS or case.dtype == "uint8":
            x = case.input()
            actual, expected = cupysample.interpolate(x, **case.arguments), oracle.interpolate(x, **case.arguments)
            if case.dtype in cases.FLOATS and case.mode not in cases.POINT:
                bounds.assert_within(actual, expected, bounds.bound(x, dtype=case.dtype, **case.arguments), case=case)
            else:
                np.testing.assert_array_equal(actual, expected.astype(actual.dtype), err_msg=str(case))


@pytest.mark.usefixtures("forced")
def test_not_finite_values_reach_what_they_should() -> None:
    """Exactly the outputs whose window holds one, whatever the strategy, the tile and its neighbours."""
    rng = np.random.default_rng(5)
    for case in some_cases(400, 7):
        if case.dtype not in cases.FLOATS:
            continue
        x = case.values()
        x[rng.random(x.shape) < 0.03] = rng.choice([np.nan, np.inf, -np.inf])
        x = cases.lay_out(x, case.layout)
        y = cupysample.interpolate(x, **case.arguments)
        reached = oracle.reached(~np.isfinite(x), dtype=case.dtype, **case.arguments)
        np.testing.assert_array_equal(~np.isfinite(y), reached, err_msg=str(case))


LARGE: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "bilinear": ((4, 8, 96, 96), {"scale_factor": 2, "mode": "bilinear"}),
    "one row cut": ((1, 1, 3, 30000), {"size": (5, 30000), "mode": "bilinear"}),
    "columns cut": ((1, 64, 3, 10000), {"size": (5, 10000), "mode": "bicubic"}),
    "one plane": ((1, 2, 700, 800), {"size": (350, 300), "mode": "bicubic", "antialias": True}),
    "area": ((1, 3, 540, 960), {"size": (270, 480), "mode": "area"}),
    "odd area": ((1, 3, 540, 960), {"size": (200, 481), "mode": "area"}),
    "nearest": ((4, 8, 96, 96), {"size": (191, 250)}),
    "trilinear": ((2, 3, 20, 64, 60), {"scale_factor": 2, "mode": "trilinear"}),
    "linear": ((16, 8, 2048), {"scale_factor": 2, "mode": "linear"}),
    "irregular": ((2, 4, 333, 217), {"size": (401, 500), "mode": "bicubic"}),
    "skipping": ((2, 3, 900, 1400), {"size": (100, 80), "mode": "bilinear"}),
    "skipping columns": ((1, 40, 70, 3000), {"size": (100, 300), "mode": "bicubic"}),
    "skipping depths": ((1, 2, 90, 60, 80), {"size": (7, 20, 60), "mode": "trilinear"}),
    "picking": ((2, 3, 900, 1400), {"size": (101, 83)}),
}
"""Several tiles each, of every shape, without constants replaced."""


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("name", LARGE)
def test_large_arrays(name: str, dtype: str, layout: str) -> None:
    """Every output is written, whatever was there before, and right; one infinity spoils its window alone."""
    shape, arguments = LARGE[name]
    x = cases.lay_out(noise(*shape, dtype=dtype), layout)
    check(x, arguments)
    y = cupysample.interpolate(x, **arguments)
    first, second = np.full_like(y, 0), np.full_like(y, 1)
    for out in (first, second):
        cupysample.interpolate(x, **arguments, out=out)
    assert first.tobytes() == second.tobytes() == y.tobytes()
    if dtype != "uint8":
        read = np.argwhere(oracle.read((1, 1, *shape[2:]), dtype=dtype, **arguments))[:, 2:]
        middle = (shape[0] // 2, shape[1] // 2, *read[len(read) // 2])
        x[middle] = np.inf
        y = cupysample.interpolate(x, **arguments)
        special = np.zeros((1, 1, *shape[2:]), bool)
        special[0, 0][middle[2:]] = True
        reached = oracle.reached(special, dtype=dtype, **arguments)
        assert reached.any()
        np.testing.assert_array_equal(~np.isfinite(y[middle[:2]]), reached[0, 0])
        assert np.isfinite(y).sum() == y.size - reached.sum()


HALVED: dict[str, Any] = {"scale_factor": 0.5, "mode": "area"}
DOUBLED: dict[str, Any] = {"scale_factor": 2, "mode": "bilinear"}


def test_large_numbers_that_products_would_overflow() -> None:
    """Finite, but not their squares, nor sums of them: done exactly, and no infinity comes of it."""
    x = noise(2, 3, 40, 256)
    x[0, 0, 10, 20], x[1, 2, 30, 7] = 3e38, -3e38
    for arguments in HALVED, DOUBLED:
        assert np.isfinite(cupysample.interpolate(x, **arguments)).all()
        check(x, arguments)
    x[...] = 3e38
    assert np.isfinite(cupysample.interpolate(x, scale_factor=0.5, mode="area")).all()


def test_user_s_floating_point_errors_are_left_alone() -> None:
    x = noise(2, 3, 64, 64, dtype="float16")
    x[0, 0, 0, 0], x[1, 1, 5, 5] = np.inf, 6e-8
    with np.errstate(all="raise"):
        for mode in ("bilinear", "area", "nearest"):
            cupysample.interpolate(x, scale_factor=0.5, mode=mode)


def test_user_s_floating_point_errors_are_not_those_of_tables() -> None:
    """Which the first call builds: coordinates that fall on pixels underflow on the way."""
    x = np.ones((1, 1, 10, 10), np.float32)
    calls: list[tuple[NDArray[Any], dict[str, Any]]] = [
        (x[0], {"size": 37, "mode": "cubic"}),
        (x, {"size": (10, 20), "mode": "bilinear"}),
        (x, {"scale_factor": (1.0, 2.0), "mode": "bilinear"}),
        (x, {"size": (20, 37), "mode": "bicubic"}),
        (x, {"size": (5, 7), "mode": "bicubic", "antialias": True}),
        (x, {"size": (10, 3), "mode": "bilinear", "antialias": True}),
    ]
    forget()
    _taps._kept.clear()
    with np.errstate(all="raise"):
        for array, arguments in calls:
            y = cupysample.interpolate(array, **arguments)
            cupysample.interpolate_backward(y, array.shape, **arguments)


# ---------------------------------------------------------------------------------------------------------------------
# Fixed point


def test_fixed_point_has_the_bits_of_integers() -> None:
    """Products of floats against integer arithmetic: random pixels, and the extremes that give the largest sums."""
    rng = np.random.default_rng(11)
    seen = set()
    for case in some_cases(3000, 13, modes=("linear", "bilinear", "trilinear", "bicubic", "lanczos")):
        if case.dtype != "uint8":
            continue
        for x in (case.values(), rng.choice(np.array([0, 255], np.uint8), case.values().shape)):
            program = program_of(x, **case.arguments)
            if program.plan.arithmetic != "fixed":
                continue
            work = _ways._work(program.plan, "uint8")
            seen.add((work.dtype.name, work.offset))
            rows = [slice(0, n) for n in program.plan.size]
            expected = _exact.resample(program.plan, "uint8", x, rows)
            assert cupysample.interpolate(x, **case.arguments).tobytes() == expected.tobytes(), case
    assert seen == {("float32", 0), ("float32", 128), ("float64", 0)}


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_float32_serves_fixed_point_as_far_as_it_is_exact(mode: str) -> None:
    """Its 24 bits hold the largest sum of weights times 255, or times 128 where that is subtracted from the pixels, and what
    is added to round, the half and 128 times what the weights fall short of one: counted from the weights.
    """
    seen = set()
    for n_out in (200, 150, 100, 80, 60, 50, 40, 30, 25, 20, 10, 5):
        call = call_of(np.zeros((1, 1, 100, 100), np.uint8), size=(n_out, 100), mode=mode, antialias=True)
        axis = call.plan.axes[0]
        if axis.identity:
            continue
        weight, bits = axis.taps().weight, fixed_point_bits(axis)
        assert weight is not None
        largest = max(255 * sum(abs(w) for w in row) + 2 ** (bits - 1) for row in weight.tolist())
        centred = max(
            128 * sum(abs(w) for w in row) + abs(2 ** (bits - 1) + 128 * (sum(row) - 2**bits))
            for row in weight.tolist()
        )
        expected = ("float64", 0)
        if centred < 2**24 and 256 * 2**bits <= 2**24:
            expected = ("float32", 128)
        if largest < 2**24:
            expected = ("float32", 0)
        work = _ways._work(call.plan, "uint8")
        assert (work.dtype.name, work.offset) == expected
        seen.add(expected)
    assert seen == {("float32", 0), ("float64", 0)} | ({("float32", 128)} if mode != "bilinear" else set())


@pytest.mark.parametrize(("n_in", "n_out"), [(1920, 960), (1080, 405), (4096, 7), (64, 128), (3000, 2)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_fixed_point_at_the_extremes(mode: str, n_in: int, n_out: int) -> None:
    """Rows of pixels that are 255 where a weight is positive and 0 elsewhere, and the other way round."""
    arguments: dict[str, Any] = {"size": (1, n_out), "mode": mode, "antialias": True}
    plan = call_of(np.zeros((1, 1, 1, n_in), np.uint8), **arguments).plan
    taps = plan.axes[1].taps()
    assert taps.weight is not None
    for sign in (1, -1):
        x = np.zeros((len(taps.left), 1, 1, n_in), np.uint8)
        for i, (left, count) in enumerate(zip(taps.left, taps.count, strict=True)):
            x[i, 0, 0, left : left + count] = np.where(sign * taps.weight[i, :count] > 0, 255, 0)
        expected = _exact.resample(plan, "uint8", x, [slice(0, 1), slice(0, n_out)])
        np.testing.assert_array_equal(cupysample.interpolate(x, **arguments), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Means


@pytest.mark.parametrize("beside", [-1, 0, 1])
@pytest.mark.parametrize(
    ("extents", "work"),
    [
        ((65_535,), "float32"),
        ((65_536,), "float64"),
        ((255, 257), "float32"),
        ((15, 17, 257), "float32"),
        ((2, 40_000), "float64"),
    ],
)
def test_means_beside_a_half(extents: tuple[int, ...], work: str, beside: int) -> None:
    """Sums next to a half of the pixels, and ties, which go to the even one, of as many pixels as float32 serves and of more."""
    pixels = math.prod(extents)
    for k in (0, 1, 127, 128, 200, 253, 254):
        total = ((2 * k + 1) * pixels + beside * (1 + pixels % 2)) // 2
        x = np.full(pixels, total // pixels, np.uint8)
        x[: total % pixels] += 1
        x = np.random.default_rng(k).permutation(x).reshape(1, 1, *extents)
        call = call_of(x, size=1, mode="area")
        assert _ways._work(call.plan, "uint8").dtype == work
        double = 2 * total - (2 * k + 1) * pixels
        expected = k if double < 0 else k + 1 if double > 0 else k + k % 2
        assert cupysample.interpolate(x, size=1, mode="area").item() == expected


def test_means_of_windows_of_many_sizes() -> None:
    """The number of pixels differs along no axis, one, two or three; pixels in which halves are frequent."""
    rng = np.random.default_rng(5)
    for n in range(300):
        spatial, size = (tuple(np.exp2(rng.uniform(0, 6 - n % 3, 1 + n % 3)).astype(int).tolist()) for _ in range(2))
        x = rng.integers(0, 3, (2, 3, *spatial)).astype(np.uint8)
        x = cases.lay_out(x, ("contiguous", "channels_last", "transposed")[n // 3 % 3])
        expected = oracle.interpolate(x, size=size, mode="area").astype(np.uint8)
        np.testing.assert_array_equal(cupysample.interpolate(x, size=size, mode="area"), expected, f"{spatial} {size}")


# ---------------------------------------------------------------------------------------------------------------------
# 16-bit floats


def test_widened_float16() -> None:
    """All of them; what is not finite is not finite."""
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    y = np.empty(x.shape, np.float32)
    with np.errstate(over="ignore"):
        _rounding.widen_float16(x, y)
    finite = np.isfinite(x)
    assert y[finite].tobytes() == x[finite].astype(np.float32).tobytes()
    assert not np.isfinite(y[~finite]).any()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_narrowed(name: str) -> None:
    """Around every number of 16 bits and the middle between it and the next, and any bits: as NumPy and ml_dtypes round."""
    kind = np.dtype(np.float16 if name == "float16" else ml_dtypes.bfloat16)
    bits = np.arange(1 << 16, dtype=np.uint32)
    with np.errstate(all="ignore"):
        lower, upper = (each.astype(np.uint16).view(kind).astype(np.float64) for each in (bits, bits + 1))
        near = np.concatenate([lower + (upper - lower) * k / 8 for k in range(8)]).astype(np.float32)
        near = np.concatenate([near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))])
        anything = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, np.uint32).view(np.float32)
        x = np.concatenate([near, anything])
        x = x[~np.isnan(x)]
        expected = x.astype(kind).view(np.uint16)
        out = np.empty(x.shape, np.uint16)
        narrow = getattr(_rounding, f"narrow_{name}")
        narrow(x.copy(), np.empty(x.shape, np.uint32), out.view(np.float16) if name == "float16" else out)
    np.testing.assert_array_equal(out, expected)


# ---------------------------------------------------------------------------------------------------------------------
# What BLAS is given


def test_products_stay_in_one_thread_of_blas() -> None:
    """Below what OpenBLAS deals to threads of its own: 262 144 multiply-adds, and 10 000 elements of a dot product."""
    dots = 0
    for shape, arguments in LARGE.values():
        for layout in ("contiguous", "channels_last"):
            program = program_of(cases.lay_out(noise(*shape), layout), **arguments)
            for cut in program.cuts:
                for step in cut.steps:
                    if isinstance(step, _steps._Product):
                        width = step.x.shape[-2 if step.matrix_first else -1]
                        assert step.y.shape[-2] * step.y.shape[-1] * width < 1 << 18
                    if isinstance(step, _steps.Finite):
                        dots += 1
                        assert all(row.shape[-1] < 10_000 for row, _ in step.dots)
    assert dots


@pytest.mark.parametrize("n", [1, 7, 8191, 8192, 8193, 3 * 8192 + 5])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_finite_sees_every_element_and_no_other(n: int, rows: int, value: float) -> None:
    x = np.ones((rows, n + 2), np.float32)
    x[:, n:] = np.nan
    tile = _steps.Tile()
    tile.memories, tile.offsets = (x, x, x), (0, 0, 0)
    finite = _steps.Finite(_steps.Strided(_steps.SOURCE, 0, (rows, n), x.strides, x.dtype))
    assert finite(tile)
    for i in {0, n // 2, n - 1, n - n % 8192 - 1, n - n % 8192} & set(range(n)):
        x[-1, i] = value
        with np.errstate(over="ignore"):
            assert not finite(tile)
        x[-1, i] = 1


# ---------------------------------------------------------------------------------------------------------------------
# Memory


MEMORY: dict[str, tuple[tuple[int, ...], str, str, dict[str, Any]]] = {
    "bilinear": ((8, 64, 64, 64), "float32", "contiguous", {"scale_factor": 2, "mode": "bilinear"}),
    "channels_last": ((8, 64, 64, 64), "float32", "channels_last", {"scale_factor": 2, "mode": "bilinear"}),
    "sliced": ((8, 64, 64, 64), "float32", "sliced", {"scale_factor": 2, "mode": "bilinear"}),
    "float16": ((8, 64, 64, 64), "float16", "contiguous", {"scale_factor": 2, "mode": "bilinear"}),
    "bfloat16": ((8, 64, 64, 64), "bfloat16", "contiguous", {"scale_factor": 2, "mode": "bicubic"}),
    "complex64": ((4, 64, 64, 64), "complex64", "contiguous", {"scale_factor": 2, "mode": "bicubic"}),
    "int64": ((1, 3, 540, 960), "int64", "contiguous", {"scale_factor": 2, "mode": "bicubic"}),
    "photo": ((1, 3, 1080, 1920), "float32", "contiguous", {"size": (405, 720), "mode": "lanczos", "antialias": True}),
    "uint8 photo": (
        (1, 3, 1080, 1920),
        "uint8",
        "channels_last",
        {"size": (540, 960), "mode": "bilinear", "antialias": True},
    ),
    "uint8 area": ((1, 3, 1080, 1920), "uint8", "channels_last", {"size": (540, 960), "mode": "area"}),
    "thumbnail": (
        (1, 3, 2160, 3840),
        "float32",
        "contiguous",
        {"size": (16, 16), "mode": "bicubic", "antialias": True},
    ),
    "trilinear": ((2, 16, 32, 64, 64), "float32", "contiguous", {"scale_factor": 2, "mode": "trilinear"}),
    "nearest": ((8, 64, 64, 64), "float32", "contiguous", {"size": (100, 101)}),
    "nearest 3-D": ((2, 16, 32, 64, 64), "float32", "channels_last", {"size": (50, 60, 70)}),
    "area": ((1, 3, 1080, 1920), "float32", "contiguous", {"size": (500, 900), "mode": "area"}),
    "long": ((1, 1, 1 << 22), "float32", "contiguous", {"scale_factor": 2, "mode": "linear"}),
    "tables": ((1, 1, 400_000), "float32", "contiguous", {"size": 65_000, "mode": "cubic", "antialias": True}),
    "one of many": ((4, 3, 1 << 19), "float32", "contiguous", {"size": 1, "mode": "area"}),
    "gradient of long rows": (
        (1, 1, 20),
        "float32",
        "contiguous",
        {"input_size": (1, 1, 1_000_000), "size": 20, "mode": "lanczos", "antialias": True},
    ),
    "plane": ((1, 1, 1024, 1024), "float32", "contiguous", {"scale_factor": 4, "mode": "bicubic"}),
    "not finite": ((8, 64, 64, 64), "float32", "not finite", {"scale_factor": 2, "mode": "bilinear"}),
    "not finite, shrinking": (
        (1, 3, 1080, 1920),
        "float32",
        "not finite",
        {"size": (16, 16), "mode": "bicubic", "antialias": True},
    ),
    "wide windows": (
        (1, 1, 1000, 20_000),
        "float16",
        "contiguous",
        {"size": (2, 200), "mode": "bilinear", "antialias": True},
    ),
    "windows overlap": (
        (1, 1, 360, 8271),
        "int64",
        "contiguous",
        {"size": (237, 22917), "mode": "lanczos", "antialias": True},
    ),
    "exact means": ((1, 4, 840, 92), "uint8", "channels_last", {"size": (1442, 126), "mode": "area"}),
    "many weights": ((4, 1, 37_918), "uint8", "contiguous", {"size": 63_073, "mode": "lanczos", "antialias": True}),
    "many matrices": ((2, 3, 35_965), "bfloat16", "contiguous", {"size": 9951, "mode": "lanczos", "antialias": True}),
    "many calls": ((1, 5, 456_013), "float16", "channels_last", {"size": 104_448, "mode": "linear"}),
    "irregular": ((1, 3, 1080, 1920), "uint8", "channels_last", {"size": (777, 1111), "mode": "bilinear"}),
    "windows overlap in two axes": (
        (1, 1, 300, 24, 400),
        "int16",
        "contiguous",
        {"size": (3, 8, 40), "mode": "lanczos", "antialias": True},
    ),
    "fewer rows than taps": (
        (1, 1, 81, 408, 143),
        "int16",
        "channels_last",
        {"size": (2, 288, 13), "mode": "lanczos", "antialias": True},
    ),
    "picked backwards": ((1, 1, 1_441_293), "float64", "negative", {"size": 30_032, "mode": "linear"}),
    "gradient of normalised rows": (
        (1, 1, 100_000),
        "float64",
        "contiguous",
        {"input_size": (1, 1, 501_019), "size": 100_000, "mode": "lanczos", "antialias": True},
    ),
}


def laid_out(shape: tuple[int, ...], dtype: str, layout: str) -> NDArray[Any]:
    """Noise in a layout, or what is not finite."""
    x = noise(*shape, dtype=dtype)
    return np.full_like(x, np.nan) if layout == "not finite" else cases.lay_out(x, layout)


@pytest.mark.parametrize("name", MEMORY)
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_memory_is_bounded(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB and a tenth of the output beside it, tables of a first call included, however many threads."""
    shape, dtype, layout, arguments = MEMORY[name]
    x = laid_out(shape, dtype, layout)
    call: Any = cupysample.interpolate_backward if "input_size" in arguments else cupysample.interpolate
    monkeypatch.setattr(cupysample._threads, "_chosen", [threads])
    _taps._kept.clear()
    _taps._parts.clear()
    _blocks._pixels_read.clear()
    _blocks._matrices.clear()
    for kept in (_taps.fixed_point_bits, _taps._totals, _blocks.choose, _blocks._choices):
        kept.cache_clear()
    for _ in ("cold", "warm"):
        y, peak = peak_of(lambda: call(x, **arguments))
        assert peak <= y.nbytes * 1.1 + (16 << 20)


GAPS: dict[str, tuple[tuple[int, ...], str, str, dict[str, Any]]] = {
    "picked, with gaps": ((1, 3, 2000, 3000), "float32", "sliced", {"size": (1500, 2900)}),
    "left out, with gaps": ((16, 8, 80_000), "float32", "sliced", {"size": 20_500, "mode": "linear"}),
    "not finite, one axis grows": (
        (1, 4, 3000, 50),
        "float32",
        "not finite",
        {"size": (60, 2000), "mode": "bilinear", "antialias": True},
    ),
    "not finite, wide windows": (
        (1, 8, 880, 880),
        "float32",
        "not finite",
        {"size": (4, 4), "mode": "bilinear", "antialias": True},
    ),
}
COUNTED = {name: MEMORY[name] for name in ("int64", "not finite", "not finite, shrinking")}
COUNTED |= GAPS


@pytest.mark.parametrize("name", COUNTED)
def test_there_are_as_many_threads_as_memory_allows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what one of them takes, when it takes most: with what NumPy copies, or with what is not finite."""
    shape, dtype, layout, arguments = COUNTED[name]
    x = laid_out(shape, dtype, layout)
    asked = []

    def alone(work: Callable[[Iterator[Any]], None], pieces: list[Any], threads: int) -> None:
        asked.append(threads)
        cupysample._program._local.scratch = np.empty(0, np.uint8)
        work(iter(pieces))

    monkeypatch.setattr(cupysample._threads, "_chosen", [1000])
    monkeypatch.setattr(cupysample._threads, "deal", alone)
    for _ in ("cold", "warm"):
        y, peak = peak_of(lambda: cupysample.interpolate(x, **arguments))
    most = y.nbytes * 0.1 + (16 << 20)
    assert max(asked) * (peak - y.nbytes) <= most


MIXED: dict[str, tuple[tuple[int, ...], str, dict[str, Any], int]] = {
    "fixed": ((1, 3, 2, 30_000), "uint8", {"size": (9000, 9), "mode": "bilinear", "antialias": True}, 3),
    "floats": ((1, 2, 14, 4964), "float32", {"size": (13_225, 1), "mode": "bilinear", "antialias": True}, 1),
    "exact": ((1, 3, 2, 30_000), "int16", {"size": (900, 9), "mode": "bilinear", "antialias": True}, 3),
    "copies": ((1, 3, 1624, 4, 25), "float32", {"size": (1, 300, 113), "mode": "nearest"}, 3),
}


@pytest.mark.parametrize("name", MIXED)
def test_tiles_where_one_axis_grows_and_another_shrinks(name: str) -> None:
    """As large as they can be: each reads the long axis anew, so that thousands would take thousands of times as long."""
    shape, dtype, arguments, most = MIXED[name]
    x = noise(*shape, dtype=dtype)
    assert len(program_of(x, **arguments).cuts) <= most
    check(x, arguments)


def test_tiles_of_windows_beyond_what_memory_is_meant_for() -> None:
    """Not an output each: of a row of them every tile reads the long axis anew."""
    x = noise(1, 1, 150_000, 12, dtype="float64")
    assert len(program_of(x, size=(1, 3000), mode="bicubic", antialias=True).cuts) <= 30


def test_memory_of_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a complex array each part is made by some of many helpers, not all by the same, and each keeps what it worked in."""
    gradient = cases.lay_out(noise(1, 2, 16, 33, 5770, dtype="complex64"), "channels_last")
    monkeypatch.setattr(cupysample._threads, "_chosen", [16])
    pool = cupysample._threads._pool
    pool.end()
    pool.forget()
    pool.call(15, cupysample._threads._Job(lambda _: None, ()))  # they start
    shape, arguments = (1, 2, 14, 180, 70), {"size": (16, 33, 5770), "mode": "trilinear"}
    y, peak = peak_of(lambda: cupysample.interpolate_backward(gradient, shape, **arguments))  # type: ignore[arg-type]
    assert peak <= y.nbytes * 1.1 + (16 << 20)


def test_memory_of_a_thread_is_bounded() -> None:
    """Of steps and, if a tile is not finite, ``_exact``'s: where windows of a tile overlap in three axes too."""
    program = program_of(noise(1, 1, 16, 387, 344, dtype="uint8"), size=(6, 14, 898), mode="lanczos", antialias=True)
    assert "Product" in kinds(program)
    assert program.scratch + program.memory <= program.spare


def test_warm_calls_allocate_nothing_but_outputs() -> None:
    """Three layers, as a network has: NumPy allocates the three results."""
    x = noise(1, 3, 64, 64)

    def chain() -> list[NDArray[Any]]:
        a = cupysample.interpolate(x, scale_factor=2, mode="bilinear")
        b = cupysample.interpolate(a, size=(72, 100), mode="bicubic", antialias=True)
        return [a, b, cupysample.interpolate(b, scale_factor=2)]

    chain()
    tracemalloc.start()
    results = chain()
    taken = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    outputs = sum(each.nbytes for each in results)
    assert sum(trace.size for trace in taken.traces) == outputs
    assert peak < outputs + (x.nbytes >> 1)  # Python's objects, no pixels


@pytest.mark.parametrize(
    ("shape", "layout", "arguments", "most"),
    [
        ((1, 1, 130, 200_000), "contiguous", {"size": (131, 250_001)}, 3 << 20),
        ((1, 3, 2000, 6000), "channels_last", {"size": (1000, 3000), "mode": "lanczos", "antialias": True}, 2 << 20),
        ((1, 3, 2000, 3000), "contiguous", {"size": (999, 1501), "mode": "bicubic", "antialias": True}, 1 << 20),
    ],
)
def test_programs_hold_little_and_all_of_it_is_counted(
    shape: tuple[int, ...], layout: str, arguments: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many tiles of the same outputs of an axis, whose arrays are one."""
    # A helper would keep scratch memory from when it first helps.
    monkeypatch.setattr(cupysample._threads, "_chosen", [1])
    x = cases.lay_out(noise(*shape, dtype="uint8"), layout)
    for _ in range(2):  # tables of axes and scratch memory stay from the first
        forget()
        gc.collect()
        tracemalloc.start()
        cupysample.interpolate(x, **arguments)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    ((_, begin, end),) = _numpy._programs.values()
    assert held < most
    assert (end - begin) / 2 < held < (end - begin) * 1.1 + (1 << 14)


# ---------------------------------------------------------------------------------------------------------------------
# What is remembered


def test_byte_order_is_no_part_of_a_layout() -> None:
    """The same call on other bytes has another program, whichever comes first; whole numbers are finite either way round."""
    x = np.rint(noise(2, 3, 16, 16))
    for first, second in ((">f4", "<f4"), ("<f4", ">f4")):
        forget()
        for mode in ("bilinear", "nearest"):
            expected = oracle.interpolate(x, scale_factor=2, mode=mode)
            for dtype in (first, second, first):
                actual = cupysample.interpolate(x.astype(dtype), scale_factor=2, mode=mode)
                bounds.assert_within(actual, expected, 1e-6 * (mode != "nearest") + np.zeros(expected.shape))


def test_programs_are_forgotten_and_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_numpy, "PROGRAMS", 2)
    x = noise(1, 2, 9, 9)
    for _ in range(2):
        for n in range(3, 9):
            check(x, {"size": (n, n), "mode": "bilinear"})
            assert len(_numpy._programs) <= 2


def test_one_plan_serves_every_library() -> None:
    """A program knows layouts only."""
    plan = _plan.make("bilinear", "float32", (8, 8), (16, 16), None, False, False)
    layouts = [
        _arrays.Layout(shape, _steps.dense_strides(shape, 4), "float32", 4, None)
        for shape in ((1, 3, 8, 8), (1, 3, 16, 16))
    ]
    program = _numpy.prepare(plan, layouts[0], layouts[1], True, True)
    x, y = noise(1, 3, 8, 8), np.empty((1, 3, 16, 16), np.float32)
    program.run(x, y, lambda: 1)
    assert y.tobytes() == cupysample.interpolate(x, scale_factor=2, mode="bilinear").tobytes()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_channels_of_a_tile_that_reads_much_for_each_output(dtype: str) -> None:
    """Two of them, where a tile has but one: they are not multiplied together."""
    x = cases.lay_out(noise(1, 2, 900, 900, dtype=dtype), "channels_last")
    case = Case("lanczos", dtype, "channels_last", (1, 2), (900, 900), (2, 3), None, False, None, True)
    y = cupysample.interpolate(x, **case.arguments)
    expected = oracle.interpolate(x, **case.arguments)
    if dtype == "uint8":
        np.testing.assert_array_equal(y, expected)
    else:
        bounds.assert_within(y, expected, bounds.bound(x, **case.arguments), sane=1)


def test_channels_of_a_tile_that_gets_smaller() -> None:
    """All, where windows overlap so much that memory allows fewer outputs than there are channels in the matrices."""
    x = cases.lay_out(noise(1, 7, 227, 536, 14, dtype="uint8"), "channels_last")
    check(x, {"size": (8, 23, 1), "mode": "lanczos", "antialias": True})


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_copies_along_axes_without_tables(dtype: str) -> None:
    """More outputs than are tabulated, of every dtype."""
    x = noise(1, 2, 1000, dtype=dtype)
    y = cupysample.interpolate(x, size=300_000)
    assert y.tobytes() == oracle.interpolate(x, size=300_000).tobytes()


@pytest.mark.parametrize(("most", "nbytes"), [(4, 30), (3, 60)])
def test_what_is_kept_is_bounded_in_number_and_in_bytes(most: int, nbytes: int) -> None:
    """The newest stay; the bytes of each are counted once."""
    counted: list[Any] = []

    class Each:
        @property
        def nbytes(self) -> int:
            counted.append(self)
            return 10

    kept: dict[int, _kept.Entry[Each]] = {}
    each = [_kept.keep(kept, n, Each(), most, nbytes) for n in range(6)]
    assert counted == each
    assert list(kept) == [3, 4, 5]
    for n in (3, 6):  # one that is there is the newest then, and counts once
        _kept.keep(kept, n, Each(), most, nbytes)
    assert list(kept) == [5, 3, 6]


@pytest.mark.parametrize("arguments", [{"mode": "bilinear"}, {"mode": "bicubic", "antialias": True}])
def test_an_axis_is_cut_once(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """For every number of rows from either side, whatever the order of memory and of the axes; and then as is chosen."""
    windows, cuts = _blocks._windows, Counter[Any]()

    def counted(taps: _taps.Taps, rows: int, end: int) -> Any:
        cuts[len(taps.left), rows] += 1
        return windows(taps, rows, end)

    _blocks.choose.cache_clear()
    _blocks._choices.cache_clear()
    monkeypatch.setattr(_blocks, "_windows", counted)
    program_of(noise(1, 3, 70, 90), size=(31, 47), **arguments)
    assert {n for n, _ in cuts} == {31, 47}
    assert max(cuts.values()) <= 4  # channels may lie behind the axis too


def test_a_picture_with_the_sides_of_others_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither rows nor matrices: what a data loader needs for every size but its first ones."""
    arguments: dict[str, Any] = {"size": (31, 47), "mode": "bilinear", "antialias": True}
    for height, width in (71, 90), (83, 99):
        cupysample.interpolate(noise(1, 3, height, width), **arguments)
    x, built = noise(1, 3, 71, 99), rows_built(monkeypatch)
    monkeypatch.setattr(_blocks, "_stretches", None)
    y = cupysample.interpolate(x, **arguments)
    assert not built
    np.testing.assert_allclose(y, oracle.interpolate(x, **arguments), atol=1e-5)


def test_stretches_are_as_long_as_they_can_be(rng: np.random.Generator) -> None:
    for _ in range(300):
        pixel = np.cumsum(rng.integers(0, 3, rng.integers(0, 30)))
        found = _blocks._equally_spaced(pixel)
        assert [k for first, last in found for k in range(first, last)] == list(range(len(pixel)))
        for first, last in found:
            assert len(set(np.diff(pixel[first:last]))) <= 1
            assert last == len(pixel) or len(set(np.diff(pixel[first : last + 1]))) > 1


LONG: dict[str, tuple[tuple[int, ...], str, dict[str, Any]]] = {
    "nearest": ((5, 3, 1000), "uint8", {"size": 300_000}),
    "linear": ((5, 3, 1000), "float32", {"size": 140_000, "mode": "linear"}),
    "uint8": ((1, 2, 30, 1000), "uint8", {"size": (20, 70_000), "mode": "bicubic"}),
    "H": ((1, 2, 1000, 30), "float32", {"size": (70_000, 5), "mode": "bicubic"}),
    "antialias": ((5, 3, 30_000), "float64", {"size": 40_000, "mode": "lanczos", "antialias": True}),
    "both": ((1, 1, 3, 4), "float32", {"size": (60, 1400), "mode": "bicubic"}),
}


@pytest.mark.parametrize("name", LONG)
def test_rows_of_a_long_axis_are_built_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all planes and rows, of outputs and of gradients; of two such axes those of the last, which has longer parts."""
    shape, dtype, arguments = LONG[name]
    if name == "both":
        monkeypatch.setattr(_taps, "KEPT_WEIGHTS", 1000)
        monkeypatch.setattr(_taps, "PARTS", 2)
        monkeypatch.setattr(_numpy, "PART_WEIGHTS", 1000)
        monkeypatch.setattr(_numpy, "TILE_ELEMENTS", 2000)
    x = noise(*shape, dtype=dtype)
    y = cupysample.interpolate(x, **arguments)
    calls: list[tuple[tuple[int, ...], Callable[[], Any]]] = [(y.shape, lambda: cupysample.interpolate(x, **arguments))]
    if dtype != "uint8":
        calls.append((shape, lambda: cupysample.interpolate_backward(y, shape, **arguments)))
    monkeypatch.setattr(cupysample._threads, "_chosen", [1])
    for outputs, call in calls:
        call()  # a program is made, and short axes are tabulated
        _taps._parts.clear()
        with monkeypatch.context() as patch:
            built = rows_built(patch)
            call()
        assert sum(built) <= 2 * sum(outputs[2:])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic", "area"])
def test_rows_of_a_long_axis_that_repeats_itself_are_built_once(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all tiles but those at its ends, where it is doubled, halved or the like; and the results are right."""
    monkeypatch.setattr(cupysample._threads, "_chosen", [1])  # two may build the same rows at a time
    built = rows_built(monkeypatch)
    for n_in, n_out in (280_000, 560_000), (560_000, 280_000), (105_000, 280_000):
        _taps._parts.clear()
        built.clear()
        check(noise(1, 1, n_in, dtype="float64"), {"size": n_out, "mode": mode})
        assert sum(built) < n_out / 5


def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and matrices of long axes, whatever the sizes; the newest stays, and results stay right. Pixels that are read."""
    forget()
    _taps._kept.clear()
    _blocks._pixels_read.clear()
    monkeypatch.setattr(_blocks, "KEPT_MATRICES_BYTES", 400_000)
    monkeypatch.setattr(_blocks, "PICKED_BYTES", 30_000)
    monkeypatch.setattr(_taps, "TAPS_BYTES", 3_000_000)
    monkeypatch.setattr(_numpy, "PROGRAMS_BYTES", 500_000)
    bounds: list[tuple[dict[Any, _kept.Entry[Any]], int]] = [
        (_taps._kept, 3_000_000),
        (_numpy._programs, 500_000),
        (_blocks._matrices, 400_000),
    ]
    x = noise(1, 1, 3, 3000)
    for n in range(20):
        y = cupysample.interpolate(x, size=(3, 40_001 + n), mode="bicubic")
        for kept, most in bounds:
            assert all(end - begin == each.nbytes for each, begin, end in kept.values())
            assert sum(each.nbytes for each, _, _ in kept.values()) <= most or len(kept) == 1
    for kept, _ in bounds:
        assert 0 < len(kept) < 20
        assert [*kept.values()][-1][0].nbytes > 0
    again = cupysample.interpolate(x, size=(3, 40_020), mode="bicubic")
    np.testing.assert_array_equal(again, y)
    for n in range(9):
        cupysample.interpolate(x, size=(3, 300 + n), mode="bilinear")
        assert sum(pixels.nbytes for pixels, _, _ in _blocks._pixels_read.values()) <= 30_000
    assert 0 < len(_blocks._pixels_read) < 9
