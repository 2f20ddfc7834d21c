/* text/bpe.c - joining the symbols of one piece.
 * SPDX-License-Identifier: Apache-2.0
 * Short pieces scan an array for the best pair; long ones keep a heap over a linked list, so that a megabyte without
 * a cut costs n log n. Both choose the same pair at each step. A heap entry is (rank, position) in one number and is
 * stale when the pair at that position has another rank by now. */
#include "text/bpe.h"

#include "base/num.h"
#include "text/bpe_part.h"
#include "text/byte_alphabet.h"

#define SCAN_MOST 40u /* symbols up to which scanning wins */

static fh_status reserve(fh_bpe_scratch *s, size_t n, fh_err *err) {
    if (n <= s->cap) return FH_OK;
    if (n > UINT32_MAX / 4) return fh_fail(err, FH_ERR_LIMIT, "a piece of %zu symbols is too long", n);
    size_t cap = FH_MAX(n, s->cap * 2);
    uint32_t **all[] = {&s->id, &s->rank, &s->value, &s->prev, &s->next};
    for (size_t i = 0; i < FH_COUNT(all); i++) {
        void *p = fh_realloc(*all[i], cap, sizeof **all[i]);
        if (!p) return fh_fail_memory(err, cap * sizeof **all[i]);
        *all[i] = p;
    }
    s->cap = cap;
    return FH_OK;
}

void fh_bpe_scratch_release(fh_bpe_scratch *s) {
    fh_free(s->id);
    fh_free(s->rank);
    fh_free(s->value);
    fh_free(s->prev);
    fh_free(s->next);
    fh_free(s->heap);
    fh_free(s->parts);
    fh_buf_release(&s->text);
    fh_piece_cache_release(&s->cache);
    memset(s, 0, sizeof *s);
}

/* ---- symbols ---- */

/* Byte tokens for all bytes of text, or false where one is missing. */
static bool push_bytes(const fh_bpe *m, fh_bpe_scratch *s, fh_str text, size_t *n) {
    for (size_t i = 0; i < text.len; i++)
        if (m->vocab->byte_id[(uint8_t)text.ptr[i]] == FH_VOCAB_NO_ID) return false;
    for (size_t i = 0; i < text.len; i++) s->id[(*n)++] = m->vocab->byte_id[(uint8_t)text.ptr[i]];
    return true;
}

/* Without an unknown token the character is left out before merging, so that its neighbours may join: as in the
 * reference. */
static void push_unknown(const fh_bpe *m, fh_bpe_scratch *s, fh_str text, size_t *n) {
    if (m->opt.byte_fallback && push_bytes(m, s, text, n)) return;
    if (m->unk != FH_VOCAB_NO_ID || m->vocab->kind == FH_VOCAB_BPE_SCORES) s->id[(*n)++] = FH_BPE_UNK;
}

static fh_status symbols_of_chars(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, size_t *n, fh_err *err) {
    FH_TRY(reserve(s, piece.len, err));
    for (size_t at = 0, len; at < piece.len; at += len) {
        uint32_t id;
        if (m->opt.user_defined && (len = fh_piece_trie_longest(m->opt.user_defined, piece, at, &id)) > 0) {
            s->id[(*n)++] = id | FH_BPE_FROZEN;
            continue;
        }
        id = fh_bpe_symbol(m, fh_utf8_next(piece, at, &len));
        if (id != FH_BPE_UNK) s->id[(*n)++] = id;
        else push_unknown(m, s, (fh_str){piece.ptr + at, len}, n);
    }
    return FH_OK;
}

/* With a prefix on all characters but the first, and a suffix on the last. */
static fh_status symbols_with_affixes(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, size_t *n, fh_err *err) {
    size_t most, each;
    if (!fh_add_size(m->vocab->continuing_prefix.len, m->vocab->end_suffix.len + 4, &each) ||
        !fh_mul_size(piece.len, each, &most))
        return fh_fail(err, FH_ERR_LIMIT, "a piece of %zu bytes is too long", piece.len);
    FH_TRY(reserve(s, most, err));
    for (size_t at = 0, len; at < piece.len; at += len) {
        uint32_t id;
        fh_utf8_next(piece, at, &len);
        s->text.limit = each;
        fh_buf_clear(&s->text);
        if (at > 0) fh_buf_add_str(&s->text, m->vocab->continuing_prefix);
        fh_buf_add(&s->text, piece.ptr + at, len);
        if (at + len == piece.len) fh_buf_add_str(&s->text, m->vocab->end_suffix);
        FH_TRY(fh_buf_check(&s->text, err));
        if (fh_vocab_find(m->vocab, fh_buf_str(&s->text), &id) && fh_bpe_allows(m, id)) s->id[(*n)++] = id;
        else push_unknown(m, s, fh_buf_str(&s->text), n);
    }
    return FH_OK;
}

