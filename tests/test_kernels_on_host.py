"""The shipped kernels, run on the CPU: the launches a GPU would get, from the text it would compile.

Copies, integers and uint8 have the bits of the NumPy path; floats agree with the definition within the bound. (tests
of the harness itself are in test_harness.py; what only a device can show is in test_gpu.py.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cupysample
from cupysample import _launch, _view
from tests import bounds, cases, launches, oracle
from tests.cases import Case
from tests.host.harness import HostKernels, Job, races, replay_sanitized

pytestmark = pytest.mark.host

RANDOM_CASES = 5_000
RANDOM_PARTS = 5
NATIVE_LAYOUTS = [layout for layout in cases.LAYOUTS if layout != "big-endian"]


@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    """Every instance, compiled with g++."""
    return launches.build_all()


def check(case: Case, x: NDArray[Any], actual: NDArray[Any]) -> None:
    """Against the NumPy path to the bit, or against the definition within the bound."""
    on_numpy = cupysample.interpolate(x, **case.arguments)
    assert actual.shape == on_numpy.shape
    assert actual.strides == on_numpy.strides
    if case.dtype in cases.FLOATS and case.mode not in cases.POINT:
        tolerance = bounds.bound(x, dtype=case.dtype, **case.arguments)
        bounds.assert_within(actual, oracle.interpolate(x, **case.arguments), tolerance)
    else:
        assert actual.tobytes() == on_numpy.tobytes(), case


def grid(repeats: int = 1) -> Iterator[Case]:
    """Every cell that exists on a device."""
    rng = np.random.default_rng(3)
    for mode, dims in cases.MODES.items():
        for dimensions in dims:
            for dtype in cases.dtypes(mode):
                for layout, size_rule, variant in cases.cells(mode):
                    if layout in NATIVE_LAYOUTS:
                        for _ in range(repeats):
                            yield cases.random_case(rng, mode, dimensions, dtype, layout, size_rule, variant)


def test_grid(kernels: HostKernels, request: pytest.FixtureRequest) -> None:
    """Every mode, dimension, dtype, layout, size rule and option."""
    for case in grid(5 if request.config.getoption("--exhaustive") else 1):
        x = case.input()
        check(case, x, launches.run(kernels, x, **case.arguments))


@pytest.mark.parametrize("part", range(RANDOM_PARTS))
def test_random_calls(kernels: HostKernels, part: int) -> None:
    """Random calls, with any number of blocks, so that the grid-stride loop turns."""
    rng = np.random.default_rng([7, part])
    done = 0
    while done < RANDOM_CASES // RANDOM_PARTS:
        case = cases.any_case(rng)
        if case.layout in NATIVE_LAYOUTS:
            x = case.input()
            check(case, x, launches.run(kernels, x, blocks=int(rng.integers(0, 4)), **case.arguments))
            done += 1


def some(n: int, seed: int) -> list[Case]:
    """Cases that cover every mode, dimension and dtype, then random ones."""
    rng = np.random.default_rng(seed)
    covering = [
        cases.random_case(
            rng, mode, dimensions, dtype, str(rng.choice(NATIVE_LAYOUTS)), "size", cases.variants(mode)[-1]
        )
        for mode, dims in cases.MODES.items()
        for dimensions in dims
        for dtype in cases.dtypes(mode)
    ]
    while len(covering) < n:
        case = cases.any_case(rng)
        if case.layout in NATIVE_LAYOUTS:
            covering.append(case)
    return covering


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16", "complex64"])
def test_what_lies_between_the_elements_of_out_is_left_alone(kernels: HostKernels, dtype: str, mode: str) -> None:
    """Rows of out have gaps between pixels, or between the elements of a pixel."""
    x = np.moveaxis(cases.values(np.random.default_rng(1), (1, 12, 12, 8), dtype), -1, 1)
    for (height, width), planar in itertools.product(((24, 24), (24, 5), (5, 1)), (False, True)):
        shape = (1, 8, height, 2 * width) if planar else (1, height, width, 16)
        for part in (slice(0, None, 2),) if planar else (slice(1, 9), slice(0, 8), slice(0, 16, 2)):
            whole = cases.values(np.random.default_rng(2), shape, dtype)
            before, out = whole.copy(), whole[..., part] if planar else np.moveaxis(whole[..., part], -1, 1)
            arguments: dict[str, Any] = {"size": (height, width), "mode": mode}
            launches.run(kernels, x, out=out, **arguments)
            if dtype in cases.FLOATS and mode != "nearest":
                tolerance = bounds.bound(x, dtype=dtype, **arguments)
                bounds.assert_within(out, oracle.interpolate(x, **arguments), tolerance)
            else:
                np.testing.assert_array_equal(out, cupysample.interpolate(x, **arguments))
            whole[..., part] = before[..., part]
            assert whole.tobytes() == before.tobytes()


def test_long_offsets(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instances with 64-bit offsets give the same bits."""
    for case in some(600, 11):
        x = case.input()
        with launches.general(), monkeypatch.context() as patch:
            short = launches.run(kernels, x, **case.arguments)
            patch.setattr(_view, "_fits_int32", lambda *_: False)
            assert launches.run(kernels, x, **case.arguments).tobytes() == short.tobytes(), case


