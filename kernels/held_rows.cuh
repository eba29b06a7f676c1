// held_rows.cuh: rows of the matrices as few_taps.cu's tables hold them; and the rows of a window that a thread holds, of each
// column the newest.
#pragma once

// A sum of N products; N is 1 for copies and for a missing axis, which have no weights.
template <int N>
struct Weights;
template <>
struct Weights<1> {
    __device__ Sum sum(const Sum (&x)[1], int) const { return x[0]; }
};
#if CS_ARITHMETIC == CS_COPY
#define ALONG_W Weights
#define ROLLING Weights
#else
template <int N>
struct Weights {
    Weight of[N];

    __device__ Sum sum(const Sum (&x)[N], int bits) const {
        Sum total = opening(of[0], x[0], bits);
#pragma unroll
        for (int k = 1; k < N; ++k) total = accumulate(of[k], x[k], total);
        return closing(total, bits);
    }
};

#if CS_ARITHMETIC == CS_FIXED
// Weights of 16 bits, of which one instruction multiplies two by bytes that lie side by side.
template <int N>
struct Pairs {
    int of[(N + 1) / 2];

    // The sum of products with the N bytes from `first`, rounded.
    __device__ Sum sum(const unsigned* words, int first, int bits) const {
        Sum total = 1 << bits >> 1;
        words += first / 4;
        const int odd = first % 2 ? first % 4 : 0;
#pragma unroll
        for (int k = 0; k < N; k += 2) {
            const int byte = odd ? k : first % 4 + k;
            const unsigned word = odd ? __byte_perm(words[k / 4], words[k / 4 + 1], 0x3210 + 0x1111 * odd) : words[byte / 4];
            total = byte % 4 ? add_pair<true>(of[k / 2], word, total) : add_pair<false>(of[k / 2], word, total);
        }
        return closing(total, bits);
    }
};
#define ROLLING Pairs
#else
#define ROLLING Weights
#endif
#if CS_ARITHMETIC == CS_FIXED && (CS_GROWTH || CS_WINDOWS)
#define ALONG_W Pairs
#else
#define ALONG_W Weights
#endif

// A row of the matrix of W in N neighbouring pixels, of which those with a bit in `inside` are its window; the others weigh 0.
// Bit N: the window has the pixel behind the N too, with weight 0. So it is in rows that grow, where a coordinate was clamped to the
// first pixel: then the N end with that one.
template <int N>
struct alignas(16) Neighbours {
    int left, inside;
    ALONG_W<N> w;

    __device__ static const Neighbours& of(const Axis& axis, Index i) { return ((const Neighbours*)axis.left)[i]; }
};
constexpr int PLACES = (1 << TAPS_W) - 1;
#endif

// A row of the matrix of H or D in the last `count` of N places, as the tables hold it; the weights before are 0.
template <int N>
struct alignas(16) Window {
    int left, count;
    ROLLING<N> w;

    __device__ static Window whole(Index i) { return {i, 1, {}}; }
#if CS_ARITHMETIC == CS_COPY
    __device__ static Window of(const Axis& axis, Index i) { return {pixel(axis, i), 1, {}}; }
#else
    __device__ static Window of(const Axis& axis, Index i) { return ((const Window*)axis.left)[i]; }
#endif

#if CS_ARITHMETIC == CS_FLOAT
    // Places before the window read its first pixel; they share its weight, for a weight of zero would make NaN of
    // infinity.
    __device__ void share() {
#pragma unroll
        for (int k = N - 1; k > 0; --k) {
            const bool shared = k <= N - count;
            w.of[k] = shared ? w.of[k] * Weight(0.5) : w.of[k];
            w.of[k - 1] = shared ? w.of[k] : w.of[k - 1];
        }
    }
#endif

    // The source index of place k.
    __device__ Index at(int k) const { return left + (k > N - count ? k - (N - count) : 0); }
};

// The newest N rows of a column, filtered along W.
template <int N>
struct Column {
#if CS_ARITHMETIC == CS_FIXED
    // Bytes, of which the last N count.
    static constexpr int WORDS = (N + 3) / 4, FIRST = 4 * WORDS - N;
    unsigned words[WORDS];

    __device__ void push(Sum x) { push(saturated(x, x, 0), 0x4321); }
    // Two columns: what is saturated in one instruction.
    __device__ static void push(Column& a, Column& b, Sum x, Sum y) {
        const unsigned bytes = saturated(x, y, 0);
        a.push(bytes, 0x4321);
        b.push(bytes, 0x5321);
    }
    __device__ void push(unsigned bytes, int chosen) {
#pragma unroll
        for (int i = 0; i < WORDS; ++i)
            words[i] = i + 1 < WORDS ? __byte_perm(words[i], words[i + 1], 0x4321) : __byte_perm(words[i], bytes, chosen);
    }
    __device__ void forget(int) {}

    __device__ Sum sum(const Window<N>& window, int bits) const {
        return N == 1 ? Sum(words[0] >> 24) : window.w.sum(words, FIRST, bits);
    }
#else
    Sum rows[N];

    __device__ void push(Sum x) {
#pragma unroll
        for (int k = 0; k + 1 < N; ++k) rows[k] = rows[k + 1];
        rows[N - 1] = x;
    }
    // The rows above the window, which no later one has, may be infinite.
    __device__ void forget(int above) {
#if CS_ARITHMETIC == CS_FLOAT
#pragma unroll
        for (int k = 0; k + 1 < N; ++k) rows[k] = k < above ? Sum{} : rows[k];
#else
        (void)above;
#endif
    }

    __device__ Sum sum(const Window<N>& window, int bits) const { return window.w.sum(rows, bits); }
#endif
};

template <int N>
__device__ void push(Column<N> (&columns)[V], const Sum (&x)[V]) {
#if CS_ARITHMETIC == CS_FIXED
#pragma unroll
    for (int c = 0; c < V; c += 2) Column<N>::push(columns[c], columns[c + 1], x[c], x[c + 1]);
#else
#pragma unroll
    for (int c = 0; c < V; ++c) columns[c].push(x[c]);
#endif
}

// A column along D.
template <int N>
__device__ Sum sum_of(const Sum (&depths)[N], const Window<N>& window, int bits) {
    Column<N> column = {};
#pragma unroll
    for (int d = 0; d < N; ++d) column.push(depths[d]);
    return column.sum(window, bits);
}
