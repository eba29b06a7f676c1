"""The stages of ``bench/on_device.sh``: parts, each written down as it ends.

A part that passed or failed is not run again in the same folder; one that ran out of time, or was never reached, is.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from bench.record import Record
from bench.workloads import GROUPS

ROOT = Path(__file__).parents[1]
SECONDS = 460
"""A call ends within 8 minutes."""
SHORTEST = 20
"""Less is not worth starting a part for."""
LAST_WORDS = 15
"""Of its time, for a part that is interrupted: pytest's processes take some before it says what has failed."""

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "--tb=short")
"""What packages of other versions warn of is shown, not an error."""

MODES = {mode: f"test_definition[{mode}]" for mode in ("bilinear", "nearest", "area", "tricubic", "lanczos")}
KERNELS = {
    kernel: f"test_every_kernel[{kernel}]"
    for kernel in ("band_walk", "few_taps", "band_bytes", "band", "band_integer", "resample")
}
SANITIZERS = {
    "memcheck": MODES | KERNELS,
    "racecheck": MODES | KERNELS,
    "initcheck": MODES,
    "synccheck": MODES | KERNELS,
}
"""Tests of ``tests/test_gpu.py`` that run under each: every arithmetic, number of axes and layout in modes whose arrays are small;
every kernel, for small arrays do not get all of them."""


class Part(NamedTuple):
    """A command and the longest it may take; ``command`` is empty where the machine lacks what it needs.

    again:  whether it is run in every call, for what it reads may have changed.
    """

    name: str
    seconds: int
    command: tuple[str, ...]
    again: bool = False


def build(results: Path) -> list[Part]:
    """All kernels, into CuPy's cache, so that nothing after it waits for the compiler; and how long a first call does."""
    return [
        Part("kernels", 200, (sys.executable, "-m", "bench.compiling")),
        Part("first-call", 90, (sys.executable, "-m", "bench.first_call", str(results))),
    ]


def tests(_: Path) -> list[Part]:
    """What only a device can show, the examples in the docstrings, and that what is timed is right."""
    four, eight = ((("-n", n, "--dist", "worksteal") if find_spec("xdist") else ()) for n in ("4", "8"))
    return [
        Part("gpu", 220, (*PYTEST, *eight, *limited(150), "--durations=10", "-m", "gpu", *gpu_files())),
        Part("workloads", 200, (*PYTEST, *four, "-p", "no:benchmark", "bench/test_workloads.py::test_right")),
        Part("doctests", 60, (*PYTEST, "--doctest-modules", "--doctest-ignore-import-errors", "cupysample")),
    ]


def limited(seconds: int) -> tuple[str, ...]:
    """For each test, where pytest-timeout is there; a signal would not interrupt one that waits for the device."""
    return ("--timeout", str(seconds), "--timeout-method", "thread") if find_spec("pytest_timeout") else ()


def gpu_files() -> list[str]:
    """The files with tests for a device; the others may need packages that are not there."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if "pytest.mark.gpu" in path.read_text()]


def sanitize(_: Path) -> list[Part]:
    """Out-of-bounds accesses, uninitialised reads, races and misused barriers."""
    found = shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin")
    parts = []
    for tool, tests in SANITIZERS.items():
        for name, test in tests.items():
            sanitizer = (str(found), "--tool", tool, "--error-exitcode", "99", "--print-limit", "20")
            tested = (*PYTEST, "-p", "bench.unpooled", f"tests/test_gpu.py::{test}")
            parts.append(Part(f"{tool}-{name}", 240, (*sanitizer, *tested) if found else ()))
    return parts


def bench(results: Path) -> list[Part]:
    """Every workload, the host's time of a call, and the tables and the picture of what was measured."""
    timed = (*PYTEST, *limited(60), "-p", "no:benchmark", "--results", str(results))
    report = (sys.executable, "-m", "bench.report", str(results)) if find_spec("PIL") else ()
    return [
        *(Part(group, 150, (*timed, "bench/test_workloads.py::test_time", "--group", group)) for group in GROUPS),
        Part("overhead", 90, (*timed, "bench/test_overhead.py")),
        Part("report", 60, report, again=True),
    ]


def count(results: Path) -> list[Part]:
    """What the device counts while each workload runs."""
    return [Part("counters", SECONDS, (sys.executable, "-m", "bench.counters", str(results)))]


def sweep(results: Path) -> list[Part]:
    """The tuned constants."""
    return [Part("constants", SECONDS, (sys.executable, "-u", "-m", "bench.sweep", str(results)))]


STAGES: dict[str, Callable[[Path], list[Part]]] = {
    stage.__name__: stage for stage in (build, tests, sanitize, bench, count, sweep)
}
TOGETHER = {"tests", "sanitize"}
"""Stages whose parts run beside each other; those of the others are alone on the device."""
AT_A_TIME = 7
"""Parts that do, of one process or more each."""


