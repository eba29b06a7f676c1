"""Every workload: right first, then timed, beside torch where torch has it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import cupysample
from bench.machines import Call, Machine, host_time
from bench.record import Record
from bench.workloads import WORKLOADS, Workload
from tests import bounds, oracle


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: "-".join(workload.key))
def test_forward(
    workload: Workload,
    machine: Machine,
    copy_gbps: float,
    results: Record | None,
    table: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workload = workload.smaller(machine.elements)
    x = machine.put(workload.values())
    out = cupysample.interpolate(x, **workload.arguments)
    assert tuple(out.shape) == workload.output_shape

    def ours() -> Any:
        return cupysample.interpolate(x, **workload.arguments, out=out)

    check(workload, machine, ours, x, out)
    theirs = torch_call(workload, machine, x)
    device = machine.times([ours, *([theirs] if theirs else [])], machine.rounds)
    gbps = workload.minimum_bytes / device[0] / 1e3
    row = {
        "workload": workload.name,
        "dtype": workload.dtype,
        "layout": workload.layout,
        "direction": "forward",
        "shape": list(workload.shape),
        "time_us": round(device[0], 2),
        "gbps": round(gbps, 1),
        "copy_fraction": round(gbps / copy_gbps, 3),
        "ratio": {"torch": round(device[1] / device[0], 2)} if theirs else {},
    }
    if workload.name.startswith("tiny"):
        calls = {"cupysample": lambda: cupysample.interpolate(x, **workload.arguments), "torch": theirs}
        row["host_us"] = {name: round(host_time(machine, call), 2) for name, call in calls.items() if call}
    if results is not None:
        results.append("rows", row)
    with capsys.disabled():
        print("\n" + line(row), end="")

    def whole() -> None:
        ours()
        machine.wait()

    if table is not None:
        table.extra_info.update(row)
        table.pedantic(whole, rounds=machine.rounds, warmup_rounds=1)


def check(workload: Workload, machine: Machine, call: Call, x: Any, out: Any) -> None:
    """Every element is written, and the last plane, the farthest in memory, is that of the definition."""
    copies = []
    for value in (0xFF, 0x55):  # NaN, and a number
        machine.poison(out, value)
        call()
        copies.append(machine.get(out))
    first, second = (copy.view(f"u{copy.itemsize}") for copy in copies)
    np.testing.assert_array_equal(first, second)
    source, actual = machine.get(x[-1:, -1:]), copies[0][-1:, -1:]
    expected = oracle.interpolate(source, **workload.arguments)
    tolerance = bounds.bound(source, **workload.arguments)
    bounds.assert_within(actual, expected, tolerance, case=workload)


def torch_call(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """The same call of torch's; None where there is no torch for the device or it does not have the case."""
    try:
        interpolate = importlib.import_module("torch").nn.functional.interpolate
        tensor = machine.tensor(x)
        interpolate(tensor, **workload.arguments)
    except Exception:  # each version has other cases and other words for those it has not
        return None
    return lambda: interpolate(tensor, **workload.arguments)


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    name = f"{row['workload']} {row['dtype']} {row['layout']}"
    ratio = f"{row['ratio']['torch']:.2f}x torch" if row["ratio"] else "not in torch"
    host = f", host {row['host_us']} us" if "host_us" in row else ""
    return f"{name:40} {row['time_us']:10.1f} us {row['gbps']:8.1f} GB/s {row['copy_fraction']:6.1%} of copy, {ratio}{host}"
