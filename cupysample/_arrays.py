"""Whose array is it, where does it live, how is it laid out.

Which of NumPy, CuPy and torch an array is of is asked here alone (other libraries: ``_foreign``). A library whose array arrives
has been imported by its owner, so it is looked up in ``sys.modules`` and not imported for its own sake. The layer above, which
resamples, sees a ``Layout``, addresses and views.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from cupysample import _threads
from cupysample._words import type_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray


Run = Callable[[Any, Any], Any]
"""``run(x, out)`` resamples ``x`` into ``out`` or, where that is None, a new array, which it returns."""


class Layout(NamedTuple):
    """An array as numbers, all but its address.

    strides:  in bytes.
    dtype:    the name all libraries share: "float32", "bfloat16" …
    device:   CUDA device index, None for host memory.
    misalignment: the address modulo ``ALIGNMENT``, on a CUDA device; 0 in host memory.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    itemsize: int
    device: int | None
    misalignment: int = 0

    @property
    def place(self) -> str:
        """The device, in words."""
        return "the CPU" if self.device is None else f"CUDA device {self.device}"

    @property
    def span(self) -> tuple[int, int]:
        """First byte and end of the bytes from the lowest to the highest element, relative to [0, 0, …]."""
        steps = [stride * (n - 1) for stride, n in zip(self.strides, self.shape, strict=True)]
        return sum(step for step in steps if step < 0), sum(step for step in steps if step > 0) + self.itemsize

    def canonical(self) -> Layout:
        """Return the one layout of all that differ in strides of axes of extent 1 alone, which lead nowhere.

        There each is the extent of the axes inside of it, channels the innermost where they are neighbours in memory.
        """
        axes = list(range(len(self.shape)))
        if self.shape[1] > 1 and self.strides[1] == self.itemsize:
            axes.append(axes.pop(1))
        strides, step = list(self.strides), self.itemsize
        for axis in reversed(axes):
            strides[axis] = step if self.shape[axis] == 1 else strides[axis]
            step = strides[axis] * self.shape[axis]
        return self._replace(strides=tuple(strides))


class Library(Protocol):
    """What is asked of an array library."""

    name: str

    def owns(self, x: object) -> bool:
        """Whether ``x`` is this library's array."""

    def key(self, x: Any) -> Hashable:
        """Everything that ``layout`` depends on, at the least cost; TypeError for an array that is refused."""

    def layout(self, x: Any, name: str) -> Layout:
        """Describe ``x``, or refuse it; ``name`` is the argument's, for errors."""

    @property
    def address(self) -> Callable[[Any], int]:
        """Gives the address of element [0, 0, …]."""

    def host(self, x: Any) -> NDArray[Any]:
        """Return a NumPy view of the same bytes of host memory, bfloat16 as uint16."""

    def threads(self) -> int:
        """How many threads an operation on host memory may use."""

    def writeable(self, x: Any) -> bool:
        """Whether ``x`` may be written."""

    def allocator(self, like: Any, output: Output) -> Callable[[], Any]:
        """Return what allocates such outputs, of the dtype of ``like``; the device is current then."""

    def on_device(self, run: Run, device: int) -> Run:
        """Return ``run`` where the library takes the current device of CUDA for its own; else with ``device`` made its own."""

    def stream(self) -> Callable[[int], int]:
        """Return what gives the handle of the library's current stream on a CUDA device."""


ALIGNMENT = 16
"""What a launch may depend on of an address: how it lies among so many bytes."""


def _check_alignment(address: int, itemsize: int, name: str) -> None:
    if address % itemsize:
        raise ValueError(
            f"{name}: elements must lie at multiples of their size, got address {address:#x} for {itemsize} bytes"
        )


@cache
def _dtype_name(dtype: np.dtype[Any]) -> str:
    """NumPy computes the name anew each time."""
    return dtype.name


