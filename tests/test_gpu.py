"""What only a device can show: the launches under CuPy's compiler and driver, streams, capture, allocators, sizes."""

from __future__ import annotations

import ctypes
import gc
import threading
from functools import partial
from typing import Any

import numpy as np
import pytest

import cupysample
from cupysample import _cuda, _launch
from tests import bounds, cases, launches, oracle, test_band, test_few_taps
from tests.cases import Case
from tests.threads import together

pytestmark = pytest.mark.gpu

PARTS = 8
"""Of the tests of every instance, for as many processes."""


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


def to_device(cupy: Any, case: Case) -> Any:
    """The case's input on the device, in the case's layout; big-endian exists on the host only."""
    x = cases.lay_out(case.values(), "contiguous")
    if case.layout == "channels_last":
        return cupy.moveaxis(cupy.ascontiguousarray(cupy.moveaxis(cupy.asarray(x), 1, -1)), -1, 1)
    if case.layout == "sliced":
        return cupy.repeat(cupy.repeat(cupy.asarray(x), 2, axis=-1), 3, axis=1)[:, ::3, ..., ::2]
    if case.layout == "transposed":
        return cupy.ascontiguousarray(cupy.asarray(x).T).T
    if case.layout == "broadcast":
        return cupy.broadcast_to(cupy.asarray(x)[:, :1], x.shape)
    if case.layout == "negative":
        return cupy.ascontiguousarray(cupy.asarray(x)[..., ::-1])[..., ::-1]
    return cupy.asarray(x)


def noise(cupy: Any, *shape: int) -> Any:
    """Random numbers; CuPy's own would need cuRAND, which nothing else here does."""
    return cupy.asarray(np.random.default_rng(0).random(shape, np.float32))


def host(x: Any) -> np.ndarray:
    """The array on the host."""
    return np.asarray(x.get())


def check(case: Case, x: np.ndarray, actual: np.ndarray) -> None:
    """Compare with the definition: exact for integers and copies, within the bound for floats."""
    expected = oracle.interpolate(x, **case.arguments)
    if case.dtype in cases.FLOATS and case.mode not in cases.POINT:
        tolerance = bounds.bound(x, dtype=case.dtype, **case.arguments)
        bounds.assert_within(actual, expected, tolerance)
    else:
        np.testing.assert_array_equal(actual, expected.astype(actual.dtype))


def gpu_cases(mode: str) -> list[Case]:
    """A few cases of every cell of a mode."""
    rng = np.random.default_rng(list(mode.encode()))
    return [
        cases.random_case(rng, mode, dimensions, dtype, *cell)
        for dimensions in cases.MODES[mode]
        for dtype in cases.dtypes(mode)
        for cell in cases.cells(mode)
    ]


@pytest.mark.parametrize("mode", cases.MODES)
def test_definition(cupy: Any, mode: str) -> None:
    """Every dtype, layout, size rule and option of a mode, against the oracle."""
    for case in gpu_cases(mode):
        x = to_device(cupy, case)
        before = host(x)
        y = cupysample.interpolate(x, **case.arguments)
        assert isinstance(y, cupy.ndarray)
        assert y.device == x.device
        check(case, before, host(y))
        np.testing.assert_array_equal(host(x), before)


@pytest.mark.parametrize("mode", cases.MODES)
def test_gradients(cupy: Any, mode: str) -> None:
    """Against the oracle's transposes; the same bits twice."""
    for case in gpu_cases(mode)[::3]:
        if case.dtype not in cases.FLOATS:
            continue
        shape = (*case.batch, *oracle.output_size(case.spatial, case.size, case.scale_factor))
        g = cases.values(np.random.default_rng(case.seed), shape, case.dtype)
        y = cupysample.interpolate_backward(cupy.asarray(g), (*case.batch, *case.spatial), **case.arguments)
        again = cupysample.interpolate_backward(cupy.asarray(g), (*case.batch, *case.spatial), **case.arguments)
        assert host(y).tobytes() == host(again).tobytes()
        tolerance = bounds.backward_bound(g, case.spatial, dtype=case.dtype, **case.arguments)
        bounds.assert_within(host(y), oracle.backward(g, case.spatial, **case.arguments), tolerance, sane=1)


