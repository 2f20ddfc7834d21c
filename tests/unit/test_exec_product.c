/* tests/unit/test_exec_product.c - products of every kind against sums in double.
 * SPDX-License-Identifier: Apache-2.0 */
#include "test_exec_lab.h"

static double *doubles(lab *l, size_t n) {
    double *p = fh_arena_alloc(&l->arena, n, sizeof *p);
    CHECK(p != NULL);
    return p;
}

TEST(exec_product, plain_types_and_views) {
    static const fh_dtype TYPE[] = {FH_DTYPE_F32, FH_DTYPE_F16, FH_DTYPE_BF16, FH_DTYPE_Q8_0};
    for (uint32_t round = 0; round < 24 * fh_test_times(); round++) {
        lab l;
        lab_init(&l, round, 2, (uint32_t[]){1 + round % 5 * 67, 3});
        const fh_dtype type = TYPE[round % 4];
        const uint32_t heads = 1 + lab_below(&l, 3), part = type == FH_DTYPE_Q8_0 ? 32 : 1 + lab_below(&l, 40);
        const uint32_t gap = lab_below(&l, 3), in = heads * part, out_part = 1 + lab_below(&l, 50);
        const uint32_t out = heads * out_part, skip = lab_below(&l, 3);
        fh_view x = lab_input(&l, heads * (part + gap) + skip);
        const uint32_t m = lab_matrix(&l, type, out + 2, in), bias = lab_vector(&l, out);
        l.matrix[m].first = 2;
        l.matrix[m].out = out;
        fh_view y = lab_input(&l, heads * (out_part + gap)); /* something in the columns that the product leaves */
        fh_op *o = lab_op(&l, FH_OP_MATMUL);
        o->in[0] = fh_view_heads(fh_view_cols(x, skip, heads * (part + gap)), heads, part, part + gap);
        o->out[0] = fh_view_heads(y, heads, out_part, out_part + gap);
        o->matrix = m;
        o->vec[0] = bias;
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        double *want = doubles(&l, (size_t)l.n_token * out);
        float *have = lab_floats(&l, (size_t)l.n_token * out);
        for (uint32_t t = 0; t < l.n_token; t++) {
            const float *row = lab_table(&l, x) + (size_t)t * (heads * (part + gap) + skip) + skip;
            for (uint32_t r = 0; r < out; r++) {
                double s = (double)l.vector[bias].v[r];
                for (uint32_t k = 0; k < in; k++) {
                    s += (double)l.dense[m][(size_t)(r + 2) * in + k] * (double)row[k / part * (part + gap) + k % part];
                }
                want[(size_t)t * out + r] = s;
                have[(size_t)t * out + r] =
                    got[(size_t)t * heads * (out_part + gap) + r / out_part * (out_part + gap) + r % out_part];
            }
        }
        CHECK_NMSE(have, want, (size_t)l.n_token * out, 1e-12);
        fh_free(got);
        lab_release(&l);
    }
}

TEST(exec_product, rows_in_steps_and_columns_across) {
    for (uint32_t round = 0; round < 12; round++) {
        lab l;
        lab_init(&l, 100 + round, 2, (uint32_t[]){2 + round, 70});
        const bool across = round % 2 != 0;
        const fh_dtype type = round % 3 == 0 ? FH_DTYPE_Q8_0 : FH_DTYPE_BF16;
        const uint32_t in = 32 * (1 + lab_below(&l, 3)), out = 5 + lab_below(&l, 300), step = 2;
        fh_view x = lab_input(&l, in);
        const uint32_t cols = across ? (out * step + 32) / 32 * 32 : in;
        const uint32_t m = lab_matrix(&l, type, across ? in + 1 : out * step + 1, cols);
        l.matrix[m] = (fh_matrix){.name = FH_STR("m"),
                                  .weight = &l.one[m],
                                  .n_weight = 1,
                                  .n_mat = 1,
                                  .out = out,
                                  .in = in,
                                  .first = 1,
                                  .step = step,
                                  .col = across ? 1 : 0,
                                  .transposed = across};
        fh_view y = lab_out(&l, out);
        fh_op *o = lab_op(&l, FH_OP_MATMUL);
        o->in[0] = x;
        o->out[0] = y;
        o->matrix = m;
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        double *want = doubles(&l, (size_t)l.n_token * out);
        for (uint32_t t = 0; t < l.n_token; t++) {
            for (uint32_t r = 0; r < out; r++) {
                for (uint32_t k = 0; k < in; k++) {
                    const size_t at =
                        across ? (size_t)(1 + k) * cols + 1 + r * step : (size_t)(1 + r * step) * cols + k;
                    want[(size_t)t * out + r] += (double)l.dense[m][at] * (double)lab_table(&l, x)[(size_t)t * in + k];
                }
            }
        }
        CHECK_NMSE(got, want, (size_t)l.n_token * out, 1e-11);
        fh_free(got);
        lab_release(&l);
    }
}

