"""Gradients are the exact adjoint of the forward call: to the oracle's transposes, to dot products, to torch's autograd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import cupysample
from cupysample import _launch
from tests import bounds, cases, cupy_on_host, launches, oracle
from tests.cases import Case
from tests.host.harness import HostKernels, Job, races, replay_sanitized
from tests.known_differences import DIFFERENCES, GRADIENTS, SATURATED, NotAdjoint

RANDOM_CASES = 10_000
RANDOM_PARTS = 10


def float_case(rng: np.random.Generator) -> Case:
    """A random call of a dtype that has a gradient."""
    while True:
        case = cases.any_case(rng)
        if case.dtype in cases.FLOATS:
            return case


def gradient(case: Case) -> NDArray[Any]:
    """A gradient of the call's output, in the call's layout, read-only."""
    shape = (*case.batch, *oracle.output_size(case.spatial, case.size, case.scale_factor))
    g = cases.lay_out(cases.values(np.random.default_rng(case.seed), shape, case.dtype), case.layout)
    g.flags.writeable = False
    return g


def backward(case: Case, g: Any) -> Any:
    """The gradient of the call's input."""
    return cupysample.interpolate_backward(g, (*case.batch, *case.spatial), **case.arguments)


def check(case: Case, g: NDArray[Any], actual: NDArray[Any]) -> None:
    """Within the bound of the oracle's transposed matrices."""
    expected = oracle.backward(g, case.spatial, **case.arguments)
    assert actual.dtype == g.dtype.newbyteorder("=")
    tolerance = bounds.backward_bound(g, case.spatial, dtype=case.dtype, **case.arguments)
    bounds.assert_within(actual, expected, tolerance, case=case, sane=1)


@pytest.mark.parametrize("mode", cases.MODES)
def test_grid(mode: str) -> None:
    """Every dimension, dtype, layout, size rule and option."""
    rng = np.random.default_rng(list(mode.encode()))
    for dimensions in cases.MODES[mode]:
        for dtype in cases.FLOATS:
            for cell in cases.cells(mode):
                case = cases.random_case(rng, mode, dimensions, dtype, *cell)
                g = gradient(case)
                check(case, g, backward(case, g))


