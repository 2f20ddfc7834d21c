/* text/wordpiece.c - two tries, one for starts of words and one for what follows.
 * SPDX-License-Identifier: Apache-2.0
 * A word is at most max_word_chars long, so that a hostile text costs no more than a plain one. */
#include "text/wordpiece.h"

#include "text/piece_trie.h"

#define WORD_START "\xE2\x96\x81"

struct fh_wordpiece {
    const fh_vocab *vocab;
    uint32_t own_end;
    fh_piece_trie start, rest;
};

static bool is_text(const fh_wordpiece *m, uint32_t id) {
    fh_token_type t = fh_vocab_type(m->vocab, id);
    if (m->own_end == FH_OWN_ALL) return t == FH_TOKEN_NORMAL || t == FH_TOKEN_USER_DEFINED;
    return t != FH_TOKEN_NONE && fh_is_own(m->vocab, id, m->own_end);
}

/* Is the piece one of that trie, and as which text? */
static bool key_of(const fh_wordpiece *m, bool marked, bool start, fh_str piece, fh_str *text) {
    const char *mark = WORD_START;
    *text = piece;
    if (marked) {
        bool starts = fh_str_starts(piece, mark);
        if (starts) *text = fh_str_drop(piece, sizeof WORD_START - 1);
        return starts == start;
    }
    fh_str prefix = m->vocab->continuing_prefix;
    if (start) return true;
    if (piece.len < prefix.len || !fh_str_eq(fh_str_first(piece, prefix.len), prefix)) return false;
    *text = fh_str_drop(piece, prefix.len);
    return true;
}

static fh_status build_one(fh_wordpiece *m, bool marked, bool start, fh_err *err) {
    uint32_t n = 0;
    fh_piece_key *key = fh_alloc(m->vocab->n_id, sizeof *key);
    if (!key) return fh_fail_memory(err, m->vocab->n_id * sizeof *key);
    for (uint32_t id = 0; id < m->vocab->n_id; id++) {
        fh_str text;
        if (is_text(m, id) && key_of(m, marked, start, fh_vocab_piece(m->vocab, id), &text))
            key[n++] = (fh_piece_key){text, id};
    }
    fh_status s = fh_piece_trie_build(start ? &m->start : &m->rest, key, n, err);
    fh_free(key);
    return s;
}

fh_status fh_wordpiece_new(fh_wordpiece **out, const fh_vocab *v, bool marked_starts, uint32_t own_end, fh_err *err) {
    FH_REQUIRE(v->kind == FH_VOCAB_WORDPIECE);
    fh_wordpiece *m = fh_alloc_zero(1, sizeof *m);
    if (!m) return fh_fail_memory(err, sizeof *m);
    m->vocab = v;
    m->own_end = own_end;
    fh_status s = build_one(m, marked_starts, true, err);
    if (s == FH_OK) s = build_one(m, marked_starts, false, err);
    if (s != FH_OK) {
        fh_wordpiece_free(m);
        return s;
    }
    *out = m;
    return FH_OK;
}

void fh_wordpiece_free(fh_wordpiece *m) {
    if (!m) return;
    fh_piece_trie_release(&m->start);
    fh_piece_trie_release(&m->rest);
    fh_free(m);
}

static size_t count_chars(fh_str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += ((uint8_t)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

/* The longest piece at `at`: its length, or 0. */
static size_t longest(const fh_wordpiece *m, const fh_piece_trie *t, fh_str word, size_t at, bool control,
                      uint32_t *id) {
    size_t best = 0;
    uint32_t node = 0;
    for (size_t i = at; i < word.len; i++) {
        node = fh_piece_trie_step(t, node, (uint8_t)word.ptr[i]);
        if (node == 0) break;
        uint32_t v = t->value[node];
        if (v == FH_PIECE_TRIE_NONE || (!control && fh_vocab_type(m->vocab, v) == FH_TOKEN_CONTROL)) continue;
        best = i + 1 - at;
        *id = v;
    }
    return best;
}

fh_status fh_wordpiece_encode(const fh_wordpiece *m, fh_str word, bool control, fh_ids *out, fh_err *err) {
    size_t before = out->len, at = 0;
    bool too_long = word.len > m->vocab->max_word_chars && count_chars(word) > m->vocab->max_word_chars;
    while (!too_long && at < word.len) {
        uint32_t id = 0;
        size_t len = longest(m, at == 0 ? &m->start : &m->rest, word, at, control, &id);
        if (len == 0) break;
        fh_ids_add(out, id);
        at += len;
    }
    if (at == word.len) return FH_OK;
    out->len = before;
    if (m->vocab->special[FH_SPECIAL_UNK] == FH_VOCAB_NO_ID)
        return fh_fail(err, FH_ERR_FORMAT, "tokenizer: '%.*s' is no word of it, and it has no unknown token",
                       FH_STR_ARG(word));
    fh_ids_add(out, m->vocab->special[FH_SPECIAL_UNK]);
    return FH_OK;
}
