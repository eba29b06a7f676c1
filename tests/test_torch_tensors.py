"""Tensors of torch: autograd in every form, ``torch.func``, ``torch.compile``, autocast, modules.

The reference is the plain call, which other tests hold to the definition; here the question is what torch makes of it.
"""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.library import opcheck

import cupysample
import cupysample.torch
from cupysample import _tensors, interpolate, interpolate_backward

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own use of it

MODES: dict[int, list[tuple[str, bool]]] = {
    1: [("nearest", False), ("nearest-exact", False), ("linear", False), ("cubic", True), ("area", False)],
    2: [("nearest", False), ("bilinear", False), ("bicubic", False), ("bilinear", True), ("lanczos", True)],
    3: [("nearest-exact", False), ("trilinear", False), ("tricubic", False), ("trilinear", True), ("area", False)],
}
CALLS: list[dict[str, Any]] = [
    {"size": (4, 3, 7)[:dimensions] if dimensions > 1 else 4, "mode": mode, "antialias": antialias}
    for dimensions, modes in MODES.items()
    for mode, antialias in modes
] + [
    {"scale_factor": 1.7, "mode": "bicubic"},
    {"scale_factor": (0.6, 2), "mode": "bilinear", "recompute_scale_factor": True},
    {"size": [9, 2], "mode": "bilinear", "align_corners": True},
]
IDS = ["-".join(str(v) for v in call.values()) for call in CALLS]


def dimensions_of(call: dict[str, Any]) -> int:
    """The number of spatial axes that a row of CALLS is for."""
    size = call.get("size", (0, 0))
    return len(size) if isinstance(size, list | tuple) else 1


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def input_for(call: dict[str, Any], dtype: torch.dtype = torch.float64) -> Tensor:
    return noise(2, 2, *(5, 4, 3)[: dimensions_of(call)], dtype=dtype)


@pytest.fixture
def compiler() -> Iterator[None]:
    """What other tests compiled is forgotten."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_gradcheck(call: dict[str, Any]) -> None:
    """First and second derivatives, backward and forward, batched: to finite differences at torch's own tolerance."""
    x = input_for(call).requires_grad_()
    function = lambda x: interpolate(x, **call)  # noqa: E731
    assert gradcheck(function, (x,), check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(function, (x,), check_fwd_over_rev=True)
    g = function(x).detach().requires_grad_()
    assert gradcheck(lambda g: interpolate_backward(g, x.shape, **call), (g,), check_forward_ad=True)


@pytest.mark.parametrize("call", CALLS, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64])
def test_the_gradient_is_interpolate_backward(call: dict[str, Any], dtype: torch.dtype) -> None:
    """To the bit, in any layout, through nodes before and after."""
    plain = input_for(call, dtype)
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(plain.ndim, torch.contiguous_format)
    for x in (plain, plain.to(memory_format=last), plain.repeat(1, 1, 2, *[1] * (plain.ndim - 3))[:, :, ::2]):
        leaf = x.detach().requires_grad_()
        y = interpolate(leaf, **call)
        g = noise(*y.shape, dtype=torch.complex64 if dtype.is_complex else torch.float32).to(dtype)
        y.backward(g)
        assert leaf.grad is not None
        assert torch.equal(y, interpolate(x, **call))
        assert torch.equal(leaf.grad, interpolate_backward(g, x.shape, **call))
        assert leaf.grad.dtype == dtype


def test_flags_are_read_in_every_call() -> None:
    """Whatever has a truth is taken, as in torch; it may change."""
    x, flag = noise(1, 1, 8, 8), torch.tensor(True)
    for antialias in (True, False):
        flag.fill_(antialias)
        expected = interpolate(x, size=3, mode="bilinear", antialias=antialias)
        assert torch.equal(interpolate(x, size=3, mode="bilinear", antialias=flag), expected)
        expected = interpolate(x, scale_factor=1.6, mode="bilinear", recompute_scale_factor=antialias)
        result = interpolate(x, scale_factor=1.6, mode="bilinear", recompute_scale_factor=flag)
        assert torch.equal(result, expected)


