/* format/gguf_vocab.c - tokenizer.ggml.* to a vocabulary.
 * SPDX-License-Identifier: Apache-2.0
 * gguf.h has checked that keys and arrays lie inside the file; here types, lengths and ranges are
 * checked. */
#include "format/gguf_vocab.h"

#include "base/num.h"

typedef struct reading {
    const fh_gguf *g;
    fh_vocab *v;
    fh_err *err;
    const fh_gguf_kv *tokens;
} reading;

typedef struct model_row {
    const char *name;
    fh_vocab_kind kind;
    bool scores, merges, byte_fallback;
} model_row;

static const model_row MODELS[] = {
    {"gpt2", FH_VOCAB_BPE, false, true, false},        {"llama", FH_VOCAB_BPE_SCORES, true, false, true},
    {"gemma4", FH_VOCAB_BPE, false, true, true},       {"t5", FH_VOCAB_UNIGRAM, true, false, false},
    {"bert", FH_VOCAB_WORDPIECE, false, false, false},
};

/* The first spelling that the file has wins; "seperator" is how the format spells it. */
static const struct {
    const char *key;
    fh_vocab_special which;
} SPECIALS[] = {
    {"tokenizer.ggml.bos_token_id", FH_SPECIAL_BOS},
    {"tokenizer.ggml.eos_token_id", FH_SPECIAL_EOS},
    {"tokenizer.ggml.unknown_token_id", FH_SPECIAL_UNK},
    {"tokenizer.ggml.padding_token_id", FH_SPECIAL_PAD},
    {"tokenizer.ggml.cls_token_id", FH_SPECIAL_CLS},
    {"tokenizer.ggml.seperator_token_id", FH_SPECIAL_SEP},
    {"tokenizer.ggml.separator_token_id", FH_SPECIAL_SEP},
    {"tokenizer.ggml.mask_token_id", FH_SPECIAL_MASK},
    {"tokenizer.ggml.eot_token_id", FH_SPECIAL_EOT},
    {"tokenizer.ggml.eom_token_id", FH_SPECIAL_EOM},
    {"tokenizer.ggml.fim_pre_token_id", FH_SPECIAL_FIM_PREFIX},
    {"tokenizer.ggml.prefix_token_id", FH_SPECIAL_FIM_PREFIX},
    {"tokenizer.ggml.fim_suf_token_id", FH_SPECIAL_FIM_SUFFIX},
    {"tokenizer.ggml.suffix_token_id", FH_SPECIAL_FIM_SUFFIX},
    {"tokenizer.ggml.fim_mid_token_id", FH_SPECIAL_FIM_MIDDLE},
    {"tokenizer.ggml.middle_token_id", FH_SPECIAL_FIM_MIDDLE},
    {"tokenizer.ggml.fim_pad_token_id", FH_SPECIAL_FIM_PAD},
    {"tokenizer.ggml.fim_rep_token_id", FH_SPECIAL_FIM_REPO},
    {"tokenizer.ggml.fim_sep_token_id", FH_SPECIAL_FIM_FILE},
};

static fh_status wrong(const reading *in, const fh_gguf_kv *kv, const char *should) {
    return fh_fail_at(in->err, FH_ERR_FORMAT, kv->offset, "GGUF: '%.*s' should be %s", FH_STR_ARG(kv->key), should);
}

/* An array of n elements of one of two types, or absent (*out NULL). */
static fh_status find_array(const reading *in, const char *key, fh_gguf_type a, fh_gguf_type b, uint64_t n,
                            const fh_gguf_kv **out) {
    const fh_gguf_kv *kv = fh_gguf_find(in->g, key);
    *out = kv;
    if (!kv) return FH_OK;
    if (kv->type != FH_GGUF_ARRAY || (kv->elem != a && kv->elem != b))
        return fh_fail_at(in->err, FH_ERR_FORMAT, kv->offset, "GGUF: '%s' should be an array of %s", key,
                          fh_gguf_type_name(a));
    if (n != UINT64_MAX && kv->n != n)
        return fh_fail_at(in->err, FH_ERR_FORMAT, kv->offset, "GGUF: '%s' has %llu elements for %llu tokens", key,
                          (unsigned long long)kv->n, (unsigned long long)n);
    return FH_OK;
}

static fh_status missing(const reading *in, const char *key, const char *model) {
    return fh_fail(in->err, FH_ERR_FORMAT, "GGUF: a tokenizer of the model '%s' without '%s'", model, key);
}

