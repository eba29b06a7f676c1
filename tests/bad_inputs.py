"""Wrong arguments as data: what is passed, the class of the error, and what its words must hold.

A row is a call that is right but for the arguments it names. ``words`` are fragments of the message: the argument or
torch's own sentence on it, the rule, and what came.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import torch

SHAPES = {1: (2, 3, 5), 2: (2, 3, 5, 6), 3: (2, 3, 5, 6, 7)}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
CUBIC = {1: "cubic", 2: "bicubic", 3: "tricubic"}


class Row(NamedTuple):
    """One mistake, or two that meet."""

    dimensions: int
    arguments: dict[str, Any]
    error: type[Exception]
    words: tuple[str, ...]


class Odd:
    """Has neither a repr nor a truth value."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth value")


class Vague:
    """Has no truth value by Python's own words."""

    __bool__ = None


ODD = Odd()
SIZE = "size: must be an int, or a list or tuple of ints, one for each spatial axis, got "
SIZE_TYPES = "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int]"
FACTOR = "scale_factor: must be a real number, or a list or tuple of them, one for each spatial axis, got "
POSITIVE = "Input and output sizes should be greater than 0"
NOT_AN_INT64 = "value cannot be converted to type int64_t without overflow"
BOTH, NEITHER = "only one of size or scale_factor should be defined", "either size or scale_factor should be defined"
ANTIALIAS = "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes"
ALIGN = "align_corners option can only be set with the interpolating modes"
UNSUPPORTED = "Only 3D, 4D and 5D input Tensors supported"


def rows() -> Iterator[Row]:
    """Every row, in one, two and three dimensions."""
    for n in SHAPES:
        for arguments, error, *words in (*_sizes(n), *_factors(n), *_modes(n), *_flags(n), *_combinations(n)):
            yield Row(n, arguments, error, tuple(words))


def _sizes(n: int) -> Iterator[tuple[Any, ...]]:
    value: Any
    others = (range(n), None.__class__, Decimal(3), slice(3), torch.float32, torch.Tensor)
    for value in (3.0, 2.5, "3", b"3", 3j, {3}, {3: 3}, True, math.nan, *others):
        yield {"size": value}, TypeError, SIZE, repr(value)
    for array in (np.float32(3), np.bool_(True), np.array(3), np.array([3] * n), torch.tensor([3] * (n + 1))):
        yield {"size": array}, TypeError, SIZE, repr(array)
    yield {"size": ODD}, TypeError, SIZE, "a tests.bad_inputs.Odd without a repr"
    yield {"size": iter([3] * n)}, TypeError, SIZE, "list_iterator"
    for value in (3.0, "3", None, [3], 3j, np.float32(3), torch.tensor(3.0), torch.tensor(3j)):
        yield {"size": (value,) * n}, TypeError, SIZE_TYPES, str(type(value))
        yield {"size": [3] * (n - 1) + [value]}, TypeError, SIZE_TYPES, str(type(value))
    yield {"size": (True,) * n}, TypeError, SIZE, "(True,"
    for tensor in (torch.tensor([3, 3]), torch.tensor(True)):
        yield {"size": tensor}, TypeError, SIZE, repr(tensor)
        yield {"size": (tensor,) * n}, TypeError, SIZE, repr(tensor)
    for value in ((), (3,) * (n + 1), [3] * (n + 2)):
        dimensions = "must have the same number of spatial dimensions"
        yield {"size": value}, ValueError, dimensions, f"output size of {value}"
    for value in (0, -1, 1 - 2**63):
        for mode in ("nearest", "nearest-exact", LINEAR[n], CUBIC[n]):
            yield {"size": value, "mode": mode}, RuntimeError, POSITIVE, f": {value}"
    yield {"size": -1, "mode": "area"}, RuntimeError, "elements of output_size must be greater than or equal to 0", "-1"
    yield {"size": (3,) * (n - 1) + (0,)}, RuntimeError, POSITIVE, "W: 0"
    for mode in ("nearest", "area", LINEAR[n]):
        for value in (2**63, 10**30, -(2**63)):
            yield (
                {"size": value, "mode": mode},
                TypeError,
                "size: output extents must fit into 64 bits, got",
                str(value),
            )
    yield {"size": 10**5000}, TypeError, "size: output extents must fit into 64 bits, got", "int without a repr"
    for value in (2**62, 2**63 - 1):
        yield {"size": value}, RuntimeError, "Storage size calculation overflowed with sizes=", str(value)
    yield {"size": 2**62, "mode": LINEAR[n], "antialias": True}, RuntimeError, "Storage size calculation overflowed"
    if n > 1:
        yield {"size": (2**31,) * n}, RuntimeError, "Storage size calculation overflowed with sizes=", "2147483648"
    if n == 2:
        yield (
            {"size": (3, 2**62), "mode": "area"},
            RuntimeError,
            "area: input size times output size must fit into 64 bits",
        )


