"""Tuned constants, each beside the measurement behind it."""

from __future__ import annotations

TILE_BYTES = 3 << 19
"""Bytes of a tile of the NumPy path, the larger of read and written, in the dtype of the sums.

Milliseconds, float32 unless said, median of 7 interleaved, into an ``out`` that exists, 2 cores of an EPYC (Zen 5, 1 MiB of
L2 each), NumPy 2.4 with OpenBLAS 0.3.31, 2026-11-24, one thread | two threads:

    KiB                            256    512   1024   2048   4096 |   256    512   1024   2048   4096
    bilinear 2x (8,64,64,64)      5.21   4.22   3.71   3.62   3.57 |  5.84   3.85   2.77   2.31   2.26
    bilinear (4,32,56,56)->100    0.81   0.58   0.52   0.45   0.43 |  1.01   0.72   0.55   0.42   0.35
    the first, channels_last      4.51   3.64   3.18   3.05   3.07 |  5.91   3.46   2.70   2.32   2.43
    antialias 1080p->540p         4.02   3.28   2.81   2.60   2.47 |  4.70   3.09   2.07   1.76   1.90
    lanczos 1080p->540p           5.14   4.42   3.65   3.43   3.24 |  4.64   3.23   2.39   2.13   2.03
    trilinear 2x (2,16,32,64²)   23.20  17.46  14.37  12.74  12.48 | 24.58  14.82  10.00   8.18   7.86
    linear 2x (16,64,4096)        5.59   4.09   4.44   5.27   6.25 |  3.48   2.28   2.59   3.10   3.59
    nearest 2x (8,64,64,64)       3.38   3.00   2.84   2.88   2.84 |  2.96   1.77   1.54   1.46   1.58
    float16 of the first         17.15  15.91  14.87  14.75  13.62 | 15.47  11.09   8.74   8.22   8.56
    uint8 antialias, as above     4.80   3.87   3.24   3.05   2.95 |  4.60   3.09   2.09   1.78   1.68

Processor time of one thread on a Xeon shared with others (Sapphire Rapids, 2 MiB of L2), median of 13, 2026-11-26:

    KiB                            768   1024   1280   1536   2048
    bilinear 2x (8,64,64,64)      9.60   9.54   8.92   9.54   9.63
    the first, channels_last      7.75   7.35   7.24   7.14   7.22
    trilinear 2x (2,16,32,64²)   44.69  39.78  39.33  39.51  37.75
    linear 2x (16,64,4096)       10.09   9.97  10.01   9.69  17.38
    float16 of the first         40.54  41.64  41.91  43.52  45.90
    uint8 antialias, as above     5.92   5.95   5.96   6.27   6.82
    the same, channels_last       6.50   6.12   6.13   6.42   6.73

What is read and what is written then lie in L2 together, nearly, and of rows 32 KiB apart no more than it has ways for. More
gains little, and a thread takes more memory.
"""

SPARE_BYTES, SPARE_SHARE = 1 << 24, 0.1
"""Memory for all threads together, and as much more as this share of the output: the bound of what a call may take.

At 1.5 to 3 MiB a thread, five to ten threads for small outputs, more for larger ones.
"""

SCRATCH_BYTES = 1 << 22
"""Memory that a thread keeps from call to call: fresh pages cost 0.2 ms for each MiB."""

TAPS, TAPS_BYTES = 1024, 1 << 26
"""Matrices of axes kept as rows, at most, and their bytes: of one that is tabulated up to 6 MiB."""

PICKED, PICKED_BYTES = 64, 1 << 23
"""Axes of which the pixels that are read are kept, at most, and their bytes: up to 2 MiB of one."""

PROGRAMS, PROGRAMS_BYTES, OBJECT_BYTES = 256, 1 << 27, 1 << 10
"""Prepared programs kept, at most, and their bytes: of their arrays, matrices of up to ``MATRICES_BYTES`` an axis among them, and
so many for each of their tiles and steps; some 5 KiB more each.

KiB that ``tracemalloc`` sees after a call, NumPy's apart, CPython 3.11, 2026-11-28:

                                                            tiles  steps  arrays  others
    nearest (1,3,8,8) 1:2                                       1      1       0       6
    bilinear (1,3,500,400)->(224,224)                           3     11      32      16
    nearest uint8 (1,1,1300,200000)->(1301,250001)            217    217    1963     435
    antialias 1080p->(777,1111), uint8, channels_last          20    193     399     138
    lanczos uint8 (1,3,6000,9000) 2:1, channels_last          750   3756     281    2559
"""

