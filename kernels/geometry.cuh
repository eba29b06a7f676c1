// geometry.cuh: where elements lie, and which of them a thread writes.
//
// Every array is the view [outer, outer, axis 0 … axis N-1, inner] with any strides, in elements. NCHW has its batch and
// channels in `outer`, NHWC its channels in `inner`, complex numbers are pairs of reals in `inner`. Indices run over the
// output in that order, `inner` fastest, so that neighbouring threads write neighbouring elements of a dense output.
//
// Index is int where every offset and the number of outputs fit, long long elsewhere: CS_INDEX.
#pragma once

typedef CS_INDEX Index;

// A number that others are divided by. Those of 32 bits, which are below 2^31, are multiplied (Granlund and Montgomery 1994): a
// division of the processor takes twenty instructions, and waits for three of them.
struct Divisor {
    long long value;
    unsigned multiplier, shift;  // floor(2^(31 + shift) / value) + 1, where 2^shift is the first power of two not below value

    __device__ operator long long() const { return value; }
};
template <typename T>
__device__ inline T operator/(T n, const Divisor& d) {
    if (sizeof(T) > 4) return n / T(d.value);
    return T(__umulhi(2 * unsigned(n), d.multiplier) >> d.shift);
}
template <typename T>
__device__ inline T operator%(T n, const Divisor& d) {
    return n - n / d * T(d.value);
}

// An extent that is not resampled.
struct Batch {
    Divisor extent;
    long long source_stride, out_stride;
};
constexpr Batch ONE = {{1, 0x80000001u, 0}, 0, 0};

// The order of cupysample/_taps.py's METHODS.
enum Method { NEAREST, NEAREST_EXACT, AREA, LINEAR, CUBIC, LINEAR_ANTIALIAS, CUBIC_ANTIALIAS, LANCZOS_ANTIALIAS };

// A resampled axis. `left`, `count` and `weight` are the arrays of cupysample/_tables.py, in the form that a kernel's TABLES
// states; null where rows are computed, from the numbers below them: taps.cuh.
struct Axis {
    const int* left;
    const int* count;
    const void* weight;
    long long n_in;
    Divisor n_out;
    long long source_stride, out_stride;
    double step;        // source pixels per output pixel
    int method;         // of Method
    int align_corners;
    int in_double;           // coordinates are doubles: the weights are, or the axis is too long for float
    int bits;           // fractional bits of fixed-point weights
};

struct Geometry {
    Batch outer[2], inner;
    Axis axis[CS_AXES];

    // How threads share the work in few_taps.cu and band.cu. `parts`: threads or tiles of a row; `blocks`: tiles of the same
    // pixels, each of `channels`; `runs` of H and D: in as many as the grid has.
    long long packed, streamed, phase, pixels;
    Divisor parts, blocks, channels, rows, splits, runs_h, runs_d;

    __device__ Index outputs() const {
        Index total = Index(outer[0].extent) * Index(outer[1].extent) * Index(inner.extent);
        for (int d = 0; d < CS_AXES; ++d) total *= Index(axis[d].n_out);
        return total;
    }
};

// A row is the last axis with `inner`. H, the axis before it (in 1-D outer[1]); D is the first of three; a plane is what is left.
__device__ inline const Axis& axis_of_rows(const Geometry& g) { return g.axis[CS_AXES > 1 ? CS_AXES - 2 : 0]; }
__device__ inline Batch rows_of(const Geometry& g) {
    const Axis& axis = axis_of_rows(g);
    const Batch along = {axis.n_out, axis.source_stride, axis.out_stride};
    return CS_AXES > 1 ? along : g.outer[1];
}
__device__ inline Batch planes_of(const Geometry& g) { return CS_AXES > 1 ? g.outer[1] : ONE; }

// Grid-stride: any grid covers any number of outputs.
__device__ inline Index first_output() { return Index(blockIdx.x) * Index(blockDim.x) + Index(threadIdx.x); }
__device__ inline Index output_step() { return Index(gridDim.x) * Index(blockDim.x); }

// The part of an extent, at most 2^31 - 1, that this one of `runs` blocks walks through; `expected`: as many, if the grid is the
// launch's.
struct Run {
    Index begin, end;

    __device__ Run(Index extent, const Divisor& expected, unsigned runs, unsigned mine) {
        const unsigned last = unsigned(extent) - 1;
        const Index length = Index(runs == expected.value ? last / expected : last / runs) + 1;
        const Index after = extent - Index(mine) * length;
        begin = Index(mine) * length;
        end = begin + (after < length ? after : length);
    }
};

// Split an output's number into its index along every axis and the offsets of its batch.
struct Position {
    Index i[CS_AXES];
    Index source, out;

    __device__ Position(const Geometry& g, Index t) : source(0), out(0) {
        enter(g.inner, t);
        for (int d = CS_AXES - 1; d >= 0; --d) {
            i[d] = t % g.axis[d].n_out;
            t = t / g.axis[d].n_out;
            out += i[d] * Index(g.axis[d].out_stride);
        }
        enter(g.outer[1], t);
        source += t * Index(g.outer[0].source_stride);
        out += t * Index(g.outer[0].out_stride);
    }

    __device__ void enter(const Batch& batch, Index& t) {
        const Index j = t % batch.extent;
        t = t / batch.extent;
        source += j * Index(batch.source_stride);
        out += j * Index(batch.out_stride);
    }
};
