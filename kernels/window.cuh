// window.cuh: four source rows at a time in shared memory, where each thread reads what its elements of out need of them.
#pragma once

constexpr int AT_ONCE = 4;  // source rows

// An element of the tile, a thread's p-th: its pixel of the row of out, and what it reads of the window: from where, how much.
struct Found {
    Index i, at, count;

    // Its pixel and channel in the tile.
    __device__ static void split(const Geometry& g, int p, Index& pixel, Index& channel) {
        const Index e = Index(threadIdx.x) + p * CS_THREADS;
        pixel = e / g.channels;
        channel = e - pixel * Index(g.channels);
    }

    // Whether it is anybody's, and its channel.
    __device__ bool find(const Geometry& g, const Tile& tile, int p, Index& channel) {
        Index pixel;
        split(g, p, pixel, channel);
        i = tile.i + pixel;
        const bool found = pixel < tile.pixels && channel < tile.channels;
        if (!found) i = at = count = 0;
        return found;
    }

    __device__ bool exists() const { return count > 0; }

    // Bytes from the first element of the tile in out.
    __device__ static long long offset(const Geometry& g, const Axis& axis, int p) {
        Index pixel, channel;
        split(g, p, pixel, channel);
        return bytes(pixel * Index(axis.out_stride) + channel * Index(g.inner.out_stride));
    }
};

#if CS_ARITHMETIC == CS_FIXED

// uint8: rows of bytes, the pixels of a channel side by side. Weights are pairs of 16 bits, four to a word of pixels, so that
// one instruction adds two products. The pixels of a channel take up to 10 bytes more than there are, and of 64 channels the
// last ends 8 bytes before its share does. Behind a row each thread has a byte for columns that are not the tile's.
constexpr int ROW_BYTES = COLUMNS + 10 * 64, ROW_WORDS = (ROW_BYTES + CS_THREADS) / 4;

struct alignas(16) SourceRows {
    unsigned words[AT_ONCE][ROW_WORDS];
    unsigned behind[COLUMNS / 4];  // read by an element whose window is shorter than its neighbour's
};

// The weights of four pixels.
struct alignas(8) FourWeights {
    int low, high;
};
__device__ inline Sum add_four(const FourWeights& w, unsigned bytes, Sum sum) {
    return add_pair<true>(w.high, bytes, add_pair<false>(w.low, bytes, sum));
}

// Four bytes of sums that are to be rounded.
__device__ inline unsigned packed_together(const Sum (&sums)[AT_ONCE], int bits) {
    const unsigned high = saturated(closing(sums[2], bits), closing(sums[3], bits), 0);
    return saturated(closing(sums[0], bits), closing(sums[1], bits), high);
}

// Where a thread's columns lie in a row of the window: a pixel's place is congruent to it modulo 4.
static_assert(VECTORS == 1, "a thread's columns are equally far apart");
struct Places {
    static constexpr int IN_ORDER = 2;  // of CS_PACKED

    unsigned pairs[(V + 1) / 2];

    // Whether the bytes of a row lie in the window as they do in memory: known to the compiler, or an instance serves both.
    __device__ static bool in_order(const Geometry& g) {
        return CS_PACKED == IN_ORDER || (is_packed(g) && g.channels == 1);
    }
    __device__ static Index first(const Geometry& g, const Tile& tile) {
        return in_order(g) ? tile.begin : tile.pixel & 3;
    }
    __device__ static Index pitch(const Geometry& g, const Tile& tile) {
        return g.channels == 1 ? 0 : ((tile.extent - tile.begin) / g.channels + 3 + 7) & ~3;
    }

    __device__ void set(const Geometry& g, const Tile& tile, const Columns& mine) {
        const Index width = Index(g.channels), step = is_packed(g) ? 1 : mine.step;
        const Index pixels = step / g.channels, channels = step - pixels * width;
        Index e = mine.first - tile.begin, p = (e + V * width) / g.channels - V, channel = e - p * width;  // e may be < 0
#pragma unroll
        for (int c = 0; c < V; ++c) {
            unsigned place = unsigned(channel * pitch(g, tile) + first(g, tile) + p);
            if (!in_order(g) && (e < 0 || e >= tile.extent - tile.begin)) place = ROW_BYTES + threadIdx.x;
            pairs[c / 2] = c % 2 ? pairs[c / 2] | place << 16 : place;
            e += step;
            p += pixels;
            channel += channels;
            if (channel >= width) {
                channel -= width;
                ++p;
            }
        }
    }

