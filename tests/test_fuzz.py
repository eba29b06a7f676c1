"""The fuzzer: what is kept holds, a slice of new trials holds, and a fault is found, made small and printed."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cupysample
from cupysample import _coordinates, _taps
from tests import cases, fuzz, trials
from tests.trials import Trial

TRIALS = 16_000
"""Of a slice: some two minutes of two processes."""


def test_what_once_failed_holds() -> None:
    """Every line of the corpus; a path that needs a device runs where one is."""
    failures = [
        f"{why}: {message}\n    {fuzz.reproducer(trial)}"
        for why, trial in fuzz.corpus()
        if (message := trials.check(trial)) is not None
    ]
    assert not failures, "\n".join(failures)


def test_the_corpus_says_why() -> None:
    lines = fuzz.CORPUS.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 20
    assert all(len(json.loads(line)["why"]) > 8 for line in lines)
    assert {trial.path for _, trial in fuzz.corpus()} == set(trials.ON_HOST)


@pytest.mark.host
def test_a_slice() -> None:
    """The same trials each time: what fails is what was changed. ``python -m tests.fuzz`` looks for new ones."""
    trials.kernels()
    tally = fuzz.campaign(1, trials.ON_HOST, most=TRIALS, processes=2)
    assert not tally.failures, fuzz.told(tally.failures)
    assert set(tally.paths) == set(trials.ON_HOST)
    assert tally.paths.total() >= 0.9 * TRIALS


# ---------------------------------------------------------------------------------------------------------------------
# The fuzzer itself


def some(n: int, *paths: str) -> list[Trial]:
    return [trials.make(trials.Generator(3, k), paths or trials.ON_HOST) for k in range(n)]


def test_trials_cover_what_there_is() -> None:
    """Every cell, path and kind of argument, extremes of size and of factor."""
    made = some(60_000)
    cells = Counter(trial.cell for trial in made)
    assert all(cells[cell] for cell in fuzz.every_cell())
    assert {trial.path for trial in made} == set(trials.ON_HOST)
    for name in ("spelling", "threads", "tile", "strided", "align_corners", "antialias", "recompute", "blocks"):
        values = {getattr(trial, name) for trial in made}
        assert len(values) >= {"spelling": 5, "threads": 4, "tile": 3, "align_corners": 3, "blocks": 5}.get(name, 2), (
            name
        )
    assert any(trial.special for trial in made)
    assert {trial.exponent < 0 for trial in made} == {True, False}
    factors = [m / n for trial in made for n, m in zip(trial.spatial, trial.out_shape[2:], strict=True)]
    assert min(factors) < 1e-4
    assert max(factors) > 1e4
    assert max(max(trial.spatial) for trial in made) > 1 << 18
    assert any(0 in trial.batch for trial in made)


def test_a_trial_is_one_line() -> None:
    for trial in some(2000):
        again = trials.parse(trial.json())
        assert again == trial
        word = shlex.split(fuzz.reproducer(trial))[-1]
        assert trials.parse(word) == trial


def test_the_same_seed_makes_the_same_trials() -> None:
    assert some(200) == some(200)
    again = [trials.make(trials.Generator(4, k), trials.ON_HOST) for k in range(200)]
    assert again != some(200)


def break_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of a pixel."""
    right = _coordinates.half_pixel
    monkeypatch.setattr(_coordinates, "half_pixel", lambda index, step: right(index, step) + index.dtype.type(0.01))
    _taps._kept.clear()
    trials._forget()


def break_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed-point weights are truncated."""
    monkeypatch.setattr(_taps, "quantise", lambda weight, bits: np.trunc(weight * (1 << bits)).astype(np.int32))
    _taps._kept.clear()
    trials._forget()


def break_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where an axis has 40 pixels or more is the last output wrong."""
    right = cupysample.interpolate

    def wrong(x: Any, *positional: Any, **named: Any) -> Any:
        y = right(x, *positional, **named)
        if y.size and x.shape[-1] >= 40 and y.dtype.kind == "f":
            y[..., -1] += 1
        return y

    monkeypatch.setattr(cupysample, "interpolate", wrong)


@pytest.mark.parametrize("fault", [break_coordinates, break_rounding, break_large])
@pytest.mark.parametrize("maker", [fuzz.by_generator, fuzz.by_hypothesis])
def test_a_fault_is_found_and_made_small(fault: Any, maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By either maker, within a few hundred trials; the one that is left has next to no pixels and fails when parsed."""
    fault(monkeypatch)
    found: list[tuple[Trial, str]] = []
    chunk = 0
    while not found and chunk < 10:
        found = maker(7, chunk, ("numpy",)).failures
        chunk += 1
    monkeypatch.undo()
    _taps._kept.clear()
    trials._forget()
    assert found
    smallest = min((trial for trial, _ in found), key=lambda trial: np.prod(trial.shape))
    assert np.prod(smallest.shape) <= 40
    assert trials.check(smallest) is None, "it fails without the fault too"
    fault(monkeypatch)
    assert trials.check(trials.parse(smallest.json())) is not None


def test_bytes_beside_out_are_noticed() -> None:
    """Any byte that is no element's."""
    trial, dtype = some(1)[0], np.dtype(np.float32)
    for seed in range(100):
        made = trials.Destination(replace(trial, seed=seed), (2, 3, 5), dtype)
        made.out[...] = 0
        beside = np.flatnonzero(made.memory == trials.JUNK)
        assert len(beside) == made.memory.size - made.out.nbytes
        made.check()
        if len(beside):
            made.memory[np.random.default_rng(seed).choice(beside)] = 0
            with pytest.raises(AssertionError, match="beside out"):
                made.check()


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts, it fails with a reproducer, and it runs that."""
    assert fuzz.main(["--trials", "400", "--paths", "numpy", "--processes", "1"]) == 0
    printed = capsys.readouterr().out
    assert "400 trials" in printed
    assert "0 failures" in printed
    trial = some(1, "numpy")[0]
    assert fuzz.main(["--trial", trial.json()]) == 0
    assert capsys.readouterr().out == "holds\n"
    monkeypatch.setattr(trials, "check", lambda _: "AssertionError: wrong")
    assert fuzz.main(["--trial", trial.json()]) == 1
    assert capsys.readouterr().out == "AssertionError: wrong\n"
    with pytest.raises(SystemExit):
        fuzz.main(["--paths", "gpu"])
    assert "--paths: unknown gpu" in capsys.readouterr().err


def test_cells_are_those_of_the_cases() -> None:
    assert len(fuzz.every_cell()) == sum(
        len(dims) * len(cases.dtypes(mode)) * len(trials.LAYOUTS) for mode, dims in cases.MODES.items()
    )