static fh_status read_tokens(reading *in) {
    const fh_gguf_kv *types;
    size_t at = 0;
    fh_str piece;
    uint64_t n = in->tokens->n;
    FH_TRY(find_array(in, "tokenizer.ggml.token_type", FH_GGUF_I32, FH_GGUF_U32, n, &types));
    if (n > FH_VOCAB_MAX_ID)
        return fh_fail_at(in->err, FH_ERR_LIMIT, in->tokens->offset,
                          "GGUF: a vocabulary of %llu tokens, at most %u are possible", (unsigned long long)n,
                          FH_VOCAB_MAX_ID);
    FH_TRY(fh_vocab_reserve(in->v, (uint32_t)n, false, in->err));
    for (uint64_t id = 0; fh_gguf_next_str(in->tokens, &at, &piece); id++) {
        int64_t type = FH_TOKEN_NORMAL;
        if (types && (!fh_gguf_elem_i64(types, id, &type) || type < 0 || type >= FH_TOKEN_TYPE_COUNT))
            return fh_fail_at(in->err, FH_ERR_FORMAT, types->offset,
                              "GGUF: token %llu '%.*s' has the type %lld, which is none", (unsigned long long)id,
                              FH_STR_ARG(piece), (long long)type);
        /* 0 is "undefined" in files; here it would be a hole. */
        if (type == 0) type = FH_TOKEN_NORMAL;
        FH_TRY(fh_vocab_put(in->v, id, piece, (fh_token_type)type, in->tokens->offset, in->err));
    }
    return FH_OK;
}

static fh_status read_scores(reading *in, const char *model) {
    const fh_gguf_kv *scores;
    FH_TRY(find_array(in, "tokenizer.ggml.scores", FH_GGUF_F32, FH_GGUF_F64, in->tokens->n, &scores));
    if (!scores) return missing(in, "tokenizer.ggml.scores", model);
    FH_TRY(fh_vocab_reserve(in->v, in->v->n_id, true, in->err));
    for (uint32_t id = 0; id < in->v->n_id; id++) {
        double score;
        if (!fh_gguf_elem_f64(scores, id, &score)) return wrong(in, scores, "an array of f32");
        FH_TRY(fh_vocab_put_score(in->v, id, score, scores->offset, in->err));
    }
    return FH_OK;
}

/* "left right". The first byte is never the separator, so that a part may be a space itself. */
static fh_status read_merges(reading *in, const char *model) {
    const fh_gguf_kv *merges;
    size_t at = 0, space;
    fh_str m;
    FH_TRY(find_array(in, "tokenizer.ggml.merges", FH_GGUF_STR, FH_GGUF_STR, UINT64_MAX, &merges));
    if (!merges) return missing(in, "tokenizer.ggml.merges", model);
    while (fh_gguf_next_str(merges, &at, &m)) {
        if (!fh_str_find(fh_str_drop(m, 1), ' ', &space))
            return fh_fail_at(in->err, FH_ERR_FORMAT, merges->offset,
                              "GGUF: merge %u '%.*s' should be two parts with a space between them", in->v->n_merge,
                              FH_STR_ARG(m));
        FH_TRY(
            fh_vocab_put_merge(in->v, fh_str_first(m, space + 1), fh_str_drop(m, space + 2), merges->offset, in->err));
    }
    return FH_OK;
}

static fh_status read_specials(reading *in) {
    for (size_t i = 0; i < FH_COUNT(SPECIALS); i++) {
        const fh_gguf_kv *kv = fh_gguf_find(in->g, SPECIALS[i].key);
        uint32_t *slot = &in->v->special[SPECIALS[i].which];
        uint64_t id;
        int64_t negative;
        if (!kv || *slot != FH_VOCAB_NO_ID) continue;
        bool whole = fh_gguf_to_u64(kv, &id);
        if (!whole && !fh_gguf_to_i64(kv, &negative)) return wrong(in, kv, "a whole number");
        if (whole && id < in->v->n_id) *slot = (uint32_t)id;
        else in->v->n_special_ignored++;
    }
    return FH_OK;
}

/* Files that name no unknown token may still have one: the token of that type. */
static void find_unknown(fh_vocab *v) {
    for (uint32_t id = 0; id < v->n_id && v->special[FH_SPECIAL_UNK] == FH_VOCAB_NO_ID; id++)
        if (v->type[id] == FH_TOKEN_UNKNOWN) v->special[FH_SPECIAL_UNK] = id;
}

