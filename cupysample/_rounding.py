"""Arithmetic with a stated rounding, the same on NumPy as in the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals: TypeAlias = NDArray[Any]


def fma(a: Reals, b: Reals, c: Reals) -> Reals:
    """Return ``a * b + c`` as the kernels round it.

    float32: one rounding, as ``fmaf``. The product of two float32 is exact in float64; the sum is rounded there *to
    odd* (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008), so that the second rounding, to
    float32, is the only one that counts. float64: product and sum are rounded separately, here and in the kernels.
    """
    if np.result_type(a, b, c) != np.float32:
        return np.asarray(a * b + c)
    product = np.multiply(a, b, dtype=np.float64)
    c = np.asarray(c, np.float64)
    total = np.asarray(product + c)
    part = total - product
    error = (product - (total - part)) + (c - part)
    even = total.view(np.int64) & 1 == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & even, np.nextafter(total, toward), total)
    return np.asarray(odd, np.float32)