def test_no_gradient_no_graph() -> None:
    x = noise(1, 2, 4, 4).requires_grad_()
    for quiet in (torch.no_grad, torch.inference_mode):
        with quiet():
            assert not interpolate(x, 3).requires_grad
    assert not interpolate(x.detach(), 3).requires_grad
    assert interpolate(x, 3).requires_grad
    assert interpolate(nn.Parameter(x.detach()), 3).requires_grad
    integers = torch.arange(16).view(1, 1, 4, 4)
    assert interpolate(integers, 8).dtype == torch.int64
    with torch.inference_mode():
        inferred = x.detach().clone()
        assert interpolate(inferred, 3).is_inference()
    assert torch.equal(interpolate(inferred, 3), interpolate(x, 3))


def test_expanded_gradients() -> None:
    """The gradient of a sum is one number with strides of zero."""
    x = noise(2, 3, 4, 5).requires_grad_()
    interpolate(x, (7, 3), mode="bicubic").sum().backward()
    assert x.grad is not None
    ones = torch.ones(2, 3, 7, 3, dtype=x.dtype)
    assert torch.equal(x.grad, interpolate_backward(ones, x.shape, (7, 3), mode="bicubic"))


def test_batches_of_gradients() -> None:
    """Those of ``is_grads_batched`` are of another kind than the batches of ``torch.func``."""
    x = noise(2, 3, 4, 5).requires_grad_()
    y = interpolate(x, (7, 3), mode="bicubic")
    gradients = noise(4, *y.shape)
    (batched,) = torch.autograd.grad(y, x, gradients, is_grads_batched=True)
    each = [interpolate_backward(gradient, x.shape, (7, 3), mode="bicubic") for gradient in gradients]
    torch.testing.assert_close(batched, torch.stack(each))


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_torch_func(call: dict[str, Any]) -> None:
    """grad, vjp, jvp, vmap over any axis, and their compositions."""
    x = input_for(call)
    function = lambda x: interpolate(x, **call)  # noqa: E731
    y = function(x)
    cost = lambda x: function(x).square().sum()  # noqa: E731
    expected = interpolate_backward(2 * y, x.shape, **call)
    torch.testing.assert_close(torch.func.grad(cost)(x), expected)
    torch.testing.assert_close(torch.func.vjp(function, x)[1](2 * y)[0], expected)
    value, tangent = torch.func.jvp(function, (x,), (3 * x,))
    assert torch.equal(value, y)
    torch.testing.assert_close(tangent, 3 * y)
    stack = torch.stack([x, -x, 2 * x])
    for axis in range(3):
        batched = torch.func.vmap(function, in_dims=axis)(stack.movedim(0, axis))
        torch.testing.assert_close(batched, torch.stack([y, -y, 2 * y]))
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(cost))(stack)[2], 2 * expected)
    small = x[:1, :1]
    jacobian = torch.func.jacrev(function)(small)
    torch.testing.assert_close(torch.func.jacfwd(function)(small), jacobian)
    assert torch.func.hessian(cost)(small).shape == (*small.shape, *small.shape)


def test_forward_mode() -> None:
    x = noise(1, 2, 4, 5)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, 2 * x)
        value, tangent = forward_ad.unpack_dual(interpolate(dual, (3, 9), mode="bilinear"))
    assert tangent is not None
    torch.testing.assert_close(tangent, 2 * value)


