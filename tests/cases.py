"""Calls to test: what varies, the full grid over it, and random calls from a seeded generator.

A ``Case`` is a call as data; ``case.input()`` makes its array, with values that find mistakes: signed, of many magnitudes,
the extremes of integers, in the case's memory layout.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
INTEGERS = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES = (*FLOATS, *INTEGERS, "bool")
LAYOUTS = ("contiguous", "channels_last", "sliced", "transposed", "broadcast", "negative", "big-endian")
SIZE_RULES = ("size", "scale", "recompute")

MODES: dict[str, tuple[int, ...]] = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "trilinear": (3,),
    "cubic": (1,),
    "bicubic": (2,),
    "tricubic": (3,),
    "lanczos": (1, 2, 3),
}
"""Every mode and its numbers of spatial axes."""

POINT = ("nearest", "nearest-exact")


def variants(mode: str) -> list[tuple[bool | None, bool]]:
    """The values of (align_corners, antialias) a mode takes."""
    if mode in (*POINT, "area"):
        return [(None, False)]
    if mode == "lanczos":
        return [(None, True)]
    return list(itertools.product((False, True), (False, True)))


def dtypes(mode: str) -> tuple[str, ...]:
    """The dtypes a mode takes."""
    return DTYPES if mode in POINT else DTYPES[:-1]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 is ml_dtypes'."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


@dataclass(frozen=True)
class Case:
    """One call; ``size`` or ``scale_factor`` is None."""

    mode: str
    dtype: str
    layout: str
    batch: tuple[int, int]
    spatial: tuple[int, ...]
    size: tuple[int, ...] | None
    scale_factor: tuple[float, ...] | None
    recompute: bool
    align_corners: bool | None
    antialias: bool
    seed: int = 0

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``interpolate``."""
        return {
            "size": self.size,
            "scale_factor": self.scale_factor,
            "mode": self.mode,
            "align_corners": self.align_corners,
            "recompute_scale_factor": self.recompute or None,
            "antialias": self.antialias,
        }

    def input(self) -> NDArray[Any]:
        """The input, read-only."""
        x = lay_out(self.values(), self.layout)
        x.flags.writeable = False
        return x

    def values(self) -> NDArray[Any]:
        """The values of the input, C-contiguous."""
        return values(np.random.default_rng(self.seed), (*self.batch, *self.spatial), self.dtype)


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Random numbers of any dtype."""
    kind = numpy_dtype(dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype in INTEGERS:
        limits = np.iinfo(kind)
        x = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
        extreme = rng.random(shape)
        x[extreme < 0.1] = limits.min
        x[extreme > 0.9] = limits.max
        return x
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(kind)


def lay_out(x: NDArray[Any], layout: str) -> NDArray[Any]:
    """Return the values of ``x`` in another memory layout ("broadcast" repeats the first channel)."""
    if layout == "channels_last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "sliced":
        padded = np.repeat(np.repeat(x, 2, axis=-1), 3, axis=1)
        padded[:, 1::3] = 0
        return padded[:, ::3, ..., ::2]
    if layout == "transposed":
        return np.asfortranarray(x)
    if layout == "broadcast":
        return np.broadcast_to(x[:, :1], x.shape).view()
    if layout == "negative":
        flipped = (slice(None),) + (slice(None, None, -1),) * (x.ndim - 1)
        return np.ascontiguousarray(x[flipped])[flipped]
    if layout == "big-endian" and x.dtype.name != "bfloat16":
        return x.astype(x.dtype.newbyteorder(">"))
    return x.copy()


def _extent(rng: np.random.Generator, largest: int) -> int:
    """Small extents often: 1, and everything up to ``largest`` log-uniformly."""
    return int(np.exp(rng.uniform(0, np.log(largest + 0.99))))


def random_case(
    rng: np.random.Generator,
    mode: str,
    dimensions: int,
    dtype: str,
    layout: str,
    size_rule: str,
    variant: tuple[bool | None, bool],
) -> Case:
    """A case of the given cell with random extents; pairs that are special to some rule come often."""
    largest = {1: 60, 2: 16, 3: 7}[dimensions]
    spatial = tuple(_extent(rng, largest) for _ in range(dimensions))
    wanted = tuple(_wanted(rng, n, largest) for n in spatial)
    factors: tuple[float, ...] | None = None
    if size_rule != "size":
        factors = tuple(
            float((m + rng.choice([0.0, rng.uniform(0, 0.99)])) / n) for n, m in zip(spatial, wanted, strict=True)
        )
        # A factor must leave at least one pixel after rounding down.
        factors = tuple(f if int(n * f) >= 1 else 1.0 for n, f in zip(spatial, factors, strict=True))
    return Case(
        mode,
        dtype,
        layout,
        (int(rng.integers(1, 3)), int(rng.integers(1, 6 if dimensions < 3 else 4))),
        spatial,
        wanted if size_rule == "size" else None,
        factors,
        size_rule == "recompute",
        *variant,
        seed=int(rng.integers(2**31)),
    )


def _wanted(rng: np.random.Generator, n: int, largest: int) -> int:
    """An output extent: the same, double, half, or any."""
    return int(rng.choice([n, 2 * n, max(1, n // 2), 1, _extent(rng, largest), _extent(rng, 3 * largest)]))


def cells(mode: str) -> Iterator[tuple[str, str, tuple[bool | None, bool]]]:
    """Every (layout, size rule, (align_corners, antialias)) of a mode."""
    return iter(itertools.product(LAYOUTS, SIZE_RULES, variants(mode)))


def any_case(rng: np.random.Generator, *, modes: tuple[str, ...] = tuple(MODES)) -> Case:
    """A random case of a random cell."""
    mode = str(rng.choice(modes))
    variant = variants(mode)
    return random_case(
        rng,
        mode,
        int(rng.choice(MODES[mode])),
        str(rng.choice(dtypes(mode))),
        str(rng.choice(LAYOUTS)),
        str(rng.choice(SIZE_RULES)),
        variant[int(rng.integers(len(variant)))],
    )
