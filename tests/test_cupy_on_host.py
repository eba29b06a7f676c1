"""The whole path of a CuPy array, on a stand-in whose device is the CPU."""

from __future__ import annotations

import gc
import importlib
import re
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import cupysample
from cupysample import _arrays, _cuda, _interpolate, _kernels, _threads, _tuning
from tests import cases, cupy_on_host
from tests.cupy_on_host import Array, Driver, Stream

pytestmark = pytest.mark.host


@pytest.fixture
def cupy() -> Iterator[Any]:
    with cupy_on_host.installed() as (module, _):
        yield module


@pytest.fixture
def driver(cupy: Any) -> Driver:  # noqa: ARG001 - the stand-in must be installed
    return cupy_on_host.driver()


def array(*shape: int, dtype: str = "float32") -> Array:
    return Array(None, values=cases.values(np.random.default_rng(0), shape, dtype))


def test_cupy_in_cupy_out(driver: Driver) -> None:
    """Every mode and dtype gives what NumPy gives, in a CuPy array on the same device."""
    rng = np.random.default_rng(41)
    for _ in range(1500):
        case = cases.any_case(rng)
        if case.layout == "big-endian":
            continue
        x = case.input()
        y = cupysample.interpolate(Array(None, values=x, device=case.seed % 3), **case.arguments)
        expected = cupysample.interpolate(x, **case.arguments)
        assert isinstance(y, Array)
        assert y.device.id == case.seed % 3
        assert y.strides == expected.strides
        if case.dtype in cases.FLOATS:
            np.testing.assert_allclose(
                y.values.astype(complex), expected.astype(complex), rtol=2e-2, atol=2e-2 if "16" in case.dtype else 1e-4
            )
        else:
            np.testing.assert_array_equal(y.values, expected)
    assert driver.device == 0


def test_one_launch_on_the_current_stream(driver: Driver) -> None:
    x = array(2, 3, 8, 9)
    with Stream(non_blocking=True) as stream:
        cupysample.interpolate(x, scale_factor=2, mode="bicubic")
    assert [launch[1:] for launch in driver.launched] == [(0, stream.ptr)]


def test_warm_call_uploads_compiles_and_allocates_nothing_but_the_output(driver: Driver) -> None:
    x = array(2, 3, 8, 9)
    cupysample.interpolate(x, scale_factor=2, mode="bicubic")
    uploads, compiled, allocations, live = driver.uploads, len(driver.compiled), driver.allocations, driver.live
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_kernels, "parameters", lambda _: pytest.fail("parameters are those of the first call"))
        for _ in range(10):
            cupysample.interpolate(x, scale_factor=2, mode="bicubic")
    assert (driver.uploads, len(driver.compiled), driver.live) == (uploads, compiled, live)
    assert driver.allocations == allocations + 10
    out = Array((2, 3, 16, 18), np.float32)
    before = driver.allocations
    assert cupysample.interpolate(x, scale_factor=2, mode="bicubic", out=out) is out
    assert driver.allocations == before


def test_an_empty_batch_lies_on_its_device(driver: Driver) -> None:
    """Nothing is prepared or launched for it."""
    x = Array(None, values=np.zeros((0, 2, 4, 5), np.float32), device=2)
    cupysample.warmup(x, scale_factor=2, backward=True)
    y = cupysample.interpolate(x, scale_factor=2)
    assert (y.shape, y.device.id, driver.device) == ((0, 2, 8, 10), 2, 0)
    assert (driver.launched, driver.compiled, driver.uploads) == ([], [], 0)


def test_a_new_size_compiles_nothing(driver: Driver) -> None:
    """But for rows that grow and are whole vectors, whose source is copied ahead: they have an instance of their own."""
    x = array(1, 3, 16, 16)
    for width in (5, 20, 32, 64):
        cupysample.interpolate(x, size=(20, width), mode="bilinear")
    assert len(driver.compiled) == 4
    for n in range(200):
        cupysample.interpolate(x, size=(1 + n, 201 - n), mode="bilinear")
    assert len(driver.compiled) == 4