@pytest.mark.parametrize("words", ["size", "scale_factor", "extents", "tensor"])
def test_the_gradient_is_of_the_size_of_the_call(words: str) -> None:
    """What the caller makes of a list or tensor afterwards is not its."""
    calls: dict[str, dict[str, Any]] = {
        "size": {"size": [6, 6]},
        "scale_factor": {"scale_factor": [1.5, 1.5]},
        "extents": {"size": (torch.tensor(6), torch.tensor(6))},
        "tensor": {"size": torch.tensor(6)},
    }
    given = calls[words]
    x = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4).requires_grad_()
    y = interpolate(x, **given, mode="bilinear")
    for value in given.values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, list):
                each[0] += 0.1 if words == "scale_factor" else 2
            else:
                each.add_(2)
    weights = torch.arange(36.0).reshape(1, 1, 6, 6)
    (gradient,) = torch.autograd.grad((y * weights).sum(), x)
    fixed: dict[str, Any] = {"scale_factor": (1.5, 1.5)} if words == "scale_factor" else {"size": (6, 6)}
    assert torch.equal(gradient, interpolate_backward(weights, x.shape, **fixed, mode="bilinear"))


def test_zeros_without_memory() -> None:
    """Derivatives of signs, as where the gradient of an absolute loss is itself penalised."""
    zeros = torch._efficientzerotensor(1, 2, 4, 4)
    assert zeros._is_zerotensor()
    assert torch.equal(cupysample.interpolate(zeros, scale_factor=2), torch.zeros(1, 2, 8, 8))
    assert torch.equal(cupysample.interpolate_backward(zeros, (1, 2, 2, 2), (4, 4)), torch.zeros(1, 2, 2, 2))
    cupysample.warmup(zeros, scale_factor=2, backward=True)

    def penalised(function: Any) -> Any:
        x = torch.linspace(-1, 1, 32).reshape(1, 2, 4, 4).requires_grad_()
        y = function(x, scale_factor=2, mode="bilinear")
        (gradient,) = torch.autograd.grad((y.abs() + y * y).sum(), x, create_graph=True)
        gradient.pow(2).sum().backward()
        return x.grad

    torch.testing.assert_close(penalised(cupysample.interpolate), penalised(F.interpolate))
    x = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)
    loss = torch.autograd.functional.hessian(lambda x: cupysample.interpolate(x, (3, 5), mode="area").abs().sum(), x)
    assert torch.equal(loss, torch.zeros(1, 1, 4, 4, 1, 1, 4, 4))