@pytest.mark.parametrize("part", range(RANDOM_PARTS))
def test_random_calls(part: int) -> None:
    rng = np.random.default_rng([43, part])
    for _ in range(RANDOM_CASES // RANDOM_PARTS):
        case = float_case(rng)
        g = gradient(case)
        check(case, g, backward(case, g))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_adjoint(dtype: str) -> None:
    """⟨v, A u⟩ = ⟨Aᵀ v, u⟩ to the rounding of the accumulate type: every mode, dimension, layout, size rule and option."""
    rng = np.random.default_rng(47)
    for case in (
        cases.random_case(rng, mode, dimensions, dtype, *cell)
        for mode in cases.MODES
        for dimensions in cases.MODES[mode]
        for cell in 2 * list(cases.cells(mode))
    ):
        u, v = case.input(), gradient(case)
        forward = np.vdot(v, cupysample.interpolate(u, **case.arguments))
        adjoint = np.vdot(backward(case, v), u)
        scale = np.vdot(abs(v), abs(cupysample.interpolate(abs(u), **case.arguments))).real + abs(v).sum()
        assert abs(forward - adjoint) <= 64 * float(np.finfo(dtype).eps) * scale * max(1, float(abs(u).max())), case


def test_torchs_autograd() -> None:
    """Equal to torch's gradient in float64, where torch's is the adjoint of its forward."""
    rng = np.random.default_rng(53)
    compared = 0
    while compared < 400:
        case = Case(**{**vars(float_case(rng)), "dtype": "float64", "layout": "contiguous"})
        torch_has = case.mode not in ("cubic", "tricubic") and not (case.mode == "lanczos" and len(case.spatial) != 2)
        torch_has &= not case.antialias or len(case.spatial) == 2
        # With a user's factor torch's nearest and antialias are not adjoint to themselves.
        if not torch_has or case.scale_factor is not None or any(row.when(case) for row in DIFFERENCES):
            continue
        x = torch.from_numpy(case.values()).requires_grad_()
        y = F.interpolate(x, **case.arguments)
        g = cases.values(rng, tuple(y.shape), "float64")
        y.backward(torch.from_numpy(g))
        assert x.grad is not None
        np.testing.assert_allclose(backward(case, g), x.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=str(case))
        compared += 1


@pytest.mark.parametrize("row", GRADIENTS, ids=lambda row: f"{row.arguments}")
def test_where_torch_is_not_adjoint(row: NotAdjoint) -> None:
    """Each row still describes torch; here the two products agree to rounding."""

    def gap(function: Any) -> float:
        generator = torch.Generator().manual_seed(0)
        u = torch.rand(row.shape, dtype=torch.float64, generator=generator).requires_grad_()
        y = function(u, **row.arguments)
        v = torch.rand(y.shape, dtype=torch.float64, generator=generator)
        y.backward(v)
        assert u.grad is not None
        forward: float = (v * y).sum().item()
        adjoint: float = (u.grad * u).sum().item()
        return 100 * abs(forward - adjoint) / abs(forward)

    assert gap(F.interpolate) == pytest.approx(row.percent, abs=0.06)
    assert gap(cupysample.interpolate) < 1e-12


@pytest.mark.parametrize(("dtype", "sum_of_torch"), SATURATED.items())
def test_half_gradients_of_area_are_whole(dtype: str, sum_of_torch: int) -> None:
    g = torch.ones(1, 1, 128, 128, dtype=getattr(torch, dtype))
    for function, expected in ((F.interpolate, sum_of_torch), (cupysample.interpolate, 16384)):
        x = torch.zeros(1, 1, 1, 1, dtype=g.dtype, requires_grad=True)
        function(x, size=(128, 128), mode="area").backward(g)
        assert x.grad is not None
        assert x.grad.item() == expected


def test_the_readme_has_these_numbers() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"up to {max(row.percent for row in GRADIENTS)} %" in text
    assert f"{SATURATED['float16']} in float16 and {SATURATED['bfloat16']} in bfloat16" in text


def test_by_hand() -> None:
    g = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    np.testing.assert_array_equal(cupysample.interpolate_backward(g, (1, 1, 2), scale_factor=2), [[[3, 7]]])
    linear = cupysample.interpolate_backward(g, (1, 1, 2), scale_factor=2, mode="linear")
    np.testing.assert_array_equal(linear, [[[1 + 1.5 + 0.75, 0.5 + 2.25 + 4]]])
    pixels_never_read = cupysample.interpolate_backward(g, (1, 1, 8), size=4)
    np.testing.assert_array_equal(pixels_never_read, [[[1, 0, 2, 0, 3, 0, 4, 0]]])


def test_half_precision_sums_do_not_saturate() -> None:
    """16384 ones: torch's kernels stop at 2048 in float16 where they add in that type."""
    for dtype in ("float16", "bfloat16"):
        g = np.ones((1, 1, 128, 128), cases.numpy_dtype(dtype))
        for mode in ("nearest", "bilinear"):
            assert cupysample.interpolate_backward(g, (1, 1, 1, 1), size=(128, 128), mode=mode).item() == 16384


def test_pixels_without_outputs_have_no_gradient_whatever_is_beside_them() -> None:
    """An infinite gradient reaches the pixels its output read, and no other."""
    g = np.ones((1, 1, 4))
    g[0, 0, 1] = np.inf
    np.testing.assert_array_equal(
        cupysample.interpolate_backward(g, (1, 1, 8), size=4), [[[1, 0, np.inf, 0, 1, 0, 1, 0]]]
    )


@pytest.mark.parametrize(("mode", "dtype"), [("nearest", "float32"), ("bilinear", ">f4"), ("bicubic", "float64")])
def test_tiles_without_a_pixel_that_was_read(mode: str, dtype: str) -> None:
    """A large image made tiny without antialias: most of its gradient is 0, whole tiles of it; here by the sparse few."""
    g = cases.values(np.random.default_rng(0), (1, 1, 2, 50), "float64").astype(dtype)
    y = cupysample.interpolate_backward(g, (1, 1, 2000, 5000), size=(2, 50), mode=mode)
    rows, columns = (np.flatnonzero(abs(y[0, 0]).sum(axis)) for axis in (1, 0))
    assert len(rows) <= 8
    assert len(columns) <= 200
    case = Case(mode, y.dtype.name, "contiguous", (1, 1), (2000, 5000), (2, 50), None, False, None, False)
    check(case, g, y)


def test_integers_have_no_gradient_and_shapes_are_checked() -> None:
    g = np.ones((1, 2, 4, 4), np.float32)
    with pytest.raises(
        NotImplementedError, match="grad_output: only float and complex dtypes have gradients, got uint8"
    ):
        cupysample.interpolate_backward(g.astype(np.uint8), (1, 2, 2, 2), size=4)
    with pytest.raises(NotImplementedError, match="dtype object is not implemented for mode 'nearest'"):
        cupysample.interpolate_backward(g.astype(object), (1, 2, 2, 2), size=4)
    with pytest.raises(ValueError, match=r"grad_output: must have the shape of the output, \(1, 2, 6, 6\)"):
        cupysample.interpolate_backward(g, (1, 2, 3, 3), scale_factor=2)
    with pytest.raises(ValueError, match=r"input_size: must have the dimensions, batch and channels of grad_output"):
        cupysample.interpolate_backward(g, (2, 2, 2, 2), size=4)
    for wrong in (None, 3, (1, 2, 2.0, 2), "1222", (1, 2, True, 2)):
        for x in (g, torch.from_numpy(g)):
            with pytest.raises(TypeError, match="input_size: must be a sequence of ints"):
                cupysample.interpolate_backward(x, wrong, size=4)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="Input and output sizes should be greater than 0"):
        cupysample.interpolate_backward(g, (1, 2, 0, 2), size=4)
    with pytest.raises(TypeError, match="grad_output: must be a numpy"):
        cupysample.interpolate_backward([1.0], (1, 1, 1), size=1)


