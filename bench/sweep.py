"""Time some workloads with other values of the tuned constants: ``python -m bench.sweep RESULTS.json``.

What stands in ``cupysample/_tuning.py`` is run first, as the row without constants; every other row says whether its
result has the same bits. Rows that the file already holds are not run again.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import cupysample
from bench import machines
from bench.machines import Cpu, Machine
from bench.record import Record
from bench.workloads import WORKLOADS, Workload
from cupysample import _cuda, _launch, _numpy

Constants = dict[str, int]

MODULES = (_launch, _numpy)
"""Where the constants are read."""

GPU: dict[str, tuple[int, ...]] = {
    "BLOCK": (64, 128, 256, 512, 1024),
    "MAX_BLOCKS": (1 << 10, 1 << 13, 1 << 16, 1 << 20),
}
CPU: dict[str, tuple[int, ...]] = {"TILE_ELEMENTS": tuple(1 << n for n in range(14, 21, 2))}

SWEPT = ("decoder", "features", "pyramid", "photo", "thumbnail", "volume", "audio")


@contextmanager
def replaced(constants: Constants) -> Iterator[None]:
    """The package with other constants; prepared launches are forgotten, for they were made with the former."""
    before = [
        (module, name, getattr(module, name)) for module in MODULES for name in constants if hasattr(module, name)
    ]
    assert {name for _, name, _ in before} == set(constants), f"{sorted(constants)}: some are nowhere"
    try:
        for module, name, _ in before:
            setattr(module, name, constants[name])
        _cuda._launches.clear()
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        _cuda._launches.clear()


def grid(machine: Machine) -> list[Constants]:
    """Nothing replaced, then every combination."""
    values = CPU if isinstance(machine, Cpu) else GPU
    return [{}, *(dict(zip(values, each, strict=True)) for each in itertools.product(*values.values()))]


def rows(workload: Workload, machine: Machine, wanted: list[Constants]) -> Iterator[dict[str, Any]]:
    """A row for each choice of constants."""
    workload = workload.smaller(machine.elements)
    x = machine.put(workload.values())
    out = cupysample.interpolate(x, **workload.arguments)
    reference = machine.get(out)
    for constants in wanted:
        row: dict[str, Any] = {
            "workload": workload.name,
            "dtype": workload.dtype,
            "layout": workload.layout,
            "constants": constants,
        }
        try:
            with replaced(constants):
                machine.poison(out, 0xFF)
                cupysample.interpolate(x, **workload.arguments, out=out)
                bits = f"u{reference.itemsize}"
                row["same_bits"] = bool(np.array_equal(machine.get(out).view(bits), reference.view(bits)))
                (time_us,) = machine.times(
                    [lambda: cupysample.interpolate(x, **workload.arguments, out=out)], machine.rounds
                )
                row["time_us"] = round(time_us, 2)
        except Exception as error:  # a block too large for a kernel's registers, say
            row["error"] = f"{type(error).__name__}: {error}"
        yield row


def main(path: Path) -> None:
    """Run what the file does not hold yet, writing each row as it comes."""
    machine, record = machines.here(), Record(path)
    record.check(machine.facts())
    for workload in WORKLOADS:
        if workload.name not in SWEPT:
            continue
        done = [
            row["constants"]
            for row in record.read().get("sweep", [])
            if (row["workload"], row["dtype"], row["layout"]) == workload.key
        ]
        wanted = [constants for constants in grid(machine) if constants not in done]
        for row in rows(workload, machine, wanted) if wanted else ():
            record.append("sweep", row)
            bits = "" if row.get("same_bits", True) else ", OTHER BITS"
            constants = " ".join(f"{name}={value}" for name, value in row["constants"].items()) or "as tuned"
            print(
                f"{' '.join(workload.key):40} {constants:30} {row.get('time_us', row.get('error'))} us{bits}",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
