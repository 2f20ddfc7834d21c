/* device/prepared.c - see prepared.h. Owns the memory of the packed forms, and the packing thread.
 * SPDX-License-Identifier: Apache-2.0
 * Invariant: where there is no memory for packed forms, the file is read for good; nothing fails for that. */
#include "device/prepared.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/num.h"

enum { PANELS_AT_ONCE = 8 };

struct fh_prepared {
    fh_product *product;   /* [n] */
    uint64_t *size;        /* [n] bytes of each packed form */
    uint8_t *block;        /* of all, or NULL */
    fh_panel_state *state; /* of all their panels */
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
        if (p->product[i].packed == NULL) continue;
        while (!atomic_load(&p->stop) && fh_product_pack(&p->product[i], PANELS_AT_ONCE)) {
        }
        if (!atomic_load(&p->stop) && !shared_later(p, i)) drop_file(p, p->product[i].matrix);
    }
    atomic_store(&p->over, true);
    return NULL;
}

/* All packed forms lie in one block: a model has many small matrices, and only large blocks get huge pages. */
static void give_memory(fh_prepared *p) {
    uint64_t sum = 0, panels = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        const uint64_t n = fh_product_pack_bytes(&p->product[i]);
        if (!fh_align_up(n, FH_PRODUCT_ALIGN, &p->size[i]) || !fh_add_u64(sum, p->size[i], &sum)) return;
        if (n > 0) panels += fh_product_all_panels(&p->product[i]);
    }
    if (sum == 0) return;
    p->block = fh_alloc_wide((size_t)sum, 1);
    p->state = fh_alloc_zero((size_t)panels, sizeof *p->state);
    if (!p->block || !p->state) return;
    uint8_t *at = p->block;
    fh_panel_state *state = p->state;
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->size[i] == 0) continue;
        fh_product_set_packed(&p->product[i], at, state);
        at += p->size[i];
        state += fh_product_all_panels(&p->product[i]);
    }
    p->bytes = sum;
}

fh_status fh_prepared_new(fh_prepared **out, const fh_plan *tables, const fh_prepared_options *opt, fh_err *err) {
    fh_prepared *p = fh_alloc_zero(1, sizeof *p);
    if (!p) return fh_fail_memory(err, sizeof *p);
    p->n = tables->n_matrix;
    p->opt = *opt;
    p->product = fh_alloc_zero(p->n, sizeof *p->product);
    p->size = fh_alloc_zero(p->n, sizeof *p->size);
    if (!p->product || !p->size) {
        fh_prepared_free(p);
        return fh_fail_memory(err, tables->n_matrix * sizeof *p->product);
    }
    for (uint32_t i = 0; i < p->n; i++) {
        fh_product_init(&p->product[i], &tables->matrix[i], fh_cpu_best_level());
        size_t scratch = fh_product_scratch_bytes(&p->product[i]);
        p->scratch = FH_MAX(p->scratch, scratch);
    }
    if (!opt->in_place) give_memory(p);
    p->started = p->bytes > 0 && pthread_create(&p->thread, NULL, pack_all, p) == 0;
    if (!p->started) atomic_store(&p->over, true);
    *out = p;
    return FH_OK;
}

void fh_prepared_free(fh_prepared *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    if (p->started) pthread_join(p->thread, NULL);
    fh_free(p->block);
    fh_free(p->state);
    fh_free(p->size);
    fh_free(p->product);
    fh_free(p);
}

const fh_product *fh_prepared_get(const fh_prepared *p, uint32_t matrix) { return &p->product[matrix]; }
size_t fh_prepared_scratch_bytes(const fh_prepared *p) { return p->scratch; }
void fh_prepared_wait(const fh_prepared *p) {
    while (!atomic_load(&p->over)) sched_yield();
}
