// band_walk.cu: rows of any number of taps, of floats, where H shrinks: a block walks down the source, whose rows it reads once,
// and holds the sums of the rows of out that have begun.
//
// MATHS     band.cu's: D and H, then W
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it, D the first of three
// TABLES    of D and W as resample.cu. Of H by pairs of source rows: left[pairs + 1], the first row of out that ends in the pair
//           or behind it; count[2][n_out], the pairs in which a row of out begins and behind which it ends; weight
//           Begun[pairs], of row i of out in place i % CS_ROWS, NaN outside of its window. Where `phase` is 1, the first pair is
//           row 0 alone, in its first place, and the others begin with odd rows: then fewer rows of out have begun at a time
// THREADS   a block has a tile of a row of out, as in band.cu, in 3-D in CS_LAYERS depths side by side, for each of which it has
//           CS_THREADS; and walks down a run of rows. For a pair of source rows
//           1 a thread adds its columns, in every depth of the window, to the sums of CS_ROWS rows of out. They were copied
//             ahead to slots of its own
//           2 the sums of a row that ends go to shared memory
//           3 once ENDED_AT_ONCE rows have, or the run ends, a thread filters some elements of the tile along W, for these rows at once
// TRAFFIC   reads |source| once, twice what two runs have in their windows, and in 3-D a plane for each block that needs it;
//           writes |out|; the sums never leave the block
// CONTRACT  band.cu's, packed; CS_AXES is 2 or 3; every row of H has taps, and none begins before the CS_ROWS-th before it has
//           ended; the window of a tile fits CS_THREADS CS_COLUMNS elements; blockDim.z is CS_LAYERS
// LAUNCH    x: planes times tiles of a row, grid-stride; y and z split H and layers of D into runs; any grid
// VERSIONS  instructions an output at lanczos 1/2, bicubic antialias 1/4 of float32, and of float16, sm_90 by NVRTC 12.9; not yet
//           measured on a device
//           0 band.cu, whose groups of 4 rows are blocks of their own, 192, 436 and 128, 450, and read 2.25, 1.75 |source|
//           1 walking down: 117, 261 and 115, 264
//           2 whether rows are left to be copied is asked once a pair; the sums of two rows that have ended are read at once; more
//             registers where 7 rows are held: 104, 235 and 104, 246
//           3 depths side by side: sectors of a block at trilinear antialias 1/8 1.87 -> 1.12 of the minimum, gradient of
//             trilinear 2x 1.83 -> 1.39
//           4 pairs begin where fewer rows of out are in both: 6 for 7 of lanczos 1/2, 4 for 5 of bicubic antialias 1/4, 2 for 3 of
//             the gradient of trilinear 2x: 97, 208 and 98, 216
//           5 of 8 rows that have ended four at a time are read at once: 95, 214 of float16
//           6 divisions by what a launch knows are products: 101, 201 and 95, 204; of 7 rows held ptxas takes 10 more a pair
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "taps.cuh"
#include "ahead.cuh"
#include "band.cuh"
#include "columns_ahead.cuh"

constexpr int PAIR = 2, STAGES = 2;  // source rows that are added together, and how many of these are on their way

// Rows of out that are filtered at once: an address and a weight serve all of them, but they take shared memory. And threads that a
// multiprocessor holds at least. Architectures but 9.0 to 11.0 have too little shared memory for more.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1200)
constexpr int ENDED_AT_ONCE = 4, RESIDENT = 512;
#else
constexpr int ENDED_AT_ONCE = sizeof(Element) == 2 ? 8 : 6, RESIDENT = ROWS > 5 ? 512 : 640;
#endif

// The sums of a column for some rows that have ended, read at once.
constexpr int TOGETHER = ENDED_AT_ONCE % 4 ? 2 : 4;
struct alignas(TOGETHER * sizeof(Sum)) Ended {
    Sum of[TOGETHER];
};
constexpr int LINE = 128 / sizeof(Ended), PLACES = COLUMNS + COLUMNS / LINE;
static_assert(LINE % NEIGHBOURS == 0, "a vector of columns lies in a line");

// Pairs of rows, each in all of its depths.
struct Cursor {
    static constexpr int ROWS_AT_ONCE = PAIR;

    const Element* at;
    long long stride, deeper;  // bytes to the next row, and to the same one in the next depth
    Index rows, depths, deep;  // rows that are left; depths, and those passed
    Index lacks;               // rows of this pair that are not there, before the one that is

    __device__ bool has(int j) const { return rows > j; }
    __device__ const Element* row(int j) const { return moved(at, j * stride); }
    __device__ void advance() {
        if (CS_AXES > 2 && ++deep < depths) {
            at = moved(at, deeper);
            return;
        }
        at = moved(at, (lacks ? stride : PAIR * stride) - (CS_AXES > 2 ? (depths - 1) * deeper : 0));
        lacks = 0;
        rows -= PAIR;
        deep = 0;
    }
};

struct Shared {
    Neighbours ahead[STAGES][PAIR][VECTORS][CS_THREADS];
    Ended ended[ENDED_AT_ONCE / TOGETHER][PLACES];
};

// Weights of a pair of source rows for those of out.
struct Begun {
    Rows<Weight> of[PAIR];

    __device__ void scale(Weight by) {
#pragma unroll
        for (int i = 0; i < PAIR; ++i)
#pragma unroll
            for (int a = 0; a < ROWS; ++a) of[i].of[a] *= by;
    }
};

