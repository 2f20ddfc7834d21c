/* text/tokenizer_encode.c - text through the parts of a tokenizer: added tokens, normalizer, cuts, model.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses texts over TEXT_MOST bytes. Invariant: a scratch serves the tokenizer it was made for. */
#include "base/num.h"
#include "text/tokenizer_part.h"

#define TEXT_MOST ((size_t)256 << 20)

struct fh_tokenizer_scratch {
    const fh_tokenizer *t;
    fh_normalizer_scratch norm;
    fh_pretok_scratch pre;
    fh_bpe_scratch bpe;
    fh_unigram_scratch unigram;
    fh_buf valid;             /* text with U+FFFD for what is no UTF-8 */
    fh_str piece[FH_BPE_ROW]; /* not encoded yet */
    size_t n_piece;
    const char *end; /* of the text that these are in */
    fh_ids *out;     /* of the call */
    bool control;    /* of the call: special tokens may come out */
};

fh_status fh_tokenizer_scratch_new(fh_tokenizer_scratch **out, const fh_tokenizer *t, fh_err *err) {
    fh_tokenizer_scratch *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    s->t = t;
    fh_normalizer_scratch_init(&s->norm);
    fh_pretok_scratch_init(&s->pre);
    fh_buf_init(&s->valid, 3 * TEXT_MOST);
    *out = s;
    return FH_OK;
}

void fh_tokenizer_scratch_free(fh_tokenizer_scratch *s) {
    if (!s) return;
    fh_normalizer_scratch_release(&s->norm);
    fh_pretok_scratch_release(&s->pre);
    fh_bpe_scratch_release(&s->bpe);
    fh_unigram_scratch_release(&s->unigram);
    fh_buf_release(&s->valid);
    fh_free(s);
}

/* A model without parts: the piece is a token or it is not. */
static fh_status encode_word(const fh_tokenizer *t, fh_str piece, bool control, fh_ids *out, fh_err *err) {
    uint32_t id;
    bool found = fh_vocab_find(t->vocab, piece, &id) && fh_is_own(t->vocab, id, t->own_end);
    if (found && (control || !fh_tokenizer_is_control(t, id))) {
        fh_ids_add(out, id);
        return FH_OK;
    }
    id = t->vocab->special[FH_SPECIAL_UNK];
    if (id == FH_VOCAB_NO_ID)
        return fh_fail(err, FH_ERR_FORMAT, "tokenizer: '%.*s' is no token, and it has no unknown token",
                       FH_STR_ARG(piece));
    fh_ids_add(out, id);
    return FH_OK;
}

static fh_status encode_piece(void *ctx, fh_str piece, fh_err *err) {
    fh_tokenizer_scratch *s = ctx;
    const fh_tokenizer *t = s->t;
    if (t->bpe) return fh_bpe_encode(t->bpe, &s->bpe, piece, s->control, s->out, err);
    if (t->unigram) return fh_unigram_encode(t->unigram, &s->unigram, piece, s->control, s->out, err);
    if (t->wordpiece) return fh_wordpiece_encode(t->wordpiece, piece, s->control, s->out, err);
    return encode_word(t, piece, s->control, s->out, err);
}

static fh_status encode_waiting(fh_tokenizer_scratch *s, fh_err *err) {
    size_t n = s->n_piece;
    s->n_piece = 0;
    return fh_bpe_encode_row(s->t->bpe, &s->bpe, s->piece, n, s->end, s->out, err);
}

static fh_status delay_piece(void *ctx, fh_str piece, fh_err *err) {
    fh_tokenizer_scratch *s = ctx;
    s->piece[s->n_piece++] = piece;
    return s->n_piece == FH_BPE_ROW ? encode_waiting(s, err) : FH_OK;
}

/* The commonest pipeline, without the general machinery: one pattern, its matches and what is between them. */
static fh_status cut_by_one(fh_tokenizer_scratch *s, const fh_split *pattern, fh_str text, fh_err *err) {
    for (size_t at = 0; at < text.len;) {
        FH_TRY(fh_split_cut(pattern, text, &at, s->piece, FH_BPE_ROW, &s->n_piece, err));
        FH_TRY(encode_waiting(s, err));
    }
    return FH_OK;
}

static fh_status cut_and_encode(fh_tokenizer_scratch *s, fh_str text, bool head, fh_err *err) {
    const fh_tokenizer *t = s->t;
    if (!t->keeps_pieces) return fh_pretokenizer_run(&t->pre, &s->pre, text, head, encode_piece, s, err);
    const fh_pretok_step *st = t->pre.step;
    bool one = t->pre.n == 1 && st->pattern && !st->invert && st->behavior == FH_PRETOK_ISOLATED;
    s->n_piece = 0;
    s->end = text.ptr + text.len;
    FH_TRY(fh_bpe_start(t->bpe, &s->bpe, s->control, err));
    if (one) return cut_by_one(s, st->pattern, text, err);
    FH_TRY(fh_pretokenizer_run(&t->pre, &s->pre, text, head, delay_piece, s, err));
    return encode_waiting(s, err);
}

