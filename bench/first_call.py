"""Milliseconds that first calls take: ``python -m bench.first_call RESULTS.json``.

The first call of each kind, in a process that has made no other, then in another process: CuPy's disk cache is empty at
first, and full the second time. What CUDA takes to start on the device is before that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machines
from bench.record import Record

CALLS: dict[str, dict[str, Any]] = {
    "nearest": {},
    "bilinear": {"mode": "bilinear"},
    "bilinear float16": {"mode": "bilinear", "dtype": "float16"},
    "bilinear uint8": {"mode": "bilinear", "dtype": "uint8"},
    "bicubic": {"mode": "bicubic"},
    "bicubic float64": {"mode": "bicubic", "dtype": "float64"},
    "bilinear antialias": {"mode": "bilinear", "antialias": True, "size": (12, 9)},
    "bicubic antialias": {"mode": "bicubic", "antialias": True, "size": (12, 9)},
    "bicubic antialias uint8": {"mode": "bicubic", "antialias": True, "size": (12, 9), "dtype": "uint8"},
    "lanczos": {"mode": "lanczos", "antialias": True, "size": (12, 9)},
    "area": {"mode": "area", "size": (12, 9)},
    "bilinear antialias float16, any size": {
        "mode": "bilinear",
        "antialias": True,
        "dtype": "float16",
        "any_size": True,
    },
}
"""``any_size``: a warmup for calls of every size."""


def in_a_new_process(cache: str) -> dict[str, float]:
    """Milliseconds of each call."""
    command = (sys.executable, "-m", "bench.first_call")
    environment = os.environ | {"CUPY_CACHE_DIR": cache}
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    times: dict[str, float] = json.loads(done.stdout)
    return times


def measured() -> dict[str, float]:
    """Milliseconds of each call, one after another, until the device has done it."""
    import numpy as np

    import cupysample

    machine, times = machines.here(), {}
    for name, call in CALLS.items():
        arguments = dict(call)
        x = machine.put(np.zeros((1, 3, 40, 60), arguments.pop("dtype", "float32")))
        function: Any = cupysample.warmup
        if "any_size" not in arguments:
            function, arguments = cupysample.interpolate, {"size": (50, 70)} | arguments
        machine.wait()
        start = time.perf_counter()
        function(x, **arguments)
        machine.wait()
        times[name] = round((time.perf_counter() - start) * 1e3, 2)
    return times


def main(path: Path) -> None:
    """Two processes, one after another."""
    record = Record(path)
    record.check(machines.here().facts())
    with tempfile.TemporaryDirectory() as cache:
        times = {name: in_a_new_process(cache) for name in ("empty", "full")}
    record.write(first_call_ms=times)
    for name in CALLS:
        print(
            f"{name:36} {times['empty'][name]:8.1f} ms with an empty cache, {times['full'][name]:6.1f} with a full one"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m bench.first_call", description=__doc__)
    parser.add_argument(
        "results", type=Path, nargs="?", metavar="RESULTS.json", help="without it: prints those of this process as JSON"
    )
    results = parser.parse_args().results
    if results is not None:
        main(results)
    else:
        print(json.dumps(measured()))
