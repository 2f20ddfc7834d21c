/* device/cpu_attend.c - attention over paged state, on the CPU.
 * SPDX-License-Identifier: Apache-2.0
 * A unit of work is some tokens of one sequence and some heads that share a key head: a block of keys and values is
 * widened once and used by all of them. Which tokens and heads go together cannot be seen in the results: each pair
 * meets the same blocks in the same order (kernel/ref_op.h). */
#include "device/cpu_part.h"

#include "kernel/decode.h"

typedef struct work {
    const fh_op *o;
    const fh_state *state;
    fh_view q, out;
    uint32_t ratio;         /* heads to a key head */
    uint32_t tokens, heads; /* of a unit, at most */
} work;

/* Part of the work: tokens [first, first + n) of seq, heads [head, head + n_head) of a key head. */
typedef struct unit {
    const fh_batch_seq *seq;
    uint32_t first, n, key_head, head, n_head;
} unit;

void fh_cpu_size_attend(const fh_plan *p, fh_cpu_sizes *s) {
    for (uint32_t i = 0; i < p->n_op; i++) {
        if (p->op[i].kind != FH_OP_ATTEND) continue;
        const fh_state *st = &p->state[p->op[i].state];
        s->key_floats = FH_MAX(s->key_floats, (uint64_t)FH_REF_KEYS * st->k_width);
        s->value_floats = FH_MAX(s->value_floats, (uint64_t)FH_REF_KEYS * st->v_width);
        s->acc_floats = FH_MAX(s->acc_floats, (uint64_t)FH_CPU_PAIRS * st->v_width);
        if (p->op[i].u.attend.buckets != 0) s->bucket_count += 2 * (uint64_t)p->op[i].u.attend.max_distance + 1;
    }
}

static uint64_t units_of(const work *a, const fh_batch_seq *seq) {
    return fh_ceil_div(seq->n, a->tokens) * a->state->heads * fh_ceil_div(a->ratio, a->heads);
}

static uint64_t count_units(const fh_exec *x, const work *a) {
    uint64_t n = 0;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) n += units_of(a, &x->batch->seq[s]);
    return n;
}

/* Units as large as scratch permits, but two or more for each worker where that is possible. */
static void choose_units(const fh_exec *x, work *a, int n_worker) {
    a->heads = FH_MIN(a->ratio, (uint32_t)FH_CPU_PAIRS);
    a->tokens = FH_CPU_PAIRS / a->heads;
    while (count_units(x, a) < 2 * (uint64_t)n_worker) {
        if (a->tokens > 1) {
            a->tokens = (a->tokens + 1) / 2;
        } else if (a->heads > 1) {
            a->heads = (a->heads + 1) / 2;
        } else {
            return;
        }
    }
}

static unit unit_at(const work *a, const fh_batch_seq *seq, uint64_t u) {
    const uint64_t parts = fh_ceil_div(a->ratio, a->heads);
    unit r = {.seq = seq};
    r.head = (uint32_t)(u % parts) * a->heads;
    r.n_head = FH_MIN(a->heads, a->ratio - r.head);
    r.key_head = (uint32_t)(u / parts % a->state->heads);
    r.first = (uint32_t)(u / parts / a->state->heads) * a->tokens;
    r.n = FH_MIN(a->tokens, seq->n - r.first);
    return r;
}

static uint64_t rows_there(const work *a, const fh_batch_seq *seq) {
    return a->state->kind == FH_STATE_CROSS ? seq->encoder_rows : (uint64_t)seq->past + seq->n;
}

/* Rows that token i of the unit sees. */
static bool range_of(const work *a, const unit *u, uint32_t i, uint64_t *lo, uint64_t *hi) {
    const fh_attend_args *g = &a->o->u.attend;
    return fh_ref_mask_range(g->mask, g->window, (uint64_t)u->seq->past + u->first + i, rows_there(a, u->seq), lo, hi);
}

/* Keys and values of rows [lo, hi] of one block, to f32; returns how far apart rows of values are. */
static size_t load_block(const fh_exec *x, const work *a, const unit *u, uint64_t lo, uint64_t hi, fh_cpu_worker *w,
                         const float **values) {
    const fh_state_place *at = &x->layout.place[a->o->state];
    const uint32_t kw = a->state->k_width, vw = a->state->v_width;
    const bool latent = a->state->kind == FH_STATE_LATENT;
    for (uint64_t r = lo; r <= hi; r++) {
        const size_t i = (size_t)(r - lo);
        fh_decode(at->k_type, fh_cpu_state_row(x, u->seq, a->o->state, u->key_head, r, false), w->keys + i * kw, kw);
        w->x[i] = w->keys + i * kw;
        if (latent) continue;
        fh_decode(at->v_type, fh_cpu_state_row(x, u->seq, a->o->state, u->key_head, r, true), w->values + i * vw, vw);
    }
    *values = latent ? w->keys : w->values;
    return latent ? kw : vw;
}