GEMM_MACS = 200_000
"""Multiply-adds of a product of matrices, at most. From 262 144 on OpenBLAS deals one to threads of its own, which stall
for 38 to 170 ms where several threads multiply."""

DOT_ELEMENTS = 1 << 13
"""Elements of a dot product, at most. From 10 000 on OpenBLAS deals one to threads of its own."""

PRODUCT_NS = {True: (1.0, 0.00345), False: (0.3, 0.0024)}
GEMM_NS, CALL_NS = 40, 2500
LANE_BYTES = 64
ROWS = {True: (1, 2, 4, 8, 10, 12, 15, 16, 20, 24), False: (1, 2, 4, 6, 8, 9, 10, 12, 16)}
"""Costs of the blocks of a band that multiply from the right (True) or the left, in nanoseconds: for each block and row or
column a constant and, for each number of the window and each output, a multiply-add, by the bytes of the dtype; for each
product, and for each call of NumPy. The numbers that BLAS holds in vectors of 64 bytes, outputs to the right and columns to
the left, count in multiples of these. Then the outputs of a block, times channels, that are tried.

Three columns, antialiased 2:1, take 170 ns a product where 128 are predicted. Fitted to nanoseconds an output, same machine,
float32, operands in the cache, windows as of antialiased 2:1:

    outputs of a block     6      8     12     15     16     18     24     30
    last axis           0.85   0.70   0.68   0.57   0.60   0.88   1.12   0.91
    predicted           0.92   0.73   0.63   0.63   0.58   0.96   1.08   0.98
    another axis        0.24   0.25   0.31   0.40   0.39   0.43   0.53   0.65
    predicted           0.22   0.25   0.31   0.36   0.38   0.42   0.53   0.64

and as of linear 1:2: 0.33, 0.21, 0.25 for 8, 16, 32 outputs along the last axis, 0.14, 0.15, 0.22 along another. With
OpenBLAS's kernels for AVX2 all take 1.7 to 2.2 times as long. A matrix that BLAS must transpose costs twice the time.

Three channels that stay behind, from the right, on a Xeon (Sapphire Rapids, shared with others; its last axis 0.80, 0.74,
0.98, 1.03 for 8, 10, 12, 16), operands in the cache, windows as of antialiased 2:1:

    outputs of a block       1      2      3      4      5      6      8     10
    nanoseconds an output 1.27   0.97   0.84   0.76   0.72   0.95   1.33   1.31
    predicted             1.22   0.83   0.70   0.64   0.60   1.09   1.04   1.01
"""

SLICE_NS = {True: (0.05, 0.15), False: (0.04, 0.07)}
LOOP_NS = 6
SLICES = 16
"""Costs of a sum of strided slices, for each output and for each of its pixels, and for each loop over the numbers that lie
alike; and the most pixels worth trying.

Same machine: 0.30 for the sum of two pixels along the last axis, 0.38 with their product; rows 0.07 to 0.32, as they lie. A
loop over 2 to 8 channels took 12 for a sum of two, on a Xeon (Sapphire Rapids, shared with others).
"""

GATHER_NS = {(False, True): 0.55, (False, False): 0.1, (True, True): 0.15, (True, False): 0.1}
"""Costs of copying an output, by whether pixels are repeated alike, along the last axis or another.

Same machine, float32: ``take`` 0.50 to 0.55 along the last axis, 0.07 of rows; doubled pixels 0.13 as wider integers, 0.26
as strided copies, 1.38 by broadcasting; doubled rows 0.11.
"""

INDEXED, COPIED = 16, 2
"""Where what is picked from has gaps, an index instead of ``np.take``, which copies it first: elements behind a picked pixel,
at least; of fewer, results that it is as large as, at most, for ``np.take``.

Nanoseconds an element picked, of 448 rows or columns of 1080 x 1920, uint8 | float32, ``take`` and an index, one thread of a
Xeon shared with others, 2026-11-29: whole rows without gaps 0.06 0.06 | 0.3 0.3, with gaps 0.9 0.3 | 1.8 0.6; pixels 0.5 0.6 |
0.9 3.6, of three channels 0.5 1.4 | 0.9 2.1, with gaps between rows of these 2.8 1.3 | 3.9 1.6 (0.1 | 0.3 merged).
"""