static fh_status symbols_of(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, size_t *n, fh_err *err) {
    *n = 0;
    if (!m->opt.bytes)
        return m->affixes ? symbols_with_affixes(m, s, piece, n, err) : symbols_of_chars(m, s, piece, n, err);
    FH_TRY(reserve(s, piece.len * 2, err));
    for (size_t i = 0; i < piece.len; i++) {
        uint8_t c = (uint8_t)piece.ptr[i];
        char text[4];
        if (m->byte_symbol[c] != FH_BPE_UNK) s->id[(*n)++] = m->byte_symbol[c];
        else push_unknown(m, s, (fh_str){text, fh_utf8_put(fh_byte_alphabet_char(c), text)}, n);
    }
    return FH_OK;
}

/* ---- merging ---- */

/* The pair at position at has this value. */
static inline void note(const fh_bpe *m, fh_bpe_scratch *s, uint32_t value, size_t at) {
    s->value[at] = value;
    s->rank[at] = value == FH_BPE_NONE ? FH_BPE_NO_RANK : fh_bpe_rank(m, value);
}

/* Where a token that may not come out would be joined from. */
static void note_parts(const fh_bpe *m, fh_bpe_scratch *s, uint32_t left, uint32_t right, uint32_t value) {
    uint32_t result = fh_bpe_result(m, value);
    if (m->hidden[result]) s->parts[m->hidden[result] - 1] = fh_bpe_key(left, right) << 22;
}

/* The pair (left, right), which starts at position at. */
static inline void look_up(const fh_bpe *m, fh_bpe_scratch *s, uint32_t left, uint32_t right, size_t at) {
    uint32_t value = fh_bpe_find(m, left, right);
    note(m, s, value, at);
    if (m->hidden && value != FH_BPE_NONE) note_parts(m, s, left, right, value);
}

/* Where symbols are still the bytes of the piece, pairs of bytes need no search. */
static void look_up_all(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, size_t n) {
    const uint8_t *p = (const uint8_t *)piece.ptr;
    if (m->first_pair && n == piece.len && !m->hidden)
        for (size_t i = 0; i + 1 < n; i++) note(m, s, m->first_pair[(size_t)p[i] << 8 | p[i + 1]], i);
    else
        for (size_t i = 0; i + 1 < n; i++) look_up(m, s, s->id[i], s->id[i + 1], i);
}

static size_t merge_by_scan(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, size_t n) {
    look_up_all(m, s, piece, n);
    while (n > 1) {
        size_t at = 0;
        uint32_t best = s->rank[0];
        for (size_t i = 1; i + 1 < n; i++) {
            bool less = s->rank[i] < best;
            at = less ? i : at;
            best = less ? s->rank[i] : best;
        }
        if (best == FH_BPE_NO_RANK) break;
        s->id[at] = fh_bpe_result(m, s->value[at]);
        n--;
        for (size_t i = at + 1; i < n; i++) {
            s->id[i] = s->id[i + 1];
            s->rank[i] = s->rank[i + 1];
            s->value[i] = s->value[i + 1];
        }
        if (at > 0) look_up(m, s, s->id[at - 1], s->id[at], at - 1);
        if (at + 1 < n) look_up(m, s, s->id[at], s->id[at + 1], at);
    }
    return n;
}

static void sift_down(uint64_t *h, size_t n, size_t i) {
    uint64_t v = h[i];
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= n) break;
        if (c + 1 < n && h[c + 1] < h[c]) c++;
        if (h[c] >= v) break;
        h[i] = h[c];
        i = c;
    }
    h[i] = v;
}

