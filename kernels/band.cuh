// band.cuh: what a block of band.cu and of band_integer.cu has: a tile of a row of out, the columns of its source window, and
// the weights of a group of rows.
#pragma once

constexpr int V = CS_COLUMNS, ROWS = CS_ROWS, COLUMNS = CS_THREADS * V;
constexpr int NEIGHBOURS = CS_VECTOR, VECTORS = V / NEIGHBOURS;

// Depths that a block has side by side, each for its threads of one place in z.
#ifndef CS_LAYERS
#define CS_LAYERS 1
#endif
constexpr int LAYERS = CS_LAYERS;

constexpr int CHUNK = 64;  // source rows whose weights are in shared memory

__device__ inline Index at_most(Index a, Index b) { return a < b ? a : b; }

// Tap k of a row of W and the column `at` that it reads, of a window of which only `columns` from column 0 on are there; the taps up
// to `past` that read these. A pixel has `width` columns, the Divisor too.
struct Part {
    Index at, k, past;

    __device__ Part(Index at, Index count, const Divisor& width, Index columns, bool whole) : at(at), k(0), past(count) {
        if (whole) return;
        k = at < 0 ? (Index(width) - 1 - at) / width : 0;
        past = at_most(past, at < columns ? (columns - 1 - at) / width + 1 : 0);
        this->at += k * Index(width);
    }
};

// Where a column lies in shared memory: one place behind each `Line` stays empty, so that columns a power of two apart lie in
// different banks.
template <int Line>
__device__ inline Index place(Index column) {
    return column + unsigned(column) / Line;
}

// Whether a thread's columns are neighbours: known to the compiler, or an instance serves both.
__device__ inline bool is_packed(const Geometry& g) {
#ifdef CS_PACKED
    (void)g;
    return CS_PACKED;
#else
    return g.packed;
#endif
}

// A thread's elements of a source row: vectors of neighbours, or one by one.
constexpr int WORDS = (NEIGHBOURS * sizeof(Element) + 3) / 4;  // a lone element is never packed
struct alignas(4 * WORDS) Neighbours {
    unsigned words[WORDS];  // not elements: these would be taken apart as soon as they are read
};
struct Packed {
    Neighbours vector[VECTORS];

    __device__ Element operator[](int c) const {
        Element e;
        memcpy(&e, (const char*)&vector[c / NEIGHBOURS] + c % NEIGHBOURS * sizeof(Element), sizeof(Element));
        return e;
    }
};
struct Apart {
    Element element[V];

    __device__ Element operator[](int c) const { return element[c]; }
};

// A number for each row of a group.
template <typename T>
struct alignas(16) Rows {
    T of[ROWS];
};

// What a block walks through: tiles, depths and groups of rows.
struct Walk {
    Batch rows, planes;
    Index begin, past;  // rows
    Run depths;      // by LAYERS
    unsigned total;  // tiles

    __device__ explicit Walk(const Geometry& g)
        : rows(rows_of(g)),
          planes(planes_of(g)),
          depths(CS_AXES > 2 ? (Index(g.axis[0].n_out) - 1) / LAYERS + 1 : 1, g.runs_d, gridDim.z, blockIdx.z),
          total(unsigned(g.parts) * unsigned(planes.extent) * unsigned(g.outer[0].extent)) {
        const Run groups((Index(rows.extent) - 1) / g.rows + 1, g.runs_h, gridDim.y, blockIdx.y);
        begin = groups.begin * Index(g.rows);
        past = at_most(groups.end * Index(g.rows), Index(rows.extent));
    }

    // The first row of a group and how many there are of it; in source, the rows that they read.
    struct Group {
        Index first, rows, begin, end;
    };
    __device__ Group group(const Geometry& g, Index first) const {
        const Axis& axis = axis_of_rows(g);
        const Index many = at_most(past - first, Index(g.rows));
        const Index last = first + many - 1;
        if (CS_AXES == 1) return {first, many, first, first + many};
        return {first, many, Index(axis.left[first]), Index(axis.left[last] + axis.count[last])};
    }
};

// A part of a row of out, and the window of the source row that it reads: `extent` elements, [pixel][g.channels], from
// `begin` elements before its first pixel, so that vectors are aligned.
struct Tile {
    long long source, out;               // offsets of its plane
    Index i, pixels, channel, channels;  // of out; where g.channels are more than are left, some are nobody's
    Index pixel, begin, extent;          // of source

