/* evaluate/ceilings.c - owns the measuring of peaks: buffers, passes, clocks.
 * SPDX-License-Identifier: Apache-2.0
 * Invariants: (1) the time of a parallel pass runs from the first start to the last end over all workers;
 * (2) the read buffer is walked in a circle, so that what a pass reads was last touched a whole buffer ago;
 * (3) each worker reads the chunks that it wrote first, which is where its memory node is. The buffer comes from
 * mmap, not from base/mem.c: it wants huge pages, and nothing of it is ever handed out. */
#include "evaluate/ceilings.h"

#include <sys/mman.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"

#define MIB (UINT64_C(1) << 20)

enum { PAGE_BYTES = 4096, REPEATS = 4 };

typedef struct span_ns {
    uint64_t start, end;
    char apart[112]; /* neighbours write at the same time */
} span_ns;

/* One pass over all workers, or by the caller alone. */
typedef struct pass {
    fh_pool *pool;
    bool alone;
    span_ns *span; /* [n_worker] */
    const fh_peak *peak;
    /* compute */
    fh_peak_block *block; /* [n_worker] */
    uint64_t n_iter;
    /* read: chunk c belongs to worker c % n_worker; a row is one chunk of each */
    uint8_t *buffer;
    uint64_t chunk_bytes, n_row, first_row, rows, deadline_ns;
    uint64_t *touched;       /* [n_worker] rows */
    volatile uint64_t *sink; /* [n_worker] */
} pass;

static void compute_worker(void *ctx, int worker, int n_worker) {
    const pass *p = ctx;
    if (n_worker > 1) fh_pool_barrier(p->pool);
    p->span[worker].start = fh_clock_ns();
    p->peak->compute(&p->block[worker], p->n_iter);
    p->span[worker].end = fh_clock_ns();
}

static void read_chunk(const pass *p, uint64_t chunk, int worker) {
    p->sink[worker] ^= p->peak->read(p->buffer + chunk * p->chunk_bytes, p->chunk_bytes);
}

static void read_worker(void *ctx, int worker, int n_worker) {
    const pass *p = ctx;
    uint64_t team = (uint64_t)fh_pool_size(p->pool);
    if (n_worker > 1) fh_pool_barrier(p->pool);
    p->span[worker].start = fh_clock_ns();
    for (uint64_t i = 0; i < p->rows; i++) {
        uint64_t row = (p->first_row + i) % p->n_row;
        if (!p->alone) {
            read_chunk(p, row * team + (uint64_t)worker, worker);
            continue;
        }
        for (uint64_t k = 0; k < team; k++) read_chunk(p, row * team + k, worker);
    }
    p->span[worker].end = fh_clock_ns();
}

static void touch_worker(void *ctx, int worker, int n_worker) {
    const pass *p = ctx;
    uint64_t row = 0;
    for (; row < p->n_row; row++) {
        if (row > 0 && fh_clock_ns() > p->deadline_ns) break;
        uint64_t chunk = row * (uint64_t)n_worker + (uint64_t)worker;
        uint8_t *at = p->buffer + chunk * p->chunk_bytes;
        for (uint64_t i = 0; i < p->chunk_bytes; i += PAGE_BYTES) at[i] = (uint8_t)(1 + (i >> 12));
    }
    p->touched[worker] = row;
}

/* Seconds of one pass. */
static double run_pass(pass *p, fh_pool_fn *fn) {
    int n = p->alone ? 1 : fh_pool_size(p->pool);
    if (p->alone) {
        fn(p, 0, 1);
    } else {
        fh_pool_run(p->pool, fn, p);
    }
    uint64_t start = p->span[0].start, end = p->span[0].end;
    for (int i = 1; i < n; i++) {
        start = FH_MIN(start, p->span[i].start);
        end = FH_MAX(end, p->span[i].end);
    }
    return (double)FH_MAX(end - start, 1) * 1e-9;
}

static void take_best(fh_ceiling *c, bool alone, double rate, const char *by) {
    double *best = alone ? &c->one : &c->all;
    if (rate <= *best) return;
    *best = rate;
    *(alone ? &c->one_by : &c->all_by) = by;
}

/* ---- compute ---- */

