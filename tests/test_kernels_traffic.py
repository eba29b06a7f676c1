"""The table of sectors in kernels/README.md is what the kernels' runs on the CPU count."""

from __future__ import annotations

import pytest

from cupysample import _kernels
from tests import traffic
from tests.traffic import Row

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def counted() -> list[Row]:
    return traffic.rows()


def test_the_readme_shows_the_count(counted: list[Row]) -> None:
    text = (_kernels.folder() / "README.md").read_text(encoding="utf-8")
    shown = text.split(traffic.BEGIN)[1].split(traffic.END)[0].strip()
    assert shown == traffic.table(counted), "run python -m tests.traffic and paste its table"


def test_kernels_move_little_more_than_the_minimum(counted: list[Row]) -> None:
    """At most a tenth more where rows have 1, 2 or 4 taps, and half as much again where they have more."""
    for row in counted[:-1]:
        few = row.name.startswith(("nearest", "bilinear 2x", "bicubic 2x", "trilinear 2x", "linear", "area"))
        assert row.ratio <= (1.1 if few else 1.5), row


def test_a_bad_kernel_is_exposed(counted: list[Row]) -> None:
    """32 lanes reading a column touch 32 sectors; writing 128 bytes they touch 4."""
    *good, bad = counted
    assert bad.sectors_per_request == (32 + 4) / 2
    assert bad.ratio == 2.5
    assert all(row.ratio < bad.ratio for row in good)
    # Where a row shrinks, the copies of neighbouring threads lie apart: a sector to each, which L1 has for the next copy.
    assert [row.name for row in good if row.sectors_per_request >= bad.sectors_per_request] == [
        "bilinear antialias 1/2, uint8 NHWC 1x3x128x256",
        "gradient of bicubic 2x, float32 NCHW 1x1x64x128",
    ]
