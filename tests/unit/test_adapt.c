/* tests/unit/test_adapt.c - adapters as operands of the plan, held against weights merged by hand.
 * SPDX-License-Identifier: Apache-2.0
 * The oracle works on tensors as PEFT sees them (W + s B A, rows scaled to magnitudes) and reads each matrix of the
 * plan out of the merged tensor by the definition in tensor/matrix.h; the code under test never merges. */
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "forge/convert.h"
#include "infer/engine.h"
#include "kernel/weight_decode.h"
#include "model/adapt.h"
#include "model/model_part.h"
#include "test.h"

#define RANK 3
#define MODULES 512

typedef struct module {
    char name[160];
    uint64_t rows, cols;
    float *a, *b, *m; /* [RANK, cols], [rows, RANK], [rows] or NULL */
    bool table;
} module;

typedef struct maker {
    module item[MODULES];
    size_t n;
    uint64_t seed;
    fh_err err;
    char folder[300];
} maker;

static float next(maker *k) {
    k->seed = k->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(k->seed >> 40) / (1 << 24) - 0.5);
}

static float *numbers(maker *k, uint64_t n, float around) {
    float *v = malloc((n ? n : 1) * sizeof *v);
    CHECK(v != NULL);
    for (uint64_t i = 0; i < n; i++) v[i] = around + 0.2f * next(k);
    return v;
}

static module *module_named(maker *k, fh_str name) {
    for (size_t i = 0; i < k->n; i++)
        if (fh_str_is(name, k->item[i].name)) return &k->item[i];
    return NULL;
}

static void release(maker *k) {
    for (size_t i = 0; i < k->n; i++) {
        free(k->item[i].a);
        free(k->item[i].b);
        free(k->item[i].m);
    }
    free(k);
}

static maker *maker_new(uint64_t seed) {
    maker *k = calloc(1, sizeof *k);
    CHECK(k != NULL);
    k->seed = seed + 1;
    return k;
}

static void load(fh_model **out, const char *root, const char *name, fh_err *err) {
    char path[400];
    fh_bundle *b = NULL;
    snprintf(path, sizeof path, "%s%s%s", root, *root ? "/" : "", name);
    CHECK_OK(fh_bundle_open(&b, path, err), *err);
    CHECK_OK(fh_model_load(out, b, err), *err);
}

/* The module behind a stored weight; false for what PEFT has no module for. */
static bool module_of(const fh_weight *w, fh_str *out) {
    *out = w->name;
    if (!fh_str_ends(w->name, ".weight")) return false;
    out->len -= strlen(".weight");
    return w->shape.n_dim == 2;
}

static bool is_table(const fh_plan *p, uint32_t id) {
    for (uint32_t i = 0; i < p->n_op; i++)
        if (p->op[i].kind == FH_OP_EMBED && p->op[i].matrix == id) return true;
    return false;
}

/* A pair for every module that some matrix of the plan is read from. */
static void add_all(maker *k, const fh_model *m, bool dora) {
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    for (uint32_t id = 0; id < p->n_matrix; id++)
        for (uint32_t i = 0; i < p->matrix[id].n_weight; i++) {
            const fh_weight *w = p->matrix[id].weight[i];
            fh_str name;
            if (!module_of(w, &name) || module_named(k, name) || (is_table(p, id) && dora && k->n > 0)) continue;
            module *x = &k->item[k->n++];
            CHECK(k->n < MODULES && fh_str_copy(x->name, sizeof x->name, name));
            x->rows = fh_weight_rows(w);
            x->cols = fh_weight_cols(w);
            x->table = is_table(p, id);
            x->a = numbers(k, RANK * x->cols, 0);
            x->b = numbers(k, x->rows * RANK, 0);
            if (dora) x->m = numbers(k, x->table ? x->cols : x->rows, 1);
        }
}

static void put(fh_st_build *b, const char *name, const char *tail, const float *v, uint64_t rows, uint64_t cols,
                maker *k) {
    char text[260];
    snprintf(text, sizeof text, "base_model.model.%s%s", name, tail);
    fh_tensor t = {.name = fh_str_of(text), .dtype = FH_DTYPE_F32};
    t.shape = cols ? (fh_shape){.n_dim = 2, .dim = {rows, cols}} : (fh_shape){.n_dim = 1, .dim = {rows}};
    t.data = (fh_bytes){(const uint8_t *)v, (size_t)(rows * (cols ? cols : 1)) * sizeof *v};
    CHECK_OK(fh_st_build_add_tensor(b, &t, &k->err), k->err);
}

