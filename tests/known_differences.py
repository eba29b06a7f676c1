"""Where results differ from torch's on purpose, as data.

``DIFFERENCES``: calls torch computes too, with other numbers. ``RELAXATIONS``: calls torch alone refuses.
``REFUSALS``: calls refused here alone. ``ROWS``: one sentence for each, the README's table "Same as torch, except".
torch is 2.13 on a CPU. Every row has an example that the tests run: torch must still differ there, so no row outlives
what it describes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tests.cases import POINT, Case

HALF = ("float16", "bfloat16")
LINEAR = ("linear", "bilinear", "trilinear")
CUBIC = ("cubic", "bicubic", "tricubic")


class Difference(NamedTuple):
    """A row of ``DIFFERENCES``.

    what:     what happens here, and what torch does instead; a sentence of the README.
    because:  the path of torch that differs, or why this side is right.
    when:     the calls whose results may differ.
    example:  a call whose results do differ.
    """

    what: str
    because: str
    when: Callable[[Case], bool]
    example: Case


class Outcome(NamedTuple):
    """A row of ``RELAXATIONS`` or ``REFUSALS``: calls for which one side raises ``error`` and the other answers.

    A call gets the names of ``torch.nn`` and ``torch.nn.functional``, theirs or ours, and ``zeros`` to make its input.
    """

    what: str
    error: type[Exception]
    calls: tuple[Callable[[Any], Any], ...]


@dataclass(frozen=True)
class WithInfinity(Case):
    """A case with an infinite pixel in the middle."""

    def values(self) -> NDArray[Any]:
        """Return the values with one infinity."""
        x = super().values()
        middle: tuple[Any, ...] = (..., *(n // 2 for n in self.spatial))
        x[middle] = np.inf
        return x


# ---------------------------------------------------------------------------------------------------------------------
# What a case does to its axes


def size(case: Case) -> tuple[int, ...]:
    """The spatial size of the output."""
    if case.size is not None:
        return case.size
    assert case.scale_factor is not None
    return tuple(int(n * factor) for n, factor in zip(case.spatial, case.scale_factor, strict=True))


def factors(case: Case) -> tuple[float | None, ...]:
    """The scale factor that enters the coordinates of each axis; None where the sizes do."""
    if case.scale_factor is None or case.recompute or case.align_corners or case.mode == "area":
        return (None,) * len(case.spatial)
    return case.scale_factor


def scaled_onto(case: Case, multiple: int) -> list[bool]:
    """Which axes become exactly ``multiple`` times as long though their scale factor is another number."""
    return [
        n_out == multiple * n_in and factor not in (None, multiple)
        for n_in, n_out, factor in zip(case.spatial, size(case), factors(case), strict=True)
    ]


def unchanged(case: Case) -> list[bool]:
    """Which axes keep their length."""
    return [n_in == n_out for n_in, n_out in zip(case.spatial, size(case), strict=True)]


def _nearest_in_double_differs(case: Case) -> bool:
    """Whether float64 coordinates would pick another pixel than float32's."""
    offset = 0.5 * (case.mode == "nearest-exact")

    def left(n_in: int, n_out: int, factor: float | None, number: type[np.floating[Any]]) -> NDArray[Any]:
        step = number(1 / factor) if factor else number(n_in) / number(n_out)
        coordinate = ((np.arange(n_out) + offset).astype(number) * step).astype(np.float32)
        return np.asarray(np.minimum(np.floor(coordinate), n_in - 1))

    return any(
        (left(*axis, np.float64) != left(*axis, np.float32)).any()
        for axis in zip(case.spatial, size(case), factors(case), strict=True)
    )


def _nearest_exact_fused_differs(case: Case) -> bool:
    """Whether ``fma(step, i + 1/2, -1/2) + 1/2`` floors to another pixel than ``step * (i + 1/2)``, in float32."""

    def differs(n_in: int, n_out: int, factor: float | None) -> bool:
        step = np.float32(1 / factor) if factor else np.float32(n_in) / np.float32(n_out)
        centre = np.arange(n_out) + 0.5
        fused = np.maximum((centre * step.astype(np.float64) - 0.5).astype(np.float32), 0).astype(np.float64)
        plain = centre.astype(np.float32) * step
        pixels = [np.minimum(np.floor(x.astype(np.float32)), n_in - 1) for x in (fused + 0.5, plain)]
        return bool((pixels[0] != pixels[1]).any())

    return any(differs(*axis) for axis in zip(case.spatial, size(case), factors(case), strict=True))