@pytest.mark.parametrize("mode", ["bilinear", "area", "lanczos"])
def test_new_factors_compile_a_handful(driver: Driver, mode: str) -> None:
    """Where the taps depend on the factor: an instance for each power of two of them, and for each length of rows."""
    x = array(1, 3, 150, 160)
    for n in range(100):
        cupysample.interpolate(x, size=(1 + 2 * n, 201 - 2 * n), mode=mode, antialias=mode != "area")
    assert len(driver.compiled) <= 5


@pytest.mark.parametrize(
    ("mode", "dtype", "antialias", "backward"),
    [
        ("nearest", "uint8", False, False),
        ("bilinear", "float16", False, False),
        ("bicubic", "uint8", True, False),
        ("area", "uint8", False, False),
        ("lanczos", "complex64", True, True),
        ("nearest-exact", "bfloat16", False, True),
    ],
)
def test_no_size_compiles_anything_after_a_warmup_for_any(
    driver: Driver, mode: str, dtype: str, antialias: bool, backward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is uploaded or launched by it; threads that help stay on the one device."""
    compile_one, here = _kernels._compile, threading.get_ident()

    def compiled_in_turn(*instance: Any) -> Any:
        if threading.get_ident() == here:
            time.sleep(0.01)  # so that others have some to do
        return compile_one(*instance)

    monkeypatch.setattr(_threads, "cpus", lambda: 3)
    monkeypatch.setattr(_kernels, "_compile", compiled_in_turn)
    x = Array(None, values=np.zeros((1, 3, 4, 4), cases.numpy_dtype(dtype)), device=1)
    cupysample.warmup(x, mode=mode, antialias=antialias, backward=backward, any_size=True)
    compiled = list(driver.compiled)
    assert len(compiled) == len(set(compiled)) > 5
    assert not driver.uploads and not driver.launched
    assert {device for thread, device in driver.chosen if thread != threading.get_ident()} == {1}
    cupysample.warmup(x, mode=mode, antialias=antialias, backward=backward, any_size=True)
    rng = np.random.default_rng(3)
    for n in range(200):
        spatial, size = rng.choice([1, 4, 7, 24, 33, 64], (2, 2)).tolist()
        values = cases.lay_out(np.zeros((1, int(rng.choice([1, 3, 8])), *spatial), x.dtype), cases.LAYOUTS[n % 6])
        y = cupysample.interpolate(Array(None, values=values, device=1), size=size, mode=mode, antialias=antialias)
        if backward:
            cupysample.interpolate_backward(y, values.shape, size=size, mode=mode, antialias=antialias)
    assert driver.compiled == compiled


@pytest.mark.parametrize("threads", ["none", "one fails"])
def test_a_warmup_for_any_size_where_threads_are_few(
    driver: Driver, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only takes longer; what fails in one of them is raised, and nothing more is compiled."""
    x = Array((0, 3, 8, 8), np.float16)  # of no memory: but its dtype and axes nothing matters
    if threads == "none":

        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        cupysample.warmup(x, any_size=True)
        assert len(driver.compiled) == 7
        return
    _threads.deal(lambda _: None, range(3), 3)  # whose threads stay
    compile_one, here, threads_before = _kernels._compile, threading.get_ident(), threading.active_count()

    def compiled(*instance: Any) -> Any:
        if threading.get_ident() != here:
            raise ValueError("no room")
        time.sleep(0.05)
        return compile_one(*instance)

    monkeypatch.setattr(_threads, "cpus", lambda: 3)
    monkeypatch.setattr(_kernels, "_compile", compiled)
    with pytest.raises(ValueError, match="no room"):
        cupysample.warmup(x, any_size=True)
    assert len(driver.compiled) < 7 and threading.active_count() == threads_before


def test_tables_are_bounded_in_number(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones of many factors; those of the last launches are among them."""
    monkeypatch.setattr(_cuda, "TABLES", 40)
    x = array(1, 1, 8, 8)
    for n in range(100):
        cupysample.interpolate(x, scale_factor=(1.5 + n / 1000, 2.5 + n / 1000), mode="bilinear")
        assert len(_cuda._tables) <= 40 + 40 // _tuning.LOOK
    uploads = driver.uploads
    for n in range(99, 89, -1):
        cupysample.interpolate(x, scale_factor=(1.5 + n / 1000, 2.5 + n / 1000), mode="bilinear")
    assert driver.uploads == uploads and len(_cuda._tables) > 30


@pytest.mark.usefixtures("driver")
def test_tables_are_forgotten_beyond_either_bound_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """None at the bound, and one beyond it, the oldest."""
    monkeypatch.setattr(_cuda, "LOOK", 1 << 40)
    x = array(1, 1, 8, 8)

    def warm() -> list[_cuda._DeviceTable]:
        _cuda._launches.clear()
        _cuda._tables.clear()
        for n in (9, 12, 15):
            cupysample.warmup(x, (n, 2 * n), mode="bilinear")
        return list(_cuda._tables.values())

    all_of_them = warm()
    assert len(all_of_them) == 6
    for bound, most in (("TABLES_BYTES", sum(table.size for table in all_of_them)), ("TABLES", len(all_of_them))):
        for less in (0, 1):
            with monkeypatch.context() as patch:
                patch.setattr(_cuda, bound, most - less)
                assert [table.key for table in warm()] == [table.key for table in all_of_them[less:]]
                assert len(_cuda._launches) == 3 - less


def test_memory_is_freed_with_the_last_table_in_it(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of one launch are uploaded at once; one that others read outlives what came with it."""
    monkeypatch.setattr(_cuda, "TABLES", 4)
    monkeypatch.setattr(_cuda, "LOOK", 1 << 40)
    x = array(1, 1, 8, 8)
    for n in range(9, 25):
        uploads = driver.uploads
        y = cupysample.interpolate(x, size=(n, 13), mode="bilinear")
        expected = cupysample.interpolate(x.values, size=(n, 13), mode="bilinear")
        np.testing.assert_allclose(y.values, expected, atol=1e-6)
        assert (driver.uploads, len(_cuda._tables)) == (uploads + 1, min(n - 7, 4))
    _cuda._launches.clear()
    _cuda._tables.clear()
    gc.collect()
    assert not driver.live


def test_what_is_warmed_up_again_is_remembered(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> None:
    """As if it were new; its tables too."""
    monkeypatch.setattr(_cuda, "LAUNCHES", 4)
    monkeypatch.setattr(_cuda, "TABLES", 8)
    monkeypatch.setattr(_cuda, "LOOK", 8)
    x, out = array(1, 1, 8, 8), Array((1, 1, 9, 12), np.float32)
    call = partial(cupysample.interpolate, x, (9, 12), mode="bilinear", out=out)
    call()
    for n in range(13, 16):
        cupysample.interpolate(x, (n, 2 * n), mode="bilinear")
    cupysample.warmup(x, (9, 12), mode="bilinear")
    uploads = driver.uploads
    for n in range(16, 19):
        cupysample.interpolate(x, (n, 2 * n), mode="bilinear")
    _interpolate._calls.clear()
    assert captured(call)
    assert driver.uploads == uploads + 3


@pytest.mark.parametrize("pools", [1, 2])
def test_memory_that_lies_idle_in_pools_is_taken_for_tables(
    driver: Driver, pools: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy frees it for its own arrays; that is left to us for what is not in its pool. So is torch's, if it is loaded."""
    emptied: list[None] = []
    if pools == 1:
        monkeypatch.setitem(sys.modules, "torch", None)
    else:
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(None))
    driver.idle = 1 << 20
    x = array(1, 1, 8, 8)
    expected = cupysample.interpolate(x.values, size=(5, 7), mode="bilinear")
    np.testing.assert_allclose(cupysample.interpolate(x, size=(5, 7), mode="bilinear").values, expected, atol=1e-6)
    assert driver.uploads and not driver.idle
    assert len(emptied) == pools - 1


@pytest.mark.usefixtures("driver")
def test_bytes_in_the_other_order_are_refused() -> None:
    """CuPy has no such arrays but views, and computes with their bytes as they are."""
    x, out = Array(None, values=np.zeros((1, 1, 4, 4), ">f4")), Array(None, values=np.zeros((1, 1, 8, 8), ">f4"))
    calls: dict[str, Callable[[], object]] = {
        "input": lambda: cupysample.interpolate(x, scale_factor=2),
        "out": lambda: cupysample.interpolate(array(1, 1, 4, 4), scale_factor=2, out=out),
    }
    for name, call in calls.items():
        with pytest.raises(
            TypeError, match=f"^{name}: a CuPy array must have the machine's order of bytes, got dtype >f4"
        ):
            call()


def test_each_device_has_its_own_function_and_tables(driver: Driver) -> None:
    values = cases.values(np.random.default_rng(0), (1, 2, 5, 5), "float32")
    for device in (1, 0, 2, 1):
        y = cupysample.interpolate(Array(None, values=values, device=device), scale_factor=3, mode="bilinear")
        assert y.device.id == device
        assert driver.launched[-1][1] == device
    assert len(driver.compiled) == 3
    assert driver.uploads == 3  # tables of one axis, as rows and as columns read it, at once
    assert driver.device == 0


def test_capture_takes_a_warm_call_and_refuses_a_cold_one(driver: Driver) -> None:
    x, out = array(1, 1, 5, 5), Array((1, 1, 9, 9), np.float32)
    with Stream(non_blocking=True) as stream:
        stream.begin_capture()
        before = out.values.tobytes()
        with pytest.raises(RuntimeError, match=r"before the capture, make the same call once .* cupysample\.warmup"):
            cupysample.interpolate(x, size=9, mode="bilinear", out=out)
        assert out.values.tobytes() == before
        assert not driver.uploads
        stream.end_capture()
        cupysample.interpolate(x, size=9, mode="bilinear", out=out)
        stream.begin_capture()
        cupysample.interpolate(x, size=9, mode="bilinear", out=out)
        stream.end_capture()
    assert len(driver.launched) == 2


def test_the_default_stream_is_not_asked_whether_it_is_captured(driver: Driver) -> None:
    """It cannot be, and the question is an error while another stream is, whose capture it would end."""
    x = array(1, 1, 5, 5)
    with Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with Stream():
            for _ in range(2):
                cupysample.interpolate(x, size=9, mode="bilinear")
        stream.end_capture()
    assert [launch[1:] for launch in driver.launched] == [(0, 0)] * 2


def test_warmup_leaves_only_the_launch(driver: Driver) -> None:
    """Nothing is allocated or launched by it, nothing compiled or uploaded after it, gradient included."""
    x, out, gradient = array(1, 2, 5, 6), Array((1, 2, 9, 18), np.float32), Array((1, 2, 5, 6), np.float32)
    transposed = Array((1, 2, 18, 9), np.float32).transpose((0, 1, 3, 2))
    allocations = driver.allocations
    cupysample.warmup(x, (9, 18), mode="bilinear", backward=True)
    cupysample.warmup(x, (9, 18), mode="bilinear", out=transposed)
    assert driver.allocations == allocations
    assert not driver.launched
    uploads, compiled = driver.uploads, list(driver.compiled)
    with Stream(non_blocking=True) as stream:
        stream.begin_capture()
        y = cupysample.interpolate(x, (9, 18), mode="bilinear")
        cupysample.interpolate(x, (9, 18), mode="bilinear", out=transposed)
        cupysample.interpolate(x, (9, 18), mode="bilinear", out=out)  # of the strides that y has
        cupysample.interpolate_backward(y, x.shape, (9, 18), mode="bilinear")
        cupysample.interpolate_backward(y, x.shape, (9, 18), mode="bilinear", out=gradient)
        stream.end_capture()
    assert len(driver.launched) == 5
    assert (driver.uploads, driver.compiled) == (uploads, compiled)
    with cupy_on_host.tensors_on(1, stream=9):
        t = torch.from_numpy(x.values).requires_grad_()
        cupysample.warmup(t, scale_factor=2, mode="bicubic", backward=True)
        uploads = driver.uploads
        cupysample.interpolate(t, scale_factor=2, mode="bicubic").sum().backward()
    # The gradient of a sum is one number with strides of zero: a launch of its own, the same tables.
    assert driver.uploads == uploads
    with pytest.raises(ValueError, match="either size or scale_factor should be defined"):
        cupysample.warmup(x)


def captured(call: Callable[[], object]) -> bool:
    """Whether a call is warm."""
    with Stream(non_blocking=True) as stream:
        stream.begin_capture()
        try:
            call()
        except RuntimeError as error:
            if "the stream is being captured" not in str(error):
                raise
            return False
        finally:
            stream.end_capture()
    return True


@pytest.mark.usefixtures("driver")
def test_what_makes_no_difference_to_a_launch_needs_no_warmup_of_its_own() -> None:
    """The library, and strides of axes of extent 1."""
    values = cases.values(np.random.default_rng(0), (2, 8, 9, 1), "float32").transpose(0, 3, 1, 2)
    grey, one = Array(None, values=values), array(1, 1, 8, 9)
    batch, channels = array(5, 4, 8, 9), Array((1, 4, 16, 18), np.float32)
    for x in (grey, one):
        cupysample.warmup(x, scale_factor=2, mode="bilinear")
    calls: list[tuple[Array, Array]] = [
        (grey, Array((2, 1, 16, 18), np.float32)),
        (one, Array(None, values=channels.values[:, 1:2])),
        (Array(None, values=batch.values[2:3, 1:2]), Array((1, 1, 16, 18), np.float32)),
        (Array(None, values=batch.values[2, 1][None, None]), Array((1, 1, 16, 18), np.float32)),
    ]
    row, longer = array(1, 1, 9, 3).transpose((0, 3, 1, 2)), Array((1, 3, 2, 18), np.float32)
    cupysample.warmup(row, scale_factor=2, mode="bilinear", out=longer)
    calls.append((Array(None, values=np.lib.stride_tricks.as_strided(row.values, strides=(0, 4, 4, 12))), longer))
    for x, out in calls:
        assert captured(partial(cupysample.interpolate, x, scale_factor=2, mode="bilinear", out=out))
        np.testing.assert_array_equal(out.values, cupysample.interpolate(x, scale_factor=2, mode="bilinear").values)
    with cupy_on_host.tensors_on(0, stream=1):
        t = torch.from_numpy(one.values)
        assert captured(lambda: cupysample.interpolate(t, scale_factor=2, mode="bilinear"))
    assert not captured(lambda: cupysample.interpolate(one, scale_factor=2, mode="bicubic"))


@pytest.mark.usefixtures("driver")
def test_eviction_forgets_only_what_loses_its_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what has none, nor what was captured, whose tables are kept in any case."""
    monkeypatch.setattr(_cuda, "TABLES_BYTES", 20_000)
    x, out = array(1, 1, 40, 40), Array((1, 1, 77, 91), np.float32)
    copy = partial(cupysample.interpolate, x, scale_factor=2)
    first = partial(cupysample.interpolate, x, size=(77, 91), mode="bicubic", out=out)
    for call in (copy, first):
        call()
        assert captured(call)
    tables = list(_cuda._captured)
    assert len(tables) == 2
    for n in range(20):
        cupysample.warmup(x, size=(100 + n, 150), mode="bicubic")
        assert captured(copy)
        assert captured(first)
    assert list(_cuda._captured) == tables
    assert not captured(lambda: cupysample.interpolate(x, size=(100, 150), mode="bicubic"))
    assert captured(lambda: cupysample.interpolate(x, size=(119, 150), mode="bicubic"))


def test_tables_are_bounded_and_freed(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "TABLES_BYTES", 100_000)
    x = array(1, 1, 40, 40)
    for n in range(100):
        y = cupysample.interpolate(x, size=(300 + n, 500 + n), mode="bicubic")
        assert driver.live < 100_000 + 40_000
    np.testing.assert_allclose(y.values, cupysample.interpolate(x.values, size=(399, 599), mode="bicubic"), atol=1e-5)


@pytest.mark.usefixtures("cupy")
def test_captured_tables_are_never_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, out = array(1, 1, 40, 40), Array((1, 1, 77, 91), np.float32)
    with Stream(non_blocking=True) as stream:
        cupysample.interpolate(x, size=(77, 91), mode="bicubic", out=out)
        stream.begin_capture()
        cupysample.interpolate(x, size=(77, 91), mode="bicubic", out=out)
        stream.end_capture()
    monkeypatch.setattr(_cuda, "TABLES_BYTES", 1)
    held = [table.memory for table in _cuda._captured]
    assert len(held) == 2
    addresses = [table.addresses for table in _cuda._captured]
    for n in range(20):
        cupysample.interpolate(x, size=(100 + n, 50), mode="bicubic")
    del held
    gc.collect()
    assert [table.addresses for table in _cuda._captured] == addresses
    assert not any((table.memory._bytes == 0xFF).all() for table in _cuda._captured)


def test_misplaced_elements_are_refused(driver: Driver) -> None:
    raw = np.zeros(4 * 16 + 1, np.uint8)[1:].view(np.float32).reshape(1, 1, 4, 4)
    with pytest.raises(ValueError, match="input: elements must lie at multiples of their size"):
        cupysample.interpolate(Array(None, values=raw), scale_factor=2)
    assert not driver.launched


def test_other_devices_and_libraries_are_refused_for_out(driver: Driver) -> None:
    x = array(1, 1, 4, 4)
    with pytest.raises(ValueError, match="out: must have device CUDA device 0, got CUDA device 1"):
        cupysample.interpolate(x, scale_factor=2, out=Array((1, 1, 8, 8), np.float32, device=1))
    with pytest.raises(TypeError, match="out: must be a CuPy array as the input is, got a NumPy array"):
        cupysample.interpolate(x, scale_factor=2, out=np.empty((1, 1, 8, 8), np.float32))
    with pytest.raises(ValueError, match="out: must not overlap the input"):
        cupysample.interpolate(x, scale_factor=1, out=x)
    assert not driver.launched


def test_a_cache_directory_that_cannot_be_written(cupy: Any, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy raises when it cannot store a compiled kernel; it is compiled again without the cache."""
    import os

    seen = []

    class Unwritable(cupy_on_host.RawModule):
        def get_function(self, entry: str) -> Any:
            seen.append(os.environ.get("CUPY_CACHE_IN_MEMORY"))
            if seen[-1] is None:
                raise PermissionError(13, "Permission denied")
            return super().get_function(entry)

    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY", raising=False)
    cupy.RawModule = Unwritable
    cupysample.interpolate(array(1, 1, 4, 4), scale_factor=2)
    assert seen == [None, "1"]
    assert "CUPY_CACHE_IN_MEMORY" not in os.environ
    assert len(driver.launched) == 1


def test_compile_errors_name_the_instance_and_keep_the_log(cupy: Any) -> None:
    error = cupy.cuda.compiler.CompileException

    class Broken(cupy_on_host.RawModule):
        def get_function(self, entry: str) -> Any:
            raise error("kernels/few_taps.cu(44): error: identifier is undefined")

    cupy.RawModule = Broken
    with pytest.raises(
        RuntimeError, match=r"(?s)kernels/few_taps\.cu \(CS_AXES=2, .*does not compile.*few_taps\.cu\(44\)"
    ):
        cupysample.interpolate(array(1, 1, 4, 4), scale_factor=2)
    assert not _kernels._functions


def test_torch_tensors_use_torchs_stream_and_allocator(driver: Driver) -> None:
    """A CUDA tensor is launched on torch's current stream of its device, into memory of torch, and nothing of CuPy's."""
    values = cases.lay_out(cases.values(np.random.default_rng(0), (2, 3, 5, 6), "float16"), "channels_last")
    expected = cupysample.interpolate(values, scale_factor=2, mode="bilinear")
    for device in (1, 0):
        with cupy_on_host.tensors_on(device, stream=70 + device):
            y = cupysample.interpolate(torch.from_numpy(values), scale_factor=2, mode="bilinear")
        np.testing.assert_array_equal(y.numpy(), expected)
        assert y.numpy().strides == expected.strides
        assert driver.launched[-1][1:] == (device, 70 + device)
    assert driver.allocations == 0


def test_torchs_current_device_is_that_of_the_tensor(driver: Driver) -> None:
    """Where there are several devices: torch allocates on the one that it takes for current, which CUDA's need not be."""
    torchs, allocated = [0], []

    def exchange(device: int) -> int:
        before, torchs[0] = torchs[0], device
        return before

    x = torch.zeros(1, 2, 5, 6)
    with cupy_on_host.tensors_on(1, stream=9), pytest.MonkeyPatch.context() as patch:
        empty = _arrays._torch_empty(True)

        def noting(*arguments: Any) -> Any:
            allocated.append(torchs[0])
            return empty(*arguments)

        patch.setattr(_arrays, "_torch_empty", lambda _: noting)
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        patch.setattr(torch.cuda, "_exchange_device", exchange)
        patch.setattr(torch.cuda, "_maybe_exchange_device", exchange)
        cupysample.interpolate(x, scale_factor=2)
        cupysample.interpolate(x[:0], scale_factor=2)
        cupysample.interpolate(x, scale_factor=2, out=torch.empty(1, 2, 10, 12))
    assert (allocated, torchs, driver.device) == ([1, 1], [0], 0)


def test_gradients_of_tensors_are_launches(driver: Driver) -> None:
    """Forward and backward of a tensor on a device: one launch each, on torch's stream."""
    with cupy_on_host.tensors_on(0, stream=5):
        x = torch.randn(1, 2, 5, 6, requires_grad=True)
        cupysample.interpolate(x, size=(9, 4), mode="bicubic").sum().backward()
    assert [launch[1:] for launch in driver.launched] == [(0, 5)] * 2
    expected = cupysample.interpolate_backward(np.ones((1, 2, 9, 4), np.float32), x.shape, (9, 4), mode="bicubic")
    np.testing.assert_allclose(x.grad, expected, rtol=1e-5)


def test_cuda_tensors_without_cupy_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launch without CuPy: one sentence with the cause and the remedy."""
    importlib.import_module("cupysample.torch")  # before: torch looks into all modules, and ``cupyx`` then into CuPy
    monkeypatch.setitem(sys.modules, "cupy", None)
    with (
        cupy_on_host.tensors_on(0, stream=70),
        pytest.raises(RuntimeError, match=r"with CuPy, which cannot be imported .*pip install \"cupy-cuda12x\[ctk\]"),
    ):
        cupysample.interpolate(torch.zeros(1, 1, 2, 2), scale_factor=2)


def test_calls_are_warm_whatever_the_types_of_their_arguments(driver: Driver) -> None:
    """Arguments that cannot be remembered, and calls forgotten since, still find their launch."""
    x, out = array(1, 1, 4, 4), Array((1, 1, 8, 8), np.float32)
    sizes: list[Any] = [(np.int16(8), np.int16(8)), [8, 8], (torch.tensor(8), 8), 8]
    with Stream(non_blocking=True) as stream:
        for size in sizes:
            cupysample.interpolate(x, size=size, mode="bilinear", out=out)
            assert len(driver.compiled) == 1
            assert len(_cuda._launches) == 1
        _interpolate._calls.clear()
        stream.begin_capture()
        for size in sizes:
            cupysample.interpolate(x, size=size, mode="bilinear", out=out)
        stream.end_capture()


def test_old_devices_are_refused(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_on_host.Device, "compute_capability", "61")
    with pytest.raises(
        RuntimeError, match="CUDA device 0 has compute capability 61; the kernels need 70, that is Volta"
    ):
        cupysample.interpolate(array(1, 1, 4, 4), scale_factor=2)
    assert not driver.launched


def test_an_out_with_a_new_axis(driver: Driver) -> None:
    """The stride of an axis of one pixel means nothing: NumPy and CuPy give a new one 0."""
    x = cases.values(np.random.default_rng(0), (3, 2, 4, 5), "complex64")[:, ::-1]
    out = np.zeros((3, 4, 5), np.complex64)[:, ::2, None, :]
    expected = cupysample.interpolate(x, size=(1, 5), mode="bilinear")
    cupysample.interpolate(Array(None, values=x), size=(1, 5), mode="bilinear", out=Array(None, values=out))
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert len(driver.launched) == 1


def test_the_real_launch_takes_what_it_is_given() -> None:
    """The signature and the names that ``_kernels.launcher`` relies on, of the installed CuPy."""
    cuda = pytest.importorskip("cupy").cuda
    signature = cuda.driver.launchKernel.__doc__.splitlines()[0]
    assert re.findall(r"(\w+)[,)]", signature) == [
        *("f", "grid_dim_x", "grid_dim_y", "grid_dim_z", "block_dim_x", "block_dim_y", "block_dim_z"),
        *("shared_mem_bytes", "stream", "kernel_params", "extra"),
    ]
    assert issubclass(cuda.driver.CUDADriverError, RuntimeError)
    assert callable(cuda.runtime.memGetInfo) and hasattr(cuda.function.Function, "ptr")


def test_the_real_array_is_made_as_ours_are() -> None:
    """What ``_arrays`` calls instead of ``cupy.ndarray`` is all that this does, of the installed CuPy."""
    ndarray: Any = pytest.importorskip("cupy").ndarray
    base: Any = ndarray.__base__
    assert "_init" in vars(base) and "_init" not in vars(ndarray)
    made = base.__new__(ndarray)
    assert type(made) is ndarray
    with pytest.raises(ValueError, match="Negative dimensions"):
        base._init(made, (1, -1), np.float32)


def test_a_warm_call_may_be_the_first_of_its_thread(driver: Driver) -> None:
    """Which has no context of the device yet; nothing but the launch needs one."""
    x = array(1, 2, 5, 6)
    expected = cupysample.interpolate(x, scale_factor=2, mode="bilinear").values.tobytes()
    seen: list[bytes] = []

    def call() -> None:
        seen.extend(cupysample.interpolate(x, scale_factor=2, mode="bilinear").values.tobytes() for _ in range(2))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert seen == [expected] * 2
    assert len(driver.launched) == 3


def test_a_failing_launch_says_why(cupy: Any, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the driver's words; and leaves nothing behind."""
    x, launch = array(1, 2, 5, 6), cupy.cuda.driver.launchKernel
    failing = True

    def perhaps(*arguments: Any) -> None:
        if failing:
            raise cupy.cuda.driver.CUDADriverError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")
        launch(*arguments)

    monkeypatch.setattr(cupy.cuda.driver, "launchKernel", perhaps)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="OUT_OF_RESOURCES"):
            cupysample.interpolate(x, scale_factor=2)
    failing = False
    np.testing.assert_array_equal(
        cupysample.interpolate(x, scale_factor=2).values, cupysample.interpolate(x.values, scale_factor=2)
    )
    assert len(driver.launched) == 1


def test_a_call_in_the_middle_of_a_launch(cupy: Any, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call with other arrays, as a finalizer or a signal's handler may make it: parameters are a call's own."""
    x, other = array(1, 2, 5, 6), Array(None, values=np.zeros((1, 2, 5, 6), np.float32))
    expected = cupysample.interpolate(x, scale_factor=2, mode="bilinear").values.tobytes()
    _cuda._launches.clear()
    launch = cupy.cuda.driver.launchKernel
    nested: list[bool] = []

    def interrupted(*arguments: Any) -> None:
        if not nested:
            nested.append(True)
            assert not cupysample.interpolate(other, scale_factor=2, mode="bilinear").values.any()
        launch(*arguments)

    monkeypatch.setattr(cupy.cuda.driver, "launchKernel", interrupted)
    for _ in range(3):
        nested.clear()
        assert cupysample.interpolate(x, scale_factor=2, mode="bilinear").values.tobytes() == expected
    assert len(driver.launched) == 7


def test_another_thread_may_be_importing_torch_or_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module is in sys.modules before it is complete."""
    for name in ("torch", "cupy"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    assert cupysample.interpolate(np.ones((1, 1, 2), np.float32), size=4).shape == (1, 1, 4)
    assert not hasattr(sys.modules["cupy"], "RawModule")
    monkeypatch.setattr("builtins.__import__", lambda *_: pytest.fail("imported"))
    with pytest.raises(pytest.fail.Exception, match="imported"):
        _kernels.import_cupy()
