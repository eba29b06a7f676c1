"""The machine, and the file that results are written to."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from bench import machines
from bench.machines import Machine
from bench.peers import PEERS, peers
from bench.record import Record, key_of
from bench.workloads import GROUPS, WORKLOADS, Workload

collect_ignore = ["stub"]
"""Its device needs the driver that it is made for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", type=Path, help="a JSON file for the results; what it holds already is not run again")
    peers = os.environ.get("CUPYSAMPLE_BENCH_PEERS", ",".join(PEERS))
    parser.addoption("--peers", default=peers, help="who else is timed by test_workloads.py (default: %(default)s)")
    parser.addoption("--group", choices=GROUPS, help="only these workloads of test_workloads.py")
    parser.addoption("--cpu", type=Path, help="a JSON file for the results of test_numpy.py")
    parser.addoption("--stub", action="store_true", help="CuPy runs on a driver that does nothing: host times alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    path, group = config.getoption("--results"), config.getoption("--group")
    rows = Record(path).read().get("rows", []) if path else []
    done = {key_of(row) for row in rows}
    for item in list(items):
        if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        workload = item.callspec.params.get("workload")
        if not isinstance(workload, Workload):
            continue
        wanted = workload.group == (group or workload.group)
        held = wanted and workload.key in done and item.originalname == "test_time"
        if held or not wanted:
            items.remove(item)
            config.hook.pytest_deselected(items=[item])
            config.stash[_HELD] = held or config.stash.get(_HELD, False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Nothing is left to do where the file holds all that was asked for."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(_HELD, False):
        session.exitstatus = pytest.ExitCode.OK


_HELD = pytest.StashKey[bool]()
"""Whether the file of results holds some of the workloads asked for."""


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Any:
    """pytest-benchmark's fixture, whose table ends a run; None without it."""
    return request.getfixturevalue("benchmark") if request.config.pluginmanager.hasplugin("benchmark") else None


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The GPU, or the CPU where there is none."""
    return machines.here()


@pytest.fixture(scope="session")
def others(request: pytest.FixtureRequest, machine: Machine) -> tuple[str, ...]:
    """Who else is timed."""
    names = tuple(name for name in request.config.getoption("--peers").split(",") if name)
    assert set(names) <= set(PEERS), f"--peers: some of {', '.join(PEERS)}; got {', '.join(names)}"
    if names != tuple(PEERS):  # asked for
        workload = next(each for each in WORKLOADS if each.name == "tiny-bilinear")
        x = machine.put(workload.values())
        for name in set(names) - dict(peers(workload, machine, x, {name: PEERS[name] for name in names})).keys():
            warnings.warn(f"{name} cannot be timed, not even by {' '.join(workload.key)}", stacklevel=2)
    return names


@pytest.fixture(scope="session")
def copy_gbps(machine: Machine, request: pytest.FixtureRequest) -> float:
    """The bandwidth that everything is compared with: of the run whose results the file has."""
    if request.config.getoption("--stub"):
        return 0.0
    path = request.config.getoption("--results")
    measured: float = Record(path).read().get("copy_gbps", 0.0) if path else 0.0
    return measured or round(machine.copy_gbps(), 1)


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, machine: Machine, copy_gbps: float) -> Record | None:
    """Where rows are written, if anywhere."""
    path = request.config.getoption("--results")
    if path is None:
        return None
    record = Record(path)
    stub = {"driver": "a stub whose launches do nothing"} if request.config.getoption("--stub") else {}
    record.check(machine.facts() | stub)
    record.write(copy_gbps=copy_gbps)
    return record


@pytest.fixture(scope="session")
def cpu_results(request: pytest.FixtureRequest) -> Record | None:
    """Where rows of NumPy are written, if anywhere."""
    path = request.config.getoption("--cpu")
    if path is None:
        return None
    record = Record(path)
    record.check(machines.cpu_facts())
    return record