static void fill_bias(const fh_exec *x, const work *a, const unit *u, uint32_t h, uint64_t q, uint64_t lo, size_t n,
                      float *bias) {
    const uint32_t *bucket = x->bucket[a->o - x->plan->op];
    const int64_t most = a->o->u.attend.max_distance;
    const uint64_t heads = a->q.heads;
    const float *v = fh_cpu_vector(x, a->o, 1, u->seq);
    for (size_t i = 0; i < n; i++) {
        int64_t d = (int64_t)(lo + i) - (int64_t)q;
        d = FH_MAX(FH_MIN(d, most), -most);
        bias[i] = v[bucket[d + most] * heads + h];
    }
}

static void do_block(const fh_exec *x, const work *a, const unit *u, uint64_t block, uint64_t lo, uint64_t hi,
                     fh_cpu_worker *w) {
    const fh_attend_args *g = &a->o->u.attend;
    const uint32_t kw = a->state->k_width, vw = a->state->v_width;
    float score[FH_REF_KEYS], bias[FH_REF_KEYS];
    const float *values;
    const uint64_t first = FH_MAX(lo, block), last = FH_MIN(hi, block + FH_REF_KEYS - 1);
    const size_t ld = load_block(x, a, u, first, last, w, &values);
    for (uint32_t i = 0; i < u->n; i++) {
        uint64_t from, to;
        if (!range_of(a, u, i, &from, &to) || from > last || to < first) continue;
        from = FH_MAX(from, first);
        to = FH_MIN(to, last);
        const size_t n = (size_t)(to - from + 1), skip = (size_t)(from - first);
        for (uint32_t j = 0; j < u->n_head; j++) {
            const uint32_t h = u->key_head * a->ratio + u->head + j;
            const uint64_t t = (uint64_t)u->seq->first + u->first + i;
            const float *q = fh_cpu_row(x, &a->q, t) + (size_t)h * a->q.stride;
            const size_t pair = (size_t)i * u->n_head + j;
            fh_dot_best()->dots(q, w->x + skip, n, kw, score);
            if (g->buckets != 0) fill_bias(x, a, u, h, (uint64_t)u->seq->past + u->first + i, from, n, bias);
            fh_ref_attend_block(&w->softmax[pair], g->scale, g->softcap, score, g->buckets != 0 ? bias : NULL,
                                values + skip * ld, ld, n, w->acc + pair * vw, vw);
        }
    }
}

static void do_unit(const fh_exec *x, const work *a, const unit *u, fh_cpu_worker *w) {
    const uint32_t vw = a->state->v_width;
    const size_t pairs = (size_t)u->n * u->n_head;
    uint64_t lo = UINT64_MAX, hi = 0;
    for (uint32_t i = 0; i < u->n; i++) {
        uint64_t from, to;
        if (!range_of(a, u, i, &from, &to)) continue;
        lo = FH_MIN(lo, from);
        hi = FH_MAX(hi, to);
    }
    memset(w->acc, 0, pairs * vw * sizeof *w->acc);
    memset(w->softmax, 0, pairs * sizeof *w->softmax);
    if (lo != UINT64_MAX) {
        for (uint64_t b = lo / FH_REF_KEYS * FH_REF_KEYS; b <= hi; b += FH_REF_KEYS) do_block(x, a, u, b, lo, hi, w);
    }
    const float *sink = fh_cpu_vector(x, a->o, 0, u->seq);
    for (uint32_t i = 0; i < u->n; i++) {
        for (uint32_t j = 0; j < u->n_head; j++) {
            const uint32_t h = u->key_head * a->ratio + u->head + j;
            const size_t pair = (size_t)i * u->n_head + j;
            float *out = fh_cpu_row(x, &a->out, (uint64_t)u->seq->first + u->first + i) + (size_t)h * a->out.stride;
            fh_ref_attend_end(&w->softmax[pair], sink ? sink + h : NULL, w->acc + pair * vw, out, vw);
        }
    }
}

/* Later tokens see more rows: units go round the workers one by one, so that all have some of each. */
void fh_cpu_run_attend(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    work a = {.o = o, .state = &x->plan->state[o->state], .q = o->in[0], .out = o->out[0]};
    const uint32_t heads = (uint32_t)((uint64_t)a.q.heads * a.q.width / a.state->k_width);
    if (!fh_view_reshape(&a.q, heads, a.state->k_width) || !fh_view_reshape(&a.out, heads, a.state->v_width)) return;
    a.ratio = heads / a.state->heads;
    choose_units(x, &a, w->n);
    uint64_t before = 0;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) {
        const fh_batch_seq *seq = &x->batch->seq[s];
        const uint64_t n = units_of(&a, seq);
        const uint64_t n_worker = (uint64_t)w->n, mine = (uint64_t)w->index;
        for (uint64_t i = (mine + n_worker - before % n_worker) % n_worker; i < n; i += n_worker) {
            const unit u = unit_at(&a, seq, i);
            do_unit(x, &a, &u, w);
        }
        before += n;
    }
}