static fh_status read_flags(reading *in) {
    fh_vocab *v = in->v;
    const struct {
        const char *key;
        fh_tri *out;
    } flags[] = {
        {"tokenizer.ggml.add_bos_token", &v->add_bos},
        {"tokenizer.ggml.add_eos_token", &v->add_eos},
        {"tokenizer.ggml.add_sep_token", &v->add_sep},
        {"tokenizer.ggml.add_space_prefix", &v->add_space_prefix},
        {"tokenizer.ggml.remove_extra_whitespaces", &v->remove_extra_spaces},
        {"tokenizer.ggml.escape_whitespaces", &v->escape_spaces},
        {"tokenizer.ggml.treat_whitespace_as_suffix", &v->space_as_suffix},
    };
    for (size_t i = 0; i < FH_COUNT(flags); i++) {
        const fh_gguf_kv *kv = fh_gguf_find(in->g, flags[i].key);
        bool b;
        if (!kv) continue;
        if (!fh_gguf_to_bool(kv, &b)) return wrong(in, kv, "true or false");
        *flags[i].out = fh_tri_of(b);
    }
    return FH_OK;
}

static fh_status read_rest(reading *in) {
    const fh_gguf_kv *map, *pre = fh_gguf_find(in->g, "tokenizer.ggml.pre");
    fh_str name;
    if (pre) {
        if (!fh_gguf_to_str(pre, &name)) return wrong(in, pre, "a string");
        FH_TRY(fh_vocab_copy(in->v, name, &in->v->pre, in->err));
    }
    FH_TRY(read_specials(in));
    find_unknown(in->v);
    FH_TRY(read_flags(in));
    FH_TRY(find_array(in, "tokenizer.ggml.precompiled_charsmap", FH_GGUF_U8, FH_GGUF_I8, UINT64_MAX, &map));
    if (map) FH_TRY(fh_vocab_put_charsmap(in->v, map->payload, map->offset, in->err));
    return FH_OK;
}

static const model_row *model_named(fh_str name) {
    for (size_t i = 0; i < FH_COUNT(MODELS); i++)
        if (fh_str_is(name, MODELS[i].name)) return &MODELS[i];
    return NULL;
}

static fh_status read_model(reading *in, const model_row *row) {
    FH_TRY(fh_vocab_new(&in->v, row->kind, in->tokens->payload.len, in->err));
    in->v->byte_fallback = row->byte_fallback;
    if (row->kind == FH_VOCAB_WORDPIECE) in->v->max_word_chars = 100;
    FH_TRY(read_tokens(in));
    if (row->scores) FH_TRY(read_scores(in, row->name));
    FH_TRY(fh_vocab_index(in->v, false, in->err));
    if (row->merges) FH_TRY(read_merges(in, row->name));
    FH_TRY(fh_vocab_put_added_by_type(in->v, in->err));
    FH_TRY(read_rest(in));
    return fh_vocab_finish(in->v, in->err);
}

static fh_status read_vocab(reading *in) {
    const fh_gguf_kv *kv = fh_gguf_find(in->g, "tokenizer.ggml.model");
    fh_str name;
    FH_TRY(find_array(in, "tokenizer.ggml.tokens", FH_GGUF_STR, FH_GGUF_STR, UINT64_MAX, &in->tokens));
    if (!kv || !in->tokens)
        return fh_fail(in->err, FH_ERR_NOT_FOUND, "GGUF: no '%s': the file has no vocabulary",
                       kv ? "tokenizer.ggml.tokens" : "tokenizer.ggml.model");
    if (!fh_gguf_to_str(kv, &name)) return wrong(in, kv, "a string");
    const model_row *row = model_named(name);
    if (row) return read_model(in, row);
    return fh_fail_at(in->err, FH_ERR_UNSUPPORTED, kv->offset, "GGUF: tokenizer.ggml.model '%.*s' is not known",
                      FH_STR_ARG(name));
}

fh_status fh_gguf_vocab_read(fh_vocab **out, const fh_gguf *g, fh_err *err) {
    reading in = {.g = g, .err = err};
    fh_status s = read_vocab(&in);
    if (s != FH_OK) {
        fh_vocab_free(in.v);
        return s;
    }
    *out = in.v;
    return FH_OK;
}

bool fh_gguf_vocab_next_template(const fh_gguf *g, size_t *at, fh_str *name, fh_str *text) {
    static const char prefix[] = "tokenizer.chat_template";
    for (; *at < fh_gguf_n_kv(g); (*at)++) {
        const fh_gguf_kv *kv = fh_gguf_get_kv(g, *at);
        if (!fh_str_starts(kv->key, prefix)) continue;
        fh_str rest = fh_str_drop(kv->key, sizeof prefix - 1);
        if ((rest.len > 0 && (rest.ptr[0] != '.' || rest.len == 1)) || !fh_gguf_to_str(kv, text)) continue;
        *name = rest.len > 0 ? fh_str_drop(rest, 1) : FH_STR("default");
        (*at)++;
        return true;
    }
    return false;
}
