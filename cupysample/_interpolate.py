"""torch's words: every check, default, size rule and message of ``torch.nn.functional.interpolate``.

The order of the checks is torch's, so that of two mistakes in one call the same one is reported. A checked call is
remembered by the values and types of its arguments: a warm one is a look-up, an allocation and a launch.
"""

from __future__ import annotations

import math
import numbers
import operator
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

from cupysample import _arrays, _numpy, _plan
from cupysample._arrays import Layout, Library, Run
from cupysample._call import Call
from cupysample._plan import DTYPES, MODES
from cupysample._tuning import CALLS
from cupysample._words import shown, type_name

Size = SupportsIndex | Sequence[SupportsIndex]
ScaleFactor = SupportsFloat | Sequence[SupportsFloat]
Arguments = tuple[Any, Any, Any, Any, Any, Any]
"""size, scale_factor, mode, align_corners, recompute_scale_factor, antialias: as the user gave them."""

LAST_INT64 = 2**63 - 1


def _prepare(call: Call, x: Any, out: Any) -> Run:
    """Return what runs a call from now on."""
    if 0 in call.out.shape:
        device = call.source.device
        run: Run = partial(_empty, call)
        return run if device is None else call.library.on_device(run, device)
    if call.source.device is None:
        run = _numpy.prepared(call, x, out)
    else:
        from cupysample import _cuda  # only where there is a device: it is half of the package's import time

        run = _cuda.prepared(call, x)
    call.prepared = weakref.ref(run)
    return run


def _empty(call: Call, x: Any, out: Any) -> Any:
    """An output without elements."""
    if out is not None:
        return out
    allocate = call.allocator(x)
    if call.source.device is None:
        return allocate()
    from cupysample import _kernels

    with _kernels.import_cupy().cuda.Device(call.source.device):
        return allocate()


def resample(x: Any, input_size: Any, arguments: Arguments, out: Any = None) -> Any:
    """Resample ``x``, or apply the adjoint where the size of its result, ``input_size``, is given."""
    library = _arrays.KNOWN.get(x.__class__)
    if library is None:
        if _arrays.is_foreign(x):
            return _through(x, input_size, arguments, out)
        library = _arrays.library(x, _name(input_size))
    call = checked(library, x, input_size, arguments, out)
    run = call.prepared() or _prepare(call, x, out)
    return run(x, out)


def warmup(input: Any, arguments: Arguments, out: Any = None, backward: bool = False, any_size: bool = False) -> None:
    """Prepare what the launches need; see ``cupysample.warmup``."""
    any_size = _is_true(any_size, "any_size")
    arguments = of_any_size(arguments, out) if any_size else arguments
    if input.__class__ not in _arrays.KNOWN and _arrays.is_foreign(input):
        from cupysample import _foreign

        input = _foreign.imported(input, "input")
        out = _foreign.imported_out(out) if _arrays.is_foreign(out) else out
    library = _arrays.library(input, "input")
    call = checked(library, input, None, arguments, out)
    calls = [(call, False)]
    if backward:
        calls.append((_adjoint(library, call.out, call.source.shape, arguments, None), True))
    if call.source.device is None or (0 in call.out.shape and not any_size):
        return
    from cupysample import _cuda

    for each, transposed in calls:
        if any_size:
            _cuda.warm_any_size(each, _plan.method_of(arguments[2], bool(arguments[5])), transposed)
        else:
            _cuda.warm(each)


def of_any_size(arguments: Arguments, out: Any) -> Arguments:
    """Those of a call by which all but the size is checked."""
    size, scale_factor, *others = arguments
    for name, value in (("size", size), ("scale_factor", scale_factor), ("out", out)):
        if value is not None:
            raise ValueError(f"{name}: must be None with any_size, got {shown(value)}")
    return None, 1.0, *others


