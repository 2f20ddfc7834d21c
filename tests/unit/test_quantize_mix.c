/* tests/unit/test_quantize_mix.c - which type each tensor of a dozen published models gets, in every mix.
 * SPDX-License-Identifier: Apache-2.0
 * Expected: hashes over the reference's own lists of the tensors that differ from the mix's type, for all mixes but
 * Q1_0 and Q2_0 (which its lists do not have). Models are rebuilt here from their layers. */
#include "base/buf.h"
#include "base/num.h"
#include "forge/mix.h"
#include "test.h"

enum { MAX_TENSORS = 4096 };

/* layers: which have it: "a" all, "a3" from layer 3 on, "u3" below layer 3, "f4" the last of each four, "l4" the other
 * three of each four, or a letter that the model's pattern has in the layer's place. */
typedef struct part {
    const char *name, *layers;
    uint64_t cols;
    bool stacked;
} part;

typedef struct model {
    const char *name, *arch, *pattern;
    uint64_t n_layer, n_head, n_head_kv, n_expert, cols;
    uint64_t hash;
    bool tied;
    part part[20];
} model;

#define NEMOTRON "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
#define ATTENTION(which, in, out) \
    {"attn_q.weight", which, in, false}, {"attn_k.weight", which, in, false}, {"attn_v.weight", which, in, false}, { \
        "attn_output.weight", which, out, false \
    }
#define FFN(which, in, out) \
    {"ffn_gate.weight", which, in, false}, {"ffn_up.weight", which, in, false}, { "ffn_down.weight", which, out, false }
#define EXPERTS(which, in, out) \
    {"ffn_gate_exps.weight", which, in, true}, {"ffn_up_exps.weight", which, in, true}, { \
        "ffn_down_exps.weight", which, out, true \
    }
#define SHARED(which, in, out) \
    {"ffn_gate_shexp.weight", which, in, false}, {"ffn_up_shexp.weight", which, in, false}, { \
        "ffn_down_shexp.weight", which, out, false \
    }
#define DELTA(in, out) \
    {"attn_qkv.weight", "l4", in, false}, {"attn_gate.weight", "l4", in, false}, { "ssm_out.weight", "l4", out, false }

