/* tests/unit/test_fast_op.c - the loops of the fast mode against the slow truth, and their ops in plans.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/fast_op.h"

#include <math.h>

#include "kernel/decode.h"
#include "kernel/ref_op.h"
#include "test_fast_op_lab.h"

enum { N = 300 };

static fh_rng rng;

static void fill(float *x, size_t n, double most) {
    for (size_t i = 0; i < n; i++) x[i] = (float)((fh_rng_f64(&rng) * 2 - 1) * most);
}

static size_t some(void) { return 1 + (size_t)fh_rng_below(&rng, N - 1); }

/* Every number within `most` of the true one, relative to it or to `unit`; nothing behind the last is touched. */
static void same(const char *what, const float *got, const float *want, size_t n, double most, double unit) {
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)got[i] - (double)want[i]), size = fabs((double)want[i]) + unit;
        if (!(d <= most * size)) {
            fh_test_fail(__FILE__, __LINE__, "%s: number %zu of %zu is %.9g, not %.9g", what, i, n, (double)got[i],
                         (double)want[i]);
        }
    }
    CHECK(got[n] == 7);
}

static const fh_fast_ops *ops_at(size_t i) {
    size_t n;
    const fh_fast_ops *const *list = fh_fast_ops_list(&n);
    return i >= n ? NULL : list[i];
}

#define EVERY(ops) \
    for (size_t at_ = 0; ops_at(at_) != NULL; at_++) \
        for (const fh_fast_ops *ops = ops_at(at_); ops != NULL; ops = NULL) \
            if (fh_cpu_has_level(ops->level))

TEST(fast_op, norms) {
    float x[N], w[N], b[N], y[N + 1], want[N];
    fh_rng_init(&rng, fh_test_seed(), 1);
    EVERY(ops) {
        for (int round = 0; round < 60; round++) {
            const size_t n = some();
            const fh_norm_kind kind = (fh_norm_kind)(round % 3);
            fill(x, N, 3);
            fill(w, N, 2);
            fill(b, N, 1);
            y[n] = 7;
            ops->norm(kind, 1e-5f, x, round % 2 ? w : NULL, round % 5 ? b : NULL, y, n);
            fh_ref_norm(kind, 1e-5f, x, round % 2 ? w : NULL, round % 5 ? b : NULL, want, n);
            same(ops->name, y, want, n, 3e-6, 1);
            memcpy(y, x, n * sizeof *y); /* in place */
            ops->norm(kind, 1e-5f, y, w, NULL, y, n);
            fh_ref_norm(kind, 1e-5f, x, w, NULL, want, n);
            same(ops->name, y, want, n, 3e-6, 1);
        }
    }
}

TEST(fast_op, maps_and_gates) {
    float x[N], u[N], y[N + 1], want[N];
    fh_rng_init(&rng, fh_test_seed(), 2);
    EVERY(ops) {
        for (int k = 0; k < FH_MAP_COUNT; k++) {
            for (int round = 0; round < 12; round++) {
                const size_t n = some();
                const double most = k == FH_MAP_GELU_ERF ? 1e-5 : 2e-6; /* absolute there: 5e-7 */
                const float c = 1.5f, limit = round % 3 == 1 ? 1.1f : 0;
                fill(x, N, round % 2 ? 5 : 0.1);
                fill(u, N, 2);
                if (round == 6) fill(x, N, 200);
                y[n] = 7;
                ops->map((fh_map_kind)k, c, x, y, n);
                fh_ref_map((fh_map_kind)k, c, x, want, n);
                same(ops->name, y, want, n, most, 0.05);
                ops->glu((fh_map_kind)k, c, limit, x, round % 4 == 3, u, y, n);
                fh_ref_glu((fh_map_kind)k, c, limit, x, round % 4 == 3, u, want, n);
                same(ops->name, y, want, n, most, 0.05);
            }
        }
    }
}