@pytest.mark.parametrize("mode", cases.MODES)
def test_same_bits_as_numpy_for_copies_and_integers(cupy: Any, mode: str) -> None:
    for case in gpu_cases(mode):
        if case.dtype in cases.FLOATS and case.mode not in cases.POINT:
            continue
        x = to_device(cupy, case)
        on_host = cupysample.interpolate(host(x), **case.arguments)
        np.testing.assert_array_equal(host(cupysample.interpolate(x, **case.arguments)), on_host)


def test_torch_tensors_on_the_device(torch: Any) -> None:
    """Torch in, torch out: on its device, in its memory format, equal to torch's own kernels within rounding."""
    for mode, antialias in [
        ("nearest", False),
        ("bilinear", False),
        ("bicubic", False),
        ("bilinear", True),
        ("area", False),
    ]:
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            for memory_format in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(2, 6, 17, 23, device="cuda", dtype=dtype).contiguous(memory_format=memory_format)
                y = cupysample.interpolate(x, size=(29, 11), mode=mode, antialias=antialias)
                reference = torch.nn.functional.interpolate(x.double(), size=(29, 11), mode=mode, antialias=antialias)
                assert y.dtype == dtype
                assert y.device == x.device
                assert y.is_contiguous(memory_format=memory_format)
                eps = torch.finfo(dtype).eps
                torch.testing.assert_close(
                    y.double(), reference, rtol=4 * eps, atol=32 * eps if dtype == torch.float64 else max(8 * eps, 2e-5)
                )


def test_torch_stream_and_allocator(torch: Any) -> None:
    """Work is enqueued on torch's current stream: what is enqueued there before is seen, memory is torch's."""
    stream = torch.cuda.Stream()
    x = torch.zeros(1, 8, 512, 512, device="cuda")
    cupysample.interpolate(x, scale_factor=2, mode="bilinear")
    torch.cuda.synchronize()
    for _ in range(20):
        with torch.cuda.stream(stream):
            torch.cuda._sleep(2_000_000)
            x.fill_(float(_))
            before = torch.cuda.memory_allocated()
            y = cupysample.interpolate(x, scale_factor=2, mode="bilinear")
            assert torch.cuda.memory_allocated() - before >= y.numel() * 4
            total = y.mean()
        stream.synchronize()
        assert float(total) == _
        del y


def test_current_stream_of_cupy(cupy: Any) -> None:
    """Ordering within a non-blocking stream, tables uploaded by another."""
    size = (1, 4, 512, 512)
    for n in range(20):
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            x = cupy.zeros(size, np.float32)
            for _ in range(10):
                x += n
            y = cupysample.interpolate(x, size=(640 + n, 700), mode="bicubic")  # a new table each time
            z = y.copy()
        stream.synchronize()
        np.testing.assert_allclose(host(z), 10 * n, rtol=1e-5)


