/* tests/unit/test_adapter.c - PEFT folders and GGUF adapters: pairs, scales, and what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "format/adapter.h"

#include <math.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/num.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "test.h"

/* ---- making adapters ---- */
typedef struct made {
    const char *name;
    uint64_t dim[3];
    fh_dtype dtype; /* F32 by default */
} made;

static fh_tensor made_tensor(const made *m) {
    static const uint8_t zeros[4096];
    fh_tensor t = {.name = fh_str_of(m->name), .dtype = m->dtype};
    uint64_t n = 1, bytes = 0;
    for (uint32_t k = 0; k < 3 && m->dim[k]; k++) {
        t.shape.dim[t.shape.n_dim++] = m->dim[k];
        n *= m->dim[k];
    }
    CHECK(fh_dtype_bytes(t.dtype, n, &bytes) && bytes <= sizeof zeros);
    t.data = (fh_bytes){zeros, (size_t)bytes};
    return t;
}

static void put_file(const char *name, const char *text) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_writer *w = NULL;
    CHECK_OK(fh_path_join(path, fh_test_tmp(), fh_str_of(name), &err), err);
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_writer_add(w, text, strlen(text), &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
}

static void put_peft(const char *config, const made *t, size_t n) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_st_build *b = NULL;
    put_file("adapter_config.json", config);
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("adapter_model.safetensors"), &err), err);
    CHECK_OK(fh_st_build_new(&b, &err), err);
    for (size_t i = 0; i < n && t[i].name; i++) {
        fh_tensor x = made_tensor(&t[i]);
        CHECK_OK(fh_st_build_add_tensor(b, &x, &err), err);
    }
    CHECK_OK(fh_st_write(b, path, NULL, NULL, &err), err);
    fh_st_build_free(b);
}

static fh_adapter *open_ok(const char *path) {
    fh_err err = {0};
    fh_adapter *a = NULL;
    CHECK_OK(fh_adapter_open(&a, path, &err), err);
    CHECK_OK(fh_adapter_check(a, &err), err);
    return a;
}

#define Q "base_model.model.model.layers.0.self_attn.q_proj"
#define K "base_model.model.model.layers.1.self_attn.k_proj"
#define CONFIG(rest) "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"base_model_name_or_path\":\"base\"" rest "}"
#define PAIR_Q \
    {Q ".lora_A.weight", {4, 6}, FH_DTYPE_F32}, { Q ".lora_B.weight", {5, 4}, FH_DTYPE_F32 }
#define PAIR_K \
    {K ".lora_A.weight", {4, 6}, FH_DTYPE_F32}, { K ".lora_B.weight", {5, 4}, FH_DTYPE_F32 }

/* ---- PEFT ---- */
TEST(adapter, peft_pairs_and_saved) {
    static const made t[] = {PAIR_K,
                             PAIR_Q,
                             {"base_model.model.model.embed_tokens.lora_embedding_A", {4, 9}, FH_DTYPE_F32},
                             {"base_model.model.model.embed_tokens.lora_embedding_B", {6, 4}, FH_DTYPE_F32},
                             {"base_model.model.model.embed_tokens.base_layer.weight", {9, 6}, FH_DTYPE_BF16},
                             {"base_model.model.lm_head.modules_to_save.weight", {9, 6}, FH_DTYPE_F32},
                             {Q ".bias", {5}, FH_DTYPE_F32},
                             {Q ".lora_B.bias", {5}, FH_DTYPE_F32}};
    put_peft(
        CONFIG(",\"target_modules\":[\"q_proj\",\"k_proj\"],\"bias\":\"lora_only\",\"alora_invocation_tokens\":[7,8]"),
        t, FH_COUNT(t));
    fh_adapter *a = open_ok(fh_test_tmp());
    const fh_adapter_info *info = fh_adapter_get_info(a);
    CHECK(info->form == FH_ADAPTER_PEFT && info->r == 4 && info->alpha == 8 && !info->rslora && !info->dora);
    CHECK_STR(info->base_model, "base");
    CHECK_STR(info->bias, "lora_only");
    CHECK(info->n_target == 2 && fh_str_is(info->target[1], "k_proj"));
    CHECK(info->n_invocation == 2 && info->invocation[1] == 8);
    CHECK_U64(fh_adapter_n_pair(a), 3);
    const fh_adapter_pair *p = fh_adapter_find_pair(a, FH_STR("model.layers.0.self_attn.q_proj"));
    CHECK(p && p->r == 4 && p->scale == 2.0f && !p->embedding && p->b_bias && !p->magnitude);
    CHECK(p->a->shape.dim[1] == 6 && p->b->shape.dim[0] == 5);
    p = fh_adapter_find_pair(a, FH_STR("model.embed_tokens"));
    CHECK(p && p->embedding && !p->a_transposed && p->a->shape.dim[1] == 9);
    CHECK(!fh_adapter_find_pair(a, FH_STR("model.layers.1.self_attn.q_proj")));
    CHECK_U64(fh_adapter_n_saved(a), 3);
    CHECK(fh_adapter_find_saved(a, FH_STR("model.embed_tokens.weight"))->tensor->dtype == FH_DTYPE_BF16);
    CHECK(fh_adapter_find_saved(a, FH_STR("lm_head.weight")) && !fh_adapter_find_saved(a, FH_STR("norm.weight")));
    CHECK(fh_adapter_find_saved(a, FH_STR("model.layers.0.self_attn.q_proj.bias")));
    fh_adapter_close(a);
}

