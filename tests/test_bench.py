"""The benchmarks themselves: workloads, the file of results, timing on a stand-in of CuPy."""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cupysample
from bench import compiling, counters, first_call, goals, machines, model, report, sweep
from bench import test_numpy as numpy_bench
from bench.machines import Cpu, Gpu
from bench.record import KEY, Record
from bench.sass import Sass, sass
from bench.test_workloads import check, line, our_call, written
from bench.workloads import AVERAGED, CPU_WORKLOADS, GROUPS, WORKLOADS, Workload
from cupysample import _kernels, _launch
from tests.cupy_on_host import installed
from tests.host.harness import build

ROOT = Path(__file__).parents[1]
FACTS = {"device": "a", "driver": "b", "versions": {}, "commit": "c"}


@pytest.mark.parametrize("workload", [*WORKLOADS, *CPU_WORKLOADS], ids=lambda workload: "-".join(workload.key))
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
    y, _ = our_call(small, x)
    shapes = (small.output_shape, small.shape) if workload.gradient else (small.shape, small.output_shape)
    assert (x.shape, y.shape) == shapes
    assert x.dtype.name == y.dtype.name == workload.dtype
    assert x.nbytes + y.nbytes == small.minimum_bytes
    assert (x.strides[1] == x.itemsize) == workload.channels_last


def newest_of_a_gpu() -> Path:
    """The newest committed file of results of a GPU."""
    files = (ROOT / "bench" / "results").glob("*.json")
    return max((path for path in files if not path.name.startswith(("host-", "cpu-"))), key=report.date_of)