/* A stretch between tokens found in the raw text. */
static fh_status encode_stretch(fh_tokenizer_scratch *s, fh_str text, bool head, bool parse_special, fh_err *err) {
    const fh_tokenizer *t = s->t;
    fh_str normal, part;
    uint32_t id;
    FH_TRY(fh_normalizer_run(&t->norm, &s->norm, text, &normal, &head, err));
    fh_added_iter it = fh_added_begin(&t->normalized, normal, parse_special);
    while (fh_added_next(&it, &part, &id)) {
        if (id != FH_VOCAB_NO_ID) fh_ids_add(s->out, id);
        else FH_TRY(cut_and_encode(s, part, head && part.ptr == normal.ptr, err));
    }
    return FH_OK;
}

static fh_status make_valid(fh_tokenizer_scratch *s, fh_str *text, fh_err *err) {
    fh_buf_clear(&s->valid);
    for (size_t at = 0, len; at < text->len; at += len) {
        char c[4];
        fh_buf_add(&s->valid, c, fh_utf8_put(fh_utf8_next(*text, at, &len), c));
    }
    FH_TRY(fh_buf_check(&s->valid, err));
    *text = fh_buf_str(&s->valid);
    return FH_OK;
}

static fh_status encode_text(fh_tokenizer_scratch *s, fh_str text, bool parse_special, fh_err *err) {
    const fh_tokenizer *t = s->t;
    fh_str part;
    uint32_t id;
    if (text.len > TEXT_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "a text of %zu bytes is too long to tokenize, at most %zu", text.len,
                       TEXT_MOST);
    s->control = parse_special;
    if (text.len == 0) return FH_OK;
    if (!t->any_bytes && !fh_utf8_valid(text)) FH_TRY(make_valid(s, &text, err));
    fh_added_iter it = fh_added_begin(&t->raw, text, parse_special);
    while (fh_added_next(&it, &part, &id)) {
        if (id != FH_VOCAB_NO_ID) fh_ids_add(s->out, id);
        else FH_TRY(encode_stretch(s, part, part.ptr == text.ptr, parse_special, err));
    }
    return fh_ids_check(s->out, err);
}

fh_status fh_tokenizer_encode(const fh_tokenizer *t, fh_tokenizer_scratch *s, fh_str text, const fh_encode_options *opt,
                              fh_ids *out, fh_err *err) {
    FH_REQUIRE(s->t == t);
    size_t before = out->len;
    s->out = out;
    if (opt->add_special) fh_postprocess_put_before(&t->post, out);
    fh_status st = encode_text(s, text, opt->parse_special, err);
    if (st == FH_OK && opt->add_special) fh_postprocess_put_behind(&t->post, out);
    if (st == FH_OK) st = fh_ids_check(out, err);
    if (st != FH_OK) out->len = before;
    return st;
}

static fh_status encode_template(fh_tokenizer_scratch *s, fh_str a, fh_str b, const fh_encode_options *opt,
                                 fh_ids *type, fh_err *err) {
    static const fh_post_item plain[] = {{FH_POST_A, 0, 0}, {FH_POST_B, 0, 0}};
    const fh_postprocess *p = &s->t->post;
    const fh_post_item *item = p->n_pair > 0 ? p->pair : plain;
    uint32_t n = p->n_pair > 0 ? p->n_pair : FH_COUNT(plain);
    for (uint32_t i = 0; i < n; i++) {
        size_t from = s->out->len;
        if (item[i].kind == FH_POST_A) FH_TRY(encode_text(s, a, opt->parse_special, err));
        else if (item[i].kind == FH_POST_B) FH_TRY(encode_text(s, b, opt->parse_special, err));
        else if (opt->add_special) fh_ids_add(s->out, item[i].id);
        for (; type && from < s->out->len; from++) fh_ids_add(type, item[i].type_id);
    }
    if (type) FH_TRY(fh_ids_check(type, err));
    return fh_ids_check(s->out, err);
}

fh_status fh_tokenizer_encode_pair(const fh_tokenizer *t, fh_tokenizer_scratch *s, fh_str a, fh_str b,
                                   const fh_encode_options *opt, fh_ids *out, fh_ids *type, fh_err *err) {
    FH_REQUIRE(s->t == t);
    size_t before = out->len, type_before = type ? type->len : 0;
    s->out = out;
    fh_status st = encode_template(s, a, b, opt, type, err);
    if (st == FH_OK) return FH_OK;
    out->len = before;
    if (type) type->len = type_before;
    return st;
}
