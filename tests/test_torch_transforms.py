"""torch's transforms, modes and tracers, one inside the other: what ``F.interpolate`` does there, ours does."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as fw
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.flop_counter import FlopCounterMode

import cupysample
from cupysample import _functional

pytestmark = pytest.mark.filterwarnings(  # of torch's own doing
    "ignore:.*torch.jit.* is deprecated:DeprecationWarning", "ignore:Attempted to insert a get_attr Node:UserWarning"
)

ONES = torch.ones(1, 1, 2, 2)
Function = Callable[[Tensor], Tensor]


def ours(x: Tensor) -> Tensor:
    return cupysample.interpolate(x, scale_factor=2, mode="bilinear")


def theirs(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def linearized(f: Function) -> Tensor:
    return torch.func.linearize(f, ONES)[1](ONES)


def traced_jvp(f: Function) -> Tensor:
    def jvp(x: Tensor, v: Tensor) -> Tensor:
        return torch.func.jvp(f, (x,), (v,))[1]

    result: Tensor = make_fx(jvp)(ONES, ONES)(ONES, ONES)
    return result


def jvp_under_a_mode(f: Function) -> Tensor:
    with FlopCounterMode(display=False):
        return torch.func.jvp(f, (ONES,), (ONES,))[1]


def jacobian_under_a_mode(f: Function) -> Tensor:
    with FlopCounterMode(display=False):
        return torch.func.jacfwd(f)(ONES)


def backward_jacobian_under_a_mode(f: Function) -> Tensor:
    with FlopCounterMode(display=False):
        return torch.func.jacrev(f)(ONES)


def tangent_under_a_mode(f: Function) -> Tensor:
    with FlopCounterMode(display=False), fw.dual_level():
        tangent: Tensor = fw.unpack_dual(f(fw.make_dual(ONES, ONES))).tangent
        return tangent


def traced_gradient(f: Function) -> Tensor:
    result: Tensor = make_fx(torch.func.grad(lambda x: f(x).pow(2).sum()))(ONES)(ONES)
    return result


def functionalized(f: Function) -> Tensor:
    return torch.func.functionalize(f)(ONES)


@pytest.mark.parametrize(
    "transform",
    [
        linearized,
        traced_jvp,
        jvp_under_a_mode,
        jacobian_under_a_mode,
        backward_jacobian_under_a_mode,
        tangent_under_a_mode,
        traced_gradient,
        functionalized,
    ],
)
def test_transforms(transform: Callable[[Function], Tensor]) -> None:
    """None is silently zero, as forward mode is of an operator that has none."""
    result = transform(ours)
    torch.testing.assert_close(result, transform(theirs))
    assert result.abs().sum() > 0


class Called(nn.Module):  # type: ignore[misc]  # torch is not typed
    def __init__(self, f: Function) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)


def compiled(f: Function) -> Function:
    torch._dynamo.reset()
    function: Function = torch.compile(f, fullgraph=True, backend="aot_eager")
    return function


def cubed(f: Function) -> Function:
    return lambda x: f(x).pow(3)


def cost(f: Function) -> Function:
    return lambda x: f(x).pow(3).sum()


def pushed(f: Function, v: Tensor) -> Function:
    return lambda x: torch.func.jvp(f, (x,), (v,))[1]


def tangent(f: Function) -> Function:
    def of(x: Tensor) -> Tensor:
        with fw.dual_level():
            result: Tensor = fw.unpack_dual(f(fw.make_dual(x, 3 * ONES))).tangent
            return result

    return of


NOISE = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
RECORDERS: dict[str, Callable[[Function], Function]] = {
    "nothing": lambda f: f,
    "export": lambda f: torch.export.export(Called(f), (NOISE,)).module(),
    "make_fx": lambda f: make_fx(f)(NOISE),
    "jit": lambda f: torch.jit.trace(f, (NOISE,)),
    "functionalize": torch.func.functionalize,
    "compile": compiled,
}
TRANSFORMS: dict[str, Callable[[Function], Function]] = {
    "jvp": lambda f: pushed(f, ONES),
    "tangent": tangent,
    "grad": lambda f: torch.func.grad(cost(f)),
    "vmap": lambda f: lambda x: torch.func.vmap(f)(x[None]),
    "jacrev": torch.func.jacrev,
    "jacfwd": torch.func.jacfwd,
    "hessian": lambda f: torch.func.hessian(cost(f)),
    "grad of grad": lambda f: torch.func.grad(cost(torch.func.grad(cost(f)))),
    "jvp of jvp": lambda f: lambda x: pushed(pushed(cubed(f), x), x)(x),
    "jvp of grad": lambda f: pushed(torch.func.grad(cost(f)), ONES),
    "vmap of grad": lambda f: lambda x: torch.func.vmap(torch.func.grad(cost(f)))(x[None]),
}


BEYOND_TORCH = {("functionalize", "tangent"), ("compile", "jvp of jvp")}
"""What it cannot do with its own function either."""


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("recorder", RECORDERS)
def test_transforms_of_what_was_recorded_and_the_reverse(recorder: str, name: str) -> None:
    record, transform = RECORDERS[recorder], TRANSFORMS[name]
    chains: list[Callable[[Function], Function]] = []
    if recorder != "compile":  # whose functions torch does not transform
        chains.append(lambda f: transform(record(f)))
    if recorder in ("make_fx", "functionalize", "compile") and (recorder, name) not in BEYOND_TORCH:
        chains.append(lambda f: record(transform(f)))
    for chain in chains:
        result = chain(ours)(NOISE)
        torch.testing.assert_close(result, chain(theirs)(NOISE))
        assert result.abs().sum() > 0


def test_other_threads_may_trace() -> None:
    """What torch says of a process is not asked: one that compiles is not what another thread does."""
    results: list[Any] = []

    def call() -> None:
        out = torch.empty(1, 1, 4, 4)
        functions: tuple[Callable[[], Tensor], ...] = (
            lambda: cupysample.interpolate(ONES, scale_factor=2, out=out),
            lambda: torch.func.functionalize(ours)(ONES),
            lambda: cupysample.interpolate(ONES, size=(2.0, 3.0)),  # type: ignore[arg-type]
        )
        for function in functions:
            try:
                results.append(function())
            except Exception as error:  # noqa: PERF203 - each is a result
                results.append(error)

    def trace(x: Tensor) -> Tensor:
        assert torch.compiler.is_compiling()
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return x + 1

    torch.export.export(Called(trace), (ONES,), strict=False)
    torch.testing.assert_close(results[0], cupysample.interpolate(ONES, scale_factor=2))
    torch.testing.assert_close(results[1], theirs(ONES))
    assert isinstance(results[2], TypeError)


def test_meta_tensors_under_transforms() -> None:
    meta = torch.empty(1, 1, 2, 2, device="meta")
    assert torch.func.grad(lambda x: ours(x).sum())(meta).shape == meta.shape
    with fw.dual_level():
        assert fw.unpack_dual(ours(fw.make_dual(meta, meta.clone()))).tangent.shape == (1, 1, 4, 4)


def test_gradients_of_wrapped_subclasses() -> None:
    x = torch.randn(1, 1, 2, 2)
    mine, torchs = (torch.func.grad(lambda x, f=f: f(x).sum())(TwoTensor(x, x)) for f in (ours, theirs))
    torch.testing.assert_close(mine.a, torchs.a)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_meta_tensors(dtype: torch.dtype) -> None:
    x = torch.empty(1, 1, 2, 2, dtype=dtype, device="meta")
    for _ in range(2):
        assert cupysample.interpolate(x, scale_factor=2).dtype == dtype


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_strides_of_what_is_odd(device: str) -> None:
    """Area of a transposed 1-D tensor, and empty outputs: as torch has them, real and fake."""
    transposed = torch.randn(2, 8, 3).transpose(1, 2)
    empty = torch.randn(2, 0, 4, 4)
    x = torch.randn(2, 3, 4, 5)
    last = x.contiguous(memory_format=torch.channels_last)
    for tensor, arguments in (
        (transposed, {"size": 4, "mode": "area"}),
        (transposed, {"size": 0, "mode": "area"}),
        (empty, {"scale_factor": 2.0}),
        (last[:0], {"scale_factor": 2.0}),
        (x, {"size": (0, 3), "mode": "area"}),
        (last, {"size": (0, 3), "mode": "area"}),
    ):
        try:
            expected = F.interpolate(tensor, **arguments).stride()
        except RuntimeError:  # torch refuses empty channels, ours does not
            expected = (64, 64, 8, 1)
        moved = tensor if device == "cpu" else torch.empty_strided(tensor.shape, tensor.stride(), device="meta")
        assert cupysample.interpolate(moved, **arguments).stride() == expected
    compiled = torch.compile(
        lambda x: cupysample.interpolate(x, size=4, mode="area"), fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(transposed), F.interpolate(transposed, size=4, mode="area"))


def test_symbolic_traces() -> None:
    """FX records the call of a patched model, and whatever has ``__torch_function__`` sees it."""
    model = nn.Sequential(nn.Upsample(scale_factor=2))
    graph = torch.fx.symbolic_trace(cupysample.torch.patch(model))
    torch.testing.assert_close(graph(ONES), F.interpolate(ONES, scale_factor=2))

    class Duck:
        def __init__(self, value: Tensor) -> None:
            self.value = value

        @classmethod
        def __torch_function__(cls, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            return function(*(each.value if isinstance(each, Duck) else each for each in args), **(kwargs or {}))

    duck: Any = Duck(ONES)
    torch.testing.assert_close(ours(duck), theirs(ONES))


@pytest.mark.parametrize(
    "size",
    [lambda x: x.shape[2:], lambda x: x.shape[3], lambda x: (x.shape[2] * 2, 3), lambda x: [3, x.shape[3] // 2 + 1]],
    ids=["shape", "extent", "mixed", "halved"],
)
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_traced_sizes_follow_the_input(size: Callable[[Tensor], Any]) -> None:
    """A size taken from a shape is a tensor while ``torch.jit.trace`` looks; gradients follow too."""

    def function(x: Tensor) -> Tensor:
        return cupysample.interpolate(F.max_pool2d(x, 2), size=size(x), mode="bilinear")

    traced = torch.jit.trace(function, torch.ones(1, 1, 4, 4))
    for shape in ((1, 1, 4, 4), (2, 1, 6, 9)):
        x = torch.randn(shape, requires_grad=True)
        y, expected = traced(x), function(x)
        assert torch.equal(y, expected)
        gradient, expected = (torch.autograd.grad(each.square().sum(), x) for each in (y, expected))
        assert torch.equal(gradient[0], expected[0])


def test_traced_sizes_are_checked() -> None:
    with pytest.raises(TypeError, match="expected size to be one of int or"):
        torch.jit.trace(lambda x: cupysample.interpolate(x, size=(x.shape[2] * 0.5, 3)), ONES)


def test_exports_with_a_dynamic_extent() -> None:
    class Doubled(nn.Module):  # type: ignore[misc]  # torch is not typed
        def forward(self, x: Tensor) -> Tensor:
            zeros = torch.zeros(x.shape[0], x.shape[1], x.shape[2] * 2, x.shape[3] * 2)
            return cupysample.interpolate(x, scale_factor=2) + zeros

    height = torch.export.Dim("height", min=2, max=64)
    exported = torch.export.export(Doubled(), (torch.randn(1, 3, 8, 8),), dynamic_shapes={"x": {2: height}})
    x = torch.randn(1, 3, 10, 8)
    torch.testing.assert_close(exported.module()(x), F.interpolate(x, scale_factor=2))


@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)  # type: ignore[untyped-decorator]
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    ("shape", "mode", "memory_format"),
    [
        ((4, 5, 5), "area", torch.contiguous_format),
        *(((4, 4, 3, 4), "bilinear", each) for each in (torch.contiguous_format, torch.channels_last)),
        *(((4, 4, 3, 3, 4), mode, torch.channels_last_3d) for mode in ("trilinear", "area")),
    ],
)
def test_extents_that_data_decide(axis: int, shape: tuple[int, ...], mode: str, memory_format: Any) -> None:
    """The strides too are what they are without a compiler."""

    def pick(x: Tensor, keep: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        x = torch.index_select(x, axis, torch.nonzero(keep)[:, 0]).contiguous(memory_format=memory_format)
        y = cupysample.interpolate(x, size=[3] * (x.dim() - 2), mode=mode)
        return y, y.stride()

    x, keep = torch.randn(shape), torch.tensor([1, 0, 1, 1, 1])[: shape[axis]]
    torch._dynamo.reset()
    (y, strides), (expected, plain) = torch.compile(pick, fullgraph=True, backend="aot_eager")(x, keep), pick(x, keep)
    assert torch.equal(y, expected)
    assert strides == plain == y.stride()


def test_backward_passes_are_compiled_too() -> None:
    """What autograd does is recorded, of a function that is compiled itself and of one that is not."""

    def ours(x: Tensor) -> Tensor:
        return cupysample.interpolate(x, scale_factor=2, mode="bilinear")

    def recorded(x: Tensor) -> Tensor:
        ours(x)
        result: Tensor = torch.ops.cupysample.interpolate(x, None, [2.0, 2.0], "bilinear", None, None, False)
        return result

    x = torch.randn(1, 2, 4, 5)
    expected = torch.func.grad(lambda x: ours(x).square().sum())(x)
    for function in (ours, recorded, torch.compile(ours, backend="aot_eager")):
        leaf = x.clone().requires_grad_()
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
            function(leaf).square().sum().backward()
        torch.testing.assert_close(leaf.grad, expected)


def test_out_has_no_forward_mode() -> None:
    """A tangent would be dropped, or be that of what was there before."""
    out = torch.zeros(1, 1, 4, 4)
    with fw.dual_level():
        dual, target = fw.make_dual(ONES, ONES), fw.make_dual(out.clone(), out.clone())
        for x, y in ((dual, out), (ONES, target)):
            with pytest.raises(NotImplementedError, match=r"out=\.\.\. arguments don't support forward AD"):
                cupysample.interpolate(x, scale_factor=2, out=y)
        assert not out.any()
        cupysample.interpolate(ONES, scale_factor=2, out=out)
    assert torch.equal(out, torch.ones_like(out))
    with torch.inference_mode():
        inference = torch.zeros(1, 1, 4, 4)
        cupysample.interpolate(ONES, scale_factor=2, out=inference)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        cupysample.interpolate(ONES, scale_factor=2, out=inference)


def test_autocast_leaves_out_alone() -> None:
    x, out = torch.randn(1, 1, 4, 4, 4).bfloat16(), torch.empty(1, 1, 2, 2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cupysample.interpolate(x, size=2, mode="area").dtype == torch.float32
        cupysample.warmup(x, size=2, mode="area", out=out)
        assert cupysample.interpolate(x, size=2, mode="area", out=out) is out


@pytest.mark.parametrize(
    "arguments",
    [{"size": True}, {"size": (7.0, 8.0)}, {"size": range(7, 9)}, {"scale_factor": "2"}, {"size": np.array([3, 4])}],
)
def test_operators_refuse_what_calls_refuse(arguments: dict[str, Any]) -> None:
    for device in ("cpu", "meta"):
        with pytest.raises(TypeError):
            cupysample.interpolate(torch.empty(1, 1, 2, 2, device=device), **arguments)


def under_a_level(f: Function) -> Function:
    def run(x: Tensor) -> Tensor:
        with fw.dual_level():
            return f(x)

    return run


def on_fake_tensors(f: Function) -> Function:
    def run(x: Tensor) -> Tensor:
        with FakeTensorMode() as mode:
            return f(mode.from_tensor(x))

    return run


WAYS: dict[str, Callable[[Function], Function]] = {
    "meta": lambda f: lambda x: f(x.to("meta")),
    "fake": on_fake_tensors,
    "level": under_a_level,
    "vmap": lambda f: lambda x: torch.func.vmap(f)(x[None]),
    "vmap of vmap": lambda f: lambda x: torch.func.vmap(torch.func.vmap(f))(torch.stack([x, x])[:, None]),
}


def compiled_in_parts(f: Function) -> Function:
    """Where Dynamo may break the graph."""
    torch._dynamo.reset()
    function: Function = torch.compile(f, backend="aot_eager")
    return function


def refusal(function: Function, x: Tensor) -> tuple[type[Exception], str]:
    with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
        function(x)
    return caught.type, str(caught.value)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("shape", "input_size", "dtype"),
    [
        ((2, 3, 5, 4), (2, 3, 2, 2), torch.float32),
        ((2, 3, 4), (2, 3, 2, 2), torch.float32),
        *(((2, 3, 4, 4), size, torch.float32) for size in [(7, 3, 2, 2), (4, 3, 2, 2), (2, 5, 2, 2), (2, 3, -2, 2)]),
        *(((2, 3, 4, 4), size, torch.float32) for size in [(2, 3, 2.0, 2), (2, 3, True, 2), (2, 3, 2), "size", 4]),
        ((2, 3, 4, 4), torch.tensor([2, 3, 2, 2]), torch.float32),
        ((2, 3, 4, 4), (2, 3, 2, 2), torch.int32),
    ],
)
def test_gradients_are_checked_in_every_way(
    way: Callable[[Function], Function], shape: tuple[int, ...], input_size: Any, dtype: torch.dtype
) -> None:
    def function(x: Tensor) -> Tensor:
        return cupysample.interpolate_backward(x, input_size, (4, 4))

    x = torch.ones(shape, dtype=dtype)
    assert refusal(way(function), x) == refusal(function, x)


@pytest.mark.parametrize("way", [*WAYS.values(), compiled_in_parts], ids=[*WAYS, "compile"])
@pytest.mark.parametrize(
    "arguments",
    [
        *({"size": size} for size in (True, (True, 2), torch.tensor(True), (torch.tensor(True), 2), np.bool_(True))),
        *({"size": size} for size in (3.0, "3", (3, 3, 3), torch.tensor([3, 3]), np.array([3]))),
        *({"size": 3, "mode": "bilinear", "align_corners": flag} for flag in (1, "no", torch.tensor(True))),
        *({"scale_factor": factor} for factor in ("2", torch.tensor(2.0), np.bool_(True), (2,))),
        {"size": 3, "scale_factor": 2},
        {"size": 3, "mode": 3},
        {},
    ],
)
def test_arguments_are_checked_in_every_way(way: Callable[[Function], Function], arguments: dict[str, Any]) -> None:
    """Those too that an operator takes for others, as it does a bool for an int."""

    def function(x: Tensor) -> Tensor:
        return cupysample.interpolate(x, **arguments)

    assert refusal(way(function), ONES) == refusal(function, ONES)


@pytest.mark.parametrize("way", [*WAYS.values(), compiled_in_parts], ids=[*WAYS, "compile"])
@pytest.mark.parametrize(
    "arguments",
    [
        *({"scale_factor": factor} for factor in (np.float64(2), np.float32(2), (np.float16(2), np.int64(2)))),
        *({"size": size} for size in (np.int64(4), (np.int64(4), np.uint8(4)), [np.int32(4), 4])),
        {"size": 4, "mode": "bilinear", "align_corners": np.bool_(True)},
        *({"size": 4, "mode": "bilinear", "antialias": flag} for flag in (np.bool_(True), "yes", 1)),
        {"scale_factor": 2.0, "mode": "bilinear", "recompute_scale_factor": np.bool_(True)},
    ],
)
def test_numpys_scalars_are_taken_in_every_way(way: Callable[[Function], Function], arguments: dict[str, Any]) -> None:
    def function(x: Tensor) -> Tensor:
        return cupysample.interpolate(x, **arguments)

    x = torch.arange(4.0).reshape(ONES.shape)
    y, expected = way(function)(x), function(x)
    assert y.shape[-4:] == expected.shape
    if type(y) is Tensor and not y.is_meta:
        assert torch.equal(y, expected.expand(y.shape))


EXTENTS: dict[str, Function] = {
    "extents": lambda x: cupysample.interpolate(x, size=(np.int64(5), 6)),
    "one extent": lambda x: cupysample.interpolate(x, size=np.int32(5)),
    "extents of an array": lambda x: cupysample.interpolate(x, size=tuple(np.array(x.shape[2:]) * 2)),
}
MADE_INSIDE: dict[str, Function] = EXTENTS | {
    "factor": lambda x: cupysample.interpolate(x, scale_factor=np.sqrt(2.0)),
    "factors": lambda x: cupysample.interpolate(x, scale_factor=[np.float64(2), np.float32(1.5)], mode="bilinear"),
    "flag": lambda x: cupysample.interpolate(x, size=5, mode="bilinear", align_corners=np.bool_(True)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", MADE_INSIDE)
def test_numpys_scalars_made_in_a_compiled_function(name: str) -> None:
    """Which are arrays without axes to Dynamo."""
    x = torch.arange(4.0).reshape(ONES.shape)
    assert torch.equal(compiled_in_parts(MADE_INSIDE[name])(x), MADE_INSIDE[name](x))


@pytest.mark.parametrize("name", EXTENTS)
def test_numpys_extents_are_recorded(name: str) -> None:
    """In one graph, as torch records them."""
    x = torch.arange(4.0).reshape(ONES.shape)
    assert torch.equal(compiled(EXTENTS[name])(x), EXTENTS[name](x))


ARRAYS_INSIDE: dict[str, Callable[[Any], Any]] = {
    "a call": lambda a: cupysample.interpolate(a, scale_factor=2, mode="bilinear"),
    "a module": cupysample.Upsample(scale_factor=2),
    "a gradient": lambda a: cupysample.interpolate_backward(a, (*a.shape[:2], 3, 3), size=a.shape[2:], mode="area"),
    "after a warmup": lambda a: cupysample.warmup(a, 5) or cupysample.interpolate(a, 5),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("name", ARRAYS_INSIDE)
def test_arrays_resampled_in_a_compiled_function(name: str) -> None:
    """Where the function came from outside, is made of a tensor, or is an argument: Dynamo takes NumPy's for tensors."""
    function, picture = ARRAYS_INSIDE[name], np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    expected = torch.from_numpy(function(picture))
    assert torch.equal(
        compiled_in_parts(lambda x: x + torch.from_numpy(function(picture)).sum())(ONES), ONES + expected.sum()
    )
    assert torch.equal(
        compiled_in_parts(lambda x: torch.from_numpy(function(x.numpy())))(torch.from_numpy(picture)), expected
    )
    assert torch.equal(compiled_in_parts(lambda a: torch.from_numpy(function(a)) * 1)(picture), expected)


