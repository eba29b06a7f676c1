"""``bench/on_device.sh`` as far as a machine without a GPU can run it, with a stand-in of compute-sanitizer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import on_device
from bench.on_device import KERNELS, SANITIZERS, Part
from cupysample import _launch
from tests import test_gpu

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "bench" / "on_device.sh")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No GPU; no git, whose commit may change meanwhile; and ``main`` takes SIGTERM for itself."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("GIT_DIR", os.devnull)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def sanitizer(tmp_path: Path) -> Path:
    """A folder with a compute-sanitizer that finds a mistake whenever racecheck looks at area."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "compute-sanitizer"
    program.write_text(
        """#!/usr/bin/env bash
        echo "========= COMPUTE-SANITIZER $*"
        case "$*" in *racecheck*area*) exit 99 ;; esac
        """
    )
    program.chmod(0o755)
    return folder


def call(*arguments: str | Path, path: Path | None = None, cwd: Path = ROOT, **extra: str) -> Any:
    """Run the script without a GPU."""
    environment = dict(os.environ) | {"PYTHON": sys.executable} | extra
    if path is not None:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def parts(out: Path) -> dict[str, str]:
    """How each part ended."""
    content = json.loads((out / "results.json").read_text())
    return {name: part["status"] for name, part in content["parts"].items()}


