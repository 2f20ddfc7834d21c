/* tests/unit/test_bench.c - evaluate/bench_grid, roofline, bench and agree.
 * SPDX-License-Identifier: Apache-2.0
 * Arithmetic against numbers that were worked out by hand; rooflines against sums over the file's own tensors. */
#include <math.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "evaluate/agree.h"
#include "evaluate/bench.h"
#include "test.h"

static bool near(double a, double b, double relative) { return fabs(a - b) <= relative * FH_MAX(fabs(b), 1e-300); }

/* ---- lists and combinations ---- */
static fh_status list_of(fh_bench_list *l, const char *text) {
    fh_err err = {0};
    *l = (fh_bench_list){.n = 0};
    return fh_bench_list_add(l, text, "--n", 0, 5000, &err);
}

static bool list_is(const char *text, size_t n, const uint32_t *want) {
    fh_bench_list l;
    return list_of(&l, text) == FH_OK && l.n == n && memcmp(l.v, want, n * sizeof *want) == 0;
}

TEST(bench_grid, lists) {
    CHECK(list_is("7", 1, (uint32_t[]){7}));
    CHECK(list_is("1,2,512", 3, (uint32_t[]){1, 2, 512}));
    CHECK(list_is("1-4", 4, (uint32_t[]){1, 2, 3, 4}));
    CHECK(list_is("1-8+3", 3, (uint32_t[]){1, 4, 7}));
    CHECK(list_is("8-64*2,3", 5, (uint32_t[]){8, 16, 32, 64, 3}));
    CHECK(list_is("5-5", 1, (uint32_t[]){5}));
    CHECK(list_is("0-4+18446744073709551615", 1, (uint32_t[]){0}));
}

TEST(bench_grid, lists_that_are_none) {
    static const char *const bad[] = {"",
                                      ",",
                                      "1,",
                                      "a",
                                      "1-",
                                      "-1",
                                      "4-1",
                                      "0-8*2",
                                      "1-8*1",
                                      "1-8+0",
                                      "1-8/2",
                                      "5001",
                                      "1-5001",
                                      "1 2",
                                      "1.5",
                                      "0-200",
                                      "99999999999999999999"};
    fh_bench_list l;
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        if (list_of(&l, bad[i]) != FH_ERR_USAGE) fh_test_fail(__FILE__, __LINE__, "'%s' is taken", bad[i]);
    }
    fh_err err = {0};
    fh_bench_list types = {.n = 0};
    CHECK_OK(fh_bench_list_add_types(&types, "f16,Q8_0,bf16", "-ctk", &err), err);
    CHECK(types.n == 3 && types.v[1] == FH_DTYPE_Q8_0);
    CHECK_STATUS(fh_bench_list_add_types(&types, "f16,q4_0", "-ctk", &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_bench_list_add_types(&types, "", "-ctk", &err), FH_ERR_USAGE);
}

static void check_names(fh_bench_grid *g, size_t n_want, const char *const *want) {
    fh_bench_case *cases = NULL;
    fh_err err = {0};
    size_t n = 0;
    char name[FH_BENCH_NAME];
    fh_bench_grid_set_defaults(g);
    CHECK_OK(fh_bench_grid_cases(g, &cases, &n, &err), err);
    for (size_t i = 0; i < n && i < n_want; i++) {
        char whole[FH_BENCH_NAME + 16];
        snprintf(whole, sizeof whole, "%s t%u", fh_bench_case_name(&cases[i], name), cases[i].n_threads);
        if (strcmp(whole, want[i]) != 0) {
            fh_free(cases);
            fh_test_fail(__FILE__, __LINE__, "case %zu is '%s', expected '%s'", i, whole, want[i]);
        }
    }
    fh_free(cases);
    CHECK_U64(n, n_want);
}

