"""The launches that a GPU would get, on host memory.

``run`` executes one from the addresses of NumPy arrays; ``job`` packs one with everything it reads and writes, for the
sanitizers and the access log.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupysample import (
    _arrays,
    _bands,
    _few_taps,
    _interpolate,
    _kernels,
    _launch,
    _made,
    _plan,
    _tables,
    _tuning,
    _view,
)
from cupysample._arrays import Layout
from cupysample._kernels import Defines
from cupysample._launch import Launch, Table
from cupysample._tables import Kind
from cupysample._taps import Axis
from tests.host.harness import Flavour, HostKernels, Job, Order, Relocation, build
from tests.host.kernels import placed


def name(kernel: str, defines: Defines) -> str:
    """One name for each instance."""
    return "-".join((kernel, *(value for _, value in defines)))


def build_all(flavour: Flavour = "plain", keep: Callable[[str], bool] = lambda _: True) -> HostKernels:
    """Compile every instance, or those whose name is to be kept."""
    instances = {name(*instance): _kernels.source(*instance) for instance in _launch.instances()}
    return build({key: text for key, text in instances.items() if keep(key)}, flavour)


NAMES = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")


def arguments_of(**given: Any) -> _interpolate.Arguments:
    """The arguments of ``interpolate`` in its order, defaults for those not given."""
    assert given.keys() <= set(NAMES)
    complete = {"mode": "nearest", "antialias": False} | given
    size, scale_factor, mode, align_corners, recompute_scale_factor, antialias = map(complete.get, NAMES)
    return size, scale_factor, mode, align_corners, recompute_scale_factor, antialias


def plan_and_output(x: NDArray[Any], **arguments: Any) -> tuple[_plan.Plan, NDArray[Any]]:
    """The plan of a call and its output, poisoned."""
    library = _arrays.library(x, "input")
    call = _interpolate.checked(library, x, None, arguments_of(**arguments), None)
    out = library.allocator(x, call.output)()
    poison(out)
    return call.plan, out


def plan_and_gradient(
    g: NDArray[Any], input_size: tuple[int, ...], **arguments: Any
) -> tuple[_plan.Plan, NDArray[Any]]:
    """The transposed plan of a call and its C-contiguous output, poisoned."""
    dtype = g.dtype.name
    plan = _interpolate.plan_of(input_size, dtype, *arguments_of(**arguments)).transposed(dtype)
    out: NDArray[Any] = np.empty(input_size, g.dtype)
    poison(out)
    return plan, out


def layout(x: NDArray[Any], address: int) -> Layout:
    """The layout of an array as the kernels get it, its element [0, 0, …] at an address."""
    return Layout(x.shape, x.strides, x.dtype.name, x.itemsize, 0, address % _arrays.ALIGNMENT)


def poison(out: NDArray[Any]) -> None:
    """Fill with a pattern that no result has everywhere."""
    base = out if out.base is None else out.base
    base.reshape(-1).view(np.uint8)[...] = 0xAB


NON_FINITE = (np.isnan, np.isposinf, np.isneginf)
"""Kinds of values that are not finite."""


class Tables:
    """Tables of axes in host memory, alive as long as this is."""

    def __init__(self) -> None:
        self.arrays: list[tuple[NDArray[Any], ...]] = []

    def __call__(self, of: list[tuple[Axis, Kind]]) -> list[Table]:
        some = [tuple(placed(array) for array in _tables.table_arrays(*each)) for each in of]
        self.arrays += some
        return [Table(*(array.ctypes.data for array in arrays)) for arrays in some]


def nowhere(of: list[tuple[Axis, Kind]]) -> list[Table]:
    """Tables of launches that are only looked at."""
    return [Table(1, 2, 3) for _ in of]


def launch(plan: _plan.Plan, x: NDArray[Any], out: NDArray[Any], tables: _launch.Tables) -> Launch:
    """What ``_cuda`` would launch on a device, the arrays at the addresses that they have."""
    return _launch.launch(plan, layout(x, x.ctypes.data), layout(out, out.ctypes.data), tables)


def tune(patch: pytest.MonkeyPatch, **constants: Any) -> None:
    """Launch as if constants of ``_tuning`` were others, wherever they are read."""
    for constant, value in constants.items():
        readers = [module for module in (_launch, _few_taps, _bands, _made, _view) if hasattr(module, constant)]
        assert readers, constant
        for module in readers:
            patch.setattr(module, constant, value)


def tune_resident(patch: pytest.MonkeyPatch, threads: int) -> None:
    """As if a device held so many threads of the kernels that walk down H."""
    walks = dict.fromkeys(_tuning.RESIDENT_WALKS, threads)
    tune(patch, RESIDENT_BAND_BYTES=(threads, threads), RESIDENT_WALKS=walks)


@contextmanager
def general() -> Iterator[None]:
    """Launch the general kernels, which specify the others."""
    with pytest.MonkeyPatch.context() as patch:
        for special in ("few_taps", "band"):
            patch.setattr(_launch, special, lambda *_: None)
        yield


def bounded(grid: tuple[int, int, int], blocks: int) -> tuple[int, int, int]:
    """The grid, of at most so many blocks along each of its axes unless 0."""
    x, y, z = (min(n, blocks or n) for n in grid)
    return x, y, z


def run(
    kernels: HostKernels,
    x: NDArray[Any],
    *,
    order: Order = "forward",
    blocks: int = 0,
    out: NDArray[Any] | None = None,
    **arguments: Any,
) -> NDArray[Any]:
    """Resample with the kernels on the host; ``blocks`` bounds the grid along each axis."""
    plan, new = plan_and_output(x, **arguments)
    out = new if out is None else out
    if 0 not in out.shape:
        tables = Tables()
        execute(kernels, launch(plan, x, out, tables), x.ctypes.data, out.ctypes.data, order, blocks)
    return out


def assert_non_finite_as_general(kernels: HostKernels, x: NDArray[Any], **arguments: Any) -> NDArray[np.float64]:
    """Values that are not finite reach the outputs that they reach by the general kernels, whose result is returned."""
    y = run(kernels, x, blocks=1, **arguments).astype(np.float64)
    with general():
        expected = run(kernels, x, **arguments).astype(np.float64)
    for kind in NON_FINITE:
        np.testing.assert_array_equal(kind(y), kind(expected))
    return expected


def run_backward(
    kernels: HostKernels,
    g: NDArray[Any],
    input_size: tuple[int, ...],
    *,
    order: Order = "forward",
    blocks: int = 0,
    out: NDArray[Any] | None = None,
    **arguments: Any,
) -> NDArray[Any]:
    """The gradient by the kernels on the host."""
    plan, new = plan_and_gradient(g, input_size, **arguments)
    out = new if out is None else out
    if 0 in out.shape:
        return out
    tables = Tables()
    execute(kernels, launch(plan, g, out, tables), g.ctypes.data, out.ctypes.data, order, blocks)
    return out


def execute(
    kernels: HostKernels,
    made: Launch,
    source: int,
    out: int,
    order: Order = "forward",
    blocks: int = 0,
    chosen: tuple[int, ...] = (),
) -> None:
    """Execute a launch on addresses; or some of its blocks."""
    unpacked = Job(
        name(made.kernel, made.defines),
        bounded(made.grid, blocks),
        made.block,
        {},
        made.geometry.tobytes(),
        chosen=chosen,
    )
    kernels.launch(unpacked, {"source": source, "out": out}, order)


def job(x: NDArray[Any], *, blocks: int = 0, **arguments: Any) -> tuple[Job, NDArray[Any]]:
    """Pack a launch; also return the view of the job's output buffer that is the result."""
    plan, out = plan_and_output(x, **arguments)
    return pack(plan, x, out, blocks), out


