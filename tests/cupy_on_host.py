"""A stand-in for CuPy whose device is the CPU: as much of it as cupysample uses, the kernels compiled with g++.

With it the whole path of a CuPy array runs without a GPU: adoption, tables, caches, streams, capture, eviction, launch.
It records what a driver would see, and fails where a device would: on a launch during capture of what is not warm.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from cupysample import _arrays, _cuda, _interpolate, _kernels
from tests import launches
from tests.host.harness import HostKernels, Job


class _Current(threading.local):
    """Of each thread, as in CUDA: its device, the streams it is inside of, and of which devices it has the context."""

    def __init__(self) -> None:
        self.device, self.streams, self.contexts = 0, [0], set[int]()


@dataclass
class Driver:
    """What the stand-in's device did."""

    kernels: HostKernels
    current: _Current = field(default_factory=_Current)
    capturing: set[int] = field(default_factory=set)
    launched: list[tuple[str, int, int]] = field(default_factory=list)  # instance, device, stream
    compiled: list[str] = field(default_factory=list)
    functions: dict[int, tuple[str, int]] = field(default_factory=dict)  # of a handle: instance, device
    handles: Iterator[int] = field(default_factory=lambda: itertools.count(0x1000, 16))
    idle: int = 0  # bytes that the pool keeps free, if these are all there is
    chosen: set[tuple[int, int]] = field(default_factory=set)  # (thread, device that it has made its own)
    uploads: int = 0
    live: int = 0  # bytes of memory outside of the pool
    allocations: int = 0
    waits: int = 0  # for a whole device
    places: dict[int, int] = field(default_factory=dict)  # the devices of addresses, 0 of others

    @property
    def device(self) -> int:
        """The device of this thread."""
        return self.current.device

    @device.setter
    def device(self, index: int) -> None:
        self.current.device = index
        self.chosen.add((threading.get_ident(), index))


class Array:
    """``cupy.ndarray``: NumPy memory that only the stand-in's kernels read."""

    __module__ = "cupy"

    def __init__(
        self, shape: Any, dtype: Any = float, *, values: NDArray[Any] | None = None, device: int | None = None
    ):
        if values is None:
            driver().allocations += 1
            values = np.empty(shape, dtype)
            values.reshape(-1).view(np.uint8)[...] = 0xAB
        self.values = values
        self.device = types.SimpleNamespace(id=driver().device if device is None else device)

    shape = property(lambda self: self.values.shape)
    strides = property(lambda self: self.values.strides)
    dtype = property(lambda self: self.values.dtype)
    itemsize = property(lambda self: self.values.itemsize)
    data = property(lambda self: types.SimpleNamespace(ptr=self.values.ctypes.data, device_id=self.device.id))

    def transpose(self, axes: tuple[int, ...]) -> Array:
        return Array(None, values=self.values.transpose(axes), device=self.device.id)

    def get(self) -> NDArray[Any]:
        return self.values


class Device:
    """``cupy.cuda.Device``."""

    compute_capability = "90"

    def __init__(self, index: int) -> None:
        self.index = index

    def __enter__(self) -> Device:  # noqa: PYI034 - Self is of Python 3.11
        self.before, driver().device = driver().device, self.index
        return self

    def __exit__(self, *_: object) -> None:
        driver().device = self.before

    def synchronize(self) -> None:
        driver().waits += 1


class Stream:
    """``cupy.cuda.Stream``."""

    count: ClassVar[int] = 0

    def __init__(self, *, non_blocking: bool = False) -> None:
        Stream.count += 1
        self.ptr = Stream.count if non_blocking else 0

    def __enter__(self) -> Stream:  # noqa: PYI034 - likewise
        driver().current.streams.append(self.ptr)
        return self

    def __exit__(self, *_: object) -> None:
        driver().current.streams.pop()

    def synchronize(self) -> None:
        assert self.ptr not in driver().capturing, "synchronised while capturing"

    def begin_capture(self) -> None:
        driver().capturing.add(self.ptr)

    def end_capture(self) -> None:
        driver().capturing.remove(self.ptr)


class Memory:
    """``cupy.cuda.memory.Memory``: freed with its last reference, and filled with junk then."""

    def __init__(self, size: int) -> None:
        if driver().idle:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        self._bytes = np.empty(size + 256, np.uint8)
        self.ptr, self.size, self._driver = self._bytes.ctypes.data, size, driver()
        self._driver.live += size

    def __del__(self) -> None:
        if hasattr(self, "_bytes"):
            self._bytes[...] = 0xFF
            self._driver.live -= self.size


class RawModule:
    """``cupy.RawModule``: finds the instance of the same text among those compiled for the host."""

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        assert options == ("-std=c++17",)
        matches = [key for key, text in driver().kernels.texts.items() if text == code]
        assert len(matches) == 1, "a text that is no listed instance"
        self.name = matches[0]
        driver().compiled.append(self.name)

    def get_function(self, entry: str) -> Any:
        assert entry == _kernels.entry(self.name.partition("-")[0])
        _give_context()
        handle = next(driver().handles)
        driver().functions[handle] = self.name, driver().device
        return types.SimpleNamespace(kernel=types.SimpleNamespace(ptr=handle))


class CUDARuntimeError(RuntimeError):
    """``cupy.cuda.runtime.CUDARuntimeError``."""


class CUDADriverError(RuntimeError):
    """``cupy.cuda.driver.CUDADriverError``."""


def _give_context() -> tuple[int, int]:
    """``cupy.cuda.runtime.memGetInfo``: as every call of the runtime that needs a context, it gives the thread that one."""
    driver().current.contexts.add(driver().device)
    return 0, 0