class _NumPy:
    name = "NumPy"

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray)

    def key(self, x: NDArray[Any]) -> Hashable:
        return x.shape, x.strides, x.dtype

    def layout(self, x: NDArray[Any], name: str) -> Layout:
        if isinstance(x, np.ma.MaskedArray):
            remedy = "its data" if name == "out" else "x.filled(value), or x.data to ignore the mask"
            raise TypeError(f"{name}: a numpy.ma.MaskedArray carries a mask that resampling would drop; pass {remedy}")
        return Layout(x.shape, x.strides, _dtype_name(x.dtype), x.itemsize, None)

    address = attrgetter("ctypes.data")

    def host(self, x: NDArray[Any]) -> NDArray[Any]:
        x = x.view(np.ndarray)
        return x.view(np.uint16) if _dtype_name(x.dtype) == "bfloat16" else x

    def threads(self) -> int:
        return _threads.get_num_threads()

    def writeable(self, x: NDArray[Any]) -> bool:
        return x.flags.writeable

    def allocator(self, like: NDArray[Any], output: Output) -> Callable[[], NDArray[Any]]:
        return _permuted(partial(np.empty, output.shape, like.dtype.newbyteorder("=")), output.axes)

    def on_device(self, run: Run, device: int) -> Run:
        raise AssertionError("NumPy arrays live in host memory")

    def stream(self) -> Callable[[int], int]:
        raise AssertionError("NumPy arrays live in host memory")


class _ForOthers(_NumPy):
    """NumPy for arrays of other libraries: JAX copies what does not begin at a multiple of 64 bytes."""

    def allocator(self, like: NDArray[Any], output: Output) -> Callable[[], NDArray[Any]]:
        dtype = like.dtype.newbyteorder("=")
        size = math.prod(output.shape) * dtype.itemsize

        def aligned() -> NDArray[Any]:
            raw = np.empty(size + 63, np.uint8)
            start = -raw.ctypes.data % 64
            return raw[start : start + size].view(dtype).reshape(output.shape)

        return _permuted(aligned, output.axes)


class _CuPy:
    name = "CuPy"

    def owns(self, x: object) -> bool:
        ndarray = getattr(sys.modules.get("cupy"), "ndarray", None)
        return ndarray is not None and isinstance(x, ndarray)

    def key(self, x: Any) -> Hashable:
        data = x.data
        return x.shape, x.strides, x.dtype, data.device_id, data.ptr % ALIGNMENT

    def layout(self, x: Any, name: str) -> Layout:
        address = x.data.ptr
        _check_alignment(address, x.itemsize, name)
        if not x.dtype.isnative:  # a view: CuPy makes none, and computes with the bytes as they are
            raise TypeError(f"{name}: a CuPy array must have the machine's order of bytes, got dtype {x.dtype.str}")
        return Layout(x.shape, x.strides, _dtype_name(x.dtype), x.itemsize, x.data.device_id, address % ALIGNMENT)

    address = attrgetter("data.ptr")

    def host(self, x: Any) -> NDArray[Any]:
        raise AssertionError("CuPy arrays live in device memory")

    def threads(self) -> int:
        raise AssertionError("CuPy arrays live in device memory")

    def writeable(self, x: Any) -> bool:
        return True

    def allocator(self, like: Any, output: Output) -> Callable[[], Any]:
        return _permuted(_cupy_empty(output.shape, like.dtype.type), output.axes)

    def on_device(self, run: Run, device: int) -> Run:
        return run

    def stream(self) -> Callable[[int], int]:
        current = sys.modules["cupy"].cuda.get_current_stream
        return lambda device: current(device).ptr


