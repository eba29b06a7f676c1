"""Arrays of other libraries, through DLPack or ``__cuda_array_interface__``: in without a copy, out as they came.

A foreign array is viewed as a NumPy or a CuPy array, wherever it lies; nothing moves between host and device.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cupysample._kernels import import_cupy
from cupysample._words import type_name

HOST = (1, 3)
"""DLPack's device types of host memory: plain, and pinned by CUDA."""

CUDA = (2, 13)
"""DLPack's device types of memory that CUDA kernels reach: of a device, and managed."""

FROM_DLPACK = {"tensorflow": "tensorflow.experimental.dlpack"}
"""Where libraries without ``__array_namespace__`` keep ``from_dlpack``, if not at their top; these take a capsule, and
know no streams: what they give and what they are given is complete."""


def imported_out(x: Any) -> Any:
    """Return a view of an array to be written: NumPy keeps the mark of one that is read-only, CuPy does not.

    A producer older than the mark, which is of DLPack 1.0, counts as read-only, as with NumPy.
    """
    view = imported(x, "out")
    if not isinstance(view, np.ndarray) and _is_read_only(x, view.device.id):
        raise ValueError("out: must be writeable, got a read-only array")
    return view


def _is_read_only(x: Any, device: int) -> bool:
    if not hasattr(x, "__dlpack__"):
        return bool(x.__cuda_array_interface__["data"][1])
    stream = None if _package(x) in FROM_DLPACK else import_cupy().cuda.get_current_stream(device).ptr or 1
    try:  # 1 is the default stream; told none, a producer would make that one wait
        capsule = x.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:
        return True
    address, versioned = _managed(capsule)
    return not versioned or bool(ctypes.c_uint64.from_address(address + 24).value & 1)


def _managed(capsule: Any) -> tuple[int, bool]:
    """Return the address of a capsule's struct, and whether it is ``DLManagedTensorVersioned``.

    In that struct version, manager_ctx and deleter are 8 bytes each; then come flags, bit 0 of which is read-only, and
    at byte 32 what the older one begins with: data and device of 8 bytes each, ndim of 4, dtype's code, bits and lanes.
    """
    python = ctypes.pythonapi
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    python.PyCapsule_IsValid.argtypes = (ctypes.py_object, ctypes.c_char_p)
    versioned = bool(python.PyCapsule_IsValid(capsule, b"dltensor_versioned"))
    name = b"dltensor_versioned" if versioned else b"dltensor"
    return python.PyCapsule_GetPointer(capsule, name), versioned


def imported(x: Any, name: str) -> Any:
    """Return a view of a foreign array, NumPy's or CuPy's; ``name`` is the argument's, for errors."""
    described = not hasattr(x, "__dlpack__")
    with _reading(x, name):
        kind, index = (CUDA[0], 0) if described else x.__dlpack_device__()
    if kind in CUDA:
        cupy = import_cupy()
        with _reading(x, name):
            if described:
                return _described(x, cupy)
            with cupy.cuda.Device(int(index)):
                return cupy.from_dlpack(x.__dlpack__() if _package(x) in FROM_DLPACK else x)
    if kind in HOST:
        with _reading(x, name):
            return _on_host(x)
    raise TypeError(f"{name}: must lie in host memory or on a CUDA device, got DLPack's device type {int(kind)}")


@contextmanager
def _reading(x: Any, name: str) -> Iterator[None]:
    """Whatever a producer raises is a BufferError."""
    try:
        yield
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise BufferError(f"{name}: {type_name(x)} cannot be read without a copy: {error}") from error


def _described(x: Any, cupy: Any) -> Any:
    """A view of an array that only has ``__cuda_array_interface__``, which does not say on which device it lies.

    CuPy copies what does not lie on the current one. Stream 0, whose meaning depends on the reader, is forbidden there; CuPy
    does not check.
    """
    interface = x.__cuda_array_interface__
    if interface.get("stream") == 0:
        raise ValueError("__cuda_array_interface__: stream 0 is ambiguous; use 1 or 2 for the default streams, or None")
    address, runtime = interface["data"][0], cupy.cuda.runtime
    device = runtime.pointerGetAttributes(address).device if address else runtime.getDevice()
    with cupy.cuda.Device(device):
        return cupy.asarray(x)


def _on_host(x: Any) -> Any:
    producer = _Recoded(x, _BFLOAT, _UINT)
    view = np.from_dlpack(producer)
    return view.view(_bfloat16()) if producer.found else view


_UINT, _BFLOAT = 1, 4
"""DLPack's codes of dtypes."""


class _Recoded:
    """A producer whose capsules say another code of dtype: NumPy neither reads nor writes that of bfloat16."""

    def __init__(self, producer: Any, code: int, instead: int) -> None:
        self.producer, self.code, self.instead, self.found = producer, code, instead, False

    def __dlpack_device__(self) -> Any:
        return self.producer.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.producer.__dlpack__(**options)
        address, versioned = _managed(capsule)
        code = ctypes.c_uint8.from_address(address + (52 if versioned else 20))
        if code.value == self.code:
            self.found, code.value = True, self.instead
        return capsule


def _bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError as error:
        raise TypeError("bfloat16 of host memory needs ml_dtypes: pip install ml_dtypes") from error
    return ml_dtypes.bfloat16


def exported(result: Any, like: Any) -> Any:
    """Return a NumPy or CuPy array as one of the library of ``like``, as itself where that cannot import arrays."""
    if isinstance(result, np.ndarray):
        return _exported(result, like)
    with import_cupy().cuda.Device(result.device.id):  # a reader is made to wait for what is current there
        return _exported(result, like)


def _exported(result: Any, like: Any) -> Any:
    bits = isinstance(result, np.ndarray) and result.dtype.name == "bfloat16"
    producer = _Recoded(result.view(np.uint16), _UINT, _BFLOAT) if bits else result
    if hasattr(like, "__array_namespace__"):
        made = like.__array_namespace__().from_dlpack(producer)
        device = getattr(like, "device", None)  # of several that share the memory
        return made if device is None or getattr(made, "device", device) == device else made.to_device(device)
    top = _package(like)
    if top in FROM_DLPACK:
        if not isinstance(result, np.ndarray):
            import_cupy().cuda.Device(result.device.id).synchronize()
        return importlib.import_module(FROM_DLPACK[top]).from_dlpack(producer.__dlpack__())
    from_dlpack = getattr(sys.modules.get(top), "from_dlpack", None)
    return result if from_dlpack is None else from_dlpack(producer)


def _package(x: Any) -> str:
    return type(x).__module__.partition(".")[0]