/* The order is llama-bench's: what its table showed for the same options. */
TEST(bench_grid, combinations) {
    fh_err err = {0};
    fh_bench_grid g = {.usable_threads = 3};
    check_names(&g, 2, (const char *const[]){"pp512 t3", "tg128 t3"});
    g = (fh_bench_grid){.usable_threads = 2};
    CHECK_OK(fh_bench_list_add(&g.n_prompt, "16", "-p", 0, 100, &err), err);
    CHECK_OK(fh_bench_list_add(&g.n_gen, "8", "-n", 0, 100, &err), err);
    CHECK_OK(fh_bench_list_add(&g.n_depth, "0,16", "-d", 0, 100, &err), err);
    CHECK_OK(fh_bench_list_add(&g.n_threads, "1,2", "-t", 0, 100, &err), err);
    CHECK_OK(fh_bench_list_add(&g.n_streams, "1,4", "--streams", 0, 100, &err), err);
    CHECK_OK(fh_bench_grid_add_pair(&g, "8,4", &err), err);
    check_names(&g, 16,
                (const char *const[]){"pp16 t1", "tg8 t1", "tg8 x4 t1", "pp8+tg4 t1", "pp16 @ d16 t1", "tg8 @ d16 t1",
                                      "tg8 x4 @ d16 t1", "pp8+tg4 @ d16 t1", "pp16 t2", "tg8 t2", "tg8 x4 t2",
                                      "pp8+tg4 t2", "pp16 @ d16 t2", "tg8 @ d16 t2", "tg8 x4 @ d16 t2",
                                      "pp8+tg4 @ d16 t2"});
    g = (fh_bench_grid){.usable_threads = 1};
    CHECK_OK(fh_bench_list_add(&g.n_prompt, "0", "-p", 0, 100, &err), err);
    CHECK_OK(fh_bench_list_add(&g.n_gen, "0", "-n", 0, 100, &err), err);
    fh_bench_case *cases = NULL;
    size_t n = 0;
    fh_bench_grid_set_defaults(&g);
    CHECK_STATUS(fh_bench_grid_cases(&g, &cases, &n, &err), FH_ERR_USAGE);
    CHECK_OK(fh_bench_grid_add_pair(&g, "4,4", &err), err);
    check_names(&g, 1, (const char *const[]){"pp4+tg4 t1"});
    static const char *const bad[] = {"4", "4,", ",4", "0,4", "4,0", "4,4,4", "a,b"};
    for (size_t i = 0; i < FH_COUNT(bad); i++) CHECK_STATUS(fh_bench_grid_add_pair(&g, bad[i], &err), FH_ERR_USAGE);
}

TEST(bench_grid, types_and_ceilings) {
    fh_err err = {0};
    fh_bench_case *cases = NULL;
    size_t n = 0;
    fh_bench_grid g = {.usable_threads = 1};
    CHECK_OK(fh_bench_list_add_types(&g.type_v, "q8_0", "-ctv", &err), err);
    CHECK_OK(fh_bench_list_add(&g.n_ubatch, "4096", "-ub", 1, 5000, &err), err);
    fh_bench_grid_set_defaults(&g);
    CHECK_OK(fh_bench_grid_cases(&g, &cases, &n, &err), err);
    bool right = n == 2 && cases[0].kv_type == FH_DTYPE_Q8_0 && cases[0].n_ubatch == 2048;
    fh_free(cases);
    CHECK(right);
    g.type_k = (fh_bench_list){.v = {FH_DTYPE_F16}, .n = 1};
    CHECK_STATUS(fh_bench_grid_cases(&g, &cases, &n, &err), FH_ERR_UNSUPPORTED);
    fh_bench_list many = {.n = 0};
    CHECK_OK(fh_bench_list_add(&many, "1-64", "-x", 0, 64, &err), err);
    CHECK_STATUS(fh_bench_list_add(&many, "65", "-x", 0, 99, &err), FH_ERR_USAGE);
    g = (fh_bench_grid){.n_prompt = many, .n_gen = many, .n_depth = many, .usable_threads = 1};
    fh_bench_grid_set_defaults(&g);
    CHECK_STATUS(fh_bench_grid_cases(&g, &cases, &n, &err), FH_ERR_USAGE);
}

/* ---- sums ---- */
TEST(bench, means_and_deviations) {
    static fh_bench_result r = {.n_run = 3, .ns = {100, 200, 400}, .tokens = 2};
    fh_bench_result_sum_up(&r);
    CHECK(near(r.avg_ns, 700.0 / 3, 1e-12) && near(r.stddev_ns, 152.75252316519467, 1e-12));
    /* tokens per second are averaged run by run: 2e7, 1e7, 5e6 */
    CHECK(near(r.avg_ts, 35e6 / 3, 1e-12) && near(r.stddev_ts, 7637626.158259733, 1e-12));
    r.n_run = 1;
    fh_bench_result_sum_up(&r);
    CHECK(r.avg_ns == 100 && r.stddev_ns == 0 && r.avg_ts == 2e7 && r.stddev_ts == 0);
}

