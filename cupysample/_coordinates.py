"""Output index to source coordinate, along one axis.

Pixel centres lie at integers. ``scale`` is the source step per output step, the inverse of a user's ``scale_factor``.
The rules and their roundings are those of torch's CUDA kernels (``ATen/native/cuda/UpSample.cuh``); names are ONNX's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cupysample._rounding import fma

if TYPE_CHECKING:
    from cupysample._rounding import Reals

FLOAT32_EXTENT = 1 << 22
"""Longest axis whose coordinates torch's float32 rules still place within a quarter of a pixel."""


def index_dtype(n_in: int, n_out: int, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype coordinates are computed in: torch's, unless the axis is too long for float32."""
    return np.dtype(np.float64) if max(n_in, n_out) > FLOAT32_EXTENT else dtype


def scale(n_in: int, n_out: int, scale_factor: float | None, align_corners: bool, dtype: np.dtype[Any]) -> float:
    """Return the source step per output step, rounded to ``dtype``.

    ``align_corners`` maps first to first and last to last pixel and ignores the user's factor; a positive factor is
    inverted in double precision; otherwise the step is the ratio of the sizes, one division in ``dtype``.
    """
    number = dtype.type
    if align_corners:
        return float(number(n_in - 1) / number(n_out - 1)) if n_out > 1 else 0.0
    if scale_factor is not None and scale_factor > 0:
        return float(number(1.0 / scale_factor))
    return float(number(n_in) / number(n_out)) if n_out else 0.0


def asymmetric(index: Reals, step: Reals, offset: float) -> Reals:
    """Coordinate of the nearest modes before flooring: ``(index + offset) * step``, offset 0 or one half."""
    return np.asarray((index + index.dtype.type(offset)) * step)


def half_pixel(index: Reals, step: Reals) -> Reals:
    """Centres to centres: ``(index + 1/2) * step - 1/2``, fused in float32."""
    half = index.dtype.type(0.5)
    return fma(step, index + half, -half)


def align_corners(index: Reals, step: Reals) -> Reals:
    """Corner centres to corner centres: ``index * step``."""
    return index * step
