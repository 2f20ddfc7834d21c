/* text/unigram.c - Viterbi over a trie of all pieces.
 * SPDX-License-Identifier: Apache-2.0
 * best[i] = the best path to byte i. A character that is no piece is an unknown one with a score below all others; a
 * run of them is one unknown token, or the byte tokens of its characters. */
#include "text/unigram.h"

#include <math.h>

#include "base/num.h"
#include "text/piece_trie.h"

#define UNKNOWN_PENALTY 10.0
#define RESET_BEYOND 100000.0

struct fh_unigram {
    const fh_vocab *vocab;
    fh_unigram_options opt;
    fh_piece_trie trie;
    double unknown_score, max_score;
    uint32_t unk;
};

static bool is_text(const fh_unigram *m, uint32_t id) {
    fh_token_type t = fh_vocab_type(m->vocab, id);
    if (t == FH_TOKEN_NONE || !fh_is_own(m->vocab, id, m->opt.own_end)) return false;
    return m->opt.all_pieces || t == FH_TOKEN_NORMAL || t == FH_TOKEN_USER_DEFINED;
}

/* SentencePiece looks at normal pieces only, the other library at all. */
static void find_bounds(fh_unigram *m) {
    double lo = INFINITY, hi = -INFINITY;
    for (uint32_t id = 0; id < m->vocab->n_id; id++) {
        fh_token_type t = fh_vocab_type(m->vocab, id);
        if (t == FH_TOKEN_NONE || (m->opt.float_sums && t != FH_TOKEN_NORMAL)) continue;
        if (!fh_is_own(m->vocab, id, m->opt.own_end)) continue;
        lo = fmin(lo, m->vocab->score[id]);
        hi = fmax(hi, m->vocab->score[id]);
    }
    if (!isfinite(lo)) lo = hi = 0;
    m->max_score = hi;
    m->unknown_score = m->opt.float_sums ? (double)((float)lo - (float)UNKNOWN_PENALTY) : lo - UNKNOWN_PENALTY;
}

static fh_status build(fh_unigram *m, fh_err *err) {
    uint32_t n = 0;
    fh_piece_key *key = fh_alloc(m->vocab->n_id, sizeof *key);
    if (!key) return fh_fail_memory(err, m->vocab->n_id * sizeof *key);
    for (uint32_t id = 0; id < m->vocab->n_id; id++)
        if (is_text(m, id)) key[n++] = (fh_piece_key){fh_vocab_piece(m->vocab, id), id};
    fh_status s = fh_piece_trie_build(&m->trie, key, n, err);
    fh_free(key);
    find_bounds(m);
    return s;
}

fh_status fh_unigram_new(fh_unigram **out, const fh_vocab *v, const fh_unigram_options *opt, fh_err *err) {
    FH_REQUIRE(v->kind == FH_VOCAB_UNIGRAM);
    if (!v->score) return fh_fail(err, FH_ERR_FORMAT, "tokenizer: a unigram model without scores");
    fh_unigram *m = fh_alloc_zero(1, sizeof *m);
    if (!m) return fh_fail_memory(err, sizeof *m);
    m->vocab = v;
    m->opt = *opt;
    m->unk = v->special[FH_SPECIAL_UNK];
    fh_status s = build(m, err);
    if (s != FH_OK) {
        fh_unigram_free(m);
        return s;
    }
    *out = m;
    return FH_OK;
}

void fh_unigram_free(fh_unigram *m) {
    if (!m) return;
    fh_piece_trie_release(&m->trie);
    fh_free(m);
}

void fh_unigram_scratch_release(fh_unigram_scratch *s) {
    fh_free(s->node);
    *s = (fh_unigram_scratch){0};
}

