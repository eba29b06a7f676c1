// few_taps.cu: rows of at most CS_TAPS taps (1, 2, 4 or 8): nearest, linear, cubic, and every narrow band besides.
//
// MATHS     resample.cu's, in its order: W, then H, then D; floats in 3-D W, D, H. Copies (CS_TAPS 1) move bits
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it (in 1-D: outer[1]), D the first of three
// TABLES    of H and D Window<taps>[n_out], of W Neighbours<taps>[n_out], in Axis::left; none for copies. Fixed point: pairs of
//           weights, but of W where single bytes are read
// THREADS   CS_VECTOR elements of a row, and a run of rows: a thread walks down H and keeps the source rows of its window,
//           filtered along W (and D), in registers; of fixed point as bytes, four to a register
//           A window along W is read as CS_TAPS neighbouring pixels, one address and constant offsets if CS_PITCH says how far
//           apart they are; those outside of it weigh 0. Where one of these is infinite, and only there, a sum is no number:
//           it is made again of the window alone
//           packed: its elements are neighbours in memory, stored as one vector; else they lie as far apart as the row has
//           threads, so that neighbouring threads read and write neighbours
//           CS_WIDE: packed, and neighbours in `inner`, hence of one pixel, and read as one vector too
//           CS_SLOT: packed, and its windows lie in a few units of a row that it copies to shared memory, STAGES rows before
//           they are filtered; what a copy of its own brings, a thread reads without a barrier
//           CS_GROWTH: so, and the windows of its elements lie alike in every thread: it reads each unit once, and each pixel
//           of it where that is known when it is compiled; CS_SHRINK: pixels of the source for each CS_GROWTH of out
//           CS_WINDOWS: so, but its pixels may lie anyhow: it reads the words of each window by themselves, for all channels
//           CS_DEPTHS 2: so many depths of out, the last of which is even, share their window and are made at once
//           blockDim.z: depths, or as many at once, that are side by side in a block, whose L1 then has the planes they share
// TRAFFIC   reads a source row once a run, window - 1 rows twice, and in a block once for all depths side by side; writes |out|;
//           tables once a run, mostly from L1
// CONTRACT  resample.cu's; every row has a tap; extents, offsets inside a row in bytes and from row to row of the source fit an
//           int; elements of a row of out are one stride apart; the source has CS_TAPS pixels along W, or one
//           packed: rows of out are dense, of a multiple of CS_VECTOR elements and aligned to it
//           CS_WIDE: so are the `inner` elements of a pixel, in source and out
//           CS_PITCH: pixels of the source are so many elements apart along W; 0: any number
//           CS_SLOT: rows of the source are dense, of a multiple of CS_UNIT bytes and aligned to it; the windows of V neighbours
//           lie in CS_SLOT units; no row lies between two windows; CS_THREADS in a block
//           CS_WINDOWS: fixed point; `inner` is CS_PITCH, which divides V; CS_SLOT units hold windows with the word behind
//           CS_GROWTH: divides V CS_SHRINK; `inner` is 1; the window of pixel i lies in CS_TAPS pixels from begin_of(i), the
//           table's `left`
//           CS_DEPTHS 2: of floats in 3-D; depths 2z - 1 and 2z have the same window
// LAUNCH    x: planes times threads of a row, grid-stride; y and z split H and D into runs; any grid
// VERSIONS  instructions an output at bilinear 2x, bicubic 2x, gathered, sm_90 by NVRTC 12.9
//           1 rolling rows, weights [tap][row], places outside of a window selected away: 32.0, 51.3 float32; 24.9, 54.4 float16
//           2 a row of a table in one load, addresses in bytes, stale rows cleared once: 20.6, 30.9 float32; 17.2, 33.9 float16;
//             uint8 21.4, 35.0
//           3 one address for a window, a select for none of its taps; twice the elements a thread and twice the rows a run;
//             fixed point by two products an instruction along H: 17.0, 23.5 float32; 14.9, 21.9 float16; 14.7, 21.3 uint8;
//             with the rows that runs read twice, which the counts before leave out
//             share of a copy's bandwidth at (16,64,256,256), H100, 2026-11-27: 84, 60 % float32; 64, 50 % float16; 46, 29 %
//             uint8; a third of what it can issue, its warps waiting for each row of the source
//           4 rows on their way to shared memory, blocks of 128 threads, large results stored as what caches need not keep:
//             90, 79 % float32; 87, 59 % float16; 58, 35 % uint8
//           5 growth: a slot read by words, once, and no pixel widened twice; bytes of a window multiplied as they lie, two
//             products an instruction, and saturated two at a time; runs so long that they fill the device evenly: 19.2, 22.7
//             float32, 13.8, 17.8 float16, 7.8, 12.5 uint8; 90, 84 % float32, 88, 76 % float16, 79, 68 % uint8
//           6 antialias 1/2 of uint8: words of a thread copied once and not for each window, packed results, all channels of a
//             pixel by its weights; means divided by floats. Instructions before and after: bilinear 33, 28 contiguous, 44, 28
//             channels_last (174, 205 us measured before), bicubic 73, 46 (358 us), area 59, 40 (176 us); not yet measured
//           7 as 5 where a row has half the pixels of its source, in larger units, which L1 has for the next thread; not yet
//             measured: _tuning.py, SHRUNK_TAPS
//           8 pixels of the nearest modes by doubles only on long axes, a run's length without signs: nearest 2x 20.2 -> 17.4
//             float32, 9.7 -> 8.6 float16; before the first row of a thread 225 -> 206 (nearest), 243 -> 236 (bilinear), and no
//             doubles waited for; not yet measured
//           9 what is copied ahead is stored as vectors, which is now known when it is compiled: bilinear, bicubic 2x 16.7, 20.0
//             float32, 11.4, 15.1 float16, 7.4, 11.1 uint8; nearest 17.5, 7.7, 5.1. CS_DEPTHS: _tuning.py, TWO_DEPTHS; not yet
//             measured
//           10 depths side by side, and an end of D that has one depth for two makes it twice: volume float32 15.7 -> 14.8, float16
//             12.8 -> 12.0; sectors of a block at trilinear 2x 1.12 -> 1.06 of the minimum; not yet measured
//           11 divisions by what a launch knows are products, and H's table is asked before W's: 16.1, 19.5 float32, 11.7, 14.9
//             float16, 7.0, 10.9 uint8; before the first row of a thread nothing of a division is waited for, and answers of two
//             tables one after the other are not: 227 -> 180 instructions to a first store (nearest), 277 -> 212 (bilinear);
//             94 -> 80 registers of bilinear float16; not yet measured
//           Not taken: weights of W of 16 bits, from which NVRTC makes two products an instruction by itself, but puts the
//           pairs together for every row: 16.5, 23.9 uint8. The next row in registers while rows of out are computed: no
//           gain, for NVRTC has the loop wait for all loads at its end, and spills
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "ahead.cuh"
#if CS_ARITHMETIC == CS_COPY
#include "pixel.cuh"
#endif
#include "few_taps.cuh"
#include "held_rows.cuh"
#include "along_w.cuh"
#if CS_SLOT
#include "ring.cuh"
#endif