TEST(adapter, peft_patterns) {
    static const made t[] = {
        PAIR_Q, {K ".lora_A.weight", {2, 6}, FH_DTYPE_F16}, {K ".lora_B.weight", {5, 2}, FH_DTYPE_F16}};
    put_peft(
        CONFIG(",\"rank_pattern\":{\"k_proj\":2},\"alpha_pattern\":{\"layers\\\\.[1-3]\\\\.self_attn\\\\.k_proj\":3,"
               "\"_proj\":99},\"use_rslora\":true"),
        t, FH_COUNT(t));
    fh_adapter *a = open_ok(fh_test_tmp());
    const fh_adapter_pair *k = fh_adapter_find_pair(a, FH_STR("model.layers.1.self_attn.k_proj"));
    const fh_adapter_pair *q = fh_adapter_find_pair(a, FH_STR("model.layers.0.self_attn.q_proj"));
    CHECK(k && q);
    CHECK(k->r == 2 && k->alpha == 3 && k->scale == (float)(3 / sqrt(2)));
    CHECK(q->r == 4 && q->alpha == 8 && q->scale == 4.0f); /* "_proj" is no tail behind a dot */
    fh_adapter_close(a);
}

TEST(adapter, dora) {
    static const made t[] = {PAIR_Q, {Q ".lora_magnitude_vector", {5}, FH_DTYPE_F32}};
    put_peft(CONFIG(",\"use_dora\":true"), t, FH_COUNT(t));
    fh_adapter *a = open_ok(fh_test_tmp());
    CHECK(fh_adapter_n_pair(a) == 1 && fh_adapter_get_pair(a, 0)->magnitude);
    fh_adapter_close(a);
}