static const float *turned(const float *v, uint64_t rows, uint64_t cols, float *out) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++) out[c * rows + r] = v[r * cols + c];
    return out;
}

static void write_text(const char *folder, const char *name, const char *text) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A PEFT folder of the modules; alpha 6 with rank 3: scale 2. One saved tensor more, where given. */
static fh_adapter *save(maker *k, const char *name, const char *config, const char *saved, const float *v,
                        uint64_t rows, uint64_t cols) {
    fh_st_build *b = NULL;
    fh_adapter *a = NULL;
    char path[400];
    snprintf(k->folder, sizeof k->folder, "%s/%s", fh_test_tmp(), name);
    CHECK(mkdir(k->folder, 0777) == 0);
    CHECK_OK(fh_st_build_new(&b, &k->err), k->err);
    float *spare[MODULES];
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++) {
        module *x = &k->item[i];
        if (x->table) { /* PEFT keeps tables as embedding_A [r, rows] and embedding_B [width, r] */
            spare[n] = malloc((size_t)(x->rows * RANK) * sizeof(float));
            spare[n + 1] = malloc((size_t)(x->cols * RANK) * sizeof(float));
            put(b, x->name, ".lora_embedding_A", turned(x->b, x->rows, RANK, spare[n]), RANK, x->rows, k);
            put(b, x->name, ".lora_embedding_B", turned(x->a, RANK, x->cols, spare[n + 1]), x->cols, RANK, k);
            n += 2;
        } else {
            put(b, x->name, ".lora_A.weight", x->a, RANK, x->cols, k);
            put(b, x->name, ".lora_B.weight", x->b, x->rows, RANK, k);
        }
        if (x->m) put(b, x->name, ".lora_magnitude_vector", x->m, x->table ? x->cols : x->rows, 0, k);
    }
    if (saved) put(b, saved, "", v, rows, cols, k);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", k->folder);
    CHECK_OK(fh_st_write(b, path, NULL, NULL, &k->err), k->err);
    fh_st_build_free(b);
    while (n) free(spare[--n]);
    write_text(k->folder, "adapter_config.json", config);
    CHECK_OK(fh_adapter_open(&a, k->folder, &k->err), k->err);
    return a;
}

#define PLAIN "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"target_modules\": [\"q_proj\"]}"
#define DORA \
    "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"use_dora\": true, \"target_modules\": [\"q_proj\"]}"

/* ---- the oracle ---- */

/* The whole tensor of a module, merged. */
static double *merge(const fh_weight *w, const module *x, double scale) {
    uint64_t n = x->rows * x->cols;
    float *plain = malloc(n * sizeof *plain);
    double *out = malloc(n * sizeof *out);
    CHECK(plain && out);
    fh_weight_decode(w, 0, x->rows, plain);
    for (uint64_t r = 0; r < x->rows; r++)
        for (uint64_t c = 0; c < x->cols; c++) {
            double d = 0;
            for (uint32_t k = 0; k < RANK; k++) d += (double)x->b[r * RANK + k] * (double)x->a[k * x->cols + c];
            out[r * x->cols + c] = (double)plain[r * x->cols + c] + scale * d;
        }
    uint64_t groups = x->table ? x->cols : x->rows, each = x->table ? x->rows : x->cols;
    for (uint64_t g = 0; x->m && g < groups; g++) {
        double sum = 0;
        for (uint64_t i = 0; i < each; i++) {
            double v = x->table ? out[i * x->cols + g] : out[g * x->cols + i];
            sum += v * v;
        }
        for (uint64_t i = 0; i < each; i++)
            out[x->table ? i * x->cols + g : g * x->cols + i] *= (double)x->m[g] / sqrt(sum);
    }
    free(plain);
    return out;
}

static float stored(const fh_matrix *x, uint32_t m, uint64_t o, uint64_t i) {
    const fh_weight *w = fh_matrix_weight(x, m);
    uint64_t cols = fh_weight_cols(w);
    float *row = malloc(cols * sizeof *row);
    fh_weight_decode(w, fh_matrix_row(x, m, x->transposed ? i : o), 1, row);
    float v = row[x->transposed ? x->col + o * x->step : i];
    free(row);
    return v;
}

