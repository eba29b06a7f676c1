// ahead.cuh: copies from global to shared memory that are on their way while a thread computes.
//
// A thread that has waited for its copies sees them; another does behind a barrier. A copy begins behind the reads before it,
// so what has been read may be copied over. Architectures before 8.0 copy at once: there a row on its way in every thread
// keeps up with the memory. The host copies when it must.
#pragma once

#if __CUDA_ARCH__ >= 800
#define CS_COPIES_AHEAD 1
#else
#define CS_COPIES_AHEAD 0
#endif
#ifndef CS_COPY_AHEAD
#define CS_COPY_AHEAD(shared, global) *(shared) = *(global)
#define CS_COMMIT_COPIES()
#define CS_WAIT_FOR_COPIES(still)
#endif

// An address in shared memory. To find it may take as long as a read of it: few_taps.cu keeps one; band.cu, for which the
// compiler does, takes one instruction in a hundred more if it keeps one too.
#if CS_COPIES_AHEAD
typedef unsigned Address;
__device__ inline Address address_of(void* shared) { return unsigned(__cvta_generic_to_shared(shared)); }
#else
typedef char* Address;
__device__ inline Address address_of(void* shared) { return (char*)shared; }
#endif

// Copy 4, 8 or 16 aligned bytes; 16 that nobody else copies leave L1 to the tables.
template <bool Once, typename T>
__device__ inline void copy_ahead(Address to, const T* global) {
#if CS_COPIES_AHEAD
    const size_t from = __cvta_generic_to_global(global);
    if (Once && sizeof(T) == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(sizeof(T)) : "memory");
#else
    CS_COPY_AHEAD((T*)to, global);
#endif
}

// What was copied since the commit before is a group; wait for all groups but the last `Still`.
__device__ inline void commit_copies() {
#if CS_COPIES_AHEAD
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    CS_COMMIT_COPIES();
#endif
}
template <int Still>
__device__ inline void wait_for_copies() {
#if CS_COPIES_AHEAD
    asm volatile("cp.async.wait_group %0;" ::"n"(Still) : "memory");
#else
    CS_WAIT_FOR_COPIES(Still);
#endif
}
