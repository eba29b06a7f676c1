"""torch's words: every check, default, size rule and message of ``torch.nn.functional.interpolate``.

The order of the checks is torch's, so that of two mistakes in one call the same one is reported.
"""

from __future__ import annotations

import math
import numbers
import operator
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np

from cupysample import _arrays, _numpy, _plan
from cupysample._arrays import Array
from cupysample._plan import DTYPES, MODES

ArrayT = TypeVar("ArrayT")
Size = int | Sequence[int]
ScaleFactor = float | Sequence[float]

LAST_INT64 = 2**63 - 1


def interpolate(
    input: ArrayT,
    size: Size | None = None,
    scale_factor: ScaleFactor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    out: ArrayT | None = None,
) -> ArrayT:
    """Resample the spatial axes of an array: ``torch.nn.functional.interpolate`` for CuPy, NumPy and torch arrays.

    Parameters
    ----------
    input : array of shape (N, C, W), (N, C, H, W) or (N, C, D, H, W)
        A ``cupy.ndarray``, ``numpy.ndarray`` or ``torch.Tensor`` with any strides; it is read where it lies and never
        written. Dtypes: float16, bfloat16, float32, float64, complex64, complex128, uint8 and every other integer in
        every mode; bool in the nearest modes.
    size : int or sequence of int, optional
        Output extent in pixels, one for each spatial axis or one for all.
    scale_factor : float or sequence of float, optional
        Output extent over input extent; the output has ``floor(extent * scale_factor)`` pixels. Exactly one of ``size``
        and ``scale_factor`` is given. The factor itself, not the ratio of the sizes, enters the coordinates, as in
        torch, unless ``recompute_scale_factor``.
    mode : str
        ``"nearest"`` (index floored), ``"nearest-exact"`` (nearest pixel centre), ``"area"`` (mean of the covered
        pixels), ``"linear"`` | ``"bilinear"`` | ``"trilinear"`` and ``"cubic"`` | ``"bicubic"`` | ``"tricubic"`` (1 | 2
        | 3 spatial axes), ``"lanczos"`` (three lobes, any number of axes, ``antialias=True`` only).
    align_corners : bool, optional
        Align the centres of the corner pixels instead of their outer corners; for the interpolating modes.
    recompute_scale_factor : bool, optional
        Use ``scale_factor`` for the output size only, and the ratio of the sizes in the coordinates.
    antialias : bool
        Stretch the filter when an axis shrinks, so that every pixel counts, as Pillow does; for the linear, cubic and
        lanczos filters in 1-D, 2-D and 3-D, without limit on the factor. Cubic then has Keys' parameter -0.5, else
        -0.75.
    out : array, optional
        Where to write: the input's library, device and dtype, the output's shape, any strides, no overlap.

    Returns
    -------
    array of shape (N, C, *size)
        ``out``, or a new array of the input's library, device and dtype; channels_last where the input is.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, RuntimeError
        The class torch raises, with its words where it has any; before anything is launched or written.

    Notes
    -----
    Floats are accumulated in float32 (float64 for float64) and rounded once. Integers are rounded half to even and
    saturate; uint8 follows the fixed point of torch's CPU kernels, bit for bit. Where torch disagrees with itself or
    with the definition, the README's table "Same as torch, except" says what happens here.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> interpolate(image, scale_factor=2, mode="bilinear", align_corners=True).round(2)
    array([[[[1.  , 1.33, 1.67, 2.  ],
             [1.67, 2.  , 2.33, 2.67],
             [2.33, 2.67, 3.  , 3.33],
             [3.  , 3.33, 3.67, 4.  ]]]])

    A picture of shape (H, W, C) is resampled in place of its memory order, without a copy:

    >>> photo = np.zeros((6, 9, 3), np.uint8)
    >>> interpolate(photo.transpose(2, 0, 1)[None], size=(2, 3), mode="area")[0].transpose(1, 2, 0).shape
    (2, 3, 3)
    """
    source = _arrays.adopt(input, "input")
    plan = _plan_of(
        source.shape, source.dtype, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )
    shape = (*source.shape[:2], *plan.size)
    if math.prod(shape) * source.itemsize > LAST_INT64:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")
    return _applied(plan, source, shape, _channels_last(source, shape, mode), out)