/* What the operands make of one element. */
static double effective(const fh_plan *p, const fh_adapter_set *set, uint32_t id, uint32_t m, uint64_t o, uint64_t i) {
    const fh_adapted *a = &set->matrix[id];
    const fh_matrix *x = a->instead ? a->instead : &p->matrix[id];
    double w = (double)stored(x, m, o, i), v = w;
    for (uint32_t l = 0; l < a->n_lora; l++) {
        const fh_lora *lo = &a->lora[l];
        double by = lo->row_scale ? (double)lo->row_scale[m * x->out + o] : 1, d = 0;
        for (uint32_t k = 0; k < lo->r; k++)
            d += (double)lo->b[(m * x->out + o) * lo->r + k] * (double)lo->a[(m * lo->r + k) * x->in + i];
        v += by * w - w + (double)lo->scale * by * d;
    }
    return v;
}

/* Every matrix of the plan: a few of its elements, spread over all of it. */
static size_t compare(const fh_model *m, const fh_adapter_set *set, maker *k, double scale) {
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    size_t seen = 0;
    for (uint32_t id = 0; id < p->n_matrix; id++) {
        const fh_matrix *x = &p->matrix[id];
        for (uint32_t mat = 0; mat < x->n_mat; mat++) {
            const fh_weight *w = fh_matrix_weight(x, mat);
            fh_str name;
            const module *mod = module_of(w, &name) ? module_named(k, name) : NULL;
            bool tied = mod && mod->table && !is_table(p, id);
            if (!mod || tied) {
                CHECK_U64(set->matrix[id].n_lora, 0);
                continue;
            }
            double *all = merge(w, mod, scale);
            for (uint64_t t = 0; t < 40; t++) {
                uint64_t o = t * 7919 % x->out, i = t * 104729 % x->in;
                uint64_t row = fh_matrix_row(x, mat, x->transposed ? i : o);
                double want = all[row * mod->cols + (x->transposed ? x->col + o * x->step : i)];
                double got = effective(p, set, id, mat, o, i);
                if (!(fabs(got - want) <= 3e-6 * (1 + fabs(want))))
                    fh_test_fail(__FILE__, __LINE__, "%.*s matrix %u [%u, %u] is %.9g, expected %.9g",
                                 FH_STR_ARG(x->name), mat, (unsigned)o, (unsigned)i, got, want);
            }
            free(all);
            seen++;
        }
    }
    return seen;
}

static void all_modules(const char *model, bool dora, float scale) {
    fh_model *m = NULL;
    maker *k = maker_new(fh_test_seed());
    fh_adaption *a = NULL;
    char root[300];
    snprintf(root, sizeof root, "%s/models", fh_test_golden());
    load(&m, root, model, &k->err);
    add_all(k, m, dora);
    fh_adapter *ad = save(k, model, dora ? DORA : PLAIN, NULL, NULL, 0, 0);
    fh_adapter_use use = {ad, scale};
    CHECK_OK(fh_adaption_new(&a, m, &use, 1, &k->err), k->err);
    CHECK(compare(m, fh_adaption_set(a), k, 2 * (double)scale) > 5);
    CHECK(fh_adaption_bytes(a) > 0);
    fh_adaption_free(a);
    fh_adapter_close(ad);
    fh_model_free(m);
    release(k);
}

TEST(adapt, every_linear_module_of_llama) { all_modules("llama-sharded", false, 1); }
TEST(adapt, latent_attention_and_experts) { all_modules("deepseek-v3", false, 1); }
TEST(adapt, experts_and_memory) { all_modules("qwen35-moe", false, 0.5f); }
TEST(adapt, names_behind_a_prefix) { all_modules("mm-gemma3", false, 1); }
TEST(adapt, encoder) { all_modules("bert", false, 1); }
TEST(adapt, magnitudes) { all_modules("llama-sharded", true, 1); }
TEST(adapt, magnitudes_of_a_table_and_of_joined_heads) { all_modules("deepseek-v3", true, 0.75f); }
TEST(adapt, magnitudes_of_experts) { all_modules("qwen35-moe", true, 1); }

/* ---- the other form: logits ---- */

typedef struct results {
    float *v;
    size_t n, width;
} results;

static fh_status keep(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    results *r = ctx;
    (void)work, (void)index, (void)err;
    memcpy(r->v + r->n, row, r->width * sizeof *row);
    r->n += r->width;
    return FH_OK;
}