/* Small whole numbers, so that no loop slows down on special values. */
static void fill_block(fh_peak_block *b, fh_peak_kind kind) {
    memset(b, 0, sizeof *b);
    if (kind == FH_PEAK_F32) {
        const float one = 1.0f;
        for (size_t i = 0; i < FH_PEAK_OPERAND_BYTES; i += 4) {
            memcpy(b->a + i, &one, 4);
            memcpy(b->b + i, &one, 4);
        }
    } else if (kind == FH_PEAK_BF16) {
        const uint16_t one = 0x3f80;
        for (size_t i = 0; i < FH_PEAK_OPERAND_BYTES; i += 2) {
            memcpy(b->a + i, &one, 2);
            memcpy(b->b + i, &one, 2);
        }
    } else {
        memset(b->a, 3, sizeof b->a);
        memset(b->b, 2, sizeof b->b);
    }
}

static void measure_compute(fh_ceilings *out, pass *p, const fh_peak *peak, uint32_t ms) {
    int n = fh_pool_size(p->pool);
    double want = (double)ms * 1e-3 / (REPEATS + 2); /* two thirds measure, the rest finds n_iter */
    p->peak = peak;
    for (int i = 0; i < n; i++) fill_block(&p->block[i], peak->kind);
    p->alone = true;
    double seconds = 0;
    for (p->n_iter = 1024; p->n_iter < UINT64_C(1) << 40; p->n_iter *= 2) {
        seconds = run_pass(p, compute_worker);
        if (seconds >= want / 2) break;
    }
    for (int alone = 1; alone >= 0; alone--) {
        p->alone = alone;
        int team = alone ? 1 : n;
        for (int r = 0; r < REPEATS; r++) {
            seconds = run_pass(p, compute_worker);
            double ops = (double)fh_peak_ops(peak) * (double)p->n_iter * team;
            take_best(&out->kind[peak->kind], alone, ops / seconds, peak->name);
        }
    }
}

/* ---- read ---- */

static uint64_t choose_bytes(const fh_machine *m, const fh_ceilings_options *o) {
    if (o->read_bytes != 0) return o->read_bytes;
    uint64_t caches = m->cpu.l3_bytes * (uint64_t)FH_MAX(m->cpu.l3_instances, 1);
    uint64_t want = FH_MIN(FH_MAX(256 * MIB, 4 * caches), 4096 * MIB);
    uint64_t spare = m->memory.usable_bytes / 8;
    return spare == 0 ? want : FH_MAX(FH_MIN(want, spare), 8 * MIB);
}