static const model models[] = {
    {.name = "qwen3-0.6b",
     .arch = "qwen3",
     .n_layer = 28,
     .n_head = 16,
     .n_head_kv = 8,
     .cols = 1024,
     .hash = 0x1a92d2a1b2de3db3,
     .part = {ATTENTION("a", 1024, 2048), FFN("a", 1024, 3072)}},
    {.name = "qwen3-14b",
     .arch = "qwen3",
     .n_layer = 40,
     .n_head = 40,
     .n_head_kv = 8,
     .cols = 5120,
     .hash = 0xd0f26278047ffa01,
     .part = {ATTENTION("a", 5120, 5120), FFN("a", 5120, 17408)}},
    {.name = "llama-3.1-70b",
     .arch = "llama",
     .n_layer = 80,
     .n_head = 64,
     .n_head_kv = 8,
     .cols = 8192,
     .hash = 0x3fe1639d6fdc4b22,
     .part = {ATTENTION("a", 8192, 8192), FFN("a", 8192, 28672)}},
    {.name = "gemma-3-4b",
     .arch = "gemma3",
     .n_layer = 34,
     .n_head = 8,
     .n_head_kv = 4,
     .cols = 2560,
     .tied = true,
     .hash = 0x90ff71708a70b058,
     .part = {ATTENTION("a", 2560, 2048), FFN("a", 2560, 10240)}},
    {.name = "gpt-oss-120b",
     .arch = "gpt-oss",
     .n_layer = 36,
     .n_head = 64,
     .n_head_kv = 8,
     .n_expert = 128,
     .cols = 2880,
     .hash = 0x30eefe59ad866f4b,
     .part = {ATTENTION("a", 2880, 4096), EXPERTS("a", 2880, 2880)}},
    {.name = "glm-4.6v",
     .arch = "glm4moe",
     .n_layer = 46,
     .n_head = 96,
     .n_head_kv = 8,
     .n_expert = 128,
     .cols = 4096,
     .hash = 0x1a0198be4a7ba314,
     .part = {ATTENTION("a", 4096, 12288), FFN("u1", 4096, 10944), EXPERTS("a1", 4096, 1408),
              SHARED("a1", 4096, 1408)}},
    {.name = "step-3.5-flash",
     .arch = "step35",
     .n_layer = 45,
     .n_head = 64,
     .n_head_kv = 8,
     .n_expert = 288,
     .cols = 4096,
     .hash = 0x0cc2f028c437572a,
     .part = {ATTENTION("a", 4096, 8192),
              {"attn_gate.weight", "a", 4096, false},
              FFN("u3", 4096, 11264),
              EXPERTS("a3", 4096, 1280),
              SHARED("a3", 4096, 1280)}},
    {.name = "deepseek-v3.1",
     .arch = "deepseek2",
     .n_layer = 61,
     .n_head = 128,
     .n_head_kv = 1,
     .n_expert = 256,
     .cols = 7168,
     .hash = 0xcc783aecc81effa0,
     .part = {{"attn_q_a.weight", "a", 7168, false},
              {"attn_q_b.weight", "a", 1536, false},
              {"attn_kv_a_mqa.weight", "a", 7168, false},
              {"attn_k_b.weight", "a", 128, true},
              {"attn_v_b.weight", "a", 512, true},
              {"attn_output.weight", "a", 16384, false},
              FFN("u3", 7168, 18432),
              EXPERTS("a3", 7168, 2048),
              SHARED("a3", 7168, 2048)}},
    {.name = "nemotron-3-nano",
     .arch = "nemotron_h_moe",
     .pattern = NEMOTRON,
     .n_layer = 52,
     .n_head = 32,
     .n_expert = 128,
     .cols = 2688,
     .hash = 0xf1df745e692ca7ca,
     .part = {ATTENTION("*", 2688, 4096),
              {"ssm_in.weight", "M", 2688, false},
              {"ssm_out.weight", "M", 4096, false},
              {"ffn_up_exps.weight", "E", 2688, true},
              {"ffn_down_exps.weight", "E", 1856, true},
              {"ffn_up_shexp.weight", "E", 2688, false},
              {"ffn_down_shexp.weight", "E", 3712, false}}},
    {.name = "qwen3-coder-next",
     .arch = "qwen3next",
     .n_layer = 48,
     .n_head = 16,
     .n_head_kv = 2,
     .n_expert = 512,
     .cols = 2048,
     .hash = 0xc4ce945c3590d9fc,
     .part = {ATTENTION("f4", 2048, 4096),
              DELTA(2048, 4096),
              {"ssm_ba.weight", "l4", 2048, false},
              EXPERTS("a", 2048, 512),
              SHARED("a", 2048, 512)}},
    {.name = "qwen3.5-397b-a17b",
     .arch = "qwen35moe",
     .n_layer = 60,
     .n_head = 32,
     .n_head_kv = 2,
     .n_expert = 512,
     .cols = 4096,
     .hash = 0x59a85684d88ee514,
     .part = {ATTENTION("f4", 4096, 8192),
              DELTA(4096, 8192),
              {"ssm_alpha.weight", "l4", 4096, false},
              {"ssm_beta.weight", "l4", 4096, false},
              EXPERTS("a", 4096, 1024),
              SHARED("a", 4096, 1024)}},
    {.name = "qwen3.6-27b",
     .arch = "qwen35",
     .n_layer = 64,
     .n_head = 24,
     .n_head_kv = 4,
     .cols = 5120,
     .hash = 0x615666d770f51078,
     .part = {ATTENTION("f4", 5120, 6144),
              DELTA(5120, 6144),
              {"ssm_alpha.weight", "l4", 5120, false},
              {"ssm_beta.weight", "l4", 5120, false},
              FFN("a", 5120, 17408)}},
};

typedef struct tensor_list {
    fh_tensor tensor[MAX_TENSORS];
    const fh_tensor *order[MAX_TENSORS];
    fh_mix_choice choice[MAX_TENSORS];
    char name[MAX_TENSORS][48];
    size_t n;
} tensor_list;

static tensor_list list;

static void add(const char *name, uint64_t cols, bool stacked) {
    CHECK(list.n < MAX_TENSORS);
    snprintf(list.name[list.n], sizeof list.name[0], "%s", name);
    list.tensor[list.n] = (fh_tensor){.name = fh_str_of(list.name[list.n]), .dtype = FH_DTYPE_F32};
    list.tensor[list.n].shape =
        stacked ? (fh_shape){.n_dim = 3, .dim = {8, 64, cols}} : (fh_shape){.n_dim = 2, .dim = {64, cols}};
    list.order[list.n] = &list.tensor[list.n];
    list.n++;
}

