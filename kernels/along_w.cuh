// along_w.cuh: a thread's elements of a row of out: where they lie, what they read of a source row, and that row filtered along W.
#pragma once

struct Elements {
    const Geometry& g;
    const Axis& axis;
    Index first, step;        // numbers in the row of out
    bool packed, cut, hangs;  // cut: some window has fewer taps than places; hangs: the first ones have the pixel behind them
    Index out, apart;         // bytes: the first, and from one to the next
    Index begin, pitch;       // bytes in a source row: of the first pixel of all, and from pixel to pixel
    unsigned from[PIXELS];    // bytes behind it: of the first pixel of each window; CS_WINDOWS: behind a slot, its first word
    unsigned chosen[PIXELS];  // CS_WINDOWS: of two words, the four bytes from the first of the window
    unsigned copied;          // CS_SLOT: units from `begin` that have a part of a window; CS_GROWTH: a bit for each in the row
    ALONG_W<TAPS_W> w[PIXELS];

    __device__ Elements(const Geometry& geometry, const Axis& along, Index thread)
        : g(geometry), axis(along), first(thread), step(Index(g.parts)), packed(CS_WIDE || CS_SLOT || g.packed), cut(false),
          hangs(false) {
        if (packed) {
            first = thread * V;
            step = 1;
        }
        const Index stride = Index(g.inner.extent == 1 ? axis.out_stride : g.inner.out_stride) * Index(sizeof(Element));
        out = first * stride;
        apart = step * stride;
        pitch = Index(sizeof(Element)) * (CS_PITCH ? CS_PITCH : axis.n_in > 1 ? Index(axis.source_stride) : 0);
        Index at[PIXELS];
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            Index channel;
            const Index i = pixel_of(c * CHANNELS, channel);
#if CS_ARITHMETIC == CS_COPY
            const Index left = CS_GROWTH ? 0 : pixel(axis, i);
#else
            const Neighbours<TAPS_W> window = Neighbours<TAPS_W>::of(axis, i);
            const Index left = window.left;
            cut |= (window.inside & PLACES) != PLACES;
            if (c == 0) hangs = window.inside >> TAPS_W & 1;
            w[c] = window.w;
#endif
            at[c] = left * pitch + channel * Index(g.inner.source_stride) * Index(sizeof(Element));
            begin = c == 0 || at[c] < begin ? at[c] : begin;
        }
#if CS_GROWTH
        begin = (begin_of(first) - FIRST_READ) * Index(sizeof(Element));
        copied = 0;
#pragma unroll
        for (int i = 0; i < CS_SLOT; ++i) {
            const Index unit = begin + i * CS_UNIT;
            copied |= unsigned(unit >= 0 && unit < Index(axis.n_in) * Index(sizeof(Element))) << i;
        }
#else
        if (CS_SLOT) begin &= ~3;
        Index last = 0;
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            from[c] = unsigned(at[c] - begin);
            last = Index(from[c]) > last ? Index(from[c]) : last;
        }
        copied = unsigned(last + (TAPS_W - 1) * pitch + CHANNELS * Index(sizeof(Element)) + 3) / 4;
#endif
#if CS_WINDOWS
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            chosen[c] = 0x3210 + 0x1111 * (from[c] & 3);
            from[c] = from[c] / 4 * APART * CS_UNIT;
        }
#endif
    }

    // The pixel of element c along W, and its place in `inner`; beyond the row, another of its last pixel.
    __device__ Index pixel_of(Index c, Index& channel) const {
        const Index e = first + c * step, i = CS_GROWTH ? e : e / g.inner.extent;
        channel = CS_GROWTH ? 0 : e - i * Index(g.inner.extent);
        return CS_WIDE || CS_SLOT || i < Index(axis.n_out) ? i : Index(axis.n_out) - 1;
    }

#if CS_SLOT
    __device__ bool copies(int unit) const { return CS_GROWTH ? copied >> unit & 1 : unsigned(unit) < copied; }
#endif

#if CS_WINDOWS
    // The bytes of a channel, side by side.
    __device__ static void bytes_of(int channel, const unsigned (&window)[WORDS - 1], unsigned (&bytes)[(TAPS_W + 3) / 4]) {
#pragma unroll
        for (int i = 0; i < (TAPS_W + 3) / 4; ++i) {
            const unsigned* x = window + i * CHANNELS;  // four pixels
            bytes[i] = CHANNELS == 1 ? x[0] : __byte_perm(x[0], x[1], permutation(channel, false));
            if (CHANNELS > 1 && TAPS_W > 2) bytes[i] = __byte_perm(bytes[i], x[2], permutation(channel, true));
        }
    }
    // Of the bytes of a channel of four pixels, those of the first two words; then of the third, behind what is found.
    __device__ static constexpr unsigned permutation(int channel, bool third) {
        unsigned chosen = 0;
        for (int k = 0; k < 4; ++k) {
            const int at = channel + k * CHANNELS;
            chosen |= unsigned(third ? at < 8 ? k : at - 4 : at & 7) << 4 * k;
        }
        return chosen;
    }
