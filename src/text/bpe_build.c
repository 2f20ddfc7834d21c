/* text/bpe_build.c - from a vocabulary to symbols and a table of pairs.
 * SPDX-License-Identifier: Apache-2.0
 * Where a file lists no merges, every way to cut a token into two symbols is a pair: the same pairs that the reference
 * finds by looking joined text up, found once. Refuses more pairs than PAIRS_MOST.
 * The table's hash is seeded from the vocabulary, so that whoever writes merges cannot aim at one slot. */
#include "base/num.h"
#include "format/order.h"
#include "text/bpe_part.h"
#include "text/byte_alphabet.h"

#define PAIRS_MOST (1u << 25)
#define SIEVE_LOG_MOST 21u

typedef struct building {
    fh_bpe *m;
    const fh_vocab *v;
    fh_err *err;
} building;

static bool is_one_char(fh_str p) {
    size_t len;
    if (p.len == 0) return false;
    fh_utf8_next(p, 0, &len);
    return len == p.len;
}

bool fh_bpe_allows(const fh_bpe *m, uint32_t id) {
    const fh_vocab *v = m->vocab;
    switch (fh_vocab_type(v, id)) {
    case FH_TOKEN_NORMAL:
    case FH_TOKEN_UNUSED: return true;
    case FH_TOKEN_USER_DEFINED: return fh_is_own(v, id, m->opt.own_end);
    case FH_TOKEN_CONTROL: return v->kind == FH_VOCAB_BPE && is_one_char(fh_vocab_piece(v, id));
    default: return false;
    }
}

/* ---- pairs ---- */

static fh_status set_table(fh_bpe *m, uint64_t n_slot, fh_err *err) {
    uint64_t *p = fh_alloc((size_t)n_slot, sizeof *p);
    if (!p) return fh_fail_memory(err, (size_t)n_slot * sizeof *p);
    memset(p, 0xFF, (size_t)n_slot * sizeof *p);
    uint64_t *old = m->pair, n_old = m->pair ? m->mask + 1 : 0;
    m->pair = p;
    m->mask = n_slot - 1;
    for (uint64_t i = 0; i < n_old; i++) {
        if (old[i] == FH_BPE_FREE) continue;
        uint64_t at = fh_bpe_hash(m, old[i] >> 22);
        while (p[at & m->mask] != FH_BPE_FREE) at++;
        p[at & m->mask] = old[i];
    }
    fh_free(old);
    return FH_OK;
}

/* A pair that is there already gets the new value. */
static fh_status put_pair(building *b, uint32_t left, uint32_t right, uint32_t value) {
    fh_bpe *m = b->m;
    uint64_t key = fh_bpe_key(left, right);
    if (m->n_pair >= PAIRS_MOST) return fh_fail(b->err, FH_ERR_LIMIT, "tokenizer: more than %u pairs", PAIRS_MOST);
    if ((uint64_t)m->n_pair * 2 > m->mask) FH_TRY(set_table(m, (m->mask + 1) * 2, b->err));
    uint64_t at = fh_bpe_hash(m, key);
    while (m->pair[at & m->mask] != FH_BPE_FREE && m->pair[at & m->mask] >> 22 != key) at++;
    uint64_t *slot = &m->pair[at & m->mask];
    m->n_pair += *slot == FH_BPE_FREE;
    *slot = key << 22 | value;
    return FH_OK;
}

static fh_status hide(building *b, uint32_t id) {
    fh_bpe *m = b->m;
    if (!m->hidden) m->hidden = fh_alloc_zero(b->v->n_id, sizeof *m->hidden);
    if (!m->hidden) return fh_fail_memory(b->err, b->v->n_id * sizeof *m->hidden);
    if (m->hidden[id] == 0) m->hidden[id] = ++m->n_hidden;
    return FH_OK;
}

static fh_status add_merges(building *b) {
    const fh_vocab *v = b->v;
    if (v->n_merge >= FH_BPE_VALUES)
        return fh_fail(b->err, FH_ERR_LIMIT, "tokenizer: more than %u merges", FH_BPE_VALUES - 1);
    for (uint32_t i = 0; i < v->n_merge; i++) {
        if (!fh_bpe_allows(b->m, v->merge[i].result)) FH_TRY(hide(b, v->merge[i].result));
        FH_TRY(put_pair(b, v->merge[i].left, v->merge[i].right, i));
    }
    return FH_OK;
}