TEST(exec_product, heads_both_ways) {
    for (uint32_t round = 0; round < 8; round++) {
        lab l;
        lab_init(&l, 200 + round, 2, (uint32_t[]){9, 1});
        const bool across = round % 2 != 0;
        const uint32_t heads = 1 + lab_below(&l, 5), in = 3 + lab_below(&l, 40), out = 2 + lab_below(&l, 40);
        const uint32_t rows = (across ? in : out) + 3; /* three rows of every head belong to something else */
        fh_view x = lab_input(&l, heads * (in + 2));
        const uint32_t m = lab_matrix(&l, FH_DTYPE_F16, heads * rows, across ? out : in);
        l.matrix[m].n_mat = heads;
        l.matrix[m].out = out;
        l.matrix[m].in = in;
        l.matrix[m].stride = rows;
        l.matrix[m].first = across ? 0 : 3;
        l.matrix[m].transposed = across;
        fh_view y = lab_out(&l, heads * out);
        fh_op *o = lab_op(&l, FH_OP_MATMUL_HEADS);
        o->in[0] = fh_view_cols(fh_view_heads(x, heads, in + 2, in + 2), 1, in);
        o->out[0] = y;
        o->matrix = m;
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        double *want = doubles(&l, (size_t)l.n_token * heads * out);
        for (uint32_t t = 0; t < l.n_token; t++) {
            for (uint32_t i = 0; i < heads * out; i++) {
                const uint32_t h = i / out, r = i % out;
                const float *row = lab_table(&l, x) + ((size_t)t * heads + h) * (in + 2) + 1;
                for (uint32_t k = 0; k < in; k++) {
                    const size_t at = across ? ((size_t)h * rows + k) * out + r : ((size_t)h * rows + 3 + r) * in + k;
                    want[(size_t)t * heads * out + i] += (double)l.dense[m][at] * (double)row[k];
                }
            }
        }
        CHECK_NMSE(got, want, (size_t)l.n_token * heads * out, 1e-11);
        fh_free(got);
        lab_release(&l);
    }
}

