/* device/cpu_schedule.c - which steps a plan becomes, and which of them must wait; see cpu_schedule.h.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. What a step touches is told in bytes of scratch, so that a value which took the place of another is
 * seen as well; what lies elsewhere (states, forms of inputs) has places of its own beyond all scratch.
 * Refuses to join ops across a point where a step may end, and where the result would lie over what is still read. */
#include "device/cpu_schedule.h"

#include "device/cpu_fast.h"
#include "device/cpu_product.h"

enum { TOUCHED = 96 };

#define ELSEWHERE ((uint64_t)1 << 62)
enum { FORM, PACK, ROOM, FIRST_STATE };

typedef struct touch {
    uint64_t from, to;
    uint32_t value; /* FH_NO_VALUE: elsewhere */
    bool write, rows;
} touch;

typedef struct maker {
    const fh_exec *x;
    fh_cpu_run_fn *const *exact, *const *fast;
    fh_cpu_step *step;
    uint32_t n_step;
    touch seen[TOUCHED]; /* since the last wait */
    uint32_t n_seen;
    fh_view formed; /* the input whose form is there */
} maker;

/* ---- what is touched ---- */
static touch value_touch(const fh_exec *x, uint32_t value, bool write, bool rows) {
    const fh_value *v = &x->plan->value[value];
    const uint64_t from = x->offset[value];
    return (touch){from, from + fh_value_rows(v, &x->ceiling) * v->width * sizeof(float), value, write, rows};
}

static touch other_touch(uint32_t place, bool write, bool rows) {
    return (touch){ELSEWHERE + place, ELSEWHERE + place + 1, FH_NO_VALUE, write, rows};
}

static bool overlap(const touch *a, const touch *b) { return a->from < b->to && b->from < a->to; }

/* Ops that leave row i of all their values to the same worker (fh_cpu_share_rows). */
static bool goes_by_rows(const fh_exec *x, const fh_op *o) {
    static const bool BY_ROWS[FH_OP_COUNT] = {
        [FH_OP_EMBED] = true, [FH_OP_NORM] = true,  [FH_OP_ADD] = true,   [FH_OP_MAP] = true,  [FH_OP_GLU] = true,
        [FH_OP_ROPE] = true,  [FH_OP_STORE] = true, [FH_OP_ROUTE] = true, [FH_OP_DECAY] = true};
    const fh_value *first = NULL;
    for (int k = 0; k < FH_OP_MAX_IN + FH_OP_MAX_OUT; k++) {
        const uint32_t value = k < FH_OP_MAX_IN ? o->in[k].value : o->out[k - FH_OP_MAX_IN].value;
        if (value == FH_NO_VALUE) continue;
        const fh_value *v = &x->plan->value[value];
        if (first != NULL && (v->dim != first->dim || v->per != first->per)) return false;
        first = v;
    }
    return BY_ROWS[o->kind];
}

static uint32_t touches_of(const fh_exec *x, const fh_op *o, touch *t) {
    const bool rows = goes_by_rows(x, o);
    uint32_t n = 0;
    for (int k = 0; k < FH_OP_MAX_IN; k++) {
        if (o->in[k].value != FH_NO_VALUE) t[n++] = value_touch(x, o->in[k].value, false, rows);
    }
    for (int k = 0; k < FH_OP_MAX_OUT; k++) {
        if (o->out[k].value != FH_NO_VALUE) t[n++] = value_touch(x, o->out[k].value, true, rows);
    }
    if (o->state != FH_NO_ID) t[n++] = other_touch(FIRST_STATE + o->state, o->kind != FH_OP_ATTEND, rows);
    if (o->kind == FH_OP_ATTEND) t[n++] = other_touch(ROOM, true, false);
    if (fh_op_is_product(o->kind)) {
        const bool packs = fh_cpu_product_packs(o, x->prepared == NULL);
        t[n++] = other_touch(FORM, packs, false);
        if (packs) t[n++] = other_touch(PACK, true, false);
    }
    return n;
}

