/* tests/unit/test_exec_row.c - rows: tables, norms, maps, gates, rotations, recurrent ops; and what a step refuses.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/fault.h"
#include "test_exec_lab.h"

static double *doubles(lab *l, size_t n) {
    double *p = fh_arena_alloc(&l->arena, n, sizeof *p);
    CHECK(p != NULL);
    return p;
}

static double map_of(fh_map_kind k, double c, double x) {
    switch (k) {
    case FH_MAP_SILU: return x / (1 + exp(-x));
    case FH_MAP_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case FH_MAP_GELU_ERF: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case FH_MAP_RELU: return x > 0 ? x : 0;
    case FH_MAP_SIGMOID: return 1 / (1 + exp(-x));
    case FH_MAP_TANH: return tanh(x);
    case FH_MAP_SOFTPLUS: return log1p(exp(x));
    case FH_MAP_SCALE: return c * x;
    case FH_MAP_SOFTCAP: return c * tanh(x / c);
    case FH_MAP_CLAMP: return x > c ? c : x < -c ? -c : x;
    case FH_MAP_OAI_SWIGLU: return (x > c ? c : x) / (1 + exp(-1.702 * (x > c ? c : x)));
    case FH_MAP_NONE:
    case FH_MAP_COUNT: break;
    }
    return x;
}

TEST(exec_row, maps_and_gates) {
    for (int k = 0; k < FH_MAP_COUNT; k++) {
        for (int glu = k == FH_MAP_OAI_SWIGLU; glu < 3; glu++) { /* 2: one gate a head */
            lab l;
            lab_init(&l, (uint64_t)k * 3 + (uint64_t)glu, 2, (uint32_t[]){6, 1});
            const uint32_t heads = 3, part = 1 + lab_below(&l, 700), g_part = glu == 2 ? 1 : part;
            const double c = 1.1;
            fh_view g = lab_input(&l, heads * (g_part + 1)), u = lab_input(&l, heads * part),
                    y = lab_out(&l, heads * part);
            fh_op *o = lab_op(&l, glu ? FH_OP_GLU : FH_OP_MAP);
            o->in[0] = fh_view_heads(g, heads, g_part, g_part + 1);
            if (glu) o->in[1] = u;
            if (glu == 2) o->in[1] = fh_view_heads(u, heads, part, part);
            o->out[0] = y;
            o->u.map = (fh_map_args){.kind = (fh_map_kind)k, .c = (float)c, .limit = glu == 1 ? 0.9f : 0};
            if (!glu) o->vec[0] = lab_vector(&l, part);
            lab_end(&l, y);
            float *got = lab_run_all(&l, true);
            const size_t n = (size_t)l.n_token * heads * part;
            double *want = doubles(&l, n);
            for (size_t i = 0; i < n; i++) {
                double a = (double)lab_table(&l, g)[i / part * (g_part + 1) + (glu == 2 ? 0 : i % part)];
                double b = (double)lab_table(&l, u)[i];
                if (glu == 1 && a > (double)0.9f) a = (double)0.9f;
                if (glu == 1) b = map_of(FH_MAP_CLAMP, (double)0.9f, b);
                if (k == FH_MAP_OAI_SWIGLU) b = map_of(FH_MAP_CLAMP, (double)(float)c, b) + 1;
                want[i] = map_of((fh_map_kind)k, (double)(float)c, a);
                want[i] = glu ? want[i] * b : want[i] + (double)l.vector[0].v[i % part];
            }
            CHECK_NMSE(got, want, n, 1e-13);
            fh_free(got);
            lab_release(&l);
        }
    }
}

