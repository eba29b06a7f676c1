// computed_taps.cuh: rows of an axis' matrix (CS_COMPUTED 1) or of its transpose (2), computed as cupysample/_taps.py does,
// rounding by rounding: of the antialiased methods (CS_ANTIALIAS 1), or of the others.
#pragma once

template <typename T>
__device__ T triangle(T x) {
    const T y = plus(T(1), -fabs(x));
    return y > T(0) ? y : T(0);
}

// Keys 1981, by Horner's rule, every step fused.
template <typename T>
__device__ T keys_cubic(T x, T a) {
    x = fabs(x);
    if (x < T(1)) return fused(times(fused(a + T(2), x, -(a + T(3))), x), x, T(1));
    if (x < T(2)) return fused(fused(fused(a, x, T(-5) * a), x, T(8) * a), x, T(-4) * a);
    return T(0);
}

// Half away from zero, as torch and Pillow round fixed-point weights. The product is exact.
__device__ inline int quantised(double w, int bits) { return int(w * double(1 << bits) + (w < 0.0 ? -0.5 : 0.5)); }

// A window, and what its weights are stored as. n_in and n_out are those of the forward matrix, whose row this is.
struct ComputedWindow {
    Index left, count;
    const Axis* axis;
    long long n_in, n_out;

    template <typename T>
    __device__ Weight stored(T w) const {
#if CS_MEAN
        return w > T(0);  // every pixel counts once
#elif CS_TYPE == CS_UINT8
        return quantised(w, axis->bits);
#else
        return Weight(w);
#endif
    }
};

// A row as few numbers, in coordinates T: Real, or double on axes too long for float.
#if CS_ANTIALIAS

// sin(pi x): Taylor's series about the nearest integer, as sine() of cupysample/_filters.py has it, step by step.
__device__ inline double sine(double x) {
    const double n = rint(x), r = plus(x, -n), rr = times(r, r);
    double s = 5.392664662608129e-10;
    s = plus(times(s, rr), -2.2948428997269873e-08);
    s = plus(times(s, rr), 7.952054001475513e-07);
    s = plus(times(s, rr), -2.1915353447830217e-05);
    s = plus(times(s, rr), 0.00046630280576761255);
    s = plus(times(s, rr), -0.0073704309457143504);
    s = plus(times(s, rr), 0.08214588661112823);
    s = plus(times(s, rr), -0.5992645293207921);
    s = plus(times(s, rr), 2.5501640398773455);
    s = plus(times(s, rr), -5.16771278004997);
    s = plus(times(s, rr), 3.141592653589793);
    s = times(s, r);
    return (long long)n & 1 ? -s : s;
}

// sinc(x) sinc(x/3), to be rounded once.
__device__ __attribute__((noinline)) double lanczos(double x) {
    if (x == 0.0) return 1.0;
    if (fabs(x) >= 3.0) return 0.0;
    const double far = x / 3.0, pi = 3.141592653589793;
    return times(sine(x) / times(pi, x), sine(far) / times(pi, far));
}

struct Computed : ComputedWindow {
    double center, inverse, total;  // what a weight is computed from

    __device__ Computed(const Axis& a, long long i, long long columns, long long rows) : ComputedWindow{0, 0, &a, columns, rows} {
        if (a.method == NEAREST) {  // an axis of unchanged size beside others
            left = i;
            count = 1;
        } else {
            a.in_double ? antialias<double>(i) : antialias<Real>(i);
        }
    }

    __device__ Weight weight(Index k) const {
        if (axis->method == NEAREST) return stored(1.0);
        return axis->in_double ? stored(stretched<double>(k) / total) : stored(stretched<Real>(k) / Real(total));
    }

    template <typename T>
    __device__ void antialias(long long i) {
        const T step = T(axis->step), stretch = step > T(1) ? step : T(1);
        const int radius = axis->method == LINEAR_ANTIALIAS ? 1 : axis->method == CUBIC_ANTIALIAS ? 2 : 3;
        const T support = times(T(radius), stretch), middle = times(step, plus(T(i), T(0.5)));
        const long long first = (long long)plus(plus(middle, -support), T(0.5));
        const long long last = (long long)plus(plus(middle, support), T(0.5));
        left = first > 0 ? first : 0;
        count = (last < n_in ? last : n_in) - left;
        center = middle;
        inverse = T(1) / stretch;
        T sum = T(0);
        for (Index k = 0; k < count; ++k) sum = plus(sum, stretched<T>(k));
        total = sum == T(0) ? T(1) : sum;
    }

    template <typename T>
    __device__ T stretched(Index k) const {
        const T x = times(plus(plus(T(left + k), -T(center)), T(0.5)), T(inverse));
        switch (axis->method) {
            case LINEAR_ANTIALIAS: return triangle(x);
            case CUBIC_ANTIALIAS: return keys_cubic(x, T(-0.5));
            default: return T(lanczos(x));
        }
    }
};

#else

struct Computed : ComputedWindow {
    Weight w0, w1, w2, w3;  // of linear and cubic, borders folded in

