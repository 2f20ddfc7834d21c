/* base/cpu_probe_amx.c - proves AMX tiles in a child process, then asks for them in this one.
 * SPDX-License-Identifier: Apache-2.0
 * A child, because on some virtual machines tiles are announced, the kernel grants the permission, and the
 * first tile load ends the process: a fault there may be one that no handler can survive. This process asks
 * for the permission only after the child came back with the right numbers. Instructions are written in
 * assembly, so that the file stays baseline x86-64. */
#include "base/cpu_probe.h"

#if defined(__x86_64__)

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_REQUEST_PERMISSION = 0x1023, XFEATURE_TILE_DATA = 18 };
enum { TILE_ROWS = 16, TILE_ROW_BYTES = 64 };

typedef enum amx_stage {
    AMX_START,
    AMX_PERMISSION,
    AMX_CONFIG,
    AMX_LOAD,
    AMX_INT8_PRODUCT,
    AMX_BF16_PRODUCT,
    AMX_STORE,
    AMX_DONE
} amx_stage;

static const char *const STAGE[] = {
    "starting the probe",    "asking for permission", "loading the tile configuration", "the first tile load",
    "the int8 tile product", "the bf16 tile product", "the first tile store",           "the end of the tile probe",
};

/* Palette 1 of the tile configuration: 64 bytes. */
typedef struct amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_config;
_Static_assert(sizeof(amx_config) == 64, "what ldtilecfg reads");

typedef struct amx_tiles {
    uint8_t a[TILE_ROWS * TILE_ROW_BYTES], b[TILE_ROWS * TILE_ROW_BYTES];
    uint32_t c[TILE_ROWS * TILE_ROWS]; /* bits of int32 or f32 */
} amx_tiles;

static long ask_permission(void) { return syscall(SYS_arch_prctl, ARCH_REQUEST_PERMISSION, XFEATURE_TILE_DATA); }

static int value_a(int m, int k) { return ((m * 3 + k * 7) & 15) - 5; }
static int value_b(int k, int n) { return ((k * 5 + n * 11) & 15) - 9; }

static uint16_t bf16_of(int v) {
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* a: [16, 64] int8; b: [64, 16] in groups of four rows */
static void fill_int8(amx_tiles *t) {
    for (int m = 0; m < TILE_ROWS; m++) {
        for (int k = 0; k < 64; k++) {
            t->a[m * 64 + k] = (uint8_t)value_a(m, k);
            t->b[k / 4 * 64 + m * 4 + k % 4] = (uint8_t)value_b(k, m);
        }
    }
    memset(t->c, 0, sizeof t->c);
}

/* a: [16, 32] bf16; b: [32, 16] in groups of two rows */
static void fill_bf16(amx_tiles *t) {
    for (int m = 0; m < TILE_ROWS; m++) {
        for (int k = 0; k < 32; k++) {
            uint16_t a = bf16_of(value_a(m, k)), b = bf16_of(value_b(k, m));
            memcpy(t->a + m * 64 + k * 2, &a, 2);
            memcpy(t->b + k / 2 * 64 + m * 4 + k % 2 * 2, &b, 2);
        }
    }
    memset(t->c, 0, sizeof t->c);
}

static bool right(const amx_tiles *t, int depth, bool is_float) {
    for (int m = 0; m < TILE_ROWS; m++) {
        for (int n = 0; n < TILE_ROWS; n++) {
            int32_t want = 0;
            for (int k = 0; k < depth; k++) want += value_a(m, k) * value_b(k, n);
            float f = (float)want;
            uint32_t bits = (uint32_t)want;
            if (is_float) memcpy(&bits, &f, sizeof bits);
            if (t->c[m * TILE_ROWS + n] != bits) return false;
        }
    }
    return true;
}

static void load_tiles(const amx_tiles *t) {
    __asm__ volatile("tileloadd (%0,%3,1), %%tmm1\n\t"
                     "tileloadd (%1,%3,1), %%tmm2\n\t"
                     "tileloadd (%2,%3,1), %%tmm0"
                     :
                     : "r"(t->a), "r"(t->b), "r"(t->c), "r"((int64_t)TILE_ROW_BYTES)
                     : "memory");
}

static void store_tile(amx_tiles *t) {
    __asm__ volatile("tilestored %%tmm0, (%0,%1,1)" : : "r"(t->c), "r"((int64_t)TILE_ROW_BYTES) : "memory");
}

/* Runs in the child: no allocation, no locks. */
static void probe_tiles(fh_cpu_child *child) {
    amx_config config;
    amx_tiles t;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 3; i++) {
        config.row_bytes[i] = TILE_ROW_BYTES;
        config.rows[i] = TILE_ROWS;
    }
    child->stage = AMX_PERMISSION;
    if (ask_permission() != 0) {
        child->code = errno;
        return;
    }
    child->stage = AMX_CONFIG;
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
    fill_int8(&t);
    child->stage = AMX_LOAD;
    load_tiles(&t);
    child->stage = AMX_INT8_PRODUCT;
    __asm__ volatile("tdpbssd %%tmm2, %%tmm1, %%tmm0" : : : "memory");
    child->stage = AMX_STORE;
    store_tile(&t);
    uint32_t proven = FH_CPU_BIT(FH_CPU_AMX_TILE);
    if (right(&t, 64, false)) proven |= FH_CPU_BIT(FH_CPU_AMX_INT8);
    fill_bf16(&t);
    child->stage = AMX_BF16_PRODUCT;
    load_tiles(&t);
    __asm__ volatile("tdpbf16ps %%tmm2, %%tmm1, %%tmm0" : : : "memory");
    store_tile(&t);
    if (right(&t, 32, true)) proven |= FH_CPU_BIT(FH_CPU_AMX_BF16);
    __asm__ volatile("tilerelease");
    child->stage = AMX_DONE;
    child->proven = proven;
}

static void say_all(fh_cpu_facts *facts, const char *text) {
    static const fh_cpu_feature TILES[] = {FH_CPU_AMX_TILE, FH_CPU_AMX_INT8, FH_CPU_AMX_BF16};
    for (int i = 0; i < 3; i++) {
        if (facts->announced & FH_CPU_BIT(TILES[i])) fh_cpu_probe_say(facts, TILES[i], "%s", text);
    }
}

void fh_cpu_arch_children(fh_cpu_facts *facts) {
    const uint32_t all = FH_CPU_BIT(FH_CPU_AMX_TILE) | FH_CPU_BIT(FH_CPU_AMX_INT8) | FH_CPU_BIT(FH_CPU_AMX_BF16);
    if (!(facts->announced & all)) return;
    fh_cpu_child child = {0};
    int sig = 0;
    char text[160];
    int code = fh_cpu_probe_forked(probe_tiles, &child, &sig);
    int stage = child.stage >= 0 && child.stage <= AMX_DONE ? child.stage : AMX_START;
    if (code != 0) {
        snprintf(text, sizeof text, "the probe needs a child process: %s", strerror(code));
    } else if (sig != 0) {
        snprintf(text, sizeof text, "%s traps with %s", STAGE[stage], fh_cpu_probe_signal(sig));
    } else if (stage != AMX_DONE) {
        snprintf(text, sizeof text, "the kernel refuses permission: %s", strerror(child.code));
    } else if (ask_permission() != 0) {
        snprintf(text, sizeof text, "it works in a child, but the kernel refuses it here: %s", strerror(errno));
    } else {
        facts->proven |= child.proven & facts->announced & all;
        snprintf(text, sizeof text, "its instructions run but give wrong numbers");
    }
    say_all(facts, text);
}
#endif