/* ---- rooflines ---- */
TEST(roofline, the_longer_of_both) {
    fh_ceilings c = {.n_worker = 1};
    c.kind[FH_PEAK_READ].all = 10e9;
    c.kind[FH_PEAK_F32].all = 100e9;
    c.kind[FH_PEAK_INT8].all = 1000e9;
    fh_roofline_work w = {.weight_bytes = 4e9, .state_bytes = 1e9};
    w.ops[FH_PEAK_INT8] = 100e9;
    fh_roofline x = fh_roofline_of(&w, &c);
    CHECK(x.by_memory && near(x.seconds, 0.5, 1e-12) && near(x.compute_s, 0.1, 1e-12));
    CHECK(near(x.ops_per_s, 1000e9, 1e-12));
    w.ops[FH_PEAK_F32] = 50e9;
    w.ops[FH_PEAK_BF16] = 10e9; /* no instruction: counts as f32 */
    x = fh_roofline_of(&w, &c);
    CHECK(!x.by_memory && near(x.seconds, 0.7, 1e-12) && near(x.ops_per_s, 160e9 / 0.7, 1e-12));
    w = (fh_roofline_work){0};
    x = fh_roofline_of(&w, &c);
    CHECK(x.seconds == 0 && x.ops_per_s == 0);
}

static fh_model *load(const char *name) {
    char path[1024];
    fh_bundle *bundle = NULL;
    fh_model *m = NULL;
    fh_err err = {0};
    snprintf(path, sizeof path, "%s/%s", fh_test_golden(), name);
    CHECK_OK(fh_bundle_open(&bundle, path, &err), err);
    CHECK_OK(fh_model_load(&m, bundle, &err), err);
    return m;
}

/* Bytes and values of the file's matrices but the table of embeddings, of which a token takes a row. */
static void sum_tensors(const fh_model *m, double *bytes, double *values, double *row) {
    const fh_bundle *b = fh_model_bundle(m);
    *bytes = *values = *row = 0;
    for (size_t i = 0; i < fh_bundle_n_tensor(b); i++) {
        const fh_tensor *t = fh_bundle_get_tensor(b, i);
        double n = 1;
        for (int d = 0; d < (int)t->shape.n_dim; d++) n *= (double)t->shape.dim[d];
        if (fh_str_is(t->name, "token_embd.weight")) {
            *row = (double)t->data.len / (double)t->shape.dim[0];
            continue;
        }
        *bytes += (double)t->data.len;
        if (t->shape.n_dim > 1) *values += n;
    }
}

/* Qwen3, dense: 2 layers, 8 heads and 4 key heads of 32. */
TEST(roofline, a_step_is_the_file) {
    fh_model *m = load("types/Q4_K_M.gguf");
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    double bytes, values, row;
    sum_tensors(m, &bytes, &values, &row);
    fh_roofline_work w = {0}, more = {0}, exact = {0}, batch = {0};
    fh_roofline_batch b = {.n_seq = 1, .n_token = 1, .n_row = 1, .past = 99, .kv_type = FH_DTYPE_F16};
    fh_roofline_add(&w, p, &b);
    b.n_seq = b.n_token = b.n_row = 8;
    fh_roofline_add(&more, p, &b);
    b = (fh_roofline_batch){.n_seq = 1, .n_token = 64, .n_row = 0, .kv_type = FH_DTYPE_F32, .exact = true};
    fh_roofline_add(&exact, p, &b);
    b.n_row = 1;
    b.exact = false;
    fh_roofline_add(&batch, p, &b);
    fh_model_free(m);
    CHECK(near(w.weight_bytes, bytes + row, 1e-6));
    /* keys and values of 100 tokens are read, those of one written */
    CHECK(near(w.state_bytes, (100 + 1) * 2 * 4 * 64 * 2, 1e-9));
    double attend = 2 * 2.0 * 100 * 8 * 64, products = 2 * values, all = fh_roofline_ops(&w);
    CHECK(all > products + attend && all < (products + attend) * 1.05);
    CHECK(w.ops[FH_PEAK_BF16] + w.ops[FH_PEAK_INT8] + w.ops[FH_PEAK_F32] == all);
    /* eight sequences: the same weights once, eight states, eight times the work */
    CHECK(near(more.weight_bytes, bytes + 8 * row, 1e-6) && near(more.state_bytes, 8 * w.state_bytes, 1e-9));
    CHECK(near(fh_roofline_ops(&more), 8 * all, 1e-9));
    /* exact mode is f32 alone, its rows are twice as wide; without a result the head is left out: Q6_K, 320 x 256 */
    CHECK(exact.ops[FH_PEAK_F32] == fh_roofline_ops(&exact));
    CHECK(near(exact.state_bytes, (64 + 64) * 2 * 4 * 64 * 4, 1e-9));
    CHECK(near(batch.weight_bytes - exact.weight_bytes, 320 * 256 / 256 * 210.0, 1e-6));
}

