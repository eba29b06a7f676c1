"""Trials: random calls over every argument, and what becomes of each; ``tests.fuzz`` makes them by the million.

A ``Trial`` is a case with all else that may matter: magnitudes, values that are not finite, strides without a pattern,
where the result goes, how arguments are spelt, threads, tiles. ``check`` runs one along its ``path``; it is data, so a
failure is one line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import cupysample
from cupysample import _blocks, _copies, _interpolate, _numpy, _sums, _threads, _ways
from tests import bounds, cases, launches, oracle, torch_answers
from tests.cases import Case
from tests.host.harness import HostKernels
from tests.known_differences import DIFFERENCES

T = TypeVar("T")

LAYOUTS = (*cases.LAYOUTS, "strided")
SPELLINGS = ("tuple", "list", "numpy", "scalar", "float")
TILES = (0, 256, 4096)
"""Bytes of a tile of the NumPy path; 0: as it is."""
ELEMENTS = ((2**11, 0.94), (2**15, 0.055), (2**20, 0.005))
"""The most elements of an input or an output, and how often that is the bound."""
MACS = 2**20
"""The most numbers of a dense matrix of the oracle's."""
EXPONENTS = {"float16": (-24, 12), "bfloat16": (-133, 117), "float32": (-149, 117), "float64": (-400, 400)}
EXPONENTS |= {"complex64": EXPONENTS["float32"], "complex128": EXPONENTS["float64"]}
"""Powers of two between which magnitudes lie: from subnormals to where a sum of 4-tap cubics does not overflow. A wider
range of float64 is beyond the float64 arithmetic of the bound."""
SEEDS, SEEDS_ELEMENTS = 64, 2**12
"""With how many other values a smaller trial is tried, and of how many elements all these are together at most."""
JUNK = 0xAB


@dataclass(frozen=True)
class Trial(Case):
    """A call along a path.

    path:      a key of ``PATHS``.
    exponent:  values are multiplied by this power of two, if they are floats.
    special:   the share of pixels that are not finite.
    strided:   whether the result goes into an ``out`` without a pattern in its strides.
    spelling:  of the size or factor.
    threads:   of the NumPy path; elsewhere the order of threads of a kernel.
    tile:      a row of ``TILES``.
    blocks:    of a kernel along each axis of its grid, at most; 0: as launched.
    """

    path: str = "numpy"
    exponent: int = 0
    special: float = 0.0
    strided: bool = False
    spelling: str = "tuple"
    threads: int = 1
    tile: int = 0
    blocks: int = 0

    @property
    def cell(self) -> tuple[str, int, str, str]:
        """Mode, dimension, dtype, layout."""
        return self.mode, len(self.spatial), self.dtype, self.layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the input."""
        return *self.batch, *self.spatial

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Of the output."""
        return *self.batch, *oracle.output_size(self.spatial, self.size, self.scale_factor)

    @property
    def spelt(self) -> dict[str, Any]:
        """The arguments as they are passed: other spellings of the same values."""
        name = "size" if self.scale_factor is None else "scale_factor"
        values: Any = self.size if self.scale_factor is None else self.scale_factor
        if self.spelling == "list":
            values = list(values)
        elif self.spelling == "numpy":
            values = [np.int32(n) if name == "size" else np.float64(n) for n in values]
        elif self.spelling == "scalar" and len(set(values)) == 1:
            values = values[0]
        elif self.spelling == "float" and name == "scale_factor":
            values = tuple(int(n) if n == int(n) else n for n in values)
        return self.arguments | {name: values}

    def values(self) -> NDArray[Any]:
        """The values of the input, C-contiguous."""
        return self.varied(self.shape)

    def varied(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Values of this trial's dtype and magnitude."""
        rng = np.random.default_rng(self.seed)
        x = cases.values(rng, shape, self.dtype)
        if self.dtype not in cases.FLOATS:
            return x
        if self.exponent:
            wide = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
            x = (wide * 2.0**self.exponent).astype(x.dtype)
        if self.special:
            chosen = rng.random(shape) < self.special
            x[chosen] = rng.choice([np.nan, np.inf, -np.inf], int(chosen.sum()))
        return x

    def laid_out(self, x: NDArray[Any]) -> NDArray[Any]:
        """An array in this trial's layout, read-only."""
        if self.layout == "strided":
            _, view = strided(np.random.default_rng([self.seed, 1]), x.shape, x.dtype)
            view[...] = x
            x = view
        else:
            x = cases.lay_out(x, self.layout)
        x.flags.writeable = False
        return x

    def input(self) -> NDArray[Any]:
        """The input, read-only."""
        return self.laid_out(self.values())

    def gradient(self) -> NDArray[Any]:
        """A gradient of the output, read-only."""
        return self.laid_out(self.varied(self.out_shape))

    def json(self) -> str:
        """One line from which ``parse`` makes it again; what is as by default is left out."""
        return json.dumps(
            {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default or f.name == "seed"}
        )


def parse(line: str) -> Trial:
    """The trial that ``Trial.json`` wrote."""
    named: dict[str, Any] = json.loads(line)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in named.items()}
    return Trial(**values)


