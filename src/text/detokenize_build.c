/* text/detokenize_build.c - from the tree of tokenizer.json to decoder steps.
 * SPDX-License-Identifier: Apache-2.0
 * Sequences are flattened. Refuses types it does not know (CTC among them: it is no language model's) and more than
 * FH_DECODER_STEPS steps. */
#include "base/num.h"
#include "text/detokenize.h"
#include "text/json_part.h"

#define DEPTH 16

static bool makes_one_text(fh_decoder_kind k) {
    return k == FH_DECODER_FUSE || k == FH_DECODER_BYTE_LEVEL || k == FH_DECODER_RAW_BYTES;
}

fh_status fh_decoder_add(fh_decoder *d, const fh_decoder_step *step, fh_err *err) {
    fh_decoder_step *p = NULL;
    fh_status s = FH_OK;
    if (d->n == FH_DECODER_STEPS) s = fh_fail(err, FH_ERR_LIMIT, "tokenizer: more than %u decoders", FH_DECODER_STEPS);
    else if (!(p = fh_realloc(d->step, d->n + 1, sizeof *p))) s = fh_fail_memory(err, (d->n + 1) * sizeof *p);
    if (s != FH_OK) {
        fh_split_free(step->pattern);
        return s;
    }
    d->step = p;
    d->step[d->n] = *step;
    if (d->n > 0) d->step[d->n].fused = d->step[d->n - 1].fused || makes_one_text(d->step[d->n - 1].kind);
    d->n++;
    return FH_OK;
}

void fh_decoder_release(fh_decoder *d) {
    for (uint32_t i = 0; i < d->n; i++) fh_split_free(d->step[i].pattern);
    fh_free(d->step);
    *d = (fh_decoder){0};
}

static fh_status read_metaspace(const fh_json_step *in, fh_decoder_step *st) {
    static const char *const schemes[] = {"always", "first", "never"};
    bool prefix = true;
    uint32_t scheme = 0;
    st->kind = FH_DECODER_METASPACE;
    st->ch = 0x2581;
    FH_TRY(fh_json_step_char(in, "replacement", &st->ch));
    FH_TRY(fh_json_step_bool(in, "add_prefix_space", &prefix));
    FH_TRY(fh_json_step_name(in, "prepend_scheme", schemes, FH_COUNT(schemes), &scheme));
    st->prefix = prefix && scheme != 2;
    return FH_OK;
}

static fh_status read_strip(const fh_json_step *in, fh_decoder_step *st) {
    st->kind = FH_DECODER_STRIP;
    st->ch = UINT32_MAX;
    FH_TRY(fh_json_step_char(in, "content", &st->ch));
    FH_TRY(fh_json_step_u32(in, "start", 1u << 20, &st->start));
    FH_TRY(fh_json_step_u32(in, "stop", 1u << 20, &st->stop));
    return st->ch != UINT32_MAX ? FH_OK : fh_json_step_bad(in, "content", "one character");
}

static fh_status read_step(const fh_json_step *in, fh_decoder_step *st) {
    static const struct {
        const char *type;
        fh_decoder_kind kind;
    } plain[] = {
        {"ByteLevel", FH_DECODER_BYTE_LEVEL}, {"ByteFallback", FH_DECODER_BYTE_FALLBACK}, {"Fuse", FH_DECODER_FUSE}};
    for (size_t i = 0; i < FH_COUNT(plain); i++) {
        if (!fh_str_is(in->type, plain[i].type)) continue;
        st->kind = plain[i].kind;
        return FH_OK;
    }
    if (fh_str_is(in->type, "Metaspace")) return read_metaspace(in, st);
    if (fh_str_is(in->type, "Strip")) return read_strip(in, st);
    if (fh_str_is(in->type, "WordPiece")) {
        st->kind = FH_DECODER_WORDPIECE;
        st->cleanup = true;
        FH_TRY(fh_json_step_bool(in, "cleanup", &st->cleanup));
        return fh_json_step_str(in, "prefix", &st->text);
    }
    if (fh_str_is(in->type, "BPEDecoder")) {
        st->kind = FH_DECODER_BPE;
        return fh_json_step_str(in, "suffix", &st->text);
    }
    if (fh_str_is(in->type, "Replace")) {
        st->kind = FH_DECODER_REPLACE;
        FH_TRY(fh_json_step_str(in, "content", &st->text));
        return fh_json_step_pattern(in, "pattern", &st->pattern, NULL);
    }
    return fh_json_step_unknown(in);
}

static fh_status add_tree(fh_decoder *d, const fh_json_node *root, fh_arena *arena, int depth, fh_err *err) {
    fh_json_step in;
    const fh_json_node *list;
    FH_TRY(fh_json_step_open(&in, root, "decoder", arena, err));
    if (!fh_str_is(in.type, "Sequence")) {
        fh_decoder_step st = {.kind = FH_DECODER_FUSE};
        FH_TRY(read_step(&in, &st));
        return fh_decoder_add(d, &st, err);
    }
    if (depth == DEPTH) return fh_fail(err, FH_ERR_LIMIT, "tokenizer: decoders nest over %d deep", DEPTH);
    FH_TRY(fh_json_step_list(&in, "decoders", &list));
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c))
        FH_TRY(add_tree(d, c, arena, depth + 1, err));
    return FH_OK;
}

fh_status fh_decoder_build(fh_decoder *out, const fh_json_node *root, fh_arena *arena, fh_err *err) {
    fh_decoder d = {0};
    fh_decoder_step join = {.kind = FH_DECODER_JOIN_SPACE};
    fh_status s = root ? add_tree(&d, root, arena, 0, err) : fh_decoder_add(&d, &join, err);
    if (s == FH_OK) *out = d;
    else fh_decoder_release(&d);
    return s;
}
