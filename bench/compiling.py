"""Compile instances of kernels into CuPy's disk cache, a process for each core: ``python -m bench.compiling``.

A process compiles one at a time: whoever does holds a lock.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from statistics import median

from cupysample import _kernels, _launch
from cupysample._kernels import Defines

Instance = tuple[str, Defines]


def compile_all(instances: Collection[Instance]) -> list[float]:
    """Seconds that each has taken."""
    return list(_processes().map(_compile, instances)) if instances else []


@cache
def _processes() -> ProcessPoolExecutor:
    """Without what this process has of the device."""
    return ProcessPoolExecutor(os.cpu_count(), get_context("spawn"))


def _compile(instance: Instance) -> float:
    start = time.perf_counter()
    _kernels.function(*instance, device=0)
    return time.perf_counter() - start


def main() -> int:
    """Compile all there are."""
    start = time.perf_counter()
    seconds = compile_all(_launch.instances())
    print(
        f"{len(seconds)} instances in {time.perf_counter() - start:.1f} s by {os.cpu_count()} processes: "
        f"median {median(seconds):.3f} s, longest {max(seconds):.3f} s"
    )
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser("python -m bench.compiling", description=__doc__).parse_args()
    sys.exit(main())