def floors_in_single(case: Case) -> bool:
    """Whether ``floorf`` would take a float64 coordinate to another pixel than ``floor``."""

    def differs(n_in: int, n_out: int, factor: float | None) -> bool:
        index = np.arange(n_out)
        if case.align_corners:
            coordinate = index * ((n_in - 1) / max(1, n_out - 1))
        else:
            coordinate = (index + 0.5) * (1 / factor if factor else n_in / n_out) - 0.5
        distance = np.abs(coordinate - np.rint(coordinate))
        return bool(((distance > 0) & (distance <= 2.0**-24 * np.abs(coordinate))).any())

    if case.dtype != "float64" or case.mode not in (*LINEAR, *CUBIC) or case.antialias:
        return False
    return any(differs(*axis) for axis in zip(case.spatial, size(case), factors(case), strict=True))


def _loses_rows(case: Case) -> bool:
    """Whether torch's vertical pass meets an output of width 1."""
    n_in, n_out = case.spatial, size(case)
    two_passes = case.antialias or case.dtype == "uint8"
    return two_passes and len(n_in) == 2 and n_out[1] == 1 and n_out[0] != n_in[0]


def call(
    mode: str,
    spatial: tuple[int, ...],
    *,
    size: tuple[int, ...] | None = None,
    scale_factor: tuple[float, ...] | None = None,
    dtype: str = "float32",
    layout: str = "contiguous",
    channels: int = 1,
    align_corners: bool | None = None,
    antialias: bool = False,
    infinity: bool = False,
) -> Case:
    """A case by what is special about it."""
    kind = WithInfinity if infinity else Case
    return kind(
        mode, dtype, layout, (1, channels), spatial, size, scale_factor, False, align_corners, antialias, seed=1
    )


# ---------------------------------------------------------------------------------------------------------------------
# The tables

