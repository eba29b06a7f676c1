"""torch tensors: autograd, ``torch.func``, ``torch.compile``, autocast. Loaded when a tensor arrives, for it imports torch.

A tensor that nobody transforms or traces goes straight to the kernels, with an ``autograd.Function`` around them where
it requires grad. Otherwise torch must see an operator of ``torch.library``: it can be recorded, and has a rule for each
of torch's dispatch keys that ask for one, backward and forward mode of AD in one ``autograd.Function`` among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, is_grad_enabled
from torch._C import _are_functorch_transforms_active as _is_transformed
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch._C._dynamo.eval_frame import get_eval_frame_callback as _watching
from torch._C._functorch import is_legacy_batchedtensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad, profiler
from torch.compiler import is_dynamo_compiling
from torch.overrides import handle_torch_function, has_torch_function_unary

from cupysample import _arrays, _functional, _interpolate
from cupysample._interpolate import SCALARS, Arguments
from cupysample._plan import Plan

# ---------------------------------------------------------------------------------------------------------------------
# Functions


def interpolate(input: Tensor, _: None, arguments: Arguments, out: Tensor | None = None) -> Tensor:
    """``cupysample.interpolate`` of a tensor."""
    if has_torch_function_unary(input):
        named = dict(zip(ARGUMENTS, arguments, strict=True))
        return handle_torch_function(_functional.interpolate, (input,), input, **named, out=out)
    if input.dtype in _HALVES and out is None:  # with out=, autocast leaves torch's own functions alone
        input = _cast(input, arguments[2])
    return _dispatch(input, None, arguments, out)


def interpolate_backward(
    grad_output: Tensor, input_size: Any, arguments: Arguments, out: Tensor | None = None
) -> Tensor:
    """``cupysample.interpolate_backward`` of a tensor."""
    if has_torch_function_unary(grad_output):
        named = dict(zip(ARGUMENTS, arguments, strict=True))
        function = _functional.interpolate_backward
        return handle_torch_function(function, (grad_output,), grad_output, input_size, **named, out=out)
    return _dispatch(grad_output, input_size, arguments, out)


def warmup(input: Tensor, arguments: Arguments, out: Tensor | None, backward: bool, any_size: bool) -> None:
    """``cupysample.warmup`` for a tensor."""
    if input.is_meta:  # nothing is launched for it
        _dispatch(input, None, _interpolate.of_any_size(arguments, out) if any_size else arguments, out)
        return
    _refuse_lazy(out)
    input = _resolved(input)
    _interpolate.warmup(_cast(input, arguments[2]) if out is None else input, arguments, out, backward, any_size)


ARGUMENTS = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")


_HALVES = frozenset({torch.float16, torch.bfloat16})


def _cast(input: Tensor, mode: object) -> Tensor:
    """Widen the half types to float32 where torch's autocast would: its upsampling on CUDA, its 3-D pool on a CPU."""
    device = input.device.type  # torch asks for no other than these
    if input.dtype not in _HALVES or device not in ("cpu", "cuda") or not torch.is_autocast_enabled(device):
        return input
    pools = mode == "area"
    widened = input.dim() == 5 and pools if device == "cpu" else not pools
    return input.float() if widened else input


def _dispatch(x: Tensor, input_size: Any, arguments: Arguments, out: Tensor | None) -> Tensor:
    """Resample ``x``, or apply the adjoint where the size of its result, ``input_size``, is given."""
    if out is not None:
        return _into(x, input_size, arguments, out)
    if _is_traced(x) or forward_ad._current_level >= 0:
        return _operator(x, input_size, arguments)
    if x.requires_grad and is_grad_enabled():
        result: Tensor = _apply(x, input_size, arguments)
        return result
    return _run(x, input_size, arguments)


def _run(x: Tensor, input_size: Any, arguments: Arguments, out: Tensor | None = None) -> Tensor:
    """Straight to the kernels; torch's profiler sees it as the operator that it would see else."""
    if profiler._is_profiler_enabled:
        with profiler.record_function("cupysample::interpolate" + ("" if input_size is None else "_backward")):
            return _run_operator(x, input_size, arguments, out)
    result: Tensor = unwatched(_kernels)(x, input_size, arguments, out)
    return result


