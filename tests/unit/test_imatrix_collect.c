/* tests/unit/test_imatrix_collect.c - what is collected for an importance matrix, against the values that were really
 * there: the executor keeps them all, and their squares are summed here by the plan alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/num.h"
#include "forge/imatrix_collect.h"
#include "model/slot_name.h"
#include "test.h"

enum { TOKENS = 40, VOCAB = 300 };

static void open_model(fh_model **m, const char *name) {
    char path[600];
    fh_err err = {0};
    fh_bundle *b;
    snprintf(path, sizeof path, "%s/%s", fh_test_golden(), name);
    CHECK_OK(fh_bundle_open(&b, path, &err), err);
    CHECK_OK(fh_model_load(m, b, &err), err);
}

/* keep: all values stay to be looked at, and nothing is joined. */
static fh_engine *new_engine(const fh_model *m, int threads, uint32_t batch, bool exact, bool keep) {
    fh_err err = {0};
    fh_engine *e;
    const fh_engine_options o = {.threads = threads,
                                 .batch = batch,
                                 .rows = batch,
                                 .exact = exact,
                                 .keep_values = keep,
                                 .no_prefix_cache = true};
    CHECK_OK(fh_engine_new(&e, m, &o, &err), err);
    return e;
}

static fh_status no_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    (void)ctx, (void)work, (void)index, (void)row, (void)err;
    return FH_OK;
}

static void run_tokens(fh_engine *e, uint32_t n) {
    uint32_t token[TOKENS];
    fh_err err = {0};
    fh_session *s;
    for (uint32_t i = 0; i < n; i++) token[i] = (i * 37 + 11) % VOCAB;
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    const fh_work w = {s, token, n, FH_WANT_ALL};
    CHECK_OK(fh_engine_step(e, &w, 1, FH_EXPORT_LOGITS, no_row, NULL, NULL, &err), err);
    fh_session_free(s);
}

static fh_imatrix *collect(const fh_model *m, int threads, uint32_t batch, bool exact, bool head) {
    fh_err err = {0};
    fh_imatrix_collector *c;
    fh_imatrix *out;
    fh_engine *e = new_engine(m, threads, batch, exact, false);
    CHECK_OK(fh_imatrix_collector_new(&c, e, head, &err), err);
    run_tokens(e, TOKENS);
    CHECK_OK(fh_imatrix_new(&out, TOKENS, &err), err);
    CHECK_OK(fh_imatrix_collector_add_to(c, out, &err), err);
    fh_imatrix_collector_free(c);
    run_tokens(e, 3); /* nobody looks any more */
    fh_engine_free(e);
    return out;
}

/* Element j of the input row `row` of a product, counted through its heads. */
static double input_at(const fh_exec *x, const fh_plan *p, const fh_view *v, uint64_t row, uint64_t j) {
    const float *value = fh_exec_value(x, v->value);
    CHECK(value);
    return (double)value[row * p->value[v->value].width + v->col + j / v->width * v->stride + j % v->width];
}

/* The name that the entry of op i must have, or false where none is expected. */
static bool expected_name(const fh_model *m, const fh_op *o, bool head, char out[300]) {
    const fh_spec *spec = fh_model_spec(m);
    const fh_bound at = fh_model_binder(m)->matrix_of[o->matrix];
    const fh_matrix *x = &fh_model_plan(m, FH_PLAN_STEP)->matrix[o->matrix];
    fh_slot slot = at.slot;
    if (at.layer < 0 && !head) return false;
    if (spec->gguf) {
        snprintf(out, 300, "%.*s", FH_STR_ARG(x->weight[0]->name));
        return true;
    }
    if (slot == FH_SLOT_LATENT_KV_B) slot = x->transposed ? FH_SLOT_LATENT_K_B : FH_SLOT_LATENT_V_B;
    const char *list = fh_slot_pattern(spec->family, true, at.stack, slot);
    fh_str one;
    CHECK(fh_slot_alternative(&list, &one));
    CHECK(fh_slot_expand(one, FH_STR(""), at.layer, 0, out));
    snprintf(out + strlen(out), 300 - strlen(out), ".weight");
    return true;
}

