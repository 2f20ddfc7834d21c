/* base/machine_gpu.c - owns the look at NVIDIA GPUs through the driver library, if the machine has one.
 * SPDX-License-Identifier: Apache-2.0
 * The binary links nothing of CUDA: libcuda.so.1 is opened by name, asked, and left open (its threads do not
 * survive being closed). Refuses to make a context: that would take GPU memory for a look. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/machine_part.h"
#include "base/num.h"

/* The driver API's C types, as far as they are used here. */
typedef int cuda_result;
typedef int cuda_device;
typedef struct cuda_api {
    cuda_result (*init)(unsigned flags);
    cuda_result (*driver_version)(int *out);
    cuda_result (*count)(int *out);
    cuda_result (*get)(cuda_device *out, int ordinal);
    cuda_result (*name)(char *out, int size, cuda_device d);
    cuda_result (*memory)(size_t *out, cuda_device d);
    cuda_result (*attribute)(int *out, int which, cuda_device d);
    cuda_result (*error_name)(cuda_result r, const char **out);
} cuda_api;

enum { CUDA_CAPABILITY_MAJOR = 75, CUDA_CAPABILITY_MINOR = 76 };

/* A data pointer to a function pointer: POSIX promises it, C does not, so the bytes are copied. */
static bool load(void *lib, const char *symbol, void *slot) {
    void *p = dlsym(lib, symbol);
    memcpy(slot, &p, sizeof p);
    return p != NULL;
}

static bool load_all(void *lib, cuda_api *api) {
    return load(lib, "cuInit", &api->init) && load(lib, "cuDriverGetVersion", &api->driver_version) &&
           load(lib, "cuDeviceGetCount", &api->count) && load(lib, "cuDeviceGet", &api->get) &&
           load(lib, "cuDeviceGetName", &api->name) && load(lib, "cuDeviceTotalMem_v2", &api->memory) &&
           load(lib, "cuDeviceGetAttribute", &api->attribute) && load(lib, "cuGetErrorName", &api->error_name);
}

static int count_cards(void) {
    DIR *dir = opendir("/sys/bus/pci/devices");
    if (dir == NULL) return 0;
    int n = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char vendor[16], class[16];
        if (e->d_name[0] == '.') continue;
        fh_machine_read_text(vendor, sizeof vendor, "/sys/bus/pci/devices/%.64s/vendor", e->d_name);
        fh_machine_read_text(class, sizeof class, "/sys/bus/pci/devices/%.64s/class", e->d_name);
        n += strncmp(vendor, "0x10de", 6) == 0 && strncmp(class, "0x03", 4) == 0;
    }
    closedir(dir);
    return n;
}

static void ask(const cuda_api *api, fh_machine_gpus *out) {
    const char *what = "cuInit";
    cuda_result r = api->init(0);
    if (api->driver_version(&out->driver_version) != 0) out->driver_version = 0;
    if (r == 0) {
        what = "cuDeviceGetCount";
        r = api->count(&out->n_seen);
    }
    for (int i = 0; r == 0 && i < FH_MIN(out->n_seen, FH_MACHINE_MAX_GPUS); i++) {
        fh_machine_gpu *g = &out->gpu[i];
        cuda_device d = 0;
        size_t bytes = 0;
        what = "the description of a device";
        r = api->get(&d, i);
        if (r == 0) r = api->name(g->name, (int)sizeof g->name, d);
        if (r == 0) r = api->memory(&bytes, d);
        if (r == 0) r = api->attribute(&g->major, CUDA_CAPABILITY_MAJOR, d);
        if (r == 0) r = api->attribute(&g->minor, CUDA_CAPABILITY_MINOR, d);
        if (r != 0) break;
        g->name[sizeof g->name - 1] = 0;
        g->memory_bytes = bytes;
        out->n++;
    }
    if (r != 0) {
        const char *name = NULL;
        if (api->error_name(r, &name) != 0 || name == NULL) name = "unknown error";
        snprintf(out->problem, sizeof out->problem, "%s fails with %s (%d)", what, name, r);
    } else if (out->n_seen == 0) {
        snprintf(out->problem, sizeof out->problem, "the driver sees no device");
    }
}

void fh_machine_read_gpus(fh_machine_gpus *out) {
    memset(out, 0, sizeof *out);
    out->nvidia_cards = count_cards();
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    cuda_api api;
    if (lib == NULL) {
        if (out->nvidia_cards > 0) {
            snprintf(out->problem, sizeof out->problem, "libcuda.so.1 is not installed");
        }
        return;
    }
    out->driver_loads = true;
    if (load_all(lib, &api)) {
        ask(&api, out);
    } else {
        snprintf(out->problem, sizeof out->problem, "libcuda.so.1 lacks functions that are needed");
    }
}
