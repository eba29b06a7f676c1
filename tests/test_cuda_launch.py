"""The launch as data: what is folded together, which instance, which grid, what is computed instead of tabulated."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cupysample import _launch, _plan, _tables, _tuning, _view
from cupysample._arrays import Layout
from cupysample._launch import Launch, Table
from cupysample._made import best_runs
from cupysample._tables import Kind
from cupysample._taps import Axis
from cupysample._tuning import MULTIPROCESSORS
from cupysample._view import Dim, View
from tests import cases, launches


def launch(x: np.ndarray, out: np.ndarray, mode: str = "bilinear", *, antialias: bool = False) -> Launch:
    """The launch that resamples ``x`` into ``out``."""
    plan = _plan.make(mode, x.dtype.name, x.shape[2:], out.shape[2:], None, False, antialias)
    return _launch.launch(plan, launches.layout(x, 0), launches.layout(out, 0), launches.nowhere)


def batch(made: Launch) -> list[tuple[int, ...]]:
    """(extent, source stride, out stride) of outer, outer, inner."""
    geometry = made.geometry[0]
    batches = (*geometry["outer"], geometry["inner"])
    return [(int(b["extent"]["value"]), int(b["source_stride"]), int(b["out_stride"])) for b in batches]


def empty(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Untouched memory of any size: only its shape and strides are read."""
    return np.lib.stride_tricks.as_strided(
        np.empty(1, dtype), shape, tuple(np.cumprod((1, *shape[:0:-1]))[::-1] * np.dtype(dtype).itemsize)
    )


def test_nchw_folds_batch_and_channels() -> None:
    made = launch(empty(2, 3, 4, 5), empty(2, 3, 8, 10))
    assert batch(made) == [(1, 0, 0), (6, 20, 80), (1, 0, 0)]


def test_nhwc_has_its_channels_inside() -> None:
    x, out = empty(2, 4, 5, 3).transpose(0, 3, 1, 2), empty(2, 8, 10, 3).transpose(0, 3, 1, 2)
    made = launch(x, out)
    assert batch(made) == [(1, 0, 0), (2, 60, 240), (3, 1, 1)]
    assert made.geometry[0]["axis"]["source_stride"].tolist() == [15, 3]
    assert made.geometry[0]["axis"]["out_stride"].tolist() == [30, 3]


def test_sliced_batch_and_channels_stay_apart() -> None:
    x = empty(4, 6, 4, 5)[::2, ::2]
    assert batch(launch(x, empty(2, 3, 8, 10))) == [(2, 240, 240), (3, 40, 80), (1, 0, 0)]


def test_complex_numbers_are_two_reals() -> None:
    made = launch(empty(2, 3, 4, 5, dtype=np.complex64), empty(2, 3, 8, 10, dtype=np.complex64))
    assert batch(made) == [(1, 0, 0), (6, 40, 160), (2, 1, 1)]
    assert ("CS_TYPE", "CS_FLOAT32") in made.defines


def test_complex_channels_last_is_one_inner_dimension() -> None:
    x = empty(2, 4, 5, 3, dtype=np.complex64).transpose(0, 3, 1, 2)
    out = empty(2, 8, 10, 3, dtype=np.complex64).transpose(0, 3, 1, 2)
    assert batch(launch(x, out)) == [(1, 0, 0), (2, 120, 480), (6, 1, 1)]


def test_complex_copies_are_whole_elements() -> None:
    made = launch(empty(1, 1, 4, 5, dtype=np.complex128), empty(1, 1, 8, 10, dtype=np.complex128), "nearest")
    assert ("CS_TYPE", "CS_BITS128") in made.defines
    assert batch(made)[2] == (1, 0, 0)


