/* forge/imatrix_collect.c - see imatrix_collect.h.
 * SPDX-License-Identifier: Apache-2.0
 * Owns one entry per name, and for each op of the plan the entry it feeds. Matrices that share a stored tensor (fused
 * projections, halves of one) share their input: the first that the plan multiplies with feeds the entry, the others
 * would count it twice. A matrix that several ops multiply with has several inputs: all of them count.
 * Threads: workers write disjoint columns of the sums; counts belong to who has column 0. */
#include "forge/imatrix_collect.h"

#include "base/num.h"
#include "kernel/pool_rows.h"
#include "model/slot_name.h"

typedef struct entry {
    fh_str name;
    uint32_t matrix;         /* the one that feeds it */
    fh_slot slot;            /* of it */
    uint64_t n;              /* columns */
    uint32_t n_set;          /* sets of columns */
    uint32_t n_count;        /* counts: n_set for experts, else 1 */
    double *sum;             /* [n_set, n] */
    uint64_t *count;         /* [n_count] */
    uint64_t rows_per_count; /* heads of one token count once where they have sets of their own */
} entry;

struct fh_imatrix_collector {
    fh_exec *exec;
    const fh_plan *plan;
    const fh_spec *spec;
    fh_arena arena;
    entry *entry; /* [n] */
    uint32_t n;
    uint32_t *of_op; /* [n_op]: entry, or FH_NO_ID */
};

/* ---- names ---- */

static bool is_layered(fh_str pattern) {
    for (size_t i = 0; i + 1 < pattern.len; i++)
        if (pattern.ptr[i] == '%' && pattern.ptr[i + 1] == 'u') return true;
    return false;
}

/* The GGUF name of a slot that was read from another kind of file. */
static fh_status slot_name(fh_imatrix_collector *c, const fh_bound *at, fh_slot slot, fh_str *out, fh_err *err) {
    const char *list = fh_slot_pattern(c->spec->family, true, at->stack, slot);
    char text[FH_SLOT_NAME_MOST + 8];
    fh_str one;
    while (fh_slot_alternative(&list, &one)) {
        if (one.len == 0 || (at->layer >= 0 && !is_layered(one))) continue;
        if (!fh_slot_expand(one, (fh_str){"", 0}, at->layer, 0, text)) break;
        memcpy(text + strlen(text), ".weight", sizeof ".weight");
        return fh_arena_copy(&c->arena, fh_str_of(text), out) ? FH_OK : fh_arena_fail(&c->arena, err);
    }
    return fh_fail(err, FH_ERR_UNSUPPORTED, "GGUF has no name for what this model has as '%s'",
                   fh_slot_plan_name(slot));
}

static fh_status name_of(fh_imatrix_collector *c, const fh_binder *bind, uint32_t id, fh_str *out, fh_err *err) {
    const fh_bound *at = &bind->matrix_of[id];
    const fh_matrix *m = &c->plan->matrix[id];
    if (c->spec->gguf) {
        *out = m->weight[0]->name;
        return FH_OK;
    }
    fh_slot slot = at->slot;
    if (slot == FH_SLOT_LATENT_KV_B) slot = m->transposed ? FH_SLOT_LATENT_K_B : FH_SLOT_LATENT_V_B;
    return slot_name(c, at, slot, out, err);
}

/* ---- what to look at ---- */

static bool is_wanted(const fh_imatrix_collector *c, const fh_binder *bind, uint32_t id, bool head) {
    const fh_bound *at = &bind->matrix_of[id];
    if (at->layer >= 0) return !(c->spec->gguf && at->slot == FH_SLOT_LATENT_KV_B && c->plan->matrix[id].transposed);
    return head && (at->slot == FH_SLOT_HEAD || at->slot == FH_SLOT_TOKENS);
}

/* Has the tensor of that name a set of columns for each head? */
static bool heads_apart(const fh_imatrix_collector *c, const fh_matrix *m) {
    return !c->spec->gguf || m->n_weight > 1 || fh_weight_matrices(m->weight[0]) == m->n_mat;
}

static fh_status add_entry(fh_imatrix_collector *c, const fh_binder *bind, const fh_op *o, fh_str name, fh_err *err) {
    const fh_matrix *m = &c->plan->matrix[o->matrix];
    entry e = {.name = name, .matrix = o->matrix, .slot = bind->matrix_of[o->matrix].slot, .n = m->in, .n_set = 1};
    e.n_count = 1;
    e.rows_per_count = 1;
    if (o->kind == FH_OP_MATMUL_EXPERTS) {
        e.n_set = e.n_count = m->n_mat;
    } else if (o->kind == FH_OP_MATMUL_HEADS && heads_apart(c, m)) {
        e.n_set = m->n_mat;
        e.rows_per_count = m->n_mat;
    }
    const size_t numbers = (size_t)e.n * e.n_set;
    e.sum = fh_alloc_zero(numbers, sizeof *e.sum);
    e.count = fh_alloc_zero(e.n_count, sizeof *e.count);
    c->entry[c->n++] = e; /* it is freed with the rest */
    return e.sum && e.count ? FH_OK : fh_fail_memory(err, numbers * sizeof *e.sum);
}