static results run(const fh_model *m, const fh_adapter_set *set, fh_err *err) {
    static const uint32_t token[] = {7, 1, 99, 300, 42, 12, 7, 8};
    fh_engine_options opt = {.threads = 1, .kv_type = FH_DTYPE_F32, .exact = true};
    fh_engine *e = NULL;
    fh_session *s = NULL;
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    results r = {.width = p->value[p->exported[FH_EXPORT_LOGITS]].width};
    r.v = malloc(r.width * 8 * sizeof(float));
    CHECK_OK(fh_engine_new(&e, m, &opt, err), *err);
    CHECK_OK(fh_session_new(&s, e, 0, set, 0, err), *err);
    fh_work w = {s, token, 8, FH_WANT_ALL};
    CHECK_OK(fh_engine_step(e, &w, 1, FH_EXPORT_LOGITS, keep, &r, NULL, err), *err);
    fh_session_free(s);
    fh_engine_free(e);
    return r;
}

static double nmse(const results *a, const results *b) {
    double s = 0, n = 0;
    CHECK_U64(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        double d = (double)a->v[i] - (double)b->v[i];
        s += d * d;
        n += (double)b->v[i] * (double)b->v[i];
    }
    return s / n;
}

/* An adapter made for one form acts alike on the model in the other form. */
static void other_form(const char *model, bool dora) {
    fh_model *m = NULL, *g = NULL;
    maker *k = maker_new(fh_test_seed() + 5);
    fh_adaption *a = NULL, *b = NULL;
    char path[400], root[300];
    snprintf(root, sizeof root, "%s/models", fh_test_golden());
    load(&m, root, model, &k->err);
    snprintf(path, sizeof path, "%s/other.gguf", fh_test_tmp());
    fh_convert_options opt = {.no_tokenizer = true};
    CHECK_OK(fh_convert(m, path, &opt, &k->err), k->err);
    load(&g, "", path, &k->err);
    add_all(k, m, dora);
    fh_adapter *ad = save(k, "adapter", dora ? DORA : PLAIN, NULL, NULL, 0, 0);
    fh_adapter_use use = {ad, 1};
    CHECK_OK(fh_adaption_new(&a, m, &use, 1, &k->err), k->err);
    CHECK_OK(fh_adaption_new(&b, g, &use, 1, &k->err), k->err);
    results plain = run(m, NULL, &k->err), mine = run(m, fh_adaption_set(a), &k->err);
    results other = run(g, fh_adaption_set(b), &k->err);
    CHECK(nmse(&mine, &plain) > 1e-4);
    CHECK_U64(mine.n, other.n);
    CHECK(memcmp(mine.v, other.v, mine.n * sizeof *mine.v) == 0);
    free(plain.v);
    free(mine.v);
    free(other.v);
    fh_adaption_free(a);
    fh_adaption_free(b);
    fh_adapter_close(ad);
    fh_model_free(m);
    fh_model_free(g);
    release(k);
}

TEST(adapt, peft_on_gguf_llama) { other_form("llama-sharded", false); }
TEST(adapt, peft_on_gguf_latent) { other_form("deepseek-v3", false); }
TEST(adapt, peft_on_gguf_memory) { other_form("qwen35-moe", false); }
TEST(adapt, magnitudes_on_gguf) { other_form("llama-sharded", true); }

/* Rows that were adopted from the prefix cache by a session of 40 tokens with these adapters. */
static uint32_t adopted(fh_engine *e, const fh_adapter_set *set, fh_err *err) {
    uint32_t token[40], n;
    fh_session *s = NULL;
    for (uint32_t i = 0; i < FH_COUNT(token); i++) token[i] = 7 * i % 250;
    CHECK_OK(fh_session_new(&s, e, 0, set, 0, err), *err);
    fh_work w = {s, token, FH_COUNT(token), FH_WANT_NONE};
    CHECK_OK(fh_engine_step(e, &w, 1, FH_EXPORT_LOGITS, NULL, NULL, NULL, err), *err);
    n = fh_session_n_adopted(s);
    fh_session_free(s);
    return n;
}