@pytest.mark.parametrize(
    ("shape", "index"),
    [((1, 1, 2**10, 2**10), "int"), ((1, 2**11, 2**10, 2**9), "int"), ((1, 2**12, 2**10, 2**10), "long long")],
)
def test_indices_are_as_wide_as_the_offsets_need(shape: tuple[int, ...], index: str) -> None:
    with launches.general():
        made = launch(empty(*shape), empty(shape[0], shape[1], 1, 1))
        assert ("CS_INDEX", index) in made.defines
        made = launch(empty(shape[0], shape[1], 1, 1), empty(*shape))
        assert ("CS_INDEX", index) in made.defines


def test_a_strided_view_of_few_elements_may_need_long_offsets() -> None:
    x = np.lib.stride_tricks.as_strided(np.empty(1, np.uint8), (1, 2, 2, 2), (0, 2**33, 2, 1))
    with launches.general():
        assert ("CS_INDEX", "long long") in launch(x, empty(1, 2, 4, 4, dtype=np.uint8)).defines
    assert launch(x, empty(1, 2, 4, 4, dtype=np.uint8)).kernel == "few_taps"  # 32 bits inside of a row, 64 between
    x = np.lib.stride_tricks.as_strided(np.empty(1, np.uint8), (1, 2, 2, 2), (0, 1, 2, 2**33))
    assert launch(x, empty(1, 2, 4, 4, dtype=np.uint8)).kernel == "resample"


def test_pixels_past_an_int_are_left_to_the_general_kernels() -> None:
    for n_in, kernel in ((2**30, "few_taps"), (2**31, "nearest")):
        assert (
            launch(empty(1, 1, n_in, 1, dtype=np.uint8), empty(1, 1, 4, 1, dtype=np.uint8), "nearest").kernel == kernel
        )


MOST = _view.indices() - 1


