"""Every wrong argument is refused, in words, before anything is allocated, launched or written; and nothing leaks."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import cupysample
from cupysample import _arrays, _cuda, _interpolate, _numpy, _words
from tests import bad_inputs, cupy_on_host
from tests.bad_inputs import Row
from tests.cupy_on_host import Array, Driver

pytestmark = pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:.*quantiz:")

ROWS = list(bad_inputs.rows())


def test_the_table_is_long() -> None:
    """More than 700 rows, and every argument in one of them."""
    others = sum(1 for rows in (bad_inputs.inputs(), bad_inputs.input_sizes()) for _ in rows)
    assert len(ROWS) + others > 700
    names = {name for row in ROWS for name in row.arguments}
    assert names == {"size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias"}
    assert {row.error for row in ROWS} == {TypeError, ValueError, RuntimeError, NotImplementedError, OverflowError}


@pytest.fixture
def allocated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What outputs were asked for."""
    asked: list[Any] = []
    for library in _arrays.LIBRARIES:
        kind: Any = type(library)
        monkeypatch.setattr(kind, "allocator", lambda self, like, output: asked.append(output.shape))
    return asked


def refused(error: type[Exception], words: tuple[str, ...], function: Any, *positional: Any, **named: Any) -> str:
    """What is wrong with how a call is refused; empty if nothing."""
    try:
        result = function(*positional, **named)
    except Exception as raised:
        if type(raised) is not error:
            return f"{error.__name__} expected, got {raised!r}"
        missing = [word for word in words if word not in str(raised)]
        return f"no {missing} in {str(raised)!r}" if missing else ""
    return f"{error.__name__} expected, got {type(result)}"


def wrongly_refused(make: Callable[[tuple[int, ...]], Any], **more: Any) -> list[str]:
    """Rows that are not refused as they should be, for arrays of a kind."""
    wrong = []
    for row in ROWS:
        x = make(bad_inputs.SHAPES[row.dimensions])
        found = refused(row.error, row.words, cupysample.interpolate, x, **row.arguments, **more)
        if found:
            wrong.append(f"{row}: {found}")
    return wrong


@pytest.mark.parametrize(
    "make",
    [lambda shape: np.zeros(shape, np.float32), torch.zeros, lambda shape: torch.zeros(shape, requires_grad=True)],
)
def test_arguments(make: Callable[[tuple[int, ...]], Any], allocated: list[Any]) -> None:
    assert not wrongly_refused(make)
    assert not allocated


def test_arguments_with_an_out_that_stays_as_it_is() -> None:
    out = np.full((2, 3, 3, 3), 7.0, np.float32)
    assert not wrongly_refused(lambda shape: np.zeros(shape, np.float32), out=out)
    assert (out == 7).all()


def test_arguments_of_warmup_and_of_modules() -> None:
    """The same words; a module says them when it is called, but those of its own constructor."""
    wrong = []
    for row in ROWS:
        x = np.zeros(bad_inputs.SHAPES[row.dimensions], np.float32)
        found = refused(row.error, row.words, cupysample.warmup, x, **row.arguments)
        if found:
            wrong.append(f"{row}: {found}")
    assert not wrong


@pytest.mark.parametrize("make", [np.zeros, torch.zeros, partial(torch.zeros, device="meta")])
def test_arguments_of_a_warmup_for_any_size(make: Callable[..., Any]) -> None:
    """All but the sizes are checked; those, and out, are not given."""
    x = make((2, 3, 5, 6))
    cupysample.warmup(x, mode="bilinear", antialias=True, backward=True, any_size=True)
    warmup = partial(cupysample.warmup, any_size=True)
    assert not refused(ValueError, ("size: must be None with any_size, got 3",), warmup, x, 3)
    assert not refused(ValueError, ("scale_factor: must be None with any_size, got 2",), warmup, x, scale_factor=2)
    assert not refused(ValueError, ("out: must be None with any_size",), warmup, x, out=x)
    assert not refused(NotImplementedError, ("linear mode needs 3D input",), warmup, x, mode="linear")
    assert not refused(ValueError, ("Anti-alias option is restricted",), warmup, x, antialias=True)


def test_arguments_of_the_gradient() -> None:
    """Of the forward call, whose input has the shape of the row."""
    wrong = []
    for row in ROWS:
        shape = bad_inputs.SHAPES[row.dimensions]
        g = np.zeros((2, 3, *[3] * row.dimensions), np.float32)
        if "overflowed" in row.words[0]:  # there the gradient's shape is the mistake
            continue
        found = refused(row.error, row.words, cupysample.interpolate_backward, g, shape, **row.arguments)
        if found:
            wrong.append(f"{row}: {found}")
    assert not wrong


def test_inputs(allocated: list[Any]) -> None:
    wrong = [
        f"{type(x)} {getattr(x, 'dtype', '')}: {found}"
        for x, error, words in bad_inputs.inputs()
        for mode in ("bilinear" if getattr(x, "ndim", 4) == 4 else "nearest",)
        if (found := refused(error, words, cupysample.interpolate, x, size=3, mode=mode))
    ]
    assert not wrong
    assert not allocated


def test_outs() -> None:
    x = np.zeros((2, 3, 5, 6), np.float32)
    for out, error, words in bad_inputs.outs(x):
        before = out.tobytes() if isinstance(out, np.ndarray) else b""
        for function in (cupysample.interpolate, cupysample.warmup):
            assert not refused(error, words, function, x, size=3, out=out)
        assert before == (out.tobytes() if isinstance(out, np.ndarray) else b"")
    assert not x.any()