class Cut(torch.autograd.Function):
    """What has no gradient, which is not one of zeros."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(*_: Any) -> None:
        return None


@pytest.mark.parametrize("level", [nullcontext, forward_ad.dual_level])
@pytest.mark.parametrize("function", [interpolate, F.interpolate])
def test_undefined_gradients_stay_undefined(function: Any, level: Any) -> None:
    """First and second, of the function and of the operator."""
    x = noise(1, 1, 4, 4).requires_grad_()
    with level():
        y = function(x, scale_factor=2)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        for each in (y, gradient):
            assert torch.autograd.grad(Cut.apply(each).sum(), x, allow_unused=True) == (None,)


def test_lazy_conjugates_have_gradients() -> None:
    z = noise(1, 2, 4, 5, dtype=torch.complex128).requires_grad_()
    assert z.conj().is_conj()
    assert gradcheck(lambda z: interpolate(z.conj(), (3, 9), mode="bilinear"), (z,))


def test_subclasses_and_function_modes() -> None:
    """Tensor subclasses come back as such; a mode of ``__torch_function__`` sees the call."""

    class Named(Tensor):
        pass

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(function)
            return function(*args, **(kwargs or {}))

    seen: list[Any] = []
    x = noise(1, 1, 2, 2)
    assert type(interpolate(x.as_subclass(Named), scale_factor=2)) is Named
    assert type(interpolate_backward(x.as_subclass(Named), (1, 1, 3, 3), 2)) is Named
    large, small = (torch.zeros(1, 1, n, n, dtype=x.dtype).as_subclass(Named) for n in (4, 2))
    assert interpolate(x.as_subclass(Named), scale_factor=2, out=large) is large
    assert interpolate_backward(large, x.shape, 4, out=small) is small
    assert torch.equal(small, 4 * x)
    with Mode():
        interpolate(x, scale_factor=2)
        interpolate_backward(x, (1, 1, 3, 3), 2)
    assert [each for each in seen if each in (interpolate, interpolate_backward)] == [interpolate, interpolate_backward]


# ---------------------------------------------------------------------------------------------------------------------
# out=


def test_out_of_a_tensor() -> None:
    """Not differentiable, as in torch; autograd notices that it was written."""
    x, out = noise(1, 2, 3, 3), noise(1, 2, 6, 6)
    version = out._version
    assert interpolate(x, scale_factor=2, out=out) is out
    assert out._version == version + 1
    leaf = x.clone().requires_grad_()
    for wrong in ({"input": leaf, "out": out}, {"input": x, "out": out.clone().requires_grad_()}):
        with pytest.raises(
            RuntimeError, match=r"functions with out=\.\.\. arguments don't support automatic different"
        ):
            interpolate(scale_factor=2, **wrong)
    with torch.no_grad():
        interpolate(leaf, scale_factor=2, out=out)
    with pytest.raises(RuntimeError, match=r"functions with out=\.\.\. arguments can't be transformed"):
        torch.func.vmap(lambda x: interpolate(x, scale_factor=2, out=out))(x[None])
    with torch.inference_mode():
        inferred = torch.empty(1, 2, 6, 6, dtype=x.dtype)
        interpolate(x, scale_factor=2, out=inferred)
    assert torch.equal(inferred, out)


def test_a_saved_tensor_that_was_overwritten_is_noticed() -> None:
    w = noise(1, 1, 4, 4).requires_grad_()
    saved = noise(1, 1, 4, 4)
    y = (w * saved).sum()
    interpolate(noise(1, 1, 2, 2), scale_factor=2, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


# ---------------------------------------------------------------------------------------------------------------------
# Compiled, traced, exported


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_opcheck(call: dict[str, Any]) -> None:
    """Schema, autograd, fake tensors and dynamic shapes of both operators, for contiguous and channels_last inputs."""
    x = input_for(call)
    factor, size = call.get("scale_factor"), call.get("size")
    axes = dimensions_of(call)
    arguments = (
        None if size is None else list(size) if isinstance(size, list | tuple) else [size],
        None if factor is None else [float(f) for f in (factor if isinstance(factor, tuple) else [factor] * axes)],
        call["mode"],
        call.get("align_corners"),
        call.get("recompute_scale_factor"),
        call.get("antialias", False),
    )
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.contiguous_format)
    for each in (x, x.to(memory_format=last)):
        opcheck(torch.ops.cupysample.interpolate.default, (each.detach().requires_grad_(), *arguments))
        y = interpolate(each, **call).requires_grad_()
        opcheck(torch.ops.cupysample.interpolate_backward.default, (y, list(x.shape), *arguments))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("call", CALLS[::3], ids=IDS[::3])
def test_compile(call: dict[str, Any]) -> None:
    """One graph, forward and backward; same bits, same strides."""
    function = lambda x: interpolate(x * 2, **call) + 1  # noqa: E731
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    x = input_for(call, torch.float32)
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.contiguous_format)
    for each in (x, x.to(memory_format=last)):
        a, b = (each.detach().requires_grad_() for _ in range(2))
        y, expected = compiled(a), function(b)
        assert torch.equal(y, expected)
        assert y.stride() == expected.stride()
        y.square().sum().backward()
        expected.square().sum().backward()
        assert a.grad is not None
        assert torch.equal(a.grad, b.grad)


@pytest.mark.usefixtures("compiler")
def test_compile_with_inductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # what another torch left there may not compile
    function = lambda x: interpolate(x * 2, scale_factor=2, mode="bilinear") + 1  # noqa: E731
    x = noise(1, 2, 5, 6, dtype=torch.float32)
    torch.testing.assert_close(torch.compile(function, fullgraph=True)(x), function(x))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    "function",
    [
        lambda x, _: interpolate(x, scale_factor=2.0, mode="bilinear"),
        lambda x, size: interpolate(x, size=size, mode="bilinear", antialias=True),
        lambda x, size: interpolate(x, size=size[0], mode="bicubic"),
        lambda x, _: interpolate(x[:, :, 1:], size=x.shape[2:]),
    ],
    ids=["scale", "sizes", "size", "symbolic"],
)
def test_thirty_sizes_are_at_most_two_graphs(function: Callable[..., Tensor]) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for n in range(30):
        x, size = noise(2, 3, 6 + n, 40 - n), (3 + 2 * n, 90 - n)
        y, expected = compiled(x, size), function(x, size)
        assert torch.equal(y, expected)
        assert y.stride() == expected.stride()
    assert counter.frame_count <= 2


@pytest.mark.usefixtures("compiler")
def test_transforms_under_compile_are_right() -> None:
    """In one graph."""
    compiled = partial(torch.compile, fullgraph=True, backend="aot_eager")
    x = noise(1, 2, 4, 4)
    function = lambda x: interpolate(x, scale_factor=2, mode="bilinear")  # noqa: E731
    cost = lambda x: function(x).square().sum()  # noqa: E731
    for transformed in (
        torch.func.grad(cost),
        lambda x: torch.func.jvp(function, (x,), (3 * x,))[1],
        lambda x: torch.func.vmap(torch.func.grad(cost))(x[None]),
    ):
        torch.testing.assert_close(compiled(transformed)(x), transformed(x))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, 3 * x)
        try:
            compiled(torch.sin)(dual)
        except torch._dynamo.exc.Unsupported:  # whatever the function, from torch 2.15 on
            return
        tangent = forward_ad.unpack_dual(compiled(function)(dual)).tangent
    assert tangent is not None
    torch.testing.assert_close(tangent, function(3 * x))


@pytest.mark.usefixtures("compiler")
def test_only_what_the_compiler_watches_is_hidden_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimisers import ``torch._dynamo``, so most calls are made beside it: they take the straight way."""
    hidden: dict[Any, Any] = {}
    monkeypatch.setattr(_tensors, "_hidden", hidden)
    assert "torch._dynamo" in sys.modules
    x = noise(1, 1, 4, 4).requires_grad_()
    interpolate(x, scale_factor=2).sum().backward()
    interpolate(x.detach(), scale_factor=2, out=noise(1, 1, 8, 8))
    assert not hidden
    monkeypatch.setattr(_tensors, "_watching", lambda: print)
    interpolate(x.detach(), scale_factor=2)
    assert hidden


