"""Every mode, dtype, layout and option against torch 2.13 on a CPU.

Two answers of torch are compared: its own to the same call, unless a row of ``known_differences`` matches; and, for
every call, torch resampling one axis at a time through kernels that have none of its shortcuts, with the rules of its
CUDA kernels for what is copied. The second also explains the calls that torch refuses.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F

import cupysample
from tests import cases
from tests.cases import LAYOUTS, SIZE_RULES, Case
from tests.known_differences import DIFFERENCES, ROWS, Difference
from tests.torch_answers import DTYPES, agrees, by_axes, to_torch, torch_has

PAIRS = ((1, 1), (1, 4), (6, 1), (5, 5), (6, 12), (7, 17), (13, 5), (8, 4), (23, 11), (2, 41), (2, 82))
"""Extents in and out: one, equal, doubled, halved, prime; and where torch's nearest kernels disagree."""


def grid(mode: str, dimensions: int, dtype: str) -> list[Case]:
    """Every layout, size rule and option, each with all pairs of extents along every axis."""
    rng = np.random.default_rng([dimensions, *mode.encode(), *dtype.encode()])
    found = []
    for layout, rule, variant in itertools.product(LAYOUTS, SIZE_RULES, cases.variants(mode)):
        pairs = PAIRS if dimensions < 3 else PAIRS[:-2]
        for extents in zip(*(rng.permutation(pairs).tolist() for _ in range(dimensions)), strict=True):
            spatial = tuple(n for n, _ in extents)
            wanted = tuple(n for _, n in extents)
            scale = tuple(float((m + rng.choice([0, 0.3, 0.9])) / n) for n, m in extents)
            found.append(
                Case(
                    mode,
                    dtype,
                    layout,
                    (int(rng.integers(1, 3)), int(rng.integers(1, 7))),
                    spatial,
                    wanted if rule == "size" else None,
                    None if rule == "size" else scale,
                    rule == "recompute",
                    *variant,
                    seed=int(rng.integers(2**31)),
                )
            )
    return found


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "dimensions"), [(mode, n) for mode in cases.MODES for n in cases.MODES[mode]])
def test_grid(mode: str, dimensions: int, dtype: str) -> None:
    """Every call that no row of the table matches is torch's; every call is torch's by axes."""
    for case in grid(mode, dimensions, dtype):
        x = case.input()
        y = cupysample.interpolate(x, **case.arguments)
        assert agrees(case, x, y, by_axes(case, to_torch(x))), case
        if torch_has(case) and not any(difference.when(case) for difference in DIFFERENCES):
            assert agrees(case, x, y, F.interpolate(to_torch(x), **case.arguments)), case


@pytest.mark.parametrize("difference", DIFFERENCES, ids=[str(i) for i in range(len(DIFFERENCES))])
def test_every_known_difference_exists(difference: Difference) -> None:
    """On a row's example torch's answer, if any, is not ours; ours is torch's by axes."""
    case = difference.example
    x = case.input()
    assert torch_has(case)
    assert difference.when(case)
    y = cupysample.interpolate(x, **case.arguments)
    assert agrees(case, x, y, by_axes(case, to_torch(x)))
    with contextlib.suppress(RuntimeError):  # an internal assertion
        assert not agrees(case, x, y, F.interpolate(to_torch(x), **case.arguments)), "torch now agrees: drop the row"


def test_the_readme_shows_every_row() -> None:
    """The table "Same as torch, except" is the data, word for word."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- differences -->\n")[1].split("\n<!-- /differences -->")[0].splitlines()
    assert shown[2:] == [f"| {row} |" for row in ROWS]
