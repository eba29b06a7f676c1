"""cupysample: ``torch.nn.functional.interpolate`` and ``torch.nn.Upsample`` for CuPy arrays, without torch."""

import importlib
import typing

from cupysample._functional import (
    interpolate,
    interpolate_backward,
    upsample,
    upsample_bilinear,
    upsample_nearest,
    warmup,
)
from cupysample._modules import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
from cupysample._threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "get_num_threads",
    "interpolate",
    "interpolate_backward",
    "set_num_threads",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
    "warmup",
]


if typing.TYPE_CHECKING:
    from cupysample import torch as torch
else:

    def __getattr__(name):
        """Load ``cupysample.torch``, which imports torch, by its name."""
        if name == "torch":
            return importlib.import_module("cupysample.torch")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
