/* text/pretokenizer_build.c - from the tree of tokenizer.json to steps.
 * SPDX-License-Identifier: Apache-2.0
 * Sequences are flattened. Refuses types it does not know (UnicodeScripts among them: no published language model has
 * it) and more than FH_PRETOKENIZER_STEPS steps. */
#include "base/num.h"
#include "text/json_part.h"
#include "text/pretokenizer.h"

#define DEPTH 16

/* What ByteLevel splits by unless told not to. */
static const char GPT2_PATTERN[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char *const BEHAVIORS[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
static const char *const SCHEMES[] = {"always", "first", "never"};

fh_status fh_pretokenizer_add(fh_pretokenizer *p, const fh_pretok_step *step, fh_err *err) {
    fh_pretok_step *q = NULL;
    fh_status s = FH_OK;
    if (p->n == FH_PRETOKENIZER_STEPS)
        s = fh_fail(err, FH_ERR_LIMIT, "tokenizer: more than %u pre-tokenizers", FH_PRETOKENIZER_STEPS);
    else if (!(q = fh_realloc(p->step, p->n + 1, sizeof *q))) s = fh_fail_memory(err, (p->n + 1) * sizeof *q);
    if (s != FH_OK) {
        fh_split_free(step->pattern);
        return s;
    }
    p->step = q;
    p->step[p->n++] = *step;
    return FH_OK;
}

void fh_pretokenizer_release(fh_pretokenizer *p) {
    for (uint32_t i = 0; i < p->n; i++) fh_split_free(p->step[i].pattern);
    fh_free(p->step);
    *p = (fh_pretokenizer){0};
}

static fh_status read_behavior(const fh_json_step *in, fh_pretok_step *st) {
    uint32_t b = FH_PRETOK_ISOLATED;
    FH_TRY(fh_json_step_name(in, "behavior", BEHAVIORS, FH_COUNT(BEHAVIORS), &b));
    st->behavior = (fh_pretok_behavior)b;
    return FH_OK;
}

static fh_status read_byte_level(const fh_json_step *in, fh_pretok_step *st) {
    bool use_regex = true;
    st->kind = FH_PRETOK_BYTE_LEVEL;
    st->prefix = st->map = true;
    FH_TRY(fh_json_step_bool(in, "add_prefix_space", &st->prefix));
    FH_TRY(fh_json_step_bool(in, "use_regex", &use_regex));
    return use_regex ? fh_split_new(&st->pattern, fh_str_of(GPT2_PATTERN), in->err) : FH_OK;
}

static fh_status read_metaspace(const fh_json_step *in, fh_pretok_step *st) {
    bool prefix = true;
    uint32_t scheme = FH_PRETOK_ALWAYS;
    st->kind = FH_PRETOK_METASPACE;
    st->ch = 0x2581;
    st->split = true;
    FH_TRY(fh_json_step_char(in, "replacement", &st->ch));
    FH_TRY(fh_json_step_bool(in, "split", &st->split));
    FH_TRY(fh_json_step_bool(in, "add_prefix_space", &prefix));
    FH_TRY(fh_json_step_name(in, "prepend_scheme", SCHEMES, FH_COUNT(SCHEMES), &scheme));
    st->scheme = prefix ? (fh_pretok_scheme)scheme : FH_PRETOK_NEVER;
    return FH_OK;
}

static fh_status read_digits(const fh_json_step *in, fh_pretok_step *st) {
    bool individual = false;
    st->kind = FH_PRETOK_DIGITS;
    FH_TRY(fh_json_step_bool(in, "individual_digits", &individual));
    st->behavior = individual ? FH_PRETOK_ISOLATED : FH_PRETOK_CONTIGUOUS;
    return FH_OK;
}

static fh_status read_fixed(const fh_json_step *in, fh_pretok_step *st) {
    st->kind = FH_PRETOK_FIXED;
    st->length = 5;
    FH_TRY(fh_json_step_u32(in, "length", 1u << 20, &st->length));
    return st->length > 0 ? FH_OK : fh_json_step_bad(in, "length", "1 or more");
}

static fh_status read_char(const fh_json_step *in, fh_pretok_step *st) {
    st->kind = FH_PRETOK_CHAR;
    st->behavior = FH_PRETOK_REMOVED;
    st->ch = UINT32_MAX;
    FH_TRY(fh_json_step_char(in, "delimiter", &st->ch));
    return st->ch != UINT32_MAX ? FH_OK : fh_json_step_bad(in, "delimiter", "one character");
}

static fh_status read_step(const fh_json_step *in, fh_pretok_step *st) {
    static const struct {
        const char *type;
        fh_pretok_kind kind;
        fh_pretok_behavior behavior;
    } plain[] = {{"Whitespace", FH_PRETOK_WHITESPACE, FH_PRETOK_REMOVED},
                 {"WhitespaceSplit", FH_PRETOK_WHITESPACE_SPLIT, FH_PRETOK_REMOVED},
                 {"BertPreTokenizer", FH_PRETOK_BERT, FH_PRETOK_REMOVED}};
    for (size_t i = 0; i < FH_COUNT(plain); i++) {
        if (!fh_str_is(in->type, plain[i].type)) continue;
        st->kind = plain[i].kind;
        st->behavior = plain[i].behavior;
        return FH_OK;
    }
    if (fh_str_is(in->type, "ByteLevel")) return read_byte_level(in, st);
    if (fh_str_is(in->type, "Metaspace")) return read_metaspace(in, st);
    if (fh_str_is(in->type, "Digits")) return read_digits(in, st);
    if (fh_str_is(in->type, "FixedLength")) return read_fixed(in, st);
    if (fh_str_is(in->type, "CharDelimiterSplit")) return read_char(in, st);
    if (fh_str_is(in->type, "Punctuation")) {
        st->kind = FH_PRETOK_PUNCTUATION;
        return read_behavior(in, st);
    }
    if (fh_str_is(in->type, "Split")) {
        st->kind = FH_PRETOK_SPLIT;
        FH_TRY(read_behavior(in, st));
        FH_TRY(fh_json_step_bool(in, "invert", &st->invert));
        return fh_json_step_pattern(in, "pattern", &st->pattern, NULL);
    }
    return fh_json_step_unknown(in);
}

static fh_status add_tree(fh_pretokenizer *p, const fh_json_node *root, fh_arena *arena, int depth, fh_err *err) {
    fh_json_step in;
    const fh_json_node *list;
    FH_TRY(fh_json_step_open(&in, root, "pre_tokenizer", arena, err));
    if (!fh_str_is(in.type, "Sequence")) {
        fh_pretok_step st = {.kind = FH_PRETOK_SPLIT};
        FH_TRY(read_step(&in, &st));
        return fh_pretokenizer_add(p, &st, err);
    }
    if (depth == DEPTH) return fh_fail(err, FH_ERR_LIMIT, "tokenizer: pre-tokenizers nest over %d deep", DEPTH);
    FH_TRY(fh_json_step_list(&in, "pretokenizers", &list));
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c))
        FH_TRY(add_tree(p, c, arena, depth + 1, err));
    return FH_OK;
}

fh_status fh_pretokenizer_build(fh_pretokenizer *out, const fh_json_node *root, fh_arena *arena, fh_err *err) {
    fh_pretokenizer p = {0};
    fh_status s = root ? add_tree(&p, root, arena, 0, err) : FH_OK;
    if (s == FH_OK) *out = p;
    else fh_pretokenizer_release(&p);
    return s;
}
