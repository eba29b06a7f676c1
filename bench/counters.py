"""What the device counts while each workload runs once, by Nsight Compute: ``python -m bench.counters RESULTS.json``.

Clocks are left as they are. Without ``ncu`` on the path or in CUDA's folder it says so and fails.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import machines
from bench.record import KEY, Record
from bench.test_workloads import our_call
from bench.workloads import WORKLOADS

METRICS = {
    "us": "gpu__time_duration.sum",
    "read": "dram__bytes_read.sum",
    "written": "dram__bytes_write.sum",
    "dram": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "l2": "lts__throughput.avg.pct_of_peak_sustained_elapsed",
    "l1": "l1tex__throughput.avg.pct_of_peak_sustained_active",
    "issued": "smsp__issue_active.avg.pct_of_peak_sustained_active",
    "instructions": "smsp__inst_executed.sum",
    "occupancy": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "registers": "launch__registers_per_thread",
    "clock": "sm__cycles_elapsed.avg.per_second",
} | {
    f"waits {name}": f"smsp__average_warps_issue_stalled_{name}_per_issue_active.ratio"
    for name in (
        "long_scoreboard",
        "short_scoreboard",
        "lg_throttle",
        "mio_throttle",
        "math_pipe_throttle",
        "barrier",
        "wait",
        "not_selected",
        "no_instruction",
        "imc_miss",
        "dispatch_stall",
        "branch_resolving",
        "drain",
    )
}
"""By the names that they have in the file of results; ``waits``: warps that wait for it, for each instruction issued."""


def run_each_once() -> None:
    """Every workload, one launch each."""
    machine = machines.here()
    for workload in WORKLOADS:
        our_call(workload, machine.put(workload.values()))
        machine.wait()


def rows(text: str) -> list[dict[str, Any]]:
    """A row for each launch, from Nsight Compute's CSV of raw values, whose second line names the units."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith('"ID"'))
    launches = list(csv.DictReader(io.StringIO("\n".join(lines[first:]))))[1:]
    named = []
    for workload, launch in zip(WORKLOADS, launches, strict=True):
        values = {name: launch.get(metric, "") for name, metric in METRICS.items()}
        row: dict[str, Any] = dict(zip(KEY, workload.key, strict=True))
        named.append(row | {name: float(value.replace(",", "")) for name, value in values.items() if value})
    return named


def main(path: Path) -> int:
    """Run under Nsight Compute, and write down what it counts."""
    ncu = shutil.which("ncu", path=f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin:/opt/nvidia/nsight-compute")
    if ncu is None:
        print("ncu, Nsight Compute, is missing")
        return 1
    record = Record(path)
    record.check(machines.here().facts())
    options = ("--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none", "-k", "regex:^cupysample_")
    command = (ncu, *options, "--metrics", ",".join(METRICS.values()), sys.executable, "-m", "bench.counters")
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout)
        return done.returncode
    path.with_name("counters.csv").write_text(done.stdout)
    record.write(counters=rows(done.stdout))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m bench.counters", description=__doc__)
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        metavar="RESULTS.json",
        help="without it: runs each workload, and counts nothing",
    )
    results = parser.parse_args().results
    if results is not None:
        sys.exit(main(results))
    run_each_once()
