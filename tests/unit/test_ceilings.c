/* tests/unit/test_ceilings.c - kernel/peak, evaluate/ceilings, evaluate/checkup and base/machine.
 * SPDX-License-Identifier: Apache-2.0
 * Each peak loop that this machine grants is compared with the same sums in plain C, element by element. */
#include <unistd.h>

#include "base/fault.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/num.h"
#include "evaluate/ceilings.h"
#include "evaluate/checkup.h"
#include "kernel/peak.h"
#include "test.h"

/* Whole numbers small enough that every sum is exact in every type. */
static int value_a(int i) { return (i * 7 + i / 16 + 3) & 7; /* 0..7: unsigned for some loops */ }
static int value_b(int i) { return ((i * 5 + i / 16 + 1) & 15) - 8; }

static void put(uint8_t *at, fh_peak_kind kind, int i, int v) {
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t half = (uint16_t)(bits >> 16);
    if (kind == FH_PEAK_F32) memcpy(at + 4 * i, &f, 4);
    if (kind == FH_PEAK_BF16) memcpy(at + 2 * i, &half, 2);
    if (kind == FH_PEAK_INT8) at[i] = (uint8_t)v;
}

static int product(const fh_peak *p, int row, int col) {
    int sum = 0;
    for (int k = 0; k < p->dot; k++) {
        int a = p->rows ? row * p->dot + k : col * p->dot + k;
        int b = p->rows ? (k / p->group * p->cols + col) * p->group + k % p->group : a;
        sum += value_a(a) * value_b(b);
    }
    return sum;
}

static void check_peak(const fh_peak *p) {
    static fh_peak_block x;
    enum { ITERATIONS = 5 };
    int element = p->kind == FH_PEAK_F32 ? 4 : p->kind == FH_PEAK_BF16 ? 2 : 1;
    int rows = FH_MAX(p->rows, 1), n_sum = rows * p->cols;
    CHECK(n_sum * p->n_acc <= FH_PEAK_MAX_SUMS);
    for (int i = 0; i < FH_PEAK_OPERAND_BYTES / element; i++) {
        put(x.a, p->kind, i, value_a(i));
        put(x.b, p->kind, i, value_b(i));
    }
    for (int i = 0; i < FH_PEAK_MAX_SUMS; i++) {
        if (p->kind == FH_PEAK_INT8) x.sum.i[i] = i - 50;
        else x.sum.f[i] = (float)(i - 50);
    }
    p->compute(&x, ITERATIONS);
    for (int i = 0; i < FH_PEAK_MAX_SUMS; i++) {
        int want = i - 50;
        if (i < n_sum * p->n_acc) want += ITERATIONS * product(p, i % n_sum / p->cols, i % p->cols);
        int got = p->kind == FH_PEAK_INT8 ? x.sum.i[i] : (int)x.sum.f[i];
        if (got != want) fh_test_fail(__FILE__, __LINE__, "%s: sum %d is %d, expected %d", p->name, i, got, want);
    }
}

static uint64_t read_plainly(const uint8_t *p, size_t n) {
    uint64_t all = 0;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        for (size_t k = 0; k < 8; k++) word |= (uint64_t)p[i + k] << (8 * k);
        all ^= word;
    }
    return all;
}

static void check_read(const fh_peak *p) {
    static _Alignas(64) uint8_t buffer[8 * FH_PEAK_READ_STEP];
    for (size_t i = 0; i < sizeof buffer; i++) buffer[i] = (uint8_t)(i * 131 + (i >> 8) * 17 + 7);
    for (size_t n = 0; n <= sizeof buffer; n += FH_PEAK_READ_STEP) {
        CHECK_U64(p->read(buffer, n), read_plainly(buffer, n));
    }
    /* every byte counts */
    uint64_t whole = p->read(buffer, sizeof buffer);
    for (size_t i = 0; i < sizeof buffer; i += 61) {
        buffer[i] ^= 0x40;
        CHECK(p->read(buffer, sizeof buffer) != whole);
        buffer[i] ^= 0x40;
    }
}

TEST(ceilings, peak_loops_compute_what_they_claim) {
    size_t n = 0;
    int checked[FH_PEAK_KINDS] = {0};
    const fh_peak *table = fh_peak_table(&n);
    for (size_t i = 0; i < n; i++) {
        if (!fh_cpu_has_level(table[i].level)) continue;
        if (table[i].kind == FH_PEAK_READ) check_read(&table[i]);
        else check_peak(&table[i]);
        checked[table[i].kind]++;
    }
    CHECK(checked[FH_PEAK_READ] > 0 && checked[FH_PEAK_F32] > 0 && checked[FH_PEAK_INT8] > 0);
}

TEST(ceilings, operations_are_counted) {
    size_t n = 0;
    const fh_peak *table = fh_peak_table(&n);
    for (size_t i = 0; i < n; i++) {
        const fh_peak *p = &table[i];
        if (p->kind == FH_PEAK_READ) {
            CHECK(p->read != NULL && p->compute == NULL);
            continue;
        }
        CHECK(p->compute != NULL);
        uint64_t products = 0;
        for (int acc = 0; acc < p->n_acc; acc++) {
            for (int s = 0; s < FH_MAX(p->rows, 1) * p->cols; s++) products += (uint64_t)p->dot;
        }
        CHECK_U64(fh_peak_ops(p), 2 * products);
    }
}