/* Router, lists, two products of experts and the sum: against a loop over the experts. */
TEST(exec_product, experts) {
    for (uint32_t round = 0; round < 6; round++) {
        lab l;
        lab_init(&l, 300 + round, 3, (uint32_t[]){40, 1, 2});
        const uint32_t n = 5 + round, k = 1 + round % 4, in = 24, mid = 20;
        fh_view x = lab_input(&l, in), score = lab_input(&l, n);
        const uint32_t up = lab_matrix(&l, FH_DTYPE_F16, n * mid, in),
                       down = lab_matrix(&l, FH_DTYPE_BF16, n * in, mid);
        l.matrix[up].n_mat = l.matrix[down].n_mat = n;
        l.matrix[up].out = l.matrix[up].stride = mid;
        l.matrix[down].out = l.matrix[down].stride = in;
        const uint32_t bias = lab_vector(&l, n * mid);
        fh_view id = fh_plan_int_value(l.b, FH_DIM_TOKENS, 1, k, "id"), w = lab_out(&l, k);
        fh_view start = fh_plan_int_value(l.b, FH_DIM_ONE, 1, n + 1, "start");
        fh_view list = fh_plan_int_value(l.b, FH_DIM_TOKENS, k, 1, "list");
        fh_view a = fh_plan_value(l.b, FH_DIM_TOKENS, k, mid, "a"), b = fh_plan_value(l.b, FH_DIM_TOKENS, k, in, "b");
        fh_view y = lab_out(&l, in);
        fh_op *o = lab_op(&l, FH_OP_ROUTE);
        o->in[0] = score;
        o->out[0] = id;
        o->out[1] = w;
        o->u.route = (fh_route_args){.gate = FH_GATE_SOFTMAX, .n_expert = n, .k = k, .renorm = true, .scale = 1};
        o = lab_op(&l, FH_OP_GROUP);
        o->in[0] = id;
        o->out[0] = start;
        o->out[1] = list;
        o = lab_op(&l, FH_OP_MATMUL_EXPERTS);
        o->in[0] = x;
        o->in[1] = start;
        o->in[2] = list;
        o->out[0] = a;
        o->matrix = up;
        o->vec[0] = bias;
        o = lab_op(&l, FH_OP_MATMUL_EXPERTS);
        o->in[0] = a;
        o->in[1] = start;
        o->in[2] = list;
        o->out[0] = b;
        o->matrix = down;
        o = lab_op(&l, FH_OP_COMBINE);
        o->in[0] = b;
        o->in[1] = w;
        o->out[0] = y;
        lab_end(&l, y);
        float *got = lab_run_all(&l, true);
        double *want = doubles(&l, (size_t)l.n_token * in);
        for (uint32_t t = 0; t < l.n_token; t++) {
            const float *s = lab_table(&l, score) + (size_t)t * n, *row = lab_table(&l, x) + (size_t)t * in;
            double sum = 0, p[16];
            for (uint32_t e = 0; e < n; e++) {
                uint32_t better = 0;
                for (uint32_t f = 0; f < n; f++) better += s[f] > s[e];
                p[e] = better < k ? __builtin_exp((double)s[e]) : 0;
                sum += p[e];
            }
            for (uint32_t e = 0; e < n; e++) {
                double m[32] = {0};
                if (p[e] <= 0) continue;
                for (uint32_t r = 0; r < mid; r++) {
                    m[r] = (double)l.vector[bias].v[e * mid + r];
                    for (uint32_t c = 0; c < in; c++)
                        m[r] += (double)l.dense[up][(e * mid + r) * in + c] * (double)row[c];
                }
                for (uint32_t r = 0; r < in; r++) {
                    double d = 0;
                    for (uint32_t c = 0; c < mid; c++) d += (double)l.dense[down][(e * in + r) * mid + c] * m[c];
                    want[t * in + r] += p[e] / sum * d;
                }
            }
        }
        CHECK_NMSE(got, want, (size_t)l.n_token * in, 1e-11);
        fh_free(got);
        lab_release(&l);
    }
}