TEST(exec_row, norms) {
    for (uint32_t round = 0; round < 12; round++) {
        lab l;
        lab_init(&l, 100 + round, 2, (uint32_t[]){5, 8});
        const fh_norm_kind kind = (fh_norm_kind)(round % 3);
        const bool per_head = round >= 6, in_place = round % 2 != 0;
        const uint32_t heads = 1 + lab_below(&l, 4), part = 1 + lab_below(&l, 90);
        const double eps = 1e-3;
        fh_view x = lab_input(&l, heads * (part + 2)), y = in_place ? x : lab_out(&l, heads * part);
        fh_view v = fh_view_cols(fh_view_heads(x, heads, part + 2, part + 2), 1, part);
        fh_op *o = lab_op(&l, FH_OP_NORM);
        o->in[0] = v;
        o->out[0] = in_place ? v : y;
        o->u.norm = (fh_norm_args){.kind = kind, .eps = (float)eps, .per_head = per_head};
        o->vec[0] = lab_vector(&l, per_head ? heads * part : part);
        o->vec[1] = lab_vector(&l, per_head ? heads * part : part);
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        const size_t n = (size_t)l.n_token * heads * part;
        double *want = doubles(&l, n);
        float *have = lab_floats(&l, n);
        for (size_t r = 0; r < n / part; r++) {
            const float *in = lab_table(&l, x) + r * (part + 2) + 1;
            double mean = 0, sq = 0;
            for (uint32_t c = 0; c < part && kind == FH_NORM_LAYER; c++) mean += (double)in[c] / part;
            for (uint32_t c = 0; c < part; c++) sq += ((double)in[c] - mean) * ((double)in[c] - mean);
            if (kind != FH_NORM_L2) sq /= part;
            for (uint32_t c = 0; c < part; c++) {
                const size_t w = per_head ? r % heads * part + c : c;
                want[r * part + c] = ((double)in[c] - mean) / sqrt(sq + (double)(float)eps) * (double)l.vector[0].v[w] +
                                     (double)l.vector[1].v[w];
                have[r * part + c] = in_place ? got[r * (part + 2) + 1 + c] : got[r * part + c];
            }
        }
        CHECK_NMSE(have, want, n, 1e-12);
        fh_free(got);
        lab_release(&l);
    }
}

/* Half of the columns of each head turn; then back again, which gives the input up to rounding. */
TEST(exec_row, rotations) {
    for (uint32_t round = 0; round < 8; round++) {
        lab l;
        lab_init(&l, 200 + round, 3, (uint32_t[]){40, 3, 100});
        const uint32_t heads = 3, part = 20, rot = 12, pairs = rot / 2;
        float freq[6], far[6];
        for (uint32_t i = 0; i < pairs; i++) {
            freq[i] = powf(10000, -(float)i / (float)pairs);
            far[i] = freq[i] * 0.125f;
        }
        const fh_rope rope = {.layout = round % 2 ? FH_ROPE_PAIRS : FH_ROPE_HALVES,
                              .n_rot = rot,
                              .freq = freq,
                              .long_freq = round & 4 ? far : NULL,
                              .long_from = 50,
                              .magnitude = 1.25f,
                              .long_magnitude = 1.5f};
        fh_view x = lab_input(&l, heads * part), y = lab_out(&l, heads * part),
                v = fh_view_cols(fh_view_heads(y, heads, part, part), 8, rot);
        fh_op *o = lab_op(&l, FH_OP_ADD);
        o->in[0] = o->in[1] = x;
        o->out[0] = y;
        o->u.add.scale = 0;
        for (uint32_t i = 0; i <= (round & 2) / 2; i++) {
            const uint32_t r = fh_plan_add_rope(l.b, &rope);
            CHECK(r == 0);
            o = lab_op(&l, FH_OP_ROPE);
            o->in[0] = o->out[0] = v;
            o->u.rope = (fh_rope_args){.rope = r, .inverse = i != 0};
        }
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        const size_t n = (size_t)l.n_token * heads * part;
        double *want = doubles(&l, n);
        for (size_t i = 0; i < n; i++) want[i] = (double)lab_table(&l, x)[i];
        for (uint32_t t = 0, seq = 0, pos = 0; t < l.n_token; t++, pos++) {
            if (pos == l.len[seq]) {
                pos = 0;
                seq++;
            }
            const bool is_long = (round & 4) && l.len[seq] > 50;
            const double mag = is_long ? 1.5 : 1.25;
            for (uint32_t h = 0; h < heads; h++) {
                double *d = want + ((size_t)t * heads + h) * part + 8;
                for (uint32_t i = 0; i < pairs; i++) {
                    const double a = (double)((float)pos * (is_long ? far : freq)[i]);
                    double *p = round % 2 ? d + 2 * i : d + i, *q = round % 2 ? p + 1 : p + pairs;
                    const double u = *p, w = *q;
                    *p = (round & 2) ? u * mag * mag : (u * cos(a) - w * sin(a)) * mag;
                    *q = (round & 2) ? w * mag * mag : (w * cos(a) + u * sin(a)) * mag;
                }
            }
        }
        CHECK_NMSE(got, want, n, 1e-13);
        fh_free(got);
        lab_release(&l);
    }
}

