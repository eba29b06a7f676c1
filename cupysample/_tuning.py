"""Tuned constants, each beside the measurement behind it."""

from __future__ import annotations

TILE_ELEMENTS = 1 << 18
"""Elements of a tile of the NumPy path, the larger of read and written."""

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