static uint32_t find(const fh_imatrix_collector *c, fh_str name) {
    for (uint32_t i = 0; i < c->n; i++)
        if (fh_str_eq(c->entry[i].name, name)) return i;
    return FH_NO_ID;
}

static fh_status choose(fh_imatrix_collector *c, const fh_model *model, bool head, fh_err *err) {
    const fh_binder *bind = fh_model_binder(model);
    for (uint32_t i = 0; i < c->plan->n_op; i++) {
        const fh_op *o = &c->plan->op[i];
        fh_str name;
        c->of_op[i] = FH_NO_ID;
        if (!fh_op_is_product(o->kind) || !is_wanted(c, bind, o->matrix, head)) continue;
        FH_TRY(name_of(c, bind, o->matrix, &name, err));
        uint32_t at = find(c, name);
        if (at == FH_NO_ID) {
            at = c->n;
            FH_TRY(add_entry(c, bind, o, name, err));
        }
        if (c->entry[at].matrix == o->matrix) c->of_op[i] = at;
    }
    return FH_OK;
}

/* ---- looking ---- */

static void see(void *ctx, uint32_t op, uint32_t mat, const float *row, uint64_t from, uint64_t to) {
    const fh_imatrix_collector *c = ctx;
    if (c->of_op[op] == FH_NO_ID) return;
    entry *e = &c->entry[c->of_op[op]];
    const uint32_t set = e->n_set > 1 ? mat : 0;
    fh_pool_add_squares(e->sum + set * e->n + from, row + from, (size_t)(to - from));
    if (from == 0) e->count[e->n_count > 1 ? mat : 0]++;
}

fh_status fh_imatrix_collector_new(fh_imatrix_collector **out, fh_engine *e, bool head, fh_err *err) {
    const fh_model *model = fh_engine_model(e);
    fh_imatrix_collector *c = fh_alloc_zero(1, sizeof *c);
    if (!c) return fh_fail_memory(err, sizeof *c);
    c->plan = fh_model_plan(model, FH_PLAN_STEP);
    c->spec = fh_model_spec(model);
    fh_arena_init(&c->arena, (size_t)1 << 26);
    c->entry = fh_alloc_zero(c->plan->n_op, sizeof *c->entry);
    c->of_op = fh_alloc(c->plan->n_op, sizeof *c->of_op);
    fh_status st = c->entry && c->of_op ? choose(c, model, head, err)
                                        : fh_fail_memory(err, c->plan->n_op * (sizeof *c->entry + sizeof *c->of_op));
    if (st != FH_OK) {
        fh_imatrix_collector_free(c);
        return st;
    }
    c->exec = fh_engine_exec(e, FH_PLAN_STEP);
    fh_exec_watch(c->exec, see, c);
    *out = c;
    return FH_OK;
}

void fh_imatrix_collector_free(fh_imatrix_collector *c) {
    if (!c) return;
    if (c->exec) fh_exec_watch(c->exec, NULL, NULL);
    for (uint32_t i = 0; i < c->n; i++) {
        fh_free(c->entry[i].sum);
        fh_free(c->entry[i].count);
    }
    fh_arena_release(&c->arena);
    fh_free(c->entry);
    fh_free(c->of_op);
    fh_free(c);
}

/* ---- handing over ---- */

static fh_status hand_over(const fh_imatrix_collector *c, const entry *e, fh_imatrix *m, fh_err *err) {
    const size_t n = (size_t)e->n * e->n_set;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < e->n_count; i++) seen += e->count[i];
    if (seen == 0) return FH_OK;
    float *sum = fh_alloc(n, sizeof *sum), *count = fh_alloc(e->n_count, sizeof *count);
    fh_status st = sum && count ? FH_OK : fh_fail_memory(err, (n + e->n_count) * sizeof *sum);
    for (size_t i = 0; st == FH_OK && i < n; i++) {
        const uint64_t col = i % e->n;
        sum[i] = (float)e->sum[i - col + (c->spec->gguf ? col : fh_form_col(c->spec, e->slot, true, col))];
    }
    for (uint32_t i = 0; st == FH_OK && i < e->n_count; i++) count[i] = (float)(e->count[i] / e->rows_per_count);
    if (st == FH_OK) st = fh_imatrix_add(m, e->name, n, e->n_count, sum, count, err);
    fh_free(sum);
    fh_free(count);
    return st;
}

fh_status fh_imatrix_collector_add_to(const fh_imatrix_collector *c, fh_imatrix *m, fh_err *err) {
    for (uint32_t i = 0; i < c->n; i++) FH_TRY(hand_over(c, &c->entry[i], m, err));
    return FH_OK;
}