def _factors(n: int) -> Iterator[tuple[Any, ...]]:
    value: Any
    arguments: dict[str, Any]
    for value in ("2", b"2", 2j, {2.0}, {}, slice(2), Decimal(2), np.bool_(True), np.array(2.0), np.array([2.0] * n)):
        for mode in ("nearest", "area"):
            yield {"scale_factor": value, "mode": mode}, TypeError, FACTOR, repr(value)
    for value in (torch.tensor(2.0), torch.tensor([2.0] * n)):
        yield {"scale_factor": value}, TypeError, FACTOR, repr(value)
    yield {"scale_factor": ODD}, TypeError, FACTOR, "a tests.bad_inputs.Odd without a repr"
    for value in ("2", None, 2j, [2.0], torch.tensor(2.0)):
        yield {"scale_factor": (2.0,) * (n - 1) + (value,)}, TypeError, FACTOR, repr(value)
        yield {"scale_factor": [value] * n, "mode": LINEAR[n]}, TypeError, FACTOR, repr(value)
    for value in ((), (2.0,) * (n + 1), [2.0] * (n + 2)):
        dimensions = "must have the same number of spatial dimensions"
        yield {"scale_factor": value}, ValueError, dimensions, f"scale_factor of shape {value}"
    for value in (0, 0.0, -0.0, -1, -0.5, 1e-9, 5e-324, False):
        yield {"scale_factor": value, "mode": LINEAR[n]}, RuntimeError, POSITIVE, ": 0" if value > -0.2 else ": -"
    edge = [2.0**63 / extent for extent in SHAPES[n][2:]]
    for value in (math.nan, math.inf, -math.inf, 1e20, 1e300, 2**63, edge):
        yield {"scale_factor": value, "mode": CUBIC[n]}, RuntimeError, NOT_AN_INT64
    yield {"scale_factor": [-factor for factor in edge]}, RuntimeError, POSITIVE, f": {-(2**63)}"
    for value, error in ((math.nan, ValueError), (math.inf, OverflowError), (-math.inf, OverflowError)):
        for arguments in ({"mode": "area"}, {"recompute_scale_factor": True}):
            yield {"scale_factor": value, **arguments}, error, "scale_factor: must be finite, got", repr(value)
    for value in (1e20, 1e300, 2**63, 10**400):
        for arguments in ({"mode": "area"}, {"recompute_scale_factor": True, "mode": LINEAR[n]}):
            words = "scale_factor: output extents must fit into 64 bits, got"
            yield {"scale_factor": value, **arguments}, TypeError, words, repr(value)[:150]
    yield {"scale_factor": 10**400}, TypeError, "scale_factor: must be at most the largest double, got", "1000"
    yield {"scale_factor": 10**5000}, TypeError, "scale_factor: must be at most the largest double", "without a repr"
    yield {"scale_factor": 1e17}, RuntimeError, "Storage size calculation overflowed with sizes=", "500000000000000000"


def _modes(n: int) -> Iterator[tuple[Any, ...]]:
    value: Any
    for value in ("foo", "", "Nearest", "nearest ", "NEAREST", None, 3, True, b"nearest", ["nearest"], {}, np.array(3)):
        name = value if isinstance(value, str) else repr(value)
        yield {"size": 3, "mode": value}, NotImplementedError, UNSUPPORTED, f"(got {name})"
        yield {"size": 3, "mode": value, "antialias": True}, ValueError, ANTIALIAS
    yield {"size": 3, "mode": ODD}, NotImplementedError, UNSUPPORTED, "Odd without a repr"
    for m in SHAPES:
        for mode in {LINEAR[m], CUBIC[m]} - {"bicubic"}:
            if m != n:
                yield (
                    {"size": 3, "mode": mode},
                    NotImplementedError,
                    f"Got {n + 2}D input, but {mode} mode needs {m + 2}D",
                )
                yield {"size": 3, "mode": mode, "antialias": True}, ValueError, ANTIALIAS
    if n != 2:
        yield {"size": 3, "mode": "bicubic"}, NotImplementedError, f"(got {n + 2}D)", "(got bicubic)"
    yield {"size": 3, "mode": "lanczos"}, ValueError, "Lanczos mode requires antialias=True"
    lanczos = {"size": 3, "mode": "lanczos", "antialias": True}
    yield lanczos | {"align_corners": True}, ValueError, "Lanczos mode does not support align_corners=True"
    for mode in ("nearest", "nearest-exact", "area"):
        yield {"size": 3, "mode": mode, "antialias": True}, ValueError, ANTIALIAS


