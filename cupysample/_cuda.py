"""Apply a plan to device memory: tables, the launch as data, and the few lines that execute it.

``launch`` is a pure function of a plan, two layouts and the addresses of tables. The tests run what it returns on the
CPU; here it goes to the driver. Once a call is warm nothing is uploaded, compiled, allocated or waited for.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from cupysample import _kernels
from cupysample._arrays import Layout, Library, Output
from cupysample._kernels import Defines
from cupysample._plan import DTYPES, Plan
from cupysample._taps import METHODS, Axis, Taps, fixed_point_bits
from cupysample._tuning import BLOCK, LAUNCHES, MAX_BLOCKS, TABLE_BYTES, TABLE_ROWS, TABLES_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARITHMETIC = {"float": 1, "integer": 2, "fixed": 3, "mean": 4}
FORWARD, TRANSPOSED = 1, 2
"""Rows computed by the threads, of a matrix or of its transpose; see kernels/taps.cuh."""
METHOD_NUMBERS = {method: number for number, method in enumerate(METHODS)}
REALS = {"complex64": "float32", "complex128": "float64"}

_BATCH = np.dtype([("extent", "i8"), ("source_stride", "i8"), ("out_stride", "i8")])
_AXIS = np.dtype(
    [
        ("left", "u8"),
        ("count", "u8"),
        ("weight", "u8"),
        ("width", "i8"),
        ("n_in", "i8"),
        ("n_out", "i8"),
        ("source_stride", "i8"),
        ("out_stride", "i8"),
        ("step", "f8"),
        ("method", "i4"),
        ("align_corners", "i4"),
        ("wide", "i4"),
        ("bits", "i4"),
    ]
)


@cache
def geometry_dtype(axes: int) -> np.dtype[Any]:
    """``struct Geometry`` of kernels/geometry.cuh, byte for byte."""
    return np.dtype([("outer", _BATCH, 2), ("inner", _BATCH), ("axis", _AXIS, axes)])


class Launch(NamedTuple):
    """One kernel launch but for the two addresses: ``kernel(source, out, geometry)``."""

    kernel: str
    defines: Defines
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    geometry: NDArray[Any]


class Table(NamedTuple):
    """Addresses of an axis' table."""

    lefts: int
    counts: int
    weights: int
    width: int


# ---------------------------------------------------------------------------------------------------------------------
# The launch, as data