/* ---- symbols ---- */

static fh_status put_symbol(building *b, uint32_t cp, uint32_t symbol) {
    fh_bpe *m = b->m;
    uint16_t *page = &m->page[cp / FH_BPE_PAGE];
    if (*page == 0) {
        void *p = fh_realloc(m->symbol, (size_t)(m->n_page + 1) * FH_BPE_PAGE, sizeof *m->symbol);
        if (!p) return fh_fail_memory(b->err, (size_t)(m->n_page + 1) * FH_BPE_PAGE * sizeof *m->symbol);
        m->symbol = p;
        memset(m->symbol + (size_t)m->n_page * FH_BPE_PAGE, 0xFF, FH_BPE_PAGE * sizeof *m->symbol);
        *page = (uint16_t)m->n_page++;
    }
    m->symbol[(size_t)*page * FH_BPE_PAGE + cp % FH_BPE_PAGE] = symbol;
    return FH_OK;
}

/* The symbol of a character that a piece has and that may be no token itself. */
static fh_status lone_symbol(building *b, uint32_t cp, uint32_t *out) {
    fh_bpe *m = b->m;
    *out = fh_bpe_symbol(m, cp);
    if (*out != FH_BPE_UNK) return FH_OK;
    if (m->n_lone == m->cap_lone) {
        uint32_t cap = m->cap_lone * 2 + 64;
        void *p = fh_realloc(m->lone, cap, sizeof *m->lone);
        if (!p) return fh_fail_memory(b->err, cap * sizeof *m->lone);
        m->lone = p;
        m->cap_lone = cap;
    }
    *out = FH_BPE_CHAR + m->n_lone;
    m->lone[m->n_lone++] = cp;
    return put_symbol(b, cp, *out);
}

/* Page 0 is the empty one, shared by all code points without a symbol. */
static fh_status add_char_symbols(building *b) {
    fh_bpe *m = b->m;
    m->page = fh_alloc_zero(0x110000 / FH_BPE_PAGE, sizeof *m->page);
    m->symbol = fh_alloc(FH_BPE_PAGE, sizeof *m->symbol);
    if (!m->page || !m->symbol) return fh_fail_memory(b->err, FH_BPE_PAGE * sizeof *m->symbol);
    memset(m->symbol, 0xFF, FH_BPE_PAGE * sizeof *m->symbol);
    m->n_page = 1;
    for (uint32_t id = 0; id < b->v->n_id; id++) {
        size_t len;
        uint32_t found;
        fh_str p = fh_vocab_piece(b->v, id);
        if (p.len == 0 || p.len > 4 || !fh_bpe_allows(b->m, id)) continue;
        uint32_t cp = fh_utf8_next(p, 0, &len);
        if (len != p.len || (cp == 0xFFFD && len == 1)) continue;
        if (fh_vocab_find(b->v, p, &found) && found == id) FH_TRY(put_symbol(b, cp, id));
    }
    return FH_OK;
}

static void add_byte_symbols(building *b) {
    for (unsigned i = 0; i < 256; i++) {
        char text[4];
        fh_str piece = {text, 1};
        uint32_t id;
        text[0] = (char)i;
        if (!b->v->raw_bytes) piece.len = fh_utf8_put(fh_byte_alphabet_char((uint8_t)i), text);
        bool found = fh_vocab_find(b->v, piece, &id) && fh_bpe_allows(b->m, id);
        b->m->byte_symbol[i] = found ? id : FH_BPE_UNK;
    }
}

/* ---- vocabularies without a list: each way to cut a token in two ---- */

static int by_score(const void *ctx, uint32_t x, uint32_t y) {
    const double *score = ctx;
    return (score[x] < score[y]) - (score[x] > score[y]);
}