/* Sums of squares of op o's input, by hand: sum [n_mat][in], count [n_mat]. */
static void by_hand(const fh_exec *x, const fh_plan *p, const fh_op *o, double *sum, double *count) {
    const fh_matrix *m = &p->matrix[o->matrix];
    const uint64_t in = m->in;
    memset(sum, 0, in * m->n_mat * sizeof *sum);
    memset(count, 0, m->n_mat * sizeof *count);
    if (o->kind != FH_OP_MATMUL_EXPERTS) {
        const bool heads = o->kind == FH_OP_MATMUL_HEADS;
        for (uint64_t r = 0; r < TOKENS; r++)
            for (uint64_t j = 0; j < in * (heads ? m->n_mat : 1); j++) {
                const double v = input_at(x, p, &o->in[0], r, j);
                sum[j] += v * v;
            }
        count[0] = TOKENS;
        return;
    }
    const int32_t *start = (const int32_t *)(const void *)fh_exec_value(x, o->in[1].value);
    const int32_t *list = (const int32_t *)(const void *)fh_exec_value(x, o->in[2].value);
    const uint32_t share = p->value[o->out[0].value].per / p->value[o->in[0].value].per;
    for (uint32_t e = 0; e < m->n_mat; e++)
        for (int32_t i = start[e]; i < start[e + 1]; i++) {
            count[e]++;
            for (uint64_t j = 0; j < in; j++) {
                const double v = input_at(x, p, &o->in[0], (uint64_t)list[i] / share, j);
                sum[e * in + j] += v * v;
            }
        }
}

/* Every entry is what the plan's values say; gives the number of entries. */
static size_t check_model(const char *name, bool head) {
    fh_model *m;
    open_model(&m, name);
    fh_imatrix *got = collect(m, 2, 64, true, head);
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    const fh_spec *spec = fh_model_spec(m);
    fh_engine *e = new_engine(m, 1, 64, true, true);
    const fh_exec *x = fh_engine_exec(e, FH_PLAN_STEP);
    size_t seen = 0;
    run_tokens(e, TOKENS);
    for (uint32_t i = 0; i < p->n_op; i++) {
        const fh_op *o = &p->op[i];
        char want[300];
        if (o->kind != FH_OP_MATMUL && o->kind != FH_OP_MATMUL_HEADS && o->kind != FH_OP_MATMUL_EXPERTS) continue;
        if (!expected_name(m, o, head, want)) continue;
        const fh_matrix *x_m = &p->matrix[o->matrix];
        const uint64_t n = x_m->in * (o->kind == FH_OP_MATMUL ? 1 : x_m->n_mat);
        const fh_imatrix_entry *entry = fh_imatrix_find(got, fh_str_of(want));
        double *sum = fh_alloc(x_m->in * x_m->n_mat, sizeof *sum), *count = fh_alloc(x_m->n_mat, sizeof *count);
        CHECK(sum && count);
        by_hand(x, p, o, sum, count);
        if (!entry || entry->n_value != n)
            fh_test_fail(__FILE__, __LINE__, "'%s' is not there, or has no %llu values", want, (unsigned long long)n);
        CHECK_U64(entry->n_mat, o->kind == FH_OP_MATMUL_EXPERTS ? x_m->n_mat : 1);
        const fh_slot slot = fh_model_binder(m)->matrix_of[o->matrix].slot;
        for (uint64_t j = 0; j < n; j++) {
            const uint64_t col = spec->gguf ? j : j - j % x_m->in + fh_form_col(spec, slot, true, j % x_m->in);
            CHECK((double)entry->sum[j] == (double)(float)sum[col]);
        }
        for (uint64_t k = 0; k < entry->n_mat; k++) CHECK((double)entry->count[k] == count[k]);
        fh_free(sum);
        fh_free(count);
        seen++;
    }
    CHECK_U64(seen, fh_imatrix_n_entry(got));
    fh_engine_free(e);
    fh_imatrix_free(got);
    fh_model_free(m);
    return seen;
}

TEST(imatrix_collect, a_decoder) {
    CHECK_U64(check_model("gguf/llama-sharded-00001-of-00003.gguf", false), 7 * 3);
    CHECK_U64(check_model("gguf/llama-sharded-00001-of-00003.gguf", true), 7 * 3 + 1);
}

TEST(imatrix_collect, experts) { CHECK(check_model("gguf/gpt-oss-mxfp4.gguf", false) > 20); }

/* Latent attention: keys and values of kv_b stand under the names that GGUF has for them apart. */
TEST(imatrix_collect, latent_attention_in_safetensors) { CHECK(check_model("models/deepseek-v3", true) > 20); }

/* The delta rule's output, whose columns a GGUF deals out in another order. */
TEST(imatrix_collect, delta_rule_in_safetensors) { CHECK(check_model("models/qwen35-moe", false) > 20); }