def _through(x: Any, input_size: Any, arguments: Arguments, out: Any) -> Any:
    """Resample a view of a foreign array, and give the result to that array's library."""
    from cupysample import _foreign  # with ``_kernels``, which few need

    view = _foreign.imported(x, _name(input_size))
    if out is None:
        library = _arrays.library(view, "input")
        library = _arrays.NUMPY_FOR_OTHERS if library.name == "NumPy" else library
        call = checked(library, view, input_size, arguments, None)
        run = call.prepared() or _prepare(call, view, None)
        return _foreign.exported(run(view, None), x)
    resample(view, input_size, arguments, _foreign.imported_out(out) if _arrays.is_foreign(out) else out)
    return out


def _name(input_size: Any) -> str:
    return "input" if input_size is None else "grad_output"


# ---------------------------------------------------------------------------------------------------------------------
# Calls


_calls: dict[tuple[Any, ...] | None, Call] = {}

_SEQUENCES = (list, tuple)
SCALARS = frozenset({type(None), bool, int, float, str, np.float32, np.float64, np.int32, np.int64, np.bool_, np.str_})
"""Immutable types: a call whose arguments are of others is not remembered."""


def checked(library: Library, x: Any, input_size: Any, arguments: Arguments, out: Any) -> Call:
    """Return the remembered call, or a checked one to remember.

    The key holds everything a call depends on, values and types: 2 == 2.0 and 1 == True in Python, yet one of the two
    may be an error. Where arrays lie is no part of a call, so their memory is checked every time.
    """
    size, scale_factor, _, align_corners, _, _ = arguments
    given = scale_factor if size is None else size
    values: tuple[Any, ...] = arguments
    elements: tuple[type, ...] = ()
    key = call = sizes = out_key = None
    try:
        if given.__class__ not in SCALARS and isinstance(given, _SEQUENCES):
            elements = tuple(map(type, given))
            if isinstance(given, list):
                values = (*given, *arguments[2:])
        if input_size is not None:
            elements += (input_size.__class__, *map(type, input_size))
            sizes = tuple(input_size)
        if out is not None:
            out_key = out.__class__, library.key(out)
        key = (
            size.__class__,
            scale_factor.__class__,
            align_corners.__class__,
            elements,
            values,
            sizes,
            x.__class__,
            library.key(x),
            out_key,
        )
        call = _calls.get(key)
    except (TypeError, AttributeError, RuntimeError):
        key = None  # not hashable: wrong arguments, or arrays; an out of another library; a tensor without strides
    if call is None:
        call = (_forward if input_size is None else _backward)(library, x, input_size, arguments, out)
        known = x.__class__ in _arrays.KNOWN and (out is None or out.__class__ in _arrays.KNOWN)
        if key is not None and known and all(map(_is_fixed, (*map(type, arguments), *elements))):
            if len(_calls) >= CALLS:
                _calls.clear()
            _calls[key] = call
    if out is not None:
        call.check_memory(x, out)
    return call


def _is_fixed(kind: type) -> bool:
    """Whether a value of this class, or its elements, of their own classes, stay as they are."""
    return kind in SCALARS or issubclass(kind, _SEQUENCES)


def _forward(library: Library, input: Any, _: None, arguments: Arguments, out: Any) -> Call:
    source = library.layout(input, "input")
    plan = plan_of(source.shape, source.dtype, *arguments)
    shape = (*source.shape[:2], *plan.size)
    return _new(plan, library, source, shape, channels_last(source.shape, source.strides, shape, arguments[2]), out)


def _backward(library: Library, gradient: Any, input_size: Any, arguments: Arguments, out: Any) -> Call:
    source = library.layout(gradient, "grad_output")
    return _adjoint(library, source, checked_input_size(input_size, source.shape), arguments, out)


def _adjoint(library: Library, source: Layout, shape: tuple[int, ...], arguments: Arguments, out: Any) -> Call:
    plan = plan_of_gradient(source.shape, source.dtype, shape, arguments)
    channels_last = len(shape) > 3 and _arrays.is_channels_last(source.shape, source.strides)
    return _new(plan.transposed(source.dtype), library, source, shape, channels_last, out)