/* What was computed with one set of adapters is no prefix of another's, which may lie at the same address. */
TEST(adapt, prefixes_of_what_is_gone) {
    fh_model *m = NULL;
    fh_engine *e = NULL;
    fh_adaption *a = NULL;
    maker *k = maker_new(12);
    char root[300];
    snprintf(root, sizeof root, "%s/models", fh_test_golden());
    load(&m, root, "llama-sharded", &k->err);
    add_all(k, m, false);
    fh_adapter *ad = save(k, "adapter", PLAIN, NULL, NULL, 0, 0);
    const fh_engine_options opt = {.threads = 1, .page = 16, .exact = true};
    CHECK_OK(fh_engine_new(&e, m, &opt, &k->err), k->err);
    CHECK_U64(adopted(e, NULL, &k->err), 0);
    fh_adapter_set here;
    for (int round = 0; round < 3; round++) {
        const fh_adapter_use use = {ad, round == 1 ? 2.0f : 1.0f};
        CHECK_OK(fh_adaption_new(&a, m, &use, 1, &k->err), k->err);
        here = *fh_adaption_set(a); /* always in the same place */
        CHECK_U64(adopted(e, &here, &k->err), 0);
        CHECK_U64(adopted(e, &here, &k->err), 32);
        CHECK_U64(adopted(e, NULL, &k->err), 32);
        fh_adaption_free(a);
    }
    fh_engine_free(e);
    fh_adapter_close(ad);
    fh_model_free(m);
    release(k);
}

/* ---- GGUF adapters ---- */

static void gguf_tensor(fh_gguf_build *b, const char *name, const float *v, uint64_t rows, uint64_t cols, fh_err *err) {
    fh_tensor t = {.name = fh_str_of(name), .dtype = FH_DTYPE_F32, .shape = {.n_dim = 2, .dim = {rows, cols}}};
    t.data = (fh_bytes){(const uint8_t *)v, (size_t)(rows * cols) * sizeof *v};
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, err), *err);
}

/* q_proj of layer 0 as a GGUF adapter says it: rows of b in pairs, not halves. */
static fh_status gguf_adapter(maker *k, const char *arch, const module *q, uint32_t heads, fh_adapter **out) {
    fh_gguf_build *b = NULL;
    char path[400];
    uint64_t width = q->rows / heads;
    float *moved = malloc((size_t)(q->rows * RANK) * sizeof *moved);
    for (uint64_t r = 0; r < q->rows; r++) {
        uint64_t h = r / width, at = r % width, to = h * width + at % (width / 2) * 2 + at / (width / 2);
        memcpy(moved + to * RANK, q->b + r * RANK, RANK * sizeof *moved);
    }
    snprintf(path, sizeof path, "%s/%s.gguf", fh_test_tmp(), arch);
    CHECK_OK(fh_gguf_build_new(&b, &k->err), k->err);
    CHECK_OK(fh_gguf_build_add_str(b, "general.architecture", fh_str_of(arch), &k->err), k->err);
    CHECK_OK(fh_gguf_build_add_str(b, "general.type", FH_STR("adapter"), &k->err), k->err);
    CHECK_OK(fh_gguf_build_add_str(b, "adapter.type", FH_STR("lora"), &k->err), k->err);
    CHECK_OK(fh_gguf_build_add_f32(b, "adapter.lora.alpha", 6, &k->err), k->err);
    gguf_tensor(b, "blk.0.attn_q.weight.lora_a", q->a, RANK, q->cols, &k->err);
    gguf_tensor(b, "blk.0.attn_q.weight.lora_b", moved, q->rows, RANK, &k->err);
    CHECK_OK(fh_gguf_write(b, path, NULL, NULL, &k->err), k->err);
    fh_gguf_build_free(b);
    free(moved);
    return fh_adapter_open(out, path, &k->err);
}

TEST(adapt, gguf_adapter_on_safetensors) {
    fh_model *m = NULL;
    maker *k = maker_new(11);
    fh_adapter *ad = NULL, *wrong = NULL;
    fh_adaption *a = NULL;
    char root[300];
    snprintf(root, sizeof root, "%s/models", fh_test_golden());
    load(&m, root, "llama-sharded", &k->err);
    add_all(k, m, false);
    module *q = module_named(k, FH_STR("model.layers.0.self_attn.q_proj"));
    CHECK(q != NULL);
    CHECK_OK(gguf_adapter(k, "llama", q, fh_model_spec(m)->layer[0].n_head, &ad), k->err);
    for (size_t i = 0; i < k->n; i++)
        if (&k->item[i] != q) k->item[i].name[0] = 0; /* this one alone is adapted */
    fh_adapter_use use = {ad, 1};
    CHECK_OK(fh_adaption_new(&a, m, &use, 1, &k->err), k->err);
    CHECK_U64(compare(m, fh_adaption_set(a), k, 2), 1);
    fh_adaption_free(a);
    CHECK_OK(gguf_adapter(k, "falcon", q, 1, &wrong), k->err);
    use.adapter = wrong;
    CHECK_STATUS(fh_adaption_new(&a, m, &use, 1, &k->err), FH_ERR_UNSUPPORTED);
    fh_adapter_close(ad);
    fh_adapter_close(wrong);
    fh_model_free(m);
    release(k);
}

