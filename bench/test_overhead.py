"""Host time of a call: ours beside torch's for the same, in one run. Of a warm one on a tiny array, and of the first of a size.

On a GPU the kernels take less time than the host does, so that the time until a call returns is the host's, the driver's
launch included. ``--stub`` is for CuPy on a driver that does nothing, see README.md.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pytest

import cupysample
from bench.machines import Call, Machine
from bench.record import Record

SHAPES = ((1, 3, 8, 8), (1, 1, 1, 1))
"""A tiny image; and a pixel, on which the CPU kernel of torch takes next to nothing either."""
CALLS: dict[str, dict[str, Any]] = {
    "nearest": {"scale_factor": 2},
    "bilinear": {"scale_factor": 2, "mode": "bilinear"},
    "bilinear-size": {"size": (16, 16), "mode": "bilinear"},
    "bicubic": {"scale_factor": 2, "mode": "bicubic"},
    "antialias": {"size": (4, 4), "mode": "bilinear", "antialias": True},
}
ROUNDS, REPEATS = 41, 100


@pytest.fixture(params=CALLS)
def name(request: pytest.FixtureRequest) -> str:
    called: str = request.param
    return called


@pytest.fixture(params=SHAPES, ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    given: tuple[int, ...] = request.param
    return given


@pytest.fixture
def torch() -> Iterator[Any]:
    """torch, with one thread."""
    module = importlib.import_module("torch")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


@pytest.fixture
def calls(
    name: str, shape: tuple[int, ...], torch: Any, machine: Machine, request: pytest.FixtureRequest
) -> Iterator[dict[str, tuple[Call, Call]]]:
    """Ours and torch's, for an array, a tensor and a tensor that requires grad."""
    interpolate = torch.nn.functional.interpolate
    arguments = CALLS[name]
    values = np.random.default_rng(0).random(shape, np.float32)
    array = machine.put(values)
    stub = request.config.getoption("--stub")
    tensor = torch.from_numpy(values) if stub else machine.tensor(array)
    leaf = tensor.clone().requires_grad_()
    library = type(array).__module__.partition(".")[0]
    pretence: Any = nullcontext()
    if stub:
        from tests.cupy_on_host import tensors_on

        pretence = tensors_on(0, stream=0)
    with pretence:
        yield {
            kind: (partial(cupysample.interpolate, x, **arguments), partial(interpolate, y, **arguments))
            for kind, x, y in ((library, array, tensor), ("torch", tensor, tensor), ("torch, grad", leaf, leaf))
        }


def host_us(calls: list[Call], machine: Machine) -> list[float]:
    """Microseconds until each call returns: medians of rounds in which they take turns."""
    rounds: list[list[float]] = []
    for _ in range(ROUNDS):
        rounds.append([])
        for call in calls:
            start = time.perf_counter()
            for _ in range(REPEATS):
                call()
            rounds[-1].append((time.perf_counter() - start) / REPEATS * 1e6)
            machine.wait()
    return [median(column) for column in zip(*rounds, strict=True)]


def test_overhead(
    name: str,
    shape: tuple[int, ...],
    calls: dict[str, tuple[Call, Call]],
    machine: Machine,
    results: Record | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flat = [call for pair in calls.values() for call in pair]
    for call in flat:
        call()
    times = host_us(flat, machine)
    for kind, ours, theirs in zip(calls, times[::2], times[1::2], strict=True):
        row = {
            "call": name,
            "shape": list(shape),
            "array": kind,
            "host_us": round(ours, 2),
            "torch_us": round(theirs, 2),
            "ratio": round(ours / theirs, 2),
        }
        if results is not None:
            results.append("overhead", row, "call", "shape", "array")
        with capsys.disabled():
            print(
                f"\n{name:14} {shape!s:13} {kind:12} {ours:8.2f} us, torch {theirs:6.2f} us: {ours / theirs:5.2f}x",
                end="",
            )


SIDES = range(300, 340)
"""Of pictures that become ``THUMBNAIL``."""
THUMBNAIL = {"size": (224, 224)}
PICTURES: dict[str, dict[str, Any]] = {
    "nearest": THUMBNAIL,
    "bilinear": THUMBNAIL | {"mode": "bilinear"},
    "antialias": THUMBNAIL | {"mode": "bilinear", "antialias": True},
}


def once_us(call: Callable[[Any], Any], pictures: list[Any], machine: Machine) -> float:
    """Microseconds until a call for one of them returns, each made once; the median."""
    times = []
    for picture in pictures:
        start = time.perf_counter()
        call(picture)
        times.append((time.perf_counter() - start) * 1e6)
        machine.wait()
    return median(times)


@pytest.mark.parametrize("name", PICTURES)
def test_another_size(
    name: str,
    torch: Any,
    machine: Machine,
    results: Record | None,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """Pictures of as many sizes, as a data loader has them: with sides that none had before, and with other pairs of those.

    On a GPU every kernel that they take is compiled before. With ``--stub`` without torch, whose CPU is another matter.
    """
    arguments = PICTURES[name]

    def put(h: int, w: int) -> Any:
        return machine.put(np.zeros((1, 3, h, w), np.float32))

    for n in range(400, 420):
        cupysample.interpolate(put(n, n + 1), **arguments)
    sets = {"new sides": [put(n, n) for n in SIDES], "other pairs": [put(n, 639 - n) for n in SIDES]}
    for kind, pictures in sets.items():
        ours = once_us(partial(cupysample.interpolate, **arguments), pictures, machine)
        row: dict[str, Any] = {"call": name, "pictures": kind, "host_us": round(ours, 1)}
        if not request.config.getoption("--stub"):
            tensors = [machine.tensor(picture) for picture in pictures]
            theirs = partial(torch.nn.functional.interpolate, **arguments)
            row["torch_us"] = round(once_us(theirs, tensors, machine), 1)
        if results is not None:
            results.append("sizes", row, "call", "pictures")
        with capsys.disabled():
            beside = f", torch {row['torch_us']:6.1f} us" if "torch_us" in row else ""
            print(f"\n{name:14} {kind:12} {ours:8.1f} us{beside}", end="")