    __device__ Tile(const Geometry& g, const Axis& axis, const Walk& walk, unsigned t) {
        const unsigned plane = t / g.parts, outer = plane / walk.planes.extent;
        const long long p0 = outer, p1 = plane - outer * unsigned(walk.planes.extent);
        source = p0 * g.outer[0].source_stride + p1 * walk.planes.source_stride;
        out = p0 * g.outer[0].out_stride + p1 * walk.planes.out_stride;
        const Index number = Index(t - plane * unsigned(g.parts)), all = Index(g.inner.extent), width = Index(g.channels);
        i = number / g.blocks * Index(g.pixels);
        pixels = at_most(Index(axis.n_out) - i, Index(g.pixels));
        channel = number % g.blocks * width;
        channels = at_most(all - channel, width);
        const Row first(axis, i), last(axis, i + pixels - 1);
        out += i * axis.out_stride + channel * g.inner.out_stride;
        pixel = first.left;
        begin = is_packed(g) && all == width ? pixel * width % NEIGHBOURS : 0;
        extent = begin + (last.left + last.count - pixel) * width;
    }
};

// A thread's columns of a part of the window, which begins at element `part`, and where they lie in a source row: runs of
// neighbours, `step` columns apart.
struct Columns {
    Index first, step;
    Index from, stride;  // bytes
    Index count;         // of runs

    __device__ Columns(const Geometry& g, const Axis& axis, const Tile& tile, Index lane, Index lanes, Index part)
        : first(lane), step(lanes) {
        if (is_packed(g)) {
            first *= NEIGHBOURS;
            step *= NEIGHBOURS;
        }
        const Index width = Index(g.channels), e = first + part - tile.begin;
        const Index unit = Index(g.inner.extent == 1 ? axis.source_stride : g.inner.source_stride);
        // Before the tile's first pixel there is another: only dense rows have a `begin`.
        const Index p = e < 0 ? 0 : e / g.channels, channel = e - p * width;
        from = (tile.pixel + p) * Index(axis.source_stride) + (tile.channel + channel) * unit;
        from *= Index(sizeof(Element));
        // If rows have gaps, a step leads to the same channel of another pixel.
        stride = axis.source_stride == width * unit ? step * unit : step / g.channels * Index(axis.source_stride);
        stride *= Index(sizeof(Element));
        const Index left = at_most(tile.extent - part, lanes * V) - first;
        count = left <= 0 || channel >= tile.channels ? 0 : at_most((left - 1) / step + 1, V);
    }

    __device__ Index column(const Geometry& g, int c) const {
        return is_packed(g) ? first + c / NEIGHBOURS * step + c % NEIGHBOURS : first + c * step;
    }

    __device__ void read(const Element* __restrict__ row, Packed& x) const {
#pragma unroll
        for (int c = 0; c < VECTORS; ++c) {
            x.vector[c] = *(const Neighbours*)row;
            row = moved(row, c + 1 < count ? stride : 0);  // beyond the window, the last one again
        }
    }
    __device__ void read(const Element* __restrict__ row, Apart& x) const {
#pragma unroll
        for (int c = 0; c < V; ++c) {
            x.element[c] = *row;
            row = moved(row, c + 1 < count ? stride : 0);  // beyond the window, the last one again
        }
    }
};

// The weight of a row that is outside of a window. Floats skip it: a weight of zero would make NaN of infinity.
#if CS_ARITHMETIC == CS_FLOAT
__device__ inline Weight outside() { return Weight(nan("")); }
__device__ inline bool inside(Weight w) { return w == w; }
#else
__device__ inline Weight outside() { return 0; }
__device__ inline bool inside(Weight) { return true; }
#endif

// The weights of source rows j … past - 1, at most CHUNK, times w_d, for the rows of a group; in 1-D each has itself as its
// only tap.
__device__ inline void weigh(const Axis& axis, const Walk::Group& group, Index j, Index past, Weight w_d, Rows<Weight>* weights) {
#pragma unroll 1
    for (Index e = Index(threadIdx.x); e < at_most(past - j, CHUNK) * ROWS; e += CS_THREADS) {
        const Index i = e / ROWS, a = e % ROWS;
        Weight w = outside();
        if (CS_AXES > 1 && a < group.rows) {
            const Row row(axis, group.first + a);
            const Index k = j + i - row.left;
            if (k >= 0 && k < row.count) w = w_d * row.weight(k);
        }
        if (CS_AXES == 1 && j + i == group.first + a) w = w_d;
        weights[i].of[a] = w;
    }
}
