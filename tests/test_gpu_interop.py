"""Gradients, torch, foreign arrays, streams and graphs, where only a device can show them."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import cupysample
from cupysample import _cuda, _kernels
from tests import bounds, cases, oracle, test_gpu
from tests.cases import Case
from tests.threads import together

pytestmark = pytest.mark.gpu

CALLS: list[dict[str, Any]] = [
    {"scale_factor": 2.3},
    {"size": (13, 40), "mode": "bilinear"},
    {"size": (13, 40), "mode": "bicubic", "align_corners": True},
    {"size": (7, 5), "mode": "bilinear", "antialias": True},
    {"size": (7, 31), "mode": "lanczos", "antialias": True},
    {"size": (6, 31), "mode": "area"},
]


@pytest.fixture(scope="module")
def cupy() -> Any:
    """CuPy with a device that answers; the marker skips where there is none."""
    import cupy

    return cupy


@pytest.fixture(scope="module")
def torch() -> Any:
    """Torch with a device that answers."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA device")
    return torch


def noise(torch: Any, *shape: int, seed: int = 0, **options: Any) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(values).to(**({"device": "cuda", "dtype": torch.float32} | options))


# ---------------------------------------------------------------------------------------------------------------------
# Gradients


@pytest.mark.parametrize("mode", cases.MODES)
def test_gradients_are_the_oracles_transposes(cupy: Any, mode: str) -> None:
    """Every float and complex dtype, the definition's own transpose within its bound, the same bits twenty times."""
    rng = np.random.default_rng([71, *mode.encode()])
    cells = list(cases.cells(mode))
    for n in range(60):
        dtype = cases.FLOATS[n % len(cases.FLOATS)]
        dimensions = cases.MODES[mode][n % len(cases.MODES[mode])]
        case: Case = cases.random_case(rng, mode, dimensions, dtype, *cells[n % len(cells)])
        shape = (*case.batch, *case.spatial)
        if 0 in shape:
            continue
        size = cupysample.interpolate(case.values(), **case.arguments).shape
        g = cases.values(rng, size, dtype)
        x = cupy.asarray(g)
        first = cupysample.interpolate_backward(x, shape, **case.arguments).get()
        expected = oracle.backward(g, case.spatial, **case.arguments)
        tolerance = bounds.backward_bound(g, case.spatial, dtype=dtype, **case.arguments)
        bounds.assert_within(first, expected, tolerance, case=case)
        for _ in range(20):
            again = cupysample.interpolate_backward(x, shape, **case.arguments).get()
            assert again.tobytes() == first.tobytes(), case


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_autograd_on_the_device(torch: Any, call: dict[str, Any]) -> None:
    """Gradient, double gradient, vmap and jvp, on the device's own memory format; equal to the CPU's."""
    for memory_format in (torch.contiguous_format, torch.channels_last):
        leaf = noise(torch, 2, 3, 14, 17).contiguous(memory_format=memory_format).requires_grad_()
        y = cupysample.interpolate(leaf, **call)
        assert y.is_contiguous(memory_format=memory_format)
        g = noise(torch, *y.shape, seed=1)
        (gradient,) = torch.autograd.grad(y, leaf, g, create_graph=True)
        host = leaf.detach().cpu().requires_grad_()
        cupysample.interpolate(host, **call).backward(g.cpu())
        torch.testing.assert_close(gradient.detach().cpu(), host.grad, rtol=1e-5, atol=1e-5)
    x = leaf.detach()
    run = lambda x: cupysample.interpolate(x, **call)  # noqa: E731
    assert torch.autograd.gradcheck(run, (x.double()[:1, :1, :4, :5].requires_grad_(),), check_forward_ad=True)
    torch.testing.assert_close(torch.func.vmap(run)(x[:, None]), run(x[:, None].flatten(0, 1))[:, None])
    torch.testing.assert_close(torch.func.jvp(run, (x,), (2 * x,))[1], run(2 * x), rtol=1e-5, atol=1e-5)