def test_out_and_memory_format() -> None:
    g = cases.lay_out(cases.values(np.random.default_rng(0), (2, 3, 8, 6), "float32"), "channels_last")
    expected = cupysample.interpolate_backward(g, (2, 3, 4, 3), size=(8, 6), mode="bicubic")
    assert expected.strides == (4 * 3 * 3 * 4, 4, 3 * 3 * 4, 3 * 4)
    row = cupysample.interpolate_backward(g[:, :, 0], (2, 3, 4), size=6, mode="linear")
    assert row.flags.c_contiguous  # there is no such format of three dimensions
    out = np.full((2, 3, 8, 6), np.nan, np.float32)[:, :, ::2, ::2]
    assert cupysample.interpolate_backward(g, (2, 3, 4, 3), size=(8, 6), mode="bicubic", out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert cupysample.interpolate_backward(np.ones((0, 3, 4, 4)), (0, 3, 2, 2), size=4).shape == (0, 3, 2, 2)


# ---------------------------------------------------------------------------------------------------------------------
# The kernels on the host


@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    return launches.build_all()


def run(kernels: HostKernels, case: Case, g: NDArray[Any], **options: Any) -> NDArray[Any]:
    """The gradient by the kernels."""
    return launches.run_backward(kernels, g, (*case.batch, *case.spatial), **options, **case.arguments)


def native_cases(n: int, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    found: list[Case] = []
    while len(found) < n:
        case = float_case(rng)
        if case.layout != "big-endian":
            found.append(case)
    return found


@pytest.mark.host
def test_kernels(kernels: HostKernels) -> None:
    """Within the bound, whatever the order of threads and the number of blocks."""
    for case in native_cases(3000, 59):
        g = gradient(case)
        y = run(kernels, case, g, blocks=3)
        check(case, g, y)
        assert run(kernels, case, g, order=5).tobytes() == y.tobytes(), case


@pytest.mark.host
def test_bits_repeat(kernels: HostKernels) -> None:
    """Twenty runs of the NumPy path and twenty orders of threads, mode by mode."""
    rng = np.random.default_rng(67)
    for mode, dimensions in cases.MODES.items():
        case = cases.random_case(rng, mode, dimensions[-1], "float32", *next(iter(cases.cells(mode))))
        g = gradient(case)
        first, launched = backward(case, g).tobytes(), run(kernels, case, g).tobytes()
        for order in range(20):
            assert backward(case, g).tobytes() == first, case
            assert run(kernels, case, g, order=order).tobytes() == launched, case


@pytest.mark.host
def test_kernels_that_compute_their_rows(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transpose found by bisection has the bits of the tabulated one."""
    for case in native_cases(1000, 61):
        g = gradient(case)
        with launches.general(), monkeypatch.context() as patch:
            table = run(kernels, case, g)
            patch.setattr(_launch, "has_table", lambda _: False)
            computed = run(kernels, case, g)
        assert computed.tobytes() == table.tobytes(), case


@pytest.mark.host
def test_sanitizers_and_races(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """No access out of bounds, no undefined arithmetic, no byte that two threads touch; from tables and computed."""

    def jobs(seed: int) -> list[Job]:
        packed = []
        for case in native_cases(150, seed):
            g = gradient(case)
            plan, out = launches.plan_and_gradient(g, (*case.batch, *case.spatial), **case.arguments)
            packed.append(launches.pack(plan, g, out, blocks=3))
        return packed

    some = jobs(71)
    monkeypatch.setattr(_launch, "has_table", lambda _: False)
    some += jobs(73)
    replay_sanitized(kernels, some)
    logged = launches.build_all("log", {job.kernel for job in some}.__contains__)
    for job in some[::3]:
        assert not races(logged.log(job)), job.kernel


@pytest.mark.host
def test_cupy_arrays(kernels: HostKernels) -> None:
    with cupy_on_host.installed(kernels) as (_, driver):
        for case in native_cases(200, 67):
            g = gradient(case)
            y = backward(case, cupy_on_host.Array(None, values=g))
            assert isinstance(y, cupy_on_host.Array)
            check(case, g, y.values)
        assert driver.launched


def test_torch_tensors() -> None:
    g = torch.randn(2, 3, 8, 6, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    y = cupysample.interpolate_backward(g, (2, 3, 4, 3), size=(8, 6), mode="bilinear")
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    x = torch.zeros(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    F.interpolate(x, size=(8, 6), mode="bilinear").backward(g.double())
    assert x.grad is not None
    torch.testing.assert_close(y.double(), x.grad, rtol=2**-8, atol=2**-9)
