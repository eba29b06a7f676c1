"""The NumPy path beside others on the CPU, with one thread and with two: ``pytest bench/test_numpy.py --cpu FILE.json``.

Every call is right first, then timed in turns with the others. The ratio of a round is the other's time over ours; what is
written is the median of the rounds, and between which ratios half of them lie.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any

import pytest

import cupysample
from bench.machines import Call, Cpu
from bench.peers import CPU_PEERS, peers
from bench.record import Record
from bench.test_workloads import check, our_call, written
from bench.workloads import CPU_WORKLOADS, Workload

ROUNDS = 15
SHORTEST = 1e-2
"""Seconds that are worth timing; shorter calls are repeated, for after a pause the first takes longer."""
SLOW = 0.5
"""Seconds; who takes longer is timed once."""
PAUSE = 5e-3
"""Seconds before each call: the threads of torch and OpenCV spin for a while after theirs, on the core that is needed."""


@pytest.fixture(params=(1, 2))
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """For everybody who has any."""
    n: int = request.param
    torch = importlib.import_module("torch")
    before = cupysample.get_num_threads(), torch.get_num_threads()
    cupysample.set_num_threads(n)
    torch.set_num_threads(n)
    with contextlib.suppress(ImportError):
        importlib.import_module("cv2").setNumThreads(n)
    yield n
    cupysample.set_num_threads(before[0])
    torch.set_num_threads(before[1])


def seconds(call: Call, repeats: int) -> float:
    """Of one of so many calls."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def enough(call: Call) -> int:
    """How often to repeat a call."""
    repeats = 1
    while repeats * seconds(call, repeats) < SHORTEST:
        repeats *= 2
    return repeats


def rounds(ours: Call, theirs: dict[str, Call], n: int) -> tuple[list[float], dict[str, list[float]]]:
    """Our times, and the others' over ours."""
    repeats, others = enough(ours), {name: enough(call) for name, call in theirs.items()}
    mine: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in theirs}
    for k in range(n):
        mine.append(seconds(ours, repeats))
        for name, call in theirs.items():
            if k == 0 or ratios[name][0] * mine[0] < SLOW:
                ratios[name].append(seconds(call, others[name]) / mine[-1])
    return mine, ratios


def row_of(workload: Workload, n: int, mine: list[float], ratios: dict[str, list[float]]) -> dict[str, Any]:
    """What is written."""
    return {
        "workload": workload.name,
        "dtype": workload.dtype,
        "layout": workload.layout,
        "direction": workload.direction,
        "shape": list(workload.shape),
        "threads": n,
        "time_us": round(median(mine) * 1e6, 2),
        "ratio": {name: round(median(each), 2) for name, each in ratios.items()},
        "spread": {
            name: [round(q, 2) for q in (quantiles(each, n=4)[::2] if len(each) > 1 else each * 2)]
            for name, each in ratios.items()
        },
    }


@pytest.mark.parametrize("workload", CPU_WORKLOADS, ids=lambda workload: "-".join(workload.key))
def test_numpy(
    workload: Workload, threads: int, cpu_results: Record | None, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Cpu("")
    x = workload.values()
    out, into = our_call(workload, x)
    written(machine, into, out)
    check(workload, machine, x, out)
    if workload.gradient:
        ours: Call = lambda: cupysample.interpolate_backward(x, workload.shape, **workload.arguments)  # noqa: E731
    else:
        ours = lambda: cupysample.interpolate(x, **workload.arguments)  # noqa: E731
    row = row_of(workload, threads, *rounds(ours, dict(peers(workload, machine, x, CPU_PEERS)), ROUNDS))
    if cpu_results is not None:
        cpu_results.append("cpu", row)
    with capsys.disabled():
        others = ", ".join(f"{ratio:.2f}x {name}" for name, ratio in row["ratio"].items())
        print(f"\n{'-'.join(workload.key):50} {threads} threads {row['time_us']:10.1f} us, {others}", end="")
