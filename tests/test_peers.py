"""Pillow and OpenCV, where they define the same operation.

Pillow's ``resize`` is antialiased resampling, height last as here; its mode "F" is float32 with float64 weights, its "L"
and "RGB" are uint8 with 22 fractional bits. OpenCV's ``resize`` does not antialias; float32 throughout.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cupysample import interpolate

EPS = float(np.finfo(np.float32).eps)
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 7), (5, 7)),
    ((9, 1), (4, 3)),
    ((5, 5), (5, 5)),
    ((6, 8), (12, 16)),
    ((7, 11), (17, 23)),
    ((23, 31), (5, 7)),
    ((40, 60), (20, 15)),
    ((13, 64), (29, 9)),
    ((64, 48), (1, 1)),
    ((101, 97), (33, 50)),
]
"""Pairs of (height, width), in and out."""
REDUCTIONS = [
    ((6, 8), (2, 2)),
    ((40, 60), (20, 15)),
    ((9, 35), (3, 5)),
    ((8, 8), (1, 8)),
    ((12, 12), (12, 12)),
    ((64, 36), (4, 3)),
]
"""Pairs whose extents divide, so that windows do not overlap."""

PILLOW = {
    "bilinear": (Image.Resampling.BILINEAR, 1, 1.0),
    "bicubic": (Image.Resampling.BICUBIC, 2, 1.5),
    "lanczos": (Image.Resampling.LANCZOS, 3, 1.5),
}
"""Pillow's filter, its support in pixels, and a bound on the sum of the magnitudes of its weights."""

sizes = pytest.mark.parametrize(("before", "after"), SIZES, ids=str)
reductions = pytest.mark.parametrize(("before", "after"), REDUCTIONS, ids=str)


def image(extents: tuple[int, int], dtype: str, channels: int = 1) -> NDArray[Any]:
    """A picture (H, W, C): noise with flat parts, full range."""
    rng = np.random.default_rng([*extents, channels])
    x = rng.uniform(0, 255, (*extents, channels))
    x[rng.random(x.shape) < 0.2] = 0
    x[rng.random(x.shape) < 0.2] = 255
    return x.astype(dtype)


def ours(x: NDArray[Any], size: tuple[int, int], mode: str, **options: Any) -> NDArray[Any]:
    """Resample (H, W, C)."""
    return np.asarray(interpolate(x.transpose(2, 0, 1)[None], size, mode=mode, **options)[0].transpose(1, 2, 0))


def float_bound(before: tuple[int, int], after: tuple[int, int], support: int, gain: float, largest: float) -> float:
    """How far float32 may be from the definition: its coordinates, weights and sums.

    Per axis two units of coordinate, times the slope of the filter (at most 2 gain per pixel); and one rounding for
    each tap's weight, product and sum, and a few for the weight itself.
    """
    terms = 0.0
    for n_in, n_out in zip(before, after, strict=True):
        taps = 2 * support * max(1.0, n_in / n_out) + 1
        terms += 3 * taps + 8 + 2 * 2 * n_in
    return EPS / 2 * terms * gain**2 * largest


# ---------------------------------------------------------------------------------------------------------------------
# Pillow