def strided(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Memory full of junk, and a view of some of it: axes in any order, either direction, gaps between elements."""
    strides, step = [0] * len(shape), dtype.itemsize
    room = 4 if math.prod(shape) <= 1 << 16 else 1
    for d in rng.permutation(len(shape)):
        strides[d] = step * int(rng.integers(1, room + 1) if rng.random() < 0.4 else 1)
        step = strides[d] * max(1, shape[d])
    offset = dtype.itemsize * int(rng.integers(0, 4))
    memory = np.full(offset + step, JUNK, np.uint8)
    for d in range(len(shape)):
        if rng.random() < 0.3:
            offset += strides[d] * max(0, shape[d] - 1)
            strides[d] = -strides[d]
    return memory, np.ndarray(shape, dtype, memory.data, offset, tuple(strides))


class Destination:
    """An ``out``, and the proof that nothing beside it was written."""

    def __init__(self, trial: Trial, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.memory, self.out = strided(np.random.default_rng([trial.seed, 2]), shape, dtype)

    def check(self) -> None:
        """Every byte that is no element's is as it was."""
        offset = self.out.ctypes.data - self.memory.ctypes.data
        shape, strides = (*self.out.shape, self.out.itemsize), (*self.out.strides, 1)
        np.ndarray(shape, np.uint8, self.memory.data, offset, strides)[...] = JUNK
        assert (self.memory == JUNK).all(), "bytes beside out were written"


@contextmanager
def destination(trial: Trial, shape: tuple[int, ...], x: NDArray[Any]) -> Iterator[NDArray[Any] | None]:
    """Where a result of the dtype of ``x`` goes: None for a new array, or an ``out``, junk again in the end."""
    if not trial.strided:
        yield None
        return
    made = Destination(trial, shape, x.dtype.newbyteorder("="))
    yield made.out
    made.check()


# ---------------------------------------------------------------------------------------------------------------------
# Paths


def compare(trial: Trial, x: NDArray[Any], y: NDArray[Any]) -> None:
    """To the definition: to the bit for copies and integers, within the bound for floats."""
    expected = oracle.interpolate(x, **trial.arguments)
    assert y.shape == expected.shape, f"shape {y.shape}, expected {expected.shape}"
    assert y.dtype == x.dtype.newbyteorder("="), f"dtype {y.dtype}"
    if trial.dtype in cases.FLOATS and trial.mode not in cases.POINT:
        tolerance = bounds.bound(x, dtype=trial.dtype, **trial.arguments)
        bounds.assert_within(y, expected, tolerance, sane=1)
    else:
        assert y.tobytes() == expected.astype(y.dtype).tobytes(), "other bits than the definition's"


def compare_gradient(trial: Trial, g: NDArray[Any], y: NDArray[Any]) -> None:
    """To the definition's transposed matrices."""
    expected = oracle.backward(g, trial.spatial, **trial.arguments)
    assert y.dtype == g.dtype.newbyteorder("="), f"dtype {y.dtype}"
    tolerance = bounds.backward_bound(g, trial.spatial, dtype=trial.dtype, **trial.arguments)
    bounds.assert_within(y, expected, tolerance, sane=1)


def on_numpy(trial: Trial) -> None:
    """The NumPy path."""
    x = trial.input()
    compare(trial, x, _on_numpy(trial, x, None))


def gradient_on_numpy(trial: Trial) -> None:
    """The gradient on the NumPy path."""
    g = trial.gradient()
    compare_gradient(trial, g, _on_numpy(trial, g, trial.shape))


def _on_numpy(trial: Trial, x: NDArray[Any], input_size: tuple[int, ...] | None) -> NDArray[Any]:
    """Resample in so many threads, then in one: the same bits, or in ``out`` another layout's."""
    shape = trial.out_shape if input_size is None else input_size
    with pytest.MonkeyPatch.context() as patch:
        if trial.tile:
            _forget()
            for module in (_copies, _sums, _ways):
                patch.setattr(module, "TILE_BYTES", trial.tile)
            patch.setattr(_copies, "AT_ONCE_TILE", trial.tile)
        patch.setattr(_threads, "_chosen", [trial.threads])
        y: NDArray[Any] = _call(trial, x, input_size, None)
        patch.setattr(_threads, "_chosen", [1])
        with destination(trial, shape, x) as out:
            again: NDArray[Any] = _call(trial, x, input_size, out)
            assert out is None or again is out
            again = again.copy() if trial.strided else again
    if trial.tile:
        _forget()
    if trial.strided and trial.dtype in cases.FLOATS and (trial.mode not in cases.POINT or trial.path in GRADIENTS):
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(again))
    else:
        assert again.tobytes() == y.tobytes(), "other bits with another number of threads or in out="
    return again


