/* device/cpu.c - the CPU's executor: owns all scratch, checks a batch, walks the steps.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses batches that break the ceilings, do not hang together, or name tokens and positions that no table has.
 * Invariants: (1) everything a step needs lies in one block, sized when the executor was made; a step allocates
 * nothing; (2) a failed check leaves state and values as they were. */
#include "device/cpu_fast.h"
#include "device/cpu_schedule.h"

#include "base/clock.h"

enum { ALIGN = 64, MAX_TOKENS = 1 << 20 };

static fh_cpu_run_fn *const RUN[FH_OP_COUNT] = {
    [FH_OP_EMBED] = fh_cpu_run_embed,
    [FH_OP_ROWS] = fh_cpu_run_rows,
    [FH_OP_MATMUL] = fh_cpu_run_product,
    [FH_OP_MATMUL_HEADS] = fh_cpu_run_product,
    [FH_OP_MATMUL_EXPERTS] = fh_cpu_run_product,
    [FH_OP_NORM] = fh_cpu_run_norm,
    [FH_OP_ADD] = fh_cpu_run_add,
    [FH_OP_MAP] = fh_cpu_run_map,
    [FH_OP_GLU] = fh_cpu_run_glu,
    [FH_OP_ROPE] = fh_cpu_run_rope,
    [FH_OP_STORE] = fh_cpu_run_store,
    [FH_OP_ATTEND] = fh_cpu_run_attend,
    [FH_OP_ROUTE] = fh_cpu_run_route,
    [FH_OP_GROUP] = fh_cpu_run_group,
    [FH_OP_COMBINE] = fh_cpu_run_combine,
    [FH_OP_CONV] = fh_cpu_run_conv,
    [FH_OP_DECAY] = fh_cpu_run_decay,
    [FH_OP_DELTA] = fh_cpu_run_delta,
};

/* ---- memory ---- */
/* Pieces of one block; with base NULL it only counts. */
typedef struct carver {
    uint8_t *base;
    uint64_t used;
    bool too_much;
} carver;

static void *carve(carver *c, uint64_t n, uint64_t size) {
    uint64_t at = c->used, bytes = 0;
    if (!fh_mul_u64(n, size, &bytes) || !fh_align_up(bytes, ALIGN, &bytes) || !fh_add_u64(at, bytes, &c->used)) {
        c->too_much = true;
        return NULL;
    }
    return c->base != NULL ? c->base + at : NULL;
}

static float *carve_floats(carver *c, uint64_t n) { return carve(c, n, sizeof(float)); }

static void carve_worker(carver *c, const fh_cpu_sizes *s, fh_cpu_worker *out) {
    fh_cpu_worker w = {0};
    w.entry = carve(c, FH_CPU_ENTRIES, sizeof *w.entry);
    w.x = carve(c, FH_CPU_ENTRIES, sizeof *w.x);
    w.dot = carve_floats(c, FH_CPU_ENTRIES);
    w.weights = carve_floats(c, s->weight_floats);
    w.row = carve_floats(c, s->row_floats);
    w.tile = carve_floats(c, s->tile_floats);
    w.keys = carve_floats(c, s->key_floats);
    w.values = carve_floats(c, s->value_floats);
    w.acc = carve_floats(c, s->acc_floats);
    w.softmax = carve(c, FH_CPU_PAIRS, sizeof *w.softmax);
    w.route = carve_floats(c, s->route_floats);
    w.y = carve(c, s->form_bytes ? FH_CPU_ENTRIES : 0, sizeof *w.y);
    w.product = carve(c, s->product_bytes, 1);
    w.gates = carve_floats(c, s->gate_floats);
    w.delta = carve_floats(c, s->delta_floats);
    if (out != NULL) *out = w;
}