static const struct bad {
    const char *config;
    fh_status status;
    const char *words;
    made t[5];
} bad[] = {{"[]", FH_ERR_FORMAT, "no object", {PAIR_Q}},
           {"{\"r\":4}", FH_ERR_FORMAT, "peft_type", {PAIR_Q}},
           {"{\"peft_type\":\"IA3\"}", FH_ERR_UNSUPPORTED, "'IA3'", {PAIR_Q}},
           {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":8}", FH_ERR_FORMAT, "'r'", {PAIR_Q}},
           {"{\"peft_type\":\"LORA\",\"r\":4}", FH_ERR_FORMAT, "lora_alpha", {PAIR_Q}},
           {CONFIG(",\"init_lora_weights\":\"pissa_niter_4\""), FH_ERR_UNSUPPORTED, "'pissa_niter_4'", {PAIR_Q}},
           {CONFIG(",\"target_parameters\":[\"x\"]"), FH_ERR_UNSUPPORTED, "'target_parameters'", {PAIR_Q}},
           {CONFIG(",\"layer_replication\":[[0,2]]"), FH_ERR_UNSUPPORTED, "'layer_replication'", {PAIR_Q}},
           {CONFIG(",\"rank_pattern\":{\"(q|k)_proj\":4}"), FH_ERR_UNSUPPORTED, "'(q|k)_proj'", {PAIR_Q}},
           {CONFIG(",\"rank_pattern\":{\"q_proj\":2}"), FH_ERR_FORMAT, "rank 2", {PAIR_Q}},
           {CONFIG(",\"use_dora\":true"), FH_ERR_FORMAT, "lacks a magnitude", {PAIR_Q}},
           {CONFIG(""), FH_ERR_FORMAT, "has a magnitude", {PAIR_Q, {Q ".lora_magnitude_vector", {5}, FH_DTYPE_F32}}},
           {CONFIG(",\"use_dora\":true"),
            FH_ERR_FORMAT,
            "each row",
            {PAIR_Q, {Q ".lora_magnitude_vector", {6}, FH_DTYPE_F32}}},
           {CONFIG(""), FH_ERR_FORMAT, "lacks its matrix B", {{Q ".lora_A.weight", {4, 6}, FH_DTYPE_F32}}},
           {CONFIG(""), FH_ERR_FORMAT, "lacks its matrix A", {PAIR_K, {Q ".lora_B.weight", {5, 4}, FH_DTYPE_F32}}},
           {CONFIG(""),
            FH_ERR_FORMAT,
            "rank",
            {{Q ".lora_A.weight", {4, 6}, FH_DTYPE_F32}, {Q ".lora_B.weight", {5, 3}, FH_DTYPE_F32}}},
           {CONFIG(""),
            FH_ERR_FORMAT,
            "rank 4",
            {{Q ".lora_A.weight", {3, 6}, FH_DTYPE_F32}, {Q ".lora_B.weight", {5, 3}, FH_DTYPE_F32}}},
           {CONFIG(""),
            FH_ERR_FORMAT,
            "no matrix",
            {{Q ".lora_A.weight", {4}, FH_DTYPE_F32}, {Q ".lora_B.weight", {5, 4}, FH_DTYPE_F32}}},
           {CONFIG(""),
            FH_ERR_FORMAT,
            "matrix of floats",
            {{Q ".lora_A.weight", {4, 6}, FH_DTYPE_I8}, {Q ".lora_B.weight", {5, 4}, FH_DTYPE_F32}}},
           {CONFIG(""), FH_ERR_FORMAT, "are the same", {PAIR_Q, {Q ".lora_A.default.weight", {4, 6}, FH_DTYPE_F32}}},
           {CONFIG(""), FH_ERR_UNSUPPORTED, "not read", {PAIR_Q, {Q ".lora_diag", {4}, FH_DTYPE_F32}}},
           {CONFIG(""), FH_ERR_FORMAT, "holds no tensors", {{NULL, {0}, FH_DTYPE_F32}}}};

TEST(adapter, peft_refuses) {
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        fh_err err = {0};
        fh_adapter *a = NULL;
        put_peft(bad[i].config, bad[i].t, 5);
        fh_status st = fh_adapter_open(&a, fh_test_tmp(), &err);
        if (st != bad[i].status || a || !strstr(err.message, bad[i].words) || !err.path[0])
            fh_test_fail(__FILE__, __LINE__, "case %zu: %s '%s', expected '%s'", i, fh_status_name(st), err.message,
                         bad[i].words);
    }
}

TEST(adapter, files_missing_or_of_another_kind) {
    fh_err err = {0};
    fh_adapter *a = NULL;
    char path[FH_PATH_MAX];
    CHECK_STATUS(fh_adapter_open(&a, "/nonexistent/adapter", &err), FH_ERR_NOT_FOUND);
    CHECK_STATUS(fh_adapter_open(&a, fh_test_tmp(), &err), FH_ERR_NOT_FOUND); /* no adapter_config.json */
    put_file("adapter_config.json", CONFIG(""));
    CHECK_STATUS(fh_adapter_open(&a, fh_test_tmp(), &err), FH_ERR_NOT_FOUND);
    put_file("adapter_model.bin", "PK\3\4");
    CHECK_STATUS(fh_adapter_open(&a, fh_test_tmp(), &err), FH_ERR_UNSUPPORTED);
    CHECK(strstr(err.message, "pickle"));
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("adapter_config.json"), &err), err);
    CHECK_STATUS(fh_adapter_open(&a, path, &err), FH_ERR_FORMAT);
    CHECK(!a);
}