AT_ONCE_BYTES, SLICED_BYTES, AT_ONCE_PIXELS, AT_ONCE_TILE = 12, 32, 1 << 15, 1 << 23
"""Copies along all axes at once: where one of them takes an index, bytes that axis by axis are copied on the way for a pixel of the
output, at least; where all are slices, of pixels of several elements, bytes of one, at most; and pixels and bytes of a tile, at most.

Microseconds, axis by axis and at once, of 2 MB (shrunk: 8 MB), one thread of a Xeon shared with others, 2026-11-29; pixels of one
element are float32 and float64, others channels_last:

    bytes of a pixel             2           4           8          12          16          64         256        1024
    to 0.07: an index     75    65    58    42    51    26                51    21
       0.13              199   186   176   117   171    89               162    56
       0.37              767   911   612   575   521   395               349   250
       0.53             1202  1682   902  1039   798   696               499   388
       0.8               562  1017   414   563   301   342   369   354   279   275   281   250   287   223   288   203
       1.5              1444  3233   981  1715   689   899   885   954   589   596   624   547   608   465   618   459
    doubled            15889  5719  7994  2865  4718  1479  3599  1690  2915   984  1440   847  1117   738   966   651
    halved: slices      3754  1593  2017   872  1236   621   882   637   739   555   371   425   333   395   290   344

Pixels of a tile, two float32 to 1.5, 2**12 to 2**18: 1398 1070 911 839 846 1000 1087. Bytes, 256 float32, 9 MB, 2**19 to 2**23:
928 863 767 703 635.
"""

COPY_NS = 0.2, 0.3
"""Costs of copying a number to or from scratch memory: in the order of memory; what it adds to go across, for each byte.

Same machine, in order: uint8 to float32 0.08 and back 0.07, bfloat16 0.11 and 0.32, float16 0.26 and 0.97 (NumPy's own 1.26
and 1.53, by a table 0.70). Across, three channels to planes: uint8 0.3, float32 1.0; 32 channels 1.7. On a Xeon (Sapphire
Rapids, shared with others) three channels of uint8 0.6, eight 1.0.
"""

NARROWED_ELEMENTS = 1 << 18
"""Elements that are narrowed at a time, with as many spare ones: between calls a thread waits for the interpreter's lock.

Float16 bilinear 2x of (8,64,64,64) on a Xeon (Sapphire Rapids, two virtual cores), milliseconds, median of 11 interleaved,
2026-11-27; a call that has to wait there waits for some 25 microseconds:

    elements        2**16  2**17  2**18  2**19
    one thread       35.5   27.0   30.6   35.5
    two threads      36.5   29.3   29.6   25.2

NumPy's own conversion is a single call, of 2.6 to 2.9 ns an element beside 2.2 to 2.9, but takes 8 of rectified numbers,
half of them zero, and 83 of subnormal ones.
"""

MATRICES_BYTES, RUNS = 1 << 22, 1 << 11
"""Bytes of the matrices of an axis, and calls of NumPy for them, each some KiB of a program, at most: a longer one is
resampled by ``_exact``."""

AXES, MATRICES, KEPT_MATRICES_BYTES = 1 << 12, 1 << 10, 1 << 25
"""Axes of which facts are kept, some numbers each, and ways to cut them, 1 KiB; and matrices kept, of all outputs of an axis or of
those that a tile has, with their bytes.

Milliseconds of a call for a picture of 100 to 700 pixels a side, channels_last, antialiased to 224 x 224, after 2000 others each of
a size of its own, median of 150, one thread of a Xeon shared with others, 2026-11-29: float32 2.54 to 2.63 with 16 ways, 256 facts
and no matrices, 2.05 with these; uint8 2.85 to 3.49, 2.23 to 2.28.
"""

CACHE_LINE = 64
"""Bytes."""

TILE_ELEMENTS = 1 << 17
"""Elements of a tile of ``_exact``, the larger of read and written.

Milliseconds, float32, median of 7 interleaved, 2-core Xeon, one thread, 2026-11-23:

    log2 elements               14     16     17     18     19     20     22
    bilinear 2x (8,64,64,64)    46     54     76    104    110    111    151
    bicubic 2x (8,16,64,64)     24     29     30     50     44     52     66
    antialias 1/2 (1,3,1080p)   50     25     21     20     21     21     26
    trilinear 2x (1,8,32,64²)  227     55     38     32     27     50     88
    nearest 2x (8,64,64,64)     17     11     10      9      9      9     10
"""