static void carve_all(carver *c, fh_exec *x, const fh_cpu_sizes *s, uint64_t value_bytes) {
    const fh_plan *p = x->plan;
    const uint64_t tokens = x->ceiling.size[FH_DIM_TOKENS];
    const int n = fh_pool_size(x->pool);
    x->scratch = carve(c, value_bytes, 1);
    x->pack = carve_floats(c, s->pack_floats);
    x->low = carve_floats(c, s->low_floats);
    x->form = carve(c, s->form_bytes, 1);
    x->ns = carve(c, p->n_op, sizeof *x->ns);
    x->angle = carve(c, p->n_rope, sizeof *x->angle);
    x->bucket = carve(c, p->n_op, sizeof *x->bucket);
    x->worker = carve(c, (uint64_t)n, sizeof *x->worker);
    x->step = carve(c, 2 * (uint64_t)p->n_op, sizeof *x->step);
    x->claim = carve(c, p->n_op, sizeof *x->claim);
    for (uint32_t r = 0; r < p->n_rope; r++) {
        float *at = carve_floats(c, tokens * p->rope[r].n_rot);
        if (c->base != NULL) x->angle[r] = at;
    }
    for (uint32_t i = 0; i < p->n_op; i++) {
        const fh_op *o = &p->op[i];
        if (c->base != NULL) x->bucket[i] = NULL;
        if (o->kind != FH_OP_ATTEND || o->u.attend.buckets == 0) continue;
        uint32_t *at = carve(c, 2 * (uint64_t)o->u.attend.max_distance + 1, sizeof *at);
        if (c->base != NULL) x->bucket[i] = at;
    }
    for (int i = 0; i < n; i++) {
        carve_worker(c, s, c->base != NULL ? &x->worker[i] : NULL);
        if (c->base == NULL) continue;
        x->worker[i].index = i;
        x->worker[i].n = n;
    }
}

static void fill_buckets(fh_exec *x) {
    for (uint32_t i = 0; i < x->plan->n_op; i++) {
        const fh_attend_args *a = &x->plan->op[i].u.attend;
        if (x->bucket[i] == NULL) continue;
        const int64_t most = a->max_distance;
        for (int64_t d = -most; d <= most; d++) {
            x->bucket[i][d + most] = fh_ref_bucket(d, a->bidirectional, a->buckets, a->max_distance);
        }
    }
}

/* What is faster where exactness is not asked for; the rest as above. */
static fh_cpu_run_fn *const FAST[FH_OP_COUNT] = {
    [FH_OP_MATMUL] = fh_cpu_fast_product,
    [FH_OP_MATMUL_HEADS] = fh_cpu_fast_product,
    [FH_OP_MATMUL_EXPERTS] = fh_cpu_fast_product,
    [FH_OP_ATTEND] = fh_cpu_fast_attend,
    [FH_OP_NORM] = fh_cpu_fast_norm,
    [FH_OP_ADD] = fh_cpu_fast_add,
    [FH_OP_MAP] = fh_cpu_fast_map,
    [FH_OP_GLU] = fh_cpu_fast_glu,
    [FH_OP_ROPE] = fh_cpu_fast_rope,
    [FH_OP_STORE] = fh_cpu_fast_store,
    [FH_OP_CONV] = fh_cpu_fast_conv,
    [FH_OP_DELTA] = fh_cpu_fast_delta,
};

static bool writes_state(fh_op_kind k) { return k == FH_OP_STORE || k == FH_OP_CONV || k == FH_OP_DELTA; }

/* How many ops each export needs, and state. */
static void find_ends(fh_exec *x) {
    const fh_plan *p = x->plan;
    for (uint32_t i = 0; i < p->n_op; i++) {
        if (writes_state(p->op[i].kind)) x->state_op = i + 1;
        for (int e = 0; e < FH_EXPORT_COUNT; e++) {
            if (p->exported[e] != FH_NO_VALUE && p->op[i].out[0].value == p->exported[e]) x->export_op[e] = i + 1;
        }
    }
}