static size_t char_bytes(uint8_t lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

static void offer(fh_unigram_node *to, double score, uint32_t start, uint32_t id) {
    if (to->start == UINT32_MAX || score > to->score) *to = (fh_unigram_node){score, start, id};
}

/* The sum as the original rounds it. */
static double sum(const fh_unigram *m, double a, double b) {
    return m->opt.float_sums ? (double)((float)a + (float)b) : a + b;
}

/* SentencePiece: user-defined pieces win over any path of normal ones. */
static double score_of(const fh_unigram *m, uint32_t id, size_t len) {
    if (m->opt.float_sums && fh_vocab_type(m->vocab, id) == FH_TOKEN_USER_DEFINED)
        return (double)(float)((double)((float)len * (float)m->max_score) - 0.1);
    return m->vocab->score[id];
}

/* SentencePiece takes long sums back to zero, so that floats keep telling paths apart: all that is known from here on
 * loses what the path has cost up to here. */
static void reset_sums(const fh_unigram *m, fh_unigram_node *node, size_t at, size_t frontier) {
    double offset = node[at].score;
    if (!m->opt.float_sums || fabs(offset) <= RESET_BEYOND) return;
    for (size_t i = at; i <= frontier; i++)
        if (i == at || node[i].start != UINT32_MAX) node[i].score = sum(m, node[i].score, -offset);
}

static fh_status forward(const fh_unigram *m, fh_unigram_node *node, fh_str text, bool control, fh_err *err) {
    size_t frontier = 0;
    for (size_t i = 0; i <= text.len; i++) node[i].start = UINT32_MAX;
    node[0].score = 0;
    for (size_t at = 0, len; at < text.len; at += len) {
        bool whole = false;
        uint32_t trie_at = 0;
        len = FH_MIN(char_bytes((uint8_t)text.ptr[at]), text.len - at);
        reset_sums(m, node, at, frontier);
        for (size_t end = at; end < text.len;) {
            trie_at = fh_piece_trie_step(&m->trie, trie_at, (uint8_t)text.ptr[end++]);
            if (trie_at == 0) break;
            uint32_t id = m->trie.value[trie_at];
            if (id == FH_PIECE_TRIE_NONE) continue;
            if (!control && fh_vocab_type(m->vocab, id) == FH_TOKEN_CONTROL) continue;
            offer(&node[end], sum(m, score_of(m, id, end - at), node[at].score), (uint32_t)at, id);
            frontier = FH_MAX(frontier, end);
            whole = whole || end - at == len;
        }
        if (whole) continue;
        offer(&node[at + len], sum(m, m->unknown_score, node[at].score), (uint32_t)at, FH_VOCAB_NO_ID);
        frontier = FH_MAX(frontier, at + len);
        if (m->unk == FH_VOCAB_NO_ID && !m->opt.byte_fallback)
            return fh_fail(err, FH_ERR_FORMAT, "tokenizer: a character without a piece, and no unknown token");
    }
    return FH_OK;
}

/* The unknown run text: byte tokens where all of them exist, else one unknown token. */
static fh_status put_unknown(const fh_unigram *m, fh_str text, fh_ids *out, fh_err *err) {
    bool bytes = m->opt.byte_fallback;
    for (size_t i = 0; bytes && i < text.len; i++) bytes = m->vocab->byte_id[(uint8_t)text.ptr[i]] != FH_VOCAB_NO_ID;
    for (size_t i = 0; bytes && i < text.len; i++) fh_ids_add(out, m->vocab->byte_id[(uint8_t)text.ptr[i]]);
    if (bytes) return FH_OK;
    if (m->unk == FH_VOCAB_NO_ID)
        return fh_fail(err, FH_ERR_FORMAT, "tokenizer: a character without a piece, and no unknown token");
    fh_ids_add(out, m->unk);
    return FH_OK;
}

/* Turns the links around, so that the path can be walked from its start; start becomes the end of a piece. */
static void reverse_path(fh_unigram_node *node, size_t len) {
    uint32_t end = (uint32_t)len, next_end = UINT32_MAX, next_id = FH_VOCAB_NO_ID;
    for (;;) {
        uint32_t start = node[end].start, id = node[end].id;
        node[end].start = next_end;
        node[end].id = next_id;
        if (end == 0) return;
        next_end = end;
        next_id = id;
        end = start;
    }
}

static fh_status reserve(fh_unigram_scratch *s, size_t n, fh_err *err) {
    if (n <= s->cap) return FH_OK;
    if (n > UINT32_MAX / 2) return fh_fail(err, FH_ERR_LIMIT, "a text of %zu bytes is too long", n);
    size_t cap = FH_MAX(n, s->cap * 2);
    void *p = fh_realloc(s->node, cap, sizeof *s->node);
    if (!p) return fh_fail_memory(err, cap * sizeof *s->node);
    s->node = p;
    s->cap = cap;
    return FH_OK;
}

fh_status fh_unigram_encode(const fh_unigram *m, fh_unigram_scratch *s, fh_str text, bool control, fh_ids *out,
                            fh_err *err) {
    if (text.len == 0) return FH_OK;
    FH_TRY(reserve(s, text.len + 1, err));
    FH_TRY(forward(m, s->node, text, control, err));
    reverse_path(s->node, text.len);
    for (size_t at = 0; at < text.len;) {
        size_t end = s->node[at].start;
        if (s->node[at].id != FH_VOCAB_NO_ID) {
            fh_ids_add(out, s->node[at].id);
            at = end;
            continue;
        }
        while (end < text.len && s->node[end].id == FH_VOCAB_NO_ID) end = s->node[end].start;
        FH_TRY(put_unknown(m, (fh_str){text.ptr + at, end - at}, out, err));
        at = end;
    }
    return FH_OK;
}
