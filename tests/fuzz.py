"""Random calls at scale, to the definition and to torch.

    python -m tests.fuzz --minutes 10 --seed 1     # random numbers and hypothesis, on every core
    python -m tests.fuzz --trials 100000 --paths numpy,torch
    python -m tests.fuzz --trial '{"mode": …}'     # one again

What fails is made as small as it gets and printed as such a last line; ``tests/corpus.jsonl`` keeps what once failed. A
machine with a GPU runs its paths too. The status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests import cases, trials
from tests.conftest import no_gpu
from tests.trials import Trial

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

T = TypeVar("T")

CORPUS = Path(__file__).with_name("corpus.jsonl")
"""A line for each: why it is there, and the trial."""
CHUNK = 200
"""Trials of a task of a process."""
EVERY = 8
"""How many tasks there are for one that hypothesis makes."""


@dataclass
class Tally:
    """What was done."""

    paths: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, int, str, str]] = field(default_factory=Counter)
    failures: list[tuple[Trial, str]] = field(default_factory=list)
    seconds: float = 0.0
    slowest: tuple[float, str] = 0.0, ""

    def add(self, other: Tally) -> None:
        """Add what another process did."""
        self.paths += other.paths
        self.cells += other.cells
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)

    def run(self, trial: Trial) -> str | None:
        """Check one and count it."""
        start = time.perf_counter()
        message = trials.check(trial)
        self.slowest = max(self.slowest, (time.perf_counter() - start, trial.json()))
        self.paths[trial.path] += 1
        self.cells[trial.cell] += 1
        return message

    def report(self) -> str:
        """In a few lines."""
        all_cells = every_cell()
        least = min(self.cells[cell] for cell in all_cells)
        return "\n".join(
            [
                f"{self.paths.total()} trials in {self.seconds / 60:.1f} minutes, {len(self.failures)} failures",
                *(f"    {count:9} {path}" for path, count in self.paths.most_common()),
                f"{len(all_cells)} cells of mode, dimension, dtype and layout, each at least {least} times",
                f"slowest: {self.slowest[0]:.1f} s, {self.slowest[1]}",
            ]
        )


def every_cell() -> list[tuple[str, int, str, str]]:
    """Mode, dimension, dtype and layout."""
    return [
        (mode, n, dtype, layout)
        for mode, dimensions in cases.MODES.items()
        for n in dimensions
        for dtype in cases.dtypes(mode)
        for layout in trials.LAYOUTS
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Two makers of trials


def by_generator(seed: int, chunk: int, paths: Sequence[str]) -> Tally:
    """Trials of seeded random numbers; each by itself, so that any of them can be made again."""
    tally = Tally()
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        trial = trials.make(trials.Generator(seed, number), paths)
        message = tally.run(trial)
        if message is not None:
            tally.failures.append(trials.shrunk(trial, message))
    return tally


class Drawn:
    """Choices of hypothesis, which looks for small and for strange ones, and shrinks by itself."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def one(self, values: Sequence[T]) -> T:
        from hypothesis import strategies

        return self._draw(strategies.sampled_from(values))

    def integer(self, low: int, high: int) -> int:
        from hypothesis import strategies

        return self._draw(strategies.integers(low, high))

    def real(self, low: float, high: float) -> float:
        from hypothesis import strategies

        return self._draw(strategies.floats(low, high))


def by_hypothesis(seed: int, chunk: int, paths: Sequence[str]) -> Tally:
    """Trials that hypothesis makes."""
    import hypothesis
    from hypothesis import HealthCheck, strategies

    @strategies.composite
    def made(draw: DrawFn) -> Trial:
        return trials.make(Drawn(draw), paths)

    tally = Tally()
    smallest: list[tuple[Trial, str]] = []

    @hypothesis.seed(hash((seed, chunk)))
    @hypothesis.settings(
        max_examples=CHUNK, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    @hypothesis.given(made())
    def holds(trial: Trial) -> None:
        message = tally.run(trial)
        if message is not None:
            smallest[:] = [(trial, message)]
            raise AssertionError(message)

    try:
        holds()
    except BaseException:  # hypothesis raises groups of errors too
        if not smallest:
            raise
        tally.failures.append(trials.shrunk(*smallest[0]))
    return tally


# ---------------------------------------------------------------------------------------------------------------------
# A campaign


def campaign(
    seed: int, paths: Sequence[str], *, minutes: float = float("inf"), most: float = float("inf"), processes: int = 1
) -> Tally:
    """Trials for so many minutes, or so many trials, in so many processes; failures are printed as they come."""
    start, tally = time.monotonic(), Tally()
    os.environ["OMP_NUM_THREADS"] = "1"  # a process uses one core; BLAS reads this when it is loaded
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_alone)
    with pool:
        chunks = itertools.count() if most == float("inf") else iter(range(math.ceil(most / CHUNK)))
        running = {pool.submit(_chunk, seed, chunk, paths) for chunk in itertools.islice(chunks, 2 * processes)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                found = future.result()
                tally.add(found)
                for failure in found.failures:
                    print(f"FAILED: {told([failure])}", flush=True)
                if time.monotonic() - start < 60 * minutes:
                    running |= {pool.submit(_chunk, seed, chunk, paths) for chunk in itertools.islice(chunks, 1)}
    tally.seconds = time.monotonic() - start
    return tally


def _alone() -> None:
    """As few threads of torch's."""
    import torch

    torch.set_num_threads(1)


def _chunk(seed: int, chunk: int, paths: Sequence[str]) -> Tally:
    return (by_hypothesis if chunk % EVERY == EVERY - 1 else by_generator)(seed, chunk, paths)


def told(failures: list[tuple[Trial, str]]) -> str:
    """What failed, and how to run it again."""
    return "\n".join(f"{message}\n    {reproducer(trial)}" for trial, message in failures)


def reproducer(trial: Trial) -> str:
    """One line for a shell."""
    return f"python -m tests.fuzz --trial {shlex.quote(trial.json())}"


def corpus() -> Iterator[tuple[str, Trial]]:
    """What is kept: why, and the trial."""
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        yield kept["why"], trials.parse(json.dumps(kept["trial"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--trials", type=float, default=float("inf"), help="at most so many, in chunks of 200")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--paths", default="", help=f"some of {', '.join(trials.PATHS)}")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trial", help="run one, as printed where it failed")
    given = parser.parse_args(arguments)
    if given.trial:
        message = trials.check(trials.parse(given.trial))
        print(message or "holds")
        return int(message is not None)
    paths = given.paths.split(",") if given.paths else [*trials.PATHS] if not no_gpu() else [*trials.ON_HOST]
    unknown = set(paths) - trials.PATHS.keys()
    if unknown:
        parser.error(f"--paths: unknown {', '.join(sorted(unknown))}; there are {', '.join(trials.PATHS)}")
    if any(path.startswith("kernels") for path in paths):
        trials.kernels()  # compiled once, before every process would
    bounds: dict[str, Any] = {"minutes": given.minutes, "most": given.trials, "processes": given.processes}
    if min(given.minutes, given.trials) == float("inf"):
        bounds["minutes"] = 1
    tally = campaign(given.seed, paths, **bounds)
    print(tally.report())
    for trial, _ in tally.failures:
        print(reproducer(trial))
    return int(bool(tally.failures))


if __name__ == "__main__":
    sys.exit(main())