PART_WEIGHTS, PARTS, PARTS_BYTES = 1 << 15, 16, 1 << 21
"""Weights, and one more for each row, of a part of an axis too long to be tabulated, at most: what tiles have of it. Then
parts kept, at most, and their bytes: some 0.4 MiB each, and the tiles of now share one of every such axis.

Warm milliseconds, float32, one thread, median of 3, 2-core Xeon shared with others, 2026-11-28:

    log2 weights                                      13     14     15     16     17
    linear (32,1,240000)->131073                      45     38     31     35     36
    bicubic (1,1,200,70000)->(200,66000)             223    230    217    249    357
    linear (1,1,2**22)->2**23                       1578    907    642    483    429
    gradient of nearest (8,2,48000)->480000          127     75     71     74     81
    gradient of linear (8,2,480000)->240000          569    323    216    172    124

More take more memory: ``ROW_BYTES`` for each, 3 MiB a thread. Where rows repeat themselves tiles share them, and no longer build
them (2026-11-29, linear (1,2,480000) to 960000 66 to 10, to 240000 16 to 3; nearest to 960000 13 to 5; area to 100000 12 to 5).
"""

PART_ELEMENTS = 1 << 16
"""The same where a tile of ``TILE_BYTES`` is not finite.

Milliseconds, all of it NaN, bicubic 1080p->224x224 and bilinear 1080p->540p, antialiased, one thread of a Xeon shared with
others, for 2**14 to 2**17: 377 271 228 154, 151 90 87 55.
"""

EXACT_NUMBERS, ROW_BYTES = 4, 96
"""Memory that ``_exact`` takes: for an element of the largest array on the way, numbers of the dtype of its sums; for a row
of a matrix, and to build it for each of its taps, bytes.

Counted, bytes an element: float64 and int64 28 to 32 where arrays grow, 6 to 19 where they shrink; 4-byte numbers half that;
a weight of rows of 3669 or 4 taps, that are built, 72 to 92 with its row.
"""

BLOCK = 256
"""Threads of a block of the general kernels. Not measured; without shared memory registers alone limit how many are resident."""

MAX_BLOCKS = 1 << 16
"""Blocks of a grid in x; the rest is grid-stride."""

HELD_BYTES = 128
GATHERED_ELEMENTS = {"fixed": (4, 16), "mean": (1, 8), "integer": (1, 8)}
"""kernels/few_taps.cu: bytes of sums of a window that a thread holds; and of uint8, least and most elements that it gathers, for
of fixed point it holds bytes, and divides means; and of int8.

Registers by NVRTC 12.9 for sm_90, two blocks of 256 threads a multiprocessor, no spills; 2-D, elements a thread:

    taps                       2            4            8
    float32 gathered, wide     4: 72, 4: 54   4: 93, 4: 64    4: 128, 4: 106
    float16 gathered, wide     8: 92, 8: 56   8: 128, 8: 88   4: 128, 4: 96
    uint8   gathered           16: 128        8: 121          4: 100
    uint8   that grows, apart  16: 72, -      8: 64, 8: 96    4: -, 4: 96

Twice as many bytes spill, and so do 16 means and 16 of int8 of 2 taps (16 bytes for sm_120).
Counted, instructions an output: features-bicubic float16 26.4 with 4 elements a thread, 21.9 with 8; photo-bicubic uint8 77, 71.
Measured, H100, 2026-11-27, microseconds, 128 bytes and 64: gradient of volume 348 307 float32, 298 269 float16, hence half as
many for 4 taps of 3-D; volume float16 197 222. Of uint8 fixed at 16: features-bicubic, which then holds 16 elements and not 8, 164 149, photo 171 193.
"""

WINDOWED_ELEMENTS, WINDOWED_BLOCKS = {1: (8, 4), 3: (12,)}, {1: {4: 5, 8: 4}, 3: {2: 8, 4: 7, 8: 5}}
"""kernels/few_taps.cu: elements of a thread that reads windows of bytes by themselves, by the channels of a pixel, the best that
divide a row; and blocks of a multiprocessor, by these and taps, as registers for sm_90 allow.

Counted for sm_90: bilinear antialias 1/2 takes 28 instructions an output of 1 channel and of 3, 87 and 72 registers; bicubic
of 3 channels 46 and 96. A warp's words are 16 and 24 bytes apart, so that 4 and 2 of a copy lie in one bank of L1. Not yet
measured. Measured, H100, 2026-11-27, when each window had words of its own: photo contiguous, 8 elements 171 us, 16 193.
"""