/* gpt-oss: of its experts, a token's choices; of many tokens' choices, what they meet on average. */
TEST(roofline, experts_are_met_by_chance) {
    fh_model *m = load("gguf/gpt-oss-mxfp4.gguf");
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    double each = 0, n_expert = 0, k = 0;
    for (uint32_t i = 0; i < p->n_op; i++) {
        if (p->op[i].kind == FH_OP_ROUTE) {
            n_expert = p->op[i].u.route.n_expert;
            k = p->op[i].u.route.k;
        }
        if (p->op[i].kind != FH_OP_MATMUL_EXPERTS) continue;
        const fh_matrix *x = &p->matrix[p->op[i].matrix];
        uint64_t b = fh_weight_stored_bytes(fh_matrix_weight(x, 0));
        const fh_weight *w = fh_matrix_weight(x, 0);
        each += (double)b * (double)x->out / ((double)fh_weight_rows(w) * (double)fh_weight_matrices(w));
    }
    fh_roofline_work one = {0}, some = {0};
    fh_roofline_batch b = {.n_seq = 1, .n_token = 1, .n_row = 1, .kv_type = FH_DTYPE_F16};
    fh_roofline_add(&one, p, &b);
    b.n_seq = b.n_token = 5;
    fh_roofline_add(&some, p, &b);
    fh_model_free(m);
    CHECK(n_expert > k && k > 0 && each > 0);
    CHECK(one.ops[FH_PEAK_BF16] == 0); /* a plan that chooses experts keeps f32 */
    double hit = n_expert * (1 - pow(1 - k / n_expert, 5));
    double grown = some.weight_bytes - one.weight_bytes;
    CHECK(grown > 0.9 * each * (hit - k) && grown < 1.1 * each * (hit - k) + 5 * 4096);
}

/* ---- runs ---- */
static fh_bench_case small_case(uint32_t p, uint32_t n, uint32_t d, uint32_t streams) {
    return (fh_bench_case){.n_prompt = p,
                           .n_gen = n,
                           .n_depth = d,
                           .n_streams = streams,
                           .n_batch = 24,
                           .n_ubatch = 16,
                           .n_threads = 2,
                           .kv_type = FH_DTYPE_F16};
}

static void count_run(void *ctx) { ++*(uint32_t *)ctx; }