def _flags(n: int) -> Iterator[tuple[Any, ...]]:
    value: Any
    for value in (1, 0, 1.0, "yes", [], {}, np.array(True), torch.tensor(True)):
        for mode in (LINEAR[n], CUBIC[n]):
            wrong = "align_corners: must be a bool or None, got"
            yield {"size": 3, "mode": mode, "align_corners": value}, TypeError, wrong, repr(value)
    yield (
        {"size": 3, "mode": LINEAR[n], "align_corners": ODD},
        TypeError,
        "align_corners: must be",
        "Odd without a repr",
    )
    for mode in ("nearest", "nearest-exact", "area"):
        for value in (True, False, 1):
            yield {"size": 3, "mode": mode, "align_corners": value}, ValueError, ALIGN
    for name in ("recompute_scale_factor", "antialias"):
        for value, error in ((np.array([True, False]), ValueError), (ODD, RuntimeError), (Vague(), TypeError)):
            yield {"scale_factor": 2.0, name: value}, error, f"{name}: must be true or false, got"


def _combinations(n: int) -> Iterator[tuple[Any, ...]]:
    yield {}, ValueError, NEITHER
    yield {"mode": LINEAR[n], "antialias": True}, ValueError, NEITHER
    yield {"size": 3, "scale_factor": 2.0}, ValueError, BOTH
    yield {"size": (3,) * n, "scale_factor": (2.0,) * n, "mode": "area"}, ValueError, BOTH
    yield {"size": "3", "scale_factor": "2"}, ValueError, BOTH
    recompute = "recompute_scale_factor is not meaningful with an explicit size."
    for value in (True, 1, "yes"):
        yield {"size": 3, "recompute_scale_factor": value}, ValueError, recompute


# ---------------------------------------------------------------------------------------------------------------------
# Inputs and outputs that are none


def inputs() -> Iterator[tuple[Any, type[Exception], tuple[str, ...]]]:
    """Objects that cannot be resampled, the class of the error and what its words must hold."""
    shape: tuple[int, ...]
    accepted = "input: must be a numpy.ndarray, a cupy.ndarray, a torch.Tensor or an array with __dlpack__, of shape "
    others: list[Any] = [[[[[1.0]]]], (1,), "x", b"x", None, 3, 3.0, 3j, {}, {3}, object(), np.float32(1), ODD]
    others += [
        np.ndarray,
        torch.Tensor,
        type,
        len,
        memoryview(b"abcd"),
        bytearray(4),
        range(4),
        iter([]),
        ...,
        slice(3),
    ]
    for value in others:
        yield value, TypeError, (accepted, f"got {type(value).__module__}.{type(value).__qualname__}")
    for shape in ((), (3,), (3, 5), (1,) * 6, (1,) * 7):
        for array in (np.zeros(shape), torch.zeros(shape)):
            yield array, NotImplementedError, (UNSUPPORTED, f"(got {len(shape)}D)")
    for shape in ((2, 3, 0), (2, 3, 0, 5), (2, 3, 4, 0), (2, 3, 0, 5, 6)):
        for array in (np.zeros(shape), torch.zeros(shape)):
            yield array, RuntimeError, (POSITIVE, ": 0")
    for dtype in ("O", "U3", "S2", "M8[s]", "m8[s]", "V4", "i4,f4", "g", "G"):
        name = np.dtype(dtype).name
        yield np.zeros((1, 1, 4, 4), dtype), NotImplementedError, (f"input: dtype {name} is not implemented", "float16")
    for kind in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.uint2):
        name = np.dtype(kind).name
        yield np.zeros((1, 1, 4, 4), kind), NotImplementedError, (f"input: dtype {name} is not implemented", "uint8")
    masked = ("input: a numpy.ma.MaskedArray carries a mask", "pass x.filled(value)")
    yield np.ma.zeros((1, 1, 4, 4)), TypeError, masked
    x = torch.zeros(1, 1, 4, 4)
    strided = "input: a torch tensor must be strided and on a CPU or CUDA device, got layout "
    yield x.to_sparse(), TypeError, (strided, "torch.sparse_coo")
    yield x.to_mkldnn(), TypeError, (strided, "torch._mkldnn")
    quantized = torch.quantize_per_tensor(x, 1.0, 0, torch.quint8)
    yield quantized, NotImplementedError, ("input: dtype quint8 is not implemented",)
    yield x.to(torch.float8_e5m2), NotImplementedError, ("input: dtype float8_e5m2 is not implemented",)
    yield torch.nested.nested_tensor([x[0], x[0]]), TypeError, ("input: must be one tensor of one shape, got a nested",)
    yield freed(1, 1, 4, 4), ValueError, ("input: must have memory, got a tensor of shape (1, 1, 4, 4)",)