RUN_ROWS = {
    "copied": {1: dict.fromkeys((1, 2, 4, 8), 16), 2: {1: 16, 2: 32, 4: 64, 8: 64}, 3: dict.fromkeys((1, 2, 4), 128)},
    "gathered": {1: {1: 16, 2: 16, 4: 8, 8: 8}, 2: {1: 16, 2: 16, 4: 16, 8: 32}, 3: dict.fromkeys((1, 2, 4), 16)},
    "wide": {axes: {1: 16, 2: 16, 4: 32, 8: 32} for axes in (1, 2, 3)},
}
RUN_DEPTHS = 8
"""kernels/few_taps.cu: rows, by how they are read, axes and taps, and depths that a thread walks through, at most.

What a run begins with (tables, the first rows of all) costs as much as some rows; long ones leave more of the device idle at the
end. Measured, H100, 2026-11-27, microseconds in runs of 16, 32, 64 and 128 rows:

    copied, 1 tap   features-nearest float32 480 481 484 488, float16 240 241 243 247, uint8 120 122 125 -
            2       features float32 491 491 491 497, float16 265 251 255 252, uint8 171 141 138 150; gradient of photo float32
                    368 367 369 377, float16 201 192 194 204
            4       features-bicubic float32 550 519 525 570, float16 392 317 295 294, uint8 224 177 162 161; superresolution
                    202 190 187 196
            3-D     volume float32 252 267 250 240, float16 148 144 136 -
            1-D     audio 149 152 157 -
    gathered        photo float32 428 416 - -, uint8 203 220 - -; area-batch float16 210 223 - -; gradient of audio 146 155 - -, in
                    runs of 8 rows 142; gradient of features-bicubic float32 792 764 - -
    wide, 2 taps    features float32 473 474 476 486, float16 249 251 250 259
            4       features-bicubic float16 320 302 306 305; gradient of features float16 267 263 266 -

Depths, where rows are not copied ahead: a run of 8 reads 5 planes where 4 would do. Otherwise one, 2026-11-27: volume float32 240,
in runs of 3 depths 391.
"""

RUN_START, RUN_BLOCKS, MULTIPROCESSORS, ALONE = (
    {1: 2, 2: 5, 4: 8, 8: 10},
    {
        1: {1: {1: 10, 2: 12, 4: 12}, 2: {1: 7, 2: 7, 4: 8}, 4: {1: 8, 2: 6, 4: 8}, 8: {1: 7, 2: 6, 4: 6}},
        2: {1: {1: 10, 2: 10, 4: 10}, 2: {1: 6, 2: 6, 4: 7}, 4: {1: 8, 2: 4, 4: 6}, 8: {1: 5, 2: 4, 4: 4}},
        3: {1: {1: 10, 2: 12, 4: 10}, 2: {1: 4, 2: 4, 4: 5}, 4: {1: 4, 2: 5, 4: 5}},
    },
    132,
    0.4,
)
"""kernels/few_taps.cu, rows that are copied ahead: what a run begins with, in rows, by taps; the blocks of a multiprocessor, by axes,
taps and bytes of an element, as registers of most instances for sm_90 allow; multiprocessors (H100); and the time of a block that
has one to itself, of that where all are full.

In how many runs a launch takes least time depends on how the last blocks fill the device. Measured, H100, 2026-11-27, microseconds
in 2, 3, 5 and 10 runs, and what is predicted of the best: pyramid float16 19.5 24.0 23.1 28.9, 1 1.3 1.3 1.9; volume float16
128 131 136 -, 1 1.0 1.1 -. embedding in 6, 12 and 24 runs 8.7 10.6 13.1, 1 1.7 2.6.
"""

STREAMED_BYTES = 1 << 25
"""kernels/few_taps.cu: bytes of out beyond which vectors are stored as what nobody reads again: two thirds of an H100's L2.

Measured on one, 2026-11-27, microseconds, all stored otherwise and all so: volume float32 317 262; features uint8 242 217;
features-bicubic float32 736 694, float16 445 438; features float32 528 520; photo float32 backward 410 397; pyramid float32,
whose out is 33 MB, 37.3 38.1; decoder, 67 MB, 65.4 63.6.
"""

STAGES, STAGES_BYTES = 4, 48 << 10
"""kernels/few_taps.cu: rows on their way to shared memory, and bytes of that, at most.

Measured, H100, 2026-11-27, microseconds, without (runs of 32 rows, blocks of 256 threads) and with 4: features float32 527 488,
float16 347 254, uint8 242 190; features-nearest uint8 166 125; features-bicubic float32 735 560, float16 445 376, uint8 380 317;
volume float32 362 273, float16 206 168; photo float16 backward 271 194. As they are now, with 2, 3, 4 and 6: features float32 487
490 492 499, features-bicubic float32 523 517 525 532, float16 295 295 293 298, decoder float16 31.3 30.6 30.4 31.4.
"""