def test_tensors_without_memory_after_one_that_has_it() -> None:
    x = torch.zeros(2, 3, 5, 6)
    out = cupysample.interpolate(x, size=3)
    for wrong in ({"input": bad_inputs.freed(2, 3, 5, 6)}, {"input": x, "out": bad_inputs.freed(*out.shape)}):
        with pytest.raises(ValueError, match="must have memory, got a tensor of shape"):
            cupysample.interpolate(size=3, **wrong)


@pytest.mark.parametrize(("length", "shown"), [(198, "'" + "x" * 198 + "'"), (199, "'" + "x" * 198 + "…")])
def test_what_came_is_shown_in_200_characters(length: int, shown: str) -> None:
    assert len(shown) == _words.LONGEST == 200
    assert not refused(TypeError, (f"got {shown}",), cupysample.interpolate, np.zeros((1, 1, 2, 2)), size="x" * length)


def test_input_sizes(allocated: list[Any]) -> None:
    for make in (np.zeros, torch.zeros):
        g = make((2, 3, 3, 3))
        for size, error, words in bad_inputs.input_sizes():
            found = refused(error, words, cupysample.interpolate_backward, g, size, size=3)
            assert not found, f"{size}: {found}"
    assert not allocated


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
@pytest.mark.parametrize("wrong", [(2, 3, True, 5), (2, 3, 1.0, 5), np.array([2, 3, 1, 5]), b"\2\3\1\5"], ids=repr)
def test_input_sizes_after_the_right_one_of_equal_numbers(make: Any, wrong: Any) -> None:
    g = make((2, 3, 3, 3))
    cupysample.interpolate_backward(g, (2, 3, 1, 5), size=3)
    assert not refused(
        TypeError, ("input_size: must be a sequence of ints",), cupysample.interpolate_backward, g, wrong, 3
    )


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_outputs_past_memory_refuse_and_leave_everything_usable(make: Any) -> None:
    """What fits 64 bits but no memory: the error of the library that allocates."""
    x = make((2, 3, 5))
    for size in (2**31 << 20, 2**44):
        with pytest.raises((MemoryError, RuntimeError), match="allocate"):
            cupysample.interpolate(x, size=size)
    assert cupysample.interpolate(x, size=7).shape == (2, 3, 7)


# ---------------------------------------------------------------------------------------------------------------------
# On a device


@pytest.fixture
def driver() -> Iterator[Driver]:
    with cupy_on_host.installed() as (_, driver):
        yield driver


@pytest.mark.host
def test_nothing_happens_on_a_device(driver: Driver) -> None:
    """No allocation, upload, compilation or launch; the device and what is remembered are as before."""
    assert not wrongly_refused(lambda shape: Array(None, values=np.zeros(shape, np.float32), device=1))
    done = (driver.allocations, driver.uploads, driver.live, driver.launched, driver.compiled, driver.device)
    assert done == (0, 0, 0, [], [], 0)
    assert not _cuda._launches
    assert not _cuda._tables


FAULTS = ("allocation", "upload", "compilation", "launch")


@pytest.mark.host
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("error", [MemoryError("out of memory"), RuntimeError("unspecified launch failure")])
def test_a_failure_leaves_the_caches_usable(
    driver: Driver, fault: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step fails, its own error comes out, the device is as before, and the same call then succeeds."""
    values = np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)
    x = Array(None, values=values, device=2)

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        cupy: Any = sys.modules["cupy"]
        if fault == "allocation":
            patch.setattr(Array, "__init__", fail)
        elif fault == "upload":
            patch.setattr(cupy.cuda.runtime, "memcpyAsync", fail)
        elif fault == "compilation":
            patch.setattr(cupy, "RawModule", fail)
        else:
            patch.setattr(driver.kernels.__class__, "launch", fail)
        for _ in range(3):
            with pytest.raises(type(error), match=str(error)):
                cupysample.interpolate(x, size=(5, 12), mode="bicubic", antialias=True)
            assert driver.device == 0
    y = cupysample.interpolate(x, size=(5, 12), mode="bicubic", antialias=True)
    expected = cupysample.interpolate(values, size=(5, 12), mode="bicubic", antialias=True)
    np.testing.assert_allclose(y.values, expected, atol=1e-5)
    assert len(_cuda._launches) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Nothing leaks


def test_errors_leak_nothing() -> None:
    """Neither memory nor references, whatever the mistake; wrong calls are not remembered."""
    x, out = np.zeros((2, 3, 5, 6), np.float32), np.zeros((2, 3, 3, 3), np.float32)
    some: list[Row] = [row for row in ROWS if row.dimensions == 2]

    def go(rows: list[Row]) -> None:
        for row in rows:
            try:
                cupysample.interpolate(x, **row.arguments, out=out)
            except row.error:
                continue
            raise AssertionError(row)

    go(some)
    remembered, programs = len(_interpolate._calls), len(_numpy._programs)
    gc.collect()
    references = sys.getrefcount(x), sys.getrefcount(out)
    tracemalloc.start()
    try:
        go(some)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            go(some)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000, f"{after - before} bytes more after {20 * len(some)} errors"
    assert (sys.getrefcount(x), sys.getrefcount(out)) == references
    assert (len(_interpolate._calls), len(_numpy._programs)) == (remembered, programs)
