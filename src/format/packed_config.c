/* format/packed_config.c - what config.json says about quantization, as data for the layouts.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing but rows in the caller's arena. Refuses methods that are not read, by name, and settings that
 * change what the stored numbers mean (sparsity masks, rotations, other packings): a weight that is decoded
 * without them would be wrong without a sign. */
#include "format/packed_part.h"

#define MAX_SCHEMES 4096

static fh_status refuse(fh_err *err, fh_str what, const char *why) {
    return fh_fail(err, FH_ERR_UNSUPPORTED, "quantization '%.*s' %s", FH_STR_ARG(what), why);
}

static fh_str text_of(const fh_json_node *obj, const char *key) {
    fh_str s = {"", 0};
    fh_json_to_str(fh_json_get(obj, key), &s);
    return s;
}

static bool same_letters(fh_str s, const char *z) {
    size_t n = strlen(z);
    for (size_t i = 0; i < s.len && i < n; i++) {
        char c = s.ptr[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        if (c != z[i]) return false;
    }
    return s.len == n;
}

/* ---- where the section is ---- */
static const fh_json_node *object(const fh_json_node *obj, const char *key) {
    const fh_json_node *n = fh_json_get(obj, key);
    return fh_json_is(n, FH_JSON_OBJECT) ? n : NULL;
}

static const fh_json_node *section_of(const fh_json_node *config) {
    const fh_json_node *n = object(config, "quantization_config");
    return n ? n : object(config, "compression_config");
}

static fh_status find_section(const fh_json_node **out, const fh_json_node *config, fh_err *err) {
    const fh_json_node *root = section_of(config), *text = section_of(fh_json_get(config, "text_config"));
    if (root && text && !fh_str_eq(text_of(root, "quant_method"), text_of(text, "quant_method")))
        return fh_fail(err, FH_ERR_FORMAT, "config.json names quantization '%.*s' and, in text_config, '%.*s'",
                       FH_STR_ARG(text_of(root, "quant_method")), FH_STR_ARG(text_of(text, "quant_method")));
    *out = root ? root : text;
    return FH_OK;
}

/* ---- schemes ---- */
static fh_status add_scheme(fh_packed_config *c, const fh_packed_scheme *s, fh_err *err) {
    for (size_t i = 0; i < c->n_scheme; i++) {
        const fh_packed_scheme *o = &c->scheme[i];
        if (o->rows == s->rows && o->cols == s->cols && o->bits == s->bits && o->is_float == s->is_float &&
            o->symmetric == s->symmetric)
            return FH_OK;
    }
    if (c->n_scheme == MAX_SCHEMES) return fh_fail(err, FH_ERR_LIMIT, "too many quantization groups in config.json");
    c->scheme[c->n_scheme++] = *s;
    return FH_OK;
}

/* [128, 128], or "128x128" as older writers put it. */
static bool read_block(const fh_json_node *n, uint64_t block[2]) {
    fh_str s;
    if (fh_json_is(n, FH_JSON_ARRAY)) {
        const fh_json_node *a = fh_json_first(n), *b = a ? fh_json_after(n, a) : NULL;
        return n->n_child == 2 && fh_json_to_u64(a, &block[0]) && fh_json_to_u64(b, &block[1]) && block[0] && block[1];
    }
    size_t x;
    return fh_json_to_str(n, &s) && fh_str_find(s, 'x', &x) && fh_str_u64(fh_str_first(s, x), &block[0]) &&
           fh_str_u64(fh_str_drop(s, x + 1), &block[1]) && block[0] && block[1];
}

/* The weights member of one compressed-tensors group. */
static fh_status read_weights(fh_packed_config *c, const fh_json_node *w, fh_err *err) {
    fh_packed_scheme s = {.symmetric = true};
    uint64_t bits = 0, block[2];
    int64_t group = 0;
    fh_str strategy = text_of(w, "strategy"), type = text_of(w, "type");
    fh_json_to_u64(fh_json_get(w, "num_bits"), &bits);
    fh_json_to_i64(fh_json_get(w, "group_size"), &group);
    fh_json_to_bool(fh_json_get(w, "symmetric"), &s.symmetric);
    s.is_float = fh_str_is(type, "float");
    s.bits = bits <= 16 ? (uint32_t)bits : 0;
    if (!s.bits || (!s.is_float && !fh_str_is(type, "int")))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "quantization to %llu bits of type '%.*s'", (unsigned long long)bits,
                       FH_STR_ARG(type));
    if (strategy.len == 0) /* the format's own rule where it is left out */
        strategy = group > 0 ? FH_STR("group") : group < 0 ? FH_STR("channel") : FH_STR("tensor");
    if (fh_str_is(strategy, "channel")) {
        s.rows = 1;
    } else if (fh_str_is(strategy, "group") || fh_str_is(strategy, "tensor_group")) {
        if (group <= 0) return fh_fail(err, FH_ERR_FORMAT, "quantization by group without a group_size");
        s.rows = 1;
        s.cols = (uint64_t)group;
    } else if (fh_str_is(strategy, "block")) {
        if (!read_block(fh_json_get(w, "block_structure"), block))
            return fh_fail(err, FH_ERR_FORMAT, "quantization by block without a block_structure");
        s.rows = block[0];
        s.cols = block[1];
    } else if (!fh_str_is(strategy, "tensor")) {
        return refuse(err, strategy, "is a strategy for weights that is not known");
    }
    return add_scheme(c, &s, err);
}