/* Lays the buffer out in rows of one chunk a worker, and makes the kernel back it. */
static fh_status make_buffer(pass *p, uint64_t bytes, uint32_t touch_ms, size_t *mapped, fh_err *err) {
    uint64_t n = (uint64_t)fh_pool_size(p->pool);
    uint64_t step = bytes / (4 * n) >= 2 * MIB ? 2 * MIB : PAGE_BYTES;
    p->chunk_bytes = FH_MIN(16 * MIB, bytes / (4 * n)) / step * step;
    p->chunk_bytes = FH_MAX(p->chunk_bytes, PAGE_BYTES);
    p->n_row = FH_MAX(bytes / (p->chunk_bytes * n), 1);
    *mapped = (size_t)(p->n_row * n * p->chunk_bytes);
    void *at = MAP_FAILED;
    if (!FH_FAULT(FH_FAULT_MMAP)) {
        at = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (at == MAP_FAILED) return fh_fail_memory(err, *mapped);
    p->buffer = at;
    (void)madvise(at, *mapped, MADV_HUGEPAGE); /* an address lookup less per 4 KiB; optional */
    p->deadline_ns = fh_clock_ns() + (uint64_t)touch_ms * 1000000;
    fh_pool_run(p->pool, touch_worker, p);
    for (uint64_t i = 0; i < n; i++) p->n_row = FH_MIN(p->n_row, p->touched[i]);
    return FH_OK;
}

static void read_passes(fh_ceilings *out, pass *p, uint32_t ms) {
    uint64_t team = (uint64_t)fh_pool_size(p->pool);
    p->rows = FH_MAX(p->n_row / 4, 1);
    p->first_row = 0;
    uint64_t end = fh_clock_ns() + (uint64_t)ms * 1000000;
    for (int r = 0; r < 2 || (r < 64 && fh_clock_ns() < end); r++) {
        double seconds = run_pass(p, read_worker);
        double bytes = (double)(p->rows * team * p->chunk_bytes);
        take_best(&out->kind[FH_PEAK_READ], p->alone, bytes / seconds, p->peak->name);
        p->first_row = (p->first_row + p->rows) % p->n_row;
    }
}

static fh_status measure_read(fh_ceilings *out, pass *p, const fh_machine *m, const fh_ceilings_options *o,
                              fh_err *err) {
    size_t mapped = 0, n_peak = 0;
    fh_status status = make_buffer(p, choose_bytes(m, o), o->touch_ms, &mapped, err);
    if (status != FH_OK) return status;
    /* The widest loads granted: rows are in ascending order. Memory does not care beyond that, but on some machines
     * for who asks ahead. */
    const fh_peak *table = fh_peak_table(&n_peak);
    fh_cpu_level widest = FH_CPU_LEVEL_REF;
    uint32_t n_loop = 0;
    for (size_t i = 0; i < n_peak; i++) {
        if (table[i].kind != FH_PEAK_READ || !fh_cpu_has_level(table[i].level)) continue;
        n_loop = table[i].level == widest ? n_loop + 1 : 1;
        widest = table[i].level;
    }
    for (size_t i = 0; i < n_peak; i++) {
        if (table[i].kind != FH_PEAK_READ || table[i].level != widest) continue;
        p->peak = &table[i];
        for (int alone = 0; alone < 2; alone++) {
            p->alone = alone;
            read_passes(out, p, o->read_ms / n_loop);
        }
    }
    out->read_bytes = p->n_row * p->chunk_bytes * (uint64_t)fh_pool_size(p->pool);
    uint64_t caches = m->cpu.l3_bytes * (uint64_t)FH_MAX(m->cpu.l3_instances, 1);
    out->read_near_cache = out->read_bytes < 2 * caches;
    munmap(p->buffer, mapped);
    return FH_OK;
}

/* Plain C is measured only where nothing better of its kind is granted. */
static bool worth_measuring(const fh_peak *peak, const fh_peak *table, size_t n) {
    if (peak->kind == FH_PEAK_READ || !fh_cpu_has_level(peak->level)) return false;
    if (peak->level != FH_CPU_LEVEL_REF) return true;
    for (size_t i = 0; i < n; i++) {
        if (table[i].kind == peak->kind && table[i].level != FH_CPU_LEVEL_REF && fh_cpu_has_level(table[i].level)) {
            return false;
        }
    }
    return true;
}

fh_status fh_ceilings_measure(fh_ceilings *out, fh_pool *pool, const fh_machine *m, const fh_ceilings_options *opt,
                              fh_err *err) {
    uint64_t start = fh_clock_ns();
    fh_ceilings_options o = opt ? *opt : (fh_ceilings_options){0};
    if (o.compute_ms == 0) o.compute_ms = 18;
    if (o.read_ms == 0) o.read_ms = 160;
    if (o.touch_ms == 0) o.touch_ms = 600;
    size_t n = (size_t)fh_pool_size(pool), n_peak = 0;
    fh_ceilings c = {.n_worker = (int)n};
    for (int k = 0; k < FH_PEAK_KINDS; k++) c.kind[k].one_by = c.kind[k].all_by = "";
    pass p = {.pool = pool};
    fh_status status = FH_OK;
    p.span = fh_alloc_zero(n, sizeof *p.span);
    p.block = fh_alloc_zero(n, sizeof *p.block);
    p.touched = fh_alloc_zero(n, sizeof *p.touched);
    uint64_t *sink = fh_alloc_zero(n, sizeof *sink);
    if (!p.span || !p.block || !p.touched || !sink) {
        status = fh_fail_memory(err, n * (sizeof *p.span + sizeof *p.block + 2 * sizeof *sink));
        goto out;
    }
    p.sink = sink;
    status = measure_read(&c, &p, m, &o, err);
    if (status != FH_OK) goto out;
    const fh_peak *table = fh_peak_table(&n_peak);
    for (size_t i = 0; i < n_peak; i++) {
        if (worth_measuring(&table[i], table, n_peak)) measure_compute(&c, &p, &table[i], o.compute_ms);
    }
    c.took_ns = fh_clock_ns() - start;
    *out = c;
out:
    fh_free(sink);
    fh_free(p.touched);
    fh_free(p.block);
    fh_free(p.span);
    return status;
}

const char *fh_ceilings_kind_name(fh_peak_kind k) {
    static const char *const NAME[FH_PEAK_KINDS] = {"read", "f32", "bf16", "int8"};
    return (unsigned)k < FH_PEAK_KINDS ? NAME[k] : "";
}
