/* tests/unit/test_fast_delta.c - the gated delta rule of the fast mode against exact mode's, alone and in plans.
 * SPDX-License-Identifier: Apache-2.0
 * Inputs are what models make (keys of length 1, decays of at most 1) and what is hardest for chunks: decays that lose
 * everything or nothing, rates of 0, 1 and 2, the same key again and again. */
#include "kernel/fast_delta.h"

#include <math.h>

#include "kernel/ref_op.h"
#include "kernel/ref_op_dot.h"
#include "test_fast_op_lab.h"

enum { EDGE = 3 };
#define CANARY 12345.0f
#define MOST 2e-6 /* relative RMS against exact mode; 8e-7 is the worst that was seen */

typedef enum decay_kind { FAST_DECAYS, SLOW_DECAYS, NO_DECAY, ALL_DECAYS, LOST_DECAYS, DECAY_KINDS } decay_kind;
typedef enum rate_kind { ANY_RATE, RATE_0, RATE_1, RATE_0_OR_1, RATE_2, RATE_KINDS } rate_kind;
typedef enum key_kind { ANY_KEY, ONE_KEY, TWO_KEYS, KEY_KINDS } key_kind;

/* Tokens of one head, in rows with gaps; what is not a column of `out` and `s` is CANARY. */
typedef struct head {
    fh_rng rng;
    uint32_t n, dk, dv, ld;
    float *all, *q, *k, *v, *g, *beta, *start, *room;
    float *out[2], *s[2]; /* exact, fast */
    size_t out_floats, s_floats;
} head;

static float normal(fh_rng *r) {
    const double a = sqrt(-2 * log(1 - fh_rng_f64(r))), b = 6.283185307179586 * fh_rng_f64(r);
    return (float)(a * cos(b));
}

static void unit_row(fh_rng *r, float *x, uint32_t n) {
    double all = 1e-12;
    for (uint32_t i = 0; i < n; i++) {
        x[i] = normal(r);
        all += (double)x[i] * (double)x[i];
    }
    for (uint32_t i = 0; i < n; i++) x[i] = (float)((double)x[i] / sqrt(all));
}

static float decay_of(fh_rng *r, decay_kind kind) {
    const double u = fh_rng_f64(r);
    switch (kind) {
    case FAST_DECAYS: return (float)(-20 * u);
    case SLOW_DECAYS: return (float)(-1e-4 * u);
    case NO_DECAY: return 0;
    case LOST_DECAYS: return u < 0.2 ? -INFINITY : u < 0.4 ? -1e30f : u < 0.6 ? -90 : (float)-u;
    default: return (float)(-exp(20 * u - 16));
    }
}

static float rate_of(fh_rng *r, rate_kind kind) {
    const double u = fh_rng_f64(r);
    switch (kind) {
    case RATE_0: return 0;
    case RATE_1: return 1;
    case RATE_0_OR_1: return u < 0.5 ? 0 : 1;
    case RATE_2: return (float)(2 * u);
    default: return (float)u;
    }
}

static void open_head(head *h, uint64_t stream, uint32_t n, uint32_t dk, uint32_t dv) {
    *h = (head){.n = n, .dk = dk, .dv = dv, .ld = FH_MAX(dk, dv) + EDGE};
    fh_rng_init(&h->rng, fh_test_seed(), stream);
    h->out_floats = (size_t)n * h->ld;
    h->s_floats = (size_t)dk * h->ld;
    const size_t room = (size_t)fh_delta_room(dk, dv), floats = 5 * h->out_floats + 3 * h->s_floats + 2 * n + room + 1;
    float *at = h->all = fh_alloc_zero(floats, sizeof *h->all);
    CHECK(at != NULL);
    h->q = at, at += h->out_floats;
    h->k = at, at += h->out_floats;
    h->v = at, at += h->out_floats;
    for (int i = 0; i < 2; i++) {
        h->out[i] = at, at += h->out_floats;
        h->s[i] = at, at += h->s_floats;
        for (size_t j = 0; j < h->out_floats; j++) h->out[i][j] = CANARY;
    }
    h->start = at, at += h->s_floats;
    h->g = at, at += n;
    h->beta = at, at += n;
    h->room = at;
    at[room] = CANARY;
}

