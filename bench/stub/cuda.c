// libcuda.so.1: a CUDA driver that does nothing. Handles are numbers, a launch reads a parameter and is forgotten; unless
// device.py is asked, which runs kernels on the CPU.
#include <stddef.h>
#include <stdint.h>

typedef void* Handle;
static uintptr_t next = 0x100000;
static __thread Handle context;

static int give(Handle* out) {
    *out = (Handle)__sync_fetch_and_add(&next, 16);
    return 0;
}

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { return *version = 12090, 0; }
int cuDeviceGetCount(int* count) { return *count = 1, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, 0; }
int cuGetErrorName(int error, const char** name) { return *name = "CUDA_STUB", 0; }
int cuGetErrorString(int error, const char** text) { return *text = "error of the stub", 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxGetCurrent(Handle* current) { return context || !give(&context) ? (*current = context, 0) : 1; }
int cuCtxSetCurrent(Handle current) { return context = current, 0; }
int cuCtxCreate_v2(Handle* created, unsigned flags, int device) { return give(&context), *created = context, 0; }
int cuCtxDestroy_v2(Handle destroyed) { return 0; }
int cuCtxGetDevice(int* device) { return *device = 0, 0; }
int cuLinkCreate_v2(unsigned count, Handle options, Handle values, Handle* state) { return give(state); }
int cuLinkAddData_v2(void) { return 0; }
int cuLinkAddFile_v2(void) { return 0; }
int cuLinkComplete(Handle state, Handle* image, size_t* size) {
    static char nothing[8];
    return *image = nothing, *size = sizeof nothing, 0;
}
int cuLinkDestroy(Handle state) { return 0; }
int cuModuleLoad(Handle* module, const char* path) { return give(module); }
static int (*load)(Handle module, const char* image);
static Handle (*get)(Handle module, const char* name);
static int (*launch)(Handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                     unsigned shared, Handle stream, void** parameters);
void stub_ask(void* on_load, void* on_get, void* on_launch) { load = on_load, get = on_get, launch = on_launch; }
int cuModuleLoadData(Handle* module, const void* image) { return give(module), load ? load(*module, image) : 0; }
int cuModuleUnload(Handle module) { return 0; }
int cuModuleGetFunction(Handle* function, Handle module, const char* name) {
    return get ? *function = get(module, name), 0 : give(function);
}
int cuModuleGetGlobal_v2(Handle* address, size_t* size, Handle module, const char* name) { return *size = 8, give(address); }
int cuLaunchKernel(Handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, Handle stream, void** parameters, void** extra) {
    if (launch) return launch(function, gx, gy, gz, bx, by, bz, shared, stream, parameters);
    if (parameters) (void)*(volatile char*)parameters[0];
    return gx && gy && gz && bx && by && bz ? 0 : 1;
}
int cuLaunchCooperativeKernel(void) { return 0; }
int cuFuncGetAttribute(int* value, int attribute, Handle function) { return *value = attribute == 0 ? 1024 : 0, 0; }
int cuFuncSetAttribute(void) { return 0; }
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Handle function, int size, size_t shared) { return *blocks = 2, 0; }
int cuOccupancyMaxPotentialBlockSize(int* grid, int* block, Handle function, Handle callback, size_t shared, int limit) {
    return *grid = 264, *block = 256, 0;
}
int cuStreamGetCtx(Handle stream, Handle* current) { return cuCtxGetCurrent(current); }
int cuGetExportTable(const void** table, const void* id) { return *table = NULL, 500; }  // NVRTC asks, and goes without