/* ---- saved tensors, several adapters, refusals ---- */

typedef struct bench {
    fh_model *m;
    maker *k;
    const fh_plan *p;
} bench;

static bench open_bench(const char *model) {
    bench b = {.k = maker_new(3)};
    char root[300];
    snprintf(root, sizeof root, "%s/models", fh_test_golden());
    load(&b.m, root, model, &b.k->err);
    b.p = fh_model_plan(b.m, FH_PLAN_STEP);
    return b;
}

static void close_bench(bench *b) {
    fh_model_free(b->m);
    release(b->k);
}

static uint32_t vector_named(const fh_plan *p, const char *name) {
    for (uint32_t i = 0; i < p->n_vector; i++)
        if (fh_str_is(p->vector[i].name, name)) return i;
    return FH_NO_ID;
}

TEST(adapt, a_norm_in_the_form_of_its_file) {
    bench b = open_bench("mm-gemma3");
    uint64_t n = fh_model_spec(b.m)->n_embd;
    float *v = numbers(b.k, n, 0);
    const char *name = "model.language_model.layers.1.input_layernorm.weight";
    fh_adapter *ad = save(b.k, "norm", PLAIN, name, v, n, 0);
    fh_adapter_use use = {ad, 0.25f}; /* the factor does not touch what is replaced */
    fh_adaption *a = NULL;
    CHECK_OK(fh_adaption_new(&a, b.m, &use, 1, &b.k->err), b.k->err);
    uint32_t id = vector_named(b.p, "layers.1.attn_norm");
    CHECK(id != FH_NO_ID);
    const float *const *vector = fh_adaption_set(a)->vector;
    for (uint32_t i = 0; i < b.p->n_vector; i++) CHECK((vector[i] != NULL) == (i == id));
    for (uint64_t i = 0; i < n; i++) CHECK(vector[id][i] == 1.0f + v[i]);
    fh_adaption_free(a);
    fh_adapter_close(ad);
    free(v);
    close_bench(&b);
}

TEST(adapt, a_saved_table_leaves_the_tied_head) {
    bench b = open_bench("mm-gemma3");
    uint64_t width = fh_model_spec(b.m)->n_embd, vocab = fh_model_spec(b.m)->n_vocab;
    float *v = numbers(b.k, vocab * width, 0);
    fh_adapter *ad = save(b.k, "table", PLAIN, "model.language_model.embed_tokens.weight", v, vocab, width);
    fh_adapter_use use[2] = {{ad, 1}, {ad, 1}};
    fh_adaption *a = NULL;
    CHECK_OK(fh_adaption_new(&a, b.m, use, 1, &b.k->err), b.k->err);
    for (uint32_t id = 0; id < b.p->n_matrix; id++) {
        const fh_adapted *x = &fh_adaption_set(a)->matrix[id];
        CHECK((x->instead != NULL) == is_table(b.p, id));
        if (x->instead) CHECK(stored(x->instead, 0, 5, 3) == v[5 * width + 3]);
    }
    fh_adaption_free(a);
    CHECK_STATUS(fh_adaption_new(&a, b.m, use, 2, &b.k->err), FH_ERR_UNSUPPORTED);
    CHECK(strstr(b.k->err.message, "embed_tokens") != NULL);
    fh_adapter_close(ad);
    free(v);
    close_bench(&b);
}

