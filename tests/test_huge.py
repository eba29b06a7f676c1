"""More than 2³¹ elements, long axes, many planes: the kernels on the host, in address space that no memory stands behind.

A few blocks of each launch run, first, last and random ones; all they write is compared with the definition. (That every
output is written, once, is shown on grids of every shape in miniature.) On a device: test_gpu.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import cupysample
from cupysample import _interpolate
from tests import bounds, huge, launches, oracle
from tests.host.harness import HostKernels
from tests.huge import Expanse, Pattern

INT32 = 2**31
SAMPLES = 3000
"""Outputs of a launch that are compared, at most; the first and the last among them."""


@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    return launches.build_all()


@dataclass(frozen=True)
class Huge:
    """A launch of more elements than an int counts; ``axes`` is the order of the axes in memory."""

    kernel: str
    dtype: str
    shape: tuple[int, ...]
    arguments: dict[str, Any]
    axes: tuple[int, ...] = ()
    general: bool = False


NHWC = (0, 2, 3, 1)
LAUNCHES = [
    Huge("few_taps", "uint8", (1, 1, 2**16 + 1, 2**15 + 3), {"scale_factor": 2.0, "mode": "nearest"}),
    Huge("few_taps", "float16", (70_001, 3, 127, 130), {"size": (200, 259), "mode": "nearest-exact"}),
    Huge("few_taps", "uint8", (1, 3, 70_001, 12_345), {"size": (70_003, 24_691), "mode": "bilinear"}),
    Huge("few_taps", "float32", (1, 70_000, 128, 130), {"scale_factor": 2.0, "mode": "bilinear"}),
    Huge("few_taps", "float16", (8, 64, 2_100, 2_101), {"scale_factor": 1.5, "mode": "bicubic"}, NHWC),
    Huge("few_taps", "float16", (1, 1, 1_301, 1_303, 1_307), {"scale_factor": 2.0, "mode": "trilinear"}),
    Huge("few_taps", "float32", (3, 800_003, 1_000), {"scale_factor": 2.0, "mode": "linear"}),
    Huge("few_taps", "uint8", (5, 3, 40_000, 20_001), {"size": (20_000, 10_000), "mode": "area"}, NHWC),
    Huge("band", "float32", (1, 70_001, 200, 250), {"size": (99, 71), "mode": "lanczos", "antialias": True}),
    Huge("band", "float16", (9, 48, 2_000, 3_000), {"size": (3_001, 301), "mode": "bilinear", "antialias": True}, NHWC),
    Huge(
        "band_walk", "float16", (9, 48, 3_000, 2_000), {"size": (301, 401), "mode": "bilinear", "antialias": True}, NHWC
    ),
    Huge(
        "band_walk", "float32", (1, 1, 60_001, 40_000), {"size": (9_001, 7_003), "mode": "lanczos", "antialias": True}
    ),
    Huge(
        "band_walk",
        "bfloat16",
        (1, 1, 65, 6_001, 6_000),
        {"size": (130, 701, 903), "mode": "trilinear", "antialias": True},
    ),
    Huge("band", "uint8", (1, 1, 50_001, 60_000), {"size": (5_003, 6_007), "mode": "area"}),
    Huge("band_bytes", "uint8", (3, 1, 40_001, 30_003), {"size": (9_001, 7_003), "mode": "bicubic", "antialias": True}),
    Huge(
        "band_integer", "uint8", (3, 1, 20_001, 60_003), {"size": (50_001, 7_003), "mode": "bicubic", "antialias": True}
    ),
    Huge("few_taps", "float32", (1, 1, 10, 25), {"scale_factor": (10_000.0, 10_000.0), "mode": "bilinear"}),
    Huge("band", "float32", (70_001, 1, 40_000), {"scale_factor": 1e-4, "mode": "linear", "antialias": True}),
    Huge("nearest", "uint8", (1, 3, INT32 + 5), {"scale_factor": 0.001, "mode": "nearest-exact"}),
    Huge("nearest", "uint8", (1, 1, 3, 5), {"size": (50_000, 60_000), "mode": "nearest"}, general=True),
    Huge("resample", "float32", (70_001, 1, 130, 140), {"size": (180, 250), "mode": "bicubic"}, general=True),
    Huge(
        "resample", "uint8", (2, 40_000, 130, 140), {"size": (90, 400), "mode": "bilinear"}, (1, 3, 0, 2), general=True
    ),
]
"""Every kernel, beyond an int in the source or the output; N·C and H past 65,535; factors from 0.0001 to 10,000."""


@pytest.mark.host
@pytest.mark.parametrize("made", LAUNCHES, ids=lambda made: f"{made.kernel}-{made.dtype}-{made.arguments['mode']}")
def test_blocks_of_a_launch(kernels: HostKernels, made: Huge) -> None:
    spatial = made.shape[2:]
    axes = made.axes or tuple(range(len(made.shape)))
    plan = _interpolate.plan_of(made.shape, made.dtype, *launches.arguments_of(**made.arguments))
    shapes = [tuple(shape[d] for d in axes) for shape in (made.shape, (*made.shape[:2], *plan.size))]
    assert max(map(math.prod, shapes)) > INT32
    with Pattern(shapes[0], made.dtype) as source, Expanse(shapes[1], made.dtype) as expanse:
        x, out = (array.transpose(np.argsort(axes)) for array in (source.array, expanse.array))
        tables = launches.Tables()
        with launches.general() if made.general else pytest.MonkeyPatch.context():
            launch = launches.launch(plan, x, out, tables)
        assert launch.kernel == made.kernel
        rng = np.random.default_rng(len(made.shape))
        blocks = math.prod(launch.grid)
        chosen = sorted({0, blocks - 1, *rng.integers(blocks, size=4).tolist()})
        launches.execute(kernels, launch, x.ctypes.data, out.ctypes.data, chosen=tuple(chosen))
        places = np.concatenate(list(expanse.written()))
        if len(places) > SAMPLES:
            places = np.concatenate([places[[0, -1]], rng.choice(places, SAMPLES - 2, replace=False)])
        results = expanse.array.reshape(-1)[places]
        index = dict(zip(axes, np.unravel_index(places, shapes[1]), strict=True))  # by axis of the array
        steps = dict(zip(axes, np.cumprod([1, *shapes[0][:0:-1]])[::-1].tolist(), strict=True))

        def read(pixels: Any) -> Any:
            at = [index[0], index[1], *pixels]
            return source[sum(i.astype(np.int64) * steps[d] for d, i in enumerate(at))]

        call = oracle.axes(spatial, **made.arguments)
        outputs = [index[d + 2] for d in range(len(spatial))]
        expected, tolerance = huge.definition(call, made.dtype, outputs, read)
        del x, out
    if tolerance.any():
        bounds.assert_within(results, expected, tolerance, case=made)
    else:
        np.testing.assert_array_equal(results, expected)
    if math.prod(shapes[1]) > INT32:
        assert places.max() > INT32, "no block wrote beyond an int"


@pytest.mark.parametrize(
    ("dtype", "shape", "arguments"),
    [
        ("uint8", (1, 3, INT32 + 5), {"size": 1_000, "mode": "nearest"}),
        ("uint8", (1, 1, 70_001, 40_003), {"size": (300, 211), "mode": "nearest-exact"}),
        ("float32", (1, 70_001, 200, 190), {"size": (2, 1), "mode": "bilinear"}),
        ("uint8", (1, 1, 50_001, 50_000), {"size": (11, 7), "mode": "bilinear"}),
    ],
    ids=lambda x: str(x) if isinstance(x, str) else None,
)
def test_numpy(dtype: str, shape: tuple[int, ...], arguments: dict[str, Any]) -> None:
    """Sources that memory would not hold, or only just, made small."""
    assert math.prod(shape) > INT32
    with Pattern(shape, dtype) as source:
        y = cupysample.interpolate(source.array, **arguments)
        places = np.arange(min(y.size, SAMPLES)) * (y.size // min(y.size, SAMPLES))
        index = np.unravel_index(places, y.shape)

        def read(pixels: Any) -> Any:
            return source[np.ravel_multi_index((index[0], index[1], *pixels), shape)]

        call = oracle.axes(shape[2:], **arguments)
        expected, tolerance = huge.definition(call, dtype, index[2:], read)
    results = y.reshape(-1)[places]
    if tolerance.any():
        bounds.assert_within(results, expected, tolerance)
    else:
        np.testing.assert_array_equal(results, expected)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "area"])
def test_an_axis_past_what_float32_counts(mode: str) -> None:
    """2²⁴ + 3 pixels: doubled and halved they are all there, where torch's float32 coordinates repeat some and skip others."""
    n = 2**24 + 3
    x = np.random.default_rng(0).integers(0, 256, (1, 1, n), np.uint8)
    doubled = cupysample.interpolate(x, size=2 * n, mode=mode)[0, 0]
    halved = cupysample.interpolate(x[:, :, 1:], size=n // 2, mode=mode)[0, 0].astype(int)
    if mode == "linear":  # a quarter of a neighbour, rounded
        far = x[0, 0].astype(int)
        np.testing.assert_array_equal(doubled[1:-1:2], (3 * far[:-1] + far[1:] + 2) // 4)
        np.testing.assert_array_equal(doubled[2::2], (far[:-1] + 3 * far[1:] + 2) // 4)
        np.testing.assert_array_equal(halved, (far[1::2] + far[2::2] + 1) // 2)
        return
    np.testing.assert_array_equal(doubled, np.repeat(x[0, 0], 2))
    pairs = x[0, 0, 1:].reshape(-1, 2).astype(int)
    means = np.rint(pairs.sum(axis=1) / 2)
    np.testing.assert_array_equal(halved, {"nearest": pairs[:, 0], "nearest-exact": pairs[:, 1], "area": means}[mode])


def test_the_result_may_have_more_elements_than_an_int_counts() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 1, 1000, 1000), np.uint8)
    y = cupysample.interpolate(x, size=(46_500, 46_500), mode="nearest")
    assert y.size > INT32
    index = np.random.default_rng(1).integers(0, 46_500, (2, 10_000))
    index[:, 0], index[:, 1] = 0, 46_499
    pixel = (index.astype(np.float32) * (np.float32(1000) / np.float32(46_500))).astype(int)
    np.testing.assert_array_equal(y[0, 0][tuple(index)], x[0, 0][tuple(pixel)])


def test_a_pattern_repeats_at_no_power_of_two() -> None:
    """What makes a wrong offset visible, and what makes a written output visible."""
    with Pattern((1, 3 * 2**31), "uint8") as source:
        values = source.array[0]
        for shift in (2**16, 2**24, 2**31, 2**32):
            assert (values[:4096] != values[shift : shift + 4096]).mean() > 0.9
        places = np.random.default_rng(0).integers(0, values.size, 1000)
        np.testing.assert_array_equal(values[places], source[places])
    with Expanse((2**33,), "float32") as expanse:
        expanse.array[[5, 2**31 + 7, 2**32 - 1]] = 1
        np.testing.assert_array_equal(np.concatenate(list(expanse.written())), [5, 2**31 + 7, 2**32 - 1])