def test_half_gradients_are_whole(torch: Any) -> None:
    """16384 ones onto one pixel: float32 sums, where torch's atomics saturate at 2048."""
    for dtype in (torch.float16, torch.bfloat16):
        for mode in ("nearest", "bilinear", "area"):
            x = torch.zeros(1, 1, 1, 1, dtype=dtype, device="cuda", requires_grad=True)
            cupysample.interpolate(x, size=(128, 128), mode=mode).backward(
                torch.ones(1, 1, 128, 128, dtype=dtype, device="cuda")
            )
            assert x.grad.item() == 16384


def test_autocast_gives_torchs_dtype(torch: Any) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for mode in ("nearest", "bilinear", "bicubic", "area"):
            x = noise(torch, 1, 2, 8, 8, dtype=dtype)
            with torch.autocast("cuda", torch.float16):
                expected = torch.nn.functional.interpolate(x, scale_factor=2, mode=mode).dtype
                assert cupysample.interpolate(x, scale_factor=2, mode=mode).dtype == expected, (dtype, mode)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_every_dtype_of_tensors(torch: Any, dtype: str) -> None:
    """What comes back is a tensor of the dtype on the device; copies and integers have the CPU's bits."""
    values = cases.values(np.random.default_rng(3), (2, 3, 9, 8), dtype)
    host = (
        torch.from_numpy(values.view(np.uint16)).view(torch.bfloat16)
        if dtype == "bfloat16"
        else torch.from_numpy(values)
    )
    for mode in ("nearest", "bilinear", "area"):
        if dtype not in cases.dtypes(mode):
            continue
        y = cupysample.interpolate(host.cuda(), size=(13, 5), mode=mode)
        expected = cupysample.interpolate(host, size=(13, 5), mode=mode)
        assert (y.dtype, y.device.type) == (expected.dtype, "cuda")
        if mode == "nearest" or dtype not in cases.FLOATS:
            assert torch.equal(y.cpu().view(torch.uint8), expected.view(torch.uint8)), mode
        else:
            torch.testing.assert_close(y.cpu(), expected)


def test_compiled_on_the_device(torch: Any) -> None:
    run = lambda x: cupysample.interpolate(x * 2, scale_factor=2, mode="bilinear") + 1  # noqa: E731
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    a, b = (noise(torch, 2, 3, 9, 8).requires_grad_() for _ in range(2))
    compiled(a).square().sum().backward()
    run(b).square().sum().backward()
    assert torch.equal(a.grad, b.grad)


# ---------------------------------------------------------------------------------------------------------------------
# torch's streams, graphs, allocator


def test_backward_runs_on_the_stream_of_forward(torch: Any) -> None:
    """Autograd's thread launches on the forward's stream: what is enqueued there is seen."""
    stream = torch.cuda.Stream()
    for n in range(10):
        with torch.cuda.stream(stream):
            x = torch.zeros(1, 4, 256, 256, device="cuda", requires_grad=True)
            y = cupysample.interpolate(x, scale_factor=2, mode="bilinear")
            torch.cuda._sleep(2_000_000)
            g = torch.full_like(y, float(n))
            y.backward(g)
            total = x.grad.mean()
        stream.synchronize()
        assert total.item() == pytest.approx(4 * n, rel=1e-5)


def test_memory_is_not_reused_too_early(torch: Any) -> None:
    """Inputs freed right after the call, on a stream that lags behind: the block is reused behind the kernel."""
    stream = torch.cuda.Stream()
    results = []
    with torch.cuda.stream(stream):
        for n in range(50):
            torch.cuda._sleep(500_000)
            x = torch.full((1, 4, 256, 256), float(n), device="cuda")
            results.append(cupysample.interpolate(x, scale_factor=2, mode="bilinear"))
            del x
    stream.synchronize()
    for n, y in enumerate(results):
        assert y.min().item() == y.max().item() == n


