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
    inexact = np.abs(error) > 0
    if inexact.any():  # odd: cut off toward zero, and the last bit set
        bits = total.view(np.int64)
        bits -= inexact & ((error < 0) != (total < 0))
        bits |= inexact
    return total.astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# 16-bit floats, by operations that NumPy vectorises; its own conversions of float16 take 1.6 and 5 times as long.


def widen_bfloat16(bits: NDArray[np.uint16], out: NDArray[np.float32]) -> None:
    """Convert: a bfloat16 is the upper half of a float32."""
    np.left_shift(bits, 16, out=out.view(np.uint32), dtype=np.uint32)


def narrow_bfloat16(x: NDArray[np.float32], spare: NDArray[np.uint32], out: NDArray[np.uint16]) -> None:
    """Round half to even what is no NaN; ``x`` and ``spare`` are overwritten."""
    bits = x.view(np.uint32)
    np.right_shift(bits, 16, out=spare)
    np.bitwise_and(spare, 1, out=spare)
    np.add(bits, spare, out=bits)
    np.add(bits, 0x7FFF, out=bits)
    np.right_shift(bits, 16, out=bits)
    np.copyto(out, bits, casting="unsafe")


def widen_float16(x: NDArray[np.float16], out: NDArray[np.float32]) -> None:
    """Convert finite numbers; a NaN becomes an infinity, which is as much as a test for finite numbers needs.

    Shifted by 13 bits a float16 has the exponent of a float32 that is 2**112 times too small, subnormals included. Beyond
    that by another 2**112, the largest float16 is still finite, but what had the exponent of an infinity is one.
    """
    bits = out.view(np.int32)
    np.copyto(bits, x.view(np.int16))  # repeats the sign
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, ~0x70000000, out=bits)
    for power in (112, 112, -112):
        np.multiply(out, np.float32(2.0**power), out=out)


def narrow_float16(x: NDArray[np.float32], spare: NDArray[np.uint32], out: NDArray[np.float16]) -> None:
    """Round half to even what is no NaN; ``x`` and ``spare`` are overwritten.

    Adding 2**13 times the power of two at or below |x|, of at least 2**-14, rounds |x| to the last bit of a float16; the
    sum's bits are then those of the summand plus the significand, in units of that last bit.
    """
    bits, result = x.view(np.uint32), out.view(np.uint16)
    np.right_shift(bits, 16, out=spare)
    np.bitwise_and(spare, 0x8000, out=spare)
    np.copyto(result, spare, casting="unsafe")  # the sign
    np.bitwise_and(bits, 0x7FFFFFFF, out=bits)
    np.bitwise_and(bits, 0x7F800000, out=spare)
    np.clip(spare, (127 - 14) << 23, (127 + 16) << 23, out=spare)
    np.add(spare, 13 << 23, out=spare)
    np.add(x, spare.view(np.float32), out=x)
    np.subtract(bits, spare, out=bits)
    np.right_shift(spare, 13, out=spare)
    np.add(bits, spare, out=bits)
    np.clip(bits, EXPONENTS, EXPONENTS + 0x7C00, out=bits)  # what is beyond the largest is an infinity
    np.subtract(bits, EXPONENTS, out=bits)
    half = spare.view(np.uint16)[..., : x.shape[-1]]
    np.copyto(half, bits, casting="unsafe")
    np.bitwise_or(result, half, out=result)


EXPONENTS = (127 - 14 + 13) << 10
"""The exponent of 2**13 times the smallest normal float16, in its place."""