def interpolate_backward(
    grad_output: ArrayT,
    input_size: Sequence[int],
    size: Size | None = None,
    scale_factor: ScaleFactor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    out: ArrayT | None = None,
) -> ArrayT:
    """Return the gradient with respect to the input of ``interpolate``, given the gradient of its output.

    It is the exact adjoint of the forward call with the same arguments: the transposed matrix of every axis, run by the
    same code. Nothing is scattered, so that the same call gives the same bits; sums are accumulated in float32 (float64
    for float64) and rounded once.

    Parameters
    ----------
    grad_output : array of shape (N, C, *size)
        Gradient of the output of ``interpolate``; a float or complex dtype, any strides.
    input_size : sequence of int
        Shape of the input of ``interpolate``: (N, C, W), (N, C, H, W) or (N, C, D, H, W).
    size, scale_factor, mode, align_corners, recompute_scale_factor, antialias : as in ``interpolate``
        The arguments of the forward call.
    out : array, optional
        Where to write, as in ``interpolate``; its shape is ``input_size``.

    Returns
    -------
    array of shape ``input_size``
        ``out``, or a new array of the library, device and dtype of ``grad_output``; channels_last where that is.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, RuntimeError
        What ``interpolate`` raises; NotImplementedError for integers and bool, which have no gradient.

    Notes
    -----
    torch's own gradients differ: on CUDA they add with atomics, in float16 and bfloat16 sums of that type and in an order
    that changes from run to run, and where a user's scale factor meets a shortcut they are not the adjoint of the forward.

    Examples
    --------
    >>> import numpy as np
    >>> interpolate_backward(np.ones((1, 1, 4)), (1, 1, 2), scale_factor=2, mode="linear")
    array([[[2., 2.]]])
    """
    gradient = _arrays.adopt(grad_output, "grad_output")
    shape = _checked_input_size(input_size, gradient.shape)
    if gradient.dtype in DTYPES and DTYPES[gradient.dtype].arithmetic != "float":
        raise NotImplementedError(f"grad_output: only float and complex dtypes have gradients, got {gradient.dtype}")
    plan = _plan_of(shape, gradient.dtype, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    expected = (*shape[:2], *plan.size)
    if gradient.shape != expected:
        raise ValueError(
            f"grad_output: must have the shape of the output, {expected} for an input of {shape}, got {gradient.shape}"
        )
    if 0 in expected and 0 not in shape:  # the sum of no gradients
        raise NotImplementedError(f"grad_output: must not be empty, got {gradient.shape}")
    channels_last = len(shape) > 3 and _arrays.is_channels_last(gradient.shape, gradient.strides)
    return _applied(plan.transposed(gradient.dtype), gradient, shape, channels_last, out)


def _applied(
    plan: _plan.Plan, source: Array, shape: tuple[int, ...], channels_last: bool, out: ArrayT | None
) -> ArrayT:
    """Apply a plan to ``source``, into ``out`` or a new array."""
    if out is None:
        out = cast(ArrayT, _arrays.empty(source, shape, channels_last))
        target = _arrays.adopt(out, "out")
    else:
        target = _checked_out(out, source, shape)
    if 0 in shape:
        return out
    if source.device is None:
        _numpy.apply(plan, source, target)
    else:
        from cupysample import _cuda  # only where there is a device: it is half of the package's import time

        _cuda.apply(plan, source, target)
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def _checked_input_size(input_size: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the forward call's input, whose batch and channels are those of the gradient."""
    if not isinstance(input_size, Sequence) or not all(_is_integer(n) and not isinstance(n, bool) for n in input_size):
        raise TypeError(f"input_size: must be a sequence of ints, the shape of the input, got {input_size!r}")
    checked = tuple(operator.index(n) for n in input_size)
    if len(checked) != len(shape) or checked[:2] != shape[:2]:
        raise ValueError(
            f"input_size: must have the dimensions, batch and channels of grad_output, whose shape is {shape}, "
            f"got {checked}"
        )
    return checked


def _plan_of(
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
    if recompute_scale_factor and size_out is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if scale_factors is not None and (recompute_scale_factor or mode == "area"):
        checked = [_checked_factor(factor, scale_factor) for factor in scale_factors]
        size_out = [int(n * factor) for n, factor in zip(spatial, checked, strict=False)]  # torch's own expression
        scale_factors = None
    supported = row is not None and dimensions in row.dimensions
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
        raise TypeError(f"align_corners: must be a bool or None, got {align_corners!r}")
    factors: tuple[float, ...] | None = None
    if size_out is not None:
        extents = tuple(_checked_extent(n, size) for n in size_out)
    else:
        assert scale_factors is not None
        factors = tuple(float(_checked_factor(factor, scale_factor)) for factor in scale_factors)
        extents = tuple(_floor(n * factor) for n, factor in zip(spatial, factors, strict=True))
    _check_extents(spatial, extents, mode, shape)
    if dtype not in DTYPES or (dtype == "bool" and row.family not in ("nearest", "nearest-exact")):
        raise NotImplementedError(_unsupported_dtype(dtype, mode))
    return _plan.make(mode, dtype, spatial, extents, factors, bool(align_corners), bool(antialias))


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
                f"input with spatial dimensions of {list(shape[2:])} and output size of {size}. "
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
                f"scale_factor of shape {scale_factor}. "
                "Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
                "scale_factor in (s1, s2, ...,sK) format."
            )
        return None, list(scale_factor)
    raise ValueError("either size or scale_factor should be defined")


def _is_integer(n: Any) -> bool:
    """What torch takes for an integer inside a sequence: int, NumPy's integers, an integer tensor."""
    if isinstance(n, int | np.integer):
        return True
    return _is_tensor(n) and not n.dtype.is_floating_point and not n.dtype.is_complex


def _is_tensor(n: Any) -> bool:
    return type(n).__module__.partition(".")[0] == "torch" and hasattr(n, "is_floating_point")


def _checked_extent(n: Any, size: Any) -> int:
    """Return one output extent as an int; bools, floats and arrays are refused."""
    if isinstance(n, bool) or not _is_integer(n) or (_is_tensor(n) and n.ndim > 0):
        raise TypeError(f"size: must be an int or a sequence of ints, one for each spatial axis, got {size!r}")
    extent = operator.index(n)
    if not -LAST_INT64 <= extent <= LAST_INT64:
        raise TypeError(f"size: must fit into 64 bits, got {size!r}")
    return extent


def _checked_factor(factor: Any, scale_factor: Any) -> Any:
    """Return one scale factor, a real number."""
    if not isinstance(factor, numbers.Real):
        raise TypeError(
            f"scale_factor: must be a real number or a sequence of them, one for each spatial axis, "
            f"got {scale_factor!r}"
        )
    return factor


def _floor(extent: float) -> int:
    """Convert to int64 as C++ does, truncating; torch's error where that overflows."""
    if not -(2.0**63) <= extent < 2.0**63:
        raise RuntimeError("value cannot be converted to type int64_t without overflow")
    return int(extent)


def _check_extents(spatial: tuple[int, ...], extents: tuple[int, ...], mode: str, shape: tuple[int, ...]) -> None:
    """Refuse empty and negative extents; area alone may produce an empty output."""
    if mode == "area":
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
        f"nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
    )


def _unsupported_dtype(dtype: str, mode: str) -> str:
    names = [name for name in DTYPES if name != "bool"]
    return f"input: dtype {dtype} is not implemented for mode {mode!r}; use one of {', '.join(names)}" + (
        "; bool in the nearest modes"
    )


def _channels_last(source: Array, shape: tuple[int, ...], mode: str) -> bool:
    """Whether torch's output for this input is channels_last: 4-D and 5-D follow the input.

    Area goes through torch's pools: 1-D is seen with a height of 1, 3-D is contiguous unless pooled to one pixel.
    """
    sizes, strides = source.shape, source.strides
    if mode == "area" and len(sizes) == 3:
        sizes = (*sizes[:2], 1, sizes[2])
        strides = (*strides[:2], source.shape[2] * strides[2], strides[2])
    if len(sizes) == 3 or (mode == "area" and len(sizes) == 5 and shape[2:] != (1, 1, 1)):
        return False
    return _arrays.is_channels_last(sizes, strides)


def _checked_out(out: Any, source: Array, shape: tuple[int, ...]) -> Array:
    """Return ``out`` once it is known to be a place for the result."""
    target = _arrays.adopt(out, "out")
    if target.library is not source.library:
        raise TypeError(
            f"out: must be a {source.library.name} array as the input is, got a {target.library.name} array"
        )
    for what, expected, got in (
        ("shape", shape, target.shape),
        ("dtype", source.dtype, target.dtype),
        ("device", source.place, target.place),
    ):
        if expected != got:
            raise ValueError(f"out: must have {what} {expected}, got {got}")
    if not target.writeable:
        raise ValueError("out: must be writeable, got a read-only array")
    if _arrays.overlaps_itself(target):
        raise ValueError(f"out: elements must not share memory, got shape {target.shape} with strides {target.strides}")
    if _arrays.overlap(source, target):
        raise ValueError("out: must not overlap the input in memory, got arrays that share memory")
    return target


# ---------------------------------------------------------------------------------------------------------------------
# torch's deprecated names


def upsample(
    input: ArrayT,
    size: Size | None = None,
    scale_factor: ScaleFactor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> ArrayT:
    """Resample as ``interpolate``; deprecated, as ``torch.nn.functional.upsample`` is (UserWarning)."""
    _warn_deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: ArrayT, size: Size | None = None, scale_factor: ScaleFactor | None = None) -> ArrayT:
    """Resample with ``mode="nearest"``; deprecated, as in torch (UserWarning)."""
    _warn_deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: ArrayT, size: Size | None = None, scale_factor: ScaleFactor | None = None) -> ArrayT:
    """Resample with ``mode="bilinear", align_corners=True``; deprecated, as in torch (UserWarning)."""
    _warn_deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _warn_deprecated(name: str) -> None:
    warnings.warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=3)