def _call(trial: Trial, x: Any, input_size: tuple[int, ...] | None, out: Any) -> Any:
    if input_size is None:
        return cupysample.interpolate(x, **trial.spelt, out=out)
    return cupysample.interpolate_backward(x, input_size, **trial.spelt, out=out)


def _forget() -> None:
    """Programs made for tiles of another size, and their matrices."""
    _interpolate._calls.clear()
    _numpy._programs.clear()
    _blocks._matrices.clear()


@cache
def kernels() -> HostKernels:
    """Every instance, compiled with g++."""
    return launches.build_all()


def on_kernels(trial: Trial) -> None:
    """The kernels' text on the CPU."""
    x = trial.input()
    with destination(trial, trial.out_shape, x) as out:
        y = launches.run(kernels(), x, order=trial.threads, blocks=trial.blocks, out=out, **trial.arguments)
        compare(trial, x, y.copy())


def gradient_on_kernels(trial: Trial) -> None:
    """The gradient by the kernels' text on the CPU."""
    g = trial.gradient()
    with destination(trial, trial.shape, g) as out:
        options: dict[str, Any] = {"order": trial.threads, "blocks": trial.blocks, "out": out}
        y = launches.run_backward(kernels(), g, trial.shape, **options, **trial.arguments)
        compare_gradient(trial, g, y.copy())


def as_torch(trial: Trial) -> None:
    """The NumPy path against torch: its own answer where no known difference matches, else that of its kernels by axes."""
    x = trial.input()
    tensor = torch_answers.to_torch(x)
    own = torch_answers.torch_has(trial) and not any(row.when(trial) for row in DIFFERENCES)
    theirs = F.interpolate(tensor, **trial.arguments) if own else torch_answers.by_axes(trial, tensor)
    y = cupysample.interpolate(x, **trial.spelt)
    assert torch_answers.agrees(trial, x, y, theirs), f"not as torch has it, {'by itself' if own else 'by axes'}"


def of_tensors(trial: Trial) -> None:
    """A tensor's result and its gradient have the bits of an array's."""
    x, g = (torch_answers.to_torch(each) for each in (trial.input(), trial.gradient()))
    arrays = [_as_array(trial, each) for each in (x, g)]
    differentiable = trial.dtype in cases.FLOATS
    x.requires_grad_(differentiable)
    y = cupysample.interpolate(x, **trial.spelt)
    expected = cupysample.interpolate(arrays[0], **trial.spelt)
    assert _as_array(trial, y.detach()).tobytes() == expected.tobytes(), "other bits than an array's"
    if differentiable:
        (gradient,) = torch.autograd.grad(y, x, g)
        expected = cupysample.interpolate_backward(arrays[1], trial.shape, **trial.spelt)
        assert _as_array(trial, gradient).tobytes() == expected.tobytes(), "other bits than an array's gradient"


def _as_array(trial: Trial, x: Any) -> NDArray[Any]:
    """The memory of a tensor."""
    if trial.dtype == "bfloat16":
        x = x.view(torch.uint16)
    array: NDArray[Any] = x.numpy()
    return array.view(cases.numpy_dtype(trial.dtype))


def on_device(trial: Trial) -> None:
    """A CuPy array: the whole path on a GPU."""
    x = trial.input()
    y = cupysample.interpolate(_to_device(x), **trial.spelt)
    compare(trial, x, y.get())


def gradient_on_device(trial: Trial) -> None:
    """The gradient of a CuPy array."""
    g = trial.gradient()
    y = cupysample.interpolate_backward(_to_device(g), trial.shape, **trial.spelt)
    compare_gradient(trial, g, y.get())


def _to_device(x: NDArray[Any]) -> Any:
    """A copy of the memory that a view spans, and the same view of it."""
    import cupy

    memory, offset = launches.buffer(x)
    base = cupy.asarray(memory)
    return cupy.ndarray(x.shape, x.dtype, base.data + offset, x.strides)