def _run_operator(x: Tensor, input_size: Any, arguments: Arguments, out: Tensor | None = None) -> Tensor:
    """What an operator does."""
    result: Tensor = unwatched(_kernels)(x, input_size, arguments, out)
    return result


def _kernels(x: Tensor, input_size: Any, arguments: Arguments, out: Tensor | None) -> Any:
    return _interpolate.resample(_resolved(x), input_size, arguments, out)


def _resolved(x: Tensor) -> Tensor:
    """With its values in memory; what torch keeps as "zero", conjugate or negative has others there, or none."""
    if x._is_zerotensor():  # the derivative of a sign, among others
        return x.clone()
    return x.resolve_conj().resolve_neg() if x.is_conj() or x.is_neg() else x


def unwatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Out of sight of ``torch.compile`` where that watches, for it would compile NumPy too."""
    if not (is_dynamo_compiling() or _watching()):
        return function
    if function not in _hidden:
        _hidden[function] = torch.compiler.disable(function)
    return _hidden[function]


_hidden: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Made late, for ``disable`` imports the compiler; ``functools.cache`` would be seen through."""


def _into(x: Tensor, input_size: Any, arguments: Arguments, out: Tensor) -> Tensor:
    """Resample into ``out``, as torch's own functions do: not differentiable, and seen by autograd's version counter."""
    tensors = [each for each in (x, out) if isinstance(each, Tensor)]
    if is_grad_enabled() and any(each.requires_grad for each in tensors):
        raise RuntimeError(
            "interpolate(): functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )
    if any(map(_is_traced, tensors)):
        raise RuntimeError("interpolate(): functions with out=... arguments can't be transformed, compiled or traced")
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(each).tangent is not None for each in tensors):
        raise NotImplementedError(
            "interpolate(): functions with out=... arguments don't support forward AD, but one of the arguments has a tangent"
        )
    if isinstance(out, Tensor) and out.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed: out is an inference tensor"
        )
    _refuse_lazy(out)
    _run(x, input_size, arguments, out)
    if not out.is_inference():
        torch.autograd.graph.increment_version(out)
    return out


def _refuse_lazy(out: Any) -> None:
    """Refuse what a call that is remembered would take for another tensor."""
    if isinstance(out, Tensor) and (out.is_conj() or out.is_neg()):
        raise TypeError("out: must hold its values, got a lazy conjugate or negative of another tensor")