// The depth, or the one nearest to it that there is, which is then made twice; alone, it is there.
__device__ inline Index within(Index depth, Index depths) {
    return CS_DEPTHS == 1 ? depth : depth < 0 ? 0 : depth < depths ? depth : depths - 1;
}

// The first and the last source row that row i of out reads.
__device__ inline Index first_row(const Axis& axis, Index i) {
    return CS_AXES == 1 ? i : Window<TAPS_H>::of(axis, i).left;
}
__device__ inline Index last_row(const Axis& axis, Index i) {
    if (CS_AXES == 1) return i;
    const auto window = Window<TAPS_H>::of(axis, i);
    return window.left + window.count - 1;
}

// Threads that a multiprocessor holds at least, in 2-D and of several depths: 384 where 128 registers a thread would spill on some
// architecture.
#if CS_TYPE == CS_UINT8 && __CUDA_ARCH__ != 900
constexpr int AT_LEAST = 384;
#else
constexpr int AT_LEAST = CS_TAPS == 8 && sizeof(Element) == 2 && !CS_WIDE && !CS_PITCH ? 384 : 512;
#endif
constexpr int RESIDENT = CS_AXES == 2 ? AT_LEAST : CS_DEPTHS == 1 ? CS_THREADS : sizeof(Element) == 2 ? 512 : 640;

extern "C" __global__ void __launch_bounds__(CS_THREADS, RESIDENT / CS_THREADS)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
#if CS_SLOT
    __shared__ Unit slots[STAGES * OF_STAGE];
