/* device/cpu_fast_product.c - products in fast mode: through packed weights and inputs in a form made for them.
 * SPDX-License-Identifier: Apache-2.0
 * Inputs are brought into their form once and kept for the products that follow with the same input (q, k, v; gate,
 * up). Rows that adapters replace, and transposed matrices, go the slow way. Every worker keeps its own note of what
 * the form holds; the notes are equal, since all walk the same steps. */
#include "device/cpu_fast_product.h"

#include "device/cpu_fast.h"
#include "device/prepared.h"
#include "kernel/fast_op.h"

/* ---- sizes ---- */
static uint64_t form_stride(uint64_t in) {
    uint64_t most = 0;
    for (int f = FH_FORM_F32 + 1; f < FH_FORM_COUNT; f++) {
        const uint64_t n = fh_product_form_bytes((fh_product_form)f, in);
        most = FH_MAX(most, n);
    }
    return most;
}

void fh_cpu_size_forms(const fh_plan *p, const fh_extent *ceiling, fh_cpu_sizes *s) {
    for (uint32_t i = 0; i < p->n_op; i++) {
        const fh_op *o = &p->op[i];
        if (o->kind != FH_OP_MATMUL && o->kind != FH_OP_MATMUL_HEADS && o->kind != FH_OP_MATMUL_EXPERTS) continue;
        const fh_matrix *m = &p->matrix[o->matrix];
        const uint64_t rows = fh_value_rows(&p->value[o->in[0].value], ceiling);
        const uint64_t n = rows * (o->kind == FH_OP_MATMUL_HEADS ? m->n_mat : 1) * form_stride(m->in);
        s->form_bytes = FH_MAX(s->form_bytes, n);
    }
}

/* Where a plan chooses experts, keeps a memory or has scores that nothing scales down (those with biases by distance),
 * a rounded input is not a small error: another expert may answer, another key win. Measured over the golden models,
 * bf16 inputs cost such a plan a mean KLD of 1e-2, and plans without 3e-4; so these keep f32 inputs where bf16 would be
 * faster. int8 inputs have scales of their own and stay. */
bool fh_cpu_is_careful(const fh_plan *p) {
    for (uint32_t i = 0; i < p->n_op; i++) {
        const fh_op *o = &p->op[i];
        if (o->kind == FH_OP_ROUTE || o->kind == FH_OP_DELTA) return true;
        if (o->kind == FH_OP_ATTEND && o->u.attend.buckets != 0) return true;
    }
    return false;
}

fh_product_form fh_cpu_form_wanted(const fh_product *q, uint64_t n, bool careful) {
    const fh_product_form form = fh_product_wants(q, n);
    if (!careful || form != FH_FORM_BF16) return form;
    return fh_product_takes(q, FH_FORM_I8) ? FH_FORM_I8 : FH_FORM_F32;
}

/* ---- inputs ---- */
void fh_cpu_form_note(fh_cpu_worker *w, const fh_op *o) {
    for (int i = 0; i < FH_OP_MAX_OUT; i++)
        if (w->form_of.value != FH_NO_VALUE && o->out[i].value == w->form_of.value) w->form_of.value = FH_NO_VALUE;
}

fh_product_form fh_cpu_fast_form_of(const fh_exec *x, const fh_cpu_product *p) {
    return fh_cpu_form_wanted(fh_prepared_get(x->prepared, p->o->matrix), fh_cpu_rows(x, &p->in), x->careful);
}

static bool is_formed(const fh_cpu_worker *w, const fh_cpu_product *p, fh_product_form form) {
    return form == FH_FORM_F32 || (w->form == form && fh_view_same(&w->form_of, &p->in));
}

/* Row i of the input is the worker's that has row i of its value. */
static void make_forms(fh_exec *x, const fh_cpu_product *p, fh_product_form form, fh_cpu_worker *w) {
    const fh_product *q = fh_prepared_get(x->prepared, p->o->matrix);
    const uint64_t mats = p->heads ? p->m->n_mat : 1;
    const size_t stride = fh_product_form_bytes(form, p->m->in);
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, &p->in), mats, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const float *src = fh_cpu_product_x(x, p, i / mats * p->per_input, (uint32_t)(i % mats));
        fh_product_form_make(q, form, src, p->m->in, x->form + i * stride);
    }
    w->form = form;
    w->form_of = p->in;
}

void fh_cpu_fast_form(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_cpu_product p;
    if (!fh_cpu_product_begin(x, o, &p, w)) return;
    const fh_product_form form = fh_cpu_fast_form_of(x, &p);
    if (!is_formed(w, &p, form)) make_forms(x, &p, form, w);
}

void fh_cpu_fast_need_form(fh_exec *x, const fh_cpu_product *p, fh_product_form form, fh_cpu_worker *w) {
    w->form_now = form;
    if (is_formed(w, p, form)) return;
    fh_pool_barrier(x->pool); /* others may still read the form that was there */
    make_forms(x, p, form, w);
    fh_pool_barrier(x->pool);
}

const void *fh_cpu_fast_input(const fh_exec *x, const fh_cpu_product *p, const fh_cpu_worker *w, uint64_t item,
                              uint32_t mat) {
    if (w->form_now == FH_FORM_F32) return fh_cpu_product_x(x, p, item, mat);
    const uint64_t mats = p->heads ? p->m->n_mat : 1, row = item / p->per_input;
    return x->form + (row * mats + (p->heads ? mat : 0)) * fh_product_form_bytes(w->form_now, p->m->in);
}

