/* tests/unit/test_exec_lab.c - builds and runs the small plans of the executor's tests; see test_exec_lab.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "test_exec_lab.h"

#include "kernel/decode.h"

void lab_init(lab *l, uint64_t stream, uint32_t n_seq, const uint32_t *len) {
    fh_err err = {0};
    memset(l, 0, sizeof *l);
    fh_rng_init(&l->rng, fh_test_seed(), stream);
    fh_arena_init(&l->arena, 1u << 30);
    l->n_seq = n_seq;
    for (uint32_t i = 0; i < n_seq; i++) {
        l->len[i] = len[i];
        l->n_token += len[i];
    }
    CHECK_OK(fh_plan_begin(&l->b, &l->arena, FH_STR("lab"), &err), err);
}

void lab_release(lab *l) {
    fh_plan_drop(l->b);
    fh_arena_release(&l->arena);
}

float lab_random(lab *l) {
    double s = 0;
    for (int i = 0; i < 6; i++) s += fh_rng_f64(&l->rng);
    return (float)((s - 3) * 1.4142);
}

uint32_t lab_below(lab *l, uint32_t n) { return (uint32_t)fh_rng_below(&l->rng, n); }

float *lab_floats(lab *l, size_t n) {
    float *p = fh_arena_alloc(&l->arena, n, sizeof *p);
    CHECK(p != NULL);
    for (size_t i = 0; i < n; i++) p[i] = lab_random(l);
    return p;
}

uint32_t lab_matrix(lab *l, fh_dtype type, uint64_t rows, uint64_t cols) {
    const uint32_t id = l->tables.n_matrix++;
    uint64_t bytes;
    CHECK(id < LAB_MAX && fh_dtype_bytes(type, rows * cols, &bytes));
    float *v = lab_floats(l, rows * cols);
    uint8_t *data = fh_arena_alloc(&l->arena, bytes, 1);
    CHECK(data != NULL);
    fh_encode(type, v, data, rows * cols);
    fh_decode(type, data, v, rows * cols);
    l->dense[id] = v;
    l->tensor[id] = (fh_tensor){FH_STR("t"), type, {2, {rows, cols}}, {data, bytes}, 0, 0};
    l->weight[id] = (fh_weight){.name = FH_STR("w"), .shape = {2, {rows, cols}}, .codes = &l->tensor[id], .layout = ""};
    l->one[id] = &l->weight[id];
    l->matrix[id] = (fh_matrix){
        .name = FH_STR("m"), .weight = &l->one[id], .n_weight = 1, .n_mat = 1, .out = rows, .in = cols, .step = 1};
    return id;
}

uint32_t lab_vector(lab *l, uint64_t n) {
    const uint32_t id = l->tables.n_vector++;
    CHECK(id < LAB_MAX);
    l->vector[id] = (fh_vector){FH_STR("v"), lab_floats(l, n), n};
    return id;
}

uint32_t lab_state(lab *l, fh_state s, uint32_t window) {
    const uint32_t id = l->tables.n_state++;
    CHECK(id < LAB_MAX);
    s.name = FH_STR("s");
    if (s.kind != FH_STATE_RECURRENT) {
        s.group = l->tables.n_group++;
        l->group[s.group] = (fh_state_group){.kind = s.kind, .window = window};
    }
    l->state[id] = s;
    return id;
}

fh_view lab_out(lab *l, uint32_t width) { return fh_plan_value(l->b, FH_DIM_TOKENS, 1, width, "v"); }

fh_op *lab_op(lab *l, fh_op_kind kind) {
    fh_op *o = fh_plan_add_op(l->b, kind, 0);
    CHECK(o != NULL);
    return o;
}

fh_view lab_input(lab *l, uint32_t width) {
    const uint32_t m = lab_matrix(l, FH_DTYPE_F32, l->n_token, width);
    fh_view v = fh_plan_value(l->b, FH_DIM_TOKENS, 1, width, "in.%u", m);
    fh_op *o = lab_op(l, FH_OP_EMBED);
    o->matrix = m;
    o->out[0] = v;
    o->u.embed.scale = 1;
    return v;
}

const float *lab_table(const lab *l, fh_view v) {
    for (uint32_t i = 0; i < l->plan.n_op; i++) {
        if (l->plan.op[i].kind == FH_OP_EMBED && l->plan.op[i].out[0].value == v.value) {
            return l->dense[l->plan.op[i].matrix];
        }
    }
    return NULL;
}

void lab_end(lab *l, fh_view export) {
    fh_err err = {0};
    l->tables.matrix = l->matrix;
    l->tables.vector = l->vector;
    l->tables.state = l->state;
    l->tables.group = l->group;
    fh_plan_export(l->b, FH_EXPORT_HIDDEN, export);
    CHECK_OK(fh_plan_end(l->b, &l->tables, &l->plan, &err), err);
}

/* Memory of the sequences: pages one after another, each in a piece of its own so that the sanitizer sees its ends. */
typedef struct memory {
    fh_state_place place[LAB_MAX];
    fh_state_layout layout;
    uint8_t **page[LAB_SEQ][FH_MAX_GROUPS];
    uint32_t n_page;
    float *slot[LAB_SEQ];
} memory;