TEST(exec_row, convolution) {
    for (uint32_t round = 0; round < 6; round++) {
        lab l;
        lab_init(&l, 300 + round, 2, (uint32_t[]){30, 5});
        const uint32_t n = 5 + lab_below(&l, 60), taps = 1 + round;
        fh_view x = lab_input(&l, n + 3), y = lab_out(&l, n);
        fh_op *o = lab_op(&l, FH_OP_CONV);
        o->in[0] = fh_view_cols(x, 2, n);
        o->out[0] = y;
        o->u.conv = (fh_conv_args){.taps = taps, .map = FH_MAP_SILU};
        o->vec[0] = lab_vector(&l, n * taps);
        if (round % 2) o->vec[1] = lab_vector(&l, n);
        o->state = lab_state(&l, (fh_state){.kind = FH_STATE_RECURRENT, .size = n * (taps - 1)}, 0);
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        double *want = doubles(&l, (size_t)l.n_token * n);
        for (uint32_t t = 0; t < l.n_token; t++) {
            const uint32_t pos = t < 30 ? t : t - 30;
            for (uint32_t c = 0; c < n; c++) {
                double s = round % 2 ? (double)l.vector[1].v[c] : 0;
                for (uint32_t j = 0; j < taps; j++) {
                    if (pos + j + 1 < taps) continue;
                    s += (double)l.vector[0].v[c * taps + j] *
                         (double)lab_table(&l, x)[(size_t)(t + j + 1 - taps) * (n + 3) + 2 + c];
                }
                want[(size_t)t * n + c] = map_of(FH_MAP_SILU, 0, s);
            }
        }
        CHECK_NMSE(got, want, (size_t)l.n_token * n, 1e-13);
        fh_free(got);
        lab_release(&l);
    }
}