static void fill_head(head *h, decay_kind decay, rate_kind rate, key_kind key) {
    float some[2][512];
    for (int i = 0; i < 2; i++) unit_row(&h->rng, some[i], h->dk);
    for (uint32_t t = 0; t < h->n; t++) {
        unit_row(&h->rng, h->q + (size_t)t * h->ld, h->dk);
        unit_row(&h->rng, h->k + (size_t)t * h->ld, h->dk);
        if (key != ANY_KEY)
            memcpy(h->k + (size_t)t * h->ld, some[key == TWO_KEYS && t % 3 == 0], h->dk * sizeof(float));
        for (uint32_t i = 0; i < h->dv; i++) h->v[(size_t)t * h->ld + i] = normal(&h->rng);
        h->g[t] = decay_of(&h->rng, decay);
        h->beta[t] = rate_of(&h->rng, rate);
    }
    for (size_t i = 0; i < h->s_floats; i++) h->start[i] = i % h->ld < h->dv ? normal(&h->rng) : CANARY;
    memcpy(h->s[0], h->start, h->s_floats * sizeof(float));
}

static void run_exact(head *h) {
    for (uint32_t t = 0; t < h->n; t++) {
        const size_t at = (size_t)t * h->ld;
        fh_dot_base.delta(h->s[0], h->ld, h->dk, h->dv, h->q + at, h->k + at, h->v + at, fh_ref_exp(h->g[t]),
                          h->beta[t], h->out[0] + at);
    }
}

/* Columns [from, to), tokens [first, first + n). */
static void run_fast(head *h, void (*run)(const fh_delta_work *w), uint32_t from, uint32_t to, uint32_t first,
                     uint32_t n) {
    const size_t at = (size_t)first * h->ld;
    const fh_delta_work w = {.n_token = n,
                             .k_width = h->dk,
                             .n_col = to - from,
                             .q = h->q + at,
                             .k = h->k + at,
                             .v = h->v + at + from,
                             .g = h->g + first,
                             .beta = h->beta + first,
                             .s = h->s[1] + from,
                             .out = h->out[1] + at + from,
                             .q_ld = h->ld,
                             .k_ld = h->ld,
                             .v_ld = h->ld,
                             .g_ld = 1,
                             .beta_ld = 1,
                             .s_ld = h->ld,
                             .out_ld = h->ld,
                             .room = h->room};
    run(&w);
    CHECK(h->room[fh_delta_room(h->dk, h->dv)] == CANARY);
}

static void begin_fast(head *h) {
    memcpy(h->s[1], h->start, h->s_floats * sizeof(float));
    for (size_t i = 0; i < h->out_floats; i++) h->out[1][i] = CANARY;
}

/* Relative RMS of columns, where exact mode has any; canaries stand. */
static double error_of(const head *h, float *const *x, size_t floats) {
    double error = 0, all = 0;
    for (size_t i = 0; i < floats; i++) {
        if (i % h->ld >= h->dv) {
            CHECK(x[1][i] == CANARY);
            continue;
        }
        const double d = (double)x[1][i] - (double)x[0][i];
        error += d * d;
        all += (double)x[0][i] * (double)x[0][i];
    }
    return sqrt(error / (all + 1e-30));
}

static void check_head(const head *h, const char *what) {
    const double out = error_of(h, h->out, h->out_floats), state = error_of(h, h->s, h->s_floats);
    if (!(out <= MOST) || !(state <= MOST)) {
        fh_test_fail(__FILE__, __LINE__, "%s, %u tokens, %u x %u: relative errors %g of what is read, %g of the state",
                     what, h->n, h->dk, h->dv, out, state);
    }
}

static const fh_fast_delta *delta_at(size_t i) {
    size_t n;
    const fh_fast_delta *const *list = fh_fast_delta_list(&n);
    return i >= n ? NULL : list[i];
}

#define EVERY(fast) \
    for (size_t at_ = 0; delta_at(at_) != NULL; at_++) \
        for (const fh_fast_delta *fast = delta_at(at_); fast != NULL; fast = NULL) \
            if (fh_cpu_has_level(fast->level))