def pack(plan: _plan.Plan, x: NDArray[Any], out: NDArray[Any], blocks: int = 0) -> Job:
    """Pack the launch that applies a plan."""
    arrays: dict[str, NDArray[Any]] = {}
    pointers: list[tuple[int, str]] = []
    geometry = _launch.geometry_dtype(len(plan.axes))
    axis_offset = _offset(geometry, "axis")

    def tables(of: list[tuple[Axis, Kind]]) -> list[Table]:
        for d, each in enumerate(of):
            for field, part in zip(("left", "count", "weight"), _tables.table_arrays(*each), strict=False):
                arrays[f"{field} {d}"] = part.reshape(-1).view(np.uint8)
                member = _offset(_launch._AXIS, field)
                pointers.append((axis_offset + d * _launch._AXIS.itemsize + member, f"{field} {d}"))
        return [Table(0)] * len(of)

    source, source_offset = buffer(x)
    target, out_offset = buffer(out)
    made = _launch.launch(plan, layout(x, source_offset), layout(out, out_offset), tables)
    arrays |= {"source": source, "out": target}
    return Job(
        name(made.kernel, made.defines),
        bounded(made.grid, blocks),
        made.block,
        arrays,
        made.geometry.tobytes(),
        source_offset=source_offset,
        out_offset=out_offset,
        relocations=tuple(Relocation(offset, array) for offset, array in pointers),
    )


def _offset(struct: np.dtype[Any], field: str) -> int:
    """Byte offset of a member."""
    assert struct.fields is not None
    return int(struct.fields[field][1])


def buffer(x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The bytes that a view spans, as a buffer that ends where they end, and the offset of element [0, 0, …]."""
    steps = [(n - 1) * stride for n, stride in zip(x.shape, x.strides, strict=True)]
    before, after = -sum(s for s in steps if s < 0), sum(s for s in steps if s > 0) + x.itemsize
    span = ctypes.string_at(x.ctypes.data - before, before + after)
    return np.frombuffer(span, np.uint8).copy(), before


def unpack(packed: Job, out: NDArray[Any], result: NDArray[Any]) -> NDArray[Any]:
    """View a job's output buffer as the array it is."""
    return np.ndarray(out.shape, out.dtype, result.tobytes(), packed.out_offset, out.strides)
