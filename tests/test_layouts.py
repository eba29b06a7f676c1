"""Memory: the output's layout is torch's, inputs of any layout are read where they lie, ``out`` may have any layout.

Values are the business of other tests; here a call is compared with the same call on a contiguous copy.
"""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from cupysample import _arrays, interpolate, warmup
from tests import bounds, cases

MODES = [(mode, n) for mode, dimensions in cases.MODES.items() for n in dimensions]
TORCH_MODES = [
    *(("nearest", n) for n in (1, 2, 3)),
    *(("nearest-exact", n) for n in (1, 2, 3)),
    *(("area", n) for n in (1, 2, 3)),
    *(("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3), ("lanczos", 2)),
]
every_mode = pytest.mark.parametrize(("mode", "dimensions"), MODES)


def options(mode: str) -> dict[str, Any]:
    """The arguments that a mode cannot do without."""
    return {"mode": mode, "antialias": mode == "lanczos"}


def noise(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    """The same random numbers for the same shape."""
    return (np.random.default_rng(list(shape)).standard_normal(shape) * 50).astype(dtype)


def shape_of(dimensions: int) -> tuple[int, ...]:
    """A shape with no two equal extents."""
    return (2, 3, 5, 7, 4)[: dimensions + 2]


def assert_same(result: NDArray[Any], expected: NDArray[Any], x: NDArray[Any], size: Any, **arguments: Any) -> None:
    """Copies and integers to the bit; floats within the bound from the definition, so within two from each other."""
    if x.dtype.name in cases.FLOATS and arguments["mode"] not in cases.POINT:
        wide = np.complex128 if x.dtype.kind == "c" else np.float64
        bounds.assert_within(result, expected.astype(wide), 2 * bounds.bound(x, size, **arguments))
    else:
        np.testing.assert_array_equal(result, expected)


# ---------------------------------------------------------------------------------------------------------------------
# The output's layout


def random_strides(rng: np.random.Generator, dimensions: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape and strides in elements: a permuted, sliced, padded or broadcast array, with many extents of 1."""
    shape = tuple(int(n) for n in rng.choice([1, 1, 2, 3, 5], dimensions + 2))
    channels_last = [0, *range(2, dimensions + 2), 1]
    order = [list(range(dimensions + 2)), channels_last, rng.permutation(dimensions + 2).tolist()][rng.integers(3)]
    strides = [0] * (dimensions + 2)
    step = 1
    for d in reversed(order):
        strides[d] = step
        step *= shape[d] * int(rng.choice([1, 1, 1, 2])) + int(rng.choice([0, 0, 0, 1]))
    for d in range(dimensions + 2):
        if rng.random() < 0.05:
            strides[d] = 0
        elif shape[d] == 1 and rng.random() < 0.3:  # the stride of an axis of one element is anything
            strides[d] = int(rng.integers(0, 40))
    return shape, tuple(strides)


@pytest.mark.parametrize(("mode", "dimensions"), TORCH_MODES)
def test_the_output_has_torch_s_strides(mode: str, dimensions: int) -> None:
    """2,000 random layouts, as tensors and as arrays; sizes that grow, shrink, stay and become one pixel."""
    rng = np.random.default_rng([dimensions, *mode.encode()])
    memory = noise(100_000)
    for _ in range(2000):
        shape, strides = random_strides(rng, dimensions)
        size = tuple(int(n) for n in rng.choice([1, 2, 4], dimensions)) if rng.random() < 0.8 else shape[2:]
        t = torch.as_strided(torch.from_numpy(memory), shape, strides)
        x = t.numpy()
        expected = F.interpolate(t, size, **options(mode)).stride()
        array, tensor = interpolate(x, size, **options(mode)), interpolate(t, size, **options(mode))
        assert tensor.stride() == expected, (shape, strides, size)
        assert array.strides == tuple(4 * s for s in expected), (shape, strides, size)
        assert np.array_equal(array, tensor.numpy())


@every_mode
def test_the_output_never_shares_memory_with_the_input(mode: str, dimensions: int) -> None:
    """Also where nothing changes and the result is the input."""
    x = noise(*shape_of(dimensions))
    for size in (x.shape[2:], (9, 6, 8)[:dimensions]):
        y = interpolate(x, size, **options(mode))
        assert not np.shares_memory(x, y)
        t = torch.from_numpy(x)
        u = interpolate(t, size, **options(mode))
        assert u.untyped_storage().data_ptr() != t.untyped_storage().data_ptr()
        assert type(u) is torch.Tensor
        assert not u.requires_grad


# ---------------------------------------------------------------------------------------------------------------------
# The input


def offset_by_one_byte(x: NDArray[Any]) -> NDArray[Any]:
    """The array at an odd address."""
    memory = np.empty(x.nbytes + 1, np.uint8)
    y = memory[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    assert not y.flags.aligned
    return y


def field(x: NDArray[Any]) -> NDArray[Any]:
    """The array as a field of records: strides that are no multiple of its itemsize."""
    records = np.zeros(x.shape, [("before", np.uint8), ("value", x.dtype), ("after", np.uint16)])
    records["value"] = x
    view: NDArray[Any] = records["value"]
    assert view.strides[-1] % x.itemsize
    return view


class Subclass(np.ndarray[Any, Any]):
    """An array with a name of its own, whose indexing is its own business."""

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("the array is read as numpy.ndarray reads it")


DISGUISES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    **{layout: partial(cases.lay_out, layout=layout) for layout in cases.LAYOUTS if layout != "broadcast"},
    "unaligned": offset_by_one_byte,
    "field": field,
    "fortran": np.asfortranarray,
    "subclass": lambda x: x.copy().view(Subclass),
    "record array": lambda x: x.copy().view(np.recarray),
}
"""The same values in other memory."""


@pytest.mark.parametrize("disguise", DISGUISES)
@every_mode
def test_any_memory_layout_gives_the_same_values(mode: str, dimensions: int, disguise: str) -> None:
    """Read-only, and unchanged afterwards; the result is a plain array in native byte order."""
    for dtype in (np.float32, np.float16, np.uint16, np.complex128, ml_dtypes.bfloat16):
        x = noise(*shape_of(dimensions), dtype=dtype)
        for size in ((9, 3, 8)[:dimensions], (1,) * dimensions, x.shape[2:]):
            expected = interpolate(x, size, **options(mode))
            y = DISGUISES[disguise](x)
            y.flags.writeable = False
            before = y.tobytes()
            result = interpolate(y, size, **options(mode))
            assert type(result) is np.ndarray
            assert result.dtype == x.dtype
            assert result.dtype.isnative
            assert_same(result, expected, x, size, **options(mode))
            assert y.tobytes() == before


@every_mode
def test_inputs_are_never_written(mode: str, dimensions: int) -> None:
    """Neither their elements nor the memory between and around them, of which broadcast elements share some."""
    shape = shape_of(dimensions)
    memory = noise(5000)
    before = memory.tobytes()
    sliced = as_strided(memory[7:], shape, [4 * s for s in (1200, 400, 60, 9, 2)[: len(shape)]])
    for x in (sliced, np.broadcast_to(sliced[:, :1], shape), np.broadcast_to(memory[0], shape)):
        for size in (shape[2:], (9, 3, 8)[:dimensions]):
            y = interpolate(x, size, **options(mode))
            assert_same(y, interpolate(x.copy(), size, **options(mode)), x, size, **options(mode))
            start = (x.ctypes.data - memory.ctypes.data) // 4
            twin = as_strided(memory.copy()[start:], shape, x.strides)
            np.testing.assert_array_equal(y, interpolate(twin, size, **options(mode)))
            t = torch.as_strided(torch.from_numpy(memory), shape, [s // 4 for s in x.strides], 7 if x is sliced else 0)
            interpolate(t, size, **options(mode))
            assert memory.tobytes() == before


def test_memory_mapped_files_are_read_and_written(tmp_path: Path) -> None:
    x = noise(2, 3, 5, 7)
    (tmp_path / "in").write_bytes(x.tobytes())
    source = np.memmap(tmp_path / "in", np.float32, "r", shape=x.shape)
    target = np.memmap(tmp_path / "out", np.float32, "w+", shape=(2, 3, 4, 6))
    expected = interpolate(x, (4, 6), mode="bilinear")
    assert type(interpolate(source, (4, 6), mode="bilinear")) is np.ndarray
    assert interpolate(source, (4, 6), mode="bilinear", out=target) is target
    target.flush()
    assert (tmp_path / "out").read_bytes() == expected.tobytes()
    assert (tmp_path / "in").read_bytes() == x.tobytes()


EMPTY = [(0, 3), (2, 0), (0, 0)]


@every_mode
def test_empty_batches_and_no_channels(mode: str, dimensions: int) -> None:
    """The result is as empty."""
    size = (9, 3, 8)[:dimensions]
    for batch in EMPTY:
        x = np.zeros((*batch, *shape_of(dimensions)[2:]), np.float32)
        assert interpolate(x, size, **options(mode)).shape == (*batch, *size)
        assert tuple(interpolate(torch.from_numpy(x), size, **options(mode)).shape) == (*batch, *size)
        assert interpolate(x, scale_factor=2.0, **options(mode)).shape == (*batch, *(2 * n for n in x.shape[2:]))


@pytest.mark.parametrize("batch", EMPTY)
def test_an_empty_out_is_returned(batch: tuple[int, int]) -> None:
    x, out = np.zeros((*batch, 5, 7), np.float32), np.zeros((*batch, 9, 3), np.float32)
    assert interpolate(x, (9, 3), out=out) is out
    t = torch.from_numpy(out)
    assert interpolate(torch.from_numpy(x), (9, 3), out=t) is t


# ---------------------------------------------------------------------------------------------------------------------
# Nothing is copied


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_a_large_input_is_not_copied(mode: str, dtype: str) -> None:
    """One pixel of 12 million, whatever the layout, takes no memory to speak of."""
    shape = (1, 3, 2000, 2000)
    tensors = [
        torch.empty(shape, dtype=getattr(torch, dtype)).to(memory_format=torch.channels_last),
        torch.empty((1, 2000, 3, 2000), dtype=getattr(torch, dtype)).transpose(1, 2),
        torch.empty(1, 3, 1, 2000, dtype=getattr(torch, dtype)).expand(shape),
    ]
    for t in tensors:
        x = t.view(torch.uint16).numpy().view(ml_dtypes.bfloat16) if dtype == "bfloat16" else t.numpy()
        for source in (t, x):
            interpolate(source, size=1, mode=mode)  # tables are built
            tracemalloc.start()
            interpolate(source, size=1, mode=mode)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 100_000


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "bool", "int64"])
def test_arrays_and_tensors_are_read_where_they_lie(dtype: str) -> None:
    t = torch.zeros(4, 3, 6, 8).to(getattr(torch, dtype))
    for view in (t, t.to(memory_format=torch.channels_last), t[1:, :, ::2, 3:], t[:, :1].expand(4, 3, 6, 8)):
        library = _arrays.library(view, "input")
        assert library.address(view) == library.host(view).ctypes.data == view.data_ptr()
        strides = tuple(s * view.element_size() for s in view.stride())
        assert library.layout(view, "input").strides == library.host(view).strides == strides
    x = np.zeros((4, 3, 6, 8), getattr(ml_dtypes, dtype, dtype))
    for array in (x, x[1:, :, ::-2, 3:], x.transpose(3, 1, 0, 2)):
        library = _arrays.library(array, "input")
        assert library.address(array) == library.host(array).ctypes.data == array.ctypes.data
        assert library.layout(array, "input").strides == library.host(array).strides == array.strides


# ---------------------------------------------------------------------------------------------------------------------
# Tensors


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_lazy_conjugates_and_negatives_are_what_they_say(mode: str) -> None:
    z = torch.from_numpy(noise(2, 3, 5, 7) + 1j * noise(2, 3, 5, 7)[::-1].copy())
    lazy = {"conjugate": z.conj(), "negative": z.conj().imag, "conjugate part": z.conj()[:, 1:]}
    assert lazy["conjugate"].is_conj()
    assert lazy["negative"].is_neg()
    for view in lazy.values():
        settled = view.clone() if not view.is_neg() else view.resolve_neg()
        settled = settled.resolve_conj()
        assert torch.equal(interpolate(view, 4, mode=mode), interpolate(settled, 4, mode=mode))


def test_a_lazy_conjugate_or_negative_is_no_out() -> None:
    """Its bytes are not its values, also where another like it was written before."""
    z = torch.from_numpy(noise(2, 3, 5, 7) + 1j * noise(2, 3, 5, 7)[::-1].copy())
    out = torch.zeros_like(interpolate(z, 4))
    for x, plain, lazy in ((z, out, out.conj()), (z.real, out.imag, out.conj().imag)):
        interpolate(x, 4, out=plain)
        plain.zero_()
        for function in (interpolate, warmup):
            with pytest.raises(TypeError, match="out: must hold its values, got a lazy conjugate or negative"):
                function(x, 4, out=lazy)
    assert not out.any()


def test_tensors_without_strides_are_a_type_error() -> None:
    t = torch.zeros(1, 1, 4, 4)
    for other in (t.to_sparse(), t.to_mkldnn()):
        for arguments in ((other, None), (t, other)):
            x, out = arguments
            with pytest.raises(
                TypeError, match=r"(input|out): a torch tensor must be strided and on a CPU or CUDA device"
            ):
                interpolate(x, 4, out=out)


# ---------------------------------------------------------------------------------------------------------------------
# out=


def outs(shape: tuple[int, ...], dtype: Any) -> dict[str, NDArray[Any]]:
    """Arrays of one shape with every kind of strides, in memory full of ones."""
    wide = np.ones((shape[0], 2 * shape[1], *shape[2:-1], 3 * shape[-1]), dtype)
    backwards = (slice(None, None, -1),) * len(shape)
    return {
        "contiguous": np.ones(shape, dtype),
        "channels_last": np.moveaxis(np.ones((shape[0], *shape[2:], shape[1]), dtype), -1, 1),
        "fortran": np.ones(shape[::-1], dtype).T,
        "sliced": wide[:, ::2, ..., 1::3],
        "negative": np.ones(shape, dtype)[backwards],
        "sliced negative": wide[:, ::-2, ..., ::-3],
        "unaligned": offset_by_one_byte(np.ones(shape, dtype)),
        "field": field(np.ones(shape, dtype)),
        "big-endian": np.ones(shape, np.dtype(dtype).newbyteorder(">")),
    }


@every_mode
def test_out_may_have_any_strides(mode: str, dimensions: int) -> None:
    """It is returned itself, holds the result, and nothing around it is touched."""
    size = (9, 3, 8)[:dimensions]
    for dtype in (np.float32, np.int16):
        x = noise(*shape_of(dimensions), dtype=dtype)
        expected = interpolate(x, size, **options(mode))
        for name, out in outs(expected.shape, dtype).items():
            base = out if out.base is None else out.base
            assert interpolate(x, size, **options(mode), out=out) is out, name
            assert_same(out, expected, x, size, **options(mode))
            if "sliced" in name:
                out[...] = 1
                assert (base == 1).all(), name


@every_mode
def test_out_may_be_a_tensor_of_any_strides(mode: str, dimensions: int) -> None:
    """Its memory stays where it is."""
    size = (9, 3, 8)[:dimensions]
    t = torch.from_numpy(noise(*shape_of(dimensions)))
    expected = interpolate(t, size, **options(mode))
    memory = torch.ones(4, 6, *(2 * n for n in size))
    every_second = memory[(slice(None, None, 2),) * t.ndim]
    for out in (
        torch.ones(expected.shape),
        torch.ones(expected.shape[::-1]).permute(*reversed(range(t.ndim))),
        every_second,
    ):
        address = out.data_ptr()
        assert interpolate(t, size, **options(mode), out=out) is out
        assert out.data_ptr() == address
        assert torch.equal(out, expected)
    every_second[...] = 1
    assert (memory == 1).all()


def refused(x: Any, out: Any, error: type[Exception], words: str) -> None:
    """The call fails with these words, and ``out`` is as before."""
    host = out.numpy() if isinstance(out, torch.Tensor) else out
    before = host.tobytes()
    with pytest.raises(error, match=f"^out: {words}"):
        interpolate(x, (4, 6), mode="bilinear", out=out)
    assert host.tobytes() == before


def test_a_warm_call_lends_nothing_to_another() -> None:
    """What is remembered is the call, not what its arguments were equal to or have become."""
    x = noise(1, 1, 4, 4)
    assert interpolate(x, (6, 6)).shape[2:] == (6, 6)
    with pytest.raises(TypeError, match="MaskedArray"):
        interpolate(np.ma.masked_array(x), (6, 6))
    with pytest.raises(TypeError):
        interpolate(x, (6.0, 6))  # type: ignore[arg-type]
    out = np.empty((1, 1, 6, 6), np.float32)
    interpolate(x, (6, 6), out=out)
    with pytest.raises(TypeError, match="MaskedArray"):
        interpolate(x, (6, 6), out=np.ma.masked_array(out))
    changing: Any = torch.tensor(6)
    assert interpolate(x, (changing, 5)).shape[2:] == (6, 5)
    changing.fill_(7)
    assert interpolate(x, (changing, 5)).shape[2:] == (7, 5)
    sizes = [6, 5]
    assert interpolate(x, sizes).shape[2:] == (6, 5)
    sizes[0] = 7
    assert interpolate(x, sizes).shape[2:] == (7, 5)


def test_out_is_checked() -> None:
    """Library, shape, dtype, writeability and overlap; nothing is written where a check fails."""
    x = noise(2, 3, 5, 7)
    t = torch.from_numpy(x)
    out = np.ones((2, 3, 4, 6), np.float32)
    refused(x, torch.from_numpy(out), TypeError, "must be a NumPy array as the input is, got a torch array")
    refused(t, out, TypeError, "must be a torch array as the input is, got a NumPy array")
    for shape in [(2, 3, 4, 7), (2, 3, 4), (1, 3, 4, 6), (2, 3, 4, 6, 1), (3, 2, 4, 6), ()]:
        refused(x, np.ones(shape, np.float32), ValueError, r"must have shape \(2, 3, 4, 6\), got ")
        refused(t, torch.ones(shape), ValueError, r"must have shape \(2, 3, 4, 6\), got ")
    for dtype in ("float64", "float16", "int32", "complex64", "bool"):
        refused(x, out.astype(dtype), ValueError, f"must have dtype float32, got {dtype}")
        refused(t, torch.from_numpy(out.astype(dtype)), ValueError, f"must have dtype float32, got {dtype}")
    fixed = out.copy()
    fixed.flags.writeable = False
    refused(x, fixed, ValueError, "must be writeable, got a read-only array")
    refused(x, np.broadcast_to(out[:1], out.shape), ValueError, "elements must not share memory")
    shared = as_strided(out, out.shape, (0, 96, 24, 4), writeable=True)
    refused(x, shared, ValueError, "elements must not share memory")
    refused(t, torch.ones(1, 3, 4, 6).expand(2, 3, 4, 6), ValueError, "elements must not share memory")
    refused(
        x, as_strided(out, out.shape, (288, 96, 8, 4), writeable=True), ValueError, "elements must not share memory"
    )
    memory = noise(1000)
    overlapping = memory[200:344].reshape(2, 3, 4, 6)
    refused(memory[:210].reshape(2, 3, 5, 7), overlapping, ValueError, "must not overlap the input")
    tensor = torch.from_numpy(memory)
    refused(tensor[:210].view(2, 3, 5, 7), tensor[200:344].view(2, 3, 4, 6), ValueError, "must not overlap the input")


def test_a_failed_call_leaves_out_alone() -> None:
    """Whatever is wrong, and with everything about ``out`` right."""
    x = noise(2, 3, 5, 7)
    out = np.ones((2, 3, 4, 6), np.float32)
    before = out.tobytes()
    wrong: list[dict[str, Any]] = [
        {"size": (4.0, 6.0)},
        {"size": (4, 6), "mode": "foo"},
        {"size": (4, 6), "scale_factor": 2},
        {"size": (4, 6), "mode": "lanczos"},
        {"size": (4, 6), "align_corners": True},
        {"size": (4, 6), "mode": "bilinear", "align_corners": 1},
        {},
    ]
    for arguments in wrong:
        with pytest.raises((TypeError, ValueError, NotImplementedError)):
            interpolate(x, out=out, **arguments)
        assert out.tobytes() == before


def addresses(x: NDArray[Any]) -> list[int]:
    """The address of every element, as often as it occurs."""
    indices = itertools.product(*map(range, x.shape))
    return [x.ctypes.data + sum(i * s for i, s in zip(index, x.strides, strict=True)) for index in indices]


def random_view(rng: np.random.Generator, memory: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A view of a few elements of the memory: axes in any order and direction, with gaps, near its beginning."""
    strides = [0] * len(shape)
    step = memory.itemsize
    for d in rng.permutation(len(shape)):
        strides[d] = step * int(rng.choice([1, 1, 2, 3]))
        step = strides[d] * shape[d]
    start = int(rng.integers(0, 40))
    assert (start + sum(shape)) * memory.itemsize + step <= memory.nbytes
    backwards = tuple(d for d in range(len(shape)) if rng.random() < 0.5)
    return np.flip(as_strided(memory[start:], shape, strides), backwards)


def test_overlap_is_decided_exactly() -> None:
    """1,000 pairs of views of one buffer: refused if and only if they share an element."""
    rng = np.random.default_rng(0)
    memory = np.zeros(5000, np.float32)
    left = {True: 500, False: 500}
    while any(left.values()):
        shape = (1, *rng.integers(1, 4, 3).tolist())
        size = tuple(rng.integers(1, 4, 2).tolist())
        x, out = random_view(rng, memory, shape), random_view(rng, memory, (*shape[:2], *size))
        share = not set(addresses(x)).isdisjoint(addresses(out))
        if not left[share]:
            continue
        left[share] -= 1
        memory[:] = np.arange(len(memory))
        if share:
            with pytest.raises(ValueError, match=r"^out: must not overlap the input"):
                interpolate(x, size, out=out)
            assert np.array_equal(memory, np.arange(len(memory)))
        else:
            expected = interpolate(x.copy(), size)
            assert np.array_equal(interpolate(x, size, out=out), expected)


def test_interleaved_views_of_one_buffer_do_not_overlap() -> None:
    """Even and odd columns, and the channels of one image."""
    memory = noise(2, 3, 5, 14)
    x, out = memory[..., ::2], memory[..., 1::2]
    expected = interpolate(x.copy(), (5, 7), mode="bicubic")
    kept = x.copy()
    interpolate(x, (5, 7), mode="bicubic", out=out)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(x, kept)
    photo = torch.from_numpy(noise(1, 8, 8, 4)).permute(0, 3, 1, 2)
    expected = interpolate(photo[:, :1].clone(), 8, mode="area")
    assert torch.equal(interpolate(photo[:, :1], 8, mode="area", out=photo[:, 3:]), expected)


def test_elements_of_out_that_share_memory_are_found() -> None:
    """500 random strides: never accepted where two elements share a byte."""
    rng = np.random.default_rng(0)
    memory = np.zeros(4000, np.uint8)
    x = noise(2, 3, 5, 7)
    found = 0
    while found < 500:
        shape = (2, 3, *(int(n) for n in rng.integers(1, 5, 2)))
        strides = tuple(int(s) for s in rng.choice([0, 1, 2, 4, 8, 12, 16, 48, 100, -4, -16], 4))
        out = as_strided(memory[1000:1004].view(np.float32).reshape(1), shape, strides)
        owned = [a + k for a in addresses(out) for k in range(4)]
        if len(set(owned)) == len(owned):
            continue
        found += 1
        with pytest.raises(ValueError, match="elements must not share memory"):
            interpolate(x, shape[2:], out=out)
    assert not memory.any()