    __device__ Computed(const Axis& a, long long i, long long columns, long long rows) : ComputedWindow{0, 0, &a, columns, rows} {
        switch (a.method) {
            case NEAREST: point(i, 0.0f); break;
            case NEAREST_EXACT: point(i, 0.5f); break;
            case AREA:
                left = i * n_in / n_out;
                count = ((i + 1) * n_in + n_out - 1) / n_out - left;
                break;
            case LINEAR: a.in_double ? interpolate<double, 1>(i) : interpolate<Real, 1>(i); break;
            default: a.in_double ? interpolate<double, 2>(i) : interpolate<Real, 2>(i);
        }
    }

    __device__ Weight weight(Index k) const {
        switch (axis->method) {
            case NEAREST:
            case NEAREST_EXACT: return stored(1.0);
            case AREA: return axis->in_double ? stored(1.0 / double(count)) : stored(Real(1) / Real(count));
            default: return k == 0 ? w0 : k == 1 ? w1 : k == 2 ? w2 : w3;
        }
    }

    // Forward, only the identity comes here, for an unchanged axis beside others; nearest.cu does the rest.
    __device__ void point(long long i, float offset) {
        left = axis->in_double ? nearest_pixel<double>(i, axis->step, offset, n_in)
                          : nearest_pixel<float>(i, float(axis->step), offset, n_in);
        count = 1;
    }

    template <typename T, int Reach>
    __device__ void interpolate(long long i) {
        const T step = T(axis->step);
        T x = axis->align_corners ? align_corners(T(i), step) : half_pixel(T(i), step);
        if (Reach == 1 && x < T(0)) x = T(0);
#if CS_TYPE == CS_UINT8
        // torch floors a float, also for double coordinates; on a long axis that would be another pixel
        long long base = (long long)floor(n_in > FLOAT32_EXTENT || n_out > FLOAT32_EXTENT ? double(x) : double(float(x)));
        const T t = fmin(fmax(x - T(base), T(0)), T(1));
#else
        long long base = (long long)floor(x);
        const T t = x - T(base);
#endif
        base = base < n_in - 1 ? base : n_in - 1;
        const long long first = base + 1 - Reach;
        left = inside(first);
        count = inside(base + Reach) - left + 1;
        T folded[4] = {T(0), T(0), T(0), T(0)};
#pragma unroll
        for (int k = 0; k < 2 * Reach; ++k) {
            const T w = tap_weight<T, Reach>(k, t);
            const long long slot = inside(first + k) - left;
#pragma unroll  // and selected: an index known only at run time would need local memory
            for (int s = 0; s < 4; ++s)
                folded[s] = s == slot ? plus(folded[s], w) : folded[s];
        }
#if CS_COMPUTED == 2
        if (Reach == 1 && count == 2 && folded[1] == T(0)) count = 1;  // a zero is no tap of the transpose
#endif
        w0 = stored(folded[0]);
        w1 = stored(folded[1]);
        w2 = stored(folded[2]);
        w3 = stored(folded[3]);
    }

    __device__ long long inside(long long j) const { return j < 0 ? 0 : j < n_in ? j : n_in - 1; }

    template <typename T, int Reach>
    __device__ static T tap_weight(int k, T t) {
#if CS_TYPE == CS_UINT8
        const T x = plus(T(k + 1 - Reach), -t);
        return Reach == 1 ? triangle(x) : keys_cubic(x, T(-0.75));
#else
        const T u = plus(T(1), -t);
        if (Reach == 1) return k ? t : u;
        return keys_cubic(k == 0 ? plus(t, T(1)) : k == 1 ? t : k == 2 ? u : plus(u, T(1)), T(-0.75));
#endif
    }
};

#endif

// Not inlined: one copy for all axes is most of what there is to compile, and copies in one loop do not fit the registers.
__device__ __attribute__((noinline)) Computed computed(const Axis& a, Index i) {
    return CS_COMPUTED == 1 ? Computed(a, i, a.n_in, a.n_out) : Computed(a, i, a.n_out, a.n_in);
}
__device__ __attribute__((noinline)) Weight computed_weight(Computed row, Index k) { return row.weight(k); }

#if CS_COMPUTED == 1

struct Row : Computed {
    __device__ Row(const Axis& a, Index i) : Computed(computed(a, i)) {}
    __device__ Weight weight(Index k) const { return computed_weight(*this, k); }
};

#else

// The first row of the matrix that ends behind a pixel, or that begins behind it.
__device__ __attribute__((noinline)) Index first_output_reading(const Axis& axis, Index pixel, int ends) {
    Index low = 0, high = axis.n_in;
    while (low < high) {
        const Index middle = low + (high - low) / 2;
        const Computed row = computed(axis, middle);
        if (row.left + (ends ? row.count : 0) > pixel)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// Row j of the transpose: the outputs that read pixel j are neighbours, found by bisection because both ends of the
// windows never decrease.
struct Row {
    Index left, count;
    const Axis* axis;
    Index pixel;

    __device__ Row(const Axis& a, Index j) : left(first_output_reading(a, j, 1)), count(first_output_reading(a, j, 0) - left), axis(&a), pixel(j) {}

    __device__ Weight weight(Index k) const {
        const Computed row = computed(*axis, left + k);
        return computed_weight(row, pixel - row.left);
    }
};

#endif