static fh_cpu_wait needed(const maker *m, const touch *t, uint32_t n) {
    fh_cpu_wait wait = FH_WAIT_NEVER;
    for (uint32_t i = 0; i < m->n_seen; i++) {
        for (uint32_t k = 0; k < n; k++) {
            const touch *a = &m->seen[i], *b = &t[k];
            if (!overlap(a, b) || (!a->write && !b->write)) continue;
            if (a->value != b->value || a->value == FH_NO_VALUE || !a->rows || !b->rows) return FH_WAIT_ALWAYS;
            wait = FH_WAIT_UNLESS_ROWS;
        }
    }
    return wait;
}

static void add_step(maker *m, fh_cpu_run_fn *run, uint32_t op, uint32_t n_op, const touch *t, uint32_t n) {
    const fh_op *o = &m->x->plan->op[op];
    fh_cpu_wait wait = m->n_seen + n > TOUCHED ? FH_WAIT_ALWAYS : needed(m, t, n);
    if (wait == FH_WAIT_ALWAYS) m->n_seen = 0;
    memcpy(m->seen + m->n_seen, t, n * sizeof *t);
    m->n_seen += n;
    const uint32_t rows_of = o->out[0].value != FH_NO_VALUE ? o->out[0].value : o->in[0].value;
    m->step[m->n_step++] = (fh_cpu_step){run, op, n_op, rows_of, (uint8_t)wait};
}

/* ---- steps ---- */
static bool ends_inside(const fh_exec *x, uint32_t op, uint32_t n_op) {
    bool inside = x->state_op > op && x->state_op < op + n_op;
    for (int e = 0; e < FH_EXPORT_COUNT; e++) inside = inside || (x->export_op[e] > op && x->export_op[e] < op + n_op);
    return inside;
}

static bool is_fast_product(const maker *m, uint32_t op) {
    const fh_op *o = &m->x->plan->op[op];
    return op < m->x->plan->n_op && (o->kind == FH_OP_MATMUL || o->kind == FH_OP_MATMUL_EXPERTS) &&
           m->fast[o->kind] == fh_cpu_fast_product && !m->x->plan->matrix[o->matrix].transposed &&
           fh_view_is_dense(o->in[0]);
}

/* A value in one piece that only op `until` reads, or that `until` writes over. */
static bool is_passing(const fh_exec *x, const fh_view *v, uint32_t made, uint32_t until) {
    const fh_value *w = &x->plan->value[v->value];
    const bool rewritten = x->plan->op[until].out[0].value == v->value;
    return v->heads == 1 && v->width == w->width && w->first_op == made && (w->last_op == until || rewritten) &&
           (!w->keep || rewritten);
}

static bool lies_over(const fh_exec *x, uint32_t out, const fh_view *in) {
    if (in->value == FH_NO_VALUE) return false;
    const touch a = value_touch(x, out, true, false), b = value_touch(x, in->value, false, false);
    return overlap(&a, &b);
}

static bool can_sum(const maker *m, uint32_t i) {
    const fh_exec *x = m->x;
    if (i + 1 >= x->plan->n_op || !is_fast_product(m, i) || ends_inside(x, i, 2)) return false;
    const fh_op *o = &x->plan->op[i], *a = o + 1;
    if (o->kind != FH_OP_MATMUL || a->kind != FH_OP_ADD || !fh_view_same(&o->out[0], &a->in[1])) return false;
    const fh_view *plus = &a->in[0], *out = &a->out[0];
    const fh_value *p = &x->plan->value[plus->value], *y = &x->plan->value[out->value],
                   *t = &x->plan->value[o->out[0].value];
    if (plus->value == o->out[0].value || plus->heads != 1 || out->heads != 1) return false;
    if (p->dim != t->dim || p->per != t->per || y->dim != t->dim || y->per != t->per) return false;
    return out->value != o->out[0].value && is_passing(x, &o->out[0], i, i + 1) && !lies_over(x, out->value, &o->in[0]);
}