/* ---- the product ---- */
typedef struct piece {
    const fh_cpu_product *p;
    const fh_cpu_entry *entry;
    const fh_fast_ops *ops; /* for sums */
    float scale;
    uint32_t mat;
} piece;

static void finish_piece(void *ctx, uint64_t r, size_t n_row, uint64_t i, size_t n, const float *value) {
    const piece *c = ctx;
    for (size_t j = 0; j < n; j++) {
        const fh_cpu_entry *e = &c->entry[i + j];
        const float *v = value + j * FH_PRODUCT_PANEL;
        float y[FH_PRODUCT_PANEL];
        if (e->bias != NULL || e->adapted != NULL) {
            for (size_t k = 0; k < n_row; k++) y[k] = fh_cpu_product_finish(c->p, e, c->mat, r + k, v[k]);
            v = y;
        }
        if (e->plus != NULL && c->ops != NULL) {
            c->ops->add(e->plus + r, c->scale, v, e->y + r, n_row);
        } else if (e->plus != NULL) {
            for (size_t k = 0; k < n_row; k++) e->y[r + k] = e->plus[r + k] + c->scale * v[k];
        } else {
            for (size_t k = 0; k < n_row; k++) e->y[fh_cpu_product_column(c->p, r + k)] = v[k];
        }
    }
}

static void run_chunk(fh_exec *x, const fh_cpu_product *p, uint32_t mat, uint64_t r0, uint64_t r1, size_t n,
                      fh_cpu_worker *w) {
    bool plain = p->heads || p->out.heads == 1;
    for (size_t i = 0; i < n; i++) {
        const fh_cpu_entry *e = &w->entry[i];
        plain = plain && e->bias == NULL && e->adapted == NULL && e->plus == NULL;
        w->y[i] = e->y;
    }
    piece c = {p, w->entry, fh_fast_ops_best(), p->sum != NULL ? p->sum->u.add.scale : 0.0f, mat};
    fh_product_args a = {.mat = mat,
                         .p0 = r0 / FH_PRODUCT_PANEL,
                         .p1 = fh_ceil_div(r1, FH_PRODUCT_PANEL),
                         .form = w->form_now,
                         .n = n,
                         .x = (const void *const *)w->x,
                         .y = plain ? w->y : NULL,
                         .done = plain ? NULL : finish_piece,
                         .ctx = &c};
    fh_product_run(fh_prepared_get(x->prepared, p->o->matrix), &a, w->product);
}

/* Items of one matrix whose sequences use the model's own. */
static void run_rows(fh_exec *x, const fh_cpu_product *p, uint32_t mat, uint64_t r0, uint64_t r1, fh_cpu_worker *w) {
    const uint64_t n = fh_cpu_product_items(p, mat);
    size_t have = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t item = fh_cpu_product_item(p, mat, i);
        const fh_batch_seq *seq = x->adapted ? fh_cpu_seq_of(x, p->out.value, item) : NULL;
        const fh_adapted *a = fh_cpu_adapted(x, p->o, seq);
        if (a == NULL || a->instead == NULL) {
            const float *bias = fh_cpu_vector(x, p->o, 0, seq);
            fh_cpu_entry e = {.x = fh_cpu_product_x(x, p, item, mat), .adapted = a};
            if (bias != NULL) e.bias = bias + (p->start != NULL ? mat * p->m->out : 0);
            e.plus = p->sum != NULL ? fh_cpu_row(x, &p->sum->in[0], item) : NULL;
            e.y = p->sum != NULL ? fh_cpu_row(x, &p->sum->out[0], item) : fh_cpu_product_y(x, p, item, mat);
            w->x[have] = fh_cpu_fast_input(x, p, w, item, mat);
            w->entry[have++] = e;
        }
        if (have == 0 || (have < FH_CPU_ENTRIES && i + 1 < n)) continue;
        run_chunk(x, p, mat, r0, r1, have, w);
        have = 0;
    }
    fh_cpu_product_instead(x, p, mat, r0, r1, w);
}

static void run(fh_exec *x, const fh_op *o, const fh_op *sum, fh_cpu_worker *w) {
    fh_cpu_product p;
    if (!fh_cpu_product_begin(x, o, &p, w)) return;
    fh_cpu_product_show(x, &p, w);
    p.sum = sum;
    fh_cpu_fast_need_form(x, &p, fh_cpu_fast_form_of(x, &p), w);
    fh_cpu_product_share(x, &p, FH_PRODUCT_PANEL, run_rows, w);
    fh_cpu_product_adapters(x, &p, w);
}

void fh_cpu_fast_product(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    if (x->plan->matrix[o->matrix].transposed) fh_cpu_run_product(x, o, w);
    else run(x, o, NULL, w);
}

/* Adapters add to a product what is not there before it is whole: then one after the other. */
void fh_cpu_fast_sum(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    if (!x->adapted) {
        run(x, o, o + 1, w);
        return;
    }
    run(x, o, NULL, w);
    fh_pool_barrier(x->pool);
    fh_cpu_fast_add(x, o + 1, w);
}