def test_torch_graph(torch: Any) -> None:
    """Warmed up, the call is captured by ``torch.cuda.graph``: one kernel, torch's pool, right on replay."""
    x = noise(torch, 2, 3, 40, 50)
    cupysample.warmup(x, scale_factor=2, mode="bicubic")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = cupysample.interpolate(x, scale_factor=2, mode="bicubic")
    x.mul_(3)
    y.zero_()
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(y, cupysample.interpolate(x, scale_factor=2, mode="bicubic"), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty:UserWarning")  # torch, of the capture that was given up
def test_torch_graph_of_a_cold_call_raises(torch: Any) -> None:
    x = noise(torch, 1, 1, 31, 37)
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match=r"cupysample\.warmup"), torch.cuda.graph(graph):
        cupysample.interpolate(x, size=(59, 53), mode="bicubic")
    torch.cuda.synchronize()
    assert cupysample.interpolate(x, size=(59, 53), mode="bicubic").shape == (1, 1, 59, 53)


def test_results_are_on_the_tensors_device(torch: Any) -> None:  # noqa: ARG001 - there must be one
    """In a process that has used the last device alone, torch may still take the first for the current one."""
    text = """
import cupysample, torch
x = torch.ones(1, 1, 4, 4, device=f"cuda:{torch.cuda.device_count() - 1}", requires_grad=True)
for input in (x, x[:0], x.detach()):
    y = cupysample.interpolate(input, scale_factor=2, mode="bilinear")
    assert y.device == x.device
    assert (y == 1).all()
cupysample.interpolate(x, scale_factor=2).sum().backward()
assert x.grad.device == x.device
assert (x.grad == 4).all()
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_zero_copy_of_tensors(torch: Any) -> None:
    """A call allocates its output, in torch's allocator, and nothing else: no copy of a channels_last tensor."""
    for x in (
        noise(torch, 2, 8, 64, 64).contiguous(memory_format=torch.channels_last),
        noise(torch, 2, 8, 64, 128)[..., ::2],
    ):
        cupysample.interpolate(x, scale_factor=2)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        y = cupysample.interpolate(x, scale_factor=2)
        assert torch.cuda.max_memory_allocated() - before <= y.numel() * 4 + 512
        del y


# ---------------------------------------------------------------------------------------------------------------------
# CuPy's streams and graphs


def test_warmup_then_capture(cupy: Any) -> None:
    """A call and its gradient, never made before, only launch after ``warmup``."""
    x, out = test_gpu.noise(cupy, 2, 3, 21, 23), cupy.empty((2, 3, 37, 41), np.float32)
    gradient = cupy.empty_like(x)
    cupysample.warmup(x, (37, 41), mode="bicubic", backward=True)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        cupysample.interpolate(x, (37, 41), mode="bicubic", out=out)
        cupysample.interpolate_backward(out, x.shape, (37, 41), mode="bicubic", out=gradient)
        graph = stream.end_capture()
        x *= 2
        graph.launch(stream)
        stream.synchronize()
    expected = cupysample.interpolate(x, (37, 41), mode="bicubic")
    np.testing.assert_array_equal(out.get(), expected.get())
    backward = cupysample.interpolate_backward(expected, x.shape, (37, 41), mode="bicubic")
    np.testing.assert_array_equal(gradient.get(), backward.get())


