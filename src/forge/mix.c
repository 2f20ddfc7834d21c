/* forge/mix.c - choosing types by the rules of mix.def.
 * SPDX-License-Identifier: Apache-2.0
 * Order of authority: a tensor that is never quantized keeps its type; then types given for output and embeddings;
 * then the first matching override; then the rules; last, whether the row length fits the type.
 * Expressions run with a limit on steps: one that explodes is an error, not a hang. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "forge/mix.h"

#include "base/num.h"

static const fh_mix_info info[FH_MIX_COUNT] = {
#define FH_MIX_ROW(name, number, base, text) [FH_MIX_##name] = {#name, text, number, FH_DTYPE_##base},
#define FH_MIX_RULE(mix, category, condition, type)
#include "forge/mix.def"
#undef FH_MIX_ROW
#undef FH_MIX_RULE
};

enum {
    ALWAYS = 0,
    GQA4 = 1 << 0,
    FIRST2 = 1 << 1,
    FIRST4 = 1 << 2,
    FIRST8 = 1 << 3,
    FIRST16 = 1 << 4,
    MIDDLE = 1 << 5,
    MORE = 1 << 6,
    EXPERTS4 = 1 << 7,
    EXPERTS8 = 1 << 8,
    NOT_EXPERTS8 = 1 << 9,
    IMATRIX = 1 << 10,
    NO_IMATRIX = 1 << 11,
    FALCON = 1 << 12,
    NOT_FALCON = 1 << 13
};

typedef struct mix_rule {
    fh_mix mix;
    fh_role role;
    unsigned condition;
    fh_dtype type;
} mix_rule;

static const mix_rule rules[] = {
#define FH_MIX_ROW(name, number, base, text)
#define FH_MIX_RULE(mix, category, condition, type) {FH_MIX_##mix, FH_ROLE_##category, condition, FH_DTYPE_##type},
#include "forge/mix.def"
#undef FH_MIX_ROW
#undef FH_MIX_RULE
};

const fh_mix_info *fh_mix_get(fh_mix m) {
    FH_REQUIRE((unsigned)m < FH_MIX_COUNT);
    return &info[m];
}

static bool same_letters(fh_str a, const char *z) {
    if (a.len != strlen(z)) return false;
    for (size_t i = 0; i < a.len; i++) {
        const char c = a.ptr[i];
        if ((c >= 'a' && c <= 'z' ? (char)(c - 32) : c) != z[i]) return false;
    }
    return true;
}

bool fh_mix_from_name(fh_str name, fh_mix *out) {
    static const struct {
        const char *name;
        fh_mix mix;
    } alias[] = {{"Q3_K", FH_MIX_Q3_K_M}, {"Q4_K", FH_MIX_Q4_K_M}, {"Q5_K", FH_MIX_Q5_K_M}};
    uint64_t number;
    const bool by_number = fh_str_u64(name, &number);
    for (size_t i = 0; i < FH_COUNT(alias); i++) {
        if (!same_letters(name, alias[i].name)) continue;
        *out = alias[i].mix;
        return true;
    }
    for (unsigned m = 0; m < FH_MIX_COUNT; m++) {
        if (by_number ? info[m].number != number : !same_letters(name, info[m].name)) continue;
        *out = (fh_mix)m;
        return true;
    }
    return false;
}

/* ---- the model ---- */

/* An integer, or the first of an array of them. */
static uint64_t read_first(const fh_gguf *g, fh_str arch, const char *key, uint64_t otherwise) {
    char name[256];
    uint64_t v;
    snprintf(name, sizeof name, "%.*s.%s", (int)FH_MIN(arch.len, (size_t)100), arch.ptr, key);
    const fh_gguf_kv *kv = fh_gguf_find(g, name);
    if (fh_gguf_to_u64(kv, &v) || (kv && kv->type == FH_GGUF_ARRAY && fh_gguf_elem_u64(kv, 0, &v))) return v;
    return otherwise;
}