TEST(adapter, match) {
    static const struct {
        const char *key, *module;
        int want;
    } c[] = {/* -1: not understood */
             {"q_proj", "model.layers.0.q_proj", 1},
             {"q_proj", "q_proj", 1},
             {"q_proj", "layers.0.xq_proj", 0},
             {"q_proj", "q_proj.x", 0},
             {"layers.0.q_proj", "model.layers.0.q_proj", 1},
             {"layers.0.q_proj", "layers.10.q_proj", 0},
             {"model.layers.0.q_proj", "layers.0.q_proj", 0},
             {"layers.1.q", "layers_1.q", 1},
             {"^model.layers.0.q", "model.layers.0.q", 1},
             {"^layers.0.q", "model.layers.0.q", 0},
             {"layers\\.\\d+\\.q", "model.layers.31.q", 1},
             {"layers\\.\\d\\.q", "layers.31.q", 0},
             {".*q_proj", "a.b.xq_proj", 1},
             {"layers.[0-3].q$", "m.layers.2.q", 1},
             {"layers.[^0-3].q", "m.layers.2.q", 0},
             {"layers.1?2.q", "layers.2.q", 1},
             {"a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", 0},
             {"(q|k)", "q", -1},
             {"q{2}", "qq", -1},
             {"q+?", "qq", -1},
             {"[a", "a", -1},
             {"\\b", "a", -1},
             {"q\\", "q", -1},
             {"*", "a", -1},
             {"", "a", 0}};
    for (size_t i = 0; i < FH_COUNT(c); i++) {
        bool known = false, hit = fh_adapter_match(fh_str_of(c[i].key), fh_str_of(c[i].module), &known);
        if ((known ? hit : -1) != c[i].want)
            fh_test_fail(__FILE__, __LINE__, "'%s' on '%s' gives %d", c[i].key, c[i].module, known ? hit : -1);
    }
}

TEST(adapter, lack_of_memory) {
    static const made t[] = {PAIR_K, PAIR_Q, {"base_model.model.lm_head.base_layer.weight", {9, 6}, FH_DTYPE_F32}};
    put_peft(CONFIG(",\"target_modules\":[\"q_proj\"]"), t, FH_COUNT(t));
    for (uint64_t n = 1;; n++) {
        fh_err err = {0};
        fh_adapter *a = NULL;
        uint64_t blocks = fh_mem_get_stats().live_blocks;
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        fh_status st = fh_adapter_open(&a, fh_test_tmp(), &err);
        bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
        fh_fault_disarm();
        fh_adapter_close(a);
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        CHECK(st == (hit ? FH_ERR_MEMORY : FH_OK));
        if (!hit) break;
        CHECK(n < 200);
    }
}

/* ---- GGUF ---- */
static const char *put_gguf(const char *type, const char *kind, float alpha, const made *t, size_t n) {
    static char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_gguf_build *b = NULL;
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("adapter.gguf"), &err), err);
    CHECK_OK(fh_gguf_build_new(&b, &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "general.type", fh_str_of(type), &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "general.architecture", FH_STR("llama"), &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "adapter.type", fh_str_of(kind), &err), err);
    CHECK_OK(fh_gguf_build_add_f32(b, "adapter.lora.alpha", alpha, &err), err);
    for (size_t i = 0; i < n && t[i].name; i++) {
        fh_tensor x = made_tensor(&t[i]);
        CHECK_OK(fh_gguf_build_add_tensor(b, &x, &err), err);
    }
    CHECK_OK(fh_gguf_write(b, path, NULL, NULL, &err), err);
    fh_gguf_build_free(b);
    return path;
}

