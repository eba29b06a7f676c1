"""The public functions, under the names and with the arguments of ``torch.nn.functional``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cupysample import _arrays, _interpolate
from cupysample._interpolate import ScaleFactor, Size

ArrayT = TypeVar("ArrayT")


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
    size : int, or list or tuple of int, optional
        Output extent in pixels, one for each spatial axis or one for all.
    scale_factor : float, or list or tuple of float, optional
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
        Where to write: the input's library, device and dtype, the output's shape, any strides, no overlap. Of tensors, as
        torch's own functions have it: not while grad is required, and under no transform or compiler.

    Returns
    -------
    array of shape (N, C, *size)
        ``out``, or a new array of the input's library, device and dtype, in the machine's order of bytes; channels_last
        where torch calls the input so: also N must have a stride that covers the picture, which ``[None]`` does not give.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, RuntimeError
        The class torch raises, with its words where it has any; before anything is launched or written.
    BufferError
        An array of another library whose memory cannot be viewed.

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

    A picture of shape (H, W, C) is read where it lies, and the result lies alike:

    >>> photo = np.zeros((6, 9, 3), np.uint8)
    >>> small = interpolate(photo.reshape(1, 6, 9, 3).transpose(0, 3, 1, 2), size=(2, 3), mode="area")
    >>> small[0].transpose(1, 2, 0).flags.c_contiguous
    True
    """
    arguments = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    run = _tensors().interpolate if _arrays.is_tensor(input) else _untraced(_interpolate.resample)
    result: ArrayT = run(input, None, arguments, out)
    return result


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
    TypeError, ValueError, NotImplementedError, RuntimeError, BufferError
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
    if input_size is None:  # which means forward below
        raise TypeError("input_size: must be a sequence of ints, the shape of the input, got None")
    arguments = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    run = _tensors().interpolate_backward if _arrays.is_tensor(grad_output) else _untraced(_interpolate.resample)
    result: ArrayT = run(grad_output, input_size, arguments, out)
    return result


def warmup(
    input: Any,
    size: Size | None = None,
    scale_factor: ScaleFactor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    out: Any = None,
    backward: bool = False,
    any_size: bool = False,
) -> None:
    """Compile the kernel and upload the tables of a call to come, so that it only launches; or compile those of all sizes.

    What a CUDA graph needs: nothing can be compiled or uploaded while a stream is being captured. The call itself, made
    once, does as well; this one neither allocates an output nor launches. While another thread captures in CUDA's global
    mode (the default of ``torch.cuda.graph``), do not warm up: it copies and allocates.

    Parameters
    ----------
    input : array
        One of the shape, strides, dtype and device to come, its address as far from a multiple of 16 bytes; of any library.
        Values do not matter, nor do strides of axes of extent 1. Nothing is done for host memory but to check the arguments.
    size, scale_factor, mode, align_corners, recompute_scale_factor, antialias : as in ``interpolate``
        The arguments of the call to come.
    out : array, optional
        As in the call to come, where that lies otherwise than a new output would: at a multiple of 16 bytes, and dense.
    backward : bool
        Prepare ``interpolate_backward`` too, for a gradient laid out as the output is.
    any_size : bool
        Compile every kernel that a call may need which has other extents, strides and sizes than these, but the dtype,
        device, number of axes, mode and antialiasing of this one: then no new size compiles anything. ``size``,
        ``scale_factor`` and ``out`` are None with it. Tables are still uploaded by the first call of each size. An ``out``
        with gaps between its pixels may need others.

    Returns
    -------
    None
        The kernel stays loaded. Its launch is remembered among the last 1024, while its tables are among the last 64 MiB;
        tables that were captured stay for good.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, RuntimeError, BufferError
        What ``interpolate`` raises.

    Examples
    --------
    >>> import numpy as np
    >>> warmup(np.empty((1, 3, 8, 8)), scale_factor=2, mode="bilinear", backward=True)
    >>> warmup(np.empty((1, 3, 8, 8)), mode="bicubic", antialias=True, any_size=True)
    """
    arguments = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    run = _tensors().warmup if _arrays.is_tensor(input) else _untraced(_interpolate.warmup)
    run(input, arguments, out, backward, any_size)


_tensors_module: list[Any] = []


def _tensors() -> Any:
    """Return the module for torch's tensors; whoever has one has imported torch."""
    if not _tensors_module:
        from cupysample import _tensors

        _tensors_module.append(_tensors)
    return _tensors_module[0]


def _untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Out of sight of ``torch.compile`` where that watches, for it takes NumPy's arrays for tensors."""
    if "torch._dynamo" not in sys.modules:
        return function
    try:
        tensors = _tensors()
    except (ImportError, AttributeError):  # a torch whose tensors cannot be served is no reason to refuse arrays
        return function
    return tensors.unwatched(function)  # type: ignore[no-any-return]


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