RATIOS = ((2, 1), (4, 1), (1, 2))
SHRUNK_TAPS = {
    ("float16", "float"): (2, 4, 8),
    ("bfloat16", "float"): (2, 4, 8),
    ("float32", "float"): (8,),
    ("uint8", "fixed"): (2, 4, 8),
    ("uint8", "mean"): (2,),
}
"""kernels/few_taps.cu: pixels of a row and of its source, whose windows then lie alike, that have instances of their own; in 2-D,
where rows shrink, with so many taps.

Counted for sm_90, instructions an output of a row of half its source, by band.cu, or gathered where taps are 2, and so: 2 taps
float16 40, 27, means of uint8 40, 23; 4 taps float16 69, 38, uint8 28, 23; 8 taps float32 164, 63, float16 98, 71. Not yet
measured; before it was, H100, 2026-11-27, the share of a copy: 78 % area float16, 46 % uint8, 69 % bilinear antialias float16, 47 %
uint8, 73 and 54 % bicubic float32 and float16. float32 of 2 and 4 taps stays with what takes 89 to 96 %.

Rows that grow, measured, H100, 2026-11-27, microseconds without and with: features-bicubic float32 564 525, float16 331 295, uint8 250 162; features
uint8 162 137, float16 259 253, float32 495 491; volume float32 259 249, float16 158 136; superresolution (4) 212 187; pyramid float16
32.0 28.7; features-nearest uint8 128 122; decoder float16 33.0 30.3.
"""

LAYERS, IDLE_LAYERS = (4, 2, 1), 0.125
"""kernels/few_taps.cu, rows that are copied ahead in 3-D, and kernels/band_walk.cu: depths, or pairs of them, that the threads of a
block have side by side, and the share that may be nobody's.

Counted, sectors of a block over the minimum, 1, 2 and 4 side by side: trilinear 2x float16 1.12, 1.06, 1.06; nearest 2x float16
1.11, 1.00, 1.00; trilinear antialias 1/8 float32 1.87, 1.37, 1.12; gradient of trilinear 2x float16, of rows that fill 64 threads,
1.83, 1.39. Not yet measured; 1 were, and where they are one after the other as well: RUN_DEPTHS.
"""

TWO_DEPTHS = (2,)
"""kernels/few_taps.cu: taps of floats in 3-D of which two depths of out are made at once, where rows are doubled and these depths
have the same window.

Counted for sm_90, one and two: instructions an output, volume float32 20.7, 14.8, float16 15.0, 12.0; threads of a multiprocessor
768, 640 and 512, 512; rows read from shared memory, and of the source through L2, are half as many. Not yet measured; one at a
time, H100, 2026-11-27: 83 and 78 % of a copy.
"""

RUN_THREADS = 128
"""kernels/few_taps.cu: threads of a block. Smaller ones leave less of the device idle at the end.

Measured, H100, 2026-11-27, microseconds of runs of 16 rows that are not copied ahead, 256, 128 and 64 threads: photo float16 311
308 309; features float32 545 507 510, float16 387 330 322; features-bicubic float16 channels_last 379 318 312. Copied ahead, as they are now: features float16 264 251 250, features-bicubic float16 297 293 292,
superresolution 214 188 187, decoder float16 30.1 30.4 31.3.
"""

BAND_THREADS = (64, 128, 256)
"""Threads of a block: of short rows; of longer rows, and of long ones of integers, 3 blocks a multiprocessor of 170 registers a
thread; of long rows of floats, 3 of 80 registers, of doubles and means 2 of 128. Each reads 16 bytes of a row, in short ones 8, of
floats up to 32, or in the shortest one element.

Measured, H100, 2026-11-27, microseconds where 128 threads fill what 256 would not: gradient of features-bicubic float32, by
few_taps.cu 774, 527; of features float32 521, 477.
"""

OVERFILLED = 1.5
"""kernels/band.cu and its kin: columns of a row, at most, over those of a block that gets it, before larger blocks do. Not measured."""

BAND_COLUMNS = 8
"""kernels/band.cu: columns of a thread of a large block, a quarter as many of doubles: 32 sums in registers, 36 KiB of a block's.

Counted, float32, lanczos 1/2, in runs of 8 groups: 124 instructions an output; before rows were copied ahead 129, with 4
columns 153. Measured,
H100, 2026-11-27, microseconds with 8 and 4: lanczos 460 564, photo-quarter 357 357, thumbnail 462 381.
"""

