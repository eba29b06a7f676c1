"""Apply a plan to device memory: tables, prepared launches, and the few lines that execute one.

Once a call is warm nothing is uploaded, compiled, allocated or waited for.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cupysample import _kernels
from cupysample._arrays import Layout, Library, Output, Run
from cupysample._call import Call
from cupysample._launch import Launch, Table, instances_of, launch
from cupysample._plan import Plan
from cupysample._tables import Kind, table_arrays
from cupysample._taps import Axis
from cupysample._tuning import LAUNCHES, LOOK, TABLES, TABLES_BYTES

# ---------------------------------------------------------------------------------------------------------------------
# Tables on the device

_TableKey = tuple[Axis, Kind, int]


@dataclass(frozen=True, eq=False)
class _DeviceTable:
    """A table and the memory behind it, which is freed with the last launch that holds it or a table uploaded with it."""

    key: _TableKey
    addresses: Table
    memory: Any
    size: int


_tables: dict[_TableKey, _DeviceTable] = {}
"""The last used last."""
_new: list[int] = []
"""Bytes of those uploaded since all were looked at."""
_captured: dict[_DeviceTable, None] = {}
"""Tables a captured graph reads: it may be launched at any time, so they are never freed."""

_Key = tuple[Plan, Layout, Layout]
"""What a launch depends on."""
_launches: dict[_Key, _Prepared] = {}


def _tables_of(keys: list[_TableKey]) -> list[_DeviceTable]:
    """Return tables of one device; they are the last that are forgotten."""
    found = {key: table for key in keys if (table := _tables.get(key))}
    missing = [key for key in dict.fromkeys(keys) if key not in found]
    for table in _upload(missing) if missing else ():
        found[table.key] = table
        _new.append(table.size)
    for table in found.values():
        _use(table)
    return [found[key] for key in keys]


def _upload(keys: list[_TableKey]) -> list[_DeviceTable]:
    """Copy tables to their device, at once, and wait until they are there, so that every stream may read them."""
    cupy, (_, _, device) = _kernels.import_cupy(), keys[0]
    tables = [table_arrays(axis, kind) for axis, kind, _ in keys]
    parts = [*itertools.chain(*tables)]
    begins = [*itertools.accumulate((-(-part.nbytes // 16) * 16 for part in parts), initial=0)]
    packed = np.zeros(begins[-1], np.uint8)
    for begin, part in zip(begins, parts, strict=False):
        packed[begin : begin + part.nbytes] = part.view(np.uint8).reshape(-1)
    with cupy.cuda.Device(device):
        memory = _reserved(cupy, packed.nbytes)
        stream = cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.runtime.memcpyAsync(
            memory.ptr, packed.ctypes.data, packed.nbytes, cupy.cuda.runtime.memcpyHostToDevice, stream.ptr
        )
        stream.synchronize()
    addresses = (memory.ptr + begin for begin in begins)
    return [
        _DeviceTable(key, Table(*itertools.islice(addresses, len(table))), memory, sum(part.nbytes for part in table))
        for key, table in zip(keys, tables, strict=True)
    ]


def _reserved(cupy: Any, size: int) -> Any:
    """Memory of the current device, from the driver: a pool's is reused in the order of one stream, a table is read from all."""
    try:
        return cupy.cuda.memory.Memory(size)
    except cupy.cuda.runtime.CUDARuntimeError:  # what there is may lie idle in pools
        cupy.get_default_memory_pool().free_all_blocks()
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.cuda.empty_cache()
        return cupy.cuda.memory.Memory(size)


def _use(table: _DeviceTable) -> None:
    """It is the last that is forgotten."""
    _tables.pop(table.key, None)
    _tables[table.key] = table


