/* A CUDA driver without a device: what Triton asks of libcuda.so.1, answered with success. Kernels
   are loaded under a number each, and launches are counted and handed to `noted` instead of run. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef int Result;

/* As in cuda.h. */
typedef struct {
  unsigned grid[3], block[3], shared;
  void *stream, *attributes;
  unsigned num_attributes;
} LaunchConfig;

typedef void (*Noted)(uint64_t function, const unsigned *grid, void **parameters);

static Noted noted = NULL;
static uint64_t functions = 0;
static uint64_t launches = 0;

void stub_note(Noted function) { noted = function; }
uint64_t stub_launches(void) { return launches; }

Result cuInit(unsigned flags) { return 0; }
Result cuDriverGetVersion(int *version) { return *version = 13000, 0; }
Result cuDeviceGetCount(int *count) { return *count = 1, 0; }
Result cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }
Result cuCtxGetCurrent(void **context) { return *context = &functions, 0; }
Result cuCtxSetCurrent(void *context) { return 0; }
Result cuCtxGetDevice(int *device) { return *device = 0, 0; }
Result cuCtxGetLimit(size_t *size, int limit) { return *size = 0, 0; }
Result cuCtxSetLimit(int limit, size_t size) { return 0; }
Result cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &functions, 0; }
Result cuModuleLoadData(void **module, const void *image) { return *module = &functions, 0; }
Result cuModuleUnload(void *module) { return 0; }
Result cuStreamIsCapturing(void *stream, int *status) { return *status = 0, 0; }
Result cuFuncSetAttribute(void *function, int attribute, int value) { return 0; }
Result cuFuncSetCacheConfig(void *function, int config) { return 0; }
Result cuOccupancyMaxActiveClusters(int *count, void *function, void *config) { return *count = 1, 0; }
Result cuTensorMapEncodeTiled(void) { return 0; }
Result cuGetErrorString(int code, const char **text) { return *text = "of the stub", 0; }

/* Compute capability 9.0, warps of 32, 228 KB of shared memory, 132 multiprocessors. */
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75   ? 9
           : attribute == 76 ? 0
           : attribute == 10 ? 32
           : attribute == 16 ? 132
                             : 232448;
  return 0;
}

/* At most 1024 threads; whatever else a kernel takes is none. */
Result cuFuncGetAttribute(int *value, int attribute, void *function) {
  return *value = attribute == 0 ? 1024 : 0, 0;
}

Result cuModuleGetFunction(void **function, void *module, const char *name) {
  return *function = (void *)(uintptr_t)++functions, 0;
}

Result cuPointerGetAttribute(void *value, int attribute, uint64_t pointer) {
  memcpy(value, &pointer, sizeof pointer);
  return 0;
}

Result cuLaunchKernelEx(const LaunchConfig *config, void *function, void **parameters, void **extra) {
  ++launches;
  if (noted != NULL)
    noted((uint64_t)(uintptr_t)function, config->grid, parameters);
  return 0;
}
