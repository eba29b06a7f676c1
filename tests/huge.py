"""Arrays of more elements than memory has bytes, for the kernels on the host; and the definition at a few outputs.

A ``Pattern`` is a source: a few MiB, mapped again and again over its address space. The period is a prime number of
pages, so that an offset that went wrong by a power of two reads other values. An ``Expanse`` is an output: a sparse file
that knows which of its pages were written.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import bounds, cases, oracle
from tests.oracle import Axis

PERIOD = 4099 * mmap.PAGESIZE
_PROT_READ, _MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_NORESERVE = 1, 1, 2, 0x10, 0x20, 0x4000


class Pattern:
    """An array whose elements repeat with a period; read-only."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.dtype = cases.numpy_dtype(dtype)
        rng = np.random.default_rng(len(shape))
        if dtype in cases.INTEGERS:  # away from both ends, so that no result is 0
            self.values = rng.integers(60, 120, PERIOD // self.dtype.itemsize).astype(self.dtype)
        else:
            self.values = rng.uniform(1, 2, PERIOD // self.dtype.itemsize).astype(self.dtype)
        size = math.prod(shape) * self.dtype.itemsize
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64)
        file = os.memfd_create("pattern")
        os.write(file, self.values.tobytes())
        self.address = libc.mmap(None, size, _PROT_READ, _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE, -1, 0)
        assert self.address not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
        for first in range(0, size, PERIOD):
            length = min(PERIOD, size - first)
            got = libc.mmap(self.address + first, length, _PROT_READ, _MAP_SHARED | _MAP_FIXED, file, 0)
            assert got == self.address + first, os.strerror(ctypes.get_errno())
        os.close(file)
        self._size = size
        memory: Any = (ctypes.c_uint8 * size).from_address(self.address)
        self.array: NDArray[Any] = np.frombuffer(memory, self.dtype).reshape(shape)

    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """The elements at these places in memory."""
        return self.values[index % len(self.values)]

    def __enter__(self) -> Pattern:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        del self.array
        ctypes.CDLL(None).munmap(ctypes.c_void_p(self.address), ctypes.c_size_t(self._size))


class Expanse:
    """An array of zeros whose pages exist once they are written."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.dtype = cases.numpy_dtype(dtype)
        self._file = os.memfd_create("expanse")
        size = math.prod(shape) * self.dtype.itemsize
        os.ftruncate(self._file, size)
        self._memory = mmap.mmap(self._file, size)
        self.array: NDArray[Any] = np.frombuffer(self._memory, self.dtype).reshape(shape)

    def written(self) -> Iterator[NDArray[np.int64]]:
        """Places in memory of the elements that are not 0, page run by page run."""
        flat, end = self.array.reshape(-1), 0
        while True:
            try:
                start = os.lseek(self._file, end, os.SEEK_DATA)
            except OSError:  # no more
                return
            end = os.lseek(self._file, start, os.SEEK_HOLE)
            first = start // self.dtype.itemsize
            found = np.flatnonzero(flat[first : end // self.dtype.itemsize])
            if len(found):
                yield found + first

    def __enter__(self) -> Expanse:  # noqa: PYI034 - likewise
        return self

    def __exit__(self, *_: object) -> None:
        del self.array
        with contextlib.suppress(BufferError):  # views in the trace of an error, which is what matters then
            self._memory.close()
        os.close(self._file)


Read = Callable[[Sequence[NDArray[np.int64]]], NDArray[Any]]
"""Gives the pixels at these indices along each axis."""


def definition(
    call: Sequence[Axis], dtype: str, outputs: Sequence[NDArray[np.int64]], read: Read
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The definition at some outputs, given by their indices along each axis, and its tolerance; 0 where it is exact."""
    exact = np.zeros(len(outputs[0]))
    if call[0].family in oracle.COPIES:
        return read([oracle.band(axis).left[index] for axis, index in zip(call, outputs, strict=True)]), exact
    if dtype != "uint8":
        return _real(call, dtype, outputs, read)
    if call[0].family == "area":
        return _mean(call, outputs, read), exact
    return _fixed(call, outputs, read, []), exact


def _real(
    call: Sequence[Axis], dtype: str, outputs: Sequence[NDArray[np.int64]], read: Read
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """``oracle.interpolate`` and ``bounds.bound``, over the windows of the weights' errors, which hold the weights' own."""
    windows, weights, errors = [], [], []
    taps = np.full(len(outputs[0]), 8.0)
    for axis, index in zip(call, outputs, strict=True):
        band, wrong = oracle.band(axis), bounds.weight_errors(axis, dtype)
        pixel = wrong.left[index, None] + np.arange(wrong.weight.shape[1])
        tap = pixel - band.left[index, None]
        inside = (tap >= 0) & (tap < band.count[index, None])
        weight = np.take_along_axis(band.weight[index], np.clip(tap, 0, band.weight.shape[1] - 1), axis=1)
        windows.append(np.clip(pixel, 0, axis.n_in - 1))
        weights.append(np.where(inside, weight, 0.0))
        errors.append(np.where(wrong.window[index], wrong.weight[index], 0.0))
        taps += band.count[index]
    value, size, error = (np.zeros(len(outputs[0])) for _ in range(3))
    for k in np.ndindex(*(each.shape[1] for each in weights)):
        x = read([window[:, i] for window, i in zip(windows, k, strict=True)]).astype(np.float64)
        some = [(w[:, i], e[:, i]) for w, e, i in zip(weights, errors, k, strict=True)]
        weight = np.prod([w for w, _ in some], axis=0)
        value += weight * x
        size += abs(weight * x)
        error += (np.prod([abs(w) + e for w, e in some], axis=0) - abs(weight)) * abs(x)
    computed = bounds.accumulate_format(dtype).eps * taps * size + error
    return value, computed + bounds.FORMATS[dtype].half_ulp(abs(value) + computed)


def _fixed(
    call: Sequence[Axis], outputs: Sequence[NDArray[np.int64]], read: Read, pixels: list[NDArray[np.int64]]
) -> NDArray[np.uint8]:
    """``oracle.fixed_point``: the pass of the first axis, over the results of those that go before it, the last first."""
    if not call:
        return read(pixels)
    (axis, *others), (index, *rest) = call, outputs
    if axis.n_in == axis.n_out:
        return _fixed(others, rest, read, [*pixels, index])
    band, p = oracle.quantised(axis)
    total = np.zeros(len(index), np.int64)
    for k in range(band.weight.shape[1]):
        pixel = np.minimum(band.left[index] + k, axis.n_in - 1)
        total += band.weight[index, k] * _fixed(others, rest, read, [*pixels, pixel])
    return oracle.narrow(total, p)


def _mean(call: Sequence[Axis], outputs: Sequence[NDArray[np.int64]], read: Read) -> NDArray[np.uint8]:
    """``oracle.integer_area``."""
    windows = [oracle.area_window(axis) for axis in call]
    total, count = np.zeros(len(outputs[0]), np.int64), np.ones(len(outputs[0]), np.int64)
    for (_, n), index in zip(windows, outputs, strict=True):
        count *= n[index]
    for k in np.ndindex(*(int(n.max()) for _, n in windows)):
        inside = np.ones(len(total), bool)
        pixels = []
        for (left, n), index, i, axis in zip(windows, outputs, k, call, strict=True):
            inside &= i < n[index]
            pixels.append(np.minimum(left[index] + i, axis.n_in - 1))
        total += np.where(inside, read(pixels), 0)
    return oracle.mean(total, count)