TEST(bench, runs_are_what_was_asked) {
    static fh_bench_result r;
    fh_err err = {0};
    fh_bench *b = NULL;
    uint32_t n = 0;
    fh_model *m = load("types/Q4_K_M.gguf");
    const fh_bench_options opt = {.runs = 2, .most_streams = 3, .ran = count_run, .ctx = &n};
    CHECK_OK(fh_bench_new(&b, m, FH_EXPORT_LOGITS, &opt, &err), err);
    fh_bench_case c = small_case(40, 0, 0, 1);
    CHECK_OK(fh_bench_run(b, &c, &r, &err), err);
    /* calls of 24 and 16 in batches of 16: 16 + 8, 16 */
    CHECK(r.n_run == 2 && r.tokens == 40 && r.n_step == 3 && r.avg_ns > 0 && n == 3);
    c = small_case(0, 4, 33, 3);
    CHECK_OK(fh_bench_run(b, &c, &r, &err), err);
    CHECK(r.tokens == 12 && r.n_step == 4 && n == 6 && r.work.state_bytes > 0);
    /* three sequences of their own, not three names for one: pages of each, beside the forks' */
    uint64_t pages = (uint64_t)2 * 4 * 64 * 2 * 32; /* bytes of 32 tokens */
    CHECK(r.usage.state_peak >= 3 * 2 * pages);
    c = small_case(5, 3, 7, 1);
    CHECK_OK(fh_bench_run(b, &c, &r, &err), err);
    CHECK(r.tokens == 8 && r.n_step == 4);
    fh_bench_free(b);
    fh_model_free(m);
}

TEST(bench, what_a_model_cannot_do) {
    static fh_bench_result r;
    fh_err err = {0};
    fh_bench *b = NULL;
    fh_model *m = load("models/bert");
    const fh_bench_options opt = {.runs = 1, .no_warmup = true}, none = {.runs = 0};
    CHECK_STATUS(fh_bench_new(&b, m, FH_EXPORT_HIDDEN, &none, &err), FH_ERR_USAGE);
    CHECK_OK(fh_bench_new(&b, m, FH_EXPORT_HIDDEN, &opt, &err), err);
    fh_bench_case c = small_case(0, 4, 0, 1);
    CHECK(fh_bench_why_not(b, &c) != NULL);
    CHECK_STATUS(fh_bench_run(b, &c, &r, &err), FH_ERR_UNSUPPORTED);
    c = small_case(40, 0, 0, 1); /* in one batch, whatever -b and -ub say */
    CHECK_OK(fh_bench_run(b, &c, &r, &err), err);
    CHECK(r.n_run == 1 && r.n_step == 1);
    fh_bench_free(b);
    fh_model_free(m);
    m = load("models/t5");
    CHECK_OK(fh_bench_new(&b, m, FH_EXPORT_LOGITS, &opt, &err), err);
    c = small_case(16, 0, 0, 1);
    CHECK_OK(fh_bench_run(b, &c, &r, &err), err);
    c = small_case(0, 4, 9, 2);
    CHECK_OK(fh_bench_run(b, &c, &r, &err), err);
    CHECK(r.tokens == 8);
    c = small_case(16, 0, 9, 1);
    CHECK(fh_bench_why_not(b, &c) != NULL);
    fh_bench_free(b);
    fh_model_free(m);
}

TEST(bench, a_failing_allocation_is_told) {
    static fh_bench_result r;
    fh_model *m = load("types/Q4_K_M.gguf");
    const fh_bench_options opt = {.runs = 1};
    uint64_t n = 1;
    for (bool hit = true; hit; n++) {
        fh_err err = {0};
        fh_bench *b = NULL;
        fh_bench_case c = small_case(9, 2, 5, 1);
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        fh_status st = fh_bench_new(&b, m, FH_EXPORT_LOGITS, &opt, &err);
        if (st == FH_OK) st = fh_bench_run(b, &c, &r, &err);
        hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
        fh_fault_disarm();
        fh_bench_free(b);
        if (st != FH_OK) CHECK_STATUS(st, FH_ERR_MEMORY);
        if (!hit) CHECK_OK(st, err);
    }
    fh_model_free(m);
    CHECK(n > 30);
}