@pytest.mark.parametrize(
    ("spatial", "row", "source", "out", "inner", "itemsize"),
    [
        # pixels along H and W, stride of a source's row, strides of its columns and out's, inner's extent and strides, itemsize
        ((2, 2), 0, MOST - 2, 0, (3, 1, 0), 1),
        ((2, 2), 0, 2 - MOST, 0, (3, -1, 0), 1),
        ((2, 2), 0, 0, MOST - 2, (3, 0, 1), 1),
        ((2, 2), 0, 0, 2 - MOST, (3, 0, -1), 1),
        ((2, 2), MOST, 0, 0, (1, 0, 0), 1),
        ((2, 2), -MOST, 0, 0, (1, 0, 0), 1),
        ((2, 2), MOST // 8, 0, 0, (1, 0, 0), 8),
        ((2, 2), 0, MOST // 8, 0, (1, 0, 0), 8),
        ((2, 2), 0, 0, MOST // 8, (1, 0, 0), 8),
        ((MOST, 2), 0, 0, 0, (1, 0, 0), 1),
        ((2, MOST), 0, 0, 0, (1, 0, 0), 1),
        ((2, MOST // 4), 0, 0, 0, (4, 0, 0), 1),
    ],
)
def test_offsets_fit_up_to_the_last_one(
    spatial: tuple[int, int], row: int, source: int, out: int, inner: tuple[int, int, int], itemsize: int
) -> None:
    """Any of them alone, in bytes, and one more does not."""
    for more, fits in ((0, True), (1, False)):
        height, width = (n + more * (n > 2) for n in spatial)
        row_stride, source_stride, out_stride = (each + more * ((each > 0) - (each < 0)) for each in (row, source, out))
        plan = _plan.make("nearest", "uint8", (height, width), (2, 2), None, False, False)
        axes = Dim(2, row_stride, 0), Dim(2, source_stride, out_stride)
        view = View("bits8", itemsize, (Dim(1, 0, 0), Dim(1, 0, 0)), axes, Dim(*inner), False, 16, 16)
        assert _view.offsets_fit(plan, view) == fits


@pytest.mark.parametrize(
    ("shape", "strides", "parts"),
    [
        ((1, 1, 1, MOST), (0, 0, 0, 0), 1),
        ((1, 1, 1, MOST // 2), (0, 0, 0, 0), 2),
        ((1, 1, 1, 2), (0, 0, 0, MOST - 1), 1),
        ((1, 1, 2, 2), (0, 0, 1, MOST - 3), 2),
        ((1, 1, 2, 2), (0, 0, -1, 2 - MOST), 1),
    ],
)
def test_indices_are_short_up_to_the_last_one(shape: tuple[int, ...], strides: tuple[int, ...], parts: int) -> None:
    assert _view._fits_int32(shape, strides, parts)
    *others, last = shape if shape[-1] > 2 else strides
    beyond = *others, last + (1 if last > 0 else -1)
    assert not _view._fits_int32(*((beyond, strides) if shape[-1] > 2 else (shape, beyond)), parts)


@pytest.mark.parametrize(
    ("kernel", "general", "mode", "dtype", "spatial", "size"),
    [
        ("few_taps", "nearest", "nearest", np.uint8, (8, 8), (8, 16)),
        ("few_taps", "resample", "bilinear", np.float32, (8, 8), (8, 16)),
        ("band", "resample", "bilinear", np.float32, (8, 160), (5, 16)),
        ("band_integer", "resample", "bilinear", np.int16, (8, 160), (5, 16)),
        ("band_walk", "resample", "bilinear", np.float16, (24, 256), (12, 64)),
    ],
)
def test_planes_past_an_int_are_left_to_the_general_kernels(
    kernel: str, general: str, mode: str, dtype: Any, spatial: tuple[int, int], size: tuple[int, int]
) -> None:
    chosen = []
    for batch in (3, 2**16):
        x, out = (empty(batch, 2**15, *each, dtype=dtype) for each in (spatial, size))
        chosen.append(launch(x, out, mode, antialias=size < spatial).kernel)
    assert chosen == [kernel, general]


@pytest.mark.parametrize("axes", [2, 3])
def test_rows_and_depths_past_an_int_are_left_to_the_general_kernels(axes: int) -> None:
    chosen = []
    for rows in (2**30, 2**31):
        shape = (rows, *(2,) * (axes - 1))
        chosen.append(launch(empty(1, 1, *(2,) * axes), empty(1, 1, *shape), "nearest").kernel)
    assert chosen == ["few_taps", "nearest"]


def test_grid_covers_any_number_of_outputs() -> None:
    made = launch(empty(1, 1, 4, 5), empty(1, 1, 8, 10))
    assert made.grid == (1, 8, 1)
    made = launch(empty(1, 1, 300_000, 4), empty(1, 1, 600_000, 4))
    assert made.grid[1] <= 65535
    made = launch(empty(70_000, 70_000, 1, 1), empty(70_000, 70_000, 2, 2))
    assert 1 <= made.grid[0] < 2**31
    assert made.grid[1:] == (1, 1)


@pytest.mark.parametrize(
    ("kernel", "batch", "spatial", "size", "axis", "blocks"),
    [
        ("few_taps", (2**13, 2**15), (2, 2), (4, 4), 0, _tuning.MAX_BLOCKS),
        ("nearest", (2**16, 2**15), (2, 2), (4, 4), 0, _tuning.MAX_BLOCKS),
        ("few_taps", (1, 1), (2, 2), (2**30, 2), 1, 65535),
        ("few_taps", (1, 1), (2, 2, 2), (2**30, 2, 2), 2, 65535),
    ],
)
def test_grids_are_within_the_limits_of_the_driver_and_of_an_int(
    kernel: str, batch: tuple[int, int], spatial: tuple[int, ...], size: tuple[int, ...], axis: int, blocks: int
) -> None:
    made = launch(empty(*batch, *spatial), empty(*batch, *size), "nearest")
    assert (made.kernel, made.grid[axis]) == (kernel, blocks)


def test_runs_are_the_best_of_all(rng: np.random.Generator) -> None:
    """The first of those that take least time: a run takes its rows and so many more to start, once for all that are resident."""
    for _ in range(3000):
        blocks, rows, start = (int(rng.integers(1, most)) for most in (rng.choice([3, 2000]), 700, 12))
        resident, longest = MULTIPROCESSORS * int(rng.integers(1, 14)), int(rng.integers(1, rows + 1))
        alone = float(rng.choice([0.1, 0.4, 1.0]))
        least = -(-rows // longest)
        runs = np.arange(least, min(rows, least + 2 * MULTIPROCESSORS) + 1)
        full, rest = np.divmod(blocks * runs, resident)
        rest += np.where(full == 0, -rest % MULTIPROCESSORS, 0)
        time = (full + np.where(rest > 0, np.maximum(alone, rest / resident), 0)) * (-(-rows // runs) + start)
        assert best_runs(blocks, resident, rows, longest, start, alone) == runs[time.argmin()]


def test_in_one_dimension_no_threads_wait_for_a_second_depth() -> None:
    made = launch(empty(2, 3, 8), empty(2, 3, 16), "linear")
    assert (made.grid[2], made.block) == (1, (128, 1, 1))


def test_axes_too_long_for_a_table_are_computed() -> None:
    def refuse(of: list[tuple[Axis, Kind]]) -> list[Table]:
        raise AssertionError(of)

    n = 2**21
    plan = _plan.make("linear", "float32", (n,), (2 * n,), None, False, False)
    source = Layout((1, 1, n), (4 * n, 4 * n, 4), "float32", 4, 0)
    out = Layout((1, 1, 2 * n), (8 * n, 8 * n, 4), "float32", 4, 0)
    made = _launch.launch(plan, source, out, refuse)
    assert ("CS_COMPUTED", "1") in made.defines
    axis = made.geometry[0]["axis"][0]
    assert (axis["method"], axis["step"], axis["in_double"]) == (_launch.METHOD_NUMBERS["linear"], 0.5, 0)
    assert not _tables.has_table(Axis("linear-antialias", 2**30, 100, 1e7, False, "float32"))
    assert not _tables.has_table(Axis("linear-antialias", 2**31, 2, 2.0**30, False, "float32"))
    for n_in in (2**31 - 1, 2**31):  # whose pixels tables count in an int
        assert _tables.has_table(Axis("linear", n_in, 2, 2.0**30, False, "float32")) == (n_in < 2**31)


def test_every_launch_is_a_listed_instance() -> None:
    known = set(_launch.instances())
    for dtype, row in _plan.DTYPES.items():
        for mode, entry in _plan.MODES.items():
            if row.arithmetic == "copy" and entry.interpolates:
                continue
            for dimensions in entry.dimensions:
                if dtype == "bool" and mode == "area":
                    continue
                size_in, size_out = (5,) * dimensions, (7,) * dimensions
                plan = _plan.make(mode, dtype, size_in, size_out, None, False, entry.only_antialias)
                itemsize = {"bfloat16": 2}.get(dtype) or np.dtype(dtype).itemsize
                strides = (itemsize,) * (dimensions + 2)
                made = _launch.launch(
                    plan,
                    Layout((1, 1, *size_in), strides, dtype, itemsize, 0),
                    Layout((1, 1, *size_out), strides, dtype, itemsize, 0),
                    launches.nowhere,
                )
                assert (made.kernel, made.defines) in known


def test_calls_ask_for_instances_of_their_method_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random calls and gradients, also where offsets are taken to be long, and axes to be too long for a table."""
    rng = np.random.default_rng(61)
    of_method = cache(lambda *key: set(_launch.instances_of(*key)))
    fits, fit, tabulated = _view._fits_int32, _view.offsets_fit, _tables.has_table
    wrong = []
    for n in range(4000):
        case = cases.any_case(rng)
        if case.layout == "big-endian":
            continue
        short, tables = n % 5 > 0, n % 3 > 0
        launches.tune(
            monkeypatch,
            _fits_int32=fits if short else lambda *_: False,
            offsets_fit=fit if short else lambda *_: False,
            has_table=tabulated if tables else lambda _: False,
        )
        x, method = case.input(), _plan.method_of(case.mode, case.antialias)
        if case.layout == "channels_last" and n % 2:  # gaps between channels
            x = cases.lay_out(np.repeat(case.values(), 2, axis=1), case.layout)[:, ::2]
        plan, y = launches.plan_and_output(x, **case.arguments)
        calls = [(False, plan, x, y)]
        if case.dtype in cases.FLOATS:
            adjoint, gradient = launches.plan_and_gradient(y, x.shape, **case.arguments)
            calls.append((True, adjoint, y, gradient))
        for transposed, each, source, target in calls:
            made = launches.launch(each, source, target, launches.nowhere)
            if (made.kernel, made.defines) not in of_method(len(case.spatial), case.dtype, method, transposed):
                wrong.append((case, transposed, made.kernel, made.defines))
    assert not wrong


@pytest.mark.parametrize(
    ("method", "transposed", "instances"),
    [
        ("nearest", False, 7),
        ("linear", False, 17),
        ("cubic", False, 44),
        ("area", False, 50),
        ("linear", True, 50),
    ],
)
def test_a_method_has_few_instances(method: str, transposed: bool, instances: int) -> None:
    """Of float16 in 2-D; copies of what keeps its size and general kernels are among them."""
    assert len(_launch.instances_of(2, "float16", method, transposed)) == instances


def test_strides_that_are_no_multiple_of_the_element_are_refused() -> None:
    x = np.lib.stride_tricks.as_strided(np.empty(64, np.uint8).view(np.float32), (1, 1, 2, 2), (0, 0, 6, 4))
    with pytest.raises(
        ValueError, match=r"input: strides must be multiples of the element's 4 bytes, got \(0, 0, 6, 4\)"
    ):
        launch(x, empty(1, 1, 4, 4))


def test_geometry_is_the_kernels_struct() -> None:
    """Field order, sizes and the absence of padding: kernels/geometry.cuh."""
    from cupysample import _kernels

    text = (_kernels.folder() / "geometry.cuh").read_text()
    for struct, dtype in {"Divisor": _launch._DIVISOR, "Batch": _launch._BATCH, "Axis": _launch._AXIS}.items():
        assert _fields(text, struct) == list(dtype.names or ())
    assert _fields(text, "Geometry") == ["outer", "inner", "axis", *(_launch._SHARE.names or ())]
    assert _launch.geometry_dtype(2).itemsize == 3 * 32 + 2 * 88 + 4 * 8 + 7 * 16


NUMBERS = st.one_of(st.integers(1, 2**31), st.integers(1, 1000), st.integers(0, 31).map(lambda n: 1 << n))


@given(divisor=NUMBERS, number=st.integers(0, 2**31 - 1), difference=st.integers(-1, 1))
@example(divisor=1, number=2**31 - 1, difference=0)
@example(divisor=2**31, number=2**31 - 1, difference=0)
@example(divisor=2**31 - 1, number=2**31 - 1, difference=0)
def test_a_division_is_a_product(divisor: int, number: int, difference: int) -> None:
    """``operator/`` of kernels/geometry.cuh, in 32 bits; for multiples of the divisor and their neighbours too."""
    value, multiplier, shift = _launch._divisor(divisor)
    assert value == divisor
    assert multiplier < 2**32
    for n in (number, min(max(number // divisor * divisor + difference, 0), 2**31 - 1)):
        assert (2 * n * multiplier >> 32) >> shift == n // divisor


def _fields(text: str, struct: str) -> list[str]:
    """Names of the members of a C struct, which come before its functions."""
    body = re.split(r"};|__device__", text.split(f"struct {struct} {{")[1], maxsplit=1)[0]
    statements = "".join(line.split("//")[0] for line in body.splitlines()).split(";")
    names = []
    for statement in statements:
        names += [part.split()[-1].lstrip("*").split("[")[0] for part in statement.split(",") if part.strip()]
    return names