@pytest.mark.parametrize("mode", PILLOW)
@sizes
def test_pillow_float(mode: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Mode "F": the same filters, up or down, within the rounding of float32."""
    filter, support, gain = PILLOW[mode]
    x = image(before, "float32")
    expected = np.asarray(Image.fromarray(x[..., 0]).resize(after[::-1], filter))
    actual = ours(x, after, mode, antialias=True)[..., 0]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=float_bound(before, after, support, gain, 255))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", PILLOW)
@sizes
def test_pillow_uint8(mode: str, channels: int, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Modes "L" and "RGB", where both round to uint8 after the width and after the height.

    Weights here have as many fractional bits as leave the largest below 2**15, so each is right to 2**-15 of the
    largest, and a pass, whose weights sum to about three times the largest, to 255 * 3 / 2**15 = 0.023; Pillow's have
    22 bits. Before rounding a pass thus differs by less than 0.03, and after it rarely and by 1; the second pass may
    make 2 of that where weights are negative. Few pixels differ at all.
    """
    filter = PILLOW[mode][0]
    x = image(before, "uint8", channels)
    picture = Image.fromarray(x[..., 0] if channels == 1 else x)
    expected = np.asarray(picture.resize(after[::-1], filter)).reshape(*after, channels)
    actual = ours(x, after, mode, antialias=True)
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= (1 if mode == "bilinear" else 2)
    assert (difference > 0).mean() < 0.05 or actual.size < 100


@reductions
def test_pillow_box(before: tuple[int, int], after: tuple[int, int]) -> None:
    """Integer reductions are means of blocks: floats to rounding; uint8 to the one rounding Pillow does more."""
    x = image(before, "float32")
    expected = np.asarray(Image.fromarray(x[..., 0]).resize(after[::-1], Image.Resampling.BOX))
    pixels = before[0] // after[0] + before[1] // after[1]
    np.testing.assert_allclose(ours(x, after, "area")[..., 0], expected, rtol=0, atol=EPS * (pixels + 4) * 255)
    for channels in (1, 3):
        y = image(before, "uint8", channels)
        picture = Image.fromarray(y[..., 0] if channels == 1 else y)
        box = np.asarray(picture.resize(after[::-1], Image.Resampling.BOX)).reshape(*after, channels)
        exact = y.reshape(after[0], before[0] // after[0], after[1], before[1] // after[1], channels).mean((1, 3))
        actual = ours(y, after, "area")
        assert np.abs(actual - exact).max() <= 0.5
        assert np.abs(actual.astype(int) - box).max() <= 1


def test_pillow_nearest_of_integer_factors() -> None:
    """Pixel centres: the same pixels where no tie is near; Pillow accumulates its coordinates otherwise."""
    for before, after in [
        ((6, 8), (12, 24)),
        ((12, 15), (4, 5)),
        ((7, 7), (7, 7)),
        ((1, 1), (3, 4)),
        ((9, 25), (3, 5)),
    ]:
        x = image(before, "uint8", 3)
        expected = np.asarray(Image.fromarray(x).resize(after[::-1], Image.Resampling.NEAREST))
        np.testing.assert_array_equal(ours(x, after, "nearest-exact"), expected)


# ---------------------------------------------------------------------------------------------------------------------
# OpenCV

OPENCV = {"bilinear": (cv2.INTER_LINEAR, 1, 1.0), "bicubic": (cv2.INTER_CUBIC, 2, 1.5)}


def opencv(x: NDArray[Any], size: tuple[int, int], flag: int) -> NDArray[Any]:
    """Resize (H, W, C) with OpenCV."""
    return np.asarray(cv2.resize(x, size[::-1], interpolation=flag)).reshape(*size, x.shape[2])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", OPENCV)
@sizes
def test_opencv_float(mode: str, channels: int, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Half-pixel centres, cubic with parameter -3/4, edges repeated: the same, up or down."""
    flag, support, gain = OPENCV[mode]
    x = image(before, "float32", channels)
    bound = 2 * float_bound(before, before, support, gain, 255)  # both in float32, neither antialiased
    np.testing.assert_allclose(ours(x, after, mode), opencv(x, after, flag), rtol=0, atol=bound)


@sizes
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_opencv_nearest_exact(dtype: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    """The same pixels."""
    x = image(before, dtype, 3)
    np.testing.assert_array_equal(ours(x, after, "nearest-exact"), opencv(x, after, cv2.INTER_NEAREST_EXACT))


@reductions
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_opencv_area(dtype: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Integer reductions: means of blocks, integers rounded; halves may be rounded the other way."""
    x = image(before, dtype, 3)
    pixels = (before[0] // after[0]) * (before[1] // after[1])
    tolerance = EPS * (pixels + 4) * 255 if dtype == "float32" else 1
    difference = np.abs(ours(x, after, "area").astype(np.float64) - opencv(x, after, cv2.INTER_AREA))
    assert difference.max() <= tolerance
