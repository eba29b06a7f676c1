"""torch's answers to a case: its own, and those of its kernels one axis at a time; and how far two right ones may be apart."""

from __future__ import annotations

import warnings
from typing import Any

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tests import oracle
from tests.cases import POINT, Case
from tests.known_differences import CUBIC, HALF, LINEAR, factors, floors_in_single, size, unchanged

Tensor = Any

DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8")
DIMENSIONS = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "trilinear": (3,),
    "bicubic": (2,),
    "lanczos": (2,),
}
"""torch's modes and the numbers of spatial axes it has them for."""


def torch_has(case: Case) -> bool:
    """Whether torch computes the call on a CPU."""
    if len(case.spatial) not in DIMENSIONS.get(case.mode, ()):
        return False
    if case.antialias:
        return len(case.spatial) == 2 and case.dtype not in HALF
    return case.dtype != "uint8" or case.mode in (*POINT, "bilinear", "bicubic")


def to_torch(x: NDArray[Any]) -> Tensor:
    """Return the array as a tensor, with its strides where torch has such."""
    if not x.dtype.isnative or min(x.strides) < 0:
        x = x.astype(x.dtype.newbyteorder("="), order="C")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch cannot mark a tensor read-only
        if x.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
        return torch.from_numpy(x)


def in_double(x: Any) -> NDArray[np.float64]:
    """Return an array or tensor as float64, which holds every value of every dtype here."""
    if isinstance(x, torch.Tensor):
        return np.asarray(x.double().numpy())
    return np.asarray(x).astype(np.float64)


def by_axes(case: Case, x: Tensor) -> Tensor:
    """Resample one axis after the other, the last first; half types are widened to float32 and stay there.

    Every axis is seen as the rows of an image, (m, 1, 1, n), where torch's kernels take no shortcut. Float64 coordinates
    that they all floor as float32 are the definition's here.
    """
    if floors_in_single(case):
        return torch.from_numpy(oracle.interpolate(x.numpy(), **case.arguments))
    if case.dtype in HALF and case.mode not in POINT:
        x = x.float()
    every = all(unchanged(case))
    for d in reversed(range(len(case.spatial))):
        n_in, n_out, factor = case.spatial[d], size(case)[d], factors(case)[d]
        if n_in == n_out:
            if _copied(case, factor, every):
                continue
            factor = factor or 1.0
        rows = x.movedim(d + 2, -1)
        resampled = _rows(case, rows.reshape(-1, 1, 1, n_in), n_out, factor)
        x = resampled.reshape(*rows.shape[:-1], n_out).movedim(-1, d + 2)
    if case.mode == "area" and case.dtype == "uint8":
        x = (x * 1e9).round().div(1e9).round().byte()  # means of few pixels: a tie, or farther than 1e-9 from one
    return x


def _copied(case: Case, factor: float | None, every: bool) -> bool:
    """Whether an axis of unchanged size is copied; ``every``: no size changes."""
    if case.mode in POINT:
        return len(case.spatial) == 2 or factor in (None, 1)
    if case.mode in ("area", "lanczos") or case.dtype == "uint8" or case.align_corners:
        return True
    return not case.antialias and every


def _rows(case: Case, x: Tensor, n_out: int, factor: float | None) -> Tensor:
    """Resample the rows of (m, 1, 1, n)."""
    n_in = x.shape[-1]
    aten, ends = torch.ops.aten, bool(case.align_corners)
    if case.mode == "nearest":
        return x[..., aten.upsample_nearest1d(torch.arange(float(n_in))[None, None], [n_out], factor)[0, 0].long()]
    if case.mode == "nearest-exact":  # the kernel for channels_last
        index = torch.arange(float(n_in)).repeat_interleave(4).reshape(1, 1, n_in, 4).permute(0, 3, 1, 2)
        return x[..., aten._upsample_nearest_exact2d(index, [1, n_out], None, factor)[0, 0, 0].long()]
    if case.mode == "area":
        return F.adaptive_avg_pool2d(x.double() if case.dtype == "uint8" else x, (1, n_out))
    family = "bilinear" if case.mode in LINEAR else "bicubic" if case.mode in CUBIC else "lanczos"
    resample = getattr(aten, f"_upsample_{family}2d_aa" if case.antialias else f"upsample_{family}2d")
    if n_in != n_out:
        return resample(x, [1, n_out], ends, None, factor)
    # One more pixel, so that torch does not copy: a repeated edge is what interpolation reads there; antialiasing
    # reads nothing there, it divides by the weights inside.
    if not case.antialias:
        return resample(F.pad(x, (0, 1, 0, 0), "replicate"), [1, n_out], ends, None, factor)
    inside = F.pad(torch.ones_like(x), (0, 1))
    return resample(F.pad(x, (0, 1)), [1, n_out], ends, None, factor) / resample(inside, [1, n_out], ends, None, factor)


# ---------------------------------------------------------------------------------------------------------------------
# How far two right answers may be apart


def bound(case: Case, x: NDArray[Any], expected: Tensor) -> NDArray[Any] | float:
    """Bound of the distance between our result and another that follows the same rules in float arithmetic.

    Along each axis both are within ``eps (8 + taps) / 2`` of the exact sum of their products, relative to the sum of
    the magnitudes, and within one unit in the last place of their float coordinates, of which the filters' weights
    change by at most ``2 gain`` per pixel. Every result of a half type is rounded once more.
    """
    if case.dtype == "uint8" or case.mode in POINT:
        return 0.0
    gain = 1.0 if case.mode in (*LINEAR, "area") else 1.5  # largest sum of the magnitudes of weights, rounded up
    support = 1 if case.mode in LINEAR else 2 if case.mode in CUBIC else 3
    terms = 0.0
    for n_in, n_out, factor in zip(case.spatial, size(case), factors(case), strict=True):
        step = 1 / factor if factor else n_in / n_out
        taps = step + 2 if case.mode == "area" else 2 * support * (max(1.0, step) if case.antialias else 1) + 1
        terms += 2 * (8 + taps) + 2 * 2 * n_in
    eps = np.finfo(np.float64 if case.dtype == "float64" else np.float32).eps
    largest = float(np.abs(in_double(x)).max(initial=0))
    total = float(eps / 2 * terms * gain ** len(case.spatial) * largest)
    if case.dtype not in HALF:
        return total
    half = ml_dtypes.finfo(case.dtype)
    roundings = 1 if expected.dtype == torch.float32 else 2
    return total + roundings / 2 * (float(half.eps) * np.abs(in_double(expected)) + float(half.smallest_subnormal))


def agrees(case: Case, x: NDArray[Any], actual: Any, expected: Tensor) -> bool:
    """Whether two results are as near as their roundings allow: to the bit for integers and copies."""
    a, b = in_double(actual), in_double(expected)
    if a.shape != b.shape:
        return False
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return bool((same | (np.abs(a - b) <= bound(case, x, expected))).all())
