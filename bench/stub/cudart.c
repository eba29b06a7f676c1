// The CUDA runtime that CuPy's own module calls, on no device: addresses and handles are numbers, nothing is copied. With
// CUPY_STUB_DEVICE in the environment there are two devices, whose memory is the host's, and copies are made at once; device.py
// runs the launches, or keeps those of a stream that is captured, one at a time. Events have the host's time.
#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#undef cudaGetDeviceProperties

static __thread int device;
static uintptr_t memory = 0x700000000000, next = 0x1000;

static int works(void) {
    static int known;
    if (!known) known = getenv("CUPY_STUB_DEVICE") ? 1 : -1;
    return known > 0;
}
static cudaStream_t captured;
static cudaGraph_t graph;  // NULL but while a stream is captured
static cudaError_t (*replay)(cudaGraph_t graph);
void stub_ask_to_replay(void* on_launch) { replay = on_launch; }
cudaGraph_t stub_graph(cudaStream_t stream) { return stream == captured ? graph : NULL; }

// Each device has addresses of its own, and no address is given twice. Before what is allocated lies how much is mapped.
enum { DEVICES = 2, PAGE = 4096, BITS = 40 };
static uintptr_t regions[DEVICES] = {(uintptr_t)16 << BITS, (uintptr_t)17 << BITS};
static int device_of(const void* p) { return works() ? (int)((uintptr_t)p >> BITS) - 16 : 0; }
int stub_current_device(void) { return device; }

