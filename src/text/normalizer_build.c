/* text/normalizer_build.c - from the tree of tokenizer.json to steps.
 * SPDX-License-Identifier: Apache-2.0
 * Sequences are flattened. Refuses types it does not know, more than FH_NORMALIZER_STEPS steps, nesting over DEPTH. */
#include "base/num.h"
#include "format/base64.h"
#include "format/vocab.h"
#include "text/json_part.h"
#include "text/normalizer.h"

#define DEPTH 16

fh_status fh_normalizer_add(fh_normalizer *n, const fh_norm_step *step, fh_err *err) {
    fh_norm_step *p = NULL;
    fh_status s = FH_OK;
    if (n->n == FH_NORMALIZER_STEPS)
        s = fh_fail(err, FH_ERR_LIMIT, "tokenizer: more than %u normalizers", FH_NORMALIZER_STEPS);
    else if (!(p = fh_realloc(n->step, n->n + 1, sizeof *p))) s = fh_fail_memory(err, (n->n + 1) * sizeof *p);
    if (s != FH_OK) {
        fh_split_free(step->pattern); /* taken in any case */
        return s;
    }
    n->step = p;
    n->step[n->n++] = *step;
    return FH_OK;
}

void fh_normalizer_release(fh_normalizer *n) {
    for (uint32_t i = 0; i < n->n; i++) fh_split_free(n->step[i].pattern);
    fh_free(n->step);
    *n = (fh_normalizer){0};
}

static fh_status read_charsmap(const fh_json_step *in, fh_charsmap *out) {
    fh_str code;
    size_t len = 0;
    FH_TRY(fh_json_step_str(in, "precompiled_charsmap", &code));
    if (code.len == 0) return FH_OK;
    uint8_t *blob = fh_arena_alloc(in->arena, fh_base64_room(code.len), 1);
    if (!blob) return fh_arena_fail(in->arena, in->err);
    if (!fh_base64_decode(code, blob, &len) || !fh_charsmap_split((fh_bytes){blob, len}, &out->trie, &out->texts))
        return fh_json_step_bad(in, "precompiled_charsmap", "a trie and its texts in base64");
    return FH_OK;
}

static fh_status read_bert(const fh_json_step *in, fh_norm_step *st) {
    st->kind = FH_NORM_BERT;
    st->clean = st->ideographs = st->lowercase = true;
    FH_TRY(fh_json_step_bool(in, "clean_text", &st->clean));
    FH_TRY(fh_json_step_bool(in, "handle_chinese_chars", &st->ideographs));
    FH_TRY(fh_json_step_bool(in, "lowercase", &st->lowercase));
    st->accents = st->lowercase;
    return fh_json_step_bool(in, "strip_accents", &st->accents);
}

static const struct {
    const char *type;
    fh_norm_kind kind;
    fh_normal_form form;
} PLAIN[] = {
    {"NFC", FH_NORM_FORM, FH_NFC},
    {"NFD", FH_NORM_FORM, FH_NFD},
    {"NFKC", FH_NORM_FORM, FH_NFKC},
    {"NFKD", FH_NORM_FORM, FH_NFKD},
    {"Lowercase", FH_NORM_LOWERCASE, FH_NFC},
    {"StripAccents", FH_NORM_STRIP_ACCENTS, FH_NFC},
    {"Nmt", FH_NORM_NMT, FH_NFC},
    {"ByteLevel", FH_NORM_BYTE_ALPHABET, FH_NFC},
};

static fh_status read_step(const fh_json_step *in, fh_norm_step *st) {
    for (size_t i = 0; i < FH_COUNT(PLAIN); i++) {
        if (!fh_str_is(in->type, PLAIN[i].type)) continue;
        st->kind = PLAIN[i].kind;
        st->form = PLAIN[i].form;
        return FH_OK;
    }
    if (fh_str_is(in->type, "BertNormalizer") || fh_str_is(in->type, "Bert")) return read_bert(in, st);
    if (fh_str_is(in->type, "Strip")) {
        st->kind = FH_NORM_STRIP;
        st->left = st->right = true;
        FH_TRY(fh_json_step_bool(in, "strip_left", &st->left));
        return fh_json_step_bool(in, "strip_right", &st->right);
    }
    if (fh_str_is(in->type, "Prepend")) {
        st->kind = FH_NORM_PREPEND;
        return fh_json_step_str(in, "prepend", &st->text);
    }
    if (fh_str_is(in->type, "Precompiled")) {
        st->kind = FH_NORM_PRECOMPILED;
        return read_charsmap(in, &st->map);
    }
    if (fh_str_is(in->type, "Replace")) {
        st->kind = FH_NORM_REPLACE;
        FH_TRY(fh_json_step_str(in, "content", &st->text));
        return fh_json_step_pattern(in, "pattern", &st->pattern, &st->literal);
    }
    return fh_json_step_unknown(in);
}

static fh_status add_tree(fh_normalizer *n, const fh_json_node *root, fh_arena *arena, int depth, fh_err *err) {
    fh_json_step in;
    const fh_json_node *list;
    FH_TRY(fh_json_step_open(&in, root, "normalizer", arena, err));
    if (!fh_str_is(in.type, "Sequence")) {
        fh_norm_step st = {.kind = FH_NORM_FORM};
        FH_TRY(read_step(&in, &st));
        return fh_normalizer_add(n, &st, err);
    }
    if (depth == DEPTH) return fh_fail(err, FH_ERR_LIMIT, "tokenizer: normalizers nest over %d deep", DEPTH);
    FH_TRY(fh_json_step_list(&in, "normalizers", &list));
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c))
        FH_TRY(add_tree(n, c, arena, depth + 1, err));
    return FH_OK;
}

fh_status fh_normalizer_build(fh_normalizer *out, const fh_json_node *root, fh_arena *arena, fh_err *err) {
    fh_normalizer n = {0};
    fh_status s = root ? add_tree(&n, root, arena, 0, err) : FH_OK;
    if (s == FH_OK) *out = n;
    else fh_normalizer_release(&n);
    return s;
}
