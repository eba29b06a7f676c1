// ring.cuh: a thread's parts of source rows, on their way to shared memory, where it alone reads them: STAGES rows at a time.
#pragma once

struct Ring {
    Unit* slots;       // of the thread
    Address address;   // of these
    Index next, last;  // the row to be copied next, and the last one of all
    unsigned stage;    // of the row to be read

    __device__ int at(int d) const { return int(stage) * OF_STAGE + d * OF_DEPTH; }
    __device__ const Unit* slot(int d) const { return slots + at(d); }
    __device__ void copy(const Elements& mine, const Element* __restrict__ x, long long stride, const long long (&depths)[TAPS_D]) {
        if (next <= last) {
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) {
                const Element* const row = moved(moved(x, next * stride), depths[d]);
#pragma unroll
                for (int i = 0; i < CS_SLOT; ++i)
                    if (mine.copies(i)) copy_ahead<false>(address + (at(d) + i * APART) * CS_UNIT, (const Unit*)row + i);
            }
            ++next;
        }
        commit_copies();  // also nothing, so that the row to be read is always STAGES commits back
        stage = (stage + 1) % STAGES;
    }
    __device__ void start(const Elements& mine, const Element* __restrict__ x, long long stride,
                          const long long (&depths)[TAPS_D]) {
#pragma unroll 1
        for (int s = 0; s < STAGES; ++s) {
#if CS_GROWTH
            if (mine.copied != (1u << CS_SLOT) - 1)  // what lies outside of the row weighs 0, and is no NaN
#pragma unroll
                for (int i = 0; i < CS_SLOT * TAPS_D; ++i) slots[at(0) + i * APART] = Unit{};
#endif
            copy(mine, x, stride, depths);
        }
    }
};