/* Best score first; equal scores have equal ranks, so that the leftmost pair wins. */
static fh_status rank_scores(building *b) {
    uint32_t n = b->v->n_id, rank = 0;
    uint32_t *order = fh_alloc(n, sizeof *order), *scratch = fh_alloc(n, sizeof *scratch);
    if (order && scratch) {
        for (uint32_t i = 0; i < n; i++) order[i] = i;
        fh_order_sort(order, scratch, n, by_score, b->v->score);
        for (uint32_t i = 0; i < n; i++) {
            if (i > 0 && b->v->score[order[i - 1]] != b->v->score[order[i]]) rank = i;
            b->m->rank[order[i]] = rank;
        }
    }
    bool done = order && scratch;
    fh_free(order);
    fh_free(scratch);
    return done ? FH_OK : fh_fail_memory(b->err, n * sizeof *order);
}

static fh_status half_symbol(building *b, fh_str half, uint32_t *out) {
    size_t len;
    uint32_t id;
    if (fh_vocab_find(b->v, half, &id) && fh_bpe_allows(b->m, id)) {
        *out = id;
        return FH_OK;
    }
    *out = FH_BPE_UNK;
    if (b->m->opt.bytes) return FH_OK;
    uint32_t cp = fh_utf8_next(half, 0, &len);
    if (len != half.len || (cp == 0xFFFD && len == 1)) return FH_OK;
    return lone_symbol(b, cp, out);
}

static fh_status cut_token(building *b, uint32_t id) {
    fh_str p = fh_vocab_piece(b->v, id);
    for (size_t at = 1; at < p.len; at++) {
        uint32_t left, right;
        if (!b->m->opt.bytes && ((uint8_t)p.ptr[at] & 0xC0) == 0x80) continue;
        FH_TRY(half_symbol(b, fh_str_first(p, at), &left));
        if (left == FH_BPE_UNK) continue;
        FH_TRY(half_symbol(b, fh_str_drop(p, at), &right));
        if (right != FH_BPE_UNK) FH_TRY(put_pair(b, left, right, id));
    }
    return FH_OK;
}

static fh_status add_cuts(building *b) {
    for (uint32_t id = 0; id < b->v->n_id; id++) {
        uint32_t found;
        if (!fh_bpe_allows(b->m, id)) continue;
        if (fh_vocab_find(b->v, fh_vocab_piece(b->v, id), &found) && found == id) FH_TRY(cut_token(b, id));
    }
    return FH_OK;
}

/* Of all ways to cut a token in two, merging ever uses one: whatever stands around it, the symbols inside a token join
 * in the same order as they do in the token alone, so the last two are always the same. Shorter tokens come first, for
 * their pairs are what the longer ones are joined by. A token that does not come down to two symbols is never joined.
 * */
static fh_status add_last_pair(building *b, fh_bpe_scratch *s, uint32_t id) {
    uint32_t last[2];
    size_t n;
    FH_TRY(fh_bpe_join(b->m, s, fh_vocab_piece(b->v, id), last, &n, b->err));
    return n == 2 ? put_pair(b, last[0], last[1], id) : FH_OK;
}

static bool is_joined(const building *b, uint32_t id) {
    uint32_t found;
    return fh_bpe_allows(b->m, id) && fh_vocab_piece(b->v, id).len > 1 &&
           fh_vocab_find(b->v, fh_vocab_piece(b->v, id), &found) && found == id;
}

static fh_status add_in_order(building *b, uint32_t *order, uint32_t *start) {
    const fh_vocab *v = b->v;
    fh_bpe_scratch s = {0};
    fh_status st = FH_OK;
    for (uint32_t id = 0; id < v->n_id; id++) start[v->span[id].len + 1]++;
    for (uint32_t len = 1; len <= FH_VOCAB_MAX_PIECE + 1; len++) start[len] += start[len - 1];
    for (uint32_t id = 0; id < v->n_id; id++) order[start[v->span[id].len]++] = id;
    for (uint32_t i = 0; st == FH_OK && i < v->n_id; i++)
        if (is_joined(b, order[i])) st = add_last_pair(b, &s, order[i]);
    fh_bpe_scratch_release(&s);
    return st;
}

/* Characters of pieces that are no tokens become symbols of their own. */
static fh_status add_lone_symbols(building *b) {
    for (uint32_t id = 0; id < b->v->n_id; id++) {
        fh_str p = fh_vocab_piece(b->v, id);
        if (!fh_bpe_allows(b->m, id)) continue;
        for (size_t at = 0, len; at < p.len; at += len) {
            uint32_t symbol, cp = fh_utf8_next(p, at, &len);
            if (cp != 0xFFFD || len == 3) FH_TRY(lone_symbol(b, cp, &symbol));
        }
    }
    return FH_OK;
}