def test_computed_rows_are_the_tabulated_ones(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows computed by a thread, as on axes too long for a table: the same bits."""
    for case in some(1500, 13):
        if case.mode in cases.POINT:
            continue
        x = case.input()
        with launches.general(), monkeypatch.context() as patch:
            table = launches.run(kernels, x, **case.arguments)
            patch.setattr(_launch, "has_table", lambda _: False)
            computed = launches.run(kernels, x, **case.arguments)
        assert computed.tobytes() == table.tobytes(), case


def check_close(case: Case, x: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
    """Twice the bound for floats; one unit for integers, whose weights may differ in their last bit."""
    if case.dtype in cases.FLOATS:
        tolerance = bounds.bound(x, dtype=case.dtype, **case.arguments)
        bounds.assert_within(a, b.astype(oracle.interpolate(x, **case.arguments).dtype), 2 * tolerance)
    else:
        wide = np.float64 if a.dtype.itemsize < 8 else np.longdouble
        assert (abs(a.astype(wide) - b.astype(wide)) <= 1 + 1e-14 * abs(b.astype(wide))).all(), case


def test_axes_beyond_float32(kernels: HostKernels) -> None:
    """More than 2**22 pixels: coordinates in float64, rows computed by the threads, the NumPy path in chunks."""
    n = (1 << 22) + 5
    for dtype in ("float32", "uint8", "int16"):
        x = cases.values(np.random.default_rng(0), (1, 1, n), dtype)
        for mode in ("nearest", "nearest-exact", "area", "linear", "cubic"):
            size = n // 2 + 1
            a = launches.run(kernels, x, size=size, mode=mode)
            b = cupysample.interpolate(x, size=size, mode=mode)
            if dtype == "float32" and mode not in cases.POINT:
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
            else:
                np.testing.assert_array_equal(a, b)


def test_means_of_more_pixels_than_32_bits_hold_the_sum_of(kernels: HostKernels) -> None:
    """The kernel that computes rows counts with 64; that of tables, up to 2^24 pixels, does not."""
    for height, width, computed in ((4094, 4095, "0"), (4105, 4104, "1")):
        x = np.broadcast_to(np.uint8(255), (1, 1, height, width))
        plan, out = launches.plan_and_output(x, size=1, mode="area")
        tables = launches.Tables()
        made = launches.launch(plan, x, out, tables)
        assert dict(made.defines)["CS_COMPUTED"] == computed
    assert height * width * 255 >= 1 << 32
    launches.execute(kernels, made, x.ctypes.data, out.ctypes.data)
    assert out.item() == 255


@pytest.mark.parametrize("order", ["reversed", 1, 2, 3])
def test_bits_do_not_depend_on_the_order_of_threads(kernels: HostKernels, order: Any) -> None:
    for case in some(300, 17)[::2]:
        x = case.input()
        first = launches.run(kernels, x, **case.arguments)
        assert launches.run(kernels, x, order=order, blocks=3, **case.arguments).tobytes() == first.tobytes(), case


def test_non_finite_values_reach_the_same_outputs(kernels: HostKernels) -> None:
    """NaN and infinities: what is non-finite on NumPy is non-finite here, and nothing else."""
    rng = np.random.default_rng(19)
    for case in some(800, 23):
        if case.dtype not in cases.FLOATS:
            continue
        x = case.values()
        x[rng.random(x.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
        a = launches.run(kernels, x, **case.arguments)
        b = cupysample.interpolate(x, **case.arguments)
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))


def sampled_jobs(exhaustive: bool) -> list[tuple[Job, NDArray[Any]]]:
    """Launches that cover every mode, dimension and dtype, small enough for a log of every access."""
    jobs = []
    for case in some(0, 29) if not exhaustive else list(grid()):
        x = case.input()
        if x.size <= 4000:
            jobs.append(launches.job(x, blocks=3, **case.arguments))
    return jobs


def test_jobs_are_the_launches(kernels: HostKernels) -> None:
    """What the sanitizers and the log see is what the other tests run."""
    for case in some(0, 31)[::7]:
        x = case.input()
        packed, out = launches.job(x, **case.arguments)
        result = launches.unpack(packed, out, kernels.run(packed))
        np.testing.assert_array_equal(result, launches.run(kernels, x, **case.arguments))


def test_sanitizers(kernels: HostKernels, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """AddressSanitizer and UBSan see nothing, guard zones stay untouched, and the bits are those of the plain build."""
    exhaustive = request.config.getoption("--exhaustive")
    jobs = [packed for packed, _ in sampled_jobs(exhaustive)]
    monkeypatch.setattr(_launch, "has_table", lambda _: False)
    jobs += [packed for packed, _ in sampled_jobs(exhaustive=False)[:: 1 if exhaustive else 3]]
    replay_sanitized(kernels, jobs)


def test_no_two_threads_touch_one_byte(request: pytest.FixtureRequest) -> None:
    """Every output is written once, by one thread, and nothing that is read is written."""
    jobs = sampled_jobs(request.config.getoption("--exhaustive"))[::2]
    wanted = {packed.kernel for packed, _ in jobs}
    logged = launches.build_all("log", wanted.__contains__)
    for packed, _ in jobs:
        assert not races(logged.log(packed)), packed.kernel