static void heap_push(fh_bpe_scratch *s, size_t at) {
    if (s->rank[at] == FH_BPE_NO_RANK) return;
    uint64_t v = (uint64_t)s->rank[at] << 32 | at;
    size_t i = s->n_heap++;
    for (; i > 0 && s->heap[(i - 1) / 2] > v; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = v;
}

static uint64_t heap_pop(fh_bpe_scratch *s) {
    uint64_t top = s->heap[0];
    s->heap[0] = s->heap[--s->n_heap];
    if (s->n_heap > 0) sift_down(s->heap, s->n_heap, 0);
    return top;
}

static fh_status start_heap(const fh_bpe *m, fh_bpe_scratch *s, size_t n, fh_err *err) {
    if (s->cap_heap < 3 * n) { /* one entry a pair to begin with, two a merge */
        void *p = fh_realloc(s->heap, 3 * s->cap, sizeof *s->heap);
        if (!p) return fh_fail_memory(err, 3 * s->cap * sizeof *s->heap);
        s->heap = p;
        s->cap_heap = 3 * s->cap;
    }
    s->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        s->prev[i] = (uint32_t)(i - 1); /* of the first: not there */
        s->next[i] = (uint32_t)(i + 1);
        s->rank[i] = FH_BPE_NO_RANK;
        if (i + 1 < n) look_up(m, s, s->id[i], s->id[i + 1], i);
        if (s->rank[i] != FH_BPE_NO_RANK) s->heap[s->n_heap++] = (uint64_t)s->rank[i] << 32 | i;
    }
    for (size_t i = s->n_heap / 2; i-- > 0;) sift_down(s->heap, s->n_heap, i);
    return FH_OK;
}

static fh_status merge_by_heap(const fh_bpe *m, fh_bpe_scratch *s, size_t *n, fh_err *err) {
    FH_TRY(start_heap(m, s, *n, err));
    while (s->n_heap > 0) {
        uint64_t top = heap_pop(s);
        uint32_t at = (uint32_t)top, right;
        if (s->rank[at] != top >> 32) continue;
        right = s->next[at];
        s->id[at] = fh_bpe_result(m, s->value[at]);
        s->next[at] = s->next[right];
        s->rank[right] = s->rank[at] = FH_BPE_NO_RANK;
        if (s->next[at] < *n) {
            s->prev[s->next[at]] = at;
            look_up(m, s, s->id[at], s->id[s->next[at]], at);
            heap_push(s, at);
        }
        if (at > 0) {
            uint32_t left = s->prev[at];
            look_up(m, s, s->id[left], s->id[at], left);
            heap_push(s, left);
        }
    }
    size_t k = 0;
    for (size_t i = 0; i < *n; i = s->next[i]) s->id[k++] = s->id[i];
    *n = k;
    return FH_OK;
}

/* ---- output ---- */

static void put_unknown(const fh_bpe *m, size_t start, fh_ids *out) {
    if (m->unk == FH_VOCAB_NO_ID) return;
    if (m->opt.fuse_unk && out->len > start && out->ptr[out->len - 1] == m->unk) return;
    fh_ids_add(out, m->unk);
}

static void put_lone(const fh_bpe *m, size_t start, uint32_t cp, fh_ids *out) {
    char text[4];
    size_t len = fh_utf8_put(cp, text);
    bool all = m->opt.byte_fallback;
    for (size_t i = 0; i < len; i++) all = all && m->vocab->byte_id[(uint8_t)text[i]] != FH_VOCAB_NO_ID;
    if (!all) put_unknown(m, start, out);
    for (size_t i = 0; all && i < len; i++) fh_ids_add(out, m->vocab->byte_id[(uint8_t)text[i]]);
}

/* A token that may not come out falls apart into what it was last joined from. Its halves are shorter, so the stack of
 * right halves is never deeper than the piece has symbols; s->next is free by now. */
static void put_symbol(const fh_bpe *m, fh_bpe_scratch *s, size_t start, uint32_t symbol, fh_ids *out) {
    size_t depth = 0;
    for (;;) {
        bool hidden = m->hidden && symbol < m->vocab->n_id && m->hidden[symbol];
        if (hidden && fh_vocab_type(m->vocab, symbol) != FH_TOKEN_UNUSED) {
            s->depends = true;
            hidden = !s->control;
        }
        if (hidden && s->parts[m->hidden[symbol] - 1] != UINT64_MAX && depth < s->cap) {
            uint64_t slot = s->parts[m->hidden[symbol] - 1];
            s->next[depth++] = fh_bpe_right(slot);
            symbol = fh_bpe_left(slot);
            continue;
        }
        if (symbol == FH_BPE_UNK) put_unknown(m, start, out);
        else if (symbol & FH_BPE_FROZEN) fh_ids_add(out, symbol & ~FH_BPE_FROZEN);
        else if (symbol >= FH_BPE_CHAR) put_lone(m, start, m->lone[symbol - FH_BPE_CHAR], out);
        else fh_ids_add(out, symbol);
        if (depth == 0) return;
        symbol = s->next[--depth];
    }
}