static bool has_layer(const model *m, const part *p, uint64_t il) {
    const uint64_t n = p->layers[1] ? (uint64_t)strtoul(p->layers + 1, NULL, 10) : 0;
    switch (p->layers[0]) {
    case 'a': return il >= n;
    case 'u': return il < n;
    case 'f': return il % n == n - 1;
    case 'l': return il % n != n - 1;
    default: return m->pattern[il] == p->layers[0];
    }
}

static void build(const model *m) {
    list.n = 0;
    /* not in the order that the rules want */
    for (uint64_t il = m->n_layer; il-- > 0;) {
        char name[48];
        for (const part *p = m->part; p->name; p++) {
            if (!has_layer(m, p, il)) continue;
            snprintf(name, sizeof name, "blk.%llu.%s", (unsigned long long)il, p->name);
            add(name, p->cols, p->stacked);
        }
        snprintf(name, sizeof name, "blk.%llu.attn_norm.weight", (unsigned long long)il);
        add(name, m->cols, false);
        snprintf(name, sizeof name, "blk.%llu.ffn_gate_inp.weight", (unsigned long long)il);
        add(name, m->cols, false);
    }
    add("token_embd.weight", m->cols, false);
    if (!m->tied) add("output.weight", m->cols, false);
    fh_mix_order(list.order, list.n);
}

static fh_mix_model facts(const model *m) {
    return (fh_mix_model){.arch = fh_str_of(m->arch),
                          .n_layer = m->n_layer,
                          .n_expert = m->n_expert,
                          .n_head = m->n_head,
                          .n_head_kv = m->n_head_kv};
}

static uint64_t fnv(fh_str s) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < s.len; i++) h = (h ^ (uint8_t)s.ptr[i]) * 1099511628211u;
    return h;
}

TEST(quantize_mix, published_models) {
    for (size_t k = 0; k < FH_COUNT(models); k++) {
        const model *m = &models[k];
        const fh_mix_model f = facts(m);
        fh_err err = {0};
        fh_buf text;
        fh_buf_init(&text, (size_t)1 << 24);
        build(m);
        for (unsigned mix = 0; mix < FH_MIX_COUNT; mix++) {
            const fh_mix_options opt = {.mix = (fh_mix)mix};
            if (mix == FH_MIX_Q1_0 || mix == FH_MIX_Q2_0) continue;
            fh_buf_printf(&text, "[%s]\n", fh_mix_get((fh_mix)mix)->name);
            CHECK_OK(fh_mix_choose(list.choice, list.order, list.n, &f, &opt, &err), err);
            for (size_t i = 0; i < list.n; i++) {
                const fh_str name = list.order[i]->name;
                if (fh_str_ends(name, "attn_norm.weight") || fh_str_ends(name, "ffn_gate_inp.weight")) {
                    CHECK(list.choice[i].type == FH_DTYPE_F32);
                    continue;
                }
                if (list.choice[i].type == fh_mix_get((fh_mix)mix)->base) continue;
                fh_buf_printf(&text, "%.*s %s\n", FH_STR_ARG(name), fh_dtype_name(list.choice[i].type));
            }
        }
        CHECK_OK(fh_buf_check(&text, &err), err);
        const uint64_t got = fnv(fh_buf_str(&text));
        fh_buf_release(&text);
        if (got != m->hash) fh_test_fail(__FILE__, __LINE__, "the lists of %s differ", m->name);
    }
}

/* ---- what is given by hand ---- */

static fh_dtype type_of(const fh_mix_options *opt, const char *name) {
    const fh_mix_model f = facts(&models[0]);
    fh_err err = {0};
    build(&models[0]);
    CHECK_OK(fh_mix_choose(list.choice, list.order, list.n, &f, opt, &err), err);
    for (size_t i = 0; i < list.n; i++)
        if (fh_str_is(list.order[i]->name, name)) return list.choice[i].type;
    fh_test_fail(__FILE__, __LINE__, "no tensor %s", name);
}