TEST_GOLDEN(imatrix_collect, the_same_from_either_kind_of_file) {
    static const char *const name[] = {"deepseek-v3", "qwen35-moe", "llama-sharded"};
    for (size_t i = 0; i < FH_COUNT(name); i++) {
        char path[600];
        fh_err err = {0};
        fh_bundle *b;
        fh_model *gguf, *st;
        snprintf(path, sizeof path, "%s/gguf/%s%s.gguf", fh_test_shared(), name[i], i == 2 ? "-00001-of-00003" : "");
        CHECK_OK(fh_bundle_open(&b, path, &err), err);
        CHECK_OK(fh_model_load(&gguf, b, &err), err);
        snprintf(path, sizeof path, "%s/models/%s", fh_test_shared(), name[i]);
        CHECK_OK(fh_bundle_open(&b, path, &err), err);
        CHECK_OK(fh_model_load(&st, b, &err), err);
        fh_imatrix *x = collect(gguf, 2, 64, true, true), *y = collect(st, 2, 64, true, true);
        CHECK_U64(fh_imatrix_n_entry(x), fh_imatrix_n_entry(y));
        for (size_t k = 0; k < fh_imatrix_n_entry(x); k++) {
            const fh_imatrix_entry *p = fh_imatrix_get(x, k), *q = fh_imatrix_get(y, k);
            CHECK(fh_str_eq(p->name, q->name) && p->n_value == q->n_value && p->n_mat == q->n_mat);
            for (uint64_t j = 0; j < p->n_mat; j++) CHECK(p->count[j] == q->count[j]);
            for (uint64_t j = 0; j < p->n_value; j++)
                CHECK(fabs((double)p->sum[j] - (double)q->sum[j]) <= 1e-4 * (1e-3 + fabs((double)q->sum[j])));
        }
        fh_imatrix_free(x);
        fh_imatrix_free(y);
        fh_model_free(gguf);
        fh_model_free(st);
    }
}

/* Threads and batches do not show; fast mode is near. */
TEST(imatrix_collect, however_it_is_run) {
    static const struct {
        int threads;
        uint32_t batch;
        bool exact;
    } ways[] = {{1, 64, true}, {3, 64, true}, {2, 7, true}, {2, 64, false}};
    fh_model *m;
    open_model(&m, "gguf/llama-sharded-00001-of-00003.gguf");
    fh_imatrix *first = collect(m, 2, 64, true, true);
    for (size_t i = 0; i < FH_COUNT(ways); i++) {
        fh_imatrix *got = collect(m, ways[i].threads, ways[i].batch, ways[i].exact, true);
        CHECK_U64(fh_imatrix_n_entry(got), fh_imatrix_n_entry(first));
        for (size_t k = 0; k < fh_imatrix_n_entry(got); k++) {
            const fh_imatrix_entry *a = fh_imatrix_get(got, k), *b = fh_imatrix_get(first, k);
            CHECK(a->n_value == b->n_value && a->count[0] == b->count[0]);
            for (uint64_t j = 0; j < a->n_value; j++)
                CHECK(ways[i].exact ? a->sum[j] == b->sum[j]
                                    : fabsf(a->sum[j] - b->sum[j]) <= 0.1f * (0.1f + fabsf(b->sum[j])));
        }
        fh_imatrix_free(got);
    }
    fh_imatrix_free(first);
    fh_model_free(m);
}

/* Joined products are seen, and once: every token has its experts. Which ones may differ by a rounding. */
TEST(imatrix_collect, fast_experts) {
    static const char *const name[] = {"gguf/gpt-oss-mxfp4.gguf", "models/deepseek-v3", "models/qwen35-moe"};
    for (size_t i = 0; i < FH_COUNT(name); i++) {
        fh_model *m;
        open_model(&m, name[i]);
        fh_imatrix *exact = collect(m, 2, 64, true, true), *fast = collect(m, 1 + (int)i, 64, false, true);
        CHECK_U64(fh_imatrix_n_entry(exact), fh_imatrix_n_entry(fast));
        for (size_t k = 0; k < fh_imatrix_n_entry(exact); k++) {
            const fh_imatrix_entry *a = fh_imatrix_get(exact, k), *b = fh_imatrix_get(fast, k);
            double count[2] = {0, 0}, sum[2] = {0, 0};
            CHECK(fh_str_eq(a->name, b->name) && a->n_value == b->n_value && a->n_mat == b->n_mat);
            for (uint64_t j = 0; j < a->n_mat; j++) count[0] += (double)a->count[j], count[1] += (double)b->count[j];
            for (uint64_t j = 0; j < a->n_value; j++) sum[0] += (double)a->sum[j], sum[1] += (double)b->sum[j];
            CHECK(count[0] == count[1] && fabs(sum[0] - sum[1]) <= 0.2 * sum[0]);
        }
        fh_imatrix_free(exact);
        fh_imatrix_free(fast);
        fh_model_free(m);
    }
}