/* Once is enough: halves are noted before a pair is joined, and no single character is joined from any. */
static fh_status start_parts(const fh_bpe *m, fh_bpe_scratch *s, fh_err *err) {
    if (s->parts) return FH_OK;
    s->parts = fh_alloc(m->n_hidden, sizeof *s->parts);
    if (!s->parts) return fh_fail_memory(err, m->n_hidden * sizeof *s->parts);
    memset(s->parts, 0xFF, m->n_hidden * sizeof *s->parts);
    return FH_OK;
}

/* The vocabulary's own index, for pieces that the table of short ones does not hold. */
static bool look_long(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, uint32_t *id) {
    if (m->opt.bytes && !m->vocab->raw_bytes) {
        s->text.limit = 2 * (size_t)FH_VOCAB_MAX_PIECE;
        fh_buf_clear(&s->text);
        fh_byte_alphabet_add(&s->text, piece);
        if (s->text.status != FH_OK) return false;
        piece = fh_buf_str(&s->text);
    }
    return fh_vocab_find(m->vocab, piece, id);
}

/* The token that the whole piece is. */
static fh_status find_whole(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, uint32_t *id, bool *found, fh_err *err) {
    bool plain = false;
    *found = false;
    if (piece.len > m->max_piece) return FH_OK;
    if (m->whole && piece.len <= FH_BPE_WHOLE_BYTES) {
        fh_bpe_whole k = fh_bpe_whole_key(fh_piece_key_of(piece)), slot;
        for (uint64_t at = fh_bpe_whole_place(m, k);; at++) {
            slot = m->whole[at & m->whole_mask];
            if (slot.hi == 0) return FH_OK;
            if (slot.lo == k.lo && (slot.hi & FH_BPE_WHOLE_KEY) == k.hi) break;
        }
        *id = (uint32_t)(slot.hi >> 44);
        plain = slot.hi & FH_BPE_WHOLE_PLAIN;
    } else {
        s->text.status = FH_OK;
        if (!look_long(m, s, piece, id)) return fh_buf_check(&s->text, err);
        plain = fh_bpe_allows(m, *id);
    }
    *found = plain;
    if (plain) return FH_OK;
    s->depends = true;
    *found = s->control && fh_is_own(m->vocab, *id, m->opt.own_end);
    return FH_OK;
}

static fh_status merge(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, fh_ids *out, fh_err *err) {
    size_t n, start = out->len;
    if (m->hidden) FH_TRY(start_parts(m, s, err));
    FH_TRY(symbols_of(m, s, piece, &n, err));
    if (n <= SCAN_MOST) n = merge_by_scan(m, s, piece, n);
    else FH_TRY(merge_by_heap(m, s, &n, err));
    if (!fh_ids_room(out, n)) return FH_OK;
    for (size_t i = 0; i < n; i++) put_symbol(m, s, start, s->id[i], out);
    return FH_OK;
}

fh_status fh_bpe_join(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, uint32_t last[2], size_t *n, fh_err *err) {
    FH_TRY(symbols_of(m, s, piece, n, err));
    if (*n <= SCAN_MOST) *n = merge_by_scan(m, s, piece, *n);
    else FH_TRY(merge_by_heap(m, s, n, err));
    if (*n == 2) memcpy(last, s->id, 2 * sizeof *last);
    return FH_OK;
}

/* Also where the cache has it, but out had no room. */
static fh_status encode_missed(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, fh_bpe_known k, bool whole,
                               fh_ids *out, fh_err *err) {
    size_t start = out->len;
    const fh_piece_slot *slot = k.place ? fh_piece_cache_find(k.place, k.key) : NULL;
    if (slot) {
        fh_ids_add_all(out, slot->id, fh_piece_slot_ids(slot));
        return FH_OK;
    }
    uint32_t id;
    bool found = false;
    s->depends = false;
    if (whole && m->opt.ignore_merges) FH_TRY(find_whole(m, s, piece, &id, &found, err));
    if (found) fh_ids_add(out, id);
    else FH_TRY(merge(m, s, piece, out, err));
    if (k.place && !s->depends && out->status == FH_OK)
        fh_piece_cache_put(k.place, k.key, out->ptr ? out->ptr + start : NULL, out->len - start);
    return FH_OK;
}

static inline fh_status encode_known(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, fh_bpe_known k, bool whole,
                                     fh_ids *out, fh_err *err) {
    const fh_piece_slot *slot = k.place ? fh_piece_cache_find(k.place, k.key) : NULL;
    if (!slot || out->cap - out->len < FH_PIECE_CACHE_IDS) return encode_missed(m, s, piece, k, whole, out, err);
    memcpy(out->ptr + out->len, slot->id, sizeof slot->id); /* what is too much is overwritten by the next */
    out->len += fh_piece_slot_ids(slot);
    return FH_OK;
}