def _evict() -> None:
    """Forget the least recently used tables beyond the bounds, but captured ones, with the launches that hold them.

    Memory is freed with the last reference to a table in it, by ``cudaFree``, which waits for whatever was launched; a call
    that is about to launch holds a reference of its own. A finalizer that calls may do the same between any two steps.
    """
    if LOOK * sum(_new) < TABLES_BYTES and LOOK * len(_new) < TABLES:
        return
    _new.clear()
    mortal = [table for table in list(_tables.values()) if table not in _captured]
    excess, many = sum(table.size for table in mortal) - TABLES_BYTES, len(mortal) - TABLES
    evicted = set()
    for table in mortal[:-1]:
        if excess <= 0 and many <= 0:
            break
        excess, many = excess - table.size, many - 1
        evicted.add(table)
        _tables.pop(table.key, None)
    if evicted:
        for call, prepared in list(_launches.items()):
            if not evicted.isdisjoint(prepared.tables):
                _launches.pop(call, None)


# ---------------------------------------------------------------------------------------------------------------------
# Execution


class _Prepared(NamedTuple):
    """A launch ready to be made.

    launch:    its numbers.
    launcher:  the driver's call.
    tables:    that it reads, kept alive by it.
    runs:      what executes it, by library and how outputs are allocated.
    """

    launch: Launch
    launcher: _kernels.Launcher
    tables: tuple[_DeviceTable, ...]
    runs: dict[tuple[Library, Output], Run]


def prepared(call: Call, like: Any) -> Run:
    """Return what runs a call that is about to launch; ``like``: an array of its dtype."""
    key = _key(call)
    found = _launches.get(key) or _first(call, key)
    each = call.library, call.output
    return found.runs.get(each) or found.runs.setdefault(each, _run(call, like, *found[:-1]))


def _key(call: Call) -> _Key:
    return call.plan, call.source.canonical(), call.out.canonical()


def _first(call: Call, key: _Key) -> _Prepared:
    """Prepare a call that is about to launch."""
    with _kernels.lock:
        found = _launches.get(key)
    if found is not None:  # by a thread that was faster
        return found
    cuda, device = _kernels.import_cupy().cuda, call.source.device
    assert device is not None
    with cuda.Device(device):
        stream = call.library.stream()(device)
        if stream and cuda.runtime.streamIsCapturing(stream):
            raise RuntimeError(
                "the stream is being captured and this call is the first of its kind, or was forgotten since: it compiles "
                "a kernel and uploads tables; before the capture, make the same call once or pass its arguments to "
                "cupysample.warmup"
            )
    return _prepare(call, key)


def warm(call: Call) -> None:
    """Do all that the first run would, but allocate and launch; what has been prepared is the last to be forgotten again."""
    key = _key(call)
    with _kernels.lock:
        found = _launches.pop(key, None)
        if found is None:
            _prepare(call, key)
        else:
            _launches[key] = found
            for table in found.tables:
                _use(table)


def warm_any_size(call: Call, method: str, transposed: bool) -> None:
    """Compile all that calls may need which differ from this one in their sizes."""
    assert call.source.device is not None
    instances = instances_of(len(call.plan.axes), call.source.dtype, method, transposed)
    _kernels.compile_all(instances, call.source.device)


def _prepare(call: Call, key: _Key) -> _Prepared:
    """Build, upload and compile what a call needs, and remember it."""
    device = call.source.device
    assert device is not None
    tables: list[_DeviceTable] = []

    def addresses(of: list[tuple[Axis, Kind]]) -> list[Table]:
        tables.extend(_tables_of([(axis, kind, device) for axis, kind in of]))
        return [table.addresses for table in tables]

    with _kernels.lock:
        remembered = _launches.get(key)
        if remembered is not None:  # by a thread that was faster
            return remembered
        made = launch(*key, addresses)
        launcher = _kernels.launcher(*made[:-1], device)
        _evict()
        _launches[key] = prepared = _Prepared(made, launcher, tuple(tables), {})
        if len(_launches) > LAUNCHES:
            for other in list(_launches)[:-LAUNCHES]:
                _launches.pop(other, None)
    return prepared


def _run(call: Call, like: Any, made: Launch, launch: _kernels.Launcher, tables: tuple[_DeviceTable, ...]) -> Run:
    """All that a warm call needs, looked up once."""
    library, device, geometry = call.library, call.source.device, made.geometry
    assert device is not None
    allocate = call.allocator(like)
    address, current_stream = library.address, library.stream()
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

    return library.on_device(run, device)
