/* device/prepared.c - see prepared.h. Owns one block of memory per packed matrix, and the packing thread.
 * SPDX-License-Identifier: Apache-2.0
 * Invariant: a matrix that has no memory for its packed form is read from the file for good; nothing fails for that. */
#include "device/prepared.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { PANELS_AT_ONCE = 8, HUGE_FROM = 4 << 20 };

struct fh_prepared {
    fh_product *product; /* [n] */
    uint8_t **block;     /* [n] as allocated, or NULL */
    uint32_t n;
    uint64_t bytes;
    size_t scratch;
    fh_prepared_options opt;
    pthread_t thread;
    bool started;
    atomic_bool stop, over;
};

static void drop_file(const fh_prepared *p, const fh_matrix *m) {
    for (uint32_t i = 0; p->opt.done_with && i < m->n_weight; i++)
        p->opt.done_with(p->opt.ctx, m->weight[i]->codes->data);
}

/* Several matrices may be cut from one tensor: its bytes go with the last of them. */
static bool shared_later(const fh_prepared *p, uint32_t i) {
    const fh_tensor *mine = p->product[i].matrix->weight[0]->codes;
    for (uint32_t k = i + 1; k < p->n; k++)
        if (p->product[k].matrix->weight[0]->codes == mine) return true;
    return false;
}

static void *pack_all(void *arg) {
    fh_prepared *p = arg;
    for (uint32_t i = 0; i < p->n && !atomic_load(&p->stop); i++) {
        if (!p->block[i]) continue;
        while (!atomic_load(&p->stop) && fh_product_pack(&p->product[i], PANELS_AT_ONCE)) {
        }
        if (!atomic_load(&p->stop) && !shared_later(p, i)) drop_file(p, p->product[i].matrix);
    }
    atomic_store(&p->over, true);
    return NULL;
}

static void give_memory(fh_prepared *p, uint32_t i) {
    uint64_t n = fh_product_pack_bytes(&p->product[i]);
    if (n == 0 || n > SIZE_MAX - 2 * FH_PRODUCT_ALIGN) return;
    uint8_t *block = fh_alloc((size_t)n + FH_PRODUCT_ALIGN, 1);
    if (!block) return;
    uint8_t *at = block + (FH_PRODUCT_ALIGN - (uintptr_t)block % FH_PRODUCT_ALIGN) % FH_PRODUCT_ALIGN;
    if (n >= HUGE_FROM) {
        uint8_t *page = at + (4096 - (uintptr_t)at % 4096) % 4096;
        (void)madvise(page, (size_t)(n - 4096) / 4096 * 4096, MADV_HUGEPAGE);
    }
    p->block[i] = block;
    p->bytes += n;
    fh_product_set_packed(&p->product[i], at);
}

fh_status fh_prepared_new(fh_prepared **out, const fh_plan *tables, const fh_prepared_options *opt, fh_err *err) {
    fh_prepared *p = fh_alloc_zero(1, sizeof *p);
    if (!p) return fh_fail_memory(err, sizeof *p);
    p->n = tables->n_matrix;
    p->opt = *opt;
    p->product = fh_alloc_zero(p->n, sizeof *p->product);
    p->block = fh_alloc_zero(p->n, sizeof *p->block);
    if (!p->product || !p->block) {
        fh_prepared_free(p);
        return fh_fail_memory(err, tables->n_matrix * sizeof *p->product);
    }
    for (uint32_t i = 0; i < p->n; i++) {
        fh_product_init(&p->product[i], &tables->matrix[i], fh_cpu_best_level());
        size_t scratch = fh_product_scratch_bytes(&p->product[i]);
        p->scratch = FH_MAX(p->scratch, scratch);
        if (!opt->in_place) give_memory(p, i);
    }
    p->started = p->bytes > 0 && pthread_create(&p->thread, NULL, pack_all, p) == 0;
    if (!p->started) atomic_store(&p->over, true);
    *out = p;
    return FH_OK;
}

void fh_prepared_free(fh_prepared *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    if (p->started) pthread_join(p->thread, NULL);
    for (uint32_t i = 0; p->block && i < p->n; i++) fh_free(p->block[i]);
    fh_free(p->block);
    fh_free(p->product);
    fh_free(p);
}

const fh_product *fh_prepared_get(const fh_prepared *p, uint32_t matrix) { return &p->product[matrix]; }
size_t fh_prepared_scratch_bytes(const fh_prepared *p) { return p->scratch; }
uint64_t fh_prepared_bytes(const fh_prepared *p) { return p->bytes; }

void fh_prepared_wait(const fh_prepared *p) {
    while (!atomic_load(&p->over)) sched_yield();
}
