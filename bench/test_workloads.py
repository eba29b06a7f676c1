"""Every workload: whether it is right; and timed, beside whoever has it too."""

from __future__ import annotations

from typing import Any

import pytest

import cupysample
from bench.machines import Call, Machine, differing, host_time
from bench.peers import PEERS, peers
from bench.record import Record
from bench.workloads import WORKLOADS, Workload
from tests import bounds, oracle

workloads = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: "-".join(workload.key))


@workloads
def test_right(workload: Workload, machine: Machine) -> None:
    """The last plane, the farthest in memory, is that of the definition."""
    workload = workload.smaller(machine.elements)
    x = machine.put(workload.values())
    check(workload, machine, x, our_call(workload, x)[0])


@workloads
def test_time(
    workload: Workload,
    machine: Machine,
    copy_gbps: float,
    others: tuple[str, ...],
    results: Record | None,
    table: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workload = workload.smaller(machine.elements)
    x = machine.put(workload.values())
    out, ours = our_call(workload, x)
    written(machine, ours, out)
    theirs = dict(peers(workload, machine, x, {name: PEERS[name] for name in others}))
    device = machine.times([ours, *theirs.values()], machine.rounds)
    gbps = workload.minimum_bytes / device[0] / 1e3
    row = {
        "workload": workload.name,
        "dtype": workload.dtype,
        "layout": workload.layout,
        "direction": workload.direction,
        "shape": list(workload.shape),
        "time_us": round(device[0], 2),
        "gbps": round(gbps, 1),
        "copy_fraction": round(gbps / copy_gbps, 3),
        "ratio": {name: round(time / device[0], 2) for name, time in zip(theirs, device[1:], strict=True)},
    }
    if workload.name.startswith("tiny"):
        calls = {"cupysample": lambda: cupysample.interpolate(x, **workload.arguments), "torch": theirs.get("torch")}
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


def our_call(workload: Workload, x: Any) -> tuple[Any, Call]:
    """The result, and the call that writes it again."""
    if workload.gradient:
        out = cupysample.interpolate_backward(x, workload.shape, **workload.arguments)
        assert tuple(out.shape) == workload.shape
        return out, lambda: cupysample.interpolate_backward(x, workload.shape, **workload.arguments, out=out)
    out = cupysample.interpolate(x, **workload.arguments)
    assert tuple(out.shape) == workload.output_shape
    return out, lambda: cupysample.interpolate(x, **workload.arguments, out=out)


def written(machine: Machine, call: Call, out: Any) -> None:
    """Every element is written, whatever was there before."""
    machine.poison(out, 0xFF)  # NaN
    call()
    first = out.copy(order="K")
    machine.poison(out, 0x55)
    call()
    assert differing(first, out) == 0, "elements are not written"


def check(workload: Workload, machine: Machine, x: Any, out: Any) -> None:
    """The last plane is that of the definition."""
    source, actual = machine.get(x[-1:, -1:]), machine.get(out[-1:, -1:])
    if workload.gradient:
        spatial = workload.shape[2:]
        expected = oracle.backward(source, spatial, **workload.arguments)
        tolerance = bounds.backward_bound(source, spatial, dtype=workload.dtype, **workload.arguments)
    else:
        expected = oracle.interpolate(source, **workload.arguments)
        tolerance = bounds.bound(source, **workload.arguments)
    bounds.assert_within(actual, expected, tolerance, case=workload)


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    name = f"{row['workload']} {row['dtype']} {row['layout']} {row['direction']}"
    ratios = ", ".join(f"{ratio:.2f}x {peer}" for peer, ratio in row["ratio"].items()) or "nobody else has it"
    host = f", host {row['host_us']} us" if "host_us" in row else ""
    return f"{name:50} {row['time_us']:10.1f} us {row['gbps']:8.1f} GB/s {row['copy_fraction']:6.1%} of copy, {ratios}{host}"