/* Three sequences: without, with two adapters (one scales rows), and with a matrix and bias in place of the model's. */
TEST(exec_product, adapters_by_sequence) {
    for (uint32_t round = 0; round < 3; round++) {
        lab l;
        lab_init(&l, 400 + round, 3, (uint32_t[]){5, 33, 4});
        const uint32_t in = 37, out = 45, r1 = 3 + round * 40, r2 = 16;
        fh_view x = lab_input(&l, in);
        const uint32_t m = lab_matrix(&l, FH_DTYPE_BF16, out, in), other = lab_matrix(&l, FH_DTYPE_F32, out, in);
        const uint32_t bias = lab_vector(&l, out);
        fh_view y = lab_out(&l, out);
        fh_op *o = lab_op(&l, FH_OP_MATMUL);
        o->in[0] = x;
        o->out[0] = y;
        o->matrix = m;
        o->vec[0] = bias;
        lab_end(&l, y);
        const fh_lora lora[2] = {{.a = lab_floats(&l, r1 * in), .b = lab_floats(&l, out * r1), .r = r1, .scale = 0.5f},
                                 {.a = lab_floats(&l, r2 * in),
                                  .b = lab_floats(&l, out * r2),
                                  .r = r2,
                                  .scale = 0.25f,
                                  .row_scale = lab_floats(&l, out),
                                  .bias = lab_floats(&l, out)}};
        fh_adapted with[LAB_MAX] = {0}, saved[LAB_MAX] = {0};
        const float *vec[LAB_MAX] = {0};
        with[m] = (fh_adapted){.lora = lora, .n_lora = 2};
        saved[m] = (fh_adapted){.instead = &l.matrix[other]};
        vec[bias] = lab_floats(&l, out);
        const fh_adapter_set set1 = {.matrix = with}, set2 = {.matrix = saved, .vector = vec};
        l.adapters[1] = &set1;
        l.adapters[2] = &set2;
        float *got = lab_run_all(&l, true);
        double *want = doubles(&l, (size_t)l.n_token * out);
        for (uint32_t t = 0; t < l.n_token; t++) {
            const float *row = lab_table(&l, x) + (size_t)t * in;
            for (uint32_t r = 0; r < out; r++) {
                const float *w = (t >= 38 ? l.dense[other] : l.dense[m]) + (size_t)r * in;
                double wx = 0, *to = &want[(size_t)t * out + r];
                for (uint32_t k = 0; k < in; k++) wx += (double)w[k] * (double)row[k];
                *to = wx + (double)(t >= 38 ? vec[bias][r] : l.vector[bias].v[r]);
                for (int i = 0; i < 2 && t >= 5 && t < 38; i++) {
                    double s = lora[i].row_scale ? (double)lora[i].row_scale[r] : 1,
                           d = lora[i].bias ? (double)lora[i].bias[r] : 0;
                    for (uint32_t j = 0; j < lora[i].r; j++) {
                        double low = 0;
                        for (uint32_t k = 0; k < in; k++) low += (double)lora[i].a[j * in + k] * (double)row[k];
                        d += (double)lora[i].b[r * lora[i].r + j] * low;
                    }
                    *to += (s - 1) * wx + (double)lora[i].scale * s * d;
                }
            }
        }
        CHECK_NMSE(got, want, (size_t)l.n_token * out, 1e-11);
        fh_free(got);
        lab_release(&l);
    }
}

/* The same numbers stored both ways give the same bits. */
TEST(exec_product, transposed_is_the_same) {
    lab l;
    lab_init(&l, 500, 2, (uint32_t[]){20, 3});
    const uint32_t in = 77, out = 150;
    fh_view x = lab_input(&l, in), y = lab_out(&l, 2 * out);
    const uint32_t a = lab_matrix(&l, FH_DTYPE_F32, out, in), b = lab_matrix(&l, FH_DTYPE_F32, in, out);
    float *turned = fh_arena_alloc(&l.arena, (size_t)in * out, sizeof *turned);
    for (uint32_t r = 0; r < out; r++) {
        for (uint32_t k = 0; k < in; k++) turned[(size_t)k * out + r] = l.dense[a][(size_t)r * in + k];
    }
    l.tensor[b].data.ptr = (const uint8_t *)turned;
    l.matrix[b].transposed = true;
    l.matrix[b].out = out;
    l.matrix[b].in = in;
    for (uint32_t i = 0; i < 2; i++) {
        fh_op *o = lab_op(&l, FH_OP_MATMUL);
        o->in[0] = x;
        o->out[0] = fh_view_cols(y, i * out, out);
        o->matrix = i ? b : a;
    }
    lab_end(&l, y);
    float *got = lab_run_all(&l, true);
    for (uint32_t t = 0; t < l.n_token; t++) {
        CHECK(memcmp(got + (size_t)t * 2 * out, got + ((size_t)t * 2 + 1) * out, out * sizeof *got) == 0);
    }
    fh_free(got);
    lab_release(&l);
}