// The sums of a row that has ended go to shared memory, and begin anew. Which row is found by halving: registers have no index.
template <int First, int Past>
__device__ inline void put_away(Sum (&sums)[ROWS][V], Index slot, Ended* to, Index which) {
    if constexpr (Past - First > 1) {
        constexpr int MIDDLE = (First + Past) / 2;
        if (slot < MIDDLE)
            put_away<First, MIDDLE>(sums, slot, to, which);
        else
            put_away<MIDDLE, Past>(sums, slot, to, which);
    } else {
#pragma unroll
        for (int c = 0; c < V; ++c) {
            constexpr int STEP = CS_THREADS * NEIGHBOURS;  // of a thread's vectors
            to[c / NEIGHBOURS * (STEP + STEP / LINE) + c % NEIGHBOURS].of[which] = sums[First][c];
            sums[First][c] = 0;
        }
    }
}

// Filter the first so many of the rows that have ended along W.
__device__ inline void filter(const Geometry& g, const Tile& tile, const Shared& shared, Index rows, Element* to) {
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = g.axis[CS_AXES - 2];
    const Index width = Index(g.channels);
    for (Index e = Index(threadIdx.x); e < tile.pixels * width; e += CS_THREADS) {
        const Index p = e / g.channels, channel = e - p * width;
        if (channel >= tile.channels) continue;
        const Row row(axis, tile.i + p);
        Index at = tile.begin + (row.left - tile.pixel) * width + channel;  // the column that tap 0 reads
        const Weight* w = row.weights;
        Sum sums[ENDED_AT_ONCE] = {};
#pragma unroll 4
        for (Index k = 0; k < row.count; ++k, w += row.rows, at += width) {
            const Weight weight = *w;
            const Index tap = place<LINE>(at);
#pragma unroll
            for (int a = 0; a < ENDED_AT_ONCE; a += TOGETHER) {
                const Ended column = shared.ended[a / TOGETHER][tap];
#pragma unroll
                for (int b = 0; b < TOGETHER; ++b) sums[a + b] = accumulate(weight, column.of[b], sums[a + b]);
            }
        }
        Element* here = moved(to, bytes(p * Index(axis.out_stride) + channel * Index(g.inner.out_stride)));
#pragma unroll
        for (int a = 0; a < ENDED_AT_ONCE; ++a, here = moved(here, bytes(axis_h.out_stride)))
            if (a < rows) *here = narrow(sums[a]);
    }
}

extern "C" __global__ void __launch_bounds__(CS_THREADS * LAYERS, RESIDENT / (CS_THREADS * LAYERS))
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
    __shared__ Shared of_layers[LAYERS];
    const Index layer = LAYERS > 1 ? Index(threadIdx.z) : 0;
    Shared& shared = of_layers[layer];
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = g.axis[CS_AXES - 2], &axis_d = g.axis[0];
    const Walk walk(g);
    if (walk.begin >= walk.past) return;
    const Index from = axis_h.count[walk.begin], past = axis_h.count[Index(axis_h.n_out) + walk.past - 1];
    const Index phase = Index(g.phase), lacks = from == 0 ? phase : 0;  // the first pair
    const Index rows = at_most(PAIR * past, Index(axis_h.n_in) + phase) - PAIR * from;
    const long long stride = bytes(walk.rows.source_stride), begins = (PAIR * from - phase + lacks) * stride;
    const Begun* const weights = (const Begun*)axis_h.weight;
    Ended* const column = shared.ended[0] + place<LINE>(Index(threadIdx.x) * NEIGHBOURS);

    for (unsigned t = blockIdx.x; t < walk.total; t += gridDim.x) {
        const Tile tile(g, axis, walk, t);
        const Columns mine(g, axis, tile, Index(threadIdx.x), CS_THREADS, 0);
        for (Index group = walk.depths.begin; group < walk.depths.end; ++group) {
            const Index z = group * LAYERS + layer;
            const bool exists = LAYERS == 1 || z < Index(axis_d.n_out);
            const Index d_begin = CS_AXES > 2 && exists ? axis_d.left[z] : 0;
            const Index depths = CS_AXES == 2 ? 1 : exists ? axis_d.count[z] : 0;
            const Element* row = moved(source + tile.source, begins + mine.from);
            if (CS_AXES > 2) row += d_begin * axis_d.source_stride;
            const Cursor cursor = {row, stride, bytes(axis_d.source_stride), depths > 0 ? rows : 0, depths, 0, lacks};
            Ahead<STAGES, Cursor> ahead(cursor, &shared.ahead[0][0][0][threadIdx.x]);
            ahead.start(mine);
            Sum sums[ROWS][V] = {};
            Element* to = out + tile.out + walk.begin * walk.rows.out_stride;
            if (CS_AXES > 2) to += z * axis_d.out_stride;
            Index first = axis_h.left[from], slot = first % ROWS, held = 0;  // the first that has not ended, and its sums
#pragma unroll 1
            for (Index j = from; j < past; ++j) {
                const Index next = axis_h.left[j + 1];
                if (mine.count > 0)
#pragma unroll 1
                    for (Index d = 0; d < depths; ++d) {
                        Begun w = weights[j];
                        if (CS_AXES > 2) w.scale(Row(axis_d, z).weight(d));
                        Packed x[PAIR];
                        ahead.read(mine, x);
#pragma unroll
                        for (int i = 0; i < PAIR; ++i) add(x[i], w.of[i], sums);
                    }
#pragma unroll 1
                for (; first < next; ++first) {
                    put_away<0, ROWS>(sums, slot, column + held / TOGETHER * PLACES, held % TOGETHER);
                    slot = slot + 1 < ROWS ? slot + 1 : 0;
                    if (first < walk.begin || first >= walk.past) continue;  // another run's
                    if (++held < ENDED_AT_ONCE && first + 1 < walk.past) continue;
                    __syncthreads();
                    if (exists) filter(g, tile, shared, held, to);
                    to = moved(to, bytes(held * walk.rows.out_stride));
                    held = 0;
                    __syncthreads();  // nobody reads the sums any more
                }
            }
        }
    }
}