fh_status fh_exec_new(fh_exec **out, const fh_plan *plan, const fh_state_layout *layout, const fh_exec_options *opt,
                      fh_err *err) {
    const uint64_t tokens = opt->ceiling.size[FH_DIM_TOKENS], rows = opt->ceiling.size[FH_DIM_ROWS];
    if (tokens < 1 || tokens > MAX_TOKENS || rows > tokens) {
        return fh_fail(err, FH_ERR_USAGE, "make an executor of '%.*s', a batch of %llu tokens and %llu rows is none",
                       FH_STR_ARG(plan->name), (unsigned long long)tokens, (unsigned long long)rows);
    }
    fh_cpu_sizes s = {0};
    uint64_t value_bytes = 0;
    fh_status status = FH_OK;
    fh_exec *x = fh_alloc_zero(1, sizeof *x);
    if (x == NULL) return fh_fail_memory(err, sizeof *x);
    x->plan = plan;
    if (layout != NULL) x->layout = *layout;
    x->pool = opt->pool;
    x->ceiling = opt->ceiling;
    x->ceiling.size[FH_DIM_ONE] = 1;
    x->offset = fh_alloc_zero(plan->n_value, sizeof *x->offset);
    if (x->offset == NULL) {
        status = fh_fail_memory(err, plan->n_value * sizeof *x->offset);
        goto out;
    }
    status = fh_plan_layout(plan, &x->ceiling, opt->keep_values, x->offset, &value_bytes, err);
    if (status != FH_OK) goto out;
    x->prepared = opt->prepared;
    fh_cpu_size_products(plan, &x->ceiling, x->prepared == NULL, &s);
    fh_cpu_size_attend(plan, &s);
    fh_cpu_size_delta(plan, &s);
    if (x->prepared != NULL) {
        fh_cpu_size_forms(plan, &x->ceiling, &s);
        if (!opt->keep_values) fh_cpu_size_gates(&s);
        s.product_bytes = fh_prepared_scratch_bytes(x->prepared);
    }
    for (uint32_t i = 0; i < plan->n_op; i++) {
        const fh_route_args *r = &plan->op[i].u.route;
        if (plan->op[i].kind != FH_OP_ROUTE) continue;
        s.route_floats = FH_MAX(s.route_floats, 3 * (uint64_t)r->n_expert + r->n_group + r->k);
    }
    x->low_floats = s.low_floats;
    carver c = {NULL, 0, false};
    carve_all(&c, x, &s, value_bytes);
    if (c.too_much || c.used > SIZE_MAX - ALIGN) {
        status = fh_fail(err, FH_ERR_LIMIT, "make an executor of '%.*s', its scratch fits no memory",
                         FH_STR_ARG(plan->name));
        goto out;
    }
    x->bytes = c.used;
    x->block = fh_alloc_wide((size_t)c.used + ALIGN, 1);
    if (x->block == NULL) {
        status = fh_fail_memory(err, (size_t)c.used + ALIGN);
        goto out;
    }
    c = (carver){x->block + (ALIGN - (uintptr_t)x->block % ALIGN) % ALIGN, 0, false};
    carve_all(&c, x, &s, value_bytes);
    memset(x->ns, 0, plan->n_op * sizeof *x->ns);
    fill_buckets(x);
    find_ends(x);
    x->careful = fh_cpu_is_careful(plan);
    x->n_step = fh_cpu_schedule(x, RUN, x->prepared != NULL ? FAST : NULL, !opt->keep_values, x->step);
out:
    if (status == FH_OK) {
        *out = x;
    } else {
        fh_exec_free(x);
    }
    return status;
}

void fh_exec_free(fh_exec *x) {
    if (x == NULL) return;
    fh_free(x->block);
    fh_free(x->offset);
    fh_free(x);
}

uint64_t fh_exec_bytes(const fh_exec *x) { return x->bytes; }

/* ---- a batch against the ceilings and the plan ---- */
static fh_status check_shape(const fh_exec *x, const fh_batch *b, fh_err *err) {
    const uint64_t tokens = x->ceiling.size[FH_DIM_TOKENS], rows = x->ceiling.size[FH_DIM_ROWS];
    if (b->n_token == 0 || b->n_token > tokens || b->n_row > rows) {
        return fh_fail(err, FH_ERR_USAGE, "run a step, %u tokens and %u rows, it is made for 1 to %llu and up to %llu",
                       b->n_token, b->n_row, (unsigned long long)tokens, (unsigned long long)rows);
    }
    uint64_t next = 0;
    for (uint32_t s = 0; s < b->n_seq; s++) {
        const fh_batch_seq *q = &b->seq[s];
        bool ok = q->first == next && q->n <= b->n_token - next && q->length >= (uint64_t)q->past + q->n;
        for (uint32_t t = 0; ok && t < q->n; t++) ok = b->seq_of[q->first + t] == s;
        if (!ok) return fh_fail(err, FH_ERR_USAGE, "run a step, sequence %u of the batch does not hang together", s);
        next += q->n;
    }
    if (next != b->n_token) return fh_fail(err, FH_ERR_USAGE, "run a step, some tokens belong to no sequence");
    for (uint32_t i = 0; i < b->n_row; i++) {
        if (b->row[i] >= b->n_token || (i > 0 && b->row[i] <= b->row[i - 1])) {
            return fh_fail(err, FH_ERR_USAGE, "run a step, wanted row %u is no token of it, or out of order",
                           b->row[i]);
        }
    }
    return FH_OK;
}