def launch(plan: Plan, source: Layout, out: Layout, table: Callable[[Axis], Table]) -> Launch:
    """Return the launch that applies ``plan``; ``table`` gives the addresses of an axis' table."""
    copy = plan.arithmetic == "copy"
    dtype, itemsize, parts = source.dtype, source.itemsize, 1
    if not copy and dtype in REALS:  # a complex number is two reals
        dtype, itemsize, parts = REALS[dtype], itemsize // 2, 2
    source_strides = _in_elements(source.strides, itemsize, "input")
    out_strides = _in_elements(out.strides, itemsize, "out")
    batch = [(source.shape[d], source_strides[d], out_strides[d]) for d in (0, 1)]
    steps = [abs(stride) for stride, n in zip(out_strides[2:], out.shape[2:], strict=True) if n > 1]
    outer, inner = _view([*batch, (parts, 1, 1)], min(steps, default=2**63))
    small = _fits_int32(source.shape, source_strides, parts) and _fits_int32(out.shape, out_strides, parts)
    computed = 0
    if plan.arithmetic == "mean" or not all(has_table(axis) for axis in plan.axes):
        computed = TRANSPOSED if plan.axes[0].transposed else FORWARD

    geometry = np.zeros(1, geometry_dtype(len(plan.axes)))
    geometry["outer"] = outer
    geometry["inner"] = inner
    for d, axis in enumerate(plan.axes):
        entry = geometry["axis"][0, d]
        if not copy and not computed:
            entry["left"], entry["count"], entry["weight"], entry["width"] = table(axis)
        entry["n_in"], entry["n_out"] = axis.n_in, axis.n_out
        entry["source_stride"], entry["out_stride"] = source_strides[d + 2], out_strides[d + 2]
        entry["step"], entry["method"] = axis.step, METHOD_NUMBERS[axis.method]
        entry["align_corners"] = axis.align_corners
        entry["wide"] = axis.index_dtype == np.float64
        entry["bits"] = fixed_point_bits(axis) if plan.arithmetic == "fixed" else 0

    kernel, defines = "nearest", nearest_defines(len(plan.axes), itemsize, small)
    if not copy:
        kernel = "resample"
        defines = resample_defines(len(plan.axes), dtype, plan.arithmetic, small and not computed, computed)
    blocks = min(-(-math.prod(out.shape) * parts // BLOCK), MAX_BLOCKS)
    return Launch(kernel, defines, (blocks, 1, 1), (BLOCK, 1, 1), 0, geometry)


def nearest_defines(axes: int, itemsize: int, small: bool) -> Defines:
    """The defines of an instance of kernels/nearest.cu."""
    return (("CS_AXES", str(axes)), ("CS_BYTES", str(itemsize)), ("CS_INDEX", _index(small)))


def resample_defines(axes: int, dtype: str, arithmetic: str, small: bool, computed: int) -> Defines:
    """The defines of an instance of kernels/resample.cu."""
    return (
        ("CS_AXES", str(axes)),
        ("CS_TYPE", f"CS_{dtype.upper()}"),
        ("CS_ARITHMETIC", str(ARITHMETIC[arithmetic])),
        ("CS_INDEX", _index(small)),
        ("CS_COMPUTED", str(computed)),
    )


def instances() -> list[tuple[str, Defines]]:
    """Every instance that ``launch`` can ask for."""
    result: list[tuple[str, Defines]] = []
    for axes in (1, 2, 3):
        for small in (True, False):
            result += [("nearest", nearest_defines(axes, size, small)) for size in (1, 2, 4, 8, 16)]
        for dtype, row in DTYPES.items():
            if row.arithmetic == "copy" or dtype in REALS:
                continue
            for small, computed in ((True, 0), (False, 0), (False, FORWARD), (False, TRANSPOSED)):
                if computed != TRANSPOSED or row.arithmetic == "float":
                    result.append(("resample", resample_defines(axes, dtype, row.arithmetic, small, computed)))
        result.append(("resample", resample_defines(axes, "uint8", "mean", small=False, computed=FORWARD)))
    return result


def has_table(axis: Axis) -> bool:
    """Whether the axis' rows are tabulated; longer ones are computed by each thread."""
    return axis.n_out <= TABLE_ROWS and axis.n_in < 2**31 and axis.n_out * (axis.width + 2) * 8 <= TABLE_BYTES


def table_arrays(axis: Axis) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
    """Return left, count and weight as the kernels read them."""
    taps: Taps = axis.taps()
    assert taps.weight is not None
    return taps.left.astype(np.int32), taps.count.astype(np.int32), np.ascontiguousarray(taps.weight)


def _index(small: bool) -> str:
    return "int" if small else "long long"


def _in_elements(strides: tuple[int, ...], itemsize: int, name: str) -> tuple[int, ...]:
    if any(stride % itemsize for stride in strides):
        raise ValueError(f"{name}: strides must be multiples of the element's {itemsize} bytes, got {strides}")
    return tuple(stride // itemsize for stride in strides)


def _fits_int32(shape: tuple[int, ...], strides: tuple[int, ...], parts: int) -> bool:
    """Whether every offset and index fits an int, with room for the last grid-stride step."""
    room = 2**31 - BLOCK * MAX_BLOCKS
    reach = sum(abs(stride) * (extent - 1) for extent, stride in zip(shape, strides, strict=True))
    return math.prod(shape) * parts < room and reach + parts < room


def _view(batch: list[tuple[int, int, int]], dense: int) -> tuple[list[tuple[int, int, int]], tuple[int, int, int]]:
    """Fold (extent, source stride, out stride) of batch, channels and complex part into two outer and one inner.

    What is denser in the output than ``dense``, the resampled axes, goes inside. Neighbours that are one stride merge.
    """
    one = (1, 0, 0)
    merged: list[tuple[int, int, int]] = []
    for dim in batch:
        if dim[0] == 1:
            continue
        if merged and _same_side(merged[-1], dim, dense) and merged[-1][1:] == (dim[0] * dim[1], dim[0] * dim[2]):
            merged[-1] = (merged[-1][0] * dim[0], dim[1], dim[2])
        else:
            merged.append(dim)
    inner = one
    if merged and abs(merged[-1][2]) < dense:
        inner = merged.pop()
    return [one] * (2 - len(merged)) + merged, inner


def _same_side(a: tuple[int, int, int], b: tuple[int, int, int], dense: int) -> bool:
    return (abs(a[2]) < dense) == (abs(b[2]) < dense)


# ---------------------------------------------------------------------------------------------------------------------
# Tables on the device


@dataclass(frozen=True, eq=False)
class _DeviceTable:
    """A table and the memory behind it, which is freed with the last launch that holds it."""

    addresses: Table
    memory: Any
    size: int


_tables: OrderedDict[tuple[Axis, int], _DeviceTable] = OrderedDict()
_captured: dict[_DeviceTable, None] = {}
"""Tables a captured graph reads: it may be launched at any time, so they are never freed."""

_launches: OrderedDict[Call, _Prepared] = OrderedDict()
_lock = threading.Lock()


def _upload(axis: Axis, device: int) -> _DeviceTable:
    """Copy a table to the device and wait until it is there, so that every stream may read it."""
    cupy = _kernels.import_cupy()
    parts = table_arrays(axis)
    offsets = [0, parts[0].nbytes, -(-2 * parts[0].nbytes // 8) * 8]
    packed = np.zeros(offsets[2] + parts[2].nbytes, np.uint8)
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
    left, count, weight = (memory.ptr + offset for offset in offsets)
    return _DeviceTable(Table(left, count, weight, parts[2].shape[1]), memory, packed.nbytes)


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
    function: Any
    parameters: Any
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
    if stream.ptr and runtime.streamIsCapturing(stream.ptr):
        _captured.update(dict.fromkeys(prepared.tables))
    source, target = x, out
    if not library.launches:
        pointer = cuda.function.CIntptr  # a bare int is guessed to be a scalar, at twice the time of a launch
        source, target = pointer(library.address(x)), pointer(library.address(out))
    _, _, grid, block, shared, _ = prepared.launch
    prepared.function(grid, block, (source, target, prepared.parameters), shared, stream)
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
        stream = library.stream(device).ptr
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

    def table(axis: Axis) -> Table:
        entry = _tables.get((axis, device))
        if entry is None:
            entry = _tables[axis, device] = _upload(axis, device)
        _tables.move_to_end((axis, device))
        tables.append(entry)
        return entry.addresses

    with _lock:
        made = launch(call.plan, call.source, call.out, table)
        _evict()
        function = _kernels.function(made.kernel, made.defines, device)
        cuda = _kernels.import_cupy().cuda
        parameters = cuda.function.CNumpyArray(made.geometry)
        _launches[call] = prepared = _Prepared(made, function, parameters, tables, cuda, device)
        while len(_launches) > LAUNCHES:
            _launches.popitem(last=False)
    return prepared
