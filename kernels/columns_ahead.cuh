// columns_ahead.cuh: a thread's columns of source rows, copied ahead and summed over them for some rows of out.
#pragma once

// A thread's vectors of source rows, in the order in which they are added, some at a time. Stages times as many are on
// their way, each to a slot that no other thread touches: nobody waits at a barrier for them, and no register holds them.
template <unsigned Stages, typename Cursor>
struct Ahead {
    static constexpr int ROWS_AT_ONCE = Cursor::ROWS_AT_ONCE;

    Cursor next;        // to be copied
    Neighbours* slots;  // of the thread, in the first stage
    unsigned stage;     // of the rows to be added next, where those Stages behind them go then

    __device__ Ahead(const Cursor& first, Neighbours* own) : next(first), slots(own), stage(0) {}

    __device__ Neighbours* slot(int j, int c) const {
        return slots + ((stage * ROWS_AT_ONCE + j) * VECTORS + c) * CS_THREADS;
    }
    __device__ void copy(const Columns& mine) {
        if (next.has(0)) {
#pragma unroll
            for (int j = 0; j < ROWS_AT_ONCE; ++j)
                if (j == 0 || next.has(j)) copy(mine, next.row(j), j);
            next.advance();
        }
        commit_copies();  // also nothing, so that the rows to be read are always Stages commits back
        stage = (stage + 1) % Stages;
    }
    __device__ void copy(const Columns& mine, const Element* row, int j) {
#pragma unroll
        for (int c = 0; c < VECTORS; ++c) {
            copy_ahead<LAYERS == 1>(address_of(slot(j, c)), (const Neighbours*)row);
            row = moved(row, c + 1 < mine.count ? mine.stride : 0);  // beyond the window, the last one again
        }
    }
    __device__ void start(const Columns& mine) {
        if (mine.count == 0) return;
#pragma unroll 1
        for (int s = 0; s < int(Stages); ++s) copy(mine);
    }
    // Of rows that are not there, what lay there before.
    __device__ void read(const Columns& mine, Packed (&x)[ROWS_AT_ONCE]) {
        wait_for_copies<Stages - 1>();
#pragma unroll
        for (int j = 0; j < ROWS_AT_ONCE; ++j)
#pragma unroll
            for (int c = 0; c < VECTORS; ++c) x[j].vector[c] = *slot(j, c);
        copy(mine);
    }
};

// Add a row to the sums of ROWS rows.
template <typename Read>
__device__ inline void add(const Read& x, const Rows<Weight>& w, Sum (&sums)[ROWS][V]) {
    constexpr int PREDICATED = V < 4 ? V : 4;  // sums that are skipped by predicates: of more the branch would be taken
    Sum wide[V];
#pragma unroll
    for (int c = 0; c < V; ++c) wide[c] = widen(x[c]);
#pragma unroll
    for (int b = 0; b < V; b += PREDICATED)
#pragma unroll
        for (int a = 0; a < ROWS; ++a)
            if (inside(w.of[a]))
#pragma unroll
                for (int c = b; c < b + PREDICATED; ++c) sums[a][c] = accumulate(w.of[a], wide[c], sums[a][c]);
}