static cudaError_t allocate(void** address, size_t size) {
    if (graph) return cudaErrorStreamCaptureUnsupported;
    size = works() ? (size + 2 * PAGE) & ~(size_t)(PAGE - 1) : (size + 512) & ~(size_t)511;
    *address = (void*)__sync_fetch_and_add(works() ? &regions[device] : &memory, size);
    if (!works()) return 0;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    if (mmap(*address, size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return cudaErrorMemoryAllocation;
    *(size_t*)*address = size;
    return *address = (char*)*address + PAGE, 0;
}
static cudaError_t release(void* p) {
    if (graph) return cudaErrorStreamCaptureUnsupported;
    if (works() && p) munmap((char*)p - PAGE, *(size_t*)((char*)p - PAGE));
    return 0;
}
static cudaError_t copy(void* to, const void* from, size_t size) {
    if (graph) return cudaErrorStreamCaptureUnsupported;
    if (works()) memmove(to, from, size);
    return 0;
}
static cudaError_t fill(void* to, int value, size_t size) {
    if (graph) return cudaErrorStreamCaptureUnsupported;
    if (works()) memset(to, value, size);
    return 0;
}
static cudaError_t copy_rows(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t rows) {
    for (size_t i = 0; i < rows; ++i) copy((char*)to + i * to_pitch, (const char*)from + i * from_pitch, width);
    return 0;
}
static cudaError_t give(void* out) {
    *(uintptr_t*)out = __sync_fetch_and_add(&next, 16) + device;  // so that a stream says whose it is
    return 0;
}
static cudaError_t clear(void* out, size_t size) { return memset(out, 0, size), 0; }

#define F(name) cudaError_t name
F(cudaGetDevice)(int* out) { return *out = device, 0; }
F(cudaGetDeviceCount)(int* count) { return *count = works() ? DEVICES : 1, 0; }
F(cudaSetDevice)(int ordinal) {
    if (ordinal < 0 || ordinal >= (works() ? DEVICES : 1)) return cudaErrorInvalidDevice;
    return device = ordinal, 0;
}
F(cudaDriverGetVersion)(int* version) { return *version = 12090, 0; }
F(cudaRuntimeGetVersion)(int* version) { return *version = 12090, 0; }
F(cudaDeviceGetAttribute)(int* value, enum cudaDeviceAttr attribute, int ordinal) {
    switch (attribute) {
        case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
        case cudaDevAttrMultiProcessorCount: *value = 132; break;
        default: *value = 0;
    }
    return 0;
}
F(cudaGetDeviceProperties_v2)(struct cudaDeviceProp* p, int ordinal) {
    clear(p, sizeof *p);
    strcpy(p->name, "no device");
    p->major = 9, p->warpSize = 32, p->multiProcessorCount = 132, p->l2CacheSize = 1 << 20, p->maxThreadsPerBlock = 1024;
    return 0;
}
F(cudaDeviceCanAccessPeer)(int* can, int from, int to) { return *can = 0, 0; }
F(cudaDeviceGetByPCIBusId)(int* ordinal, const char* id) { return *ordinal = 0, 0; }
F(cudaDeviceGetPCIBusId)(char* id, int size, int ordinal) { return strncpy(id, "0000:00:00.0", size), 0; }
F(cudaDeviceGetLimit)(size_t* value, enum cudaLimit limit) { return *value = 0, 0; }
F(cudaMalloc)(void** p, size_t size) { return allocate(p, size); }
F(cudaMallocManaged)(void** p, size_t size, unsigned flags) { return allocate(p, size); }
F(cudaMallocAsync)(void** p, size_t size, cudaStream_t stream) { return allocate(p, size); }
F(cudaMallocFromPoolAsync)(void** p, size_t size, cudaMemPool_t pool, cudaStream_t stream) { return allocate(p, size); }
F(cudaFree)(void* p) { return release(p); }
F(cudaFreeAsync)(void* p, cudaStream_t stream) { return release(p); }
F(cudaMemcpy)(void* to, const void* from, size_t n, enum cudaMemcpyKind kind) { return copy(to, from, n); }
F(cudaMemcpyAsync)(void* to, const void* from, size_t n, enum cudaMemcpyKind kind, cudaStream_t s) { return copy(to, from, n); }
F(cudaMemcpyPeer)(void* to, int a, const void* from, int b, size_t n) { return copy(to, from, n); }
F(cudaMemcpyPeerAsync)(void* to, int a, const void* from, int b, size_t n, cudaStream_t s) { return copy(to, from, n); }
F(cudaMemcpy2D)(void* to, size_t tp, const void* from, size_t fp, size_t w, size_t h, enum cudaMemcpyKind kind) {
    return copy_rows(to, tp, from, fp, w, h);
}
F(cudaMemcpy2DAsync)(void* to, size_t tp, const void* from, size_t fp, size_t w, size_t h, enum cudaMemcpyKind kind,
                     cudaStream_t stream) { return copy_rows(to, tp, from, fp, w, h); }
F(cudaMemset)(void* to, int value, size_t n) { return fill(to, value, n); }
F(cudaMemsetAsync)(void* to, int value, size_t n, cudaStream_t stream) { return fill(to, value, n); }
F(cudaHostAlloc)(void** p, size_t size, unsigned flags) { return (*p = malloc(size + 1)) ? 0 : cudaErrorMemoryAllocation; }
F(cudaFreeHost)(void* p) { return free(p), 0; }
F(cudaMemGetInfo)(size_t* free, size_t* total) {  // a device that works leaves half to those who look at its results
    return *free = *total = works() ? (size_t)sysconf(_SC_AVPHYS_PAGES) * PAGE / 2 : (size_t)80 << 30, 0;
}
F(cudaDeviceGetDefaultMemPool)(cudaMemPool_t* out, int ordinal) { return give(out); }
F(cudaDeviceGetMemPool)(cudaMemPool_t* out, int ordinal) { return give(out); }
F(cudaMemPoolCreate)(cudaMemPool_t* out, const struct cudaMemPoolProps* properties) { return give(out); }
F(cudaMemPoolGetAttribute)(cudaMemPool_t pool, enum cudaMemPoolAttr name, void* value) { return clear(value, 8); }
F(cudaPointerGetAttributes)(struct cudaPointerAttributes* out, const void* p) {
    clear(out, sizeof *out);
    out->type = cudaMemoryTypeDevice, out->devicePointer = (void*)p, out->device = device_of(p);
    return 0;
}
F(cudaMallocArray)(cudaArray_t* out, const struct cudaChannelFormatDesc* d, size_t w, size_t h, unsigned f) { return give(out); }
F(cudaMalloc3DArray)(cudaArray_t* out, const struct cudaChannelFormatDesc* d, struct cudaExtent e, unsigned f) {
    return give(out);
}
F(cudaStreamCreate)(cudaStream_t* out) { return give(out); }
F(cudaStreamCreateWithFlags)(cudaStream_t* out, unsigned flags) { return give(out); }
F(cudaStreamCreateWithPriority)(cudaStream_t* out, unsigned flags, int priority) { return give(out); }
F(cudaStreamGetFlags)(cudaStream_t stream, unsigned* flags) { return *flags = 0, 0; }
F(cudaStreamGetPriority)(cudaStream_t stream, int* priority) { return *priority = 0, 0; }
F(cudaStreamIsCapturing)(cudaStream_t stream, enum cudaStreamCaptureStatus* status) {
    *status = stub_graph(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return 0;
}
F(cudaStreamBeginCapture)(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    if (graph) return cudaErrorStreamCaptureUnsupported;
    return captured = stream, give(&graph);
}
F(cudaStreamEndCapture)(cudaStream_t stream, cudaGraph_t* out) { return *out = stub_graph(stream), graph = NULL, 0; }
F(cudaGraphInstantiate)(cudaGraphExec_t* out, cudaGraph_t from, unsigned long long flags) {
    return *out = (cudaGraphExec_t)from, 0;
}
F(cudaGraphLaunch)(cudaGraphExec_t launched, cudaStream_t stream) { return replay ? replay((cudaGraph_t)launched) : 0; }
F(cudaEventCreate)(cudaEvent_t* out) { return (*out = calloc(1, sizeof(struct timespec))) ? 0 : cudaErrorMemoryAllocation; }
F(cudaEventCreateWithFlags)(cudaEvent_t* out, unsigned flags) { return cudaEventCreate(out); }
F(cudaEventRecord)(cudaEvent_t event, cudaStream_t stream) { return clock_gettime(CLOCK_MONOTONIC, (void*)event), 0; }
F(cudaEventElapsedTime)(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    const struct timespec *a = (void*)from, *b = (void*)to;
    return *milliseconds = (b->tv_sec - a->tv_sec) * 1e3 + (b->tv_nsec - a->tv_nsec) / 1e6, 0;
}
F(cudaEventDestroy)(cudaEvent_t event) { return free(event), 0; }
F(cudaIpcGetMemHandle)(cudaIpcMemHandle_t* out, void* p) { return clear(out, sizeof *out); }
F(cudaIpcGetEventHandle)(cudaIpcEventHandle_t* out, cudaEvent_t event) { return clear(out, sizeof *out); }
F(cudaIpcOpenMemHandle)(void** out, cudaIpcMemHandle_t handle, unsigned flags) { return allocate(out, 512); }
F(cudaIpcOpenEventHandle)(cudaEvent_t* out, cudaIpcEventHandle_t handle) { return cudaEventCreate(out); }
F(cudaCreateTextureObject)(cudaTextureObject_t* out, const struct cudaResourceDesc* r, const struct cudaTextureDesc* t,
                           const struct cudaResourceViewDesc* v) { return give(out); }
F(cudaCreateSurfaceObject)(cudaSurfaceObject_t* out, const struct cudaResourceDesc* r) { return give(out); }
F(cudaGetChannelDesc)(struct cudaChannelFormatDesc* out, cudaArray_const_t array) { return clear(out, sizeof *out); }
F(cudaGetTextureObjectResourceDesc)(struct cudaResourceDesc* out, cudaTextureObject_t t) { return clear(out, sizeof *out); }
F(cudaGetTextureObjectTextureDesc)(struct cudaTextureDesc* out, cudaTextureObject_t t) { return clear(out, sizeof *out); }
const char* cudaGetErrorName(cudaError_t error) { return "cudaErrorStub"; }
const char* cudaGetErrorString(cudaError_t error) { return "error of the stub"; }