TEST(quantize_mix, overrides) {
    const fh_mix_override o[] = {{"blk\\.[0-3]\\.ffn_down", FH_DTYPE_Q8_0}, {"ffn_down", FH_DTYPE_Q3_K}};
    fh_mix_options opt = {.mix = FH_MIX_Q4_K_M, .override = o, .n_override = 2};
    CHECK(type_of(&opt, "blk.3.ffn_down.weight") == FH_DTYPE_Q8_0);
    CHECK(type_of(&opt, "blk.4.ffn_down.weight") == FH_DTYPE_Q3_K);
    CHECK(type_of(&opt, "blk.4.ffn_up.weight") == FH_DTYPE_Q4_K);
    CHECK(type_of(&opt, "blk.4.attn_norm.weight") == FH_DTYPE_F32);
    opt.has_output = opt.has_embedding = true;
    opt.output = FH_DTYPE_F16;
    opt.embedding = FH_DTYPE_IQ4_NL;
    CHECK(type_of(&opt, "output.weight") == FH_DTYPE_F16);
    CHECK(type_of(&opt, "token_embd.weight") == FH_DTYPE_IQ4_NL);
    opt.leave_output = true;
    CHECK(type_of(&opt, "output.weight") == FH_DTYPE_F32);
    opt.n_override = 0;
    CHECK(type_of(&opt, "blk.0.ffn_down.weight") == FH_DTYPE_Q6_K);
    opt.pure = true;
    CHECK(type_of(&opt, "blk.0.ffn_down.weight") == FH_DTYPE_Q4_K);
    opt.copy = true;
    CHECK(type_of(&opt, "blk.0.ffn_down.weight") == FH_DTYPE_F32);
}

TEST(quantize_mix, imatrix_changes_rules) {
    fh_mix_options opt = {.mix = FH_MIX_Q4_0};
    CHECK(type_of(&opt, "blk.0.ffn_down.weight") == FH_DTYPE_Q4_0);
    opt.imatrix = true;
    CHECK(type_of(&opt, "blk.0.ffn_down.weight") == FH_DTYPE_Q4_1);
    CHECK(type_of(&opt, "blk.9.ffn_down.weight") == FH_DTYPE_Q4_0);
}

TEST(quantize_mix, bad_patterns) {
    const fh_mix_override broken = {"a(b", FH_DTYPE_Q8_0}, slow = {"^([a-z0-9_.]+)+(?!)", FH_DTYPE_Q8_0};
    fh_mix_options opt = {.mix = FH_MIX_Q4_K_M, .override = &broken, .n_override = 1};
    const fh_mix_model f = facts(&models[0]);
    fh_err err = {0};
    build(&models[0]);
    CHECK_STATUS(fh_mix_choose(list.choice, list.order, list.n, &f, &opt, &err), FH_ERR_USAGE);
    opt.override = &slow;
    CHECK_STATUS(fh_mix_choose(list.choice, list.order, list.n, &f, &opt, &err), FH_ERR_LIMIT);
}

TEST(quantize_mix, rows_that_fit_nothing) {
    const fh_mix_model f = {.arch = FH_STR("llama"), .n_layer = 1};
    fh_mix_options opt = {.mix = FH_MIX_Q4_K_S};
    fh_err err = {0};
    list.n = 0;
    add("blk.0.attn_q.weight", 96, false);
    add("blk.0.attn_k.weight", 100, false);
    fh_mix_order(list.order, list.n);
    CHECK_OK(fh_mix_choose(list.choice, list.order, list.n, &f, &opt, &err), err);
    CHECK(list.choice[0].type == FH_DTYPE_F16 && list.choice[0].fell_back); /* attn_k */
    CHECK(list.choice[1].type == FH_DTYPE_Q5_0 && list.choice[1].fell_back);
    opt.mix = FH_MIX_Q1_0;
    CHECK_STATUS(fh_mix_choose(list.choice, list.order, list.n, &f, &opt, &err), FH_ERR_UNSUPPORTED);
}

TEST(quantize_mix, names) {
    fh_mix m;
    CHECK(fh_mix_from_name(FH_STR("q4_k_m"), &m) && m == FH_MIX_Q4_K_M);
    CHECK(fh_mix_from_name(FH_STR("Q4_K"), &m) && m == FH_MIX_Q4_K_M);
    CHECK(fh_mix_from_name(FH_STR("15"), &m) && m == FH_MIX_Q4_K_M);
    CHECK(fh_mix_from_name(FH_STR("0"), &m) && m == FH_MIX_F32);
    CHECK(!fh_mix_from_name(FH_STR("Q4_K_X"), &m) && !fh_mix_from_name(FH_STR("4"), &m));
}
