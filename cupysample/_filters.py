"""Interpolation filters: continuous functions of the distance to a tap, in source pixels.

Every function computes in the dtype of its argument and rounds where torch's kernels round, because integers and
uint8 promise bits. ``support`` is a radius: the filter is zero where ``|x| >= support``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cupysample._rounding import fma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cupysample._rounding import Reals

CUBIC = -0.75
"""Keys' parameter of plain cubic interpolation: torch, OpenCV."""
CUBIC_ANTIALIAS = -0.5
"""Keys' parameter of antialiased cubic: torch, Pillow. The only value of third order (Keys 1981)."""
LANCZOS_LOBES = 3


class Filter(NamedTuple):
    """``weight(x)`` for ``|x| < support``, zero elsewhere."""

    support: float
    weight: Callable[[Reals], Reals]


def triangle(x: Reals) -> Reals:
    """``1 - |x|``: linear interpolation."""
    return np.asarray(np.maximum(1 - np.abs(x), x.dtype.type(0)))


def keys_cubic(a: float) -> Callable[[Reals], Reals]:
    """Return the cubic convolution filter of Keys (1981), "Cubic convolution interpolation", equation 4.

    ``(a+2)|x|^3 - (a+3)|x|^2 + 1`` up to 1, ``a|x|^3 - 5a|x|^2 + 8a|x| - 4a`` up to 2; by Horner's rule, each step fused.
    """

    def weight(x: Reals) -> Reals:
        number = x.dtype.type
        x = np.abs(x)
        near = fma(fma(number(a + 2), x, number(-(a + 3))) * x, x, number(1))
        far = fma(fma(fma(number(a), x, number(-5 * a)), x, number(8 * a)), x, number(-4 * a))
        return np.where(x < 1, near, np.where(x < 2, far, number(0)))

    return weight


SINE = (
    3.141592653589793,
    -5.16771278004997,
    2.5501640398773455,
    -0.5992645293207921,
    0.08214588661112823,
    -0.0073704309457143504,
    0.00046630280576761255,
    -2.1915353447830217e-05,
    7.952054001475513e-07,
    -2.2948428997269873e-08,
    5.392664662608129e-10,
)
"""Taylor's coefficients of sin(pi r) in r, r^3, r^5 …; the next term is below 3e-18 for |r| <= 1/2."""


def sine(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``sin(pi x)`` to 2 ulp; every step rounded by itself, so that a device's is the same to the bit."""
    n = np.rint(x)
    r = x - n
    total = np.full_like(r, SINE[-1])
    for coefficient in SINE[-2::-1]:
        total = total * (r * r) + coefficient
    return np.where(n % 2 == 1, -total * r, total * r)


def lanczos(x: Reals) -> Reals:
    """``sinc(x) sinc(x/3)`` with ``sinc(x) = sin(pi x)/(pi x)`` (Duchon 1979), evaluated in float64, rounded once."""
    near = np.where(x == 0, 1.0, x).astype(np.float64)
    far = near / LANCZOS_LOBES
    value = np.where(x == 0, 1.0, sine(near) / (np.pi * near) * (sine(far) / (np.pi * far)))
    return np.where(np.abs(x) < LANCZOS_LOBES, value, 0.0).astype(x.dtype)


TRIANGLE = Filter(1.0, triangle)
KEYS_CUBIC = Filter(2.0, keys_cubic(CUBIC))
KEYS_CUBIC_ANTIALIAS = Filter(2.0, keys_cubic(CUBIC_ANTIALIAS))
LANCZOS = Filter(float(LANCZOS_LOBES), lanczos)