TEST(adapt, several_adapters_add_up) {
    bench b = open_bench("llama-sharded");
    maker *other = maker_new(77);
    add_all(b.k, b.m, false);
    add_all(other, b.m, false);
    fh_adapter *one = save(b.k, "one", PLAIN, NULL, NULL, 0, 0), *two = save(other, "two", PLAIN, NULL, NULL, 0, 0);
    fh_adapter_use use[2] = {{one, 1}, {two, -0.5f}};
    fh_adaption *both = NULL, *first = NULL, *second = NULL;
    CHECK_OK(fh_adaption_new(&both, b.m, use, 2, &b.k->err), b.k->err);
    CHECK_OK(fh_adaption_new(&first, b.m, use, 1, &b.k->err), b.k->err);
    CHECK_OK(fh_adaption_new(&second, b.m, use + 1, 1, &b.k->err), b.k->err);
    for (uint32_t id = 0; id < b.p->n_matrix; id++)
        for (uint64_t i = 0; i < 3; i++) {
            double w = (double)stored(&b.p->matrix[id], 0, i, 1);
            double want = effective(b.p, fh_adaption_set(first), id, 0, i, 1) +
                          effective(b.p, fh_adaption_set(second), id, 0, i, 1) - w;
            CHECK(fabs(effective(b.p, fh_adaption_set(both), id, 0, i, 1) - want) < 1e-6);
        }
    fh_adaption_free(both);
    fh_adaption_free(first);
    fh_adaption_free(second);
    fh_adapter_close(one);
    fh_adapter_close(two);
    release(other);
    close_bench(&b);
}

static void refused(bench *b, fh_adapter *ad, float scale, fh_status want, const char *word) {
    fh_adaption *a = NULL;
    fh_adapter_use use = {ad, scale};
    CHECK_STATUS(fh_adaption_new(&a, b->m, &use, 1, &b->k->err), want);
    CHECK(a == NULL);
    if (!strstr(b->k->err.message, word))
        fh_test_fail(__FILE__, __LINE__, "'%s' does not name '%s'", b->k->err.message, word);
    fh_adapter_close(ad);
}

TEST(adapt, what_has_no_place_is_refused_by_name) {
    bench b = open_bench("llama-sharded");
    uint64_t n = fh_model_spec(b.m)->n_embd;
    float *v = numbers(b.k, n * n, 0);
    fh_adapter *ad = save(b.k, "a", PLAIN, "model.layers.0.self_attn.q_norm.weight", v, n, 0);
    refused(&b, ad, 1, FH_ERR_UNSUPPORTED, "model.layers.0.self_attn.q_norm.weight");
    ad = save(b.k, "b", PLAIN, "model.norm.weight", v, n / 2, 0);
    refused(&b, ad, 1, FH_ERR_FORMAT, "model.norm.weight");
    ad = save(b.k, "c", PLAIN, "lm_head.weight", v, n, n);
    refused(&b, ad, 1, FH_ERR_FORMAT, "lm_head.weight");
    ad = save(b.k, "d", PLAIN, "model.norm.weight", v, n, 0);
    refused(&b, ad, NAN, FH_ERR_USAGE, "finite");
    ad = save(b.k, "e", "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"alora_invocation_tokens\": [4, 5]}",
              "model.norm.weight", v, n, 0);
    refused(&b, ad, 1, FH_ERR_UNSUPPORTED, "invocation");
    module *x = &b.k->item[b.k->n++];
    snprintf(x->name, sizeof x->name, "model.layers.99.self_attn.q_proj");
    x->rows = x->cols = n;
    x->a = numbers(b.k, RANK * n, 0);
    x->b = numbers(b.k, RANK * n, 0);
    ad = save(b.k, "f", PLAIN, NULL, NULL, 0, 0);
    refused(&b, ad, 1, FH_ERR_UNSUPPORTED, "model.layers.99.self_attn.q_proj");
    snprintf(x->name, sizeof x->name, "model.layers.0.mlp.down_proj");
    ad = save(b.k, "g", PLAIN, NULL, NULL, 0, 0);
    refused(&b, ad, 1, FH_ERR_FORMAT, "model.layers.0.mlp.down_proj");
    free(v);
    close_bench(&b);
}

TEST(adapt, every_allocation_may_fail) {
    bench b = open_bench("deepseek-v3");
    add_all(b.k, b.m, true);
    fh_adapter *ad = save(b.k, "dora", DORA, NULL, NULL, 0, 0);
    fh_adapter_use use = {ad, 1};
    fh_adaption *a = NULL;
    uint64_t blocks = fh_mem_get_stats().live_blocks;
    for (uint64_t nth = 1; !a; nth += 1 + nth / 8) {
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        fh_status s = fh_adaption_new(&a, b.m, &use, 1, &b.k->err);
        fh_fault_disarm();
        CHECK(s == FH_OK ? a != NULL : s == FH_ERR_MEMORY && a == NULL);
        if (s != FH_OK) CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
    }
    fh_adaption_free(a);
    CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
    fh_adapter_close(ad);
    close_bench(&b);
}