#endif

    // A source row, filtered along W; `windows`: where it is read, there or in a slot.
    __device__ void filter(const Read* windows, const Element* __restrict__ row, Sum (&sums)[V]) const {
#if CS_GROWTH
        Unit units[CS_SLOT];
#pragma unroll
        for (int i = 0; i < CS_SLOT; ++i) units[i] = windows[i * APART];
#if CS_ARITHMETIC == CS_FIXED
        unsigned words[CS_SLOT * CS_UNIT / 4 + 1] = {};
        memcpy(words, units, sizeof units);
#pragma unroll
        for (int c = 0; c < V; ++c) sums[c] = w[c].sum(words, FIRST_READ + advance_of(c), axis.bits);
#else
        Element read[CS_SLOT * CS_UNIT / int(sizeof(Element))];
        memcpy(read, units, sizeof units);
        Sum x[PIXELS_READ];
#pragma unroll
        for (int i = 0; i < PIXELS_READ; ++i) x[i] = widen(read[FIRST_READ + i]);
#pragma unroll
        for (int c = 0; c < V; ++c) {
            Sum pixels[TAPS_W];
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k) pixels[k] = x[advance_of(c) + k];
            sums[c] = w[c].sum(pixels, axis.bits);
        }
#if CS_ARITHMETIC == CS_FLOAT && CS_TAPS == 2
#pragma unroll
        for (int c = 0; c < AHEAD; ++c) sums[c] = hangs ? accumulate(0, x[TAPS_W], sums[c]) : sums[c];
#endif
#endif
#elif CS_WINDOWS
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) {
            unsigned words[WORDS], window[WORDS - 1], bytes[(TAPS_W + 3) / 4];
#pragma unroll
            for (int i = 0; i < WORDS; ++i) words[i] = ((const unsigned*)((const char*)windows + int(from[p])))[i * APART];
#pragma unroll
            for (int i = 0; i < WORDS - 1; ++i) window[i] = __byte_perm(words[i], words[i + 1], chosen[p]);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                bytes_of(c, window, bytes);
                sums[p * CHANNELS + c] = w[p].sum(bytes, 0, axis.bits);
            }
        }
#else
        Vector x[TAPS_W];
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            const Element* from_here = moved(windows, from[c]);
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k, from_here = moved(from_here, pitch)) {
#if CS_WIDE
                x[k] = *(const Vector*)from_here;
#else
                x[k].e[c] = *from_here;
#endif
            }
        }
#pragma unroll
        for (int c = 0; c < V; ++c) {
            Sum pixels[TAPS_W];
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k) pixels[k] = widen(x[k].e[c]);
            sums[c] = w[CS_WIDE ? 0 : c].sum(pixels, axis.bits);
        }
#endif
#if CS_ARITHMETIC == CS_FLOAT
        bool number = true;
#pragma unroll
        for (int c = 0; c < V; c += 2) number &= sums[c] <= sums[(c + 1) % V] || sums[c] > sums[(c + 1) % V];
        if (cut && !number) without_neighbours(row, sums);
#else
        (void)row;
#endif
    }

#if CS_ARITHMETIC == CS_FLOAT
    // The sums that are no numbers again, tap by tap: a neighbour of the window that weighs 0 may be infinite.
    __device__ void without_neighbours(const Element* __restrict__ row, Sum (&sums)[V]) const {
#pragma unroll 1
        for (int c = 0; c < V; ++c) {
            Index channel;
            const Neighbours<TAPS_W>& window = Neighbours<TAPS_W>::of(axis, pixel_of(c, channel));
            const Element* x = moved(row, window.left * pitch + channel * Index(g.inner.source_stride) * Index(sizeof(Element)));
            x = moved(x, -begin);
            Sum sum = 0;
#pragma unroll 1
            for (int k = 0; k < TAPS_W + (CS_GROWTH && CS_TAPS == 2); ++k, x = moved(x, pitch))
                if (window.inside >> k & 1) sum = accumulate(k < TAPS_W ? window.w.of[k] : 0, widen(*x), sum);
#pragma unroll
            for (int e = 0; e < V; ++e) sums[e] = e == c && sums[e] != sums[e] ? sum : sums[e];
        }
    }
#endif

    // A source row in each plane of the window, filtered along W; floats along D too.
    template <typename At>
    __device__ void filter(const At& windows, const Element* __restrict__ row, const long long (&depths)[TAPS_D],
                           const Window<TAPS_D> (&windows_d)[CS_DEPTHS], Sum (&sums)[HELD][V]) const {
        Sum filtered[TAPS_D][V];
#pragma unroll
        for (int d = 0; d < TAPS_D; ++d) filter(windows(d), moved(row, depths[d]), filtered[d]);
#pragma unroll
        for (int c = 0; c < V; ++c) {
            Sum column[TAPS_D];
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) column[d] = filtered[d][c];
#pragma unroll
            for (int d = 0; d < HELD; ++d)
                sums[d][c] = TAPS_D > 1 && HELD == CS_DEPTHS ? sum_of(column, windows_d[d % CS_DEPTHS], 0) : column[d];
        }
    }

    // In a row of out that begins with the first element.
    __device__ void store(Element* __restrict__ row, const Sum (&sums)[V]) const {
        const Vector y = packed_together(sums);
        if (packed) {
            put((Vector*)row, y, g.streamed);
            return;
        }
#pragma unroll
        for (int c = 0; c < V; ++c)
            if (first + c * step < Index(axis.n_out) * Index(g.inner.extent)) *moved(row, c * apart) = y.e[c];
    }

#if CS_MEAN
    __device__ float pixels(int c) const {
        Sum total = 0;
#pragma unroll
        for (int k = 0; k < TAPS_W; ++k) total += w[CS_WIDE ? 0 : c].of[k];
        return float(total);
    }
#endif
};