BAND_INTEGERS = 2
"""kernels/band_integer.cu: elements of out of a thread, at most; half as many in 3-D and where sums are doubles. As many of
kernels/band_bytes.cu where a tile has more than threads, else one.

Counted, uint8, instructions an output at bicubic antialias 1/4 and 1/2, by elements and rows of a group, 256 threads:

    4 and 4: 307 137     4 and 8: 266 116, spills     2 and 4: 337 158     2 and 8: 297 135

128 threads of more registers, 4 and 4: 293 131. band_bytes.cu: 2 and 8: 186, at 1/9.6, where one is enough, 1 and 8: 1178 for
2069 of band_integer.cu. Measured, H100, 2026-11-27, microseconds with 8 rows, 4 elements and 2:
photo-quarter 277 277, thumbnail 270 248.
"""

BAND_FILLED = 0.8
"""Share of the columns of its threads that a row fills, at least, where band.cu gets what few_taps.cu would gather: rows of
``BAND_TAPS`` that shrink.

Counted for sm_90 in runs of 8 groups, before rows were copied ahead (5 % more of float16 since), instructions an output at 1/2,
few_taps.cu and band.cu; the budget is 73 in float16, 146 in float32:

    width                       256     320     512     640     1024    1920    2048    3840
    filled                      0.50    0.62    1.00    0.62    0.50    0.94    1.00    0.94
    float16 bilinear, 4 taps    56 107  56 92   56 62   56 93   57 79   56 66   56 62   56 66
    float16 bicubic, 8 taps     105 149 105 131 105 89  105 131 105 110 105 95  105 89  105 95
    float32 bicubic, 8 taps     85 110  85 177  85 144  85 138  85 115  85 99   85 93   85 99

few_taps.cu and band_integer.cu in uint8: bilinear antialias 1/4 (8 taps) 124 161, bicubic antialias 1/2 (8 taps) 74 131,
bilinear antialias 1/2 (4 taps) 48 85.
"""

BAND_SPLIT_ROWS, BAND_SPLIT_FILLED = 8, 0.25
"""kernels/band.cu: rows of a window, at least, that a part of a block sums where outputs are too few for the device; and the share of
the threads it holds below which they are too few. Not measured."""

BAND_ROWS, BAND_INTEGER_ROWS, BAND_GROUPS, BAND_DEPTHS = 4, 8, 8, 4
BAND_GROUPS_BYTES = 30_000_000
"""kernels/band.cu: rows of a group, groups and depths that a block walks through, at most; and bytes.

Fewer where the launch would not fill a large GPU. Counted: at 1/2 two groups of 4 rows share a quarter of their source
for linear, half of it for lanczos; 8 of them read 1.03 and 1.16 times the source, where each alone would 1.25 and 2.25. But
what all blocks together hold between two groups may be more than an H100's L2: of photo-quarter float32 1.25 times the source
came from memory, of thumbnail 1.70. One group where that is more than so many bytes; measured there, 2026-11-27, megabytes, and
microseconds in 1, 2, 4 and 8 groups:

    gradient of features float16          12   373 333 316 313     float32    16   520 487 479 478
    gradient of features-bicubic float16  17   441 404 390 387     float32    23   601 562 540 527
    photo float16                         16   273 249 242 241     float32    32   370 376 379 380
    photo-bicubic float16                 23   332 314 309 307     float32    45   450 481 486 490
    lanczos float16                       29   400 384 381 382     float32    58   461 577 647 662
    photo-quarter float16                 45   216 223 220 223     float32    91   359 486 482 476

Of bytes always 8: photo-quarter uint8 275 262 270 248. In 3-D always one, for the next depth reads it too: gradient of volume
float32 310 427 454 539, float16 284 284 290 368. Rows of integers, 4, 6 and 8: photo-quarter uint8 325 286 276, thumbnail 306 273
269; of floats, 2 and 4: photo-quarter float32 392 359, lanczos 656 461.
"""

BAND_TALL = 32
"""kernels/band.cu: rows of a window, at least, of which fewer columns are read at a time, so that L2 holds them for the group
below. Measured, H100, 2026-11-27, microseconds with 2048 columns and with 1024: thumbnail float32, 39 rows, 461 383; lanczos-quarter,
24 rows, 438 518; photo-quarter, 16 rows, 359 357; lanczos, 12 rows, 461 563."""

