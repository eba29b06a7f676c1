"""Every instance of the general kernels under AddressSanitizer, UBSan and the log of accesses; and none is left out.

Those of few_taps.cu and band.cu: test_few_taps.py, test_band.py. Guard zones surround every buffer, sources and tables are
read-only, outputs are poisoned: ``host/sanitized.py``.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupysample import _launch, _tables, _view
from tests import cases, launches, oracle, test_band, test_few_taps
from tests.cases import Case
from tests.host.harness import Job, races, replay_sanitized

pytestmark = pytest.mark.host

GENERAL = ("nearest", "resample")


def wanted(*kernels: str) -> set[str]:
    """The names of their instances."""
    return {launches.name(*instance) for instance in _launch.instances() if instance[0] in kernels}


def packed(case: Case, gradient: bool) -> Job:
    """A launch of three blocks."""
    if not gradient:
        return launches.job(case.input(), blocks=3, **case.arguments)[0]
    shape = (*case.batch, *oracle.output_size(case.spatial, case.size, case.scale_factor))
    g: NDArray[Any] = cases.values(np.random.default_rng(case.seed), shape, case.dtype)
    plan, out = launches.plan_and_gradient(g, (*case.batch, *case.spatial), **case.arguments)
    return launches.pack(plan, g, out, blocks=3)


def general_jobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Job]:
    """A launch of each instance: with short and long offsets, from tables and computed, of matrices and transposes."""
    left, found = wanted(*GENERAL), dict[str, Job]()
    rng = np.random.default_rng(83)
    fits, tabulated = _view._fits_int32, _tables.has_table
    for _ in range(20_000):
        if not left:
            break
        case = cases.any_case(rng)
        if case.layout == "big-endian" or np.prod(case.spatial) > 500:
            continue
        ways = itertools.product((True, False), (True, False), (False, True))
        for short, table, gradient in ways:
            if gradient and case.dtype not in cases.FLOATS:
                continue
            monkeypatch.setattr(_view, "_fits_int32", fits if short else lambda *_: False)
            monkeypatch.setattr(_launch, "has_table", tabulated if table else lambda _: False)
            with launches.general():
                job = packed(case, gradient)
            if job.kernel in left:
                left.remove(job.kernel)
                found[job.kernel] = job
    monkeypatch.undo()
    assert not left
    return found


def test_every_instance_of_the_general_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = general_jobs(monkeypatch)
    replay_sanitized(launches.build_all(), list(jobs.values()))
    logged = launches.build_all("log", jobs.__contains__)
    for job in jobs.values():
        assert not races(logged.log(job)), job.kernel


def test_no_instance_is_left_out() -> None:
    """The other kernels' tests have a launch of each of theirs."""
    jobs = {call.job(blocks=2).kernel for call in test_few_taps.everything()}
    jobs |= {job.kernel for job in test_band.sanitized()}
    assert jobs == wanted(*{kernel for kernel, _ in _launch.instances()} - {*GENERAL})