/* A piece, or a stretch of one between two seams that nothing joins. */
static fh_status encode_stretch(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, bool whole, fh_ids *out,
                                fh_err *err) {
    fh_bpe_known k = {{0, 0}, NULL};
    if (fh_piece_cache_fits(piece)) {
        k.key = fh_piece_key_of(piece);
        k.place = fh_piece_cache_place(&s->cache, k.key);
    }
    return encode_known(m, s, piece, k, whole, out, err);
}

/* Where to look for a piece next: in the cache, or where that does not have it among whole tokens. */
static inline const void *next_look(const fh_bpe *m, const fh_bpe_known *k) {
    const fh_bpe_whole *whole = &m->whole[fh_bpe_whole_place(m, fh_bpe_whole_key(k->key)) & m->whole_mask];
    return fh_piece_cache_find(k->place, k->key) ? (const void *)k->place : whole;
}

/* Three passes, each asking for the memory of the next. The prefetches stand here and not in functions of their own:
 * gcc takes those for functions without any effect and leaves the calls out. */
fh_status fh_bpe_encode_row(const fh_bpe *m, fh_bpe_scratch *s, const fh_str *piece, size_t n, const char *end,
                            fh_ids *out, fh_err *err) {
    FH_REQUIRE(n <= FH_BPE_ROW);
    for (size_t i = 0; i < n; i++) {
        s->row[i].place = NULL;
        if (!fh_piece_cache_fits(piece[i])) continue;
        bool room = end - piece[i].ptr >= 16;
        fh_piece_key128 key = room ? fh_piece_key_in_text(piece[i]) : fh_piece_key_of(piece[i]);
        s->row[i].key = key;
        s->row[i].place = fh_piece_cache_place(&s->cache, key);
        __builtin_prefetch(s->row[i].place);
    }
    for (size_t i = 0; i < n && m->whole; i++)
        if (s->row[i].place) __builtin_prefetch(next_look(m, &s->row[i]));
    for (size_t i = 0; i < n; i++) FH_TRY(encode_known(m, s, piece[i], s->row[i], true, out, err));
    return FH_OK;
}

bool fh_bpe_can_look(const fh_bpe *m) { return m->opt.bytes; }

fh_status fh_bpe_start(const fh_bpe *m, fh_bpe_scratch *s, bool control, fh_err *err) {
    s->control = control && m->vocab->kind == FH_VOCAB_BPE;
    return s->cache.slot ? FH_OK : fh_piece_cache_init(&s->cache, err);
}

static bool is_seam(const fh_bpe *m, uint8_t left, uint8_t right) {
    return !(m->joined[left][right / 8] >> right % 8 & 1);
}

/* Characters without a symbol are never cut off: a run of them may be one unknown token. */
static fh_status encode_stretches(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, fh_ids *out, fh_err *err) {
    size_t from = 0;
    uint8_t left = 0;
    bool known = false; /* the character on the left */
    for (size_t at = 0, len; at < piece.len; at += len) {
        uint32_t id, cp = 0;
        bool defined = m->opt.user_defined && (len = fh_piece_trie_longest(m->opt.user_defined, piece, at, &id)) > 0;
        if (!defined) cp = fh_utf8_next(piece, at, &len);
        fh_str c = {piece.ptr + at, len};
        bool now = defined || fh_bpe_symbol(m, cp) != FH_BPE_UNK;
        if (known && now && is_seam(m, left, fh_bpe_first_class(c))) {
            FH_TRY(encode_stretch(m, s, (fh_str){piece.ptr + from, at - from}, false, out, err));
            from = at;
        }
        known = now;
        left = fh_bpe_last_class(c);
    }
    return encode_stretch(m, s, fh_str_drop(piece, from), false, out, err);
}

fh_status fh_bpe_encode(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, bool control, fh_ids *out, fh_err *err) {
    if (piece.len == 0) return FH_OK;
    FH_TRY(fh_bpe_start(m, s, control, err));
    if (m->hidden && m->vocab->kind == FH_VOCAB_BPE_SCORES)
        return merge(m, s, piece, out, err); /* halves of one place count in another */
    if (m->opt.bytes || m->affixes || m->opt.ignore_merges) return encode_stretch(m, s, piece, true, out, err);
    return encode_stretches(m, s, piece, out, err);
}