BAND_TAPS = {"float16": 4, "bfloat16": 4, "float32": 4}
"""Taps, at least, of rows that band.cu may have from few_taps.cu, but in 1-D, where nothing is separated.

Measured, H100, 2026-11-27, microseconds by few_taps.cu and by band.cu: photo float32 428 371, float16 313 242; photo-bicubic float32
619 450, float16 529 309; gradient of features float32 521 478, float16 381 316; of volume float32 487 310, float16 430 291.
"""

WALKED_ROWS = {2: {"float16": 3, "bfloat16": 3, "float32": 5}, 3: dict.fromkeys(("float16", "bfloat16", "float32"), 3)}
WALKED_HELD = {2: (3, 4, 5, 6, 7), 3: (2, 3)}
WALKED_THREADS, WALKED_COLUMNS, WALKED_FILLED = {2: (32, 64, 128), 3: (32, 64)}, 8, 0.5
WALKED_CHANNELS, WALKED_WINDOWS, WALKED_ALONE = 32, 4, 0.6
"""kernels/band_walk.cu: rows of a window of H, at least, by axes and dtype, that go to it from band.cu; rows whose sums a thread
holds; threads of a tile, by axes and the length of rows; columns of a thread; the share of the columns of a tile that a row fills,
at least; bytes of the channels of a tile, at least, where it is narrow: less than so many windows; and what ``ALONE`` is of its blocks,
a guess until it is measured.

Rows that have begun and not ended, where H shrinks by any factor: linear 3, cubic 5, lanczos 7; by whole ones at best one fewer;
in 3-D 3, more spill. Counted for sm_90, instructions an output by band.cu and so; of 96 registers, 6 rows and more 128:

    lanczos float32          192    97     photo-quarter float32    436   208     gradient of volume float32   374   100
            float16          128    95                   float16    450   214                        float16   396   113
    lanczos-quarter float32  525   266     thumbnail float32       5318  2150

Not yet measured; band.cu was, H100, 2026-11-27, the share of a copy: lanczos 72 %, 43 %, lanczos-quarter 65 %, photo-quarter 77 %,
66 %, thumbnail 69 %, gradient of volume 64 %, 35 %. float32 of at most 4 rows stays with what takes 89 to 93 %.

Counted for lanczos float16 in versions before: 4 rows and 8 filtered at once along W 127, 111; one source row at a time instead
of two, and sums moved up when a row ends, 125. Which rows are inside as bits of a word instead of NaN: as many instructions. With one row more than
whole factors need, and the sums of two rows for four at once: 104.
"""

BAND_CHANNELS = 64
"""kernels/band.cu: channels of a tile, at most: 128 bytes of float16."""

FILLING_BLOCKS = MULTIPROCESSORS * 8
"""Blocks that fill a large GPU (H100)."""

RESIDENT_THREADS, RESIDENT_BANDS, RESIDENT_BAND_BYTES = (
    MULTIPROCESSORS * 2048,
    MULTIPROCESSORS * 768,
    (MULTIPROCESSORS * 768, MULTIPROCESSORS * 640),
)
RESIDENT_WALKS = {**dict.fromkeys((2, 3, 4, 5), MULTIPROCESSORS * 640), **dict.fromkeys((6, 7), MULTIPROCESSORS * 512)}
"""Threads that a large GPU (H100) holds at a time, at most, of kernels/band.cu, and of kernels/band_bytes.cu, by the elements of a
thread: 79 and 96 registers where bytes lie in order; and of kernels/band_walk.cu, by the rows whose sums it holds."""

TABLE_ROWS = 1 << 20
"""Rows of the longest axis that is tabulated."""

TABLE_BYTES = 1 << 24
"""Bytes of the largest table of one axis."""

TABLES_BYTES = 1 << 26
"""Bytes of all tables kept on all devices; a forgotten one's are freed once no other that was uploaded with it is kept."""

LAUNCHES = 1024
"""Prepared launches kept: some 2 KiB each."""

TABLES, LOOK = 4 * LAUNCHES, 8
"""Tables kept, more than so many launches have; and of either bound the part that comes between two looks for what to forget.

Milliseconds of a new call, the driver's left out, after 2000, 4000 and 8000 calls with factors of their own: looking at all tables
in every one, their number not bounded, 2.1, 8.1 and 45; since then 1.2 (2026-11-29)."""

CALLS = 4096
"""Checked calls kept: some 1 KiB each; beyond that all are forgotten and made anew."""