/* Decay, then the delta rule, with keys and queries made short so that nothing grows. */
TEST(exec_row, delta_rule) {
    for (uint32_t round = 0; round < 6; round++) {
        lab l;
        lab_init(&l, 400 + round, 2, (uint32_t[]){40, 9});
        const uint32_t keys = 1 + round % 3, ratio = 1 + round % 2, heads = keys * ratio, dk = 8 + lab_below(&l, 9),
                       dv = 5 + lab_below(&l, 50);
        fh_view q = lab_input(&l, keys * dk), k = lab_input(&l, keys * dk), v = lab_input(&l, heads * dv),
                a = lab_input(&l, heads), b = lab_input(&l, heads), g = lab_out(&l, heads), y = lab_out(&l, heads * dv);
        fh_op *o;
        for (int i = 0; i < 2; i++) {
            o = lab_op(&l, FH_OP_NORM);
            o->in[0] = o->out[0] = fh_view_heads(i ? k : q, keys, dk, dk);
            o->u.norm = (fh_norm_args){.kind = FH_NORM_L2, .eps = 1e-6f};
        }
        o = lab_op(&l, FH_OP_MAP);
        o->in[0] = o->out[0] = b;
        o->u.map.kind = FH_MAP_SIGMOID;
        o = lab_op(&l, FH_OP_DECAY);
        o->in[0] = a;
        o->out[0] = g;
        o->vec[0] = lab_vector(&l, heads);
        o->vec[1] = lab_vector(&l, heads);
        for (uint32_t h = 0; h < heads; h++) ((float *)(uintptr_t)l.vector[o->vec[0]].v)[h] = -0.3f - 0.1f * (float)h;
        o = lab_op(&l, FH_OP_DELTA);
        o->in[0] = fh_view_heads(q, keys, dk, dk);
        o->in[1] = fh_view_heads(k, keys, dk, dk);
        o->in[2] = fh_view_heads(v, heads, dv, dv);
        o->in[3] = g;
        o->in[4] = fh_view_heads(b, heads, 1, 1);
        o->out[0] = y;
        o->u.delta.map = round < 3 ? FH_HEADS_GROUPED : FH_HEADS_TILED;
        o->state = lab_state(&l, (fh_state){.kind = FH_STATE_RECURRENT, .size = (uint64_t)heads * dk * dv}, 0);
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        double *want = doubles(&l, (size_t)l.n_token * heads * dv), *s = doubles(&l, (size_t)dk * dv);
        for (uint32_t h = 0; h < heads; h++) {
            const uint32_t kh = round < 3 ? h / ratio : h % keys;
            for (uint32_t t = 0; t < l.n_token; t++) {
                if (t == 0 || t == 40) memset(s, 0, dk * dv * sizeof *s);
                const float *qt = lab_table(&l, q) + (t * keys + kh) * dk,
                            *kt = lab_table(&l, k) + (t * keys + kh) * dk;
                double nq = 1e-6, nk = 1e-6;
                for (uint32_t i = 0; i < dk; i++) {
                    nq += (double)qt[i] * (double)qt[i];
                    nk += (double)kt[i] * (double)kt[i];
                }
                const double decay =
                    exp((double)l.vector[0].v[h] *
                        log1p(exp((double)lab_table(&l, a)[t * heads + h] + (double)l.vector[1].v[h])));
                const double beta = map_of(FH_MAP_SIGMOID, 0, (double)lab_table(&l, b)[t * heads + h]);
                for (uint32_t j = 0; j < dv; j++) {
                    double seen = 0, *out = &want[((size_t)t * heads + h) * dv + j];
                    for (uint32_t i = 0; i < dk; i++) {
                        s[i * dv + j] *= decay;
                        seen += s[i * dv + j] * (double)kt[i] / sqrt(nk);
                    }
                    const double d = beta * ((double)lab_table(&l, v)[(t * heads + h) * dv + j] - seen);
                    for (uint32_t i = 0; i < dk; i++) {
                        s[i * dv + j] += (double)kt[i] / sqrt(nk) * d;
                        *out += s[i * dv + j] * (double)qt[i] / sqrt(nq);
                    }
                }
            }
        }
        CHECK_NMSE(got, want, (size_t)l.n_token * heads * dv, 1e-12);
        fh_free(got);
        lab_release(&l);
    }
}