#endif
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = axis_of_rows(g), &axis_d = g.axis[0];
    const Batch rows = rows_of(g), planes = planes_of(g);
    const int row_stride = int(rows.source_stride) * int(sizeof(Element));
    const Run height(Index(rows.extent), g.runs_h, gridDim.y, blockIdx.y);
    const Index depths_out = CS_AXES > 2 ? Index(axis_d.n_out) : 1;
    const long long depth_stride = CS_AXES > 2 ? axis_d.out_stride : 0;
    const unsigned layers = CS_AXES > 2 ? blockDim.z : 1, layer = CS_AXES > 2 ? threadIdx.z : 0;
    const Run depth(depths_out / CS_DEPTHS + CS_DEPTHS / 2, g.runs_d, gridDim.z * layers, blockIdx.z * layers + layer);
    if (height.begin >= height.end) return;  // more blocks than runs
    const unsigned total = unsigned(g.parts) * unsigned(planes.extent) * unsigned(g.outer[0].extent);

    for (unsigned t = blockIdx.x * blockDim.x + threadIdx.x; t < total; t += gridDim.x * blockDim.x) {
        // Where elements are gathered a division: behind a product ptxas has so much on its way to registers that it spills.
        const unsigned plane = t / g.parts;
        const unsigned outer = CS_WIDE || CS_SLOT ? plane / planes.extent : plane / unsigned(planes.extent);
        const long long p0 = outer, p1 = plane - outer * unsigned(planes.extent);
#if CS_SLOT
        // Asked of H's table before W's is: an answer takes long.
        const Index first = first_row(axis_h, height.begin), last = last_row(axis_h, height.end - 1);
#endif
        const Elements mine(g, axis, Index(t - plane * unsigned(g.parts)));
        const Element* const x = moved(source + p0 * g.outer[0].source_stride + p1 * planes.source_stride, mine.begin);
        Element* const y = moved(out + p0 * g.outer[0].out_stride + p1 * planes.out_stride, mine.out);

        for (Index z = depth.begin; z < depth.end; ++z) {
            Index deep[CS_DEPTHS];  // of out
            Window<TAPS_D> windows_d[CS_DEPTHS];
#pragma unroll
            for (int o = 0; o < CS_DEPTHS; ++o) {
                deep[o] = within(z * CS_DEPTHS - CS_DEPTHS / 2 + o, depths_out);
                windows_d[o] = CS_AXES > 2 ? Window<TAPS_D>::of(axis_d, deep[o]) : Window<TAPS_D>::whole(0);
            }
            long long depths[TAPS_D];  // bytes
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) depths[d] = CS_AXES > 2 ? bytes(windows_d[0].at(d) * axis_d.source_stride) : 0;
#if CS_ARITHMETIC == CS_FLOAT && CS_AXES > 2
#pragma unroll
            for (int o = 0; o < CS_DEPTHS; ++o) windows_d[o].share();
#endif
            Column<TAPS_H> held[HELD][V] = {};
#if CS_MEAN
            float pixels[PIXELS];
#pragma unroll
            for (int c = 0; c < PIXELS; ++c) pixels[c] = mine.pixels(c);
#endif
#if CS_SLOT
            Unit* const units = slots + (layer * blockDim.x + threadIdx.x) * (ASIDE ? 1 : OF_STAGE / CS_THREADS);
            Ring ring = {units, address_of(units), first, last, 0};
            ring.start(mine, x, row_stride, depths);
#endif
            Index newest = -1;  // source row, the last in `held`
            Element* to = moved(y, bytes(height.begin * rows.out_stride + deep[0] * depth_stride));
            for (Index r = height.begin; r < height.end; ++r, to = moved(to, bytes(rows.out_stride))) {
                const auto window_h = CS_AXES > 1 ? Window<TAPS_H>::of(axis_h, r) : Window<TAPS_H>::whole(r);
                const Index lowest = window_h.left + window_h.count - 1;
                newest = newest < window_h.left - 1 ? window_h.left - 1 : newest;  // no window has the rows between
#pragma unroll 1
                while (newest < lowest) {
                    ++newest;
                    const Element* const row = moved(x, (long long)newest * row_stride);
                    Sum sums[HELD][V];
#if CS_SLOT
                    wait_for_copies<STAGES - 1>();
                    mine.filter([&](int d) { return (const Read*)ring.slot(d); }, row, depths, windows_d, sums);
                    ring.copy(mine, x, row_stride, depths);
#else
                    mine.filter([&](int d) { return moved(row, depths[d]); }, row, depths, windows_d, sums);
#endif
#pragma unroll
                    for (int d = 0; d < HELD; ++d) push(held[d], sums[d]);
                }
                if (window_h.count < TAPS_H)
#pragma unroll
                    for (int d = 0; d < HELD; ++d)
#pragma unroll
                        for (int c = 0; c < V; ++c) held[d][c].forget(TAPS_H - window_h.count);
#if CS_MEAN
                const float above = float(window_h.count * windows_d[0].count);
#endif
#pragma unroll
                for (int o = 0; o < CS_DEPTHS; ++o) {
                    Sum sums[V];
#pragma unroll
                    for (int c = 0; c < V; ++c) {
                        Sum column[TAPS_D];
#pragma unroll
                        for (int d = 0; d < HELD; ++d) column[d] = held[d][c].sum(window_h, axis_h.bits);
                        sums[c] = HELD > CS_DEPTHS ? sum_of(column, windows_d[0], axis_d.bits) : column[o];
#if CS_MEAN
                        sums[c] = mean_of_few(sums[c], pixels[CS_WIDE ? 0 : c] * above);
#endif
                    }
                    mine.store(moved(to, bytes((deep[o] - deep[0]) * depth_stride)), sums);
                }
            }
        }
    }
}
