"""Whose array is it, where does it live, how is it laid out.

The only file that knows array libraries. A library whose array arrives has been imported by its owner, so it is looked
up in ``sys.modules`` and never imported here. Everything below this layer sees an ``Array``: addresses and numbers.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Array:
    """An array of any library as numbers; nothing is copied.

    strides:  in bytes.
    dtype:    the name all libraries share: "float32", "bfloat16" …
    device:   CUDA device index, None for host memory.
    host:     for host memory, a NumPy view of the same bytes (bfloat16 as uint16).
    """

    owner: Any
    library: Library
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    itemsize: int
    device: int | None
    address: int
    writeable: bool
    host: NDArray[Any] | None

    @property
    def place(self) -> str:
        """The device, in words."""
        return "the CPU" if self.device is None else f"CUDA device {self.device}"


class Library(Protocol):
    """What is asked of an array library."""

    name: str

    def owns(self, x: object) -> bool:
        """Whether ``x`` is this library's array."""

    def adopt(self, x: Any, name: str) -> Array:
        """Describe ``x`` without copying; ``name`` is the argument's, for errors."""

    def empty(self, like: Array, shape: tuple[int, ...]) -> Any:
        """Allocate a C-contiguous array of the dtype and on the device of ``like``."""

    def permute(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Return a view with permuted axes."""

    def stream(self, device: int) -> int:
        """Return the library's current CUDA stream on a device, as a pointer."""


class _NumPy:
    name = "NumPy"

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray)

    def adopt(self, x: NDArray[Any], name: str) -> Array:
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(
                f"{name}: a numpy.ma.MaskedArray carries a mask that resampling would drop; "
                "pass x.filled(value), or x.data to ignore the mask"
            )
        plain = x.view(np.ndarray)
        host = plain.view(np.uint16) if x.dtype.name == "bfloat16" else plain
        return Array(
            x, self, x.shape, x.strides, x.dtype.name, x.itemsize, None, x.ctypes.data, x.flags.writeable, host
        )

    def empty(self, like: Array, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.empty(shape, like.owner.dtype.newbyteorder("="))

    def permute(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.transpose(axes)

    def stream(self, device: int) -> int:
        raise AssertionError("NumPy arrays live in host memory")


class _CuPy:
    name = "CuPy"

    def owns(self, x: object) -> bool:
        ndarray = getattr(sys.modules.get("cupy"), "ndarray", None)
        return ndarray is not None and isinstance(x, ndarray)

    def adopt(self, x: Any, name: str) -> Array:
        return Array(
            x, self, x.shape, x.strides, x.dtype.name, x.itemsize, x.device.id, x.data.ptr, writeable=True, host=None
        )

    def empty(self, like: Array, shape: tuple[int, ...]) -> Any:
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(like.device):
            return cupy.ndarray(shape, like.owner.dtype)

    def permute(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.transpose(axes)

    def stream(self, device: int) -> int:
        cuda = sys.modules["cupy"].cuda
        with cuda.Device(device):
            return int(cuda.get_current_stream().ptr)


class _Torch:
    name = "torch"

    def owns(self, x: object) -> bool:
        tensor = getattr(sys.modules.get("torch"), "Tensor", None)
        return tensor is not None and isinstance(x, tensor)

    def adopt(self, x: Any, name: str) -> Array:
        torch: Any = sys.modules["torch"]
        if x.layout != torch.strided or x.device.type not in ("cpu", "cuda"):
            raise TypeError(
                f"{name}: a torch tensor must be strided and on a CPU or CUDA device, "
                f"got layout {x.layout} on {x.device}"
            )
        if x.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError(
                f"{name}: gradients are not implemented yet, got a tensor that requires grad; "
                f"pass {name}.detach() or call under torch.no_grad()"
            )
        if name == "out" and (x.is_conj() or x.is_neg()):
            raise TypeError(f"{name}: must hold its values, got a lazy conjugate or negative of another tensor")
        x = x.detach().resolve_conj().resolve_neg()
        host = device = None
        if x.device.type == "cpu":
            with contextlib.suppress(TypeError):  # a dtype NumPy lacks is refused where dtypes are checked
                host = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
        else:
            device = x.device.index
        size = x.element_size()
        strides = tuple(stride * size for stride in x.stride())
        dtype = str(x.dtype).removeprefix("torch.")
        return Array(x, self, tuple(x.shape), strides, dtype, size, device, x.data_ptr(), True, host)

    def empty(self, like: Array, shape: tuple[int, ...]) -> Any:
        torch: Any = sys.modules["torch"]
        return torch.empty(shape, dtype=like.owner.dtype, device=like.owner.device)

    def permute(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.permute(axes)

    def stream(self, device: int) -> int:
        torch: Any = sys.modules["torch"]
        return int(torch.cuda.current_stream(device).cuda_stream)


LIBRARIES: tuple[Library, ...] = (_NumPy(), _CuPy(), _Torch())


def adopt(x: object, name: str) -> Array:
    """Describe an array of any library; TypeError for anything else."""
    for library in LIBRARIES:
        if library.owns(x):
            return library.adopt(x, name)
    raise TypeError(
        f"{name}: must be a numpy.ndarray, a cupy.ndarray or a torch.Tensor of shape (N, C, d1[, d2[, d3]]), "
        f"got {type(x).__module__}.{type(x).__qualname__}"
    )


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
        covered = strides[d] * max(shape[d], 1)
    return True


def empty(like: Array, shape: tuple[int, ...], channels_last: bool) -> Any:
    """Allocate an output by the input's own library, C or channels_last contiguous."""
    if not channels_last:
        return like.library.empty(like, shape)
    n, c, *spatial = shape
    axes = (0, len(shape) - 1, *range(1, len(shape) - 1))
    return like.library.permute(like.library.empty(like, (n, *spatial, c)), axes)


# ---------------------------------------------------------------------------------------------------------------------
# Overlap


OVERLAP_WORK: Any = 10_000
"""Candidate solutions NumPy may try; two views of one array need a handful."""


class _Extent:
    """Addresses as NumPy's interface describes them: for arithmetic, never read."""

    def __init__(self, array: Array) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (array.address, True),
            "shape": array.shape,
            "strides": array.strides,
            "typestr": f"|V{array.itemsize}",
        }


def overlap(a: Array, b: Array) -> bool:
    """Whether two arrays share a byte; True where that is too costly to decide."""
    if a.device != b.device or 0 in a.shape or 0 in b.shape:
        return False
    try:
        return np.shares_memory(np.asarray(_Extent(a)), np.asarray(_Extent(b)), max_work=OVERLAP_WORK)
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(array: Array) -> bool:
    """Whether two elements may share memory: every stride must step over the extent of the smaller ones."""
    if 0 in array.shape:
        return False
    span = array.itemsize
    for stride, extent in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < span:
            return True
        span += stride * (extent - 1)
    return False
