"""The benchmarks themselves: workloads, the file of results, timing on a stand-in of CuPy."""

from __future__ import annotations

import importlib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cupysample
from bench import machines, sweep
from bench.machines import Cpu, Gpu
from bench.record import Record
from bench.test_forward import check, line
from bench.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parents[1]
FACTS = {"device": "a", "driver": "b", "versions": {}, "commit": "c"}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: "-".join(workload.key))
def test_workloads(workload: Workload) -> None:
    """Scaled down they are the same call, and they say what it returns and moves."""
    small = workload.smaller(1 << 16)
    assert small.key == workload.key
    assert small.minimum_bytes <= workload.minimum_bytes
    ratios = [n_out / n_in for n_in, n_out in zip(workload.shape[2:], workload.output_shape[2:], strict=True)]
    assert [n_out / n_in for n_in, n_out in zip(small.shape[2:], small.output_shape[2:], strict=True)] == pytest.approx(
        ratios, rel=0.1
    )
    x = small.values()
    y = cupysample.interpolate(x, **small.arguments)
    assert x.shape == small.shape
    assert x.dtype.name == y.dtype.name == workload.dtype
    assert y.shape == small.output_shape
    assert x.nbytes + y.nbytes == small.minimum_bytes
    assert (x.strides[1] == x.itemsize) == workload.channels_last