    __device__ void write(const Geometry&, const Columns&, int j, const Apart& x, SourceRows& window) const {
        write_bytes(j, x, window);
    }
    __device__ void write(const Geometry& g, const Columns& mine, int j, const Packed& x, SourceRows& window) const {
        if (in_order(g))
            *(Neighbours*)(window.words[j] + mine.first / 4) = x.vector[0];
        else
            write_bytes(j, x, window);
    }
    template <typename Read>
    __device__ void write_bytes(int j, const Read& x, SourceRows& window) const {
#pragma unroll
        for (int c = 0; c < V; ++c) ((Element*)window.words[j])[pairs[c / 2] >> (c % 2 ? 16 : 0) & 0xffff] = x[c];
    }
};

// The first word of its window, and how many there are.
struct Output : Found {
    __device__ void set(const Geometry& g, const Axis& axis, const Tile& tile, int p) {
        Index channel;
        if (!find(g, tile, p, channel)) return;
        const Index left = axis.left[i];
        at = (channel * Places::pitch(g, tile) + Places::first(g, tile) + left - tile.pixel) / 4;
        count = ((left & 3) + axis.count[i] + 3) / 4;
    }

    __device__ FourWeights four_weights(const Axis& axis, Index k) const { return ((const FourWeights*)axis.weight)[i + k * Index(axis.n_out)]; }

    __device__ void filter(const Axis& axis, const Divisor&, Index, bool, const SourceRows& window, Sum (&sums)[AT_ONCE]) const {
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) sums[j] = 0;
#pragma unroll 2
        for (Index k = 0; k < count; ++k) {
            const FourWeights w = four_weights(axis, k);
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) sums[j] = add_four(w, window.words[j][at + k], sums[j]);
        }
    }
};

#else

// A column of the rows, read at once.
struct alignas(AT_ONCE * sizeof(Element)) Column {
    Element row[AT_ONCE];
};

constexpr int LINE = 128 / sizeof(Column);

struct SourceRows {
    Column columns[COLUMNS + COLUMNS / LINE];
};

struct Places {
    __device__ void set(const Geometry&, const Tile&, const Columns&) {}

    template <typename Read>
    __device__ void write(const Geometry& g, const Columns& mine, int j, const Read& x, SourceRows& window) const {
#pragma unroll
        for (int c = 0; c < V; ++c) window.columns[place<LINE>(mine.column(g, c))].row[j] = x[c];
    }
};

// The column that tap 0 reads, and how many taps there are.
struct Output : Found {
    __device__ void set(const Geometry& g, const Axis& axis, const Tile& tile, int p) {
        Index channel;
        if (!find(g, tile, p, channel)) return;
        const Row row(axis, i);
        at = tile.begin + (row.left - tile.pixel) * Index(g.channels) + channel;
        count = row.count;
    }

    // Add the taps whose columns are in the part of the window.
    __device__ void filter(const Axis& axis, const Divisor& channels, Index part, bool whole, const SourceRows& window,
                           Sum (&sums)[AT_ONCE]) const {
        Part tap(at - part, count, channels, COLUMNS, whole);
        const Weight* w = (const Weight*)axis.weight + i + tap.k * Index(axis.n_out);
#pragma unroll 2
        for (; tap.k < tap.past; ++tap.k, w += Index(axis.n_out), tap.at += Index(channels)) {
            const Weight weight = *w;
            const Column column = window.columns[place<LINE>(tap.at)];
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) sums[j] = accumulate(weight, widen(column.row[j]), sums[j]);
        }
    }
};

#endif

// A thread's columns of the source rows taken at once; those beyond the last are the last again. Vectors are read ahead; of
// elements, which take a register each, one row is held at a time.
template <typename Read>
struct Source;

template <>
struct Source<Packed> {
    Packed x[AT_ONCE];

    __device__ void ahead(const Columns& mine, const Element* __restrict__ row, long long stride, Index rows) {
        if (mine.count == 0) return;
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            mine.read(row, x[j]);
            row = moved(row, j + 1 < rows ? stride : 0);
        }
    }
    __device__ void write(const Geometry& g, const Columns& mine, const Element*, long long, Index, const Places& places,
                          SourceRows& window) const {
        if (mine.count == 0) return;
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) places.write(g, mine, j, x[j], window);
    }
};

template <>
struct Source<Apart> {
    __device__ void ahead(const Columns&, const Element*, long long, Index) {}
    __device__ void write(const Geometry& g, const Columns& mine, const Element* __restrict__ row, long long stride, Index rows,
                          const Places& places, SourceRows& window) const {
        if (mine.count == 0) return;
#pragma unroll 1
        for (int j = 0; j < AT_ONCE; ++j) {
            Apart x;
            mine.read(row, x);
            places.write(g, mine, j, x, window);
            row = moved(row, j + 1 < rows ? stride : 0);
        }
    }
};