static void open_memory(lab *l, memory *m, const lab_way *way) {
    fh_err err = {0};
    bool fell;
    memset(m, 0, sizeof *m);
    CHECK_OK(fh_state_layout_make(&l->plan, way->page, way->type, m->place, &m->layout, &fell, &err), err);
    for (uint32_t s = 0; s < l->n_seq; s++) {
        m->n_page = (uint32_t)fh_ceil_div(FH_MAX(l->n_token, l->encoder_rows), way->page);
        for (uint32_t g = 0; g < l->plan.n_group; g++) {
            m->page[s][g] = fh_alloc_zero(m->n_page, sizeof **m->page[s]);
            for (uint32_t p = 0; p < m->n_page; p++) {
                m->page[s][g][p] = fh_alloc(m->layout.page_bytes[g], 1);
                memset(m->page[s][g][p], 0xff, m->layout.page_bytes[g]); /* NaN: nothing unwritten may count */
            }
        }
        m->slot[s] = fh_alloc_zero(m->layout.slot_floats + 1, sizeof(float));
    }
}

static void close_memory(const lab *l, memory *m) {
    for (uint32_t s = 0; s < l->n_seq; s++) {
        for (uint32_t g = 0; g < l->plan.n_group; g++) {
            for (uint32_t p = 0; p < m->n_page; p++) fh_free(m->page[s][g][p]);
            fh_free(m->page[s][g]);
        }
        fh_free(m->slot[s]);
    }
}

/* Up to `chunk` tokens of every sequence from `done` on, for fn. Returns how many there were. */
static uint32_t step(lab *l, memory *m, fh_exec *x, uint32_t chunk, uint32_t done, lab_step_fn *fn, void *ctx) {
    fh_batch_seq seq[LAB_SEQ] = {0};
    uint32_t *token = fh_alloc(3 * (size_t)l->n_token, sizeof *token), *pos = token + l->n_token,
             *of = pos + l->n_token;
    uint32_t n = 0, first = 0, n_seq = 0;
    for (uint32_t s = 0; s < l->n_seq; first += l->len[s], s++) {
        if (done >= l->len[s]) continue;
        fh_batch_seq *q = &seq[n_seq];
        *q = (fh_batch_seq){.first = n,
                            .n = FH_MIN(chunk, l->len[s] - done),
                            .past = done,
                            .length = l->len[s],
                            .encoder_rows = l->encoder_rows,
                            .slot = m->slot[s],
                            .adapters = l->adapters[s]};
        for (uint32_t g = 0; g < l->plan.n_group; g++) q->page[g] = m->page[s][g];
        for (uint32_t i = 0; i < q->n; i++, n++) {
            token[n] = first + done + i;
            pos[n] = done + i;
            of[n] = n_seq;
        }
        n_seq++;
    }
    const fh_batch b = {.n_token = n, .n_row = 0, .n_seq = n_seq, .token = token, .pos = pos, .seq_of = of, .seq = seq};
    if (n > 0) fn(ctx, x, &b);
    fh_free(token);
    return n;
}

