"""Launches as data, and the shared objects that execute them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .accesses import ACCESS, Log, Range, numbered
from .compiler import Flavour, shared_object, statics

Order = Literal["forward", "reversed"] | int
ALIGNMENT = 256  # of every allocation on a device


class LaunchError(Exception):
    """A launch that no device would accept, barrier divergence, or a shuffle that reads an absent lane."""


@dataclass(frozen=True)
class Relocation:
    """A pointer among the parameters: `parameters[offset:offset + 8]` is the address of `byte` in `array`."""

    offset: int
    array: str
    byte: int = 0


@dataclass(frozen=True)
class Job:
    """A launch with everything it reads and writes.

    An array is a buffer: C-contiguous, whole, placed at an aligned address of its own. A view is its buffer, the offset
    in bytes of its element [0, 0, …], and the strides that the parameters hold. ``chosen`` blocks run alone, x counting
    fastest; all if there are none.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arrays: Mapping[str, NDArray[Any]]
    parameters: bytes
    shared: int = 0
    source: str = "source"
    out: str = "out"
    source_offset: int = 0
    out_offset: int = 0
    relocations: tuple[Relocation, ...] = ()
    chosen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            if not array.flags.c_contiguous:
                raise ValueError(f"{name}: an array of a job is a C-contiguous buffer")


class HostKernels:
    """The instances of one shared object. One launch runs at a time."""

    def __init__(self, texts: Mapping[str, str], flavour: Flavour, path: Path) -> None:
        self.texts, self.flavour, self.path = dict(texts), flavour, path
        self._index = {name: k for k, name in enumerate(sorted(texts))}

    @cached_property
    def _library(self) -> ctypes.PyDLL:
        """Loaded late: the flavour "sanitize" only loads into a process that began with its runtime."""
        library = ctypes.PyDLL(str(self.path))  # holds the interpreter's lock: the scheduler has one state
        library.host_launch.restype = ctypes.c_char_p
        library.host_log.restype = library.host_base.restype = library.host_shared.restype = ctypes.c_void_p
        return library

    @cached_property
    def _statics(self) -> dict[int, dict[str, Range]]:
        """The static shared variables of each instance; namesakes are numbered."""
        base: int = self._library.host_base()
        found: dict[int, dict[str, Range]] = {}
        for static in statics(self.path):
            named = found.setdefault(static.instance, {})
            namesakes = sum(name.split(" ")[0] == static.name for name in named)
            name = f"{static.name} {namesakes + 1}" if namesakes else static.name
            named[name] = Range(base + static.offset, static.nbytes)
        return found

    def parameter_bytes(self, name: str) -> int:
        """The size of the parameter struct of instance `name`."""
        return ctypes.c_size_t.in_dll(self._library, f"parameter_bytes_{self._index[name]}").value

    def launch(
        self, job: Job, addresses: Mapping[str, int], order: Order = "forward", *, logging: bool = False
    ) -> None:
        """Launch on buffers that the caller has placed; `order` is that of threads and blocks, a number shuffles."""
        expected = self.parameter_bytes(job.kernel)
        if len(job.parameters) != expected:
            raise ValueError(f"{job.kernel}: parameters of {len(job.parameters)} bytes, the kernel's have {expected}")
        parameters = placed(np.frombuffer(job.parameters, np.uint8))
        for r in job.relocations:
            parameters[r.offset : r.offset + 8] = np.array([addresses[r.array] + r.byte], np.uint64).view(np.uint8)
        static = self._statics.get(self._index[job.kernel], {}).values()
        launch = _Launch(
            grid=job.grid,
            block=job.block,
            shared=job.shared,
            statics=(_Memory * len(static))(*(_Memory(*memory) for memory in static)),
            static_count=len(static),
            source=addresses[job.source] + job.source_offset,
            out=addresses[job.out] + job.out_offset,
            parameters=parameters.ctypes.data,
            order={"forward": -2, "reversed": -1}[order] if isinstance(order, str) else order,
            chosen=(ctypes.c_uint32 * len(job.chosen))(*job.chosen),
            chosen_count=len(job.chosen),
        )
        call = getattr(self._library, f"call_{self._index[job.kernel]}")
        error = self._library.host_launch(call, ctypes.byref(launch), int(logging))
        if error is not None:
            raise LaunchError(f"{job.kernel}: {error.decode()}")

    def run(self, job: Job, order: Order = "forward") -> NDArray[Any]:
        """A copy of the job's output array as the launch leaves it; the job's own arrays stay as they are."""
        return self._run(job, order, logging=False)[job.out]

    def log(self, job: Job, order: Order = "forward") -> Log:
        """Every access of the launch to memory; flavour "log"."""
        if self.flavour != "log":
            raise ValueError(f'flavour "log" logs accesses, not "{self.flavour}"')
        arrays = self._run(job, order, logging=True)
        buffers = {name: Range(array.ctypes.data, array.nbytes) for name, array in arrays.items()}
        shared = {
            "shared": Range(self._library.host_shared(), job.shared),
            **self._statics.get(self._index[job.kernel], {}),
        }
        return Log(numbered(self._accesses()), buffers, shared)

    def _run(self, job: Job, order: Order, logging: bool) -> dict[str, NDArray[Any]]:
        arrays = {name: placed(array) for name, array in job.arrays.items()}
        self.launch(job, {name: array.ctypes.data for name, array in arrays.items()}, order, logging=logging)
        return arrays

    def _accesses(self) -> NDArray[Any]:
        count = ctypes.c_uint64()
        address = self._library.host_log(ctypes.byref(count))
        return np.frombuffer(ctypes.string_at(address, count.value * ACCESS.itemsize), ACCESS).copy()


class _Memory(ctypes.Structure):  # as in cuda_on_host.cpp
    _fields_ = (("address", ctypes.c_void_p), ("bytes", ctypes.c_uint64))


class _Launch(ctypes.Structure):  # as in cuda_on_host.cpp
    _fields_ = (
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared", ctypes.c_uint64),
        ("statics", ctypes.POINTER(_Memory)),
        ("static_count", ctypes.c_uint64),
        ("source", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("parameters", ctypes.c_void_p),
        ("order", ctypes.c_int64),
        ("chosen", ctypes.POINTER(ctypes.c_uint32)),
        ("chosen_count", ctypes.c_uint64),
    )


def placed(array: NDArray[Any]) -> NDArray[Any]:
    """A copy at an aligned address."""
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def build(texts: Mapping[str, str], flavour: Flavour = "plain", directory: Path | None = None) -> HostKernels:
    """Compile instances, given as name -> whole kernel text, or load them from the cache."""
    return HostKernels(texts, flavour, shared_object(texts, flavour, directory))
