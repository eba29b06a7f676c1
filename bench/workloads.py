"""What is timed: calls that people make, by the names of their uses, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

DRAWN = 4_194_301
"""Random numbers that are drawn, and repeated: a prime, so that no two rows or planes are alike."""


GROUPS = ("grown", "reduced", "gradients")
"""What a process of its own times: a kernel that faults takes the device from all that follow in its process."""


@dataclass(frozen=True)
class Workload:
    """One call: the input (N, C, *spatial) and the arguments of ``interpolate``; or the gradient of that call."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    arguments: dict[str, Any]
    channels_last: bool = False
    gradient: bool = False

    @property
    def direction(self) -> str:
        """What is timed: the call, or its gradient."""
        return "backward" if self.gradient else "forward"

    @property
    def group(self) -> str:
        """A row of ``GROUPS``."""
        if self.gradient:
            return "gradients"
        shrinks = any(n_in > n_out for n_in, n_out in zip(self.shape, self.output_shape, strict=True))
        return "reduced" if shrinks else "grown"

    @property
    def layout(self) -> str:
        """The memory format of input and output."""
        return "channels_last" if self.channels_last else "contiguous"

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from the others."""
        return (self.name, self.dtype, self.layout, self.direction)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result of the forward call."""
        spatial = self.shape[2:]
        factor = self.arguments.get("scale_factor", 1)
        return (*self.shape[:2], *self.arguments.get("size", (int(n * factor) for n in spatial)))

    @property
    def minimum_bytes(self) -> int:
        """Every input read once, every output written once."""
        itemsize = numpy_dtype(self.dtype).itemsize
        return (math.prod(self.shape) + math.prod(self.output_shape)) * itemsize

    def smaller(self, elements: int) -> Workload:
        """The same call with at most so many elements in and out, or as few as leave it what it is."""
        n, c, *spatial = self.shape
        arguments = dict(self.arguments)

        def made() -> Workload:
            return replace(self, shape=(n, c, *spatial), arguments=arguments)

        def too_large() -> bool:
            return math.prod(made().shape) + math.prod(made().output_shape) > elements

        while too_large() and n > 1:
            n //= 2
        while too_large() and c > 8:
            c //= 2
        while too_large() and min(spatial) > 16:
            spatial = [extent // 2 for extent in spatial]
            if "size" in arguments:
                arguments["size"] = tuple(extent // 2 for extent in arguments["size"])
        return made()

    def values(self) -> NDArray[Any]:
        """What is read, the input or the gradient of the output: random, because constants hide wrong indices."""
        rng = np.random.default_rng(list(self.name.encode()))
        read = self.output_shape if self.gradient else self.shape
        n, c, *spatial = read
        shape = (n, *spatial, c) if self.channels_last else read
        drawn = min(math.prod(shape), DRAWN)
        if self.dtype == "uint8":
            numbers: NDArray[Any] = rng.integers(0, 256, drawn, np.uint8)
        else:
            numbers = rng.standard_normal(drawn, np.float32).astype(numpy_dtype(self.dtype))
        x = np.resize(numbers, shape)
        return np.moveaxis(x, -1, 1) if self.channels_last else x


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 is ml_dtypes'."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def _rows(
    name: str,
    shape: tuple[int, ...],
    dtypes: str,
    *,
    channels_last: bool = False,
    gradient: bool = False,
    **arguments: Any,
) -> list[Workload]:
    """A row for each dtype."""
    return [Workload(name, shape, dtype, arguments, channels_last, gradient) for dtype in dtypes.split()]


_2x: dict[str, Any] = {"scale_factor": 2}
_HD: dict[str, Any] = {"size": (1080, 1920), "antialias": True}
_QUARTER: dict[str, Any] = {"size": (540, 960), "antialias": True}
_HALF_HD: dict[str, Any] = {"size": (540, 960)}
_FEATURES, _UHD = (16, 64, 256, 256), (8, 3, 2160, 3840)

WORKLOADS = (
    # Decoders of autoencoders and of segmentation networks.
    *_rows("decoder", (8, 256, 64, 64), "float16", channels_last=True, mode="nearest", **_2x),
    *_rows("decoder", (8, 256, 64, 64), "float32 float16", mode="nearest", **_2x),
    *_rows("features-nearest", _FEATURES, "float32 float16 uint8", mode="nearest", **_2x),
    *_rows("features-nearest", _FEATURES, "float32 float16", channels_last=True, mode="nearest", **_2x),
    *_rows("features", _FEATURES, "float32 float16 bfloat16 uint8", mode="bilinear", **_2x),
    *_rows("features", _FEATURES, "float32 float16 bfloat16", channels_last=True, mode="bilinear", **_2x),
    *_rows("logits", (8, 21, 64, 64), "float32", mode="bilinear", scale_factor=8),
    *_rows("pyramid", (8, 512, 32, 32), "float32 float16", mode="bilinear", **_2x),
    *_rows("features-bicubic", _FEATURES, "float32 float16 uint8", mode="bicubic", **_2x),
    *_rows("features-bicubic", _FEATURES, "float16", channels_last=True, mode="bicubic", **_2x),
    *_rows("superresolution", (8, 3, 512, 512), "float32", mode="bicubic", scale_factor=4),
    # Photographs.
    *_rows("photo", _UHD, "uint8", channels_last=True, mode="bilinear", **_HD),
    *_rows("photo", _UHD, "float32 float16 uint8", mode="bilinear", **_HD),
    *_rows("photo-bicubic", _UHD, "float32 float16", mode="bicubic", **_HD),
    *_rows("photo-bicubic", _UHD, "uint8", channels_last=True, mode="bicubic", **_HD),
    *_rows("photo-quarter", _UHD, "float32 float16 uint8", mode="bicubic", **_QUARTER),
    *_rows("thumbnail", _UHD, "float32 uint8", mode="bicubic", size=(224, 224), antialias=True),
    *_rows("thumbnail", _UHD, "uint8", channels_last=True, mode="bicubic", size=(224, 224), antialias=True),
    *_rows("lanczos", _UHD, "float32 float16", mode="lanczos", **_HD),
    *_rows("lanczos-quarter", _UHD, "float32", mode="lanczos", **_QUARTER),
    *_rows("area", (1, 3, 1080, 1920), "float32", mode="area", **_HALF_HD),
    *_rows("area-batch", _UHD, "float32 float16 uint8", mode="area", size=(1080, 1920)),
    # Position embeddings of vision transformers.
    *_rows("embedding", (1, 1024, 16, 16), "float32", mode="bicubic", size=(24, 24)),
    # Volumes and sound.
    *_rows("volume", (2, 4, 128, 128, 128), "float32 float16", mode="trilinear", **_2x),
    *_rows("audio", (64, 512, 1024), "float32", mode="linear", **_2x),
    # Gradients.
    *_rows("features-nearest", _FEATURES, "float32 float16", mode="nearest", **_2x, gradient=True),
    *_rows("features", _FEATURES, "float32 float16", mode="bilinear", **_2x, gradient=True),
    *_rows("features", _FEATURES, "float16", channels_last=True, mode="bilinear", **_2x, gradient=True),
    *_rows("features-bicubic", _FEATURES, "float32 float16", mode="bicubic", **_2x, gradient=True),
    *_rows("photo", _UHD, "float32 float16", mode="bilinear", **_HD, gradient=True),
    *_rows("area-batch", _UHD, "float32", mode="area", size=(1080, 1920), gradient=True),
    *_rows("volume", (2, 4, 128, 128, 128), "float32 float16", mode="trilinear", **_2x, gradient=True),
    *_rows("audio", (64, 512, 1024), "float32", mode="linear", **_2x, gradient=True),
    # What a call costs: nothing to compute.
    *_rows("tiny", (1, 3, 8, 8), "float32", mode="nearest", **_2x),
    *_rows("tiny-bilinear", (1, 3, 8, 8), "float32", mode="bilinear", **_2x),
)


_FEATURE_MAPS, _PHOTO = (8, 64, 64, 64), (1, 3, 1080, 1920)
_540P: dict[str, Any] = {"size": (540, 960), "antialias": True}
_405P: dict[str, Any] = {"size": (405, 720), "antialias": True}

CPU_WORKLOADS = (
    # What is held to geometric means over torch: see README.md.
    *_rows("bilinear-2x", _FEATURE_MAPS, "float32", mode="bilinear", **_2x),
    *_rows("bilinear-56-100", (4, 32, 56, 56), "float32", mode="bilinear", size=(100, 100)),
    *_rows("bicubic-2x", _FEATURE_MAPS, "float32", mode="bicubic", **_2x),
    *_rows("bilinear-540p", _PHOTO, "float32", mode="bilinear", **_540P),
    *_rows("bicubic-540p", _PHOTO, "float32", mode="bicubic", **_540P),
    *_rows("bilinear-405p", _PHOTO, "float32", mode="bilinear", **_405P),
    *_rows("bicubic-405p", _PHOTO, "float32", mode="bicubic", **_405P),
    *_rows("trilinear-2x", (2, 16, 32, 64, 64), "float32", mode="trilinear", **_2x),
    *_rows("nearest-2x", _FEATURE_MAPS, "float32", mode="nearest", **_2x),
    *_rows("nearest-half", _FEATURE_MAPS, "float32", mode="nearest", scale_factor=0.5),
    *_rows("area-half", _PHOTO, "float32", mode="area", **_HALF_HD),
    *_rows("lanczos-540p", _PHOTO, "float32", mode="lanczos", **_540P),
    *_rows("linear-2x", (16, 64, 4096), "float32", mode="linear", **_2x),
    *_rows("bilinear-2x", _FEATURE_MAPS, "float32", mode="bilinear", **_2x, gradient=True),
    *_rows("bicubic-2x", _FEATURE_MAPS, "float32", mode="bicubic", **_2x, gradient=True),
    *_rows("bilinear-540p", _PHOTO, "float32", mode="bilinear", **_540P, gradient=True),
    # What is held to a ratio of its own.
    *_rows("bilinear-2x", _FEATURE_MAPS, "float32", channels_last=True, mode="bilinear", **_2x),
    *_rows("bilinear-2x", _FEATURE_MAPS, "float16", mode="bilinear", **_2x),
    *_rows("bicubic-2x", _FEATURE_MAPS, "bfloat16", mode="bicubic", **_2x),
    *_rows("bilinear-540p", _PHOTO, "uint8", mode="bilinear", **_540P),
    *_rows("bilinear-540p", _PHOTO, "uint8", channels_last=True, mode="bilinear", **_540P),
    *_rows("area-half", _PHOTO, "uint8", mode="area", **_HALF_HD),
    *_rows("area-half", _PHOTO, "uint8", channels_last=True, mode="area", **_HALF_HD),
    *_rows("tiny-nearest", (1, 3, 8, 8), "float32", mode="nearest", **_2x),
    *_rows("tiny-bilinear", (1, 3, 8, 8), "float32", mode="bilinear", **_2x),
    *_rows("tiny-bicubic", (1, 3, 8, 8), "float32", mode="bicubic", **_2x),
)
"""For NumPy, beside others on the CPU."""

AVERAGED = 16
"""The first so many of them make the geometric means."""