TEST(fast_op, maps_of_what_is_no_number) {
    const float x[4] = {NAN, INFINITY, -INFINITY, 0};
    float y[4], want[4];
    EVERY(ops) {
        for (int k = 0; k < FH_MAP_COUNT; k++) {
            if (k == FH_MAP_CLAMP || k == FH_MAP_OAI_SWIGLU) continue; /* they bring infinity back */
            ops->map((fh_map_kind)k, 2, x, y, 4);
            fh_ref_map((fh_map_kind)k, 2, x, want, 4);
            for (int i = 0; i < 4; i++) {
                if (isnan(want[i]) ? !isnan(y[i]) && i == 0 : isinf(want[i]) && y[i] != want[i]) {
                    fh_test_fail(__FILE__, __LINE__, "%s: map %d of %g is %g, not %g", ops->name, k, (double)x[i],
                                 (double)y[i], (double)want[i]);
                }
            }
        }
    }
}

TEST(fast_op, rotations_and_sums) {
    float x[N + 1], y[N + 1], c[N], s[N];
    fh_rng_init(&rng, fh_test_seed(), 3);
    EVERY(ops) {
        for (int round = 0; round < 40; round++) {
            const size_t pairs = 1 + (size_t)fh_rng_below(&rng, N / 2 - 1);
            const fh_rope_layout layout = round % 2 ? FH_ROPE_PAIRS : FH_ROPE_HALVES;
            fill(c, N, 1);
            fill(s, N, 1);
            fill(x, N, 2);
            memcpy(y, x, sizeof x);
            y[2 * pairs] = 7;
            ops->rope(layout, round % 3 == 0, c, s, y, pairs);
            fh_ref_rope(layout, round % 3 == 0, c, s, x, pairs, NULL);
            same(ops->name, y, x, 2 * pairs, 1e-6, 0.3);
            const size_t n = some();
            y[n] = 7;
            ops->add(c, 0.7f, s, y, n);
            for (size_t i = 0; i < n; i++) x[i] = c[i] + 0.7f * s[i];
            same(ops->name, y, x, n, 1e-6, 0.3);
        }
    }
}

TEST(fast_op, state_has_the_same_bits) {
    static const fh_dtype TYPE[] = {FH_DTYPE_F32, FH_DTYPE_F16, FH_DTYPE_BF16, FH_DTYPE_Q8_0};
    float x[N];
    uint8_t a[4 * N], b[4 * N];
    fh_rng_init(&rng, fh_test_seed(), 4);
    EVERY(ops) {
        for (size_t round = 0; round < 80; round++) {
            const fh_dtype t = TYPE[round % FH_COUNT(TYPE)];
            const size_t n = t == FH_DTYPE_Q8_0 ? 32 * (1 + some() / 40) : some();
            if (round % 3 == 0) { /* any bits at all */
                for (size_t i = 0; i < N; i++) {
                    const uint32_t bits = fh_rng_u32(&rng);
                    memcpy(&x[i], &bits, sizeof bits);
                    if (t == FH_DTYPE_Q8_0 && !isfinite(x[i])) x[i] = 1;
                }
            } else {
                fill(x, N, round % 3 == 1 ? 3 : 1e-5);
            }
            memset(a, 0x77, sizeof a);
            memset(b, 0x77, sizeof b);
            ops->encode(t, x, a, n);
            fh_encode(t, x, b, n);
            CHECK(memcmp(a, b, sizeof a) == 0);
        }
    }
}

/* ---- in plans, on several threads ---- */
static void run_plan(lab *l, double most) {
    fast_pair a = lab_run_fast(l, &(lab_way){1, 32, 1u << 20, FH_DTYPE_F32});
    fast_pair b = lab_run_fast(l, &(lab_way){3, 16, 1u << 20, FH_DTYPE_F32});
    fast_pair c = lab_run_fast(l, &(lab_way){2, 16, 3, FH_DTYPE_F32});
    CHECK(memcmp(a.fast, b.fast, a.n * sizeof *a.fast) == 0);
    CHECK_FAST(a, most);
    CHECK_FAST(c, most);
    fast_pair_release(&a);
    fast_pair_release(&b);
    fast_pair_release(&c);
    lab_release(l);
}