static bool bf16_is_granted(void) {
    size_t n = 0;
    const fh_peak *table = fh_peak_table(&n);
    for (size_t i = 0; i < n; i++) {
        if (table[i].kind == FH_PEAK_BF16 && fh_cpu_has_level(table[i].level)) return true;
    }
    return false;
}

static const fh_ceilings_options QUICK = {.read_bytes = 3 << 20, .compute_ms = 2, .read_ms = 2, .touch_ms = 100};

static void check_measured(int n_worker) {
    fh_machine m;
    fh_pool *pool = NULL;
    fh_err err = {0};
    fh_ceilings c;
    fh_pool_options opt = {.n_worker = n_worker};
    fh_machine_read(&m);
    CHECK_OK(fh_pool_new(&pool, &opt, &err), err);
    fh_status status = fh_ceilings_measure(&c, pool, &m, &QUICK, &err);
    fh_pool_free(pool);
    CHECK_OK(status, err);
    CHECK_U64(c.n_worker, n_worker);
    CHECK(c.read_bytes > 0 && c.read_bytes <= 4 << 20 && c.took_ns > 0);
    for (int k = 0; k < FH_PEAK_KINDS; k++) {
        bool wanted = k != FH_PEAK_BF16 || bf16_is_granted();
        CHECK((c.kind[k].one > 0) == wanted && (c.kind[k].all > 0) == wanted);
        CHECK((c.kind[k].one_by[0] != 0) == wanted && (c.kind[k].all_by[0] != 0) == wanted);
        /* no machine reads or computes 10^17 a second on its cores */
        CHECK(c.kind[k].all < 1e17);
    }
}

TEST(ceilings, measures) {
    check_measured(1);
    check_measured(2);
    check_measured(5);
}

TEST(ceilings, failures_are_reported) {
    fh_machine m;
    fh_pool *pool = NULL;
    fh_err err = {0};
    fh_pool_options opt = {.n_worker = 2};
    fh_machine_read(&m);
    CHECK_OK(fh_pool_new(&pool, &opt, &err), err);
    static const fh_fault_kind KINDS[] = {FH_FAULT_ALLOC, FH_FAULT_MMAP};
    for (size_t k = 0; k < FH_COUNT(KINDS); k++) {
        uint64_t nth = 1;
        for (;; nth++) {
            fh_ceilings c = {.n_worker = -7};
            fh_fault_arm(KINDS[k], nth, false);
            fh_status status = fh_ceilings_measure(&c, pool, &m, &QUICK, &err);
            fh_fault_disarm();
            if (status == FH_OK || nth > 50) break;
            CHECK_STATUS(status, FH_ERR_MEMORY);
            CHECK(c.n_worker == -7);
        }
        CHECK(nth > 1 && nth < 50);
    }
    fh_pool_free(pool);
}

/* ---- machine ---- */

TEST(machine, facts_are_plausible) {
    fh_machine m;
    fh_machine_read(&m);
    CHECK(m.kernel[0] != 0 && m.arch[0] != 0);
    CHECK(m.cpu.logical >= 1 && m.cpu.physical >= 1 && m.cpu.physical <= sysconf(_SC_NPROCESSORS_CONF));
    CHECK(m.cpu.allowed >= 1 && m.cpu.usable >= 1 && m.cpu.usable <= m.cpu.allowed);
    uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES), page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (m.memory.total_bytes != 0) {
        CHECK(m.memory.total_bytes >= pages * page / 2 && m.memory.total_bytes / 2 <= pages * page);
        CHECK(m.memory.available_bytes <= m.memory.total_bytes);
        CHECK(m.memory.usable_bytes <= m.memory.available_bytes);
    }
    CHECK(m.sandbox.landlock_abi >= 0 && m.sandbox.landlock_abi < 1000);
}

TEST(machine, cpus_are_listed_once) {
    int cpu[FH_MACHINE_MAX_CPUS];
    int n = fh_machine_list_cpus(cpu, FH_MACHINE_MAX_CPUS);
    CHECK(n >= 1 && n <= FH_MACHINE_MAX_CPUS);
    for (int i = 0; i < n; i++) {
        CHECK(cpu[i] >= 0 && cpu[i] < FH_MACHINE_MAX_CPUS);
        for (int k = 0; k < i; k++) CHECK(cpu[k] != cpu[i]);
    }
    int first = -1;
    CHECK_U64(fh_machine_list_cpus(&first, 1), 1);
    CHECK(first == cpu[0]);
}

/* ---- checkup ---- */