static bool can_gate_up(const maker *m, uint32_t i) {
    const fh_exec *x = m->x;
    if (i + 2 >= x->plan->n_op || !is_fast_product(m, i) || !is_fast_product(m, i + 1) || ends_inside(x, i, 3))
        return false;
    const fh_op *a = &x->plan->op[i], *b = a + 1, *g = a + 2;
    const fh_matrix *ma = &x->plan->matrix[a->matrix], *mb = &x->plan->matrix[b->matrix];
    if (a->kind != b->kind || g->kind != FH_OP_GLU || ma->out != mb->out || ma->n_mat != mb->n_mat) return false;
    for (int k = 0; k < 3; k++) {
        if (!fh_view_same(&a->in[k], &b->in[k])) return false;
    }
    const bool first = fh_view_same(&g->in[0], &a->out[0]) && fh_view_same(&g->in[1], &b->out[0]);
    const bool second = fh_view_same(&g->in[0], &b->out[0]) && fh_view_same(&g->in[1], &a->out[0]);
    const fh_view *out = &g->out[0];
    const fh_value *y = &x->plan->value[out->value], *t = &x->plan->value[a->out[0].value];
    if ((!first && !second) || out->heads != 1 || y->dim != t->dim || y->per != t->per) return false;
    for (int k = 0; k < 3; k++) {
        if (lies_over(x, out->value, &a->in[k])) return false;
    }
    return is_passing(x, &a->out[0], i, i + 2) && is_passing(x, &b->out[0], i + 1, i + 2);
}

static void forget_form(maker *m, const fh_op *o) {
    for (int k = 0; k < FH_OP_MAX_OUT; k++)
        if (m->formed.value != FH_NO_VALUE && o->out[k].value == m->formed.value) m->formed.value = FH_NO_VALUE;
}

/* The form of a product's input, where it is not there yet; inputs with gaps are the product's own business. */
static void add_form(maker *m, uint32_t i) {
    const fh_op *o = &m->x->plan->op[i];
    if (!fh_op_is_product(o->kind) || m->fast[o->kind] != fh_cpu_fast_product) return;
    if (m->x->plan->matrix[o->matrix].transposed) return;
    if (o->kind != FH_OP_MATMUL_HEADS && !fh_view_is_dense(o->in[0])) {
        m->formed.value = FH_NO_VALUE;
        return;
    }
    if (fh_view_same(&m->formed, &o->in[0])) return;
    const touch t[2] = {value_touch(m->x, o->in[0].value, false, true), other_touch(FORM, true, false)};
    add_step(m, fh_cpu_fast_form, i, 1, t, 2);
    m->step[m->n_step - 1].rows_of = o->in[0].value;
    m->formed = o->in[0];
}

static uint32_t add_op(maker *m, uint32_t i, bool fuse) {
    const fh_op *o = &m->x->plan->op[i];
    touch t[3 * (FH_OP_MAX_IN + FH_OP_MAX_OUT + 3)];
    uint32_t n = 0, n_op = 1;
    fh_cpu_run_fn *run = m->exact[o->kind];
    if (m->fast != NULL) {
        if (m->fast[o->kind] != NULL) run = m->fast[o->kind];
        if (fuse && can_gate_up(m, i)) run = fh_cpu_fast_gate_up, n_op = 3;
        else if (fuse && can_sum(m, i)) run = fh_cpu_fast_sum, n_op = 2;
        add_form(m, i);
    }
    for (uint32_t k = 0; k < n_op; k++) n += touches_of(m->x, o + k, t + n);
    for (uint32_t k = 0; n_op > 1 && k < n; k++) t[k].rows = false; /* their parts are the product's */
    add_step(m, run, i, n_op, t, n);
    for (uint32_t k = 0; k < n_op; k++) forget_form(m, o + k);
    return n_op;
}

uint32_t fh_cpu_schedule(const fh_exec *x, fh_cpu_run_fn *const *exact, fh_cpu_run_fn *const *fast, bool fuse,
                         fh_cpu_step *out) {
    maker m = {.x = x, .exact = exact, .fast = fast, .step = out, .formed = {.value = FH_NO_VALUE}};
    for (uint32_t i = 0; i < x->plan->n_op;) i += add_op(&m, i, fuse && fast != NULL);
    return m.n_step;
}