static fh_status add_last_pairs(building *b) {
    uint32_t n = b->v->n_id;
    uint32_t *order = fh_alloc(n, sizeof *order), *start = fh_alloc_zero((size_t)FH_VOCAB_MAX_PIECE + 3, sizeof *start);
    fh_status s = order && start ? FH_OK : fh_fail_memory(b->err, n * sizeof *order);
    if (s == FH_OK && !b->m->opt.bytes) s = add_lone_symbols(b);
    if (s == FH_OK) s = add_in_order(b, order, start);
    fh_free(order);
    fh_free(start);
    return s;
}

static fh_status hide_unused(building *b) {
    for (uint32_t id = 0; id < b->v->n_id; id++)
        if (fh_vocab_type(b->v, id) == FH_TOKEN_UNUSED) FH_TRY(hide(b, id));
    return FH_OK;
}

/* ---- seams ---- */

static fh_str text_of(const fh_bpe *m, uint32_t symbol, char room[4]) {
    if (symbol < FH_BPE_CHAR) return fh_vocab_piece(m->vocab, symbol);
    return (fh_str){room, fh_utf8_put(m->lone[symbol - FH_BPE_CHAR], room)};
}

/* Where no pair has such a seam, text can be cut without changing a token. */
static void note_seams(fh_bpe *m) {
    for (uint64_t i = 0; i <= m->mask; i++) {
        char left_room[4], right_room[4];
        if (m->pair[i] == FH_BPE_FREE) continue;
        fh_str left = text_of(m, fh_bpe_left(m->pair[i]), left_room);
        fh_str right = text_of(m, fh_bpe_right(m->pair[i]), right_room);
        if (left.len == 0 || right.len == 0) continue;
        uint8_t a = fh_bpe_last_class(left), b = fh_bpe_first_class(right);
        m->joined[a][b / 8] |= (uint8_t)(1u << b % 8);
    }
}

/* Eight bits a pair, and no more than a core's own cache has room for beside the rest. */
static fh_status build_sieve(building *b) {
    fh_bpe *m = b->m;
    uint32_t log = 12;
    while (log < SIEVE_LOG_MOST && (1u << log) < 8 * (uint64_t)m->n_pair) log++;
    m->sieve = fh_alloc_zero((size_t)1 << (log - 6), sizeof *m->sieve);
    if (!m->sieve) return fh_fail_memory(b->err, ((size_t)1 << (log - 6)) * sizeof *m->sieve);
    m->sieve_shift = 64 - log;
    for (uint64_t i = 0; i <= m->mask; i++) {
        if (m->pair[i] == FH_BPE_FREE) continue;
        uint64_t bit = fh_bpe_hash(m, m->pair[i] >> 22) >> m->sieve_shift;
        m->sieve[bit / 64] |= (uint64_t)1 << bit % 64;
    }
    return FH_OK;
}

/* The bytes of a token in text; false where its piece has characters that no byte has. */
static bool bytes_of(const fh_vocab *v, uint32_t id, uint8_t *room, fh_str *out) {
    size_t len;
    *out = fh_vocab_piece(v, id);
    if (v->raw_bytes) return true;
    if (!fh_byte_alphabet_decode(*out, room, &len)) return false;
    *out = (fh_str){(const char *)room, len};
    return true;
}

static void put_whole(fh_bpe *m, uint32_t id, uint8_t *room) {
    uint32_t found;
    fh_str text, piece = fh_vocab_piece(m->vocab, id);
    if (piece.len == 0 || !fh_is_own(m->vocab, id, m->opt.own_end)) return;
    if (!fh_vocab_find(m->vocab, piece, &found) || found != id || !bytes_of(m->vocab, id, room, &text)) return;
    if (text.len > FH_BPE_WHOLE_BYTES) return;
    fh_bpe_whole k = fh_bpe_whole_key(fh_piece_key_of(text));
    uint64_t at = fh_bpe_whole_place(m, k);
    while (m->whole[at & m->whole_mask].hi != 0) at++;
    k.hi |= (uint64_t)id << 44 | (fh_bpe_allows(m, id) ? FH_BPE_WHOLE_PLAIN : 0);
    m->whole[at & m->whole_mask] = k;
}

