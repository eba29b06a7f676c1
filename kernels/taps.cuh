// taps.cuh: a row of an axis' matrix: the window a thread reads and its weights.
//
// From tables in memory, or computed where an axis is too long for a table (CS_COMPUTED). The computed rows are those
// of cupysample/_taps.py, rounding by rounding; only the sine of lanczos is another implementation's.
#pragma once

#if CS_MEAN
typedef float Weight;  // unused: every pixel of a mean counts once
typedef double Real;
#elif CS_TYPE == CS_UINT8
typedef int Weight;
typedef double Real;
#else
typedef Sum Weight;
typedef Sum Real;
#endif

#if !CS_COMPUTED

struct Row {
    Index left, count;
    const Weight* weights;

    __device__ Row(const Axis& axis, Index i)
        : left(axis.left[i]), count(axis.count[i]), weights((const Weight*)axis.weight + i * Index(axis.width)) {}
    __device__ Weight weight(Index k) const { return weights[k]; }
};

#else

// The order of cupysample/_cuda.py's METHODS.
enum Method { NEAREST, NEAREST_EXACT, AREA, LINEAR, CUBIC, LINEAR_ANTIALIAS, CUBIC_ANTIALIAS, LANCZOS_ANTIALIAS };

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

// sinc(x) sinc(x/3), in double, rounded once.
template <typename T>
__device__ T lanczos(T x) {
    if (x == T(0)) return T(1);
    if (fabs(x) >= T(3)) return T(0);
    const double t = times(3.141592653589793, double(x)), third = t / 3.0;
    return T(times(sin(t) / t, sin(third) / third));
}

// Row of the type the coordinates have: T is Real, or double on axes too long for float.
template <typename T>
struct Window {
    long long left, count;
    T phase[4];             // linear and cubic: weights, borders folded in
    T center, inverse, total;  // antialias

    __device__ void area(const Axis& axis, long long i) {
        left = i * axis.n_in / axis.n_out;
        count = ((i + 1) * axis.n_in + axis.n_out - 1) / axis.n_out - left;
    }

    __device__ void point(const Axis& axis, long long i) {
        left = axis.wide ? nearest_pixel<double>(i, axis.step, axis.method == NEAREST_EXACT ? 0.5 : 0.0, axis.n_in)
                         : nearest_pixel<float>(i, float(axis.step), axis.method == NEAREST_EXACT ? 0.5f : 0.0f, axis.n_in);
        count = 1;
    }

    __device__ void interpolate(const Axis& axis, long long i, int reach) {
        const T step = T(axis.step);
        T x = axis.align_corners ? align_corners(T(i), step) : half_pixel(T(i), step);
        if (reach == 1 && x < T(0)) x = T(0);
#if CS_TYPE == CS_UINT8
        long long base = (long long)floorf(float(x));  // torch floors a float, also for double coordinates
        const T t = fmin(fmax(x - T(base), T(0)), T(1));
#else
        long long base = (long long)floor(x);
        const T t = x - T(base);
#endif
        base = base < axis.n_in - 1 ? base : axis.n_in - 1;
        const long long first = base + 1 - reach;
        left = clamp(first, axis.n_in);
        count = clamp(base + reach, axis.n_in) - left + 1;
        for (int k = 0; k < 4; ++k) phase[k] = T(0);
        for (int k = 0; k < 2 * reach; ++k) {
            const long long slot = clamp(first + k, axis.n_in) - left;
            const T w = reach == 1 ? linear_weight(k, t) : cubic_weight(k, t);
            // Selected rather than indexed: an index known only at run time would put the weights in local memory.
            for (int s = 0; s < 4; ++s)
                if (s == slot) phase[s] = plus(phase[s], w);
        }
    }

    __device__ static long long clamp(long long j, long long n) { return j < 0 ? 0 : j < n ? j : n - 1; }

    __device__ static T linear_weight(int k, T t) {
#if CS_TYPE == CS_UINT8
        return triangle(T(k) - t);
#else
        return k ? t : plus(T(1), -t);
#endif
    }

    __device__ static T cubic_weight(int k, T t) {
#if CS_TYPE == CS_UINT8
        return keys_cubic(plus(T(k - 1), -t), T(-0.75));
#else
        const T u = plus(T(1), -t);
        return keys_cubic(k == 0 ? plus(t, T(1)) : k == 1 ? t : k == 2 ? u : plus(u, T(1)), T(-0.75));
#endif
    }

    __device__ void antialias(const Axis& axis, long long i) {
        const T step = T(axis.step), stretch = step > T(1) ? step : T(1);
        const int radius = axis.method == LINEAR_ANTIALIAS ? 1 : axis.method == CUBIC_ANTIALIAS ? 2 : 3;
        const T support = times(T(radius), stretch);
        center = times(step, plus(T(i), T(0.5)));
        inverse = T(1) / stretch;
        const long long first = (long long)plus(plus(center, -support), T(0.5));
        const long long last = (long long)plus(plus(center, support), T(0.5));
        left = first > 0 ? first : 0;
        count = (last < axis.n_in ? last : axis.n_in) - left;
        total = T(0);
        for (long long k = 0; k < count; ++k) total = plus(total, stretched(axis, k));
        if (total == T(0)) total = T(1);
    }

    __device__ T stretched(const Axis& axis, long long k) const {
        const T x = times(plus(plus(T(left + k), -center), T(0.5)), inverse);
        return axis.method == LINEAR_ANTIALIAS  ? triangle(x)
               : axis.method == CUBIC_ANTIALIAS ? keys_cubic(x, T(-0.5))
                                                : lanczos(x);
    }

    __device__ void locate(const Axis& axis, long long i) {
        switch (axis.method) {
            case NEAREST:
            case NEAREST_EXACT: return point(axis, i);
            case AREA: return area(axis, i);
            case LINEAR: return interpolate(axis, i, 1);
            case CUBIC: return interpolate(axis, i, 2);
            default: return antialias(axis, i);
        }
    }

    __device__ T weight(const Axis& axis, long long k) const {
        switch (axis.method) {
            case NEAREST:
            case NEAREST_EXACT: return T(1);
            case AREA: return T(1) / T(count);
            case LINEAR:
            case CUBIC: return k == 0 ? phase[0] : k == 1 ? phase[1] : k == 2 ? phase[2] : phase[3];
            default: return stretched(axis, k) / total;
        }
    }
};

// Half away from zero, as torch and Pillow round fixed-point weights.
__device__ inline int quantised(double w, int bits) { return int(w * double(1 << bits) + (w < 0.0 ? -0.5 : 0.5)); }

struct Row {
    Index left, count;
    const Axis* axis;
    Window<Real> window;
    Window<double> wide;

    __device__ Row(const Axis& a, Index i) : axis(&a) {
        if (a.wide) {
            wide.locate(a, i);
            left = wide.left;
            count = wide.count;
        } else {
            window.locate(a, i);
            left = window.left;
            count = window.count;
        }
    }
    __device__ Weight weight(Index k) const {
#if CS_MEAN
        return Weight(1);
#elif CS_TYPE == CS_UINT8
        return quantised(axis->wide ? wide.weight(*axis, k) : window.weight(*axis, k), axis->bits);
#else
        return Weight(axis->wide ? wide.weight(*axis, k) : window.weight(*axis, k));
#endif
    }
};

#endif
