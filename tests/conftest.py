"""What all tests share: ``--exhaustive``, seeded random numbers, and which tests may skip, counted in the last lines."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Generator
from functools import cache
from typing import Any

import numpy as np
import pytest

MAY_SKIP = ("Windows has neither links for everyone nor these permissions",)
"""Reasons for which a test without the marker ``gpu`` may skip."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive", action="store_true", help="the full grids instead of a part of them: minutes, not seconds"
    )


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers, the same in every run of a test."""
    return np.random.default_rng(list(request.node.name.encode()))


@cache
def no_gpu() -> str:
    """Why no CUDA device answers through CuPy; empty where one does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cupy

            cupy.zeros(1).get()
    except Exception as error:  # without a driver nearly everything raises, each version of CuPy something else
        return f"no CUDA device: {' '.join(f'{type(error).__name__}: {error}'.split())}"
    return ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := no_gpu()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_silence(report, allowed=item.get_closest_marker("gpu") is not None or hasattr(report, "wasxfail"))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_silence(report, allowed=False)
    return report


def _refuse_silence(report: Any, *, allowed: bool) -> None:
    """Turn a skip into a failure unless it is allowed."""
    if report.skipped and not allowed and (reason := _reason(report)) not in MAY_SKIP:
        report.outcome = "failed"
        report.longrepr = f"skipped, which only tests of a GPU may: {reason}"


def _reason(report: Any) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple | list) else report.longrepr).removeprefix(
        "Skipped: "
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = Counter(
        ("GPU tests" if "gpu" in report.keywords else "tests", _reason(report))
        for report in terminalreporter.stats.get("skipped", ())
    )
    for (what, reason), count in skipped.items():
        terminalreporter.write_line(f"not checked here: {count} {what} ({reason})", yellow=True)