static fh_status build_whole(building *b) {
    fh_bpe *m = b->m;
    uint64_t n_slot = 64;
    while (n_slot < 2 * (uint64_t)b->v->n_token) n_slot *= 2;
    uint8_t *room = fh_alloc(FH_VOCAB_MAX_PIECE, 1);
    m->whole = fh_alloc_zero((size_t)n_slot, sizeof *m->whole);
    if (!m->whole || !room) {
        fh_free(room);
        return fh_fail_memory(b->err, (size_t)n_slot * sizeof *m->whole);
    }
    m->whole_mask = n_slot - 1;
    for (uint32_t id = 0; id < b->v->n_id; id++) put_whole(m, id, room);
    fh_free(room);
    return FH_OK;
}

/* Every piece starts with pairs of bytes: a table of their own. */
static fh_status note_first_pairs(building *b) {
    fh_bpe *m = b->m;
    m->first_pair = fh_alloc(65536, sizeof *m->first_pair);
    if (!m->first_pair) return fh_fail_memory(b->err, 65536 * sizeof *m->first_pair);
    for (uint32_t i = 0; i < 65536; i++)
        m->first_pair[i] = fh_bpe_find(m, m->byte_symbol[i >> 8], m->byte_symbol[i & 0xFF]);
    return FH_OK;
}

static fh_status add_pairs(building *b) {
    const fh_vocab *v = b->v;
    if (v->kind == FH_VOCAB_BPE) return add_merges(b);
    if (v->kind == FH_VOCAB_BPE_SCORES) {
        FH_TRY(hide_unused(b));
        b->m->rank = fh_alloc(v->n_id, sizeof *b->m->rank);
        if (!b->m->rank) return fh_fail_memory(b->err, v->n_id * sizeof *b->m->rank);
        FH_TRY(rank_scores(b));
    }
    return b->m->hidden ? add_cuts(b) : add_last_pairs(b);
}

static fh_status build(building *b) {
    fh_bpe *m = b->m;
    uint64_t n_slot = 64;
    while (n_slot < (uint64_t)b->v->n_merge * 2) n_slot *= 2;
    FH_TRY(set_table(m, n_slot, b->err));
    for (uint32_t id = 0; id < b->v->n_id; id++)
        m->max_piece = FH_MAX(m->max_piece, (uint32_t)fh_vocab_piece(b->v, id).len);
    if (m->opt.bytes) add_byte_symbols(b);
    else FH_TRY(add_char_symbols(b));
    FH_TRY(add_pairs(b));
    FH_TRY(build_sieve(b));
    if (m->opt.bytes && m->opt.ignore_merges) FH_TRY(build_whole(b));
    if (m->opt.bytes) return note_first_pairs(b);
    note_seams(m);
    return FH_OK;
}

fh_status fh_bpe_new(fh_bpe **out, const fh_vocab *v, const fh_bpe_options *opt, fh_err *err) {
    FH_REQUIRE(v->kind == FH_VOCAB_BPE || v->kind == FH_VOCAB_BPE_RANKS ||
               (v->kind == FH_VOCAB_BPE_SCORES && v->score));
    fh_bpe *m = fh_alloc_zero(1, sizeof *m);
    if (!m) return fh_fail_memory(err, sizeof *m);
    building b = {.m = m, .v = v, .err = err};
    m->vocab = v;
    m->opt = *opt;
    m->affixes = v->continuing_prefix.len > 0 || v->end_suffix.len > 0;
    m->unk = v->special[FH_SPECIAL_UNK];
    m->seed = v->key[0];
    fh_status s = build(&b);
    if (s != FH_OK) {
        fh_bpe_free(m);
        return s;
    }
    *out = m;
    return FH_OK;
}

void fh_bpe_free(fh_bpe *m) {
    if (!m) return;
    fh_free(m->page);
    fh_free(m->symbol);
    fh_free(m->lone);
    fh_free(m->pair);
    fh_free(m->sieve);
    fh_free(m->rank);
    fh_free(m->first_pair);
    fh_free(m->whole);
    fh_free(m->hidden);
    fh_free(m);
}