/* ---- the step itself ---- */
TEST(exec_row, rows_wants_and_refusals) {
    lab l;
    fh_err err = {0};
    lab_init(&l, 500, 1, (uint32_t[]){6});
    fh_view x = lab_input(&l, 5), y = lab_out(&l, 5), r = fh_plan_value(l.b, FH_DIM_ROWS, 1, 5, "rows");
    fh_op *o = lab_op(&l, FH_OP_MAP);
    o->in[0] = x;
    o->out[0] = y;
    o->u.map = (fh_map_args){.kind = FH_MAP_SCALE, .c = 2};
    o = lab_op(&l, FH_OP_ROWS);
    o->in[0] = y;
    o->out[0] = r;
    fh_plan_export(l.b, FH_EXPORT_LOGITS, r);
    lab_end(&l, y);
    fh_pool *pool;
    fh_exec *e;
    CHECK_OK(fh_pool_new(&pool, &(fh_pool_options){.n_worker = 2, .no_pin = true}, &err), err);
    const fh_exec_options opt = {.pool = pool, .ceiling = {{1, 4, 2}}};
    CHECK_OK(fh_exec_new(&e, &l.plan, NULL, &opt, &err), err);
    uint32_t token[5] = {3, 1, 5, 0, 0}, of[5] = {0}, row[3] = {0, 2, 3};
    fh_batch_seq seq = {.n = 3, .length = 3};
    fh_batch b = {
        .n_token = 3, .n_row = 2, .n_seq = 1, .token = token, .pos = of, .seq_of = of, .row = row, .seq = &seq};
    CHECK_OK(fh_exec_run(e, &b, 1u << FH_EXPORT_LOGITS, &err), err);
    for (uint32_t i = 0; i < 10; i++)
        CHECK(fh_exec_export(e, FH_EXPORT_LOGITS)[i] == 2 * lab_table(&l, x)[token[row[i / 5]] * 5 + i % 5]);
    fh_exec_profile(e, true);
    CHECK_OK(fh_exec_run(e, &b, 1u << FH_EXPORT_HIDDEN, &err), err); /* stops before the rows */
    CHECK(fh_exec_ns(e)[1] > 0 && fh_exec_ns(e)[2] == 0);
    CHECK(fh_exec_export(e, FH_EXPORT_LOGITS) == NULL && fh_exec_export(e, FH_EXPORT_HIDDEN) != NULL);
    CHECK_STATUS(fh_exec_run(e, &b, 1u << FH_EXPORT_SCORE, &err), FH_ERR_USAGE);
    token[1] = 6;
    CHECK_STATUS(fh_exec_run(e, &b, 1u << FH_EXPORT_HIDDEN, &err), FH_ERR_USAGE);
    CHECK(strstr(err.message, "token 6") != NULL);
    token[1] = 1;
    row[1] = 0;
    CHECK_STATUS(fh_exec_run(e, &b, 1u << FH_EXPORT_LOGITS, &err), FH_ERR_USAGE);
    row[1] = 2;
    b.n_row = 3;
    CHECK_STATUS(fh_exec_run(e, &b, 1u << FH_EXPORT_LOGITS, &err), FH_ERR_USAGE);
    b.n_row = 2;
    seq.n = 2;
    CHECK_STATUS(fh_exec_run(e, &b, 1u << FH_EXPORT_LOGITS, &err), FH_ERR_USAGE);
    seq.n = b.n_token = 5;
    CHECK_STATUS(fh_exec_run(e, &b, 1u << FH_EXPORT_LOGITS, &err), FH_ERR_USAGE);
    fh_exec_free(e);
    fh_pool_free(pool);
    lab_release(&l);
}

#ifdef FH_TEST_BUILD
TEST(exec_row, lack_of_memory_is_told) {
    lab l;
    fh_err err = {0};
    fh_pool *pool;
    lab_init(&l, 600, 1, (uint32_t[]){6});
    lab_end(&l, lab_input(&l, 5));
    CHECK_OK(fh_pool_new(&pool, &(fh_pool_options){.n_worker = 1}, &err), err);
    uint64_t n = 1;
    for (; n < 50; n++) {
        fh_exec *x = NULL;
        const fh_exec_options opt = {.pool = pool, .ceiling = {{1, 4, 2}}};
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        const fh_status st = fh_exec_new(&x, &l.plan, NULL, &opt, &err);
        fh_fault_disarm();
        if (st == FH_OK) CHECK(fh_exec_bytes(x) > 0 && fh_exec_bytes(x) % 64 == 0);
        fh_exec_free(x);
        if (st == FH_OK) break;
        CHECK_U64(st, FH_ERR_MEMORY);
    }
    CHECK(n > 3 && n < 50);
    const fh_exec_options none = {.pool = pool, .ceiling = {{1, 0, 0}}};
    fh_exec *x = NULL;
    CHECK_STATUS(fh_exec_new(&x, &l.plan, NULL, &none, &err), FH_ERR_USAGE);
    fh_pool_free(pool);
    lab_release(&l);
}
#endif
