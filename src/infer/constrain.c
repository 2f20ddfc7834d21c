/* infer/constrain.c - joins tokenizer, grammar and masks.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the bytes of all tokens, one behind the other. text/mask.h stays inside this file: its names are about tokens,
 * those of kernel/kinds.h about attention, and some are the same. */
#include "infer/constrain.h"

#include "base/mem.h"
#include "text/mask.h"

#define MOST_TEXT ((size_t)256 << 20)

struct fh_constrain_vocab {
    fh_buf text;
    fh_str *piece; /* [n] in text */
    size_t n;
    fh_mask_vocab *mask;
};

struct fh_constraint {
    const fh_constrain_vocab *vocab;
    fh_mask *mask;
    fh_matcher *matcher;
};

/* ---- vocabularies ---- */
static fh_status read_pieces(fh_constrain_vocab *v, const fh_tokenizer *t, uint8_t *kind, fh_err *err) {
    for (size_t i = 0; i < v->n; i++) {
        uint32_t id = (uint32_t)i;
        size_t at = v->text.len;
        kind[i] = fh_tokenizer_is_eog(t, id)       ? FH_MASK_END
                  : fh_tokenizer_is_control(t, id) ? FH_MASK_CONTROL
                                                   : FH_MASK_TEXT;
        FH_TRY(fh_tokenizer_token_bytes(t, id, &v->text, err));
        v->piece[i].len = v->text.len - at;
    }
    FH_TRY(fh_buf_check(&v->text, err));
    const char *at = (const char *)v->text.ptr;
    for (size_t i = 0; i < v->n; at += v->piece[i++].len) v->piece[i].ptr = v->piece[i].len ? at : "";
    return FH_OK;
}

fh_status fh_constrain_vocab_new(fh_constrain_vocab **out, const fh_tokenizer *t, const uint32_t *end, size_t n_end,
                                 fh_err *err) {
    fh_constrain_vocab *v = fh_alloc_zero(1, sizeof *v);
    if (!v) return fh_fail_memory(err, sizeof *v);
    fh_buf_init(&v->text, MOST_TEXT);
    v->n = fh_tokenizer_vocab(t)->n_id;
    v->piece = fh_alloc_zero(v->n, sizeof *v->piece);
    uint8_t *kind = fh_alloc_zero(v->n, 1);
    fh_status st = v->piece && kind ? read_pieces(v, t, kind, err) : fh_fail_memory(err, v->n * sizeof *v->piece);
    for (size_t i = 0; st == FH_OK && i < n_end; i++)
        if (end[i] < v->n) kind[end[i]] = FH_MASK_END;
    if (st == FH_OK) st = fh_mask_vocab_new(&v->mask, v->piece, kind, v->n, err);
    fh_free(kind);
    if (st == FH_OK) *out = v;
    else fh_constrain_vocab_free(v);
    return st;
}

void fh_constrain_vocab_free(fh_constrain_vocab *v) {
    if (!v) return;
    fh_mask_vocab_free(v->mask);
    fh_buf_release(&v->text);
    fh_free(v->piece);
    fh_free(v);
}

const fh_str *fh_constrain_vocab_pieces(const fh_constrain_vocab *v, size_t *n) {
    *n = v->n;
    return v->piece;
}

/* ---- constraints ---- */
fh_status fh_constraint_new(fh_constraint **out, const fh_constrain_vocab *v, const fh_grammar *g, fh_err *err) {
    fh_constraint *c = fh_alloc_zero(1, sizeof *c);
    if (!c) return fh_fail_memory(err, sizeof *c);
    c->vocab = v;
    fh_status st = fh_mask_new(&c->mask, v->mask, g, err);
    if (st == FH_OK) st = fh_matcher_new(&c->matcher, g, err);
    if (st == FH_OK) *out = c;
    else fh_constraint_free(c);
    return st;
}

void fh_constraint_free(fh_constraint *c) {
    if (!c) return;
    fh_mask_free(c->mask);
    fh_matcher_free(c->matcher);
    fh_free(c);
}

fh_status fh_constraint_allowed(fh_constraint *c, const uint32_t **bits, size_t *n, fh_err *err) {
    FH_TRY(fh_mask_compute(c->mask, c->matcher, bits, err));
    *n = c->vocab->n;
    return FH_OK;
}

fh_status fh_constraint_accept(fh_constraint *c, uint32_t token, fh_err *err) {
    bool ok = token < c->vocab->n;
    if (ok) FH_TRY(fh_matcher_accept(c->matcher, c->vocab->piece[token], &ok, err));
    if (!ok) return fh_fail(err, FH_ERR_USAGE, "the grammar does not take token '%u' here", token);
    fh_matcher_forget(c->matcher);
    return FH_OK;
}

bool fh_constraint_can_end(const fh_constraint *c) { return fh_matcher_can_end(c->matcher); }