PATHS: dict[str, Callable[[Trial], None]] = {
    "numpy": on_numpy,
    "numpy gradient": gradient_on_numpy,
    "kernels": on_kernels,
    "kernels gradient": gradient_on_kernels,
    "torch": as_torch,
    "tensors": of_tensors,
    "device": on_device,
    "device gradient": gradient_on_device,
}
"""How a trial is checked; it raises where something is wrong."""
GRADIENTS = tuple(path for path in PATHS if path.endswith("gradient"))
ON_HOST = ("numpy", "numpy gradient", "kernels", "kernels gradient", "torch", "tensors")
"""Those that need no device."""
SHARES = {"numpy": 0.5, "numpy gradient": 0.2, "torch": 0.14, "tensors": 0.06}
"""How often a path is taken; the others share the rest."""


def check(trial: Trial) -> str | None:
    """What is wrong, in words; None if nothing is."""
    try:
        with np.errstate(all="ignore"):
            PATHS[trial.path](trial)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Making them


class Source(Protocol):
    """Where choices come from: a generator of random numbers, or hypothesis."""

    def one(self, values: Sequence[T]) -> T:
        """One of them."""

    def integer(self, low: int, high: int) -> int:
        """An integer between these, both included."""

    def real(self, low: float, high: float) -> float:
        """A number between these."""


class Generator:
    """Choices of a seeded generator."""

    def __init__(self, *seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def one(self, values: Sequence[T]) -> T:
        return values[int(self._rng.integers(len(values)))]

    def integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high, endpoint=True))

    def real(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))