def _launch(
    function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int, at: int, extra: int
) -> None:
    """``cupy.cuda.driver.launchKernel``: reads the parameters from memory, where the kernel says how large they are."""
    assert not extra
    name, device = driver().functions[function]
    if driver().device not in driver().current.contexts:
        raise CUDADriverError("CUDA_ERROR_INVALID_CONTEXT: invalid device context")
    assert driver().device == device, "launched on another device than compiled for"
    sizes = (8, 8, driver().kernels.parameter_bytes(name))
    addresses = (ctypes.c_void_p * len(sizes)).from_address(at)
    source, out, geometry = (ctypes.string_at(where, size) for where, size in zip(addresses, sizes, strict=True))
    driver().launched.append((name, device, stream))
    job = Job(name, (gx, gy, gz), (bx, by, bz), {}, geometry, shared)
    driver().kernels.launch(job, {"source": int.from_bytes(source, "little"), "out": int.from_bytes(out, "little")})


def _is_capturing(stream: int) -> bool:
    """``cupy.cuda.runtime.streamIsCapturing``: an error for the default stream while another is captured."""
    if not stream and driver().capturing:
        raise CUDARuntimeError("cudaErrorStreamCaptureImplicit")
    return stream in driver().capturing


def _upload(target: int, source: int, size: int, kind: int, stream: int) -> None:
    assert kind == 1
    assert stream not in driver().capturing
    ctypes.memmove(target, source, size)
    driver().uploads += 1


def _attributes(address: int) -> types.SimpleNamespace:
    """``cupy.cuda.runtime.pointerGetAttributes``: of no memory there are none."""
    return types.SimpleNamespace(device=driver().places.get(address, 0) if address else -2)


def _asarray(x: Any) -> Array:
    """``cupy.asarray``: what lies on another device is copied to the current one."""
    values = getattr(x, "values", x)
    elsewhere = driver().places.get(values.ctypes.data, 0) != driver().device
    return Array(None, values=values.copy() if hasattr(x, "__cuda_array_interface__") and elsewhere else values)


def _from_dlpack(x: Any) -> Array:
    """``cupy.from_dlpack``: asks a producer for what its stream has for the current one, or takes a capsule."""
    if hasattr(x, "__dlpack__"):
        x = x.__dlpack__(stream=driver().current.streams[-1] or 1, max_version=(1, 0), copy=None)
    producer = types.SimpleNamespace(__dlpack__=lambda **_: x, __dlpack_device__=lambda: (1, 0))
    return Array(None, values=np.from_dlpack(producer))


@contextmanager
def tensors_on(device: int, stream: int) -> Iterator[None]:
    """Make CPU tensors of torch pass for CUDA tensors on this device, whose current stream of torch is ``stream``."""
    kind: Any = type(next(each for each in _arrays.LIBRARIES if each.name == "torch"))
    with pytest.MonkeyPatch.context() as patch:
        layout = kind.layout
        patch.setattr(
            kind,
            "layout",
            lambda self, x, name: layout(self, x, name)._replace(
                device=device, misalignment=x.data_ptr() % _arrays.ALIGNMENT
            ),
        )
        patch.setattr(_arrays, "_torch_empty", lambda on_cuda, empty=_arrays._torch_empty: empty(False))
        patch.setattr(_arrays, "_torch_stream", lambda: lambda device: stream)
        _interpolate._calls.clear()
        yield
    _interpolate._calls.clear()


_driver: list[Driver] = []


def driver() -> Driver:
    """The device of the stand-in that is installed."""
    return _driver[-1]


@contextmanager
def installed(kernels: HostKernels | None = None) -> Iterator[tuple[Any, Driver]]:
    """Put the stand-in in CuPy's place and yield it with its driver; caches of the package are emptied around it."""

    def empty_caches() -> None:
        for cache in (_interpolate._calls, _cuda._launches, _cuda._tables, _cuda._captured, _kernels._functions):
            cache.clear()
        _cuda._new.clear()
        _kernels._unwritable.clear()

    _driver.append(Driver(kernels or launches.build_all()))
    cuda = types.SimpleNamespace(
        Device=Device,
        Stream=Stream,
        get_current_stream=lambda device: types.SimpleNamespace(ptr=driver().current.streams[-1]),
        memory=types.SimpleNamespace(Memory=Memory),
        driver=types.SimpleNamespace(launchKernel=_launch, CUDADriverError=CUDADriverError),
        compiler=types.SimpleNamespace(CompileException=type("CompileException", (Exception,), {})),
        runtime=types.SimpleNamespace(
            streamIsCapturing=_is_capturing,
            memcpyAsync=_upload,
            memcpyHostToDevice=1,
            getDevice=lambda: driver().device,
            setDevice=lambda device: setattr(driver(), "device", device),
            memGetInfo=_give_context,
            pointerGetAttributes=_attributes,
            CUDARuntimeError=CUDARuntimeError,
        ),
    )
    module: Any = types.ModuleType("cupy")
    module.ndarray, module.cuda, module.RawModule = Array, cuda, RawModule
    module.asarray = _asarray
    module.from_dlpack = _from_dlpack
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: setattr(driver(), "idle", 0))
    before = sys.modules.get("cupy")
    empty_caches()
    sys.modules["cupy"] = module
    try:
        yield module, driver()
    finally:
        empty_caches()
        del sys.modules["cupy"]
        if before is not None:
            sys.modules["cupy"] = before
        _driver.pop()