DIFFERENCES: list[Difference] = [
    Difference(
        "`nearest` and `nearest-exact` in 2-D copy an axis whose size does not change, whatever its `scale_factor`; "
        "torch does so on CUDA, on a CPU `nearest-exact` never and `nearest` for some sizes and layouts.",
        "On a CPU the kernel for channels_last compares the sizes; it runs for channels_last inputs with more than 3 "
        "channels, and where the output's height and width sum to at most 128.",
        lambda case: case.mode in POINT and len(case.spatial) == 2 and any(scaled_onto(case, 1)),
        call("nearest-exact", (10, 10), scale_factor=(1.09, 1.09)),
    ),
    Difference(
        "`nearest` follows the `scale_factor` also where the size exactly doubles, as torch does on CUDA; torch on a "
        "CPU repeats every pixel twice instead, for some sizes and layouts, and in 3-D channels_last copies axes of "
        "unchanged size.",
        "The same kernel, and that for channels_last in 3-D.",
        lambda case: (
            case.mode == "nearest"
            and len(case.spatial) > 1
            and (any(scaled_onto(case, 2)) or (len(case.spatial) == 3 and any(scaled_onto(case, 1))))
        ),
        call("nearest", (20, 20), scale_factor=(2.04, 2.04)),
    ),
    Difference(
        "`nearest` and `nearest-exact` pick the same pixels for every dtype, those torch picks on CUDA, from float32 "
        "coordinates; torch on a CPU uses float64 for float64 inputs (2 pixels to 82: another pixel at 41).",
        "The contiguous CPU kernels compute coordinates in the input's own precision.",
        lambda case: case.mode in POINT and case.dtype == "float64" and _nearest_in_double_differs(case),
        call("nearest", (2,), size=(82,), dtype="float64"),
    ),
    Difference(
        "`nearest-exact` rounds `(i + 1/2) * step` once, as torch does on CUDA and for channels_last; torch on a CPU "
        "subtracts and adds one half, fused, and picks another pixel at some ties (2 pixels to 41: at 20).",
        "The contiguous CPU kernels share the coordinate rule of the linear modes.",
        lambda case: case.mode == "nearest-exact" and _nearest_exact_fused_differs(case),
        call("nearest-exact", (2,), size=(41,)),
    ),
    Difference(
        "`bilinear` and `trilinear` resample an axis of unchanged size by its `scale_factor` unless all sizes are "
        "unchanged, as torch does on CUDA; torch on a CPU copies that axis.",
        "The CPU kernels compare the sizes of each axis by itself, those for CUDA all together.",
        lambda case: (
            case.mode in LINEAR
            and case.dtype != "uint8"
            and not case.antialias
            and any(scaled_onto(case, 1))
            and not all(unchanged(case))
        ),
        call("bilinear", (10, 10), scale_factor=(1.05, 2.0)),
    ),
    Difference(
        "`bicubic` copies where all sizes are unchanged, whatever the `scale_factor`, as torch does on CUDA; torch on a "
        "CPU resamples.",
        "The CPU kernel compares no sizes.",
        lambda case: (
            case.mode in CUBIC
            and case.dtype != "uint8"
            and not case.antialias
            and any(scaled_onto(case, 1))
            and all(unchanged(case))
        ),
        call("bicubic", (10, 10), scale_factor=(1.05, 1.05)),
    ),
    Difference(
        "Antialiased `bilinear` and `bicubic` filter an axis of unchanged size by its `scale_factor`, as torch does on "
        "CUDA; torch on a CPU copies that axis.",
        "The separable CPU kernels skip a pass that does not change the size.",
        lambda case: case.antialias and case.mode != "lanczos" and case.dtype != "uint8" and any(scaled_onto(case, 1)),
        call("bilinear", (10, 10), scale_factor=(1.05, 0.5), antialias=True),
    ),
    Difference(
        "float16 and bfloat16 are interpolated with float32 weights, as torch does on CUDA; torch on a CPU rounds the "
        "weights to the half type.",
        "The contiguous CPU kernels store weights in the input's dtype.",
        lambda case: case.dtype in HALF and case.mode in LINEAR + CUBIC and not case.antialias,
        call("bicubic", (40, 40), size=(91, 91), dtype="bfloat16", channels=4),
    ),
    Difference(
        "`area` in 3-D accumulates float16 and bfloat16 in float32; torch on a CPU accumulates in the half type (each "
        "mean of 4096 ones is 0.0625 in bfloat16, if there are several).",
        "The CPU kernel of adaptive_avg_pool3d sums in the input's dtype.",
        lambda case: case.mode == "area" and len(case.spatial) == 3 and case.dtype in HALF,
        call("area", (16, 16, 16), size=(2, 2, 2), dtype="bfloat16"),
    ),
    Difference(
        "Two-pass resampling to width 1 and another height is right; torch on a CPU reads the first row for every row "
        "(float antialias; uint8 with more than 4 channels).",
        "The vertical pass of the separable CPU kernels mistakes a stride when the width is 1.",
        lambda case: _loses_rows(case) and (case.dtype != "uint8" or case.batch[1] > 4),
        call("bilinear", (8, 1), size=(4, 1), antialias=True),
    ),
    Difference(
        "uint8 images with 3 channels can be reduced to 1x1; torch on a CPU fails an internal assertion.",
        "The vectorised uint8 kernel takes its 1x1 result for channels_last.",
        lambda case: (
            case.dtype == "uint8" and case.mode not in (*POINT, "area") and case.batch[1] == 3 and size(case) == (1, 1)
        ),
        call("bilinear", (6, 6), size=(1, 1), dtype="uint8", channels=3),
    ),
    Difference(
        "uint8 images of width 1 are read by their strides; torch on a CPU ignores them for at most 4 channels.",
        "The vectorised uint8 kernel steps by the stride of the width, which is anything where the width is 1.",
        lambda case: (
            case.dtype == "uint8"
            and case.mode not in (*POINT, "area")
            and len(case.spatial) == 2
            and case.batch[1] <= 4
            and case.spatial[1] == 1
            and case.layout != "contiguous"
        ),
        call("bilinear", (6, 1), size=(3, 1), dtype="uint8", channels=2, layout="transposed"),
    ),
    Difference(
        "float64 coordinates are floored as they are; torch floors them as float32 (on CUDA in `bicubic` alone), and is "
        "off by up to a 2^-24th of the coordinate on long axes.",
        "`floorf` in the kernels of every dtype, the fraction clamped to 0 where it becomes negative.",
        floors_in_single,
        call("bicubic", (1, 20001), size=(1, 25003), dtype="float64"),
    ),
    Difference(
        "Axes longer than 2^22 have float64 coordinates, so that no pixel is lost; torch's float32 repeats and skips "
        "pixels there.",
        "float32 has 24 bits for the index and its fraction.",
        lambda case: max(*case.spatial, *size(case)) > 2**22,
        call("nearest-exact", (2**24 + 64,), size=(2**24 + 64,), dtype="uint8"),
    ),
    Difference(
        "A result of unchanged size is a copy, infinities included, as on CUDA; torch on a CPU multiplies them by zero "
        "weights, which gives NaN.",
        "Both neighbours are read, with weights 1 and 0.",
        lambda case: isinstance(case, WithInfinity) and not case.antialias and all(unchanged(case)),
        call("bilinear", (4, 4), size=(4, 4), infinity=True),
    ),
    Difference(
        "Antialiasing reads the whole window along every axis, so an infinity gives NaN in its neighbours along an axis "
        "of unchanged size, as on CUDA; torch on a CPU skips that axis.",
        "The separable CPU kernels skip a pass that does not change the size.",
        lambda case: isinstance(case, WithInfinity) and case.antialias and any(unchanged(case)),
        call("bilinear", (4, 4), size=(4, 2), antialias=True, infinity=True),
    ),
]

