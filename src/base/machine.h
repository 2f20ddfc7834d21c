/* base/machine.h - facts about the machine and what this process may use of it. Reads, never changes.
 * SPDX-License-Identifier: Apache-2.0
 * Nothing here can fail: what cannot be found out is 0, -1 or "". Numbers come from /proc, /sys and system
 * calls; limits of control groups (version 1 and 2) are taken over the whole path up to the root. */
#ifndef FH_BASE_MACHINE_H
#define FH_BASE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FH_MACHINE_MAX_CPUS 1024

typedef struct fh_machine_cpus {
    char model[128]; /* "AMD EPYC 9655", or "" */
    bool virtual;    /* the processor says that it runs under a hypervisor */
    int logical;     /* online */
    int physical;    /* cores, counted by their thread siblings */
    int sockets, numa_nodes;
    int allowed;                            /* in this process's affinity mask */
    double quota;                           /* CPUs that a control group grants; 0 = no limit */
    int usable;                             /* allowed, cut to the quota rounded up; at least 1 */
    uint64_t l1d_bytes, l2_bytes, l3_bytes; /* one instance each; 0 = none or unknown */
    int l3_instances;
} fh_machine_cpus;

typedef enum fh_machine_thp { FH_THP_UNKNOWN, FH_THP_ALWAYS, FH_THP_MADVISE, FH_THP_NEVER } fh_machine_thp;

typedef struct fh_machine_memory {
    uint64_t total_bytes, available_bytes, swap_bytes;
    uint64_t group_limit_bytes;  /* control group; 0 = none below the total */
    uint64_t usable_bytes;       /* available, cut to what the group has left */
    uint64_t locked_limit_bytes; /* RLIMIT_MEMLOCK; UINT64_MAX = no limit */
    fh_machine_thp thp;
    uint64_t huge_page_bytes, huge_total, huge_free; /* reserved pages of the default size */
} fh_machine_memory;

typedef struct fh_machine_sandbox {
    int landlock_abi;     /* 0 = none */
    bool seccomp_filters; /* the kernel can install them */
    int seccomp_mode;     /* of this process: 0 off, 1 strict, 2 filters; -1 unknown */
    bool no_new_privs;
} fh_machine_sandbox;

typedef struct fh_machine {
    char system[128]; /* "Debian GNU/Linux 12 (bookworm)" */
    char kernel[128]; /* "Linux 6.1.0-18-amd64" */
    char arch[32];    /* "x86_64" */
    fh_machine_cpus cpu;
    fh_machine_memory memory;
    fh_machine_sandbox sandbox;
} fh_machine;

void fh_machine_read(fh_machine *out);

/* The CPUs that this process may use, one of each physical core first, then their siblings.
 * Returns how many were written; at least 1. The mask is the one at the first call of the process. */
int fh_machine_list_cpus(int *out, int max);
/* fh_machine_cpus.usable alone, without reading the rest. */
int fh_machine_usable_cpus(void);

#define FH_MACHINE_MAX_GPUS 16
typedef struct fh_machine_gpu {
    char name[128];
    uint64_t memory_bytes;
    int major, minor; /* compute capability */
} fh_machine_gpu;

typedef struct fh_machine_gpus {
    int n, n_seen;      /* described below; what the driver counts */
    int nvidia_cards;   /* display controllers of that vendor on the PCI bus */
    bool driver_loads;  /* libcuda.so.1 was found and opened */
    int driver_version; /* 12040 = CUDA 12.4; 0 unknown */
    char problem[200];  /* why n is 0 though a driver or a card is there; else "" */
    fh_machine_gpu gpu[FH_MACHINE_MAX_GPUS];
} fh_machine_gpus;

/* Opens the NVIDIA driver library if the machine has one; starting it may take a second. */
void fh_machine_read_gpus(fh_machine_gpus *out);

#endif
