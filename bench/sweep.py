"""Time some workloads with other values of the tuned constants: ``python -m bench.sweep RESULTS.json``.

What stands in ``cupysample/_tuning.py`` is run first, as the row without constants; every other row says whether its
result has the same bits. Constants that make the same launch are one row, and rows that the file already holds are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from bench import machines
from bench.compiling import compile_all
from bench.machines import Call, Cpu, Machine, differing
from bench.record import KEY, Record, key_of
from bench.test_workloads import our_call
from bench.workloads import WORKLOADS, Workload
from cupysample import (
    _bands,
    _copies,
    _cuda,
    _few_taps,
    _kernels,
    _launch,
    _made,
    _numpy,
    _sums,
    _tables,
    _tuning,
    _view,
    _ways,
)

Constants = dict[str, Any]

MODULES = (_launch, _few_taps, _bands, _made, _view, _numpy, _sums, _ways, _copies, _tables)
"""Where the constants are read."""


def _run_rows(n: int) -> dict[str, dict[int, dict[int, int]]]:
    return {
        reads: {axes: dict.fromkeys(taps, n) for axes, taps in table.items()}
        for reads, table in _tuning.RUN_ROWS.items()
    }


GPU: tuple[dict[str, tuple[Any, ...]], ...] = (
    {"HELD_BYTES": (64, 128), "RUN_ROWS": tuple(map(_run_rows, (8, 16, 32, 64, 128)))},
    {"GATHERED_ELEMENTS": tuple({"fixed": (n, n)} for n in (4, 8, 16))},
    {"WINDOWED_ELEMENTS": tuple({1: (n,), 3: (m,)} for n, m in ((4, 12), (16, 24)))},
    {"RUN_THREADS": (64, 256)},
    {"RATIOS": ((), ((2, 1), (4, 1)))},
    {"TWO_DEPTHS": ((),)},
    {"LAYERS": ((1,), (2, 1))},
    {"ALONE": (0.1, 1.0)},
    {"RESIDENT_THREADS": tuple(_tuning.MULTIPROCESSORS * n for n in (512, 1024, 4096))},
    {"STREAMED_BYTES": (1 << 20, 1 << 40)},
    {"RUN_DEPTHS": (1, 2, 4, 16)},
    {"BAND_ROWS": (2, 4), "BAND_GROUPS": (1, 2, 4)},
    {"BAND_INTEGER_ROWS": (6, 8), "BAND_GROUPS": (1, 2)},
    {"BAND_GROUPS_BYTES": (0, 1 << 40)},
    {"BAND_TALL": (1, 1000)},
    {"BAND_TAPS": tuple(dict.fromkeys(("float16", "bfloat16", "float32"), n) for n in (4, 8, 16))},
    {"WALKED_ROWS": ({}, {axes: dict.fromkeys(dtypes, 3) for axes, dtypes in _tuning.WALKED_ROWS.items()})},
    {"WALKED_ALONE": (0.3, 0.9)},
    {"STAGES": (2, 3, 6, 8)},
    {"BAND_THREADS": ((64, 128, 128), (128, 128, 256), (64, 256, 256))},
    {"BAND_INTEGERS": (2, 4)},
    {"FILLING_BLOCKS": tuple(_tuning.MULTIPROCESSORS * n for n in (2, 4, 16))},
)
"""Constants that are varied together, the others as tuned: not everything with everything, which would take hours."""
CPU: tuple[dict[str, tuple[Any, ...]], ...] = ({"TILE_BYTES": tuple(1 << n for n in range(18, 23))},)

SWEPT = (
    "decoder",
    "features",
    "features-bicubic",
    "pyramid",
    "photo",
    "photo-bicubic",
    "photo-quarter",
    "lanczos",
    "thumbnail",
    "volume",
    "audio",
)


@contextmanager
def replaced(constants: Constants) -> Iterator[None]:
    """The package with other constants; what is prepared is forgotten, for it was made with the former."""
    before = [
        (module, name, getattr(module, name)) for module in MODULES for name in constants if hasattr(module, name)
    ]
    assert {name for _, name, _ in before} == set(constants), f"{sorted(constants)}: some are nowhere"
    try:
        for module, name, _ in before:
            setattr(module, name, constants[name])
        forget()
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        forget()


def forget() -> None:
    """Programs and launches are prepared anew."""
    _cuda._launches.clear()
    _numpy._programs.clear()


def grid(machine: Machine) -> list[Constants]:
    """Nothing replaced, then every combination of each group."""
    groups = CPU if isinstance(machine, Cpu) else GPU
    return [
        {},
        *(dict(zip(group, each, strict=True)) for group in groups for each in itertools.product(*group.values())),
    ]


def rows(workload: Workload, machine: Machine, wanted: list[Constants]) -> Iterator[dict[str, Any]]:
    """A row for each launch that some of the constants make."""
    workload = workload.smaller(machine.elements)
    x = machine.put(workload.values())
    out, call = our_call(workload, x)
    reference = out.copy(order="K")
    for constants, *alike in [[each] for each in wanted] if isinstance(machine, Cpu) else distinct(call, wanted):
        row: dict[str, Any] = dict(zip(KEY, workload.key, strict=True)) | {"constants": constants, "alike": alike}
        try:
            with replaced(constants):
                machine.poison(out, 0xFF)
                call()
                row["same_bits"] = differing(out, reference) == 0
                (time_us,) = machine.times([call], machine.rounds)
                row["time_us"] = round(time_us, 2)
        except Exception as error:  # a block too large for a kernel's registers, say
            row["error"] = f"{type(error).__name__}: {error}"
        yield row


def distinct(call: Call, wanted: list[Constants]) -> list[list[Constants]]:
    """Those that make the same launch, together; their kernels are compiled."""
    instances: set[tuple[str, _kernels.Defines]] = set()
    launches: dict[Any, list[Constants]] = {}
    launcher = _kernels.launcher

    def none(kernel: str, defines: _kernels.Defines, *_: Any) -> Any:
        instances.add((kernel, defines))
        return lambda *_: None

    _kernels.launcher = none
    try:
        for constants in wanted:
            key: Any = json.dumps(constants)  # of those that fail, which their rows shall say
            with replaced(constants), suppress(Exception):
                call()
                made = next(reversed(_cuda._launches.values())).launch
                key = (*made[:-1], made.geometry.tobytes())
            launches.setdefault(key, []).append(constants)
    finally:
        _kernels.launcher = launcher
    with suppress(RuntimeError):  # likewise
        compile_all(instances)
    return list(launches.values())


def winners(measured: list[dict[str, Any]]) -> list[tuple[float, Constants]]:
    """(how many times as fast as tuned, constants), best first: the geometric mean over the workloads that have both."""
    tuned = {key_of(row): row["time_us"] for row in measured if not row["constants"] and "time_us" in row}
    gains: dict[str, list[float]] = {}
    for row in measured:
        if "time_us" in row and row["same_bits"] and key_of(row) in tuned:
            for constants in filter(None, (row["constants"], *row["alike"])):
                gains.setdefault(json.dumps(constants), []).append(tuned[key_of(row)] / row["time_us"])
    means = [(geometric_mean(each), json.loads(constants)) for constants, each in gains.items()]
    return sorted(means, key=lambda pair: -pair[0])


def go_on(machine: Machine, path: Path) -> None:
    """Begin anew with what the file lacks, where nothing can run on the device any more in this process."""
    try:
        machine.wait()
    except Exception:
        os.execv(sys.executable, [sys.executable, "-u", "-m", "bench.sweep", str(path)])


def main(path: Path) -> None:
    """Run what the file does not hold yet, writing each row as it comes; then show the best."""
    machine, record = machines.here(), Record(path)
    record.check(machine.facts())
    for workload in WORKLOADS:
        if workload.name not in SWEPT:
            continue
        mine = [row for row in record.read().get("sweep", []) if key_of(row) == workload.key]
        done = {json.dumps(constants) for row in mine for constants in (row["constants"], *row["alike"])}
        wanted = [constants for constants in grid(machine) if json.dumps(constants) not in done]
        for row in rows(workload, machine, wanted) if wanted else ():
            record.append("sweep", row)
            bits = "" if row.get("same_bits", True) else ", OTHER BITS"
            shown = " ".join(f"{name}={value}" for name, value in row["constants"].items()) or "as tuned"
            print(
                f"{' '.join(workload.key):50} {shown:30} {row.get('time_us', row.get('error'))} us{bits}",
                flush=True,
            )
            if "error" in row:
                go_on(machine, path)
    for gain, constants in winners(record.read().get("sweep", []))[:10]:
        print(f"{gain:.3f}x the speed as tuned: {constants}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m bench.sweep", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS.json", help="goes on with what it lacks")
    main(parser.parse_args().results)
