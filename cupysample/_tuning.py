"""Tuned constants, each beside the measurement behind it."""

from __future__ import annotations

TILE_ELEMENTS = 1 << 17
"""Elements of a tile of the NumPy path, the larger of read and written.

Milliseconds, float32, median of 7 interleaved, 2-core Xeon, one thread, 2026-11-23:

    log2 elements               14     16     17     18     19     20     22
    bilinear 2x (8,64,64,64)    46     54     76    104    110    111    151
    bicubic 2x (8,16,64,64)     24     29     30     50     44     52     66
    antialias 1/2 (1,3,1080p)   50     25     21     20     21     21     26
    trilinear 2x (1,8,32,64²)  227     55     38     32     27     50     88
    nearest 2x (8,64,64,64)     17     11     10      9      9      9     10
"""

BLOCK = 256
"""Threads of a block of the general kernels: predicted (no shared memory, full occupancy up to 255 registers / 4)."""

MAX_BLOCKS = 1 << 16
"""Blocks of a grid of the general kernels; the rest is grid-stride."""

TABLE_ROWS = 1 << 20
"""Rows of the longest axis that is tabulated."""

TABLE_BYTES = 1 << 24
"""Bytes of the largest table of one axis."""

TABLES_BYTES = 1 << 26
"""Bytes of all tables kept on all devices."""

LAUNCHES = 1024
"""Prepared launches kept: some 2 KiB each."""

CALLS = 4096
"""Checked calls kept: some 1 KiB each; beyond that all are forgotten and made anew."""
