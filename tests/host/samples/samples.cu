// samples.cu: small kernels that show, right and wrong, what the harness must see. CS_SAMPLE names one.
#ifndef CS_SHARED_BYTES
#define CS_SHARED_BYTES(name) extern __shared__ __align__(16) unsigned char name[]
#endif

#define REVERSE_STATIC 1
#define REVERSE_DYNAMIC 2
#define REVERSE_RACING 3
#define REVERSE_EARLY_RETURN 4
#define REVERSE_TWO_BARRIERS 5
#define WARPS 6
#define ABSENT_LANE 7
#define OUTSIDE_MASK 8
#define BUILTINS 9
#define LAST_WRITER 10
#define TABLE 11
#define COPY 12
#define COPY_COLUMNS 13
#define COPY_VECTORS 14
#define SHIFTED_BYTES 15
#define SHARED_PAST_END 16
#define OVERFLOW 17
#define WRITE_SOURCE 18
#define CONVERT 19
#define LEFTOVERS 20
#define WARP_BESIDE_BLOCK 21
#define ARITHMETIC 22
#define PART_OF_A_WARP 23
#define LOCAL_ARRAY 24
#define COPIED_AHEAD 25

struct Parameters {
    const float* table;
    int n, shift;
};

__device__ inline int global_thread() { return int(blockIdx.x * blockDim.x + threadIdx.x); }

#if CS_SAMPLE == REVERSE_STATIC || CS_SAMPLE == REVERSE_DYNAMIC || CS_SAMPLE == REVERSE_RACING || \
    CS_SAMPLE == REVERSE_EARLY_RETURN || CS_SAMPLE == REVERSE_TWO_BARRIERS
// Every block reverses its part; blocks have at most 256 threads.
extern "C" __global__ void __launch_bounds__(256)
    CS_ENTRY(const float* __restrict__ source, float* __restrict__ out, const __grid_constant__ Parameters p) {
#if CS_SAMPLE == REVERSE_DYNAMIC
    CS_SHARED_BYTES(bytes);
    float* tile = (float*)bytes;
#else
    __shared__ float tile[256];
#endif
    const int i = global_thread();
    if (i < p.n) tile[threadIdx.x] = source[i];
#if CS_SAMPLE == REVERSE_EARLY_RETURN
    if (i >= p.n) return;
#endif
#if CS_SAMPLE == REVERSE_TWO_BARRIERS
    if (threadIdx.x < 100)
        __syncthreads();
    else
        __syncthreads();
#elif CS_SAMPLE != REVERSE_RACING
    __syncthreads();
#endif
    if (i < p.n) out[i] = tile[blockDim.x - 1 - threadIdx.x];
}