/* norm of views with gaps, gate, sum, map, each reading what the one before wrote */
TEST(fast_op, a_chain_of_ops) {
    for (uint64_t round = 0; round < 6; round++) {
        lab l;
        lab_init(&l, 200 + round, 3, (uint32_t[]){5, 1, 9});
        const uint32_t heads = 1 + lab_below(&l, 4), part = 1 + lab_below(&l, 700);
        const fh_view in = lab_input(&l, heads * (part + 3)), up = lab_input(&l, heads * part);
        const fh_view v = fh_view_cols(fh_view_heads(in, heads, part + 3, part + 3), 2, part);
        const fh_view n = lab_out(&l, heads * part), g = lab_out(&l, heads * part), s = lab_out(&l, heads * part),
                      y = lab_out(&l, heads * part);
        fh_op *o = lab_op(&l, FH_OP_NORM);
        o->in[0] = v;
        o->out[0] = n;
        o->u.norm = (fh_norm_args){.kind = (fh_norm_kind)(round % 3), .eps = 1e-5f, .per_head = round % 2 == 1};
        o->vec[0] = lab_vector(&l, round % 2 == 1 ? heads * part : part);
        o = lab_op(&l, FH_OP_GLU);
        o->in[0] = n;
        o->in[1] = up;
        o->out[0] = g;
        o->u.map = (fh_map_args){.kind = round < 3 ? FH_MAP_SILU : FH_MAP_GELU_TANH};
        o = lab_op(&l, FH_OP_ADD);
        o->in[0] = v;
        o->in[1] = g;
        o->out[0] = s;
        o->u.add.scale = 0.5f;
        o = lab_op(&l, FH_OP_MAP);
        o->in[0] = s;
        o->out[0] = y;
        o->u.map = (fh_map_args){.kind = FH_MAP_SOFTCAP, .c = 3};
        o->vec[0] = lab_vector(&l, heads * part);
        lab_end(&l, y);
        run_plan(&l, 2e-6);
    }
}

TEST(fast_op, rotation_in_a_plan) {
    for (int layout = 0; layout < 2; layout++) {
        lab l;
        lab_init(&l, 210 + (uint64_t)layout, 2, (uint32_t[]){7, 20});
        const uint32_t heads = 3, width = 40, turned = 24;
        float *freq = lab_floats(&l, turned / 2);
        const fh_view x = lab_input(&l, heads * width);
        fh_op *o = lab_op(&l, FH_OP_ROPE);
        o->in[0] = o->out[0] = fh_view_cols(fh_view_heads(x, heads, width, width), 8, turned);
        o->u.rope.rope = fh_plan_add_rope(
            l.b, &(fh_rope){.layout = (fh_rope_layout)layout, .n_rot = turned, .freq = freq, .magnitude = 1.2f});
        lab_end(&l, x);
        run_plan(&l, 1e-6);
    }
}

TEST(fast_op, convolution_in_a_plan) {
    for (uint64_t round = 0; round < 4; round++) {
        static const uint32_t CHANNELS[] = {16, 48, 40, 64}, TAPS[] = {4, 1, 4, 3};
        lab l;
        lab_init(&l, 220 + round, 3, (uint32_t[]){6, 1, 13});
        const uint32_t channels = CHANNELS[round], taps = TAPS[round];
        const fh_view x = lab_input(&l, channels), y = lab_out(&l, channels);
        fh_op *o = lab_op(&l, FH_OP_CONV);
        o->in[0] = x;
        o->out[0] = y;
        o->vec[0] = lab_vector(&l, (uint64_t)channels * taps);
        if (round % 2) o->vec[1] = lab_vector(&l, channels);
        o->u.conv = (fh_conv_args){.taps = taps, .map = FH_MAP_SILU};
        o->state = lab_state(&l, (fh_state){.kind = FH_STATE_RECURRENT, .size = (uint64_t)channels * (taps - 1)}, 0);
        lab_end(&l, y);
        run_plan(&l, 2e-6);
    }
}