def _is_traced(x: Tensor) -> bool:
    """Whether torch wants an operator to record, transform or dispatch."""
    return (
        _is_transformed()
        or is_dynamo_compiling()  # of this thread; ``is_compiling`` tells of others
        or x.is_meta
        or _len_torch_dispatch_stack()
        or _get_tracing_state() is not None
        or is_legacy_batchedtensor(x)  # ``torch.autograd.grad(is_grads_batched=True)``
        or (type(x) is not Tensor and type(x).__torch_dispatch__ is not Tensor.__torch_dispatch__)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Autograd, with nothing else about


class Resample(torch.autograd.Function):
    """y = A x, or Aᵀ x where ``input_size`` is given: a linear map, each the gradient of the other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, input_size: Any, arguments: Arguments) -> Tensor:
        ctx.materialize_grads = False  # an undefined gradient stays so
        result = _run(x, input_size, arguments)  # what it takes is sound
        ctx.call = x.shape, input_size, arguments if all(map(_is_immutable, arguments[:2])) else _frozen(arguments)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        shape, input_size, arguments = ctx.call
        if gradients[0] is None:
            return None, None, None
        return _dispatch(gradients[0], shape if input_size is None else None, arguments, None), None, None


def _is_immutable(words: Any) -> bool:
    """Whether a size or factor stays as it is, as most do."""
    return words.__class__ in SCALARS or (words.__class__ is tuple and SCALARS.issuperset(map(type, words)))


def _frozen(words: Any) -> Any:
    """Arguments as they are now: a list or tensor may be another when its gradient is due."""
    if isinstance(words, list | tuple):
        return tuple(map(_frozen, words))
    return words.item() if isinstance(words, Tensor | np.ndarray) else words


_apply = super(torch.autograd.Function, Resample).apply
"""``Resample.apply`` without the look-ups for ``torch.func``, which never get here."""


# ---------------------------------------------------------------------------------------------------------------------
# Operators


_SCHEMA = (
    "float[]? scale_factor, str mode, bool? align_corners, bool? recompute_scale_factor, bool antialias) -> Tensor"
)
for _signature in (
    "interpolate(Tensor input, SymInt[]? size",
    "interpolate.of_extents(Tensor input, Tensor[] size",
    "interpolate_backward(Tensor grad_output, SymInt[] input_size, SymInt[]? size",
):
    _name, _, _inputs = _signature.partition("(")
    torch.library.define(f"cupysample::{_name}", f"({_inputs}, {_SCHEMA}", tags=torch.Tag.pt2_compliant_tag)


def _operator(x: Tensor, input_size: Any, arguments: Arguments) -> Tensor:
    """Call the operator, with values of the types that its schema has; one size or factor stands for all axes."""
    size, scale_factor, mode, align_corners, recompute_scale_factor, antialias = arguments
    if size is not None and not isinstance(size, list | tuple):
        size = [size] * (x.dim() - 2)
    if scale_factor is not None and not isinstance(scale_factor, list | tuple):
        scale_factor = [scale_factor] * (x.dim() - 2)
    if _get_tracing_state() and input_size is None and any(isinstance(n, Tensor) for n in size or ()):
        return _of_extents(x, size, scale_factor, *arguments[2:])
    if not is_dynamo_compiling():  # the operator's own errors are of other classes
        unwatched(_checked)(x, input_size, arguments)
    elif not _is_recorded(x, input_size, arguments):
        return unwatched(_plainly)(x, input_size, arguments)
    if _get_tracing_state():  # extents are tensors there, which a list of an operator's does not take
        size = size and [int(n) for n in size]
        input_size = input_size and [int(n) for n in input_size]
    flags = (None if align_corners is None else bool(align_corners), bool(recompute_scale_factor), bool(antialias))
    return _called(x, input_size, (size, scale_factor, mode, *flags))


def _plainly(x: Tensor, input_size: Any, arguments: Arguments) -> Tensor:
    """A plain call from inside of a compiled function, which has NumPy's scalars as arrays without axes."""
    return _dispatch(x, _scalar(input_size), tuple(map(_scalar, arguments)), None)


def _scalar(words: Any) -> Any:
    if isinstance(words, list | tuple):
        return tuple(map(_scalar, words))
    return words[()] if isinstance(words, np.ndarray) and not words.ndim else words


def _of_extents(x: Tensor, size: Any, *others: Any) -> Tensor:
    """Let ``torch.jit.trace``, to which extents of a shape are tensors, record the size as what it was made of."""
    tensors = [n if isinstance(n, Tensor) else torch.full((), n) for n in size]
    result: Tensor = torch.ops.cupysample.interpolate.of_extents(x, tensors, *others)
    return result


@torch.library.impl("cupysample::interpolate.of_extents", "CompositeImplicitAutograd")
def _interpolate_of_extents(input: Tensor, size: Any, *others: Any) -> Tensor:
    return _operator(input, None, (size, *others))


def _is_recorded(x: Tensor, input_size: Any, arguments: Arguments) -> bool:
    """Whether Dynamo, to which NumPy's scalars are arrays, can record a call; of mistakes a plain one tells."""
    size, scale_factor, mode, align_corners, *flags = arguments
    return (
        not x.is_nested
        and (size is None) != (scale_factor is None)
        and (size is None or _are(size, x.dim() - 2, _is_extent))
        and (scale_factor is None or _are(scale_factor, x.dim() - 2, _is_number))
        and (input_size is None or (isinstance(input_size, list | tuple) and _are(input_size, x.dim(), _is_extent)))
        and isinstance(mode, str)
        and (align_corners is None or isinstance(align_corners, bool))
        and all(flag is None or isinstance(flag, int) for flag in flags)
    )


def _are(words: Any, count: int, kind: Callable[[Any], bool]) -> bool:
    """Whether one value, or ``count`` of them, are of a kind."""
    if isinstance(words, list | tuple):
        return len(words) == count and all(map(kind, words))
    return kind(words)


def _is_extent(n: Any) -> bool:
    if isinstance(n, np.ndarray) and not n.ndim:
        n = torch.as_tensor(n)  # what Dynamo makes of it too
    if isinstance(n, Tensor):
        return n.numel() == 1 and not (n.is_floating_point() or n.is_complex() or n.dtype == torch.bool)
    return isinstance(n, int) and not isinstance(n, bool)


def _is_number(n: Any) -> bool:
    return isinstance(n, int | float)


def _called(x: Tensor, input_size: Any, arguments: Arguments, keys: Any = None) -> Tensor:
    """Call the operator with arguments as it has them, or dispatch it to others of its kernels."""
    operators = torch.ops.cupysample
    operator, inputs = (
        (operators.interpolate.default, (x,))
        if input_size is None
        else (operators.interpolate_backward.default, (x, input_size))
    )
    call = operator if keys is None else partial(operator.redispatch, keys)
    result: Tensor = call(*inputs, *arguments)
    return result


@torch.library.impl("cupysample::interpolate", ("cpu", "cuda"))
def _interpolate_op(input: Tensor, *arguments: Any) -> Tensor:
    return _run_operator(input, None, arguments)


@torch.library.impl("cupysample::interpolate_backward", ("cpu", "cuda"))
def _interpolate_backward_op(grad_output: Tensor, input_size: Any, *arguments: Any) -> Tensor:
    return _run_operator(grad_output, tuple(input_size), arguments)


@torch.library.register_fake("cupysample::interpolate")
def _interpolate_fake(input: Tensor, *arguments: Any) -> Tensor:
    size, factors, *_ = arguments
    plan = _checked(input, None, arguments)
    sizes = plan.size if plan else size or map(_scaled, input.shape[2:], factors)
    shape = (*input.shape[:2], *sizes)
    return _like(input, shape, _is_channels_last(input, shape, arguments[2]))


@torch.library.register_fake("cupysample::interpolate_backward")
def _interpolate_backward_fake(grad_output: Tensor, input_size: Any, *arguments: Any) -> Tensor:
    _checked(grad_output, input_size, arguments)
    return _like(grad_output, input_size, _is_channels_last(grad_output, input_size, ""))


def _checked(x: Tensor, input_size: Any, arguments: Any) -> Plan | None:
    """The plan of a call, checked as a plain one is; none where it has symbols: of their values the kernels judge."""
    _arrays.refuse_nested(x, "input" if input_size is None else "grad_output")
    size, factors, *_ = arguments
    shape, dtype = tuple(x.shape), str(x.dtype).removeprefix("torch.")
    if not {int}.issuperset(map(type, shape)) or any(map(_is_symbolic, (input_size, size, factors))):
        _interpolate.check_words(size, factors, shape)
        return None
    if input_size is None:
        return _interpolate.plan_of(shape, dtype, *arguments)
    return _interpolate.plan_of_gradient(shape, dtype, _interpolate.checked_input_size(input_size, shape), arguments)


_SYMBOLS = frozenset({torch.SymInt, torch.SymFloat})


def _is_symbolic(words: Any) -> bool:
    return words is not None and not _SYMBOLS.isdisjoint(
        map(type, words if isinstance(words, list | tuple) else (words,))
    )


def _scaled(n: Any, factor: float) -> Any:
    """``trunc(n factor)``, as simple an expression as there is, so that a guard can hold it."""
    return n * int(factor) if factor == int(factor) else torch.sym_int(n * factor)


def _is_channels_last(x: Tensor, shape: Any, mode: str) -> bool:
    """The format of the output; where only data decide it, that for extents as torch expects them."""
    try:
        return _interpolate.channels_last(x.shape, x.stride(), shape, mode)
    except torch.fx.experimental.symbolic_shapes.GuardOnDataDependentSymNode:
        sizes, strides, shape = (tuple(map(_expected, each)) for each in (x.shape, x.stride(), shape))
        return _interpolate.channels_last(sizes, strides, shape, mode)


def _expected(n: Any) -> Any:
    """An extent or stride as torch expects it; before torch 2.12 it asks what to expect of those that data decide."""
    symbolic_shapes: Any = torch.fx.experimental.symbolic_shapes
    hint = getattr(symbolic_shapes, "optimization_hint", None)
    return hint(n) if hint else symbolic_shapes.size_hint(n, fallback=1 << 13)


def _like(x: Tensor, shape: Any, channels_last: bool) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if channels_last and x.dim() == 3:
        return _like(x.unsqueeze(2), (*shape[:2], 1, shape[2]), True).squeeze(2)
    memory_format = formats[x.dim()] if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format)