void fh_mix_read_model(fh_mix_model *out, const fh_gguf *g) {
    fh_mix_model m = {.arch = FH_STR("")};
    (void)fh_gguf_to_str(fh_gguf_find(g, "general.architecture"), &m.arch);
    m.n_layer = read_first(g, m.arch, "block_count", 0);
    m.n_expert = read_first(g, m.arch, "expert_count", 0);
    m.n_head = read_first(g, m.arch, "attention.head_count", 0);
    m.n_head_kv = read_first(g, m.arch, "attention.head_count_kv", m.n_head);
    *out = m;
}

/* Models of about 70 billion numbers with few value heads can afford better values. */
static bool is_70b(const fh_mix_model *m) {
    if (fh_str_is(m->arch, "llama")) return m->n_layer == 80 && m->n_head != m->n_head_kv && m->n_expert != 8;
    if (fh_str_is(m->arch, "jais2")) return m->n_layer == 68;
    return m->n_layer == 80 &&
           (fh_str_is(m->arch, "qwen2") || fh_str_is(m->arch, "deci") || fh_str_is(m->arch, "olmo"));
}

/* ---- names ---- */

fh_role fh_mix_role(fh_str name) {
    static const struct {
        const char *part;
        fh_role role;
    } row[] = {{"attn_qkv.weight", FH_ROLE_VALUE},
               {"attn_kv_b.weight", FH_ROLE_VALUE},
               {"attn_v.weight", FH_ROLE_VALUE},
               {"attn_k.weight", FH_ROLE_KEY},
               {"attn_q.weight", FH_ROLE_QUERY},
               {"attn_output.weight", FH_ROLE_ATTN_OUT},
               {"ffn_up", FH_ROLE_UP},
               {"ffn_gate", FH_ROLE_GATE},
               {"ffn_down", FH_ROLE_DOWN}};
    if (fh_str_is(name, "output.weight")) return FH_ROLE_OUTPUT;
    if (fh_str_is(name, "token_embd.weight") || fh_str_is(name, "per_layer_token_embd.weight")) return FH_ROLE_EMBD;
    for (size_t i = 0; i < FH_COUNT(row); i++)
        if (fh_str_holds(name, row[i].part)) return row[i].role;
    return FH_ROLE_OTHER;
}

/* Small tensors, and those that lose too much. */
static const char *const never[] = {"_norm.weight",
                                    "ffn_gate_inp.weight",
                                    "ffn_gate_tid2eid.weight",
                                    "altup",
                                    "laurel",
                                    "per_layer_model_proj",
                                    "ssm_conv1d",
                                    "shortconv.conv.weight",
                                    "indexer.k_proj.weight",
                                    "indexer.q_proj.weight",
                                    "time_mix_first.weight",
                                    "time_mix_w0.weight",
                                    "time_mix_w1.weight",
                                    "time_mix_w2.weight",
                                    "time_mix_v0.weight",
                                    "time_mix_v1.weight",
                                    "time_mix_v2.weight",
                                    "time_mix_a0.weight",
                                    "time_mix_a1.weight",
                                    "time_mix_a2.weight",
                                    "time_mix_g1.weight",
                                    "time_mix_g2.weight",
                                    "time_mix_decay_w1.weight",
                                    "time_mix_decay_w2.weight",
                                    "time_mix_lerp_fused.weight",
                                    "attn_rel_b.weight",
                                    ".position_embd",
                                    "sam.pos_embd",
                                    "sam.neck.",
                                    "sam.net_",
                                    ".rel_pos",
                                    ".patch_embd",
                                    ".patch_merger",
                                    "a.rvq.codebook",
                                    "mm.a.code_embd"};
