"""The stages of ``bench/on_device.sh``: parts that run one after another, each written down as it ends.

A part that passed or failed is not run again in the same folder; one that ran out of time, or was never reached, is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from bench.record import Record

ROOT = Path(__file__).parents[1]
STAGE_SECONDS = 460
"""A stage ends within 8 minutes."""
SHORTEST = 30
"""Less is not worth starting a part for."""

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default")
"""What packages of other versions warn of is shown, not an error."""

SANITIZERS = ("memcheck", "initcheck", "racecheck", "synccheck")
SANITIZED = ("bilinear", "nearest", "area", "tricubic", "lanczos")
"""Modes whose tests run under the sanitizers: every kernel, and every arithmetic and number of axes."""


class Part(NamedTuple):
    """A command and the longest it may take; ``command`` is empty where the machine lacks what it needs."""

    name: str
    seconds: int
    command: tuple[str, ...]


def tests(_: Path) -> list[Part]:
    """What only a device can show, and the examples in the docstrings."""
    workers = ("-n", "4") if find_spec("xdist") else ()
    return [
        Part("doctests", 60, (*PYTEST, "--doctest-modules", "--doctest-ignore-import-errors", "cupysample")),
        Part("gpu", STAGE_SECONDS, (*PYTEST, *workers, "--durations=10", "-m", "gpu", *gpu_files())),
    ]


def gpu_files() -> list[str]:
    """The files with tests for a device; the others may need packages that are not there."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if "pytest.mark.gpu" in path.read_text()]


def sanitize(_: Path) -> list[Part]:
    """Out-of-bounds accesses, uninitialised reads, races and misused barriers."""
    found = shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin")
    parts = []
    for mode in SANITIZED:
        for tool in SANITIZERS:
            sanitizer = (str(found), "--tool", tool, "--error-exitcode", "99", "--print-limit", "20")
            test = (*PYTEST, "-p", "bench.unpooled", f"tests/test_gpu.py::test_definition[{mode}]")
            parts.append(Part(f"{tool}-{mode}", 180, (*sanitizer, *test) if found else ()))
    return parts


def bench(results: Path) -> list[Part]:
    """Every workload, and the tables and the picture of what was measured."""
    return [
        Part("workloads", STAGE_SECONDS, (*PYTEST, "-p", "no:benchmark", "bench", "--results", str(results))),
        Part("report", 60, (sys.executable, "-m", "bench.report", str(results)) if find_spec("PIL") else ()),
    ]


def sweep(results: Path) -> list[Part]:
    """The tuned constants."""
    return [Part("constants", STAGE_SECONDS, (sys.executable, "-u", "-m", "bench.sweep", str(results)))]


STAGES: dict[str, Callable[[Path], list[Part]]] = {"tests": tests, "sanitize": sanitize, "bench": bench, "sweep": sweep}


def run(command: tuple[str, ...], seconds: float, report: Path) -> int | None:
    """Run a command, its output going to the report; its exit status, None if it was stopped."""
    with report.open("a") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stage; 0 if all of it passed on a device."""
    parser = argparse.ArgumentParser("bench/on_device.sh", description="Tests and measures on a machine with a GPU.")
    parser.add_argument("stage", metavar="STAGE", choices=STAGES, help=", ".join(STAGES))
    parser.add_argument("out", metavar="OUT", type=Path, help="a folder for report.txt and results.json")
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"OUT: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends too
    return stage(options.stage, options.out.resolve())


def stage(name: str, out: Path) -> int:
    """Run what is left of a stage."""
    end = time.monotonic() + STAGE_SECONDS
    report, record = out / "report.txt", Record(out / "results.json")

    def say(text: str) -> None:
        with report.open("a") as output:
            output.write(text + "\n")
        print(text, flush=True)

    say(f"==== {name}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC")
    run((sys.executable, "-m", "cupysample"), 60, report)
    found = run((sys.executable, "-m", "bench.machines", str(record.path)), 60, report)
    if found not in (0, 3):
        say(f"==== {name}: the facts of this machine cannot be written, see {report}")
        return 1
    passed = "passed" if found == 0 else "passed without a GPU"
    statuses = []
    for part in STAGES[name](record.path):
        key = f"{name}/{part.name}"
        status = record.read().get("parts", {}).get(key, {}).get("status", "")
        if status == passed or status.startswith("failed"):
            say(f"---- {key}: {status} before")
        else:
            say(f"---- {key}")
            start = time.monotonic()
            status = run_part(part, end - start, report, passed)
            seconds = round(time.monotonic() - start, 1)
            record.write(parts=record.read().get("parts", {}) | {key: {"status": status, "seconds": seconds}})
            say(f"---- {key}: {status}, {seconds} s")
        statuses.append(status)
    say(f"==== {name}: {statuses.count('passed')} of {len(statuses)} parts passed on a GPU")
    return 0 if set(statuses) == {"passed"} else 1


def run_part(part: Part, left: float, report: Path, passed: str) -> str:
    """Run a part in the time that is left to the stage; how it ended, in words."""
    if not part.command:
        return "missing"
    if left < min(part.seconds, SHORTEST):
        return "not reached"
    code = run(part.command, min(part.seconds, left), report)
    return "out of time" if code is None else passed if code == 0 else f"failed ({code})"


if __name__ == "__main__":
    sys.exit(main())