@pytest.mark.usefixtures("compiler")
def test_errors_under_compile_are_the_calls_own() -> None:
    compiled = torch.compile(lambda x: interpolate(x, 4, mode="bilinear"), backend="eager")
    with pytest.raises(NotImplementedError, match="Got 3D input, but bilinear mode needs 4D input"):
        compiled(noise(1, 1, 4))


def test_meta_fake_traced_and_exported() -> None:
    from torch._subclasses import FakeTensorMode

    x = noise(1, 2, 4, 5, dtype=torch.float32)
    function = lambda x: interpolate(x, scale_factor=2, mode="bilinear")  # noqa: E731
    meta = function(x.to("meta").to(memory_format=torch.channels_last))
    assert meta.is_meta
    assert meta.shape == (1, 2, 8, 10)
    assert meta.is_contiguous(memory_format=torch.channels_last)
    for called in (interpolate, cupysample.warmup):
        with pytest.raises(ValueError, match="only one of size or scale_factor"):
            called(x.to("meta"), 3, 2)
        with pytest.raises(RuntimeError, match=r"functions with out=\.\.\. arguments can't be transformed"):
            called(x.to("meta"), 3, out=x.to("meta"))
    cupysample.warmup(x.to("meta"), scale_factor=2, backward=True)
    with pytest.raises(NotImplementedError, match="only float and complex dtypes have gradients"):
        cupysample.warmup(x.int(), scale_factor=2, backward=True)
    with FakeTensorMode():
        assert function(torch.empty(1, 2, 4, 5)).shape == (1, 2, 8, 10)
    traced = torch.jit.trace(function, (x,))
    assert torch.equal(traced(3 * x), function(3 * x))
    exported = torch.export.export(cupysample.torch.Upsample(scale_factor=2.0), (x,))
    assert torch.ops.cupysample.interpolate.default in [node.target for node in exported.graph.nodes]
    assert torch.equal(exported.module()(x), interpolate(x, scale_factor=2))