def freed(*shape: int) -> torch.Tensor:
    """A tensor whose memory was given back, as that of sharded parameters is."""
    x = torch.zeros(shape)
    x.untyped_storage().resize_(0)
    return x


def outs(x: Any) -> Iterator[tuple[Any, type[Exception], tuple[str, ...]]]:
    """What cannot be the ``out`` of ``interpolate(x, size=3)`` for a float32 array (2, 3, 5, 6)."""
    shape = (2, 3, 3, 3)

    def zeros(shape: tuple[int, ...], dtype: str = "f4") -> Any:
        return np.zeros(shape, dtype)

    for wrong in ((2, 3, 3, 4), (3, 3, 3), (2, 3, 3, 3, 1), (), (0,), (2, 3, 0, 3), (2, 3, 5, 6)):
        yield zeros(wrong), ValueError, (f"out: must have shape {shape}, got {wrong}",)
    for dtype, name in (("f8", "float64"), ("f2", "float16"), ("i4", "int32"), ("u1", "uint8"), ("?", "bool")):
        yield zeros(shape, dtype), ValueError, (f"out: must have dtype float32, got {name}",)
    read_only = zeros(shape)
    read_only.flags.writeable = False
    yield read_only, ValueError, ("out: must be writeable, got a read-only array",)
    shared = "out: elements must not share memory, got shape"
    yield np.lib.stride_tricks.as_strided(zeros((3, 3, 3)), shape, (0, 36, 12, 4)), ValueError, (shared, "(0, 36,")
    yield np.lib.stride_tricks.as_strided(zeros((99,)), shape, (108, 36, 8, 4)), ValueError, (shared, "(108, 36, 8")
    yield x[:, :, :3, :3], ValueError, ("out: must not overlap the input in memory, got arrays that share memory",)
    yield x[:, :, ::2, ::2], ValueError, ("out: must not overlap the input",)
    yield torch.zeros(shape), TypeError, ("out: must be a NumPy array as the input is, got a torch array",)
    yield (
        torch.zeros(shape, device="meta"),
        TypeError,
        ("out: must be a NumPy array as the input is, got a torch array",),
    )
    yield np.ma.zeros(shape, "f4"), TypeError, ("out: a numpy.ma.MaskedArray carries a mask", "pass its data")
    accepted = "out: must be a NumPy array as the input is"
    for value in ([], "x", 3, object(), ODD, np.ndarray, memoryview(b"abc"), np.float32(1), ...):
        yield value, TypeError, (accepted, f"got {type(value).__module__}.{type(value).__qualname__}")


def input_sizes() -> Iterator[tuple[Any, type[Exception], tuple[str, ...]]]:
    """What cannot be the ``input_size`` of the gradient of an output (2, 3, 3, 3)."""
    value: Any
    integers = "input_size: must be a sequence of ints, the shape of the input, got "
    for value in (
        None,
        3,
        3.0,
        "2345",
        b"2345",
        {2, 3, 4, 5},
        (2, 3, 4.0, 5),
        (2, 3, True, 5),
        (2, 3, "4", 5),
        (2, 3, None, 5),
    ):
        yield value, TypeError, (integers, repr(value))
    yield np.array([2, 3, 4, 5]), TypeError, (integers, "array([2, 3, 4, 5])")
    yield ODD, TypeError, (integers, "Odd without a repr")
    for value in ((), (2, 3), (2, 3, 4), (2, 3, 4, 5, 6), (1, 3, 4, 5), (2, 4, 4, 5), (0, 3, 4, 5)):
        yield (
            value,
            ValueError,
            ("input_size: must have the dimensions, batch and channels of grad_output", f"got {value}"),
        )
    for value in ((2, 3, 0, 5), (2, 3, 4, -5), (2, 3, -(10**20), 5)):
        yield value, RuntimeError, (POSITIVE, ": 0" if 0 in value else ": -")
    for value in ((2, 3, 10**20, 5), (2, 3, 2**62, 2**62), (2, 3, 2**40, 2**40)):
        yield value, RuntimeError, ("Storage size calculation overflowed with sizes=", str(value[2]))
