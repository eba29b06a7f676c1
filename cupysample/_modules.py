"""``torch.nn``'s upsampling modules as plain callables: they keep the arguments and call ``interpolate``."""

from __future__ import annotations

from typing import Any, TypeVar

from cupysample._functional import interpolate
from cupysample._interpolate import ScaleFactor, Size

ArrayT = TypeVar("ArrayT")


class Upsample:
    """``torch.nn.Upsample`` for arrays of any library; its arguments, plus ``antialias``.

    As in torch, a scale factor of 0 counts as none; unlike there, a list of factors is as good as a tuple. Calling it
    resamples an array, ``upsample(input)``, into ``out=`` if that is given; arguments are checked then.

    Parameters
    ----------
    size, scale_factor, mode, align_corners, recompute_scale_factor, antialias : as in ``interpolate``
        What every call has.

    Examples
    --------
    The examples of torch's own page, on NumPy:

    >>> import numpy as np
    >>> from cupysample import Upsample
    >>> input = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    >>> Upsample(scale_factor=2, mode="nearest")(input)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.],
             [3., 3., 4., 4.],
             [3., 3., 4., 4.]]]], dtype=float32)
    >>> Upsample(scale_factor=2, mode="bilinear")(input)  # align_corners=False
    array([[[[1.  , 1.25, 1.75, 2.  ],
             [1.5 , 1.75, 2.25, 2.5 ],
             [2.5 , 2.75, 3.25, 3.5 ],
             [3.  , 3.25, 3.75, 4.  ]]]], dtype=float32)
    >>> Upsample(scale_factor=2, mode="bilinear", align_corners=True)(input).round(4)
    array([[[[1.    , 1.3333, 1.6667, 2.    ],
             [1.6667, 2.    , 2.3333, 2.6667],
             [2.3333, 2.6667, 3.    , 3.3333],
             [3.    , 3.3333, 3.6667, 4.    ]]]], dtype=float32)

    With ``align_corners`` the result depends on the size of the input:

    >>> padded = np.zeros((1, 1, 3, 3), np.float32)
    >>> padded[:, :, :2, :2] = input
    >>> Upsample(scale_factor=2, mode="nearest")(padded)
    array([[[[1., 1., 2., 2., 0., 0.],
             [1., 1., 2., 2., 0., 0.],
             [3., 3., 4., 4., 0., 0.],
             [3., 3., 4., 4., 0., 0.],
             [0., 0., 0., 0., 0., 0.],
             [0., 0., 0., 0., 0., 0.]]]], dtype=float32)
    >>> Upsample(scale_factor=2, mode="bilinear")(padded)
    array([[[[1.    , 1.25  , 1.75  , 1.5   , 0.5   , 0.    ],
             [1.5   , 1.75  , 2.25  , 1.875 , 0.625 , 0.    ],
             [2.5   , 2.75  , 3.25  , 2.625 , 0.875 , 0.    ],
             [2.25  , 2.4375, 2.8125, 2.25  , 0.75  , 0.    ],
             [0.75  , 0.8125, 0.9375, 0.75  , 0.25  , 0.    ],
             [0.    , 0.    , 0.    , 0.    , 0.    , 0.    ]]]],
          dtype=float32)
    >>> Upsample(scale_factor=2, mode="bilinear", align_corners=True)(padded).round(4)
    array([[[[1.  , 1.4 , 1.8 , 1.6 , 0.8 , 0.  ],
             [1.8 , 2.2 , 2.6 , 2.24, 1.12, 0.  ],
             [2.6 , 3.  , 3.4 , 2.88, 1.44, 0.  ],
             [2.4 , 2.72, 3.04, 2.56, 1.28, 0.  ],
             [1.2 , 1.36, 1.52, 1.28, 0.64, 0.  ],
             [0.  , 0.  , 0.  , 0.  , 0.  , 0.  ]]]], dtype=float32)
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: ScaleFactor | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> None:
        self.name = type(self).__name__
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None
        if isinstance(scale_factor, tuple) or (isinstance(scale_factor, list) and scale_factor):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None  # type: ignore[arg-type]
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor
        self.antialias = antialias

    def __call__(self, input: ArrayT, *, out: ArrayT | None = None) -> ArrayT:
        """Return the resampled input."""
        return interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
            self.antialias,
            out=out,
        )

    def extra_repr(self) -> str:
        """Return what ``repr`` shows between the parentheses, as in torch."""
        what = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{what}, mode={self.mode!r}" + (", antialias=True" if self.antialias else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"recompute_scale_factor": True, "antialias": False, **state})


class UpsamplingNearest2d(Upsample):
    """``torch.nn.UpsamplingNearest2d``: ``mode="nearest"``."""

    def __init__(self, size: Size | None = None, scale_factor: ScaleFactor | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """``torch.nn.UpsamplingBilinear2d``: ``mode="bilinear", align_corners=True``."""

    def __init__(self, size: Size | None = None, scale_factor: ScaleFactor | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