#elif CS_SAMPLE == WARPS
// Rows of out, one per shuffle. The block need not be a multiple of 32.
__device__ inline int sum(int x) {
#pragma unroll
    for (int step = 16; step; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
    return x;
}
extern "C" __global__ void CS_ENTRY(const int* source, long long* out, const __grid_constant__ Parameters p) {
    const int t = int(threadIdx.x), x = source[t], full = int(blockDim.x) / 32 * 32;
    out[t] = t < full ? sum(x) : -1;
    out += p.n;
    out[t] = __shfl_up_sync(0xffffffff, x, 1);
    out += p.n;
    out[t] = t < full ? __shfl_down_sync(0xffffffff, x, 3, 8) : -1;
    out += p.n;
    out[t] = __shfl_sync(0xffffffff, x, 5, 8);
    out += p.n;
    out[t] = __shfl_sync(0xffffffff, 1000000000000LL * x, 0);
    out += p.n;
    __syncwarp();
    const unsigned even = 0x55555555;
    out[t] = t & 1 ? -1 : __shfl_up_sync(even, x, 2);  // half of the lanes
}

#elif CS_SAMPLE == ABSENT_LANE
extern "C" __global__ void CS_ENTRY(const int* source, int* out, const __grid_constant__ Parameters) {
    if (threadIdx.x == 7) return;
    out[threadIdx.x] = __shfl_xor_sync(0xffffffff, source[threadIdx.x], 1);
}

#elif CS_SAMPLE == OUTSIDE_MASK
extern "C" __global__ void CS_ENTRY(const int* source, int* out, const __grid_constant__ Parameters) {
    out[threadIdx.x] = __shfl_xor_sync(0xffff, source[threadIdx.x], 1);
}

#elif CS_SAMPLE == PART_OF_A_WARP
extern "C" __global__ void CS_ENTRY(const int* source, int* out, const __grid_constant__ Parameters) {
    if (threadIdx.x < 20)
        __syncwarp();
    else
        __syncthreads();
    out[threadIdx.x] = source[threadIdx.x];
}

#elif CS_SAMPLE == LOCAL_ARRAY
// Reached through a pointer, so in memory: a GPU would use local memory.
__attribute__((noinline)) __device__ void fill(float* local, const float* source, int shift) {
    for (int k = 0; k < 8; ++k) local[(k + shift) % 8] = source[k];
}
extern "C" __global__ void CS_ENTRY(const float* source, float* out, const __grid_constant__ Parameters p) {
    float local[8];
    fill(local, source, p.shift);
    out[threadIdx.x] = local[(threadIdx.x + unsigned(p.n)) % 8];
}

#elif CS_SAMPLE == WARP_BESIDE_BLOCK
// The first warp exchanges while the others wait at the block's barrier.
extern "C" __global__ void CS_ENTRY(const int* source, int* out, const __grid_constant__ Parameters) {
    __shared__ int first;
    const int t = int(threadIdx.x);
    int x = source[t];
    if (t < 32) {
        for (int step = 16; step; step /= 2) x += __shfl_down_sync(0xffffffff, x, unsigned(step));
        if (t == 0) first = x;
    }
    __syncthreads();
    out[t] = first;
}

#elif CS_SAMPLE == BUILTINS
extern "C" __global__ void CS_ENTRY(const void*, int* out, const __grid_constant__ Parameters) {
    const uint3 t = threadIdx, b = blockIdx;
    const unsigned thread = t.x + blockDim.x * (t.y + blockDim.y * t.z);
    const unsigned block = b.x + gridDim.x * (b.y + gridDim.y * b.z);
    int* row = out + 6 * (block * blockDim.x * blockDim.y * blockDim.z + thread);
    row[0] = int(t.x);
    row[1] = int(t.y);
    row[2] = int(t.z);
    row[3] = int(b.x);
    row[4] = int(b.y);
    row[5] = int(b.z);
}

#elif CS_SAMPLE == LAST_WRITER
// A race between all threads of the grid.
extern "C" __global__ void CS_ENTRY(const void*, int* out, const __grid_constant__ Parameters) { *out = global_thread(); }

#elif CS_SAMPLE == TABLE
extern "C" __global__ void CS_ENTRY(const float* source, float* out, const __grid_constant__ Parameters p) {
    const int i = global_thread();
    out[-i] = source[-i] * __ldg(p.table + i);
}

#elif CS_SAMPLE == COPY
extern "C" __global__ void CS_ENTRY(const float* source, float* out, const __grid_constant__ Parameters p) {
    for (int i = global_thread(); i < p.n; i += int(gridDim.x * blockDim.x)) out[i] = source[i];
}

#elif CS_SAMPLE == COPY_COLUMNS
// As if source were a matrix of 32 columns, read column by column: no two lanes share a sector.
extern "C" __global__ void CS_ENTRY(const float* source, float* out, const __grid_constant__ Parameters p) {
    const int i = global_thread(), rows = p.n / 32;
    out[i] = source[i % rows * 32 + i / rows];
}

#elif CS_SAMPLE == COPY_VECTORS
// 16 bytes a thread, as a builtin vector or as a struct; the other half of the grid takes them apart in between.
struct alignas(16) Four {
    float v[4];
};
extern "C" __global__ void CS_ENTRY(const float* source, float* out, const __grid_constant__ Parameters p) {
    const int i = global_thread();
    if (p.shift) {
        const Four four = ((const Four*)source)[i];
        Four twice;
        for (int k = 0; k < 4; ++k) twice.v[k] = 2.0f * four.v[k];
        ((Four*)out)[i] = twice;
    } else {
        const float4 four = ((const float4*)source)[i];
        ((float4*)out)[i] = make_float4(2 * four.x, 2 * four.y, 2 * four.z, 2 * four.w);
    }
}

#elif CS_SAMPLE == COPIED_AHEAD
// A block of 64 reverses its part by copies that are on their way over two barriers. p.shift: what is done too early or late.
extern "C" __global__ void CS_ENTRY(const float* source, float* out, const __grid_constant__ Parameters p) {
    __shared__ float tile[64];
    const int t = int(threadIdx.x);
    if (p.shift == 1) out[global_thread()] = tile[63 - t];
    CS_COPY_AHEAD(tile + t, source + global_thread());
    CS_COMMIT_COPIES();
    __syncthreads();
    if (p.shift == 2) tile[63 - t] = 0;
    __syncthreads();
    CS_WAIT_FOR_COPIES(0);
    if (p.shift != 3) __syncthreads();
    out[global_thread()] = tile[63 - t];
}

#elif CS_SAMPLE == SHIFTED_BYTES
extern "C" __global__ void CS_ENTRY(const unsigned char* source, unsigned char* out,
                                    const __grid_constant__ Parameters p) {
    const int i = global_thread();
    if (p.table)
        out[i + p.shift] = source[i];
    else
        out[i] = source[i + p.shift];
}

#elif CS_SAMPLE == SHARED_PAST_END
extern "C" __global__ void CS_ENTRY(const unsigned char* source, unsigned char* out,
                                    const __grid_constant__ Parameters p) {
    __shared__ unsigned char fixed[10];
    CS_SHARED_BYTES(dynamic);
    unsigned char* tile = p.n ? fixed : dynamic;
    const int i = int(threadIdx.x);
    tile[i + p.shift] = source[i];
    out[i] = tile[i + p.shift];
}

#elif CS_SAMPLE == OVERFLOW
extern "C" __global__ void CS_ENTRY(const int* source, int* out, const __grid_constant__ Parameters) {
    out[threadIdx.x] = source[threadIdx.x] * 2;
}

#elif CS_SAMPLE == WRITE_SOURCE
extern "C" __global__ void CS_ENTRY(const int* source, int* out, const __grid_constant__ Parameters) {
    *(int*)source = *out;
}

#elif CS_SAMPLE == CONVERT
#include <cuda_bf16.h>
#include <cuda_fp16.h>
extern "C" __global__ void CS_ENTRY(const CS_FROM* source, CS_TO* out, const __grid_constant__ Parameters p) {
    const int i = global_thread();
    if (i < p.n) out[i] = CS_FUNCTION(source[i]);
}

#elif CS_SAMPLE == LEFTOVERS
// What shared memory holds before anybody has written to it.
template <int N>
__device__ float* fixed() {
    __shared__ float tile[N];
    return tile;
}
extern "C" __global__ void CS_ENTRY(const void*, float* out, const __grid_constant__ Parameters p) {
    CS_SHARED_BYTES(bytes);
    float* tile = p.n ? fixed<32>() : (float*)bytes;
    out[global_thread()] = tile[threadIdx.x];
    tile[threadIdx.x] = 1.0f;
}

#elif CS_SAMPLE == ARITHMETIC
#define SHOW(x) *out++ = double(x)
extern "C" __global__ void CS_ENTRY(const double* source, double* out, const __grid_constant__ Parameters) {
    const double big = source[0], third = source[1], nan = source[2], seventh = source[3], product = source[4];
    SHOW(__float2int_rn(2.5f));
    SHOW(__float2int_rd(-2.5f));
    SHOW(__float2int_rn(float(big)));
    SHOW(__float2int_rn(float(-big)));
    SHOW(__float2int_rn(float(nan)));
    SHOW(__float2uint_rn(-1.0f));
    SHOW(__double2ll_rn(nan) == -9223372036854775807LL - 1);
    SHOW(min(-1, 2));
    SHOW(max(-1, 2u));
    SHOW(min(float(nan), 3.0f));
    SHOW(max(2LL, 3LL));
    SHOW(__fmaf_rn(float(third), float(third), -__fmul_rn(float(third), float(third))));
    SHOW(float(third) * float(seventh) - float(product));  // no FMA
    SHOW(sinpi(1e15 + 0.5));
    SHOW(sinpi(-3.0));
    SHOW(__float_as_int(1.0f));
    SHOW(__umulhi(0x80000000u, 6u));
    SHOW(__umul64hi(1ull << 63, 6ull));
}
#endif