/* ---- agreement ---- */
TEST(agree, distances_by_hand) {
    fh_err err = {0};
    fh_agree a = {0}, b = {0};
    fh_agree_report r;
    const float half[2] = {0, 0}, quarter[2] = {-1.3862943611f, -0.2876820724f}; /* ln 1/4, ln 3/4 */
    const float far[4] = {9, 1, 2, 3}, other[4] = {1, 9, 2, 3};
    CHECK_OK(fh_agree_add(&a, half, quarter, 2, &err), err);
    CHECK(near(a.at[0].kld, 0.5 * log(2) + 0.5 * log(2.0 / 3), 1e-6)); /* 0.1438 */
    CHECK_OK(fh_agree_add(&a, far, far, 4, &err), err);
    CHECK(a.at[1].kld == 0);
    fh_agree_settle(&a);
    CHECK(!a.at[0].asked && a.at[1].asked); /* a tie says nothing */
    CHECK_OK(fh_agree_judge(&a, &r, &err), err);
    CHECK(r.n == 2 && r.n_asked == 1 && r.top == 1 && !r.kept);
    double error = 1.3862943611 * 1.3862943611 + 0.2876820724 * 0.2876820724;
    CHECK(near(r.nmse, error / (81 + 1 + 4 + 9), 1e-6));
    /* a common shift is no difference between distributions */
    const float up[4] = {109, 101, 102, 103};
    CHECK_OK(fh_agree_add(&b, far, up, 4, &err), err);
    CHECK(b.at[0].kld < 1e-12 && b.at[0].same);
    CHECK_OK(fh_agree_add(&b, far, other, 4, &err), err);
    fh_agree_settle(&b);
    CHECK_OK(fh_agree_pool(&a, &b, &err), err);
    CHECK_OK(fh_agree_judge(&a, &r, &err), err);
    CHECK(r.n == 4 && r.n_asked == 3 && near(r.top, 2.0 / 3, 1e-12) && !r.kept);
    fh_agree_release(&a);
    fh_agree_release(&b);
}

TEST(agree, limits_and_what_is_no_number) {
    fh_err err = {0};
    fh_agree a = {0};
    fh_agree_report r;
    const float x[3] = {1, 2, 4}, bad[3] = {1, NAN, 4}, endless[3] = {1, INFINITY, 4};
    CHECK_STATUS(fh_agree_judge(&a, &r, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_agree_add(&a, x, bad, 3, &err), FH_ERR_CORRUPT);
    CHECK(strstr(err.message, "fast") != NULL);
    CHECK_STATUS(fh_agree_add(&a, endless, x, 3, &err), FH_ERR_CORRUPT);
    CHECK(strstr(err.message, "exact") != NULL && a.n == 0);
    for (int i = 0; i < 1001; i++) {
        CHECK_OK(fh_agree_add(&a, x, x, 3, &err), err);
        a.at[i].kld = (double)(1000 - i) * 1e-6; /* 0 to 1e-3, out of order */
    }
    fh_agree_settle(&a);
    CHECK_OK(fh_agree_judge(&a, &r, &err), err);
    CHECK(near(r.mean_kld, 500e-6, 1e-9) && near(r.kld_999, 999e-6, 1e-9) && r.kept);
    for (int i = 0; i < 11; i++) a.at[i].same = false;
    CHECK_OK(fh_agree_judge(&a, &r, &err), err);
    CHECK(!r.kept && near(r.top, 990.0 / 1001, 1e-12));
    a.at[0].same = true; /* 991 of 1001: over 99 % */
    CHECK_OK(fh_agree_judge(&a, &r, &err), err);
    CHECK(r.kept);
    a.at[0].kld = 1;
    CHECK_OK(fh_agree_judge(&a, &r, &err), err);
    CHECK(!r.kept);
    fh_agree_release(&a);
}

TEST(agree, both_modes_side_by_side) {
    fh_err err = {0};
    fh_agree a = {0}, whole = {0};
    uint32_t token[90], n = FH_COUNT(token);
    fh_model *m = load("types/Q4_K_M.gguf");
    CHECK_OK(fh_agree_tokens(m, "", token, &n, &err), err);
    CHECK(n > 0 && n <= FH_COUNT(token));
    fh_agree_options o = {.threads = 2, .kv_type = FH_DTYPE_F16};
    CHECK_OK(fh_agree_run(&a, m, token, n, &o, &err), err);
    CHECK_U64(a.n, n);
    CHECK(a.error > 0 && a.error < 1e-3 * a.power);
    /* exact mode does not see how its text was cut */
    o.batch = 7;
    CHECK_OK(fh_agree_run(&whole, m, token, n, &o, &err), err);
    CHECK(whole.n == n && whole.power == a.power);
    fh_agree_release(&a);
    fh_agree_release(&whole);
    fh_model_free(m);
    m = load("models/bert");
    CHECK_STATUS(fh_agree_run(&a, m, token, 4, &o, &err), FH_ERR_UNSUPPORTED);
    fh_model_free(m);
}