class _Torch:
    name = "torch"

    def owns(self, x: object) -> bool:
        tensor = getattr(sys.modules.get("torch"), "Tensor", None)
        return tensor is not None and isinstance(x, tensor)

    def key(self, x: Any) -> Hashable:
        address = x.data_ptr()  # which no sparse tensor has
        return x.shape, x.stride(), x.dtype, x.device, address % ALIGNMENT if address else None

    def layout(self, x: Any, name: str) -> Layout:
        torch: Any = sys.modules["torch"]
        refuse_nested(x, name)
        if x.layout != torch.strided or x.device.type not in ("cpu", "cuda"):
            raise TypeError(
                f"{name}: a torch tensor must be strided and on a CPU or CUDA device, "
                f"got layout {x.layout} on {x.device}"
            )
        if x.is_conj() or x.is_neg():
            raise TypeError(f"{name}: must hold its values, got a lazy conjugate or negative of another tensor")
        size, address = x.element_size(), x.data_ptr()
        if not address and x.numel():
            raise ValueError(f"{name}: must have memory, got a tensor of shape {tuple(x.shape)} whose storage is empty")
        strides = tuple(stride * size for stride in x.stride())
        device = x.device.index if x.device.type == "cuda" else None
        misalignment = 0
        if device is not None:
            _check_alignment(address, size, name)
            misalignment = address % ALIGNMENT
        return Layout(tuple(x.shape), strides, str(x.dtype).removeprefix("torch."), size, device, misalignment)

    @property
    def address(self) -> Callable[[Any], int]:
        data_ptr: Callable[[Any], int] = sys.modules["torch"].Tensor.data_ptr
        return data_ptr

    def host(self, x: Any) -> NDArray[Any]:
        torch: Any = sys.modules["torch"]
        view: NDArray[Any] = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).detach().numpy()
        return view

    def threads(self) -> int:
        threads: int = sys.modules["torch"].get_num_threads()
        return threads

    def writeable(self, x: Any) -> bool:
        return True

    def allocator(self, like: Any, output: Output) -> Callable[[], Any]:
        layout = output.layout
        return partial(_torch_empty(layout.device is not None), layout.shape, output.steps, like.dtype)

    def on_device(self, run: Run, device: int) -> Run:
        """Torch may go back to a device in thought only, lest it make a context there, and then allocates there."""
        cuda: Any = sys.modules["torch"].cuda
        if cuda.device_count() < 2:
            return run
        exchange, restore = cuda._exchange_device, cuda._maybe_exchange_device  # as its own compiled code does

        def on_device(x: Any, out: Any) -> Any:
            before = exchange(device)
            try:
                return run(x, out)
            finally:
                restore(before)

        return on_device

    def stream(self) -> Callable[[int], int]:
        return _torch_stream()


def _permuted(allocate: Callable[[], Any], axes: tuple[int, ...] | None) -> Callable[[], Any]:
    return allocate if axes is None else lambda: allocate().transpose(axes)


def _cupy_empty(shape: tuple[int, ...], kind: type) -> Callable[[], Any]:
    """``cupy.ndarray(shape, kind)``, past the half of its constructor that is written in Python, where it is so made.

    CuPy finds a type sooner than a dtype.
    """
    ndarray = sys.modules["cupy"].ndarray
    base = ndarray.__base__
    if not hasattr(base, "_init"):
        return partial(ndarray, shape, kind)
    new, initialize = partial(base.__new__, ndarray), base._init

    def empty() -> Any:
        out = new()
        initialize(out, shape, kind)
        return out

    return empty


@cache
def _torch_empty(on_cuda: bool) -> Callable[[tuple[int, ...], tuple[int, ...], Any], Any]:
    """``torch.empty_strided`` as torch's own compiled code calls it, past its dispatcher, where there is that."""
    torch: Any = sys.modules["torch"]
    device = "cuda" if on_cuda else "cpu"
    with suppress(AttributeError):
        return getattr(torch._C._dynamo.guards, f"_empty_strided_{device}")  # type: ignore[no-any-return]
    return lambda shape, strides, dtype: torch.empty_strided(shape, strides, dtype=dtype, device=device)


@cache
def _torch_stream() -> Callable[[int], int]:
    """``torch.cuda.current_stream(device).cuda_stream``, likewise."""
    torch: Any = sys.modules["torch"]
    with suppress(AttributeError):
        return torch._C._cuda_getCurrentRawStream  # type: ignore[no-any-return]
    return lambda device: torch.cuda.current_stream(device).cuda_stream


LIBRARIES: tuple[Library, ...] = (_NumPy(), _CuPy(), _Torch())

NUMPY_FOR_OTHERS: Library = _ForOthers()


def refuse_nested(x: Any, name: str) -> None:
    """Refuse torch's nested tensors, which have no one shape."""
    if x.is_nested:
        raise TypeError(f"{name}: must be one tensor of one shape, got a nested tensor")


def is_tensor(x: object) -> bool:
    """Whether ``x`` is torch's business: a tensor, or what torch traces functions with.

    ``torch.compile`` reads this, so it must not look into ``sys.modules``.
    """
    return hasattr(x, "__torch_function__") and hasattr(type(x), "__torch_function__")  # an array says no the sooner