TEST(adapter, gguf) {
    static const made t[] = {{"blk.0.attn_q.weight.lora_a", {4, 6}, FH_DTYPE_F32},
                             {"blk.0.attn_q.weight.lora_b", {5, 4}, FH_DTYPE_F16},
                             {"blk.0.ffn_up_exps.weight.lora_a", {3, 2, 6}, FH_DTYPE_F32},
                             {"blk.0.ffn_up_exps.weight.lora_b", {3, 5, 2}, FH_DTYPE_F32},
                             {"token_embd.weight.lora_a", {9, 4}, FH_DTYPE_F32},
                             {"token_embd.weight.lora_b", {6, 4}, FH_DTYPE_F32},
                             {"blk.0.attn_norm.weight", {6}, FH_DTYPE_F32}};
    for (int k = 0; k < 2; k++) {
        fh_adapter *a = open_ok(put_gguf("adapter", "lora", k ? 0.0f : 8.0f, t, FH_COUNT(t)));
        const fh_adapter_info *info = fh_adapter_get_info(a);
        CHECK(info->form == FH_ADAPTER_GGUF && fh_str_is(info->arch, "llama"));
        CHECK_U64(fh_adapter_n_pair(a), 3);
        const fh_adapter_pair *q = fh_adapter_find_pair(a, FH_STR("blk.0.attn_q.weight"));
        const fh_adapter_pair *e = fh_adapter_find_pair(a, FH_STR("blk.0.ffn_up_exps.weight"));
        const fh_adapter_pair *v = fh_adapter_find_pair(a, FH_STR("token_embd.weight"));
        CHECK(q && e && v);
        CHECK(q->r == 4 && q->scale == (k ? 1.0f : 2.0f) && !q->embedding);
        CHECK(e->r == 2 && e->scale == (k ? 1.0f : 4.0f));
        CHECK(v->r == 4 && v->embedding && v->a_transposed);
        CHECK(fh_adapter_n_saved(a) == 1 && fh_adapter_find_saved(a, FH_STR("blk.0.attn_norm.weight")));
        fh_adapter_close(a);
    }
}

TEST(adapter, gguf_refuses) {
    static const struct {
        const char *type, *kind;
        float alpha;
        fh_status status;
        const char *words;
        made t[2];
    } c[] = {{"model", "lora", 1, FH_ERR_FORMAT, "no adapter", {{"blk.0.attn_q.weight.lora_a", {4, 6}, FH_DTYPE_F32}}},
             {"adapter", "ia3", 1, FH_ERR_UNSUPPORTED, "'ia3'", {{"blk.0.attn_q.weight.lora_a", {4, 6}, FH_DTYPE_F32}}},
             {"adapter",
              "lora",
              1,
              FH_ERR_FORMAT,
              "lacks its matrix B",
              {{"blk.0.attn_q.weight.lora_a", {4, 6}, FH_DTYPE_F32}}},
             {"adapter", "lora", 1, FH_ERR_FORMAT, "neither", {{"blk.0.attn_q.weight", {4, 6}, FH_DTYPE_F32}}},
             {"adapter",
              "lora",
              NAN,
              FH_ERR_FORMAT,
              "finite",
              {{"x.lora_a", {4, 6}, FH_DTYPE_F32}, {"x.lora_b", {5, 4}, FH_DTYPE_F32}}},
             {"adapter",
              "lora",
              1,
              FH_ERR_FORMAT,
              "experts",
              {{"x.lora_a", {3, 4, 6}, FH_DTYPE_F32}, {"x.lora_b", {2, 5, 4}, FH_DTYPE_F32}}},
             {"adapter",
              "lora",
              1,
              FH_ERR_FORMAT,
              "rank", /* a as [in, r]: an old form */
              {{"x.lora_a", {6, 4}, FH_DTYPE_F32}, {"x.lora_b", {5, 4}, FH_DTYPE_F32}}}};
    for (size_t i = 0; i < FH_COUNT(c); i++) {
        fh_err err = {0};
        fh_adapter *a = NULL;
        fh_status st = fh_adapter_open(&a, put_gguf(c[i].type, c[i].kind, c[i].alpha, c[i].t, 2), &err);
        if (st != c[i].status || a || !strstr(err.message, c[i].words))
            fh_test_fail(__FILE__, __LINE__, "case %zu: %s '%s', expected '%s'", i, fh_status_name(st), err.message,
                         c[i].words);
    }
}

