"""Where the calls are timed: the GPU that CuPy finds, or the CPU; ``python -m bench.machines RESULTS.json`` writes it down."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import cupysample
from bench.record import Record, commit

Call = Callable[[], Any]


class Machine(Protocol):
    """What a benchmark asks of a device."""

    elements: int
    """As large as a workload is worth running here."""
    rounds: int
    """As often as a median needs."""

    def facts(self) -> dict[str, Any]:
        """Device, driver, versions and commit."""

    def put(self, x: NDArray[Any]) -> Any:
        """The array on the device, with its strides."""

    def get(self, x: Any) -> NDArray[Any]:
        """A copy of the array on the host."""

    def tensor(self, x: Any) -> Any:
        """The array as a tensor of torch, sharing memory or not; an exception where there is no torch for the device."""

    def poison(self, x: Any, value: int) -> None:
        """Fill an array without gaps with one byte."""

    def wait(self) -> None:
        """Wait for the device."""

    def times(self, calls: list[Call], rounds: int) -> list[float]:
        """The median time of each call in microseconds, caches cold, the calls taking turns; of fewer for slow ones."""

    def copy_gbps(self) -> float:
        """Gigabytes a second that a large copy reads and writes."""


def host_time(machine: Machine, call: Call, calls: int = 50) -> float:
    """Microseconds until a call returns, the device not waited for; the best of several runs."""
    best = float("inf")
    for _ in range(5):
        machine.wait()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter() - start) / calls)
    machine.wait()
    return best * 1e6


class Cpu:
    """NumPy beside torch, on the CPU; ``reason`` says why not on a GPU."""

    elements = 1 << 18
    rounds = 5

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def facts(self) -> dict[str, Any]:
        return {
            "device": f"CPU {platform.processor() or platform.machine()}",
            "driver": f"none ({self.reason})",
            "versions": versions(),
            "commit": commit(),
        }

    def put(self, x: NDArray[Any]) -> Any:
        return x.copy(order="K")

    def get(self, x: Any) -> NDArray[Any]:
        return np.array(x, order="K")

    def tensor(self, x: Any) -> Any:
        torch = importlib.import_module("torch")
        if x.dtype.name == "bfloat16":
            return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
        return torch.from_numpy(x)

    def poison(self, x: Any, value: int) -> None:
        ctypes.memset(x.ctypes.data, value, x.nbytes)

    def wait(self) -> None:
        pass

    def times(self, calls: list[Call], rounds: int) -> list[float]:
        return interleaved(calls, rounds, self._time)

    def _time(self, call: Call) -> float:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e6

    def copy_gbps(self) -> float:
        source, out = np.ones(1 << 24), np.empty(1 << 24)
        return 2 * source.nbytes / self.times([lambda: np.copyto(out, source)], 5)[0] / 1e3


class Gpu:
    """CuPy beside torch, timed by events on the default stream, which both use."""

    elements = 1 << 62
    rounds = 25

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self._properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        self._scrub = cupy.ones(2 * self._properties["l2CacheSize"], np.float32)  # eight times the cache
        self._scrubbed = cupy.empty((), np.float32)

    def facts(self) -> dict[str, Any]:
        name = self._properties["name"]
        driver = self.cupy.cuda.runtime.driverGetVersion()
        nvrtc = ".".join(map(str, self.cupy.cuda.nvrtc.getVersion()))
        return {
            "device": name.decode() if isinstance(name, bytes) else str(name),
            "driver": f"CUDA {driver // 1000}.{driver % 1000 // 10}",
            "versions": versions() | {"cupy": self.cupy.__version__, "nvrtc": nvrtc},
            "commit": commit(),
        }

    def put(self, x: NDArray[Any]) -> Any:
        axes = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])  # CuPy's copy would be contiguous
        return self.cupy.asarray(x.transpose(axes)).transpose(np.argsort(axes).tolist())

    def get(self, x: Any) -> NDArray[Any]:
        return np.asarray(x.get())

    def tensor(self, x: Any) -> Any:
        torch = importlib.import_module("torch")
        if x.dtype.name == "bfloat16":
            return torch.from_dlpack(x.view(np.int16)).view(torch.bfloat16)
        return torch.from_dlpack(x)

    def poison(self, x: Any, value: int) -> None:
        x.data.memset(value, x.nbytes)

    def wait(self) -> None:
        self.cupy.cuda.get_current_stream().synchronize()

    def times(self, calls: list[Call], rounds: int) -> list[float]:
        return interleaved(calls, rounds, self._time)

    def _time(self, call: Call) -> float:
        """Between two events; while the cache is scrubbed the host has time to enqueue what follows."""
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        self._scrub.sum(out=self._scrubbed)  # by reading: written lines would be written back while we measure
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(self.cupy.cuda.get_elapsed_time(start, end)) * 1e3

    def copy_gbps(self) -> float:
        source, out = (self.cupy.ones(1 << 28, np.float32) for _ in range(2))
        return 2 * int(source.nbytes) / self.times([lambda: self.cupy.copyto(out, source)], 9)[0] / 1e3


SLOW_US = 250_000
"""A call is not timed for longer than this, or once."""


def interleaved(calls: list[Call], rounds: int, measure: Callable[[Call], float]) -> list[float]:
    """The median of each call; they take turns, so that a change of clocks meets all of them."""
    turns = [min(rounds, max(1, int(SLOW_US / max(measure(call), 1)))) for call in calls]
    measured: list[list[float]] = [[] for _ in calls]
    for turn in range(max(turns)):
        for call, times, most in zip(calls, measured, turns, strict=True):
            if turn < most:
                times.append(measure(call))
    return [median(times) for times in measured]


def differing(x: Any, y: Any) -> int:
    """How many elements of two arrays of a dtype have other bits, compared where they are."""
    bits = f"u{x.itemsize}"
    return int((x.view(bits) != y.view(bits)).sum())


def versions() -> dict[str, str]:
    """Of the packages whose code is timed."""
    found = {"python": platform.python_version(), "cupysample": cupysample.__version__, "numpy": np.__version__}
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["torch"] = metadata.version("torch")
    return found


def cpu_facts() -> dict[str, Any]:
    """The CPU as the machine names it, and who multiplies NumPy's matrices on it."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    blas: Any = np.show_config(mode="dicts")
    library = blas["Build Dependencies"]["blas"]
    found = versions()
    for name in ("opencv-python-headless", "pillow", "scipy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {
        "device": f"{os.cpu_count()} cores of {model}",
        "driver": f"{library['name']} {library['version']}",
        "versions": found,
        "commit": commit(),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def here() -> Machine:
    """The GPU where CuPy has one that answers, else the CPU."""
    try:
        cupy = importlib.import_module("cupy")
        cupy.zeros(1).get()
        return Gpu(cupy)
    except Exception as error:  # whatever a missing or broken CuPy or driver raises
        return Cpu(" ".join(f"{type(error).__name__}: {error}".split()))


def main(path: Path) -> int:
    """Write down where we are; 0 on a GPU, 3 on a CPU."""
    machine = here()
    facts = machine.facts()
    print(facts)
    Record(path).check(facts)
    return 0 if isinstance(machine, Gpu) else 3


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m bench.machines", description=__doc__)
    parser.add_argument(
        "results", type=Path, metavar="RESULTS.json", help="goes on only with those of the same machine"
    )
    sys.exit(main(parser.parse_args().results))