KNOWN: dict[type, Library] = {}
"""The libraries' own types that were seen, and whose they are; a user's subclass may come and go."""


_OWN_MODULES = frozenset({"numpy", "cupy", "torch"})


def is_foreign(x: object) -> bool:
    """Whether ``x`` is an array of a library not known here, which shows its memory in a standard way."""
    if isinstance(x, type) or any(each.owns(x) for each in LIBRARIES):
        return False
    return (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")) or hasattr(x, "__cuda_array_interface__")


def library(x: object, name: str) -> Library:
    """Return the library whose array ``x`` is; TypeError for anything else."""
    found = KNOWN.get(type(x))
    if found is None:
        found = next((each for each in LIBRARIES if each.owns(x)), None)
        if found is None:
            traced = "; what jax.jit, grad and vmap trace has no values: use jax.pure_callback"
            raise TypeError(
                f"{name}: must be a numpy.ndarray, a cupy.ndarray, a torch.Tensor or an array with __dlpack__, of shape "
                f"(N, C, d1[, d2[, d3]]), got {type_name(x)}{traced if type_name(x).startswith('jax.') else ''}"
            )
        if type(x).__module__.partition(".")[0] in _OWN_MODULES:
            KNOWN[type(x)] = found
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Memory format


def is_channels_last(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether torch's ``suggest_memory_format`` calls a 4-D or 5-D array channels_last (``c10/core/MemoryFormat.h``).

    Walking C, W, H(, D), N, each stride must cover what came before; an array whose layout is ambiguous is not.
    """
    if strides[1] == 0:
        return False
    covered = 0
    for d in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[d] == 0 or strides[d] < covered or (d == 0 and covered == strides[1]):
            return False
        covered = strides[d] * shape[d]
    return True


class Output(NamedTuple):
    """How to allocate an output: C-contiguous of ``shape``, then permuted by ``axes``; and what it is then.

    steps:  the strides of ``layout``, in elements.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] | None
    layout: Layout
    steps: tuple[int, ...]


def output(like: Layout, shape: tuple[int, ...], channels_last: bool) -> Output:
    """Describe an output of ``shape``, C or channels_last contiguous, of the dtype and on the device of ``like``."""
    order = (0, *range(2, len(shape)), 1) if channels_last else tuple(range(len(shape)))
    steps = [0] * len(shape)
    step = 1
    for d in reversed(order):
        steps[d] = step
        step *= shape[d] if channels_last else max(shape[d], 1)  # as torch has it where it is empty
    strides = tuple(step * like.itemsize for step in steps)
    layout = Layout(shape, strides, like.dtype, like.itemsize, like.device)
    axes = (0, len(shape) - 1, *range(1, len(shape) - 1)) if channels_last else None
    return Output(tuple(shape[d] for d in order), axes, layout, tuple(steps))


# ---------------------------------------------------------------------------------------------------------------------
# Overlap


OVERLAP_WORK: Any = 10_000
"""Candidate solutions NumPy may try; two views of one array need a handful."""


class _Extent:
    """Addresses as NumPy's interface describes them: for arithmetic, never read."""

    def __init__(self, layout: Layout, address: int) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, True),
            "shape": layout.shape,
            "strides": layout.strides,
            "typestr": f"|V{layout.itemsize}",
        }


def overlap(a: Layout, address_a: int, b: Layout, address_b: int) -> bool:
    """Whether two arrays of one device share a byte; True where that is too costly to decide."""
    if 0 in (*a.shape, *b.shape):  # they may lie at address 0, where NumPy before 2.3 sees no array
        return False
    try:
        return np.shares_memory(
            np.asarray(_Extent(a, address_a)), np.asarray(_Extent(b, address_b)), max_work=OVERLAP_WORK
        )
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(layout: Layout) -> bool:
    """Whether two elements may share memory: every stride must step over the extent of the smaller ones."""
    if 0 in layout.shape:
        return False
    span = layout.itemsize
    for stride, extent in sorted((abs(s), n) for s, n in zip(layout.strides, layout.shape, strict=True) if n > 1):
        if stride < span:
            return True
        span += stride * (extent - 1)
    return False
