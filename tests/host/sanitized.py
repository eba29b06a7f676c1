"""Launches under AddressSanitizer and UBSan.

The runtime of AddressSanitizer has to be the first library of a process, so the launches run in one of their own:
this module is also its program, `python -m tests.host.sanitized <jobs> <outputs>`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import HostKernels, Job, Order, build

MODULE = f"{HostKernels.__module__.rpartition('.')[0]}.sanitized"  # by the name that the jobs are pickled under
GUARD = 1 << 20  # bytes on either side of a buffer that nobody may touch


class SanitizerError(Exception):
    """What a sanitizer reported, or that a launch gave other bits under it."""


def replay_sanitized(kernels: HostKernels, jobs: Sequence[Job], order: Order = "forward") -> None:
    """Run jobs of plain `kernels` under the sanitizers and require the same bits.

    Reported are accesses outside of the arrays and of shared memory, to the byte, writes to any array but the output,
    misaligned accesses, and undefined arithmetic.
    """
    sanitized = build(kernels.texts, "sanitize", kernels.path.parent)
    with tempfile.TemporaryDirectory() as work:
        task, results = Path(work) / "jobs", Path(work) / "outputs"
        task.write_bytes(pickle.dumps((sanitized, list(jobs), order)))
        process = subprocess.run(
            [sys.executable, "-m", MODULE, str(task), str(results)],
            cwd=Path(__file__).resolve().parents[MODULE.count(".")],
            env={
                **os.environ,
                "LD_PRELOAD": _runtime(),
                "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's
                "UBSAN_OPTIONS": "print_stacktrace=1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        outputs = list(_outputs(results))
    for index, (job, output) in enumerate(zip(jobs, outputs, strict=False)):
        if output.tobytes() != kernels.run(job, order).tobytes():
            raise SanitizerError(f"job {index}, {job.kernel}: other bits than without the sanitizers")
    if process.returncode:
        done = len(outputs)
        where = f"job {done}, {jobs[done].kernel}" if done < len(jobs) else "after the last job"
        raise SanitizerError(f"{where}:\n{process.stderr}")


def _runtime() -> str:
    result = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def _outputs(path: Path) -> Iterator[NDArray[Any]]:
    """The outputs of the jobs that came to their end, as they were written one by one."""
    if path.exists():
        with path.open("rb") as file:
            while file.peek(1):
                yield pickle.load(file)


def _main(task: str, results: str) -> None:
    kernels, jobs, order = pickle.loads(Path(task).read_bytes())
    with open(results, "wb", buffering=0) as file:
        for job in jobs:
            file.write(pickle.dumps(_run(kernels, job, order)))


def _run(kernels: HostKernels, job: Job, order: Order) -> NDArray[Any]:
    with ExitStack() as stack:
        placed = {
            name: stack.enter_context(_guarded(array, writable=name == job.out)) for name, array in job.arrays.items()
        }
        kernels.launch(job, {name: array.ctypes.data for name, array in placed.items()}, order)
        return placed[job.out].copy()


@contextmanager
def _guarded(array: NDArray[Any], writable: bool) -> Iterator[NDArray[Any]]:
    """A copy of `array`, poisoned before its first and behind its last byte."""
    process = ctypes.CDLL(None)
    poison, unpoison = process.__asan_poison_memory_region, process.__asan_unpoison_memory_region
    poison.argtypes = unpoison.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    process.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    total = GUARD + array.nbytes + GUARD
    memory = np.frombuffer(mmap.mmap(-1, total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    start, end = memory.ctypes.data, memory.ctypes.data + total
    copy = memory[GUARD : GUARD + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    poison(start, GUARD)
    poison(start + GUARD + array.nbytes, GUARD)
    if not writable:
        process.mprotect(start, total, mmap.PROT_READ)
    try:
        yield copy
    finally:
        unpoison(start, end - start)


if __name__ == "__main__":
    _main(*sys.argv[1:])
