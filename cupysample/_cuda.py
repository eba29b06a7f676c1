"""Apply a plan to device memory: tables, prepared launches, and the few lines that execute one.

Once a call is warm nothing is uploaded, compiled, allocated or waited for.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cupysample import _kernels
from cupysample._arrays import Layout, Library, Output
from cupysample._launch import Launch, Table, launch
from cupysample._plan import Plan
from cupysample._tables import table_arrays
from cupysample._taps import Axis
from cupysample._tuning import LAUNCHES, TABLES_BYTES

# ---------------------------------------------------------------------------------------------------------------------
# Tables on the device


@dataclass(frozen=True, eq=False)
class _DeviceTable:
    """A table and the memory behind it, which is freed with the last launch that holds it."""

    addresses: Table
    memory: Any
    size: int


_tables: OrderedDict[tuple[Axis, int, int], _DeviceTable] = OrderedDict()
_captured: dict[_DeviceTable, None] = {}
"""Tables a captured graph reads: it may be launched at any time, so they are never freed."""

_launches: OrderedDict[Call, _Prepared] = OrderedDict()


def _upload(axis: Axis, windows: int, device: int) -> _DeviceTable:
    """Copy a table to the device and wait until it is there, so that every stream may read it."""
    cupy = _kernels.import_cupy()
    parts = table_arrays(axis, windows)
    ends = np.cumsum([-(-part.nbytes // 16) * 16 for part in parts]).tolist()
    offsets = [0, *ends[:-1]]
    packed = np.zeros(ends[-1], np.uint8)
    for offset, part in zip(offsets, parts, strict=True):
        packed[offset : offset + part.nbytes] = part.view(np.uint8).reshape(-1)
    with cupy.cuda.Device(device):
        # Not from CuPy's pool: its memory is reused in the order of one stream, a table is read from all.
        memory = cupy.cuda.memory.Memory(packed.nbytes)
        stream = cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.runtime.memcpyAsync(
            memory.ptr, packed.ctypes.data, packed.nbytes, cupy.cuda.runtime.memcpyHostToDevice, stream.ptr
        )
        stream.synchronize()
    return _DeviceTable(Table(*(memory.ptr + offset for offset in offsets)), memory, packed.nbytes)


def _evict() -> None:
    """Forget the least recently prepared tables beyond the bound, with every launch that could hold them.

    A table's memory is freed with its last reference, by ``cudaFree``, which waits for whatever was launched; a call
    that is about to launch holds a reference of its own.
    """
    if sum(table.size for table in _tables.values()) <= TABLES_BYTES:
        return
    _launches.clear()
    while len(_tables) > 1 and sum(table.size for table in _tables.values()) > TABLES_BYTES:
        _tables.popitem(last=False)


# ---------------------------------------------------------------------------------------------------------------------
# Execution


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A launch with all it needs; it holds its tables, so that they outlive it."""

    launch: Launch
    run: _kernels.Launcher
    tables: list[_DeviceTable]
    cuda: Any
    device: int


class Call(Protocol):
    """What to apply to arrays of which layouts; hashed and compared by these. ``output``: how to allocate a new one.

    ``prepared`` spares a warm call the look-up.
    """

    prepared: Callable[[], Any]

    @property
    def plan(self) -> Plan: ...
    @property
    def source(self) -> Layout: ...
    @property
    def out(self) -> Layout: ...
    @property
    def output(self) -> Output | None: ...


def apply(call: Call, library: Library, x: Any, out: Any) -> Any:
    """Enqueue the resampling of ``x`` into ``out``, or a new array, on the library's current stream of the device."""
    prepared: _Prepared = call.prepared() or _find(call, library)
    cuda, device = prepared.cuda, prepared.device
    runtime = cuda.runtime
    if runtime.getDevice() != device:
        with cuda.Device(device):
            return apply(call, library, x, out)
    output = call.output
    if output is not None:
        out = library.empty(x, output)
    stream = library.stream(device)
    if stream and runtime.streamIsCapturing(stream):
        _captured.update(dict.fromkeys(prepared.tables))
    prepared.run(library.address(x), library.address(out), stream)
    return out


def _find(call: Call, library: Library) -> _Prepared:
    """Return what an equal call has prepared, or prepare it."""
    prepared = _launches.get(call) or _first(call, library)
    call.prepared = weakref.ref(prepared)
    return prepared


def _first(call: Call, library: Library) -> _Prepared:
    """Prepare a call that is about to launch."""
    cuda, device = _kernels.import_cupy().cuda, call.source.device
    assert device is not None
    with cuda.Device(device):
        stream = library.stream(device)
        if stream and cuda.runtime.streamIsCapturing(stream):
            raise RuntimeError(
                "the stream is being captured and this call is the first of its kind, which compiles a kernel and "
                "uploads tables; before the capture, make the same call once or pass its arguments to "
                "cupysample.warmup"
            )
    return _prepare(call)


def warm(call: Call) -> None:
    """Do all that the first ``apply`` would, but the launch."""
    if call not in _launches:
        _prepare(call)


def _prepare(call: Call) -> _Prepared:
    """Build, upload and compile what a call needs, and remember it."""
    device = call.source.device
    assert device is not None
    tables: list[_DeviceTable] = []

    def table(axis: Axis, windows: int) -> Table:
        entry = _tables.get((axis, windows, device))
        if entry is None:
            entry = _tables[axis, windows, device] = _upload(axis, windows, device)
        _tables.move_to_end((axis, windows, device))
        tables.append(entry)
        return entry.addresses

    with _kernels.lock:
        remembered = _launches.get(call)
        if remembered is not None:  # by a thread that was faster
            return remembered
        made = launch(call.plan, call.source, call.out, table)
        _evict()
        run = _kernels.launcher(*made, device)
        _launches[call] = prepared = _Prepared(made, run, tables, _kernels.import_cupy().cuda, device)
        while len(_launches) > LAUNCHES:
            _launches.popitem(last=False)
    return prepared
