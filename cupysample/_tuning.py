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
"""Blocks of a grid in x; the rest is grid-stride."""

GATHERED_BYTES, WIDE_BYTES = 64, 128
"""kernels/few_taps.cu: bytes of sums of a window that a thread holds, where it gathers and where it reads vectors.

Registers by NVRTC 12.9 for sm_90, two blocks of 256 threads a multiprocessor, no spills; 2-D, elements a thread:

    taps                       2            4            8
    float32 gathered, wide     4: 77, 4: 52   4: 121, 4: 71   2: 127, 4: 116
    float16 gathered, wide     8: 119, 8: 64  4: 119, 8: 94   2: 127, 4: 106
    uint8   gathered, wide     8: 113, 16: 94 4: 116, 8: 86   2: 122, 4: 100

Twice as many bytes spill. The times are predictions: a thread in flight has 16 loads of a row.
"""

RUN_ROWS, RUN_DEPTHS = 16, 8
"""kernels/few_taps.cu: rows and depths that a thread walks through, at most.

Counted: at 2x a run of 16 rows reads 9 source rows where 8 would do, a run of 8 depths 5 planes where 4 would do. Fewer
where the launch would not fill a large GPU. Predicted, not measured.
"""

BAND_THREADS = (64, 128, 256)
"""Threads of a block: of short rows; of long rows of integers, 3 blocks a multiprocessor of 170 registers a thread; of long
rows of floats, 2 of 128 registers. Each reads 16 bytes of a row, of floats up to 32, or in the shortest rows one element.
"""

BAND_COLUMNS = 8
"""kernels/band.cu: columns of a thread of a large block, half as many of doubles: 32 sums in registers, 36 KiB of a block's.

Counted, float32, lanczos 1/2: 129 instructions an output, with 4 columns 153.
"""

BAND_INTEGERS = 4
"""kernels/band_integer.cu: elements of out of a thread, at most; half as many in 3-D and where sums are doubles.

Counted, uint8, instructions an output at bicubic antialias 1/4 and 1/2, by elements and rows of a group, 256 threads:

    4 and 4: 307 137     4 and 8: 266 116, spills     2 and 4: 337 158     2 and 8: 297 135

128 threads of more registers, 4 and 4: 293 131.
"""

BAND_ELEMENTS = 320
"""Elements of a row from which band.cu gets what few_taps.cu would gather: rows of 5 to 8 taps that shrink, of 16 bits.

Counted for sm_90, instructions an output at 1/2, few_taps.cu and band.cu; the budget is 73 in float16, 146 in float32:

    width                       256       320       512       640       1024      2048
    float16 bilinear, 4 taps    78 107    78 92     78 62     78 93     78 79     78 62
    float16 bicubic, 8 taps     143 149   143 131   143 89    143 131   143 110   143 89
    float32 bicubic, 8 taps     126 110   126 177   126 144   126 138   126 115   126 93
"""

BAND_SHRINKS = 3.0
"""How often smaller, at least, along H and W, out has to be for the same of uint8.

Counted, few_taps.cu and band_integer.cu: bilinear antialias 1/4 (8 taps) 228 162, bicubic antialias 1/2 (8 taps) 130 131,
bilinear antialias 1/2 (4 taps) 79 86; the budgets are 124, 36 and 36.
"""

BAND_SPLIT_ROWS = 8
"""kernels/band.cu: rows of a window, at least, that a part of a block sums where outputs are too few for the device."""

BAND_ROWS, BAND_GROUPS, BAND_DEPTHS = 4, 8, 4
"""kernels/band.cu: rows of a group, groups and depths that a block walks through, at most.

Fewer where the launch would not fill a large GPU. Counted: at 1/2 two groups of 4 rows share a quarter of their source
for linear, half of it for lanczos; 8 of them read 1.03 and 1.16 times the source, where each alone would 1.25 and 2.25.
"""

BAND_CHANNELS = 64
"""kernels/band.cu: channels of a tile, at most: 128 bytes of float16."""

FILLING_BLOCKS = 132 * 8
"""Blocks that fill a large GPU (H100)."""

RESIDENT_THREADS = 132 * 2048
"""Threads that a large GPU (H100) holds at a time."""

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