/* Every kind of decay with every kind of rate and key, at lengths around chunks and shapes around vectors. */
TEST(fast_delta, as_exact_mode) {
    static const uint32_t TOKENS[] = {1, 2, 5, 6, 31, 32, 33, 63, 64, 65, 100, 300};
    static const struct { uint32_t dk, dv; } SHAPE[] = {{128, 128}, {96, 192}, {16, 16}, {1, 1}, {7, 37}, {130, 70}};
    for (uint32_t c = 0; c < DECAY_KINDS * RATE_KINDS * KEY_KINDS; c++) {
        head h;
        const uint32_t i = c % FH_COUNT(SHAPE);
        open_head(&h, 100 + c, TOKENS[c * 7 % FH_COUNT(TOKENS)], SHAPE[i].dk, SHAPE[i].dv);
        fill_head(&h, (decay_kind)(c % DECAY_KINDS), (rate_kind)(c / DECAY_KINDS % RATE_KINDS),
                  (key_kind)(c / DECAY_KINDS / RATE_KINDS));
        run_exact(&h);
        EVERY(fast) {
            begin_fast(&h);
            run_fast(&h, fast->steps, 0, h.dv, 0, h.n);
            check_head(&h, "steps");
            begin_fast(&h);
            run_fast(&h, fast->chunks, 0, h.dv, 0, h.n);
            check_head(&h, "chunks");
        }
        fh_free(h.all);
    }
}

TEST(fast_delta, any_shape) {
    for (uint32_t round = 0; round < 60; round++) {
        head h;
        fh_rng r;
        fh_rng_init(&r, fh_test_seed(), 300 + round);
        open_head(&h, 400 + round, 1 + (uint32_t)fh_rng_below(&r, 80), 1 + (uint32_t)fh_rng_below(&r, 140),
                  1 + (uint32_t)fh_rng_below(&r, 140));
        fill_head(&h, ALL_DECAYS, ANY_RATE, ANY_KEY);
        run_exact(&h);
        EVERY(fast) {
            begin_fast(&h);
            run_fast(&h, round % 2 ? fast->steps : fast->chunks, 0, h.dv, 0, h.n);
            check_head(&h, fast->name);
        }
        fh_free(h.all);
    }
}

/* Workers may have any columns; batches may end anywhere. */
TEST(fast_delta, pieces) {
    head h;
    open_head(&h, 500, 150, 128, 150);
    fill_head(&h, ALL_DECAYS, ANY_RATE, ANY_KEY);
    run_exact(&h);
    float *out = fh_alloc(h.out_floats, sizeof *out), *s = fh_alloc(h.s_floats, sizeof *s);
    CHECK(out != NULL && s != NULL);
    EVERY(fast) {
        for (int way = 0; way < 2; way++) {
            void (*run)(const fh_delta_work *w) = way ? fast->chunks : fast->steps;
            begin_fast(&h);
            run_fast(&h, run, 0, h.dv, 0, h.n);
            memcpy(out, h.out[1], h.out_floats * sizeof *out);
            memcpy(s, h.s[1], h.s_floats * sizeof *s);
            begin_fast(&h);
            for (uint32_t c = 0, n = 1; c < h.dv; c += n, n += 17) run_fast(&h, run, c, FH_MIN(c + n, h.dv), 0, h.n);
            CHECK(memcmp(out, h.out[1], h.out_floats * sizeof *out) == 0);
            CHECK(memcmp(s, h.s[1], h.s_floats * sizeof *s) == 0);
        }
        begin_fast(&h);
        for (uint32_t t = 0, n = 1; t < h.n; t += n, n += 7) {
            run_fast(&h, n % 2 ? fast->steps : fast->chunks, 0, h.dv, t, FH_MIN(n, h.n - t));
        }
        check_head(&h, "pieces");
    }
    fh_free(out);
    fh_free(s);
    fh_free(h.all);
}