/* ---- adapters that PEFT saved ---- */
static void check_golden(const char *folder) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf text;
    fh_json *doc = NULL;
    double alpha = 0;
    uint64_t r = 0;
    bool rs = false, dora = false;
    size_t n_a = 0, n_other = 0;
    fh_map *map = NULL;
    fh_st *st = NULL;
    fh_buf_init(&text, 1u << 20);
    fh_adapter *a = open_ok(folder);
    CHECK_OK(fh_path_join(path, folder, FH_STR("adapter_config.json"), &err), err);
    CHECK_OK(fh_file_read(path, &text, &err), err);
    CHECK_OK(fh_json_parse(&doc, fh_buf_str(&text), NULL, &err), err);
    CHECK(fh_json_to_f64(fh_json_get(fh_json_root(doc), "lora_alpha"), &alpha));
    CHECK(fh_json_to_u64(fh_json_get(fh_json_root(doc), "r"), &r));
    fh_json_to_bool(fh_json_get(fh_json_root(doc), "use_rslora"), &rs);
    fh_json_to_bool(fh_json_get(fh_json_root(doc), "use_dora"), &dora);
    CHECK_OK(fh_path_join(path, folder, FH_STR("adapter_model.safetensors"), &err), err);
    CHECK_OK(fh_map_open(&map, path, &err), err);
    CHECK_OK(fh_st_open(&st, fh_map_bytes(map), &err), err);
    for (size_t i = 0; i < fh_st_n_tensor(st); i++) {
        fh_str name = fh_st_get_tensor(st, i)->name;
        n_a += fh_str_ends(name, ".lora_A.weight");
        n_other += !fh_str_ends(name, ".lora_A.weight") && !fh_str_ends(name, ".lora_B.weight") &&
                   !fh_str_ends(name, ".lora_magnitude_vector");
    }
    CHECK_U64(fh_adapter_n_pair(a), n_a);
    CHECK_U64(fh_adapter_n_saved(a), n_other);
    CHECK(n_a > 0);
    for (size_t i = 0; i < n_a; i++) {
        const fh_adapter_pair *p = fh_adapter_get_pair(a, i);
        CHECK(p->r == r && p->a->shape.dim[0] == r && p->b->shape.dim[1] == r);
        CHECK(p->scale == (float)(rs ? alpha / sqrt((double)r) : alpha / (double)r));
        CHECK((p->magnitude != NULL) == dora);
        CHECK(fh_str_starts(p->module, "model.layers."));
    }
    fh_st_close(st);
    fh_map_close(map);
    fh_json_free(doc);
    fh_buf_release(&text);
    fh_adapter_close(a);
}

TEST(adapter, golden_committed) {
    char path[FH_PATH_MAX];
    static const char *const run[] = {"dora-llama2", "lora-llama3-attn"};
    for (size_t i = 0; i < FH_COUNT(run); i++) {
        snprintf(path, sizeof path, "%s/train/%s/adapter-end", fh_test_golden(), run[i]);
        check_golden(path);
    }
}

TEST_GOLDEN(adapter, golden_all) {
    char path[FH_PATH_MAX];
    static const char *const run[] = {"dora-llama2",          "dpo-qwen3",        "lora-accum-mistral",
                                      "lora-deepseek-v3",     "lora-llama3-attn", "lora-mixtral-attn",
                                      "lora-modules-to-save", "lora-phi2",        "lora-qwen3",
                                      "rslora-gemma2"};
    for (size_t i = 0; i < FH_COUNT(run); i++)
        for (int end = 0; end < 2; end++) {
            snprintf(path, sizeof path, "%s/train/%s/adapter-%s", fh_test_shared(), run[i], end ? "end" : "start");
            check_golden(path);
        }
}
