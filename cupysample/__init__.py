"""cupysample: ``torch.nn.functional.interpolate`` and ``torch.nn.Upsample`` for CuPy arrays, without torch."""

from cupysample._interpolate import interpolate, interpolate_backward, upsample, upsample_bilinear, upsample_nearest
from cupysample._modules import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d

__version__ = "0.1.0"

__all__ = [
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "interpolate",
    "interpolate_backward",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]