static fh_status check_embed(const fh_exec *x, const fh_op *o, const fh_batch *b, fh_err *err) {
    const fh_matrix *m = &x->plan->matrix[o->matrix];
    for (uint32_t t = 0; t < b->n_token && o->u.embed.from != FH_EMBED_ROW_0; t++) {
        const bool by_token = o->u.embed.from == FH_EMBED_TOKEN;
        const uint64_t id = by_token ? b->token[t] : b->pos[t];
        if (id + o->u.embed.offset < m->out) continue;
        return fh_fail(err, FH_ERR_USAGE,
                       by_token ? "run a step, token %llu is not in the vocabulary of %llu"
                                : "run a step, position %llu is past the %llu that the model has",
                       (unsigned long long)id, (unsigned long long)(m->out - o->u.embed.offset));
    }
    return FH_OK;
}

/* Rows [lo, hi] of every sequence lie in pages. */
static bool pages_are_there(const fh_exec *x, uint32_t group, const fh_batch_seq *q, uint64_t lo, uint64_t hi) {
    if (q->page[group] == NULL) return false;
    for (uint64_t p = lo / x->layout.page; p <= hi / x->layout.page; p++) {
        if (q->page[group][p] == NULL) return false;
    }
    return true;
}

static fh_status check_state(const fh_exec *x, const fh_op *o, const fh_batch *b, fh_err *err) {
    const fh_state *s = &x->plan->state[o->state];
    for (uint32_t i = 0; i < b->n_seq; i++) {
        const fh_batch_seq *q = &b->seq[i];
        bool ok = true;
        if (q->n == 0) continue;
        if (s->kind == FH_STATE_RECURRENT) {
            ok = q->slot != NULL || s->size == 0;
        } else if (o->kind == FH_OP_STORE) {
            ok = pages_are_there(x, s->group, q, q->past, (uint64_t)q->past + q->n - 1);
        } else {
            const fh_attend_args *a = &o->u.attend;
            const uint64_t rows = s->kind == FH_STATE_CROSS ? q->encoder_rows : (uint64_t)q->past + q->n;
            uint64_t lo, hi, none;
            if (!fh_ref_mask_range(a->mask, a->window, q->past, rows, &lo, &none)) continue;
            if (!fh_ref_mask_range(a->mask, a->window, (uint64_t)q->past + q->n - 1, rows, &none, &hi)) continue;
            ok = pages_are_there(x, s->group, q, lo, hi);
        }
        if (!ok) {
            return fh_fail(err, FH_ERR_USAGE, "run a step, sequence %u has no memory for state '%.*s'", i,
                           FH_STR_ARG(s->name));
        }
    }
    return FH_OK;
}

static fh_status check_adapters(const fh_exec *x, const fh_op *o, const fh_batch *b, fh_err *err) {
    const fh_matrix *m = &x->plan->matrix[o->matrix];
    for (uint32_t i = 0; i < b->n_seq; i++) {
        const fh_adapter_set *set = b->seq[i].adapters;
        if (set == NULL || set->matrix == NULL || set->matrix[o->matrix].instead == NULL) continue;
        const fh_matrix *n = set->matrix[o->matrix].instead;
        if (n->out == m->out && n->in == m->in && n->n_mat == m->n_mat && !n->transposed) continue;
        return fh_fail(err, FH_ERR_UNSUPPORTED, "run a step, an adapter's '%.*s' has another shape than the model's",
                       FH_STR_ARG(n->name));
    }
    return FH_OK;
}

static fh_status check_batch(const fh_exec *x, const fh_batch *b, uint32_t n_op, bool adapted, fh_err *err) {
    FH_TRY(check_shape(x, b, err));
    for (uint32_t i = 0; i < n_op; i++) {
        const fh_op *o = &x->plan->op[i];
        if (o->kind == FH_OP_EMBED) FH_TRY(check_embed(x, o, b, err));
        if (o->state != FH_NO_ID) FH_TRY(check_state(x, o, b, err));
        if (adapted && o->matrix != FH_NO_ID) FH_TRY(check_adapters(x, o, b, err));
    }
    return FH_OK;
}