static fh_status read_ct(fh_packed_config *c, fh_arena *arena, const fh_json_node *q, fh_err *err) {
    static const char *const formats[] = {
        "dense",           "int-quantized",        "float-quantized",      "naive-quantized", "pack-quantized",
        "mixed-precision", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized"};
    fh_str format = text_of(q, "format");
    size_t k = 0;
    while (k < FH_COUNT(formats) && !fh_str_is(format, formats[k])) k++;
    if (format.len && k == FH_COUNT(formats))
        return refuse(err, format, "is a compressed-tensors format that is not read");
    fh_str sparse = text_of(object(q, "sparsity_config"), "format");
    if (sparse.len && !fh_str_is(sparse, "dense"))
        return refuse(err, sparse, "stores sparse weights, which is not read");
    const fh_json_node *turn = object(object(q, "transform_config"), "config_groups");
    if (turn && turn->n_child)
        return refuse(err, FH_STR("transform_config"), "rotates weights and activations, which is not done");
    const fh_json_node *groups = object(q, "config_groups");
    if (!groups) return FH_OK;
    c->scheme = fh_arena_alloc(arena, FH_MIN(groups->n_child, MAX_SCHEMES), sizeof *c->scheme);
    if (!c->scheme) return fh_arena_fail(arena, err);
    for (const fh_json_node *g = fh_json_first(groups); g; g = fh_json_after(groups, g)) {
        const fh_json_node *w = object(g, "weights");
        if (w) FH_TRY(read_weights(c, w, err));
    }
    return FH_OK;
}

static fh_status one_scheme(fh_packed_config *c, fh_arena *arena, fh_packed_scheme s, fh_err *err) {
    c->scheme = fh_arena_alloc(arena, 1, sizeof *c->scheme);
    if (!c->scheme) return fh_arena_fail(arena, err);
    return add_scheme(c, &s, err);
}

/* weight_block_size: a pair; null or absent: scales of any shape that speaks for itself. */
static fh_status read_fp8(fh_packed_config *c, fh_arena *arena, const fh_json_node *q, fh_err *err) {
    const fh_json_node *n = fh_json_get(q, "weight_block_size");
    uint64_t block[2];
    fh_str fmt = text_of(q, "fmt");
    if (fmt.len && !fh_str_is(fmt, "e4m3") && !fh_str_is(fmt, "e5m2") && !fh_str_is(fmt, "float8_e4m3fn"))
        return refuse(err, fmt, "is an FP8 format that is not read");
    if (!n || fh_json_is(n, FH_JSON_NULL)) return FH_OK;
    if (!read_block(n, block))
        return fh_fail(err, FH_ERR_FORMAT, "weight_block_size in config.json is no pair of sizes");
    return one_scheme(
        c, arena,
        (fh_packed_scheme){.rows = block[0], .cols = block[1], .bits = 8, .is_float = true, .symmetric = true}, err);
}

static fh_status read_modelopt(fh_packed_config *c, fh_arena *arena, const fh_json_node *q, fh_err *err) {
    static const char *const known[] = {"FP8",
                                        "FP8_PER_CHANNEL_PER_TOKEN",
                                        "FP8_PB_WO",
                                        "NVFP4",
                                        "MXFP4",
                                        "MXFP8",
                                        "W4A8_MXFP4_FP8",
                                        "W4A16_NVFP4",
                                        "MIXED_PRECISION"};
    fh_str algo = text_of(q, "quant_algo");
    if (algo.len == 0) algo = text_of(object(q, "quantization"), "quant_algo");
    size_t k = 0;
    while (k < FH_COUNT(known) && !fh_str_is(algo, known[k])) k++;
    if (algo.len && k == FH_COUNT(known)) return refuse(err, algo, "is a ModelOpt algorithm that is not read");
    if (fh_str_is(algo, "FP8_PB_WO"))
        return one_scheme(c, arena,
                          (fh_packed_scheme){.rows = 128, .cols = 128, .bits = 8, .is_float = true, .symmetric = true},
                          err);
    return FH_OK;
}

static fh_status read_gptq(fh_packed_config *c, const fh_json_node *q, fh_err *err) {
    fh_str form = text_of(q, "checkpoint_format");
    if (form.len == 0) form = text_of(q, "format");
    if (fh_str_is(form, "gptq_v2")) c->gptq_v2 = true;
    else if (form.len && !fh_str_is(form, "gptq")) return refuse(err, form, "is a GPTQ packing that is not read");
    const fh_json_node *dynamic = object(q, "dynamic");
    c->gptq_dynamic = dynamic && dynamic->n_child;
    return FH_OK;
}

static fh_status read_awq(const fh_json_node *q, fh_err *err) {
    fh_str version = text_of(q, "version");
    bool zero = true;
    if (version.len == 0) version = text_of(q, "format");
    if (version.len && !same_letters(version, "gemm"))
        return refuse(err, version, "is an AWQ packing that is not read: only 'gemm' is");
    if (fh_str_is(text_of(q, "backend"), "llm-awq"))
        return refuse(err, FH_STR("llm-awq"), "is an AWQ packing that is not read");
    fh_json_to_bool(fh_json_get(q, "zero_point"), &zero);
    if (!zero) return refuse(err, FH_STR("awq"), "without zero points is not read");
    return FH_OK;
}

static fh_status read_bits(fh_packed_config *c, const fh_json_node *q, fh_err *err) {
    const fh_json_node *bits = fh_json_get(q, "bits"), *group = fh_json_get(q, "group_size");
    if (!bits) bits = fh_json_get(q, "w_bit"); /* as older AWQ files write them */
    if (!group) group = fh_json_get(q, "q_group_size");
    if (!fh_json_to_u64(bits, &c->bits) || !c->bits || c->bits > 8)
        return fh_fail(err, FH_ERR_FORMAT, "quantization '%.*s' without a sensible number of bits in config.json",
                       FH_STR_ARG(c->method_text));
    if (!fh_json_to_i64(group, &c->group) || c->group == 0 || c->group < -1)
        return fh_fail(err, FH_ERR_FORMAT, "quantization '%.*s' without a sensible group_size in config.json",
                       FH_STR_ARG(c->method_text));
    return FH_OK;
}

/* AutoRound writes other methods' layouts and says which. */
static fh_status read_auto_round(fh_packed_config *c, const fh_json_node *q, fh_err *err) {
    fh_str form = text_of(q, "packing_format");
    if (fh_str_is(form, "auto_round:auto_gptq")) c->method = FH_PACKED_GPTQ;
    else if (fh_str_is(form, "auto_round:auto_awq")) c->method = FH_PACKED_AWQ;
    else return refuse(err, form.len ? form : c->method_text, "is an AutoRound packing that is not read");
    return read_bits(c, q, err);
}

static fh_status read_method(fh_packed_config *c, fh_arena *arena, const fh_json_node *q, fh_err *err) {
    fh_str m = c->method_text;
    if (fh_str_is(m, "fp8")) {
        c->method = FH_PACKED_FP8;
        return read_fp8(c, arena, q, err);
    }
    if (fh_str_is(m, "compressed-tensors") || fh_str_is(m, "compressed_tensors")) {
        c->method = FH_PACKED_CT;
        return read_ct(c, arena, q, err);
    }
    if (fh_str_starts(m, "modelopt")) {
        c->method = FH_PACKED_MODELOPT;
        return read_modelopt(c, arena, q, err);
    }
    if (fh_str_is(m, "gptq")) {
        c->method = FH_PACKED_GPTQ;
        FH_TRY(read_bits(c, q, err));
        return read_gptq(c, q, err);
    }
    if (fh_str_is(m, "awq")) {
        c->method = FH_PACKED_AWQ;
        FH_TRY(read_bits(c, q, err));
        return read_awq(q, err);
    }
    if (fh_str_is(m, "auto-round") || fh_str_is(m, "intel/auto-round")) return read_auto_round(c, q, err);
    if (fh_str_is(m, "bitsandbytes")) c->method = FH_PACKED_BNB;
    else if (fh_str_is(m, "mxfp4")) c->method = FH_PACKED_MXFP4;
    else if (fh_str_is(m, "fbgemm_fp8")) c->method = FH_PACKED_FBGEMM;
    else return refuse(err, m, "is a method that is not read");
    return FH_OK;
}

/* Sections that other writers put under "quantization": ModelOpt's own file, Mistral's params.json, MLX. */
static fh_status read_other(fh_packed_config *c, fh_arena *arena, const fh_json_node *config, fh_err *err) {
    const fh_json_node *q = object(config, "quantization");
    if (!q) return FH_OK;
    if (fh_json_get(q, "quant_algo")) {
        c->method = FH_PACKED_MODELOPT;
        c->method_text = FH_STR("modelopt");
        return read_modelopt(c, arena, q, err);
    }
    fh_str form = text_of(q, "qformat_weight");
    if (form.len) {
        if (!fh_str_is(form, "fp8_e4m3")) return refuse(err, form, "is a weight format that is not read");
        c->method = FH_PACKED_FP8;
        c->method_text = form;
        return FH_OK;
    }
    if (fh_json_get(q, "group_size") && fh_json_get(q, "bits"))
        return refuse(err, FH_STR("mlx"), "is a method that is not read");
    return FH_OK;
}

fh_status fh_packed_config_read(fh_packed_config *out, fh_arena *arena, const fh_json_node *config, fh_err *err) {
    fh_packed_config c = {.symmetric = true, .method_text = {"", 0}};
    const fh_json_node *q = NULL;
    FH_TRY(find_section(&q, config, err));
    if (!q) {
        FH_TRY(read_other(&c, arena, config, err));
        *out = c;
        return FH_OK;
    }
    c.method_text = text_of(q, "quant_method");
    /* Older compressed-tensors files and ModelOpt's own leave the method out. */
    bool modelopt = fh_json_get(q, "quant_algo") || fh_str_is(text_of(object(q, "producer"), "name"), "modelopt");
    if (c.method_text.len == 0 && modelopt) c.method_text = FH_STR("modelopt");
    if (c.method_text.len == 0 && fh_json_get(q, "config_groups")) c.method_text = FH_STR("compressed-tensors");
    if (c.method_text.len == 0) {
        bool bit4 = false, bit8 = false;
        fh_json_to_bool(fh_json_get(q, "load_in_4bit"), &bit4);
        fh_json_to_bool(fh_json_get(q, "load_in_8bit"), &bit8);
        if (bit4 || bit8) c.method_text = FH_STR("bitsandbytes");
    }
    if (c.method_text.len == 0)
        return fh_fail(err, FH_ERR_FORMAT, "quantization_config in config.json has no quant_method");
    fh_json_to_bool(fh_json_get(q, "sym"), &c.symmetric);
    FH_TRY(read_method(&c, arena, q, err));
    *out = c;
    return FH_OK;
}