def test_the_readme_shows_the_host_times() -> None:
    """The table is that of the newest committed file."""
    path = sorted((ROOT / "bench" / "results").glob("host-*.json"))[-1]
    rows = Record(path).read()["overhead"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert path.stem.removeprefix("host-") in text
    for array, name in (("cupy", "CuPy"), ("torch", "torch"), ("torch, grad", "torch, requires grad")):
        mine = [row for row in rows if row["array"] == array]
        cells = [f"{min(row['host_us'] for row in mine):.1f} to {max(row['host_us'] for row in mine):.1f}"]
        for shape in ([1, 3, 8, 8], [1, 1, 1, 1]):
            ratios = [row["ratio"] for row in mine if row["shape"] == shape]
            assert len(ratios) == 5
            cells.append(f"{min(ratios)} to {max(ratios)}")
        shown = "| " + " | ".join([name, *cells]) + " |"
        assert shown in text, shown


def test_names_of_workloads_are_unique() -> None:
    assert len({workload.key for workload in WORKLOADS}) == len(WORKLOADS)
    assert set(sweep.SWEPT) <= {workload.name for workload in WORKLOADS}


def test_record_grows_and_refuses_to_mix(tmp_path: Path) -> None:
    record = Record(tmp_path / "results.json")
    record.check(FACTS)
    record.append("rows", {"workload": "x"})
    record.append("rows", {"workload": "y"})
    Record(record.path).check(FACTS)
    assert Record(record.path).read() == FACTS | {"rows": [{"workload": "x"}, {"workload": "y"}]}
    with pytest.raises(ValueError, match="holds results of commit c, this is d"):
        record.check(FACTS | {"commit": "d"})
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_an_unwritten_element_is_noticed() -> None:
    machine, workload = Cpu(""), WORKLOADS[0].smaller(1 << 12)
    x = workload.values()
    out = cupysample.interpolate(x, **workload.arguments)
    good = out.copy()

    def all_but_one() -> None:
        mask = np.ones(out.shape, bool)
        mask[0, 0, 0, 0] = False
        np.copyto(out, good, where=mask)

    check(workload, machine, lambda: np.copyto(out, good), x, out)
    with pytest.raises(AssertionError, match="Mismatched elements: 1 "):
        check(workload, machine, all_but_one, x, out)


def test_a_wrong_element_is_noticed() -> None:
    machine, workload = Cpu(""), WORKLOADS[3].smaller(1 << 12)
    x = workload.values()
    out = cupysample.interpolate(x, **workload.arguments)
    wrong = out.copy()
    wrong[-1, -1, 3, 4] *= 1.001
    with pytest.raises(AssertionError, match="3, 4"):
        check(workload, machine, lambda: np.copyto(out, wrong), x, out)


class Clock:
    """A device that takes as long as each call says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def module(self) -> Any:
        """As much of CuPy as ``Gpu`` uses."""
        clock = self

        class Event:
            def record(self) -> None:
                self.at = clock.now

            def synchronize(self) -> None:
                clock.log.append("wait")

        class Array(np.ndarray):
            def sum(self, out: Any) -> None:  # type: ignore[override]
                clock.log.append("scrub")
                clock.now += 1000

            def get(self) -> Any:
                return np.ascontiguousarray(self)

        runtime = types.SimpleNamespace(
            getDevice=lambda: 0,
            getDeviceProperties=lambda _: {"name": b"NVIDIA Pretend", "l2CacheSize": 1 << 10},
            driverGetVersion=lambda: 13010,
        )
        cuda = types.SimpleNamespace(
            Event=Event,
            runtime=runtime,
            nvrtc=types.SimpleNamespace(getVersion=lambda: (13, 0)),
            get_elapsed_time=lambda start, end: end.at - start.at,
            get_current_stream=lambda: types.SimpleNamespace(synchronize=lambda: None),
        )
        return types.SimpleNamespace(
            __version__="14.2.0",
            cuda=cuda,
            ones=lambda n, dtype: np.ones(n, dtype).view(Array),
            empty=np.empty,
            asarray=lambda x: np.ascontiguousarray(x).view(Array),
        )


def test_times_on_a_gpu() -> None:
    """Between events, the scrub outside of them, the calls in turns, the median of all rounds but the first."""
    clock = Clock()
    gpu = Gpu(clock.module())
    durations = {"a": iter([9.0, 1.0, 3.0, 2.0]), "b": iter([9.0, 5.0, 5.0, 5.0])}

    def call(name: str) -> None:
        clock.log.append(name)
        clock.now += next(durations[name])

    assert gpu.times([lambda: call("a"), lambda: call("b")], rounds=3) == [2000.0, 5000.0]
    assert clock.log == ["scrub", "a", "wait", "scrub", "b", "wait"] * 4
    assert gpu.facts()["device"] == "NVIDIA Pretend"
    assert gpu.facts()["driver"] == "CUDA 13.1"
    for workload in (WORKLOADS[0], WORKLOADS[1]):
        x = workload.smaller(1 << 10).values()
        there = gpu.put(x)
        assert there.strides == x.strides
        np.testing.assert_array_equal(gpu.get(there), x)


def test_without_a_gpu_the_reason_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> Any:
        raise RuntimeError("no\ndriver")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert machines.here().facts()["driver"] == "none (RuntimeError: no driver)"


def test_constants_are_replaced_where_they_are_read() -> None:
    def constants() -> tuple[Any, ...]:
        return tuple(
            vars(module).get(name) for module in sweep.MODULES for name in ("BLOCK", "MAX_BLOCKS", "TILE_ELEMENTS")
        )

    before = constants()
    with sweep.replaced({"BLOCK": 1, "MAX_BLOCKS": 2, "TILE_ELEMENTS": 3}):
        assert constants() == (1, 2, None, None, None, 3)
    assert constants() == before
    with pytest.raises(AssertionError, match="some are nowhere"), sweep.replaced({"BLOCKS": 1}):
        pass


def test_every_swept_constant_exists() -> None:
    for constants in (sweep.GPU, sweep.CPU):
        with sweep.replaced({name: values[0] for name, values in constants.items()}):
            pass


def test_line() -> None:
    row = {"workload": "w", "dtype": "float16", "layout": "contiguous", "time_us": 12.34, "gbps": 1.0}
    assert line(row | {"copy_fraction": 0.5, "ratio": {"torch": 2.0}}).endswith("1.0 GB/s  50.0% of copy, 2.00x torch")
    assert line(row | {"copy_fraction": 0.5, "ratio": {}}).endswith("of copy, not in torch")