def _new(
    plan: _plan.Plan, library: Library, source: Layout, shape: tuple[int, ...], channels_last: bool, out: Any
) -> Call:
    if math.prod(shape) * source.itemsize > LAST_INT64:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")
    output = _arrays.output(source, shape, channels_last)
    layout = output.layout if out is None else _checked_out(out, library, source, shape)
    return Call(plan, library, source, layout, output)


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def checked_input_size(input_size: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the forward call's input, whose batch and channels are those of the gradient."""
    is_sequence = isinstance(input_size, Sequence) and not isinstance(input_size, bytes | bytearray | memoryview)
    if not is_sequence or not all(_is_integer(n) and not isinstance(n, bool) for n in input_size):
        raise TypeError(f"input_size: must be a sequence of ints, the shape of the input, got {shown(input_size)}")
    checked = tuple(operator.index(n) for n in input_size)
    if len(checked) != len(shape) or checked[:2] != shape[:2]:
        raise ValueError(
            f"input_size: must have the dimensions, batch and channels of grad_output, whose shape is {shape}, "
            f"got {checked}"
        )
    return checked


def plan_of_gradient(gradient: tuple[int, ...], dtype: str, shape: tuple[int, ...], arguments: Arguments) -> _plan.Plan:
    """Check the shape and dtype of a gradient and return the plan of the forward call, whose input has ``shape``."""
    if dtype in DTYPES and DTYPES[dtype].arithmetic != "float":
        raise NotImplementedError(f"grad_output: only float and complex dtypes have gradients, got {dtype}")
    plan = plan_of(shape, dtype, *arguments)
    expected = (*shape[:2], *plan.size)
    if gradient != expected:
        raise ValueError(
            f"grad_output: must have the shape of the output, {expected} for an input of {shape}, got {gradient}"
        )
    if 0 in expected and 0 not in shape:  # the sum of no gradients
        raise NotImplementedError(f"grad_output: must not be empty, got {gradient}")
    return plan


def plan_of(
    shape: tuple[int, ...],
    dtype: str,
    size: Size | None,
    scale_factor: ScaleFactor | None,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool,
) -> _plan.Plan:
    """Check everything in torch's order and return the plan."""
    row = MODES.get(mode) if isinstance(mode, str) else None
    if row is not None and not row.interpolates and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    spatial = shape[2:]
    dimensions = len(shape) - 2
    size_out, scale_factors = _sizes_or_factors(size, scale_factor, shape, dimensions)
    recompute = _is_true(recompute_scale_factor, "recompute_scale_factor")
    if recompute and size_out is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    given: tuple[str, Any] = "size", size
    if scale_factors is not None and (recompute or (row is not None and row.family == "area")):
        checked = [_checked_factor(factor, scale_factor) for factor in scale_factors]
        size_out = [_scaled(n, factor, scale_factor) for n, factor in zip(spatial, checked, strict=False)]
        scale_factors, given = None, ("scale_factor", scale_factor)
    supported = row is not None and dimensions in row.dimensions
    antialias = _is_true(antialias, "antialias")
    if antialias and not (supported and row is not None and row.antialias):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if row is None or not supported:
        raise NotImplementedError(_unsupported(row, mode, len(shape)))
    if row.only_antialias and align_corners:
        raise ValueError("Lanczos mode does not support align_corners=True")
    if row.only_antialias and not antialias:
        raise ValueError("Lanczos mode requires antialias=True")
    if align_corners is not None and not isinstance(align_corners, bool | np.bool_):
        raise TypeError(f"align_corners: must be a bool or None, got {shown(align_corners)}")
    factors: tuple[float, ...] | None = None
    if size_out is not None:
        extents = tuple(_checked_extent(n, *given) for n in size_out)
    else:
        assert scale_factors is not None
        factors = tuple(_as_double(_checked_factor(factor, scale_factor), scale_factor) for factor in scale_factors)
        extents = tuple(_floor(n * factor) for n, factor in zip(spatial, factors, strict=True))
    _check_extents(spatial, extents, mode, shape)
    if dtype not in DTYPES or (dtype == "bool" and row.family not in ("nearest", "nearest-exact")):
        raise NotImplementedError(_unsupported_dtype(dtype, mode))
    return _plan.make(mode, dtype, spatial, extents, factors, bool(align_corners), antialias)


def _sizes_or_factors(
    size: Any, scale_factor: Any, shape: tuple[int, ...], dimensions: int
) -> tuple[list[Any] | None, list[Any] | None]:
    """Return one size or one factor for each spatial axis, as given."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if not isinstance(size, list | tuple):
            return [size] * dimensions, None
        if len(size) != dimensions:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got "
                f"input with spatial dimensions of {list(shape[2:])} and output size of {shown(size)}. "
                "Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
                "output size in (o1, o2, ...,oK) format."
            )
        if not all(_is_integer(n) for n in size):
            raise TypeError(
                "expected size to be one of int or Tuple[int] or Tuple[int, int] or "
                f"Tuple[int, int, int], but got size with types {[type(n) for n in size]}"
            )
        return list(size), None
    if scale_factor is not None:
        if not isinstance(scale_factor, list | tuple):
            return None, [scale_factor] * dimensions
        if len(scale_factor) != dimensions:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but "
                f"got input with spatial dimensions of {list(shape[2:])} and "
                f"scale_factor of shape {shown(scale_factor)}. "
                "Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
                "scale_factor in (s1, s2, ...,sK) format."
            )
        return None, list(scale_factor)
    raise ValueError("either size or scale_factor should be defined")


def check_words(size: Any, scale_factor: Any, shape: tuple[Any, ...]) -> tuple[list[Any] | None, list[Any] | None]:
    """Check the types and the number of sizes or factors, which may be symbols; one for each axis, as given."""
    sizes, factors = _sizes_or_factors(size, scale_factor, shape, len(shape) - 2)
    for n in sizes or ():
        if type(n).__name__ != "SymInt":
            _checked_extent(n, "size", size)
    for factor in factors or ():
        if type(factor).__name__ != "SymFloat":
            _checked_factor(factor, scale_factor)
    return sizes, factors


def _is_integer(n: Any) -> bool:
    """What torch takes for an integer inside a sequence: int, NumPy's integers, its symbols, an integer tensor."""
    if isinstance(n, int | np.integer) or type(n).__name__ == "SymInt":
        return True
    return _arrays.is_tensor(n) and not n.dtype.is_floating_point and not n.dtype.is_complex


def _is_true(value: Any, name: str) -> bool:
    """The truth of a value, as ``if`` takes it."""
    try:
        return bool(value)
    except (TypeError, ValueError, RuntimeError) as error:  # an array has none
        kind = next(kind for kind in (TypeError, ValueError, RuntimeError) if isinstance(error, kind))
        raise kind(f"{name}: must be true or false, got {shown(value)}") from error


def _checked_extent(n: Any, name: str, given: Any) -> int:
    """Return one output extent as an int; bools, floats and arrays are refused. ``given``, by ``name``, led to it."""
    if (
        isinstance(n, bool)
        or not _is_integer(n)
        or (_arrays.is_tensor(n) and (n.numel() != 1 or str(n.dtype) == "torch.bool"))
    ):
        raise TypeError(
            f"size: must be an int, or a list or tuple of ints, one for each spatial axis, got {shown(given)}"
        )
    extent = operator.index(n)
    if not -LAST_INT64 <= extent <= LAST_INT64:
        raise TypeError(f"{name}: output extents must fit into 64 bits, got {shown(given)}")
    return extent


def _checked_factor(factor: Any, scale_factor: Any) -> Any:
    """Return one scale factor, a real number."""
    if not isinstance(factor, numbers.Real):
        raise TypeError(
            f"scale_factor: must be a real number, or a list or tuple of them, one for each spatial axis, "
            f"got {shown(scale_factor)}"
        )
    return factor


def _as_double(factor: Any, scale_factor: Any) -> float:
    try:
        return float(factor)
    except OverflowError:  # torch's class
        raise TypeError(f"scale_factor: must be at most the largest double, got {shown(scale_factor)}") from None


def _scaled(n: int, factor: Any, scale_factor: Any) -> int:
    """As torch has it, in its own expression; the classes are those that Python raises in it."""
    try:
        return int(n * factor)
    except (ValueError, OverflowError) as error:
        kind = ValueError if isinstance(error, ValueError) else OverflowError
        raise kind(f"scale_factor: must be finite, got {shown(scale_factor)}") from None


def _floor(extent: float) -> int:
    """Convert to int64 as C++ does, truncating; torch's error where that overflows."""
    if not -(2.0**63) <= extent < 2.0**63:
        raise RuntimeError("value cannot be converted to type int64_t without overflow")
    return int(extent)


def _check_extents(spatial: tuple[int, ...], extents: tuple[int, ...], mode: str, shape: tuple[int, ...]) -> None:
    """Refuse empty and negative extents; area alone may produce an empty output."""
    if mode == "area":
        if max(n_in * n_out for n_in, n_out in zip(spatial, extents, strict=True)) > LAST_INT64:
            raise RuntimeError(f"area: input size times output size must fit into 64 bits, got {spatial} and {extents}")
        if min(extents) < 0:
            raise RuntimeError(
                f"adaptive_avg_pool{len(extents)}d: elements of output_size must be greater than or equal to 0 "
                f"but received {{{', '.join(map(str, extents))}}}"
            )
        if 0 in spatial:
            raise RuntimeError(
                f"adaptive_avg_pool{len(extents)}d(): Expected input to have non-zero size for non-batch dimensions, "
                f"but input has sizes {list(shape)} with dimension {spatial.index(0) + 2} being empty"
            )
    elif min(spatial) <= 0 or min(extents) <= 0:
        names = "DHW"[-len(extents) :]
        got, wanted = (
            "(" + ", ".join(f"{name}: {n}" for name, n in zip(names, sizes, strict=True)) + ")"
            for sizes in (spatial, extents)
        )
        comma = " and" if len(extents) == 1 else ""
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {got}{comma} output {wanted}"
        )