/* What is no number stays so, and stays in its column. */
TEST(fast_delta, what_is_no_number) {
    EVERY(fast) {
        for (int way = 0; way < 2; way++) {
            head h;
            open_head(&h, 510, 70, 24, 40);
            fill_head(&h, SLOW_DECAYS, ANY_RATE, ANY_KEY);
            h.v[(size_t)20 * h.ld + 11] = NAN;
            begin_fast(&h);
            run_fast(&h, way ? fast->chunks : fast->steps, 0, h.dv, 0, h.n);
            for (uint32_t c = 0; c < h.dv; c++) {
                CHECK(isnan(h.s[1][c]) == (c == 11));
                CHECK(isnan(h.out[1][(size_t)69 * h.ld + c]) == (c == 11));
                CHECK(!isnan(h.out[1][(size_t)14 * h.ld + c]));
            }
            h.g[3] = NAN;
            begin_fast(&h);
            run_fast(&h, way ? fast->chunks : fast->steps, 0, h.dv, 0, h.n);
            for (uint32_t c = 0; c < h.dv; c++) CHECK(isnan(h.s[1][c]));
            fh_free(h.all);
        }
    }
}

/* ---- in plans: ragged batches, several threads, heads that share keys ---- */
static fh_view normed(lab *l, uint32_t heads, uint32_t width) {
    const fh_view x = fh_view_heads(lab_input(l, heads * width), heads, width, width);
    fh_op *o = lab_op(l, FH_OP_NORM);
    o->in[0] = o->out[0] = x;
    o->u.norm = (fh_norm_args){.kind = FH_NORM_L2, .eps = 1e-6f};
    return x;
}

static void delta_plan(lab *l, uint32_t keys, uint32_t heads, uint32_t dk, uint32_t dv, fh_head_map map) {
    const fh_view q = normed(l, keys, dk), k = normed(l, keys, dk), v = lab_input(l, heads * dv),
                  a = lab_input(l, heads), b = lab_input(l, heads), g = lab_out(l, heads), y = lab_out(l, heads * dv);
    fh_op *o = lab_op(l, FH_OP_MAP);
    o->in[0] = o->out[0] = b;
    o->u.map.kind = FH_MAP_SIGMOID;
    o = lab_op(l, FH_OP_DECAY);
    o->in[0] = a;
    o->out[0] = g;
    o->vec[0] = lab_vector(l, heads);
    for (uint32_t h = 0; h < heads; h++) {
        ((float *)(uintptr_t)l->vector[o->vec[0]].v)[h] = h % 3 == 2 ? -40.0f : -0.3f * (float)h;
    }
    o = lab_op(l, FH_OP_DELTA);
    o->in[0] = q;
    o->in[1] = k;
    o->in[2] = fh_view_heads(v, heads, dv, dv);
    o->in[3] = g;
    o->in[4] = fh_view_heads(b, heads, 1, 1);
    o->out[0] = y;
    o->u.delta.map = map;
    o->state = lab_state(l, (fh_state){.kind = FH_STATE_RECURRENT, .size = (uint64_t)heads * dk * dv}, 0);
    lab_end(l, y);
}

TEST(fast_delta, in_plans) {
    static const struct { uint32_t keys, ratio, dk, dv; } SHAPE[] = {{2, 2, 128, 128}, {3, 1, 24, 40}, {1, 3, 16, 64}};
    for (uint32_t round = 0; round < 6; round++) {
        lab l;
        const uint32_t i = round % 3, heads = SHAPE[i].keys * SHAPE[i].ratio;
        lab_init(&l, 600 + round, 4, round < 3 ? (uint32_t[]){70, 1, 5, 33} : (uint32_t[]){1, 6, 2, 300});
        delta_plan(&l, SHAPE[i].keys, heads, SHAPE[i].dk, SHAPE[i].dv, round < 3 ? FH_HEADS_GROUPED : FH_HEADS_TILED);
        fast_pair one = lab_run_fast(&l, &(lab_way){1, 32, 1u << 20, FH_DTYPE_F32});
        CHECK_FAST(one, MOST);
        for (int threads = 2; threads <= 7; threads += 5) { /* fewer than heads, and more: heads are cut */
            fast_pair many = lab_run_fast(&l, &(lab_way){threads, 32, 1u << 20, FH_DTYPE_F32});
            CHECK(memcmp(one.fast, many.fast, one.n * sizeof *one.fast) == 0);
            fast_pair_release(&many);
        }
        fast_pair parts = lab_run_fast(&l, &(lab_way){2, 32, 9, FH_DTYPE_F32});
        CHECK_FAST(parts, MOST);
        fast_pair_release(&parts);
        fast_pair_release(&one);
        lab_release(&l);
    }
}