def run(command: tuple[str, ...], seconds: float, output: int) -> int | None:
    """Run a command; its exit status, None if it was stopped."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    _running.add(process)
    try:
        return process.wait(max(seconds - LAST_WORDS, 1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # pytest then says what has failed
        with suppress(subprocess.TimeoutExpired):
            process.wait(LAST_WORDS)
        return None
    finally:
        stop(process)
        _running.discard(process)


_running: set[subprocess.Popen[bytes]] = set()


def stop(process: subprocess.Popen[bytes]) -> None:
    """With all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop_all(*_: object) -> None:
    """When this process is told to end."""
    for process in list(_running):
        stop(process)
    os._exit(143)


class Run:
    """One call of the script: the folder, when it ends, and what is said."""

    def __init__(self, out: Path, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.report, self.record = out / "report.txt", Record(out / "results.json")
        self._lock = threading.RLock()

    def say(self, text: str) -> None:
        """A line in the report and on the terminal."""
        with self._lock:
            with self.report.open("a") as output:
                output.write(text + "\n")
            print(text, flush=True)

    @contextmanager
    def output(self) -> Iterator[int]:
        """A file that is added to the report as a whole."""
        with tempfile.TemporaryFile() as file:
            try:
                yield file.fileno()
            finally:
                file.seek(0)
                with self._lock, self.report.open("ab") as report:
                    shutil.copyfileobj(file, report)

    def start(self) -> str | None:
        """What a part has that passes here; None where results cannot be written."""
        with self.output() as output:
            run((sys.executable, "-m", "cupysample"), 60, output)
            found = run((sys.executable, "-m", "bench.machines", str(self.record.path)), 60, output)
        return {0: "passed", 3: "passed without a GPU"}.get(-1 if found is None else found)

    def stages(self, names: list[str], passed: str) -> bool:
        """Run what is left of some stages, their parts together if all of them may; whether all passed on a GPU."""
        parts = [(f"{name}/{part.name}", part) for name in names for part in STAGES[name](self.record.path)]
        with ThreadPoolExecutor(AT_A_TIME if TOGETHER.issuperset(names) else 1) as threads:
            statuses = list(threads.map(lambda named: self.part(named[0], named[1], passed), parts))
        self.say(f"==== {'+'.join(names)}: {statuses.count('passed')} of {len(statuses)} parts passed on a GPU")
        return set(statuses) == {"passed"}

    def part(self, key: str, part: Part, passed: str) -> str:
        """Run a part if it is left to do; how it ended, in words."""
        status = str(self.record.read().get("parts", {}).get(key, {}).get("status", ""))
        if not part.again and (status == passed or status.startswith("failed")):
            self.say(f"---- {key}: {status} before")
            return status
        start = time.monotonic()
        left = self.end - start
        if not part.command:
            status = "missing"
        elif left < min(part.seconds, SHORTEST):
            status = "not reached"
        else:
            with self.output() as output:
                os.write(output, f"---- {key}\n".encode())
                code = run(part.command, min(part.seconds, left), output)
            status = "out of time" if code is None else passed if code == 0 else f"failed ({code})"
        seconds = round(time.monotonic() - start, 1)
        with self._lock:
            ended = {key: {"status": status, "seconds": seconds}}
            self.record.write(parts=self.record.read().get("parts", {}) | ended)
            self.say(f"---- {key}: {status}, {seconds} s")
        return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run stages; 0 if all of them passed on a device."""
    parser = argparse.ArgumentParser("bench/on_device.sh", description="Tests and measures on a machine with a GPU.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the call ends by then (default: %(default)s)")
    meaning = f"{', '.join(STAGES)}; those joined by + are one, their parts beside each other if they may"
    parser.add_argument("stages", metavar="STAGE", nargs="+", help=meaning)
    parser.add_argument("out", metavar="OUT", type=Path, help="a folder for report.txt and results.json")
    options = parser.parse_args(arguments)
    groups = [names.split("+") for names in options.stages]
    for name in itertools.chain.from_iterable(groups):
        if name not in STAGES:
            parser.error(f"STAGE: one of {', '.join(STAGES)}; got {name}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"OUT: {error}")
    signal.signal(signal.SIGTERM, stop_all)
    run = Run(options.out.resolve(), options.seconds)
    run.say(f"==== {' '.join(options.stages)}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC")
    passed = run.start()
    if passed is None:
        run.say(f"==== the facts of this machine cannot be written, see {run.report}")
        return 1
    return 0 if set(map(partial(run.stages, passed=passed), groups)) == {True} else 1


if __name__ == "__main__":
    sys.exit(main())