def make(source: Source, paths: Sequence[str]) -> Trial:
    """A trial along one of the paths."""
    path = _by_share(source, [(path, SHARES.get(path, 0.05)) for path in paths])
    gradient, torch_only = path in GRADIENTS, path == "torch"
    modes = torch_answers.DIMENSIONS if torch_only else cases.MODES
    mode, dimensions = source.one([(mode, n) for mode, dimensions in modes.items() for n in dimensions])
    dtype = source.one(_dtypes(path, mode))
    layout = source.one([each for each in LAYOUTS if _takes(path, each)])
    align_corners, antialias = source.one(cases.variants(mode))
    if align_corners is False and source.integer(0, 1):
        align_corners = None
    largest = _largest(source, path)
    batch = source.integer(1, 3), source.integer(1, 6)
    if source.integer(0, 199) == 0 and not torch_only:
        batch = source.one([(0, 2), (2, 0)])
    spatial, wanted = _extents(source, dimensions, largest // math.prod(max(1, n) for n in batch), gradient)
    rule = source.one(cases.SIZE_RULES)
    factors = None if rule == "size" else tuple(_factor(source, n, m) for n, m in zip(spatial, wanted, strict=True))
    is_float = dtype in cases.FLOATS
    tiles = path.startswith("numpy")
    return Trial(
        mode,
        dtype,
        layout,
        batch,
        spatial,
        wanted if rule == "size" else None,
        factors,
        rule == "recompute",
        align_corners,
        antialias,
        seed=source.integer(0, 2**31 - 1),
        path=path,
        exponent=_exponent(source, path, dtype) if is_float and not torch_only and source.integer(0, 3) == 0 else 0,
        special=source.one([0.0, 0.0, 0.02, 0.3]) if is_float and path in ("numpy", "kernels", "device") else 0.0,
        strided=source.integer(0, 3) == 0 and not path.startswith(("torch", "tensors", "device")),
        spelling=source.one(SPELLINGS),
        threads=source.integer(1, 4),
        tile=source.one(TILES) if tiles and source.integer(0, 9) == 0 else 0,
        blocks=source.integer(0, 4) if path.startswith("kernels") else 0,
    )


def _by_share(source: Source, shares: Sequence[tuple[T, float]]) -> T:
    """One of them, as often as its share says."""
    x = source.real(0, sum(share for _, share in shares))
    for each, share in shares:
        x -= share
        if x <= 0:
            return each
    return shares[-1][0]


def _dtypes(path: str, mode: str) -> tuple[str, ...]:
    if path in GRADIENTS:
        return cases.FLOATS
    return torch_answers.DTYPES if path == "torch" else cases.dtypes(mode)


def _takes(path: str, layout: str) -> bool:
    """Big-endian arrays are the host's; torch has no negative strides."""
    if path == "tensors":
        return layout not in ("big-endian", "negative", "strided")
    return path.startswith(("numpy", "torch")) or layout != "big-endian"


def _largest(source: Source, path: str) -> int:
    """The most elements."""
    most = _by_share(source, ELEMENTS)
    return min(most, 2**14) if path.startswith("kernels") else most


def _extents(source: Source, dimensions: int, largest: int, gradient: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Extents in and out, log-uniform, in any order of size; equal, doubled and halved ones often.

    The product of the larger of each axis is at most ``largest``, so that no order of passes makes more.
    """
    pairs = []
    for _ in range(dimensions):
        n, m = _log_uniform(source, largest), _log_uniform(source, largest)
        m = source.one([m, m, m, n, min(2 * n, largest), max(1, n // 2)])
        if gradient:
            m = min(m, max(1, MACS // n))
        pairs.append((n, m))
        largest = max(1, largest // max(n, m))
    first = source.integer(0, dimensions - 1)
    pairs = pairs[first:] + pairs[:first]
    return tuple(n for n, _ in pairs), tuple(m for _, m in pairs)


def _log_uniform(source: Source, largest: int) -> int:
    return min(max(1, largest), int(math.exp(source.real(0, math.log(max(1, largest) + 0.99)))))


def _factor(source: Source, n: int, m: int) -> float:
    """A factor that makes ``m`` pixels of ``n``, or one more or less by rounding, but at least one."""
    factor = (m + source.one([0.0, source.real(0, 0.99)])) / n
    return factor if int(n * factor) >= 1 else 1.0


def _exponent(source: Source, path: str, dtype: str) -> int:
    low, high = EXPONENTS[dtype]
    if path.startswith("device") and dtype != "float64":  # subnormals may be flushed there
        low = max(low, -60)
    return source.integer(low, high)


# ---------------------------------------------------------------------------------------------------------------------
# Making them smaller


def shrunk(trial: Trial, message: str) -> tuple[Trial, str]:
    """The simplest trial that still fails, found greedily, and what is wrong with it.

    Fewer pixels have other values, which may hide a fault that is still there: small ones are tried with many.
    """
    while True:
        for simpler in (valued for each in _simpler(trial) for valued in (each, *_valued(each))):
            found = check(simpler)
            if found is not None:
                trial, message = simpler, found
                break
        else:
            return trial, message


def _simpler(trial: Trial) -> Iterator[Trial]:
    """Trials that are simpler in one respect, the boldest first."""
    for field in dataclasses.fields(Trial):
        if field.name not in ("path", "seed") and field.default is not dataclasses.MISSING:
            yield from _with(trial, field.name, field.default)
    if 0 not in trial.batch:
        yield from _with(trial, "batch", (1, 1))
        n, c = trial.batch
        for batch in (*((m, c) for m in _smaller(n)), *((n, m) for m in _smaller(c))):
            yield replace(trial, batch=batch)
    yield from _with(trial, "layout", "contiguous")
    yield from _with(trial, "dtype", "float32")
    if trial.mode != "lanczos":
        yield from _with(trial, "antialias", False)
    yield from _with(trial, "align_corners", None)
    yield from _with(trial, "recompute", False)
    for d, n in enumerate(trial.spatial):
        for smaller in _smaller(n):
            spatial = (*trial.spatial[:d], smaller, *trial.spatial[d + 1 :])
            if trial.scale_factor is None or int(smaller * trial.scale_factor[d]) >= 1:
                yield replace(trial, spatial=spatial)
    for d, n in enumerate(trial.size or ()):
        for smaller in _smaller(n):
            assert trial.size is not None
            yield replace(trial, size=(*trial.size[:d], smaller, *trial.size[d + 1 :]))
    for d, factor in enumerate(trial.scale_factor or ()):
        for digits in (1, 2, 3):
            rounder = float(f"{factor:.{digits}g}")
            if int(trial.spatial[d] * rounder) >= 1 and len(str(rounder)) < len(str(factor)):
                assert trial.scale_factor is not None
                yield replace(trial, scale_factor=(*trial.scale_factor[:d], rounder, *trial.scale_factor[d + 1 :]))


def _valued(trial: Trial) -> Iterator[Trial]:
    """The same with other values; fewer of large ones."""
    for seed in range(min(SEEDS, SEEDS_ELEMENTS // max(1, math.prod(trial.shape)))):
        yield replace(trial, seed=seed)


def _with(trial: Trial, name: str, value: Any) -> Iterator[Trial]:
    if getattr(trial, name) != value:
        yield replace(trial, **{name: value})


def _smaller(n: int) -> list[int]:
    """Fewer pixels: one, half, three quarters, one less."""
    return sorted({m for m in (1, n // 2, 3 * n // 4, n - 1) if 0 < m < n})