static const char *const never_glm5_next[] = {"hc_",
                                              "indexer.attn_q_b",
                                              "indexer.attn_k",
                                              "indexer.proj",
                                              "indexer_compressor_gate",
                                              "indexer_compressor_ape",
                                              "ssm_f_a.weight",
                                              "ssm_f_b.weight",
                                              "ssm_g_a.weight",
                                              "ssm_g_b.weight",
                                              "ssm_beta.weight",
                                              "attn_kv_a_mqa.weight",
                                              "attn_k_b.weight",
                                              "attn_v_b.weight"};

static bool contains_any(fh_str name, const char *const *part, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (fh_str_holds(name, part[i])) return true;
    return false;
}

/* Dimensions without the outermost ones of 1. */
static uint32_t real_dims(const fh_shape *s) {
    uint32_t n = s->n_dim;
    for (uint32_t i = 0; i + 1 < s->n_dim && s->dim[i] == 1; i++) n--;
    return n;
}

static bool may_change(const fh_tensor *t, const fh_mix_model *model, const fh_mix_options *opt) {
    if (opt->copy || real_dims(&t->shape) < 2 || !fh_str_ends(t->name, "weight")) return false;
    if (opt->leave_output && fh_str_is(t->name, "output.weight")) return false;
    if (fh_str_is(t->name, "position_embd.weight") || fh_str_is(t->name, "token_types.weight")) return false;
    if (contains_any(t->name, never, FH_COUNT(never))) return false;
    return !fh_str_is(model->arch, "glm5-next") || !contains_any(t->name, never_glm5_next, FH_COUNT(never_glm5_next));
}

/* "blk.12." gives 12; -1 where there is no such thing. */
static int64_t layer_of(fh_str name) {
    size_t i = 4;
    int64_t n = 0;
    if (!fh_str_starts(name, "blk.")) return -1;
    for (; i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9' && n < 100000; i++)
        n = n * 10 + (name.ptr[i] - '0');
    return i > 4 ? n : -1;
}

static int compare_order(const void *a, const void *b) {
    const fh_tensor *const *x = a, *const *y = b;
    const int64_t lx = layer_of((*x)->name), ly = layer_of((*y)->name);
    if (lx != ly) return lx < ly ? -1 : 1;
    return fh_str_cmp((*x)->name, (*y)->name);
}

void fh_mix_order(const fh_tensor **tensor, size_t n) { qsort(tensor, n, sizeof *tensor, compare_order); }

/* ---- overrides ---- */

typedef struct patterns {
    pcre2_code **code; /* [n] */
    size_t n;
    pcre2_general_context *general;
    pcre2_compile_context *compile;
    pcre2_match_data *match;
    pcre2_match_context *limits;
} patterns;

static void *pattern_alloc(PCRE2_SIZE n, void *ctx) {
    (void)ctx;
    return fh_alloc(n, 1);
}

static void pattern_free(void *p, void *ctx) {
    (void)ctx;
    fh_free(p);
}

static void patterns_release(patterns *p) {
    for (size_t i = 0; i < p->n; i++) pcre2_code_free(p->code[i]);
    fh_free(p->code);
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->limits);
    pcre2_compile_context_free(p->compile);
    pcre2_general_context_free(p->general);
}

static fh_status patterns_compile(patterns *p, const fh_mix_options *opt, fh_err *err) {
    if (opt->n_override == 0) return FH_OK;
    p->code = fh_alloc_zero(opt->n_override, sizeof *p->code);
    p->general = pcre2_general_context_create(pattern_alloc, pattern_free, NULL);
    p->compile = p->general ? pcre2_compile_context_create(p->general) : NULL;
    p->match = p->general ? pcre2_match_data_create(1, p->general) : NULL;
    p->limits = p->general ? pcre2_match_context_create(p->general) : NULL;
    if (!p->code || !p->compile || !p->match || !p->limits)
        return fh_fail_memory(err, opt->n_override * sizeof *p->code);
    pcre2_set_match_limit(p->limits, 100000);
    pcre2_set_depth_limit(p->limits, 1000);
    for (; p->n < opt->n_override; p->n++) {
        const char *text = opt->override[p->n].pattern;
        PCRE2_UCHAR why[128];
        PCRE2_SIZE at;
        int code;
        p->code[p->n] = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, &code, &at, p->compile);
        if (p->code[p->n]) continue;
        pcre2_get_error_message(code, why, sizeof why);
        return fh_fail(err, FH_ERR_USAGE, "the pattern '%s': %s, at character %zu", text, (const char *)why,
                       (size_t)at + 1);
    }
    return FH_OK;
}