/* Heads dealt out in turn give the bits of heads grouped, whichever way the matrix is stored, adapters included; and
 * other bits where nobody says how they lie. */
TEST(exec_product, turned_is_the_same) {
    enum { TURN = 4, RATIO = 3, WIDTH = 7, IN = TURN * RATIO * WIDTH, OUT = 150, R = 5 };
    lab l;
    lab_init(&l, 501, 2, (uint32_t[]){20, 3});
    fh_view grouped = lab_input(&l, IN), dealt = lab_input(&l, IN), y = lab_out(&l, 4 * OUT);
    uint32_t m[4];
    fh_lora lora[4];
    fh_adapted with[LAB_MAX] = {0};
    for (uint32_t i = 0; i < 4; i++) {
        m[i] = lab_matrix(&l, FH_DTYPE_F32, i == 2 ? IN : OUT, i == 2 ? OUT : IN);
        lora[i] = (fh_lora){.a = lab_floats(&l, R * IN), .b = lab_floats(&l, OUT * R), .r = R, .scale = 0.5f};
        if (i > 0) lora[i].b = lora[0].b;
        with[m[i]] = (fh_adapted){.lora = &lora[i], .n_lora = 1};
    }
    l.matrix[m[2]].transposed = true;
    l.matrix[m[2]].out = OUT;
    l.matrix[m[2]].in = IN;
    float *v[2] = {l.dense[0], l.dense[1]}; /* the tables of the two inputs */
    for (uint32_t k = 0; k < IN; k++) {     /* column k of the grouped, `at` of the dealt */
        const uint32_t head = k / WIDTH, at = (head % RATIO * TURN + head / RATIO) * WIDTH + k % WIDTH;
        for (uint32_t t = 0; t < l.n_token; t++) v[1][t * IN + at] = v[0][t * IN + k];
        for (uint32_t r = 0; r < OUT; r++) {
            const float w = l.dense[m[0]][r * IN + k];
            l.dense[m[1]][r * IN + at] = l.dense[m[3]][r * IN + at] = l.dense[m[2]][at * OUT + r] = w;
        }
        for (uint32_t j = 0; j < R; j++)
            for (uint32_t i = 1; i < 4; i++) ((float *)(uintptr_t)lora[i].a)[j * IN + at] = lora[0].a[j * IN + k];
    }
    for (uint32_t i = 0; i < l.tables.n_matrix; i++) l.tensor[i].data.ptr = (const uint8_t *)l.dense[i];
    for (uint32_t i = 0; i < 4; i++) {
        fh_op *o = lab_op(&l, FH_OP_MATMUL);
        o->in[0] = fh_view_heads(i == 0 ? grouped : dealt, TURN * RATIO, WIDTH, WIDTH);
        o->out[0] = fh_view_cols(y, i * OUT, OUT);
        o->matrix = m[i];
        o->u.matmul.turn = i == 1 || i == 2 ? TURN : 0;
    }
    lab_end(&l, y);
    const fh_adapter_set set = {.matrix = with};
    l.adapters[1] = &set;
    float *got = lab_run_all(&l, true);
    for (uint32_t t = 0; t < l.n_token; t++) {
        const float *row = got + (size_t)t * 4 * OUT;
        CHECK(memcmp(row, row + OUT, OUT * sizeof *got) == 0 && memcmp(row, row + 2 * OUT, OUT * sizeof *got) == 0);
        CHECK(memcmp(row, row + 3 * OUT, OUT * sizeof *got) != 0);
    }
    fh_free(got);
    lab_release(&l);
}