def test_the_readme_shows_the_host_times() -> None:
    """The table is that of the newest committed file of a GPU."""
    rows = Record(newest_of_a_gpu()).read()["overhead"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for array, name in (("cupy", "CuPy"), ("torch", "torch"), ("torch, grad", "torch, requires grad")):
        mine = [row for row in rows if row["array"] == array]
        cells = [f"{min(row['host_us'] for row in mine):.1f} to {max(row['host_us'] for row in mine):.1f}"]
        for shape in ([1, 3, 8, 8], [1, 1, 1, 1]):
            ratios = [row["ratio"] for row in mine if row["shape"] == shape]
            assert len(ratios) == 5
            cells.append(f"{min(ratios)} to {max(ratios)}")
        shown = "| " + " | ".join([name, *cells]) + " |"
        assert shown in text, shown


def test_the_whole_folder_can_be_collected() -> None:
    """Also without the driver that the stub's device is made for."""
    program = "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "bench"
    found = subprocess.run([sys.executable, *program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not found.returncode, found.stdout
    assert "bench/test_workloads.py" in found.stdout


PROGRAMS = [
    f"bench.{'.'.join(path.relative_to(ROOT / 'bench').with_suffix('').parts)}"
    for path in sorted((ROOT / "bench").rglob("*.py"))
    if "__main__" in path.read_text() and path.name != "on_device.py"  # which on_device.sh runs
]


@pytest.mark.parametrize(
    ("held", "asked", "status"),
    [(True, "time", pytest.ExitCode.OK), (False, "tune", pytest.ExitCode.NO_TESTS_COLLECTED)],
)
def test_a_group_with_nothing_left_passes(held: bool, asked: str, status: int, tmp_path: Path) -> None:
    """As when it ran out of time after its last workload; not where what was asked for is nowhere."""
    path = tmp_path / "results.json"
    group = [dict(zip(KEY, each.key, strict=True)) for each in WORKLOADS if each.group == GROUPS[0]]
    Record(path).write(rows=group if held else [])
    options = "-p", "no:cacheprovider", "--results", str(path), "--group", GROUPS[0], "-k", f"test_{asked}"
    program = "-m", "pytest", "-q", *options, "bench/test_workloads.py"
    done = subprocess.run([sys.executable, *program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout


@pytest.mark.parametrize("module", PROGRAMS)
def test_help_does_nothing_else(module: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0 and done.stdout.startswith(f"usage: python -m {module} "), done.stderr
    assert not list(tmp_path.iterdir())


def test_names_of_workloads_are_unique() -> None:
    for workloads in (WORKLOADS, CPU_WORKLOADS):
        assert len({workload.key for workload in workloads}) == len(workloads)
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

    written(machine, lambda: np.copyto(out, good), out)
    with pytest.raises(AssertionError, match="elements are not written"):
        written(machine, all_but_one, out)


def test_a_wrong_element_is_noticed() -> None:
    machine, workload = Cpu(""), WORKLOADS[3].smaller(1 << 12)
    x = workload.values()
    out = cupysample.interpolate(x, **workload.arguments)
    check(workload, machine, x, out)
    out[-1, -1, 3, 4] *= 1.001
    with pytest.raises(AssertionError, match="3, 4"):
        check(workload, machine, x, out)


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
    def readers(name: str) -> dict[str, Any]:
        return {module.__name__: vars(module)[name] for module in sweep.MODULES if name in vars(module)}

    before = readers("BLOCK"), readers("TABLE_ROWS")
    assert set(before[0]) == {"cupysample._launch", "cupysample._view"}
    assert set(before[1]) == {"cupysample._few_taps", "cupysample._tables"}
    with sweep.replaced({"BLOCK": 1, "TABLE_ROWS": 2}):
        assert {*readers("BLOCK").values()} == {1}
        assert {*readers("TABLE_ROWS").values()} == {2}
    assert (readers("BLOCK"), readers("TABLE_ROWS")) == before
    with pytest.raises(AssertionError, match="some are nowhere"), sweep.replaced({"BLOCKS": 1}):
        pass


def test_every_swept_constant_exists() -> None:
    for group in (*sweep.GPU, *sweep.CPU):
        with sweep.replaced({name: values[0] for name, values in group.items()}):
            pass


def test_constants_as_swept_give_launches_that_compile() -> None:
    """Every choice for a GPU, on all that is swept, at its full size; registers are left to the device."""
    swept = [workload for workload in WORKLOADS if workload.name in sweep.SWEPT]
    instances = set()
    for group in sweep.GPU:
        for each in itertools.product(*group.values()):
            with sweep.replaced(dict(zip(group, each, strict=True))):
                for workload in swept:
                    made = model.launch(workload)[1]
                    assert made.grid[0] > 0
                    assert made.kernel in ("few_taps", "band", "band_walk", "band_bytes")
                    instances.add((made.kernel, made.defines))
    kernels = build({str(n): _kernels.source(*each) for n, each in enumerate(instances)})
    assert kernels.path.exists()


def test_only_other_launches_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants that make the same launch are together; kernels that nobody has yet are compiled; what fails is kept, to say so."""
    compiled: list[Any] = []
    monkeypatch.setattr(sweep, "compile_all", compiled.extend)
    wanted: list[dict[str, Any]] = [
        {},
        {"BLOCK": 1},
        {"RUN_THREADS": 64},
        {"BLOCK": 2, "RUN_THREADS": 64},
        {"RUN_ROWS": "bad"},
    ]
    workload = WORKLOADS[1].smaller(1 << 14)
    x = np.zeros(workload.shape, np.float32)
    with installed() as (cupy, _):
        there = cupy.asarray(x)
        call = lambda: cupysample.interpolate(there, **workload.arguments)  # noqa: E731
        assert sweep.distinct(call, wanted) == [
            [{}, {"BLOCK": 1}],
            [{"RUN_THREADS": 64}, {"BLOCK": 2, "RUN_THREADS": 64}],
            [{"RUN_ROWS": "bad"}],
        ]
    assert [kernel for kernel, _ in compiled] == ["few_taps"] * 2


def test_counters_are_read() -> None:
    """As Nsight Compute writes them: notes, names, units, a line for each launch."""
    metrics = list(counters.METRICS.values())
    lines = ["==PROF== Connected", ",".join(f'"{name}"' for name in ("ID", *metrics)), '"",' + '"unit",' * len(metrics)]
    lines += [f'"{n}",' + ",".join(f'"{n},000.5"' for _ in metrics) for n in range(len(WORKLOADS))]
    rows = counters.rows("\n".join(lines))
    assert len(rows) == len(WORKLOADS)
    assert {rows[3][name] for name in counters.METRICS} == {3000.5}
    assert tuple(rows[3][name] for name in ("workload", "dtype", "layout", "direction")) == WORKLOADS[3].key
    with pytest.raises(ValueError, match="zip"):
        counters.rows("\n".join(lines[:-1]))


def test_first_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind of call, in two processes."""
    first_call.main(tmp_path / "results.json")
    times = Record(tmp_path / "results.json").read()["first_call_ms"]
    assert set(times) == {"empty", "full"}
    for each in times.values():
        assert set(each) == set(first_call.CALLS)
        assert min(each.values()) > 0
    assert capsys.readouterr().out.count(" ms with an empty cache") == len(first_call.CALLS)


def test_instances_are_compiled_by_processes() -> None:
    """What one of them raises is raised here: without a device, that there is none."""
    assert compiling.compile_all([]) == []
    with pytest.raises(Exception, match=r"(?i)cuda|cupy"):
        compiling.compile_all(_launch.instances()[:1])


def test_slow_calls_have_fewer_turns() -> None:
    """A call that takes longer than is spent on any is timed once after its first."""
    log: list[str] = []
    durations = {"quick": 10.0, "slow": 2.0 * machines.SLOW_US}

    def call(name: str) -> Callable[[], None]:
        return lambda: log.append(name)

    def measure(each: Callable[[], None]) -> float:
        each()
        return durations[log[-1]]

    assert machines.interleaved([call("quick"), call("slow")], 5, measure) == [10.0, durations["slow"]]
    assert (log.count("quick"), log.count("slow")) == (6, 2)


def test_winners_are_faster_than_tuned() -> None:
    base = {"workload": "w", "dtype": "d", "layout": "l", "direction": "forward", "same_bits": True, "alike": []}
    rows = [
        base | {"constants": {}, "time_us": 8.0, "alike": [{"BLOCK": 256}]},
        base | {"constants": {"BLOCK": 64}, "time_us": 4.0, "alike": [{"BLOCK": 32}]},
        base | {"constants": {"BLOCK": 128}, "time_us": 16.0},
        base | {"constants": {"BLOCK": 512}, "error": "too large"},
        base | {"constants": {"BLOCK": 1}, "time_us": 1.0, "same_bits": False},
    ]
    assert sweep.winners(rows) == [
        (2.0, {"BLOCK": 64}),
        (2.0, {"BLOCK": 32}),
        (1.0, {"BLOCK": 256}),
        (0.5, {"BLOCK": 128}),
    ]


def test_a_sweep_goes_on_where_the_device_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process, once the row says what failed; one choice that fails by itself is only written down."""

    class Machine(machines.Cpu):
        broken = False

        def wait(self) -> None:
            if self.broken:
                raise RuntimeError("an illegal memory access was encountered")

        def times(self, calls: Any, rounds: int) -> list[float]:
            Machine.broken = len(Record(path).read()["sweep"]) > 1
            raise RuntimeError("too many registers")

    def begin(*command: Any) -> None:
        raise SystemExit(" ".join(command[1][-2:]))

    path = tmp_path / "results.json"
    monkeypatch.setattr(machines, "here", lambda: Machine(""))
    monkeypatch.setattr(sweep, "CPU", ({"TILE_BYTES": (1 << 18, 1 << 19, 1 << 20)},))
    monkeypatch.setattr(os, "execv", begin)
    Record(path).write(sweep=[])
    with pytest.raises(SystemExit, match=f"bench.sweep {path}"):
        sweep.main(path)
    assert [row["error"] for row in Record(path).read()["sweep"]] == ["RuntimeError: too many registers"] * 3


RESULTS = {
    "device": "NVIDIA X",
    "driver": "CUDA 13.0",
    "versions": {"torch": "2.13"},
    "commit": "0123456789abcdef",
    "copy_gbps": 3000.0,
    "rows": [
        {
            "workload": "photo",
            "dtype": "uint8",
            "layout": "channels_last",
            "direction": direction,
            "shape": [8, 3, 4, 4],
            "time_us": 12.34,
            "gbps": 2700.0,
            "copy_fraction": 0.9,
            "ratio": ratio,
        }
        for direction, ratio in (("forward", {"torch": 3.0, "jax": 2.0}), ("backward", {}))
    ],
}


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, readme = tmp_path / "X-2026-11-24.json", tmp_path / "README.md"
    Record(path).write(**RESULTS)
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    assert report.main([str(path), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "NVIDIA X, 2026-11-24; CUDA 13.0; torch 2.13; commit 0123456789ab." in text
    assert "| photo 8x3x4x4 | uint8 | channels_last | 12.3 | 2700 | 90% | 3.00x | 2.00x |" in text
    assert "| photo 8x3x4x4 | uint8 | channels_last | 12.3 | 2700 | 90% |  |  |" in text
    assert str(path.with_suffix(".png")) in capsys.readouterr().out
    with Image.open(path.with_suffix(".png")) as picture:
        blue = np.all(np.asarray(picture) == (0x3B, 0x7D, 0xD8), axis=2).sum(axis=1).max()
        assert blue == round(0.9 * (report.WIDTH - report.LEFT - report.RIGHT)) + 1
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="needs one line"):
        report.main([str(path), "--readme", str(readme)])


def test_the_readme_shows_the_newest_results() -> None:
    """Of a device."""
    newest = newest_of_a_gpu()
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split(report.BEGIN)[1].split(report.END)[0].strip()
    assert shown == report.tables(Record(newest).read(), report.date_of(newest)).strip()


def test_torch_is_slower_but_for_tiny_calls() -> None:
    """As the README says of the newest results of a device."""
    for row in Record(newest_of_a_gpu()).read()["rows"]:
        if "torch" in row["ratio"]:
            assert row["ratio"]["torch"] > (0.9 if row["workload"].startswith("tiny") else 1.05), row


def cpu_rows() -> list[dict[str, Any]]:
    """A row for each workload and number of threads, torch twice or four times as slow; it has no means of uint8."""
    rows = []
    for workload in CPU_WORKLOADS:
        has_it = (workload.name, workload.dtype) != ("area-half", "uint8")
        for n in (1, 2):
            others = ({"torch": [1.0, 2.0 * n, 100.0]} if has_it else {}) | {"Pillow": [1.5]}
            rows.append(numpy_bench.row_of(workload, n, [1e-5, 2e-5, 3e-5], others))
    return rows


def test_cpu_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, readme = tmp_path / "cpu-2026-11-24.json", tmp_path / "README.md"
    Record(path).write(**FACTS, cpu=cpu_rows())
    readme.write_text(f"before\n{report.CPU_BEGIN}\nold\n{report.CPU_END}\nafter\n")
    assert report.main([str(path), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert "old" not in text
    assert "| bilinear-2x 8x64x64x64 | float32 | 20.0 | 2.00x | 1.50x | 20.0 | 4.00x | 1.50x |" in text
    assert "| bilinear-2x 8x64x64x64 backward | float32 |" in text
    assert "| bilinear-2x 8x64x64x64 | float32, channels_last |" in text
    assert "| area-half 1x3x1080x1920 | uint8, channels_last | 20.0 |  | 1.50x | 20.0 |  | 1.50x |" in text
    assert f"first {AVERAGED}: 2.00x and 4.00x with one thread and two" in text
    assert len(cpu_rows()) == 2 * len(report.cpu_pairs(cpu_rows()))
    with Image.open(path.with_suffix(".png")) as picture:
        blue = np.all(np.asarray(picture) == (0x3B, 0x7D, 0xD8), axis=2).sum(axis=1).max()
        assert blue == pytest.approx((report.WIDTH - report.LEFT - report.RIGHT) / 7, abs=2)  # a doubling
    assert str(path.with_suffix(".png")) in capsys.readouterr().out
    Record(path).write(cpu=[])
    with pytest.raises(SystemExit):
        report.main([str(path)])


def test_the_readme_shows_the_newest_results_of_a_cpu() -> None:
    newest = max((ROOT / "bench" / "results").glob("cpu-*.json"), key=report.date_of)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split(report.CPU_BEGIN)[1].split(report.CPU_END)[0].strip()
    assert shown == report.cpu_table(Record(newest).read(), report.date_of(newest)).strip()
    assert f"(bench/results/{newest.stem}.png)" in text
    assert newest.with_suffix(".png").exists()


def test_rounds_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short calls are repeated, slow others timed once, and ratios are those of a round."""
    now = [0.0]
    log: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def call(name: str, takes: float) -> Callable[[], None]:
        def run() -> None:
            log.append(name)
            now[0] += takes

        return run

    mine, ratios = numpy_bench.rounds(call("a", 0.004), {"b": call("b", 0.008), "c": call("c", 1.0)}, 3)
    assert "".join(log) == "a" + "aa" + "aaaa" + "b" + "bb" + "c" + "aaaabbc" + "aaaabb" * 2
    assert mine == pytest.approx([0.004] * 3)
    assert ratios == {"b": pytest.approx([2.0] * 3), "c": pytest.approx([250.0])}


def test_line() -> None:
    row = {
        "workload": "w",
        "dtype": "float16",
        "layout": "contiguous",
        "time_us": 12.34,
        "gbps": 1.0,
        "direction": "forward",
    }
    assert line(row | {"copy_fraction": 0.5, "ratio": {"torch": 2.0}}).endswith("1.0 GB/s  50.0% of copy, 2.00x torch")
    assert line(row | {"copy_fraction": 0.5, "ratio": {}}).endswith("of copy, nobody else has it")


@pytest.mark.nvrtc
def test_instructions_are_those_of_the_table() -> None:
    """A compiler may differ by a tenth; a kernel that needs more must say so in the table."""
    text = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    lines = text.split(model.BEGIN)[1].split(model.END)[0].strip().splitlines()[2:]
    shown = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    predicted = model.predictions()
    assert [tuple(row[:5]) for row in shown] == [(*p.workload.key, f"`{p.kernel}`") for p in predicted], (
        "run python -m bench.model --readme bench/README.md"
    )
    for row, p in zip(shown, predicted, strict=True):
        assert p.instructions == pytest.approx(float(row[7]), rel=0.1), p


@pytest.mark.nvrtc
def test_large_float_workloads_are_predicted_near_the_copy() -> None:
    """float32, and 16 bits where two taps are enough, are not held up by instructions."""
    for p in model.predictions():
        if p.workload.dtype == "float32" and p.time_us > 50:
            assert p.copy_fraction > 0.9, p
        if p.workload.name in ("features", "features-nearest") and p.workload.dtype in ("float16", "bfloat16"):
            assert p.copy_fraction > 0.9, p


@pytest.mark.nvrtc
@pytest.mark.parametrize(("name", "limit"), [("features-nearest", "bytes"), ("lanczos", "instructions")])
def test_faster_memory_leaves_fewer_instructions(name: str, limit: str) -> None:
    """An H200 takes as long as an H100 where instructions are the limit, and less where bytes are."""
    workload = next(w for w in WORKLOADS if (w.name, w.dtype) == (name, "float16"))
    h100, h200 = (model.predict(workload, device) for device in ("h100", "h200"))
    assert h100
    assert h200
    assert h200.budget == pytest.approx(h100.budget * 3.0 / 4.3)
    assert h200.limit == limit
    assert (h200.time_us < 0.75 * h100.time_us) == (limit == "bytes")
    assert (h200.copy_fraction < 0.75 * h100.copy_fraction) == (limit == "instructions")


@pytest.mark.nvrtc
def test_goals_that_are_predicted_to_be_missed() -> None:
    """On an H100; as bench/README.md says."""
    below = [
        p.workload.name for p in model.predictions() if round(p.copy_fraction, 2) < goals.goal(p.workload.key).share
    ]
    assert below == ["embedding"]


def test_what_is_below_its_goal() -> None:
    """Each share of a copy, and each ratio to torch; of uint8 to torch's float32."""

    def row(name: str, dtype: str, share: float, us: float, **ratio: float) -> dict[str, Any]:
        key = {"workload": name, "dtype": dtype, "layout": "contiguous", "direction": "forward"}
        return key | {"copy_fraction": share, "time_us": us, "ratio": ratio}

    reached = [
        row("features", "float32", 0.9, 8.0, torch=1.9),
        row("features", "uint8", 0.6, 5.0),
        row("features-nearest", "float32", 0.9, 8.0, torch=1.05),
        row("features-nearest", "uint8", 0.9, 6.0, torch=3.0),
        row("features", "float16", 0.8951, 4.0, torch=2.0, jax=0.5),
    ]
    assert goals.missed(reached) == []
    slow = [
        row("features", "float32", 0.89, 8.0, torch=1.89),
        row("features", "uint8", 0.6, 5.1),
        row("features", "float16", 0.8949, 4.0, torch=2.0),
        row("features-nearest", "float32", 0.9, 4.0, torch=1.04) | {"layout": "channels_last"},
        row("volume", "float16", 0.75, 4.0, torch=4.99) | {"direction": "backward"},
        row("lanczos", "float32", 0.79, 4.0),
    ]
    assert goals.missed(slow) == [
        "features float32 contiguous forward: 89% of 90%, 1.89x of 1.9x",
        "features uint8 contiguous forward: 2.96x of 3x",
        "features float16 contiguous forward: 89% of 90%",
        "features-nearest float32 channels_last forward: 1.04x of 3x",
        "volume float16 contiguous backward: 4.99x of 5x",
        "lanczos float32 contiguous forward: 79% of 80%",
    ]
    assert {w.name for w in WORKLOADS if goals.goal(w.key) == (0, 1)} == {"tiny", "tiny-bilinear"}


@pytest.mark.nvrtc
def test_what_is_below_its_goal_is_bold() -> None:
    (embedding, *_) = [w for w in WORKLOADS if w.name == "embedding"]
    found = model.predict(embedding)
    assert found
    cells = [cell.strip() for cell in model.table([found], "h100").splitlines()[-1].split("|")]
    assert cells[11:14] == [f"**{found.copy_fraction:.0%}**", "60%", "**14%**"]
    other = model.table([found._replace(copy_fraction=0.6)], "a device of which nothing was measured")
    assert [cell.strip() for cell in other.splitlines()[-1].split("|")][11:14] == ["60%", "60%", ""]


@pytest.mark.nvrtc
def test_vectors_are_stored_and_read() -> None:
    """16 bytes at a time wherever the registers allow, in the machine code."""
    for kernel, defines in _launch.instances():
        named = dict(defines)
        if named["CS_TYPE"] not in ("CS_FLOAT32", "CS_FLOAT16", "CS_BITS8", "CS_BITS32") or named["CS_AXES"] != "2":
            continue
        code = sass(kernel, defines)
        itemsize = {"CS_FLOAT32": 4, "CS_BITS32": 4, "CS_FLOAT16": 2, "CS_BITS8": 1}[named["CS_TYPE"]]
        widest = int(named.get("CS_VECTOR", "1")) * itemsize
        stored, loaded = (max(getattr(each, name) for each in code.instructions) for name in ("stores", "loads"))
        if kernel == "few_taps":
            assert stored == widest, defines
            assert widest == 16 or int(named["CS_TAPS"]) >= 4, defines
            assert named["CS_WIDE"] == "0" or loaded >= widest, defines
        if kernel == "band":
            assert loaded >= widest, defines
            narrow = (named["CS_THREADS"], named["CS_VECTOR"]) in (("64", "1"), ("64", "4"))  # for short rows
            assert widest == 16 or narrow, defines


def test_paths_through_machine_code() -> None:
    """A loop with a branch around a store: with it, without it, and the longest."""
    listing = """
        /*0000*/   MOV R1, R2 ;
    .L_x_0:
        /*0010*/   @P0 BRA `(.L_x_1) ;
        /*0020*/   IADD3 R1, R1, R2, R3 ;
        /*0030*/   STG.E.128 desc[UR4][R2.64], R4 ;
    .L_x_1:
        /*0040*/   FFMA R1, R1, R2, R3 ;
        /*0050*/   @!P1 BRA `(.L_x_0) ;
        /*0060*/   EXIT ;
    """
    code = Sass(textwrap.dedent(listing), "Used 40 registers, 0 bytes stack frame, 1024 bytes smem")
    (loop,) = code.loops
    assert (loop.head, loop.latch) == (1, 5)
    assert code.innermost(lambda each: each.stores == 16) == loop
    assert code.shortest(loop.head, loop.latch) == 3
    assert code.shortest(loop.head, loop.latch, lambda each: each.stores == 16) == 5
    assert code.longest(loop.head, loop.latch) == 5
    assert (code.registers, code.shared, code.local) == (40, 1024, 0)
    assert model.resident(code, 256) == 1536