# ---------------------------------------------------------------------------------------------------------------------
# Autocast


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8])
def test_autocast_gives_torchs_dtype(dtype: torch.dtype) -> None:
    """On a CPU torch widens one of these: area in 3-D."""
    others = [(1, "nearest"), (1, "linear"), (1, "area"), (2, "bilinear"), (2, "area")]
    for dimensions, mode in [*others, (3, "nearest"), (3, "trilinear"), (3, "area")]:
        if dtype == torch.uint8 and mode != "nearest":
            continue
        x = torch.ones(1, 2, *[4] * dimensions).to(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            y, expected = (each(x, scale_factor=2, mode=mode) for each in (interpolate, F.interpolate))
        assert y.dtype == expected.dtype, mode
        assert interpolate(x, scale_factor=2, mode=mode).dtype == dtype, mode


def test_gradients_of_widened_inputs() -> None:
    x = torch.ones(1, 1, 4, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        interpolate(x, scale_factor=2, mode="area").sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert torch.equal(x.grad, torch.full_like(x, 8))


def test_autocast_on_cuda_widens_upsampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """``ATen/autocast_mode.h``: every upsample operator is float32 there, the pools behind area are not."""

    class Cuda:
        dtype, device = torch.float16, torch.device("cuda")

        def dim(self) -> int:
            return 4

        def float(self) -> str:
            return "widened"

    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    tensor: Any = Cuda()
    for mode in cupysample._plan.MODES:
        widened = _tensors._cast(tensor, mode)
        assert (widened == "widened") == (mode != "area")


# ---------------------------------------------------------------------------------------------------------------------
# Modules


class Net(nn.Module):
    """Upsampling modules in every place a model keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.blocks = nn.ModuleList([nn.Conv2d(2, 2, 1), nn.UpsamplingNearest2d(size=(12, 9))])
        self.shared = self.up
        self.last = nn.Sequential(nn.UpsamplingBilinear2d(scale_factor=2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.up(x))
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def test_patch_and_unpatch() -> None:
    """In place and back: the same objects, parameters, hooks, results."""
    model = Net()
    x = noise(1, 2, 3, 4, dtype=torch.float32)
    expected = model(x)
    before, text = list(model.modules()), repr(model)
    kinds = [(each, type(each)) for each in before]
    seen = []
    model.up.register_forward_hook(lambda *_: seen.append(1))
    assert cupysample.torch.patch(model) is model
    assert list(model.modules()) == before
    assert repr(model) == text
    assert {type(each).__module__ for each in before if isinstance(each, nn.Upsample)} == {"cupysample.torch"}
    assert [isinstance(each, kind) for each, kind in kinds] == [True] * len(kinds)
    torch.testing.assert_close(model(x), expected)
    assert len(seen) == 2
    assert isinstance(cupysample.torch.patch(nn.Upsample(scale_factor=2)), cupysample.torch.Upsample)
    assert cupysample.torch.unpatch(model) is model
    assert {type(each).__module__ for each in before if isinstance(each, nn.Upsample)} == {
        "torch.nn.modules.upsampling"
    }
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("change", [cupysample.torch.patch, cupysample.torch.unpatch])
def test_only_modules_are_patched(change: Callable[[Any], Any]) -> None:
    for model in (3, [nn.Upsample(2)], nn.Upsample):
        with pytest.raises(TypeError, match=re.escape(f"model: must be an nn.Module, got {model!r}")):
            change(model)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("mode", ["eager", "recorded"])
def test_a_profiler_sees_calls(mode: str, grad: bool) -> None:
    """By the name of the operator, once."""
    x = noise(1, 1, 4, 4).requires_grad_(grad)
    called = (
        interpolate
        if mode == "eager"
        else lambda x, _: torch.ops.cupysample.interpolate(x, [8, 8], None, "nearest", None, None, False)
    )
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        y = called(x, 8)
        if grad:
            y.sum().backward()
    names = [event.name for event in profile.events() if event.name.startswith("cupysample::")]
    expected = ["cupysample::interpolate"] + ["cupysample::interpolate_backward"] * grad
    assert sorted(names) == expected


def test_patch_leaves_subclasses_alone() -> None:
    class Mine(nn.Upsample):
        pass

    model = nn.Sequential(Mine(scale_factor=2), nn.Upsample(scale_factor=2))
    cupysample.torch.patch(model)
    assert [type(each) for each in model] == [Mine, cupysample.torch.Upsample]

    class Ours(cupysample.torch.Upsample):
        pass

    assert type(cupysample.torch.unpatch(Ours(scale_factor=2, antialias=True))) is Ours


@pytest.mark.parametrize("lacking", [{"antialias": True}, {"mode": "cubic"}, {"mode": "tricubic"}])
def test_unpatch_refuses_what_torch_cannot_do(lacking: dict[str, Any]) -> None:
    model = nn.Sequential(cupysample.torch.Upsample(size=3), cupysample.torch.Upsample(size=3, **lacking))
    ((name, value),) = lacking.items()
    with pytest.raises(ValueError, match=f"^model: 1 has {name}={value!r}, which torch.nn.Upsample lacks"):
        cupysample.torch.unpatch(model)
    assert all(type(each) is cupysample.torch.Upsample for each in model)
    with pytest.raises(ValueError, match=f"^model: it has {name}={value!r}, which"):
        cupysample.torch.unpatch(model[1])


def test_modules_are_nn_modules() -> None:
    """``nn.Upsample`` and more: arguments, ``repr``, copies, pickles, state."""
    up = cupysample.torch.Upsample(scale_factor=[1.5, 2], mode="bicubic", antialias=True)
    assert isinstance(up, nn.Upsample)
    assert repr(up) == "Upsample(scale_factor=(1.5, 2.0), mode='bicubic', antialias=True)"
    assert repr(cupysample.torch.UpsamplingBilinear2d(3)) == repr(nn.UpsamplingBilinear2d(3))
    x = noise(1, 1, 4, 4)
    for each in (up, copy.deepcopy(up), pickle.loads(pickle.dumps(up))):
        assert torch.equal(each(x), interpolate(x, None, (1.5, 2.0), "bicubic", antialias=True))
    recomputed: dict[str, Any] = {"scale_factor": 1.6, "mode": "bilinear", "recompute_scale_factor": True}
    for ours, theirs in (
        (cupysample.torch.Upsample(**recomputed), nn.Upsample(**recomputed)),
        (cupysample.torch.UpsamplingNearest2d(scale_factor=3), nn.UpsamplingNearest2d(scale_factor=3)),
        (cupysample.torch.UpsamplingBilinear2d((7, 2)), nn.UpsamplingBilinear2d((7, 2))),
    ):
        torch.testing.assert_close(ours(x), theirs(x))
    assert torch.equal(cupysample.Upsample(scale_factor=2)(x), interpolate(x, scale_factor=2))


@pytest.mark.parametrize("factor", [[], 0, None])
def test_no_factor_is_none(factor: Any) -> None:
    """As torch has it."""
    for kind in (cupysample.torch.Upsample, cupysample.Upsample, nn.Upsample):
        with pytest.raises(ValueError, match="either size or scale_factor should be defined"):
            kind(scale_factor=factor)(noise(1, 1, 2, 2))


def test_patched_modules_are_exported_and_unpatched_ones_scripted(tmp_path: Path) -> None:
    """A saved export needs ``cupysample.torch``, unless it was unpatched."""
    model, x = cupysample.torch.patch(nn.Sequential(nn.Upsample(scale_factor=2.0))), noise(1, 1, 2, 2)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "patched.pt2")
    with pytest.raises(Exception, match="can't take variable number of arguments or use keyword-only"):
        torch.jit.script(model)
    expected = torch.jit.script(cupysample.torch.unpatch(model))(x)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "unpatched.pt2")
    torch.save((x, expected), tmp_path / "expected.pt")
    program = """
import sys, torch
x, expected = torch.load("expected.pt")
assert torch.equal(torch.export.load("unpatched.pt2").module()(x), expected) and "cupysample" not in sys.modules
import cupysample.torch
assert torch.equal(torch.export.load("patched.pt2").module()(x), expected)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, cwd=tmp_path)


def test_loaded_by_name_or_by_the_first_tensor() -> None:
    """``cupysample.torch`` and what serves tensors import torch; nothing else does, and nothing imports its compiler."""
    program = """
import sys, cupysample
assert "torch" not in sys.modules
import numpy, torch
cupysample.interpolate(numpy.ones((1, 1, 2)), 4)
assert "cupysample._tensors" not in sys.modules
cupysample.interpolate(torch.ones(1, 1, 2), 4)
assert "cupysample._tensors" in sys.modules and not {"cupysample.torch", "torch._dynamo"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    program = """
import cupysample, torch
compiled = torch.compile(lambda x: cupysample.interpolate(x, 4), fullgraph=True, backend="eager")
assert compiled(torch.ones(1, 1, 2)).shape == (1, 1, 4)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    program = "import sys, cupysample; cupysample.torch.Upsample; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="module 'cupysample' has no attribute 'tensorflow'"):
        cupysample.tensorflow  # type: ignore[attr-defined]  # noqa: B018


def test_zero_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels read a tensor's own memory and write the result's: pointers, whatever the strides and dtype."""
    from cupysample._program import Program

    seen: list[tuple[int, int]] = []
    run = Program.run

    def spy(program: Program, source: Any, out: Any, threads: Any) -> None:
        seen.append((source.ctypes.data, out.ctypes.data))
        run(program, source, out, threads)

    monkeypatch.setattr(Program, "run", spy)
    base = noise(4, 3, 6, 8, dtype=torch.float32)
    for dtype in (torch.float32, torch.bfloat16, torch.complex64, torch.uint8):
        for x in (
            base,
            base.to(memory_format=torch.channels_last),
            base[1:, :, ::2, 3:],
            base[:, :1].expand(4, 3, 6, 8),
        ):
            t = x.to(dtype) if dtype != x.dtype else x
            y = interpolate(t, size=(5, 5))
            assert seen[-1] == (t.data_ptr(), y.data_ptr())
            if t.is_floating_point() or t.is_complex():
                t = t.detach().requires_grad_()
                y = interpolate(t, size=(5, 5))
                assert seen[-1] == (t.data_ptr(), y.data_ptr())


def test_results_are_allocated_as_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its compiled code calls, and by its public name where there is no such thing."""
    own = cupysample._arrays._torch_empty(False)
    monkeypatch.delattr(torch._C._dynamo.guards, "_empty_strided_cpu")
    public = cupysample._arrays._torch_empty.__wrapped__(False)
    assert own is not public
    for shape, strides in (((2, 3, 4, 5), (60, 20, 5, 1)), ((2, 3, 4, 5), (60, 1, 15, 3)), ((0, 3, 4), (12, 4, 1))):
        for dtype in (torch.float32, torch.bfloat16, torch.complex64, torch.uint8, torch.bool):
            made = (empty(shape, strides, dtype) for empty in (own, public))
            x, y = ((type(x), x.shape, x.stride(), x.dtype, x.device, x.requires_grad) for x in made)
            assert x == y
    with torch.inference_mode():
        assert own((1,), (1,), torch.float32).is_inference()
    assert not own((1,), (1,), torch.float32).is_inference()
