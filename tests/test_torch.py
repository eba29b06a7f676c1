"""Every mode, dtype, layout and option against torch 2.13 on a CPU.

Two answers of torch are compared: its own to the same call, unless a row of ``known_differences`` matches; and, for
every call, torch resampling one axis at a time through kernels that have none of its shortcuts, with the rules of its
CUDA kernels for what is copied. The second also explains the calls that torch refuses.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import cupysample
from tests import cases
from tests.cases import LAYOUTS, POINT, SIZE_RULES, Case
from tests.known_differences import CUBIC, DIFFERENCES, HALF, LINEAR, ROWS, Difference, factors, size, unchanged

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
PAIRS = ((1, 1), (1, 4), (6, 1), (5, 5), (6, 12), (7, 17), (13, 5), (8, 4), (23, 11), (2, 41), (2, 82))
"""Extents in and out: one, equal, doubled, halved, prime; and where torch's nearest kernels disagree."""


def torch_has(case: Case) -> bool:
    """Whether torch computes the call on a CPU."""
    if len(case.spatial) not in DIMENSIONS.get(case.mode, ()):
        return False
    if case.antialias:
        return len(case.spatial) == 2 and case.dtype not in HALF
    return case.dtype != "uint8" or case.mode in (*POINT, "bilinear", "bicubic")


def grid(mode: str, dimensions: int, dtype: str) -> list[Case]:
    """Every layout, size rule and option, each with all pairs of extents along every axis."""
    rng = np.random.default_rng([dimensions, *mode.encode(), *dtype.encode()])
    found = []
    for layout, rule, variant in itertools.product(LAYOUTS, SIZE_RULES, cases.variants(mode)):
        pairs = PAIRS if dimensions < 3 else PAIRS[:-2]
        for extents in zip(*(rng.permutation(pairs).tolist() for _ in range(dimensions)), strict=True):
            spatial = tuple(n for n, _ in extents)
            wanted = tuple(n for _, n in extents)
            scale = tuple(float((m + rng.choice([0, 0.3, 0.9])) / n) for n, m in extents)
            found.append(
                Case(
                    mode,
                    dtype,
                    layout,
                    (int(rng.integers(1, 3)), int(rng.integers(1, 7))),
                    spatial,
                    wanted if rule == "size" else None,
                    None if rule == "size" else scale,
                    rule == "recompute",
                    *variant,
                    seed=int(rng.integers(2**31)),
                )
            )
    return found


# ---------------------------------------------------------------------------------------------------------------------
# torch


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

    Every axis is seen as the rows of an image, (m, 1, 1, n), where torch's kernels take no shortcut.
    """
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


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "dimensions"), [(mode, n) for mode in cases.MODES for n in cases.MODES[mode]])
def test_grid(mode: str, dimensions: int, dtype: str) -> None:
    """Every call that no row of the table matches is torch's; every call is torch's by axes."""
    for case in grid(mode, dimensions, dtype):
        x = case.input()
        y = cupysample.interpolate(x, **case.arguments)
        assert agrees(case, x, y, by_axes(case, to_torch(x))), case
        if torch_has(case) and not any(difference.when(case) for difference in DIFFERENCES):
            assert agrees(case, x, y, F.interpolate(to_torch(x), **case.arguments)), case


@pytest.mark.parametrize("difference", DIFFERENCES, ids=[str(i) for i in range(len(DIFFERENCES))])
def test_every_known_difference_exists(difference: Difference) -> None:
    """On a row's example torch's answer, if any, is not ours; ours is torch's by axes."""
    case = difference.example
    x = case.input()
    assert torch_has(case)
    assert difference.when(case)
    y = cupysample.interpolate(x, **case.arguments)
    assert agrees(case, x, y, by_axes(case, to_torch(x)))
    with contextlib.suppress(RuntimeError):  # an internal assertion
        assert not agrees(case, x, y, F.interpolate(to_torch(x), **case.arguments)), "torch now agrees: drop the row"


def test_the_readme_shows_every_row() -> None:
    """The table "Same as torch, except" is the data, word for word."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- differences -->\n")[1].split("\n<!-- /differences -->")[0].splitlines()
    assert shown[2:] == [f"| {row} |" for row in ROWS]