def test_arrays_of_others_resampled_in_a_compiled_function() -> None:
    picture = jnp.arange(16.0).reshape(1, 1, 4, 4)
    found: list[Any] = []
    compiled_in_parts(lambda x: found.append(cupysample.interpolate(picture, 8)) or x + 1)(ONES)  # type: ignore[func-returns-value]
    np.testing.assert_array_equal(found[0], cupysample.interpolate(picture, 8))


def test_arrays_beside_a_torch_whose_tensors_cannot_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> None:
        raise ImportError("cannot import name")

    monkeypatch.setitem(sys.modules, "torch._dynamo", torch._dynamo)
    monkeypatch.setattr(_functional, "_tensors", lacking)
    assert cupysample.interpolate(np.ones((1, 1, 2, 2)), 4).tolist() == np.ones((1, 1, 4, 4)).tolist()


def test_batches_are_not_folded_into_others() -> None:
    """The operator by itself, as a graph has it."""
    operator = torch.ops.cupysample.interpolate_backward.default
    arguments = ([4, 4], None, "nearest", None, None, False)
    with pytest.raises(ValueError, match="input_size: must have the dimensions, batch and channels of grad_output"):
        torch.func.vmap(lambda g: operator(g, [7, 3, 2, 2], *arguments))(torch.ones(2, 2, 3, 4, 4))
    with pytest.raises(ValueError, match="input_size: must have the dimensions, batch and channels of grad_output"):
        operator(torch.ones(2, 3, 4, 4, device="meta"), [7, 3, 2, 2], *arguments)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize(
    ("layout", "way"),
    [(torch.strided, lambda f: f), (torch.jagged, lambda f: f), (torch.jagged, compiled_in_parts)],
    ids=["strided", "jagged", "jagged, compiled"],
)
def test_nested_tensors_are_refused(layout: torch.layout, way: Callable[[Any], Any]) -> None:
    x = torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4)], layout=layout)
    with pytest.raises(TypeError, match="input: must be one tensor of one shape, got a nested tensor"):
        way(lambda x: cupysample.interpolate(x, 2))(x)
    with pytest.raises(TypeError, match="grad_output: must be one tensor of one shape, got a nested tensor"):
        way(lambda x: cupysample.interpolate_backward(x, (2, 3, 2), 2))(x)


def test_classes_are_not_kept() -> None:
    def use() -> weakref.ref[type]:
        class Mine(torch.Tensor):  # type: ignore[misc]
            pass

        cupysample.interpolate(torch.ones(1, 1, 2, 2).as_subclass(Mine), scale_factor=2)
        return weakref.ref(Mine)

    kept = use()
    gc.collect()
    assert kept() is None


def test_results_lie_where_jaxs_input_did() -> None:
    """On the second of two CPU devices that share the memory."""
    text = """
import jax, numpy as np, cupysample
x = jax.device_put(np.ones((1, 1, 2, 2), np.float32), jax.devices()[1])
y = cupysample.interpolate(x, scale_factor=2)
assert y.device == x.device, y.device
assert float(jax.jit(lambda a, b: (a.sum() + b.sum()))(x, y)) == 20
"""
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", text], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