/* ---- the step ---- */
static void walk(void *ctx, int worker, int n_worker) {
    fh_exec *x = ctx;
    fh_cpu_worker *w = &x->worker[worker];
    FH_REQUIRE(w->n == n_worker);
    if (x->plan->n_rope != 0) {
        fh_cpu_fill_angles(x, w);
        fh_pool_barrier(x->pool);
    }
    uint64_t before = x->profile && worker == 0 ? fh_clock_ns() : 0;
    w->form_of.value = FH_NO_VALUE;
    for (uint32_t i = 0; i < x->n_step; i++) {
        const fh_cpu_step *s = &x->step[i];
        if (s->op + s->n_op > x->n_run) break;
        if (s->wait == FH_WAIT_ALWAYS ||
            (s->wait == FH_WAIT_UNLESS_ROWS &&
             !fh_cpu_whole_rows(w, fh_value_rows(&x->plan->value[s->rows_of], &x->extent)))) {
            fh_pool_barrier(x->pool);
        }
        s->run(x, &x->plan->op[s->op], w);
        for (uint32_t k = 0; k < s->n_op; k++) fh_cpu_form_note(w, &x->plan->op[s->op + k]);
        if (!x->profile || worker != 0) continue;
        const uint64_t now = fh_clock_ns();
        x->ns[s->op + s->n_op - 1] += now - before;
        before = now;
    }
}

fh_status fh_exec_run(fh_exec *x, const fh_batch *batch, unsigned want, fh_err *err) {
    uint32_t n_run = x->state_op;
    bool adapted = false;
    for (int e = 0; e < FH_EXPORT_COUNT; e++) {
        if ((want >> e & 1u) == 0) continue;
        if (x->plan->exported[e] == FH_NO_VALUE) {
            return fh_fail(err, FH_ERR_USAGE, "run plan '%.*s', it does not make what is wanted",
                           FH_STR_ARG(x->plan->name));
        }
        n_run = FH_MAX(n_run, x->export_op[e]);
    }
    for (uint32_t s = 0; s < batch->n_seq; s++) adapted = adapted || batch->seq[s].adapters != NULL;
    FH_TRY(check_batch(x, batch, n_run, adapted, err));
    x->batch = batch;
    x->extent = (fh_extent){{1, batch->n_token, batch->n_row}};
    x->n_run = n_run;
    x->adapted = adapted;
    for (uint32_t i = 0; i < x->plan->n_op; i++) atomic_init(&x->claim[i], 0);
#ifdef FH_TEST_BUILD
    const uint64_t calls = fh_mem_get_stats().calls;
#endif
    fh_pool_run(x->pool, walk, x);
#ifdef FH_TEST_BUILD
    FH_REQUIRE(fh_mem_get_stats().calls == calls); /* a step allocates nothing */
#endif
    return FH_OK;
}

/* ---- afterwards ---- */
const float *fh_exec_value(const fh_exec *x, uint32_t value) {
    const fh_plan *p = x->plan;
    if (value >= p->n_value || x->batch == NULL || p->value[value].first_op >= x->n_run) return NULL;
    const fh_value *v = &p->value[value];
    const uint64_t at = x->offset[value], end = at + fh_value_rows(v, &x->ceiling) * v->width * sizeof(float);
    for (uint32_t i = 0; i < p->n_value; i++) {
        const fh_value *o = &p->value[i];
        if (i == value || o->first_op >= x->n_run || o->first_op <= v->first_op) continue;
        const uint64_t o_end = x->offset[i] + fh_value_rows(o, &x->ceiling) * o->width * sizeof(float);
        if (x->offset[i] < end && at < o_end) return NULL;
    }
    return fh_cpu_value(x, value);
}

const float *fh_exec_export(const fh_exec *x, fh_export what) {
    const uint32_t v = x->plan->exported[what];
    if (v == FH_NO_VALUE || x->n_run < x->export_op[what]) return NULL;
    return fh_exec_value(x, v);
}

void fh_exec_watch(fh_exec *x, fh_exec_watch_fn *fn, void *ctx) {
    x->watch = fn;
    x->watch_ctx = ctx;
}

void fh_exec_profile(fh_exec *x, bool on) {
    x->profile = on;
    memset(x->ns, 0, x->plan->n_op * sizeof *x->ns);
}

const uint64_t *fh_exec_ns(const fh_exec *x) { return x->ns; }