static fh_machine healthy(void) {
    fh_machine m;
    memset(&m, 0, sizeof m);
    m.cpu = (fh_machine_cpus){.logical = 8,
                              .physical = 4,
                              .sockets = 1,
                              .numa_nodes = 1,
                              .allowed = 8,
                              .usable = 8,
                              .l3_bytes = 32 << 20,
                              .l3_instances = 1};
    m.memory = (fh_machine_memory){.total_bytes = UINT64_C(32) << 30,
                                   .available_bytes = UINT64_C(20) << 30,
                                   .usable_bytes = UINT64_C(20) << 30,
                                   .thp = FH_THP_MADVISE,
                                   .huge_page_bytes = 2 << 20};
    m.sandbox = (fh_machine_sandbox){.landlock_abi = 4, .seccomp_filters = true};
    return m;
}

static const fh_checkup_item *find(const fh_machine *m, const fh_checkup_facts *more, const char *id) {
    static fh_checkup c;
    fh_checkup_facts facts = more ? *more : (fh_checkup_facts){.level = FH_CPU_LEVEL_AVX2};
    facts.machine = m;
    fh_checkup_find(&c, &facts);
    for (size_t i = 0; i < c.n; i++) {
        CHECK(c.item[i].what[0] != 0 && c.item[i].advice[0] != 0);
        if (strcmp(c.item[i].id, id) == 0) return &c.item[i];
    }
    if (id[0] == 0 && c.n > 0) return &c.item[0];
    return NULL;
}

TEST(checkup, a_healthy_machine_has_no_findings) {
    fh_machine m = healthy();
    const fh_checkup_item *item = find(&m, NULL, "");
    if (item != NULL) fh_test_fail(__FILE__, __LINE__, "found '%s'", item->what);
}

TEST(checkup, each_rule_fires) {
    fh_machine m = healthy();
    m.memory.thp = FH_THP_NEVER;
    CHECK(find(&m, NULL, "huge-pages") != NULL);
    m = healthy();
    m.memory.usable_bytes = UINT64_C(1) << 30;
    CHECK(find(&m, NULL, "memory-low") != NULL);
    m = healthy();
    m.memory.group_limit_bytes = UINT64_C(8) << 30;
    const fh_checkup_item *limit = find(&m, NULL, "memory-limit");
    CHECK(limit != NULL && strstr(limit->what, "8.0 GiB") != NULL && strstr(limit->what, "32.0 GiB") != NULL);
    m = healthy();
    m.memory.huge_total = m.memory.huge_free = 4096;
    CHECK(find(&m, NULL, "huge-pages-reserved") != NULL);
    m = healthy();
    m.cpu.quota = 1.5;
    m.cpu.usable = 2;
    CHECK(find(&m, NULL, "cpu-quota") != NULL && find(&m, NULL, "cpu-affinity") == NULL);
    m = healthy();
    m.cpu.allowed = m.cpu.usable = 2;
    CHECK(find(&m, NULL, "cpu-affinity") != NULL);
    m = healthy();
    m.sandbox = (fh_machine_sandbox){0};
    CHECK(find(&m, NULL, "landlock") != NULL && find(&m, NULL, "seccomp") != NULL);
    m = healthy();
    fh_checkup_facts slow = {.level = FH_CPU_LEVEL_REF};
    CHECK(find(&m, &slow, "cpu-level") != NULL);
    fh_ceilings c = {.read_near_cache = true};
    fh_checkup_facts near = {.level = FH_CPU_LEVEL_AVX2, .ceilings = &c};
    CHECK(find(&m, &near, "read-from-cache") != NULL);
}

TEST(checkup, features_that_trap_are_named) {
    fh_machine m = healthy();
    fh_checkup_facts f = {.level = FH_CPU_LEVEL_AVX512,
                          .n_unproven = 3,
                          .unproven = {{"avx512-fp16", "its instructions trap with SIGILL"},
                                       {"amx-tile", "the first tile load traps with SIGILL"},
                                       {"amx-int8", "the first tile load traps with SIGILL"}}};
    m.cpu.virtual = true;
    const fh_checkup_item *amx = find(&m, &f, "amx");
    CHECK(amx != NULL && strstr(amx->what, "the first tile load traps with SIGILL") != NULL);
    CHECK(strstr(amx->advice, "host") != NULL);
    const fh_checkup_item *other = find(&m, &f, "cpu-features");
    CHECK(other != NULL && strstr(other->what, "avx512-fp16") != NULL && strstr(other->what, "1 announced") != NULL);
}

TEST(checkup, gpus_without_a_driver_are_named) {
    fh_machine m = healthy();
    fh_machine_gpus none = {0}, card = {.nvidia_cards = 1, .problem = "libcuda.so.1 is not installed"};
    fh_machine_gpus works = {.n = 1, .n_seen = 1, .nvidia_cards = 1, .driver_loads = true};
    fh_checkup_facts f = {.level = FH_CPU_LEVEL_AVX2, .gpus = &none};
    CHECK(find(&m, &f, "gpu") == NULL);
    f.gpus = &works;
    CHECK(find(&m, &f, "gpu") == NULL);
    f.gpus = &card;
    const fh_checkup_item *item = find(&m, &f, "gpu");
    CHECK(item != NULL && item->weight == FH_CHECKUP_WRONG && strstr(item->advice, "driver") != NULL);
}