void lab_steps(lab *l, const lab_way *way, lab_step_fn *fn, void *ctx) {
    fh_err err = {0};
    memory m;
    fh_pool *pool = NULL;
    fh_exec *x = NULL;
    CHECK_OK(fh_pool_new(&pool, &(fh_pool_options){.n_worker = way->threads, .no_pin = true}, &err), err);
    open_memory(l, &m, way);
    l->slot_floats = m.layout.slot_floats;
    const fh_exec_options opt = {.pool = pool, .ceiling = {{1, l->n_token, l->n_token}}, .keep_values = l->keep};
    CHECK_OK(fh_exec_new(&x, &l->plan, &m.layout, &opt, &err), err);
    for (uint32_t done = 0; step(l, &m, x, way->chunk, done, fn, ctx) > 0; done += way->chunk) {
    }
    fh_exec_free(x);
    close_memory(l, &m);
    fh_pool_free(pool);
}

void lab_exact_step(void *ctx, fh_exec *x, const fh_batch *b) {
    fh_err err = {0};
    CHECK_OK(fh_exec_run(x, b, 1u << FH_EXPORT_HIDDEN, &err), err);
    lab_keep_rows(ctx, x, b);
}

void lab_keep_rows(const lab_rows *to, const fh_exec *x, const fh_batch *b) {
    const float *v = fh_exec_export(x, FH_EXPORT_HIDDEN);
    CHECK(v != NULL);
    for (uint32_t i = 0; i < b->n_token; i++)
        memcpy(to->v + (size_t)b->token[i] * to->width, v + (size_t)i * to->width, to->width * sizeof *v);
}

lab_rows lab_rows_new(const lab *l) {
    const fh_value *e = &l->plan.value[l->plan.exported[FH_EXPORT_HIDDEN]];
    lab_rows r = {.width = e->per * e->width};
    r.n = (size_t)l->n_token * r.width;
    r.v = fh_alloc_zero(r.n, sizeof *r.v);
    CHECK(r.v != NULL);
    return r;
}

float *lab_run(lab *l, const lab_way *way) {
    lab_rows r = lab_rows_new(l);
    lab_steps(l, way, lab_exact_step, &r);
    return r.v;
}

float *lab_run_all(lab *l, bool split) {
    static const lab_way WAY[] = {{2, 64, 1u << 20, FH_DTYPE_F32},
                                  {3, 16, 1u << 20, FH_DTYPE_F32},
                                  {4, 32, 1, FH_DTYPE_F32},
                                  {1, 64, 7, FH_DTYPE_F32},
                                  {2, 16, 64, FH_DTYPE_F32}};
    const fh_value *e = &l->plan.value[l->plan.exported[FH_EXPORT_HIDDEN]];
    const size_t n = (size_t)l->n_token * e->per * e->width;
    float *first = lab_run(l, &(lab_way){1, 32, 1u << 20, FH_DTYPE_F32});
    for (size_t i = 0; i < FH_COUNT(WAY); i++) {
        if (!split && WAY[i].chunk < l->n_token) continue;
        float *again = lab_run(l, &WAY[i]);
        const bool same = memcmp(first, again, n * sizeof *first) == 0;
        fh_free(again);
        if (!same) fh_test_fail(__FILE__, __LINE__, "way %zu gives other bits", i);
    }
    return first;
}

double lab_nmse(const float *got, const double *want, size_t n) {
    double error = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        all += want[i] * want[i];
    }
    return all > 0 ? error / all : error;
}