def test_warm_call_is_captured_and_replayed(cupy: Any) -> None:
    x, out = noise(cupy, 2, 3, 40, 50), cupy.empty((2, 3, 80, 100), np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        cupysample.interpolate(x, scale_factor=2, mode="bilinear", out=out)
        stream.synchronize()
        stream.begin_capture()
        cupysample.interpolate(x, scale_factor=2, mode="bilinear", out=out)
        graph = stream.end_capture()
        x *= 2
        out.fill(np.nan)
        graph.launch(stream)
        stream.synchronize()
    expected = cupysample.interpolate(x, scale_factor=2, mode="bilinear")
    np.testing.assert_array_equal(host(out), host(expected))


def test_captured_tables_survive_eviction(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, out = noise(cupy, 1, 3, 64, 64), cupy.empty((1, 3, 99, 101), np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        cupysample.interpolate(x, size=(99, 101), mode="bicubic", out=out)
        stream.begin_capture()
        cupysample.interpolate(x, size=(99, 101), mode="bicubic", out=out)
        graph = stream.end_capture()
    expected = host(cupysample.interpolate(x, size=(99, 101), mode="bicubic"))
    monkeypatch.setattr(_cuda, "TABLES_BYTES", 1)
    for n in range(50):
        cupysample.interpolate(x, size=(110 + n, 105), mode="bicubic")
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    junk = [cupy.full(1 << 16, 255, np.uint8) for _ in range(100)]
    out.fill(np.nan)
    cupy.cuda.get_current_stream().synchronize()
    graph.launch(stream)
    stream.synchronize()
    np.testing.assert_array_equal(host(out), expected)
    del junk


def test_capturing_a_cold_call_raises(cupy: Any) -> None:
    x, out = cupy.zeros((1, 1, 33, 35), np.float32), cupy.empty((1, 1, 61, 67), np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            with pytest.raises(RuntimeError, match="before the capture, make the same call once"):
                cupysample.interpolate(x, size=(61, 67), mode="bicubic", out=out)
        finally:
            stream.end_capture()


def test_warm_call_allocates_its_output_and_nothing_else(cupy: Any) -> None:
    x = noise(cupy, 4, 3, 100, 120)
    out = cupy.empty((4, 3, 200, 240), np.float32)
    cupysample.interpolate(x, scale_factor=2, mode="bicubic", out=out)
    pool = cupy.get_default_memory_pool()
    used, total = pool.used_bytes(), pool.total_bytes()
    for _ in range(100):
        cupysample.interpolate(x, scale_factor=2, mode="bicubic", out=out)
    assert (pool.used_bytes(), pool.total_bytes()) == (used, total)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("size", [(122, 140), (31, 140), (9, 11)])
def test_bits_repeat_and_do_not_depend_on_the_block(
    cupy: Any, offset: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = noise(cupy, 2, 5, 61, 67)[..., offset:]
    first = host(cupysample.interpolate(x, size=size, mode="bicubic", antialias=True))
    for block in (32, 96, 256):
        launches.tune(monkeypatch, BLOCK=block)
        _cuda._launches.clear()
        for _ in range(5):
            again = host(cupysample.interpolate(x, size=size, mode="bicubic", antialias=True))
            np.testing.assert_array_equal(again, first)


def placed(cupy: Any, x: np.ndarray) -> Any:
    """The array on the device with its strides, what lies between its elements, and its alignment."""
    begin, end = np.lib.array_utils.byte_bounds(x)
    before = begin % 256
    memory = cupy.empty(before + end - begin, np.uint8)
    memory[before:] = cupy.asarray(np.frombuffer(ctypes.string_at(begin, end - begin), np.uint8))
    return cupy.ndarray(x.shape, x.dtype, memory.data + (before + x.ctypes.data - begin), x.strides)


def check_few_taps(cupy: Any, call: test_few_taps.Call) -> None:
    """A call of the tests on the CPU, under the real compiler and driver."""
    launches.poison(call.out)
    x, out = placed(cupy, call.x), placed(cupy, call.out)
    cupysample.interpolate(x, **call.arguments, out=out)
    call.out[...] = host(out)
    test_few_taps.check(call, call.arguments["mode"])


def check_band(cupy: Any, call: test_band.Call) -> None:
    """The same."""
    _cuda._launches.clear()  # of two that differ in their kernel alone, the second would get the first one's
    with call.chosen():
        call.check(host(cupysample.interpolate(placed(cupy, call.x), **call.arguments)))


@pytest.mark.parametrize("part", range(PARTS))
def test_every_instance_of_few_taps(cupy: Any, part: int) -> None:
    for call in test_few_taps.everything()[part::PARTS]:
        check_few_taps(cupy, call)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("filling", [1, 10**9])
def test_every_instance_of_band(cupy: Any, filling: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In groups of one row and of four."""
    launches.tune(monkeypatch, FILLING_BLOCKS=filling)
    launches.tune_resident(monkeypatch, max(filling, 128))
    for call in test_band.everything()[part::PARTS]:
        check_band(cupy, call)
    _cuda._launches.clear()


@pytest.mark.parametrize("kernel", ["few_taps", "band", "band_walk", "band_integer", "band_bytes", "resample"])
def test_every_kernel(cupy: Any, kernel: str) -> None:
    """The least that shows what a sanitizer looks for, where ``test_definition`` is too small for it.

    Of few_taps.cu what copies ahead, of the others every instance, each by its smallest call; and the general kernels.
    """
    if kernel == "few_taps":
        for call in copying():
            check_few_taps(cupy, call)
    elif kernel == "resample":
        with launches.general():
            for mode in ("nearest", "bilinear", "area", "lanczos"):
                for case in gpu_cases(mode)[::9]:
                    _cuda._launches.clear()
                    x = to_device(cupy, case)
                    check(case, host(x), host(cupysample.interpolate(x, **case.arguments)))
    else:
        for smallest in banded(kernel):
            check_band(cupy, smallest)
    _cuda._launches.clear()


def copying() -> list[test_few_taps.Call]:
    """A call for every instance of few_taps.cu that copies ahead."""
    made = [(call.launch()[0].defines, call) for call in reversed(test_few_taps.everything())]
    return list({defines: call for defines, call in made if ("CS_SLOT", "0") not in defines}.values())


def banded(kernel: str) -> list[test_band.Call]:
    """The smallest call for every instance of one of band.cu's kin."""
    calls = sorted(test_band.everything(), key=lambda call: -call.x.nbytes)
    return list({call.prepare()[0].defines: call for call in calls if call.kernel == kernel}.values())


def test_axes_computed_in_the_kernel_equal_tables(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same bits from a table and from a thread that computes its row."""
    for mode in ("area", "linear", "cubic", "lanczos"):
        for dtype in ("float32", "float64", "uint8", "int16", "int32", "int64"):
            for antialias in (False, True):
                if (mode == "lanczos") != antialias and mode in ("lanczos", "area"):
                    continue
                x = cupy.asarray(cases.values(np.random.default_rng(1), (2, 3, 57), dtype))
                for size in (23, 57, 190):
                    with launches.general():
                        _cuda._launches.clear()
                        table = host(cupysample.interpolate(x, size=size, mode=mode, antialias=antialias))
                    with monkeypatch.context() as patch:
                        patch.setattr(_launch, "has_table", lambda _: False)
                        _cuda._launches.clear()
                        computed = host(cupysample.interpolate(x, size=size, mode=mode, antialias=antialias))
                    _cuda._launches.clear()
                    np.testing.assert_array_equal(computed, table)


def test_threads_share_kernels_and_tables(cupy: Any) -> None:
    x = noise(cupy, 1, 3, 70, 80)
    sizes = [(60 + n, 90 - n) for n in range(16)]
    expected = [host(cupysample.interpolate(x, size=size, mode="bicubic")) for size in sizes]
    _cuda._launches.clear()
    _cuda._tables.clear()
    results: dict[int, Any] = {}

    def work(n: int) -> None:
        with cupy.cuda.Stream(non_blocking=True) as stream:
            results[n] = cupysample.interpolate(x, size=sizes[n], mode="bicubic")
            stream.synchronize()

    together(work, len(sizes))
    for n, want in enumerate(expected):
        np.testing.assert_array_equal(host(results[n]), want)


def test_a_warm_call_may_be_the_first_of_its_thread(cupy: Any) -> None:
    """Nothing has given the thread a context: on the default stream and into ``out``, the launch is all that it does."""
    x, out = noise(cupy, 1, 3, 40, 50), cupy.empty((1, 3, 80, 100), np.float32)
    expected = host(cupysample.interpolate(x, scale_factor=2, mode="bilinear", out=out))
    for _ in range(4):
        out.fill(np.nan)
        call = partial(cupysample.interpolate, x, scale_factor=2, mode="bilinear", out=out)
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        np.testing.assert_array_equal(host(out), expected)


def test_threads_make_the_same_call(cupy: Any) -> None:
    """At once, into arrays of their own, on one stream and on many: no launch takes the addresses of another."""
    inputs = [noise(cupy, 1, 3, 20, 30) + n for n in range(8)]
    expected = [host(cupysample.interpolate(x, scale_factor=2, mode="bilinear")) for x in inputs]
    results: dict[int, list[Any]] = {}

    def work(n: int) -> None:
        with cupy.cuda.Stream(non_blocking=True) if n % 2 else cupy.cuda.Stream.null as stream:
            results[n] = [cupysample.interpolate(inputs[n], scale_factor=2, mode="bilinear") for _ in range(200)]
            stream.synchronize()

    together(work, len(inputs))
    for n, want in enumerate(expected):
        assert len(results[n]) == 200
        for y in results[n]:
            np.testing.assert_array_equal(host(y), want)


def test_more_than_two_to_the_31_elements(cupy: Any) -> None:
    """Offsets beyond an int: the last pixels of a long array arrive."""
    free = cupy.cuda.runtime.memGetInfo()[0]
    n = (1 << 16, 1 << 15)  # 2**31 bytes in, 2**33 out
    if free < 15 << 30:
        pytest.skip("needs 15 GiB of device memory")
    x = cupy.zeros((1, 1, *n), np.uint8)
    x[0, 0, -1, -3:] = cupy.asarray([7, 8, 9])
    y = cupysample.interpolate(x, scale_factor=2, mode="nearest")
    np.testing.assert_array_equal(host(y[0, 0, -1, -6:]), [7, 7, 8, 8, 9, 9])
    z = cupysample.interpolate(x, scale_factor=(2, 1), mode="bilinear")
    np.testing.assert_array_equal(host(z[0, 0, -1, -3:]), [7, 8, 9])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "area"])
def test_an_axis_past_what_float32_counts(cupy: Any, mode: str) -> None:
    """2^24 + 3 pixels of uint8, doubled: the bits of NumPy, whose every pixel is there."""
    n = 2**24 + 3
    x = np.random.default_rng(0).integers(0, 256, (1, 1, n), np.uint8)
    y = cupysample.interpolate(cupy.asarray(x), size=2 * n, mode=mode)
    np.testing.assert_array_equal(host(y), cupysample.interpolate(x, size=2 * n, mode=mode))


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((2, 0, 4, 5), {"size": (3, 7), "mode": "bilinear"}),
        ((2, 3, 1, 1), {"size": (9, 7), "mode": "bicubic"}),
        ((1, 2, 10_001), {"scale_factor": 1e-4, "mode": "linear", "antialias": True}),
        ((1, 2, 7), {"scale_factor": 1e4, "mode": "linear"}),
        ((1, 1, 3, 5), {"scale_factor": (1e4, 1e3), "mode": "bicubic"}),
        ((1, 1, 3_000, 2_000), {"scale_factor": 1e-3, "mode": "bilinear", "antialias": True}),
    ],
)
def test_extreme_sizes_and_factors(cupy: Any, shape: tuple[int, ...], arguments: dict[str, Any]) -> None:
    """No channels, one pixel, factors of ten thousand and its inverse: within the sum of two bounds of NumPy's."""
    x = cases.values(np.random.default_rng(0), shape, "float32")
    y, expected = host(cupysample.interpolate(cupy.asarray(x), **arguments)), cupysample.interpolate(x, **arguments)
    assert y.shape == expected.shape
    tolerance = bounds.bound(x, **arguments)
    bounds.assert_within(y, expected.astype(np.float64), 2 * tolerance, sane=1)


def test_many_planes_and_rows(cupy: Any) -> None:
    """N*C and H beyond 65535, the limit of a grid's second and third dimension."""
    x = cupy.arange(70_000, dtype=np.float32).reshape(70, 1000, 1, 1)
    y = cupysample.interpolate(x, size=(2, 2), mode="bilinear")
    np.testing.assert_array_equal(host(y[..., 1, 1]), host(x[..., 0, 0]))
    x = cupy.arange(70_000, dtype=np.float32).reshape(1, 1, 70_000, 1)
    y = cupysample.interpolate(x, size=(140_000, 1), mode="nearest")
    np.testing.assert_array_equal(host(y[0, 0, 1::2, 0]), host(x[0, 0, :, 0]))


def test_first_call_and_new_sizes(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new size compiles nothing."""
    from cupysample import _kernels

    x = noise(cupy, 1, 3, 64, 64)
    for n in (65, 68, 128):  # rows that are gathered, are copied ahead, and double
        cupysample.interpolate(x, size=(n, n), mode="bilinear")

    def refuse(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(_kernels, "_compile", refuse)
    for n in range(200):
        cupysample.interpolate(x, size=(1 + n, 201 - n), mode="bilinear")


def test_results_are_what_cupy_makes(cupy: Any) -> None:
    """Allocated past the half of its constructor that is written in Python."""
    for shape, dtype in (((2, 3, 4, 5), np.float32), ((1, 1, 7), np.float16), ((1, 2, 3, 4, 5), np.uint8)):
        like, pool = cupy.zeros(shape, dtype), cupy.get_default_memory_pool()
        before = pool.used_bytes()
        y = cupysample.interpolate(like, size=shape[2:])
        assert pool.used_bytes() > before
        expected = cupy.ndarray(shape, dtype)
        for name in ("shape", "strides", "dtype", "size", "itemsize", "nbytes", "ndim", "base", "device"):
            assert getattr(y, name) == getattr(expected, name), name
        assert type(y) is cupy.ndarray and str(y.flags) == str(expected.flags)
        assert not (y + 1 - 1).any()
        del y  # or the next takes its memory


def test_out_with_any_strides(cupy: Any) -> None:
    x = noise(cupy, 2, 3, 8, 9)
    base = cupy.full((2, 24, 20, 6), np.nan, np.float32)
    out = base.transpose(0, 3, 1, 2)[:, ::2, 4:20, 1:19]
    assert cupysample.interpolate(x, scale_factor=2, mode="bicubic", out=out) is out
    np.testing.assert_array_equal(host(out), host(cupysample.interpolate(x, scale_factor=2, mode="bicubic")))
    assert int(cupy.isnan(base).sum()) == base.size - out.size
    with pytest.raises(ValueError, match="out: must not overlap"):
        cupysample.interpolate(base[:, :, :, 0][:, None], size=(24, 20), mode="nearest", out=base[:, :, :, 0][:, None])


def test_every_device(cupy: Any) -> None:
    """The array's device is used whatever the current one is, and restored."""
    for device in range(cupy.cuda.runtime.getDeviceCount()):
        with cupy.cuda.Device(device):
            x = cupy.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
        with cupy.cuda.Device(0):
            y = cupysample.interpolate(x, scale_factor=2, mode="bilinear")
            assert cupy.cuda.runtime.getDevice() == 0
        assert y.device.id == device
        np.testing.assert_allclose(host(y), cupysample.interpolate(host(x), scale_factor=2, mode="bilinear"), rtol=1e-6)


def test_a_slice_of_trials() -> None:
    """Half a minute of new calls and gradients. The fuzzer has torch and hypothesis, which not every such machine has."""
    for package in ("torch", "hypothesis"):
        pytest.importorskip(package)
    from tests import fuzz

    tally = fuzz.campaign(1, ("device", "device gradient"), minutes=0.5)
    assert not tally.failures, fuzz.told(tally.failures)
    assert tally.paths.total() >= 200
