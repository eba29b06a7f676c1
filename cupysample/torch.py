"""``nn.Upsample`` replaced in one line: torch's modules on cupysample. It imports torch, and what serves its tensors.

The operators that exported programs hold are there once this module is imported.
"""

from __future__ import annotations

from typing import TypeVar

try:
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise  # torch is there, and lacks something
    raise ModuleNotFoundError("cupysample.torch needs torch: pip install torch", name="torch") from error

from cupysample import _functional, _tensors  # noqa: F401 - the operators
from cupysample._interpolate import ScaleFactor, Size
from cupysample._words import shown

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "patch", "unpatch"]

ModelT = TypeVar("ModelT", bound=nn.Module)


class Upsample(nn.Upsample):
    """``torch.nn.Upsample`` on cupysample: its arguments, plus ``antialias`` and a list of factors.

    An ``nn.Module`` of torch's own class, so that a model takes it wherever it takes ``nn.Upsample``.
    """

    antialias = False  # for modules made by torch and patched

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: ScaleFactor | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> None:
        factors = tuple(scale_factor) if isinstance(scale_factor, list) and scale_factor else scale_factor
        # Not super(): between this class and ``nn.Upsample`` is torch's own of 2d, with other arguments.
        nn.Upsample.__init__(self, size, factors, mode, align_corners, recompute_scale_factor)
        self.antialias = antialias

    def forward(self, input: Tensor) -> Tensor:
        """Return the resampled input."""
        return _functional.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
            self.antialias,
        )

    def extra_repr(self) -> str:
        """Return what ``repr`` shows between the parentheses."""
        return super().extra_repr() + (", antialias=True" if self.antialias else "")


class UpsamplingNearest2d(Upsample, nn.UpsamplingNearest2d):
    """``torch.nn.UpsamplingNearest2d`` on cupysample: ``mode="nearest"``."""

    def __init__(self, size: Size | None = None, scale_factor: ScaleFactor | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample, nn.UpsamplingBilinear2d):
    """``torch.nn.UpsamplingBilinear2d`` on cupysample: ``mode="bilinear", align_corners=True``."""

    def __init__(self, size: Size | None = None, scale_factor: ScaleFactor | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


_OURS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Upsample: Upsample,
    nn.UpsamplingNearest2d: UpsamplingNearest2d,
    nn.UpsamplingBilinear2d: UpsamplingBilinear2d,
}
_TORCHS = {ours: torchs for torchs, ours in _OURS.items()}


def patch(model: ModelT) -> ModelT:
    """Make every ``nn.Upsample`` of a model run on cupysample, in place.

    The modules stay the objects they are, with their hooks and wherever the model holds them; their class changes.
    Subclasses of your own and calls of ``F.interpolate`` are left alone.

    Raises
    ------
    TypeError
        What is given is no module.

    Returns
    -------
    nn.Module
        The model itself.
    """
    return _swap(_checked(model), _OURS)


def unpatch(model: ModelT) -> ModelT:
    """Give every module back to torch, in place: what ``patch`` did, and modules made here.

    Needed before ``torch.jit.script``, before ONNX is made of the model, and before passes that look for ``nn.Upsample``.
    Patched modules can be compiled, exported and traced; what was exported or traced holds this package's operators, so
    ``cupysample.torch`` must be imported where it runs, or the model unpatched before.

    Raises
    ------
    TypeError
        What is given is no module.
    ValueError
        Before anything is changed, where a module does what torch's cannot: it antialiases, or its mode is cubic.

    Returns
    -------
    nn.Module
        The model itself.
    """
    for name, module in _checked(model).named_modules():
        if type(module) in _TORCHS and (module.antialias or module.mode in ("cubic", "tricubic")):
            lacking = "antialias=True" if module.antialias else f"mode={module.mode!r}"
            raise ValueError(f"model: {name or 'it'} has {lacking}, which torch.nn.Upsample lacks, got {module}")
    return _swap(model, _TORCHS)


def _checked(model: ModelT) -> ModelT:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: must be an nn.Module, got {shown(model)}")
    return model


def _swap(model: ModelT, classes: dict[type[nn.Module], type[nn.Module]]) -> ModelT:
    for module in model.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
    return model