/* The number of the first pattern found in the name; n where none is. */
static fh_status patterns_find(const patterns *p, fh_str name, const fh_mix_options *opt, size_t *out, fh_err *err) {
    for (size_t i = 0; i < p->n; i++) {
        const int rc = pcre2_match(p->code[i], (PCRE2_SPTR)name.ptr, name.len, 0, 0, p->match, p->limits);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return fh_fail(err, FH_ERR_LIMIT, "the pattern '%s' takes too many steps on '%.*s'",
                           opt->override[i].pattern, FH_STR_ARG(name));
        if (rc < 0) continue;
        *out = i;
        return FH_OK;
    }
    *out = p->n;
    return FH_OK;
}

/* ---- rules ---- */

typedef struct mix_state {
    const fh_mix_model *model;
    const fh_mix_options *opt;
    bool tied; /* no output.weight: the embeddings are it */
    int64_t n_value, i_value, i_down, i_gate, i_up;
} mix_state;

static bool is_lowest(fh_mix m) {
    return m == FH_MIX_IQ1_S || m == FH_MIX_IQ1_M || m == FH_MIX_IQ2_XXS || m == FH_MIX_IQ2_XS || m == FH_MIX_IQ2_S ||
           m == FH_MIX_IQ2_M;
}

static bool wants_more(int64_t i, int64_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

/* i, n: which layer of how many, as the role counts them. */
static unsigned facts_of(const mix_state *s, int64_t i, int64_t n) {
    const fh_mix_model *m = s->model;
    unsigned f = 0;
    if (m->n_head_kv > 0 && m->n_head / m->n_head_kv >= 4) f |= GQA4;
    if (i < 2) f |= FIRST2;
    if (i < 4) f |= FIRST4;
    if (i < n / 8) f |= FIRST8;
    if (i < n / 16) f |= FIRST16;
    if (i >= n / 8 && i < 7 * n / 8) f |= MIDDLE;
    if (wants_more(i, n)) f |= MORE;
    if (m->n_expert >= 4) f |= EXPERTS4;
    f |= m->n_expert == 8 ? EXPERTS8 : NOT_EXPERTS8;
    f |= s->opt->imatrix ? IMATRIX : NO_IMATRIX;
    f |= fh_str_is(m->arch, "falcon") ? FALCON : NOT_FALCON;
    return f;
}

static fh_dtype apply_rules(const mix_state *s, fh_role c, int64_t i, int64_t n) {
    const unsigned f = facts_of(s, i, n);
    for (size_t k = 0; k < FH_COUNT(rules); k++) {
        const mix_rule *r = &rules[k];
        if (r->mix == s->opt->mix && r->role == c && (r->condition & ~f) == 0) return r->type;
    }
    return info[s->opt->mix].base;
}

static fh_dtype output_type(const mix_state *s, const fh_tensor *t) {
    const fh_mix mix = s->opt->mix;
    const fh_dtype base = info[mix].base;
    if (s->opt->has_output) return s->opt->output;
    if (mix == FH_MIX_MXFP4_MOE || fh_str_is(s->model->arch, "falcon")) return FH_DTYPE_Q8_0;
    if (fh_shape_cols(&t->shape) % fh_dtype_get_info(base)->block_elems != 0) return FH_DTYPE_Q8_0;
    if (is_lowest(mix) || mix == FH_MIX_IQ3_XXS) return FH_DTYPE_Q5_K;
    return base == FH_DTYPE_Q8_0 ? base : FH_DTYPE_Q6_K;
}

static fh_dtype value_type(mix_state *s) {
    fh_dtype t = apply_rules(s, FH_ROLE_VALUE, s->i_value, s->n_value);
    s->i_value++;
    if (is_lowest(s->opt->mix)) return t;
    if (is_70b(s->model) && (t == FH_DTYPE_Q3_K || t == FH_DTYPE_Q4_K)) t = FH_DTYPE_Q5_K;
    return s->model->n_expert == 8 ? FH_DTYPE_Q8_0 : t;
}

static fh_dtype ffn_type(mix_state *s, fh_role c, fh_str name) {
    int64_t *counter = c == FH_ROLE_DOWN ? &s->i_down : c == FH_ROLE_GATE ? &s->i_gate : &s->i_up;
    int64_t i = (*counter)++;
    /* tensors of experts do not come one per layer */
    if (s->model->n_expert > 1 && !is_lowest(s->opt->mix) && layer_of(name) >= 0) i = layer_of(name);
    return apply_rules(s, c, i, (int64_t)s->model->n_layer);
}

static fh_dtype type_by_rules(mix_state *s, const fh_tensor *t) {
    const fh_role c = fh_mix_role(t->name);
    const fh_dtype base = info[s->opt->mix].base;
    if (fh_str_is(s->model->arch, "glm5-next") &&
        (fh_str_holds(t->name, "attn_q_a") || fh_str_holds(t->name, "attn_q_b") ||
         fh_str_holds(t->name, "nextn.eh_proj")))
        return FH_DTYPE_Q8_0;
    if (c == FH_ROLE_OUTPUT || (s->tied && c == FH_ROLE_EMBD)) return output_type(s, t);
    if (s->opt->mix == FH_MIX_MXFP4_MOE) {
        const bool stacked = real_dims(&t->shape) > 2;
        const bool expert =
            !fh_str_is(s->model->arch, "bailingmoe3") || c == FH_ROLE_UP || c == FH_ROLE_GATE || c == FH_ROLE_DOWN;
        return stacked && expert ? FH_DTYPE_MXFP4 : FH_DTYPE_Q8_0;
    }
    switch (c) {
    case FH_ROLE_VALUE: return value_type(s);
    case FH_ROLE_KEY:
        return s->model->n_expert == 8 && !is_lowest(s->opt->mix) ? FH_DTYPE_Q8_0 : apply_rules(s, FH_ROLE_KEY, 0, 0);
    case FH_ROLE_DOWN:
    case FH_ROLE_GATE:
    case FH_ROLE_UP: return ffn_type(s, c, t->name);
    case FH_ROLE_EMBD:
    case FH_ROLE_QUERY:
    case FH_ROLE_ATTN_OUT: return apply_rules(s, c, 0, 0);
    case FH_ROLE_OUTPUT:
    case FH_ROLE_OTHER:
    case FH_ROLE_COUNT: break;
    }
    return base;
}

/* The nearest type with blocks of 32, where the row is no whole number of larger ones; F16 where even that fails. */
fh_status fh_mix_fit(const fh_tensor *t, fh_dtype *type, bool *fell_back, fh_err *err) {
    const uint64_t cols = fh_shape_cols(&t->shape);
    const uint32_t block = fh_dtype_get_info(*type)->block_elems;
    if (cols % block == 0) return FH_OK;
    *fell_back = true;
    switch (*type) {
    case FH_DTYPE_IQ1_S:
    case FH_DTYPE_IQ1_M:
    case FH_DTYPE_IQ2_XXS:
    case FH_DTYPE_IQ2_XS:
    case FH_DTYPE_IQ2_S:
    case FH_DTYPE_IQ3_XXS:
    case FH_DTYPE_IQ3_S:
    case FH_DTYPE_IQ4_XS: *type = FH_DTYPE_IQ4_NL; break;
    case FH_DTYPE_Q2_0:
    case FH_DTYPE_Q2_K:
    case FH_DTYPE_Q3_K:
    case FH_DTYPE_TQ1_0:
    case FH_DTYPE_TQ2_0: *type = FH_DTYPE_Q4_0; break;
    case FH_DTYPE_Q4_K: *type = FH_DTYPE_Q5_0; break;
    case FH_DTYPE_Q5_K: *type = FH_DTYPE_Q5_1; break;
    case FH_DTYPE_Q6_K: *type = FH_DTYPE_Q8_0; break;
    default:
        if (block > 32)
            return fh_fail(err, FH_ERR_UNSUPPORTED,
                           "'%.*s' has rows of %llu numbers, no multiple of %u, and there is no type like %s with "
                           "smaller blocks",
                           FH_STR_ARG(t->name), (unsigned long long)cols, block, fh_dtype_name(*type));
    }
    if (cols % fh_dtype_get_info(*type)->block_elems != 0) *type = FH_DTYPE_F16;
    return FH_OK;
}

static bool needs_imatrix(const fh_tensor *t, fh_dtype type, fh_mix mix) {
    const fh_role c = fh_mix_role(t->name);
    if (c == FH_ROLE_EMBD || c == FH_ROLE_OUTPUT) return false;
    switch (type) {
    case FH_DTYPE_IQ3_XXS:
    case FH_DTYPE_IQ2_XXS:
    case FH_DTYPE_IQ2_XS:
    case FH_DTYPE_IQ2_S:
    case FH_DTYPE_IQ1_M:
    case FH_DTYPE_IQ1_S: return true;
    case FH_DTYPE_Q2_K: return mix == FH_MIX_Q2_K_S;
    default: return false;
    }
}

static fh_status choose_one(mix_state *s, const patterns *p, const fh_tensor *t, fh_mix_choice *out, fh_err *err) {
    const fh_mix_options *opt = s->opt;
    const fh_role c = fh_mix_role(t->name);
    size_t found = p->n;
    *out = (fh_mix_choice){.type = t->dtype, .fixed = true};
    if (!may_change(t, s->model, opt)) return FH_OK;
    FH_TRY(patterns_find(p, t->name, opt, &found, err));
    const bool named = found < p->n;
    const bool quantized = fh_dtype_get_info(info[opt->mix].base)->cls == FH_DTYPE_CLASS_BLOCK;
    if (opt->has_embedding && c == FH_ROLE_EMBD && !(named && fh_str_is(t->name, "per_layer_token_embd.weight")))
        out->type = opt->embedding;
    else if (opt->has_output && c == FH_ROLE_OUTPUT) out->type = opt->output;
    else if (!quantized) out->type = info[opt->mix].base;
    else if (named) out->type = opt->override[found].type;
    else if (opt->pure) out->type = info[opt->mix].base;
    else out->type = type_by_rules(s, t);
    out->fixed =
        quantized && (named || (opt->has_embedding && c == FH_ROLE_EMBD) || (opt->has_output && c == FH_ROLE_OUTPUT));
    return fh_mix_fit(t, &out->type, &out->fell_back, err);
}

fh_status fh_mix_choose(fh_mix_choice *out, const fh_tensor *const *tensor, size_t n, const fh_mix_model *model,
                        const fh_mix_options *opt, fh_err *err) {
    mix_state s = {.model = model, .opt = opt, .tied = true};
    patterns p = {.code = NULL};
    for (size_t i = 0; i < n; i++) {
        const fh_role c = fh_mix_role(tensor[i]->name);
        s.n_value += c == FH_ROLE_VALUE;
        if (c == FH_ROLE_OUTPUT) s.tied = false;
    }
    fh_status st = patterns_compile(&p, opt, err);
    for (size_t i = 0; i < n && st == FH_OK; i++) {
        st = choose_one(&s, &p, tensor[i], &out[i], err);
        out[i].needs_imatrix = needs_imatrix(tensor[i], out[i].type, opt->mix);
    }
    patterns_release(&p);
    return st;
}