class _Differentiable(torch.autograd.function._SingleLevelFunction):
    """An operator and its derivatives, backward and forward, which are operators; to be applied as one level of AD.

    ``torch.library.register_autograd`` makes such a function, but without forward mode: tangents would be dropped. Levels
    below this one find grad and forward mode as they were outside; a function's ``forward`` and ``jvp`` have them off.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, below: Any, input_size: Any, arguments: Arguments, modes: tuple[bool, bool]
    ) -> Tensor:
        ctx.materialize_grads = False
        ctx.call, ctx.modes = (x.shape, input_size, arguments), modes
        with _modes(*modes), torch._C._AutoDispatchBelowAutograd():
            return _called(x, input_size, arguments, below)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        shape, input_size, arguments = ctx.call
        if gradients[0] is None:
            return (None,) * 5
        return _called(gradients[0], shape if input_size is None else None, arguments), *[None] * 4

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        _, input_size, arguments = ctx.call
        with _modes(*ctx.modes):
            return _called(tangents[0], input_size, arguments)

    # What compiled autograd asks for; functions of one level lack it.
    _compiled_autograd_key = staticmethod(torch.autograd.Function._compiled_autograd_key)


@contextmanager
def _modes(grad: bool, forward: bool) -> Iterator[None]:
    with torch.set_grad_enabled(grad), forward_ad._set_fwd_grad_enabled(forward):
        yield


def _differentiated(keys: Any, x: Tensor, input_size: Any, arguments: Arguments) -> Tensor:
    """What autograd does with an operator: record it, and leave the rest to the kernels below its own."""
    below, modes = keys & torch._C._after_autograd_keyset, (is_grad_enabled(), forward_ad._is_fwd_grad_enabled())
    with enable_single_level_autograd_function():
        result: Tensor = _Differentiable.apply(x, below, input_size, arguments, modes)
    return result


def _interpolate_autograd(keys: Any, input: Tensor, *arguments: Any) -> Tensor:
    result: Tensor = unwatched(_differentiated)(keys, input, None, arguments)
    return result


def _interpolate_backward_autograd(keys: Any, grad_output: Tensor, input_size: Any, *arguments: Any) -> Tensor:
    result: Tensor = unwatched(_differentiated)(keys, grad_output, input_size, arguments)
    return result


_library = torch.library.Library("cupysample", "FRAGMENT")  # its kernels go with it
_library.impl("interpolate", _interpolate_autograd, "Autograd", with_keyset=True)
_library.impl("interpolate_backward", _interpolate_backward_autograd, "Autograd", with_keyset=True)


@torch.library.register_vmap("cupysample::interpolate")
def _interpolate_vmap(info: Any, in_dims: Any, input: Tensor, *arguments: Any) -> tuple[Tensor, int]:
    return _folded(info.batch_size, in_dims[0], input, None, arguments)


@torch.library.register_vmap("cupysample::interpolate_backward")
def _interpolate_backward_vmap(
    info: Any, in_dims: Any, grad_output: Tensor, input_size: Any, *arguments: Any
) -> tuple[Tensor, int]:
    return _folded(info.batch_size, in_dims[0], grad_output, input_size, arguments)


def _folded(extent: int, axis: int, x: Tensor, input_size: Any, arguments: Any) -> tuple[Tensor, int]:
    """Resample along a further batch axis, folded into the first."""
    x = x.movedim(axis, 0)
    batch = x.shape[1]
    x = x.flatten(0, 1)
    if input_size is not None:
        input_size = (extent * input_size[0], *input_size[1:])
    return _called(x, input_size, arguments).unflatten(0, (extent, batch)), 0