RELAXATIONS: list[Outcome] = [
    Outcome(
        "`antialias=True` also in 1-D and 3-D, and for `linear`, `cubic`, `trilinear` and `tricubic`.",
        ValueError,
        (
            lambda api: api.interpolate(api.zeros(2, 3, 5), size=3, mode="linear", antialias=True),
            lambda api: api.interpolate(api.zeros(2, 3, 5), scale_factor=2.0, mode="cubic", antialias=True),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, 7), size=3, mode="trilinear", antialias=True),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, 7), size=(3, 3, 3), mode="tricubic", antialias=True),
            lambda api: api.interpolate(api.zeros(2, 3, 5), size=3, mode="lanczos", antialias=True),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, 7), size=3, mode="lanczos", antialias=True),
        ),
    ),
    Outcome(
        "Modes `cubic` (1-D) and `tricubic` (3-D).",
        NotImplementedError,
        (
            lambda api: api.interpolate(api.zeros(2, 3, 5), size=3, mode="cubic"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, 7), size=3, mode="tricubic", align_corners=True),
        ),
    ),
    Outcome(
        "Antialiasing of float16 and bfloat16 on a CPU.",
        NotImplementedError,
        tuple(
            lambda api, mode=mode, dtype=dtype: api.interpolate(  # type: ignore[misc]
                api.zeros(2, 3, 5, 6, dtype=dtype), size=3, mode=mode, antialias=True
            )
            for mode in ("bilinear", "bicubic", "lanczos")
            for dtype in HALF
        ),
    ),
    Outcome(
        "uint8 in `linear`, `trilinear` and `area`; every other integer and complex dtype in every mode; bool in "
        "`nearest` and `nearest-exact`.",
        NotImplementedError,
        (
            lambda api: api.interpolate(api.zeros(2, 3, 5, dtype="uint8"), size=3, mode="linear"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, 7, dtype="uint8"), size=3, mode="trilinear"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="uint8"), size=3, mode="area"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="int8"), size=3, mode="bicubic"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="int16"), size=3, mode="nearest"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="uint16"), size=3, mode="bilinear"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, dtype="int32"), size=3, mode="linear"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, dtype="uint32"), size=3, mode="area"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="int64"), size=3, mode="lanczos", antialias=True),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, 7, dtype="uint64"), size=3, mode="nearest-exact"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="complex64"), size=3, mode="bilinear"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="complex128"), size=3, mode="nearest"),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6, dtype="bool"), size=3, mode="nearest"),
        ),
    ),
    Outcome(
        "Arrays with no channels.",
        RuntimeError,
        (
            lambda api: api.interpolate(api.zeros(2, 0, 5), size=3),
            lambda api: api.interpolate(api.zeros(2, 0, 5, 6), scale_factor=2, mode="bicubic", antialias=True),
            lambda api: api.interpolate(api.zeros(0, 0, 5, 6, 7), size=3, mode="area"),
        ),
    ),
    Outcome(
        "`align_corners` may be NumPy's bool, a factor a `Fraction`.",
        TypeError,
        (
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6), size=3, mode="bilinear", align_corners=np.True_),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6), scale_factor=Fraction(3, 2), mode="bilinear"),
        ),
    ),
    Outcome(
        "`Upsample` takes `antialias`, and a list of factors.",
        TypeError,
        (
            lambda api: api.Upsample(size=3, mode="bilinear", antialias=True)(api.zeros(2, 3, 5, 6)),
            lambda api: api.Upsample(scale_factor=[2.0, 3.0])(api.zeros(2, 3, 5, 6)),
        ),
    ),
]