def test_no_size_compiles_anything_after_a_warmup_for_any(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are compiled in threads, and launched from here."""
    x = test_gpu.noise(cupy, 2, 3, 20, 24).astype(np.float16)
    call: Any = {"mode": "bilinear", "antialias": True}
    cupysample.warmup(x, backward=True, any_size=True, **call)
    monkeypatch.setattr(_kernels, "_compile", lambda *instance: pytest.fail(f"{instance} was compiled"))
    for size in [(20, 24), (40, 48), (10, 12), (7, 100), (1, 1), (64, 5)]:
        y = cupysample.interpolate(x, size, **call)
        gradient = cupysample.interpolate_backward(y, x.shape, size, **call)
        np.testing.assert_allclose(y.get(), cupysample.interpolate(x.get(), size, **call), atol=2e-3)
        expected = cupysample.interpolate_backward(y.get(), x.shape, size, **call)
        np.testing.assert_allclose(gradient.get(), expected, rtol=2e-3, atol=2e-3)


def test_tables_are_whole_on_every_stream(cupy: Any) -> None:
    """Threads with streams of their own race for new tables; whoever loses reads what the winner has uploaded."""
    x = test_gpu.noise(cupy, 1, 2, 50, 60)
    for n in range(20):
        size = (200 + n, 300 - n)
        barrier = threading.Barrier(8)
        results: dict[int, Any] = {}

        def work(k: int, size: Any = size, barrier: Any = barrier, results: Any = results) -> None:
            with cupy.cuda.Stream(non_blocking=True) as stream:
                barrier.wait()
                results[k] = cupysample.interpolate(x, size=size, mode="bicubic")
                stream.synchronize()

        together(work, 8)
        first = results[0].get()
        np.testing.assert_allclose(first, cupysample.interpolate(x.get(), size=size, mode="bicubic"), atol=1e-5)
        assert all(results[k].get().tobytes() == first.tobytes() for k in range(8))


def test_eviction_under_way(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables come and go while launches that read them are pending."""
    monkeypatch.setattr(_cuda, "TABLES_BYTES", 1)
    x = test_gpu.noise(cupy, 1, 2, 50, 60)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        results = [cupysample.interpolate(x, size=(100 + n, 90), mode="bicubic") for n in range(100)]
    stream.synchronize()
    for n in (0, 50, 99):
        expected = cupysample.interpolate(x.get(), size=(100 + n, 90), mode="bicubic")
        np.testing.assert_allclose(results[n].get(), expected, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Foreign arrays


class Bare:
    """A producer of DLPack of no library."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __dlpack__(self, **options: Any) -> Any:
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.x.__dlpack_device__()


class Described:
    """A producer of ``__cuda_array_interface__`` alone."""

    def __init__(self, x: Any, **more: Any) -> None:
        self.x, self.__cuda_array_interface__ = x, x.__cuda_array_interface__ | more


def test_foreign_arrays_are_read_in_place(cupy: Any) -> None:
    x = test_gpu.noise(cupy, 2, 3, 8, 9)
    expected = cupysample.interpolate(x, scale_factor=2, mode="bilinear").get()
    pool = cupy.get_default_memory_pool()
    for foreign in (Bare(x), Described(x)):
        used = pool.used_bytes()
        y: Any = cupysample.interpolate(foreign, scale_factor=2, mode="bilinear")
        assert isinstance(y, cupy.ndarray)
        assert pool.used_bytes() - used <= y.nbytes + 512
        np.testing.assert_array_equal(y.get(), expected)
        out = cupy.empty_like(y)
        assert cupysample.interpolate(foreign, scale_factor=2, mode="bilinear", out=Bare(out)) is not out
        np.testing.assert_array_equal(out.get(), expected)


def test_foreign_arrays_of_every_device(cupy: Any) -> None:
    """Read and written where they are, whatever the current device is."""
    for device in range(cupy.cuda.runtime.getDeviceCount()):
        with cupy.cuda.Device(device):
            x, out = test_gpu.noise(cupy, 1, 2, 8, 9), cupy.zeros((1, 2, 16, 18), np.float32)
        for kind in (Bare, Described):
            with cupy.cuda.Device(0):
                y: Any = cupysample.interpolate(kind(x), scale_factor=2)
                cupysample.interpolate(kind(x), scale_factor=2, out=kind(out))
            assert y.device.id == device
            np.testing.assert_array_equal(out.get(), y.get())
            with cupy.cuda.Device(device):
                out.fill(0)


def test_producers_on_another_stream_are_waited_for(cupy: Any) -> None:
    """The contract of both interfaces: what the producer's stream has still to write is seen."""
    producer = cupy.cuda.Stream(non_blocking=True)

    class Late(Bare):
        def __dlpack__(self, **options: Any) -> Any:
            with producer:
                return self.x.__dlpack__(**options)

    for n in range(10):
        with producer:
            x = cupy.zeros((1, 4, 2048, 2048), np.float32)  # so large that the stream has some still to do
            for _ in range(20):
                x += n
        foreign = Late(x) if n % 2 else Described(x, stream=producer.ptr)
        with cupy.cuda.Stream(non_blocking=True) as stream:
            y: Any = cupysample.interpolate(foreign, scale_factor=2, mode="bilinear")
            stream.synchronize()
        np.testing.assert_array_equal(y.get(), 20 * n)