@pytest.mark.parametrize("arguments", [(), ("tests",), ("test", "x"), ("tests+bent", "x"), ("tests", "x", "y")])
def test_wrong_usage_is_said(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "usage: bench/on_device.sh [-h] [--seconds SECONDS] STAGE [STAGE ...] OUT" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    done = call("tests", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: OUT: " in done.stderr


def test_sanitize(sanitizer: Path, tmp_path: Path) -> None:
    """Every tool over every listed test; in the caller's folder; a second call repeats nothing; failures stay."""
    done = call("sanitize", "out", path=sanitizer, cwd=tmp_path)
    out = tmp_path / "out"
    names = {f"sanitize/{tool}-{name}" for tool, tests in SANITIZERS.items() for name in tests}
    assert len(names) == sum(map(len, SANITIZERS.values()))
    failed = {"sanitize/racecheck-area": "failed (99)"}
    assert parts(out) == dict.fromkeys(names, "passed without a GPU") | failed, done.stdout + done.stderr
    assert done.returncode == 1
    report = (out / "report.txt").read_text()
    assert report.count("COMPUTE-SANITIZER --tool memcheck --error-exitcode 99 ") == len(SANITIZERS["memcheck"])
    assert "tests/test_gpu.py::test_definition[bilinear]" in report
    assert "tests/test_gpu.py::test_every_kernel[band_walk]" in report
    assert "---- sanitize/racecheck-area: failed (99), " in report
    assert f"==== sanitize: 0 of {len(names)} parts passed on a GPU" in report
    assert "runs on       NumPy: " in report

    again = call("sanitize", out, path=sanitizer, cwd=tmp_path)
    assert again.returncode == 1
    assert again.stdout.count(" before\n") == len(names)
    assert (out / "report.txt").read_text().count("COMPUTE-SANITIZER") == len(names)
    assert sorted(path.name for path in out.iterdir()) == ["report.txt", "results.json"]


def test_tests_and_bench(tmp_path: Path) -> None:
    """Tests skip and say so; a workload leaves a row, which is not timed again."""
    out = tmp_path / "out"
    done = call("tests", out)
    assert done.returncode == 1
    assert parts(out) == dict.fromkeys(("tests/doctests", "tests/gpu", "tests/workloads"), "passed without a GPU")
    assert "GPU tests (no CUDA device: " in (out / "report.txt").read_text()

    done = call("bench", out, PYTEST_ADDOPTS="-k 'tiny-float32 or (overhead and nearest)'")
    assert done.returncode == 1
    content = json.loads((out / "results.json").read_text())
    names = {"bench/grown", "bench/overhead", "bench/report"}
    assert {parts(out)[name] for name in names} == {"passed without a GPU"}, (out / "report.txt").read_text()
    assert parts(out)["bench/gradients"] == "failed (5)"  # none was chosen
    (row,) = content["rows"]
    keys = ("workload", "dtype", "layout", "direction", "shape", "time_us", "gbps", "copy_fraction", "ratio", "host_us")
    assert set(row) == set(keys)
    assert (row["workload"], row["dtype"], row["layout"], row["direction"]) == (
        "tiny",
        "float32",
        "contiguous",
        "forward",
    )
    assert row["ratio"]["torch"] > 0
    assert content["copy_gbps"] > 0
    facts = {"device", "driver", "versions", "commit", "copy_gbps"}
    assert set(content) == facts | {"rows", "overhead", "sizes", "parts"}
    assert " of copy, " in (out / "report.txt").read_text()

    del content["parts"]["bench/grown"], content["parts"]["bench/overhead"]  # as if they had run out of time
    (out / "results.png").unlink()
    (out / "results.json").write_text(json.dumps(content))
    call("bench", out, PYTEST_ADDOPTS="-k 'tiny or (overhead and nearest)'")
    content = json.loads((out / "results.json").read_text())
    assert [row["workload"] for row in content["rows"]] == ["tiny", "tiny-bilinear"]
    overhead = [(row["call"], *row["shape"], row["array"]) for row in content["overhead"]]
    assert len(overhead) == len(set(overhead))
    assert sorted(path.name for path in out.iterdir()) == ["report.txt", "results.json", "results.png"]


def test_results_of_another_machine_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"device": "another"}')
    done = call("tests", tmp_path)
    assert done.returncode == 1
    assert "the facts of this machine cannot be written" in done.stdout
    assert "holds results of device another" in (tmp_path / "report.txt").read_text()


def test_sweep_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bench import machines, sweep
    from bench.record import Record

    path = tmp_path / "results.json"
    monkeypatch.setattr(machines, "here", lambda: machines.Cpu(""))
    monkeypatch.setattr(sweep, "SWEPT", ("decoder",))
    monkeypatch.setattr(sweep, "CPU", ({"TILE_ELEMENTS": (1 << 12,)},))
    sweep.main(path)
    rows = Record(path).read()["sweep"]
    assert [row["constants"] for row in rows] == [{}, {"TILE_ELEMENTS": 4096}] * 3
    assert all(row["same_bits"] and row["time_us"] > 0 for row in rows)
    assert capsys.readouterr().out.count("TILE_ELEMENTS=4096") == 3
    monkeypatch.setattr(sweep, "CPU", ({"TILE_ELEMENTS": (1 << 12, 1 << 13)},))
    sweep.main(path)
    assert Record(path).read()["sweep"][:6] == rows
    assert len(Record(path).read()["sweep"]) == 9


def test_a_part_that_hangs_is_stopped_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it started, and the parts after it run."""
    child = tmp_path / "child"
    hangs = ("bash", "-c", f"sleep 60 & echo $! > {child}; wait")
    stage = [Part("hangs", 1, hangs), Part("lacks", 9, ()), Part("works", 9, ("true",))]
    monkeypatch.setitem(on_device.STAGES, "tests", lambda _: stage)
    assert on_device.main(["tests", str(tmp_path / "out")]) == 1
    expected = {"tests/hangs": "out of time", "tests/lacks": "missing", "tests/works": "passed without a GPU"}
    assert parts(tmp_path / "out") == expected
    deadline = time.monotonic() + 10
    while _runs(int(child.read_text())):
        assert time.monotonic() < deadline, "what it started still runs"
        time.sleep(0.05)
    stage[0] = Part("hangs", 9, ("true",))
    assert on_device.main(["tests", str(tmp_path / "out")]) == 1
    assert parts(tmp_path / "out")["tests/hangs"] == "passed without a GPU"


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_stage_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "SECONDS", 0)
    monkeypatch.setitem(on_device.STAGES, "tests", lambda _: [Part("late", 9, ("true",))])
    assert on_device.main(["tests", str(tmp_path)]) == 1
    assert parts(tmp_path) == {"tests/late": "not reached"}


def test_what_is_sanitized_exists(tmp_path: Path) -> None:
    """The names of the tests that run under the sanitizers; and their files are read with no more than the README asks for."""
    (tmp_path / "lacking.py").write_text("import sys\nsys.modules.update(torch=None, hypothesis=None)\n")
    files = on_device.gpu_files()
    assert "tests/test_gpu.py" in files
    wanted = {f"tests/test_gpu.py::{test}" for tests in SANITIZERS.values() for test in tests.values()}
    done = subprocess.run(
        [*on_device.PYTEST, "-p", "no:hypothesispytest", "-p", "lacking", "--collect-only", "-m", "gpu", *files],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert wanted <= set(done.stdout.split()), done.stdout + done.stderr


def test_every_kernel_is_sanitized() -> None:
    """Also those that need larger arrays than the tests of modes have."""
    wanted = {kernel for kernel, _ in _launch.instances()} - {"nearest"}  # beside resample
    assert {kernel: f"test_every_kernel[{kernel}]" for kernel in wanted} == KERNELS
    copies = {made for kernel, made in _launch.instances() if kernel == "few_taps" and ("CS_SLOT", "0") not in made}
    assert {call.launch()[0].defines for call in test_gpu.copying()} == copies
    for kernel in sorted(wanted - {"few_taps", "resample"}):
        made = {call.prepare()[0].defines for call in test_gpu.banded(kernel)}
        assert made == {defines for name, defines in _launch.instances() if name == kernel}