def _unsupported(row: _plan.Mode | None, mode: object, ndim: int) -> str:
    if row is not None and row.family in ("linear", "cubic") and mode != "bicubic" and ndim in (3, 4, 5):
        return f"Got {ndim}D input, but {mode} mode needs {row.dimensions[0] + 2}D input"
    return (
        f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: "
        f"nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode if isinstance(mode, str) else shown(mode)})"
    )


def _unsupported_dtype(dtype: str, mode: str) -> str:
    names = [name for name in DTYPES if name != "bool"]
    return f"input: dtype {dtype} is not implemented for mode {mode!r}; use one of {', '.join(names)}" + (
        "; bool in the nearest modes"
    )


def channels_last(sizes: Any, strides: Any, shape: tuple[int, ...], mode: str) -> bool:
    """Whether torch's output for an input of these sizes and strides is channels_last: 4-D and 5-D follow the input.

    Area goes through torch's pools: 1-D is seen with a height of 1, 3-D is contiguous unless pooled to one pixel.
    """
    if mode == "area" and len(sizes) == 3:
        strides = (*strides[:2], sizes[2] * strides[2], strides[2])
        sizes = (*sizes[:2], 1, sizes[2])
    if len(sizes) == 3 or (mode == "area" and len(sizes) == 5 and shape[2:] != (1, 1, 1)):
        return False
    return _arrays.is_channels_last(sizes, strides)


def _checked_out(out: Any, library: Library, source: Layout, shape: tuple[int, ...]) -> Layout:
    """Return the layout of ``out`` once it is known to be a place for the result."""
    if not library.owns(out):
        found = next((f"a {each.name} array" for each in _arrays.LIBRARIES if each.owns(out)), type_name(out))
        raise TypeError(f"out: must be a {library.name} array as the input is, got {found}")
    target = library.layout(out, "out")
    for what, expected, got in (
        ("shape", shape, target.shape),
        ("dtype", source.dtype, target.dtype),
        ("device", source.place, target.place),
    ):
        if expected != got:
            raise ValueError(f"out: must have {what} {expected}, got {got}")
    if _arrays.overlaps_itself(target):
        raise ValueError(f"out: elements must not share memory, got shape {target.shape} with strides {target.strides}")
    return target