/* A table, a stack of heads and one of experts, each with an adapter, or with the adapter merged into f32 weights. */
static void build_stacks(lab *l, bool merged, fh_lora *lora, fh_adapted *adapted) {
    enum { N = 4, IN = 8, OUT = 6, R = 18 };
    fh_view x = lab_out(l, N * IN), score = lab_input(l, N), y = lab_out(l, N * OUT), z = lab_out(l, IN);
    fh_view id = fh_plan_int_value(l->b, FH_DIM_TOKENS, 1, 2, "id"), w = lab_out(l, 2);
    fh_view start = fh_plan_int_value(l->b, FH_DIM_ONE, 1, N + 1, "start");
    fh_view list = fh_plan_int_value(l->b, FH_DIM_TOKENS, 2, 1, "list");
    fh_view e = fh_plan_value(l->b, FH_DIM_TOKENS, 2, IN, "e");
    const uint32_t m[3] = {lab_matrix(l, FH_DTYPE_F32, l->n_token, N * IN), lab_matrix(l, FH_DTYPE_F32, N * OUT, IN),
                           lab_matrix(l, FH_DTYPE_F32, N * IN, N * OUT)};
    l->matrix[m[1]].n_mat = l->matrix[m[2]].n_mat = N;
    l->matrix[m[1]].out = l->matrix[m[1]].stride = OUT;
    l->matrix[m[2]].out = l->matrix[m[2]].stride = IN;
    for (uint32_t i = 0; i < 3; i++) {
        const fh_matrix *k = &l->matrix[m[i]];
        float *a = lab_floats(l, k->n_mat * R * k->in), *b = lab_floats(l, k->n_mat * k->out * R);
        lora[i] = (fh_lora){.a = a, .b = b, .r = R, .scale = 0.3f};
        adapted[m[i]] = (fh_adapted){.lora = &lora[i], .n_lora = 1};
        for (uint64_t row = 0; merged && row < k->n_mat * k->out; row++) {
            float *to = (float *)(uintptr_t)l->tensor[m[i]].data.ptr + row * k->in;
            for (uint64_t j = 0; j < R; j++) {
                for (uint64_t c = 0; c < k->in; c++) {
                    to[c] += 0.3f * b[row * R + j] * a[(row / k->out * R + j) * k->in + c];
                }
            }
        }
    }
    fh_op *o = lab_op(l, FH_OP_EMBED);
    o->out[0] = x;
    o->matrix = m[0];
    o->u.embed.scale = 1;
    o = lab_op(l, FH_OP_MATMUL_HEADS);
    o->in[0] = x;
    o->out[0] = y;
    o->matrix = m[1];
    o = lab_op(l, FH_OP_ROUTE);
    o->in[0] = score;
    o->out[0] = id;
    o->out[1] = w;
    o->u.route = (fh_route_args){.gate = FH_GATE_SIGMOID, .n_expert = N, .k = 2, .scale = 1};
    o = lab_op(l, FH_OP_GROUP);
    o->in[0] = id;
    o->out[0] = start;
    o->out[1] = list;
    o = lab_op(l, FH_OP_MATMUL_EXPERTS);
    o->in[0] = y;
    o->in[1] = start;
    o->in[2] = list;
    o->out[0] = e;
    o->matrix = m[2];
    o = lab_op(l, FH_OP_COMBINE);
    o->in[0] = e;
    o->in[1] = w;
    o->out[0] = z;
    lab_end(l, z);
}

TEST(exec_product, adapters_of_stacks_are_as_if_merged) {
    fh_lora lora[3];
    fh_adapted adapted[LAB_MAX] = {0};
    const fh_adapter_set set = {.matrix = adapted};
    float *got[2];
    double want[40 * 8];
    for (int merged = 0; merged < 2; merged++) {
        lab l;
        lab_init(&l, 600, 2, (uint32_t[]){33, 7});
        build_stacks(&l, merged != 0, lora, adapted);
        for (uint32_t i = 0; i < 2 && !merged; i++) l.adapters[i] = &set;
        got[merged] = lab_run_all(&l, true);
        lab_release(&l);
    }
    for (size_t i = 0; i < FH_COUNT(want); i++) want[i] = (double)got[1][i];
    CHECK_NMSE(got[0], want, FH_COUNT(want), 1e-11);
    fh_free(got[0]);
    fh_free(got[1]);
}
