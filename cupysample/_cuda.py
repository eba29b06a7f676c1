"""Apply a plan to device memory: tables, prepared launches, and the few lines that execute one.

Once a call is warm nothing is uploaded, compiled, allocated or waited for.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cupysample import _kernels
from cupysample._call import Call, Run
from cupysample._launch import Launch, Table, launch
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


class _Prepared(NamedTuple):
    """A launch, and what runs it, which holds its tables, so that they outlive it."""

    launch: Launch
    run: Run


def prepared(call: Call, like: Any) -> Run:
    """Return what an equal call that is about to launch has prepared, or prepare it; ``like``: an array of its dtype."""
    return (_launches.get(call) or _first(call, like)).run


def _first(call: Call, like: Any) -> _Prepared:
    """Prepare a call that is about to launch."""
    cuda, device = _kernels.import_cupy().cuda, call.source.device
    assert device is not None
    with cuda.Device(device):
        stream = call.library.stream()(device)
        if stream and cuda.runtime.streamIsCapturing(stream):
            raise RuntimeError(
                "the stream is being captured and this call is the first of its kind, which compiles a kernel and "
                "uploads tables; before the capture, make the same call once or pass its arguments to "
                "cupysample.warmup"
            )
    return _prepare(call, like)


def warm(call: Call, like: Any) -> None:
    """Do all that the first run would, but allocate and launch."""
    if call not in _launches:
        _prepare(call, like)


def _prepare(call: Call, like: Any) -> _Prepared:
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
        _launches[call] = prepared = _Prepared(made, _run(call, like, made, tables))
        while len(_launches) > LAUNCHES:
            _launches.popitem(last=False)
    return prepared


def _run(call: Call, like: Any, made: Launch, tables: list[_DeviceTable]) -> Run:
    """All that a warm call needs, looked up once."""
    library, device, geometry = call.library, call.source.device, made.geometry
    assert device is not None
    allocate = call.allocator(like)
    address, current_stream = library.address, library.stream()
    launch = _kernels.launcher(*made[:-1], device)
    cuda = _kernels.import_cupy().cuda
    runtime, driver_error = cuda.runtime, cuda.driver.CUDADriverError
    current_device, set_device, is_capturing = runtime.getDevice, runtime.setDevice, runtime.streamIsCapturing
    # Other threads run while the driver copies the parameters, and a finalizer may run at any time: each call takes
    # parameters that no other has, and puts them back.
    free: list[_kernels.Parameters] = []

    def run(x: Any, out: Any) -> Any:
        before = current_device()
        try:
            if before != device:
                set_device(device)
            if out is None:
                out = allocate()
            stream = current_stream(device)
            if stream and is_capturing(stream):
                _captured.update(dict.fromkeys(tables))
            try:
                parameters = free.pop()
            except IndexError:
                parameters = _kernels.parameters(geometry)
            words, addresses = parameters
            words[0], words[1] = address(x), address(out)
            try:
                launch(stream, addresses, 0)
            except driver_error:
                runtime.memGetInfo()  # gives a thread the device's context, which its first call may lack
                launch(stream, addresses, 0)
            free.append(parameters)
        finally:
            if before != device:
                set_device(before)
        return out

    return run