def quantised(*shape: int) -> torch.Tensor:
    """Zeros, in 8 bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they go
        return torch.quantize_per_tensor(torch.zeros(shape), 0.1, 0, torch.quint8)


class Three:
    """An integer to whoever asks for its index."""

    def __index__(self) -> int:
        return 3


REFUSALS: list[Outcome] = [
    Outcome(
        "A `scale_factor` is a real number: a string, which torch repeats, a tensor or array, which it multiplies in "
        "`area` and with `recompute_scale_factor` only, and NumPy's bool are a TypeError.",
        TypeError,
        (
            lambda api: api.interpolate(api.zeros(2, 3, 5), scale_factor="2", recompute_scale_factor=True),
            lambda api: api.interpolate(api.zeros(2, 3, 5), scale_factor=torch.tensor(2.0), mode="area"),
            lambda api: api.interpolate(api.zeros(2, 3, 5), scale_factor=np.array(2.0), mode="area"),
            lambda api: api.interpolate(api.zeros(2, 3, 5), scale_factor=np.True_),
        ),
    ),
    Outcome(
        "A `size` is one or more ints: an array without axes or another object with `__index__`, which torch takes outside a "
        "list only, is a TypeError.",
        TypeError,
        (
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6), size=np.array(3)),
            lambda api: api.interpolate(api.zeros(2, 3, 5, 6), size=Three()),
        ),
    ),
    Outcome(
        "The mean of no pixels, `area` of an empty image to one pixel, is the error it is for other sizes; torch "
        "returns NaN.",
        RuntimeError,
        (lambda api: api.interpolate(api.zeros(2, 3, 0, 6), size=1, mode="area"),),
    ),
    Outcome(
        "Quantised tensors, which torch is about to drop, are a NotImplementedError; torch takes them in `nearest`, "
        "`nearest-exact` and `bilinear`.",
        NotImplementedError,
        (
            lambda api: api.interpolate(quantised(2, 3, 5, 6), size=3),
            lambda api: api.interpolate(quantised(2, 3, 5, 6), size=3, mode="nearest-exact"),
            lambda api: api.interpolate(quantised(2, 3, 5, 6), size=3, mode="bilinear"),
        ),
    ),
]


class NotAdjoint(NamedTuple):
    """A call whose gradient by torch is not that of its forward: ⟨v, A u⟩ and ⟨Aᵀ v, u⟩ are apart by ``percent``."""

    shape: tuple[int, ...]
    arguments: dict[str, Any]
    percent: float
    because: str


GRADIENTS: list[NotAdjoint] = [
    NotAdjoint(
        (1, 1, 11),
        {"scale_factor": 2.0388},
        5.3,
        "upsample_nearest1d: twice the size is a shortcut of the backward alone",
    ),
    NotAdjoint((1, 1, 11), {"scale_factor": 1.05}, 4.9, "upsample_nearest1d: so is the same size"),
    NotAdjoint((1, 1, 5, 5, 11), {"scale_factor": 2.0388}, 2.0, "upsample_nearest3d: likewise"),
    NotAdjoint(
        (1, 1, 5, 5),
        {"scale_factor": 1.151, "mode": "bilinear", "antialias": True},
        4.1,
        "_upsample_bilinear2d_aa: axes of the same size are copied by the forward alone",
    ),
    NotAdjoint(
        (1, 1, 5, 5),
        {"scale_factor": 1.151, "mode": "bicubic", "antialias": True},
        4.4,
        "_upsample_bicubic2d_aa: likewise",
    ),
    NotAdjoint(
        (1, 1, 8, 1),
        {"size": (4, 1), "mode": "bilinear", "antialias": True},
        13.3,
        "_upsample_bilinear2d_aa: width 1, where the forward reads the first row for every row",
    ),
]
"""torch on a CPU, float64, uniform random u and v of seed 0. Its CUDA kernels differ elsewhere, and by their order."""

SATURATED = {"float16": 2048, "bfloat16": 256}
"""torch's gradient of ``area`` to 128 x 128 pixels, for 16384 gradients of one: summed in the half type."""

ROWS: list[str] = [row.what for row in DIFFERENCES] + [row.what for row in (*RELAXATIONS, *REFUSALS)]
"""The README's table "Same as torch, except"."""
