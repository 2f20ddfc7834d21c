/* format/vocab.c - the vocabulary that all tokenizer readers fill: pieces by id, ids by piece,
 * merges, specials.
 * SPDX-License-Identifier: Apache-2.0
 * Owns one block of text, arrays by id, and a hash table from piece to id.
 * Refuses: ids taken twice or beyond the bound, pieces over FH_VOCAB_MAX_PIECE, merges whose parts
 * or result are no tokens, scores that are not finite.
 * The table is SipHash-1-3 under a key drawn from the SHA-256 of all pieces: whoever writes the
 * file cannot aim at collisions, and the same file still gives the same table everywhere. */
#include "format/vocab.h"

#include <math.h>

#include "base/cursor.h"
#include "base/hash.h"
#include "base/num.h"

#define SLOT_ID 0x00FFFFFFu /* id + 1 */
#define MERGES_PER_TOKEN 4u /* published vocabularies need up to 2.2 */
#define ARENA_BYTES ((size_t)4 << 20)

_Static_assert(FH_VOCAB_MAX_ID < SLOT_ID, "id + 1 fits a slot");

/* ---- looking up ---- */

static uint64_t rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }

typedef struct sip {
    uint64_t a, b, c, d;
} sip;

static void sip_round(sip *s) {
    s->a += s->b;
    s->c += s->d;
    s->b = rotl(s->b, 13) ^ s->a;
    s->d = rotl(s->d, 16) ^ s->c;
    s->a = rotl(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotl(s->b, 17) ^ s->c;
    s->d = rotl(s->d, 21) ^ s->a;
    s->c = rotl(s->c, 32);
}

static uint64_t hash_of(const uint64_t key[2], fh_str piece) {
    const uint8_t *p = (const uint8_t *)piece.ptr;
    sip s = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
             key[1] ^ 0x7465646279746573u};
    size_t left = piece.len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m = fh_load_u64(p);
        s.d ^= m;
        sip_round(&s);
        s.a ^= m;
    }
    uint64_t last = (uint64_t)piece.len << 56;
    for (size_t i = 0; i < left; i++) last |= (uint64_t)p[i] << (8 * i);
    s.d ^= last;
    sip_round(&s);
    s.a ^= last;
    s.c ^= 0xFF;
    for (int i = 0; i < 3; i++) sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}

static fh_str piece_at(const fh_vocab *v, uint32_t id) {
    return (fh_str){(const char *)v->text.ptr + v->span[id].at, v->span[id].len};
}

/* The slot that holds this piece, or the free one where it belongs. n_slot > tokens, so one is free. */
static uint32_t slot_of(const fh_vocab *v, fh_str piece, uint32_t *tag) {
    uint64_t h = hash_of(v->key, piece);
    uint32_t mask = v->n_slot - 1, at = (uint32_t)h & mask;
    *tag = (uint32_t)(h >> 56) << 24;
    for (;; at = (at + 1) & mask) {
        uint32_t s = v->slot[at];
        if (s == 0) return at;
        if ((s & ~SLOT_ID) == *tag && fh_str_eq(piece_at(v, (s & SLOT_ID) - 1), piece)) return at;
    }
}

bool fh_vocab_find(const fh_vocab *v, fh_str piece, uint32_t *id) {
    uint32_t tag;
    if (!v->slot) return false;
    uint32_t s = v->slot[slot_of(v, piece, &tag)];
    if (s == 0) return false;
    *id = (s & SLOT_ID) - 1;
    return true;
}

static bool is_plain(const fh_vocab *v, uint32_t id) {
    return v->type[id] != FH_TOKEN_CONTROL && v->type[id] != FH_TOKEN_UNUSED;
}

static fh_status insert(fh_vocab *v, uint32_t id, bool unique, fh_err *err) {
    uint32_t tag, at = slot_of(v, piece_at(v, id), &tag), s = v->slot[at];
    if (s != 0) {
        uint32_t old = (s & SLOT_ID) - 1;
        if (unique) {
            fh_str p = piece_at(v, id);
            return fh_fail(err, FH_ERR_FORMAT, "vocabulary: '%.*s' has two ids, %u and %u", FH_STR_ARG(p), old, id);
        }
        if (is_plain(v, old) != is_plain(v, id) ? is_plain(v, old) : old > id) return FH_OK;
    }
    v->slot[at] = tag | (id + 1);
    return FH_OK;
}

/* A table with room for n tokens, filled with all that are there. */
static fh_status build_table(fh_vocab *v, uint32_t n, bool unique, fh_err *err) {
    char hex[FH_SHA256_HEX];
    fh_str text = fh_buf_str(&v->text);
    uint32_t n_slot = 64;
    while (n_slot / 3 * 2 <= n) n_slot *= 2;
    FH_TRY(fh_sha256_of(fh_bytes_of(text.ptr ? text : FH_STR("")), hex, err));
    for (int i = 0; i < 32; i++) {
        unsigned c = (unsigned char)hex[i], d = c <= '9' ? c - '0' : c - 'a' + 10;
        v->key[i / 16] = v->key[i / 16] << 4 | d;
    }
    fh_free(v->slot);
    v->n_slot = 0;
    v->slot = fh_alloc_zero(n_slot, sizeof *v->slot);
    if (!v->slot) return fh_fail_memory(err, n_slot * sizeof *v->slot);
    v->n_slot = n_slot;
    for (uint32_t id = 0; id < v->n_id; id++)
        if (v->type[id] != FH_TOKEN_NONE) FH_TRY(insert(v, id, unique, err));
    return FH_OK;
}

fh_status fh_vocab_index(fh_vocab *v, bool unique, fh_err *err) { return build_table(v, v->n_token, unique, err); }

fh_str fh_vocab_piece(const fh_vocab *v, uint32_t id) {
    if (id >= v->n_id || v->type[id] == FH_TOKEN_NONE) return FH_STR("");
    return piece_at(v, id);
}

fh_token_type fh_vocab_type(const fh_vocab *v, uint32_t id) {
    return id < v->n_id ? (fh_token_type)v->type[id] : FH_TOKEN_NONE;
}

const char *fh_vocab_kind_name(fh_vocab_kind k) {
    static const char *const names[] = {"bpe", "bpe-ranks", "bpe-scores", "unigram", "wordpiece", "wordlevel"};
    return (size_t)k < FH_COUNT(names) ? names[k] : "?";
}

const char *fh_vocab_special_name(fh_vocab_special s) {
    static const char *const names[FH_SPECIAL_COUNT] = {"unk",        "bos",        "eos",     "pad",      "cls",
                                                        "sep",        "mask",       "eot",     "eom",      "fim_prefix",
                                                        "fim_suffix", "fim_middle", "fim_pad", "fim_repo", "fim_file"};
    return (size_t)s < FH_COUNT(names) ? names[s] : "?";
}

bool fh_vocab_parse_byte(fh_str piece, uint8_t *byte) {
    if (piece.len != 6 || !fh_str_starts(piece, "<0x") || piece.ptr[5] != '>') return false;
    int hi = fh_hex_value(piece.ptr[3]), lo = fh_hex_value(piece.ptr[4]);
    if (hi < 0 || lo < 0) return false;
    *byte = (uint8_t)(hi << 4 | lo);
    return true;
}

bool fh_charsmap_split(fh_bytes blob, fh_bytes *trie, fh_bytes *texts) {
    if (blob.len < 8) return false;
    uint32_t n = fh_load_u32(blob.ptr);
    if (n == 0 || n % 4 != 0 || n > blob.len - 4) return false;
    fh_bytes rest = fh_bytes_part(blob, 4 + (size_t)n, blob.len - 4 - n);
    if (rest.len > 0 && rest.ptr[rest.len - 1] != 0) return false;
    *trie = fh_bytes_part(blob, 4, n);
    *texts = rest;
    return true;
}

/* ---- filling ---- */

fh_status fh_vocab_new(fh_vocab **out, fh_vocab_kind kind, size_t text_bytes, fh_err *err) {
    fh_vocab *v = fh_alloc_zero(1, sizeof *v);
    if (!v) return fh_fail_memory(err, sizeof *v);
    v->kind = kind;
    fh_buf_init(&v->text, FH_MIN(text_bytes, (size_t)UINT32_MAX));
    fh_arena_init(&v->arena, ARENA_BYTES);
    for (size_t i = 0; i < FH_SPECIAL_COUNT; i++) v->special[i] = FH_VOCAB_NO_ID;
    for (size_t i = 0; i < 256; i++) v->byte_id[i] = FH_VOCAB_NO_ID;
    *out = v;
    return FH_OK;
}

void fh_vocab_free(fh_vocab *v) {
    if (!v) return;
    fh_free(v->span);
    fh_free(v->type);
    fh_free(v->score);
    fh_free(v->merge);
    fh_free(v->added);
    fh_free(v->slot);
    fh_buf_release(&v->text);
    fh_arena_release(&v->arena);
    fh_free(v);
}

/* *p grows to n elements; *p stays valid on failure. */
static fh_status grow(void **p, size_t n, size_t size, fh_err *err) {
    void *q = fh_realloc(*p, n, size);
    if (!q) return fh_fail_memory(err, n * size);
    *p = q;
    return FH_OK;
}

/* Capacity for at least need elements, at most limit (need <= limit). */
static uint32_t grown(uint32_t cap, uint32_t need, uint32_t limit) {
    uint32_t more = FH_MAX(cap + cap / 2, 64u);
    return FH_MIN(FH_MAX(more, need), limit);
}

static fh_status set_capacity(fh_vocab *v, uint32_t cap, bool scores, fh_err *err) {
    void *span = v->span, *type = v->type, *score = v->score;
    fh_status s = grow(&span, cap, sizeof *v->span, err);
    v->span = span;
    if (s == FH_OK) s = grow(&type, cap, sizeof *v->type, err);
    v->type = type;
    if (s == FH_OK && (scores || v->score)) s = grow(&score, cap, sizeof *v->score, err);
    bool first = !v->score && score;
    v->score = score;
    if (s != FH_OK) return s;
    size_t from = v->cap_id, n = cap - from;
    memset(v->span + from, 0, n * sizeof *v->span);
    memset(v->type + from, 0, n * sizeof *v->type);
    if (v->score) {
        size_t at = first ? 0 : from;
        memset(v->score + at, 0, (cap - at) * sizeof *v->score);
    }
    v->cap_id = cap;
    return FH_OK;
}

fh_status fh_vocab_reserve(fh_vocab *v, uint32_t n_id, bool scores, fh_err *err) {
    if (n_id > FH_VOCAB_MAX_ID)
        return fh_fail(err, FH_ERR_LIMIT, "vocabulary: %u tokens, at most %u are possible", n_id, FH_VOCAB_MAX_ID);
    if (n_id <= v->cap_id && (!scores || v->score)) return FH_OK;
    return set_capacity(v, FH_MAX(n_id, FH_MAX(v->cap_id, 1u)), scores, err);
}

fh_status fh_vocab_put_text(fh_vocab *v, fh_str piece, uint64_t offset, fh_vocab_span *out, fh_err *err) {
    if (piece.len > FH_VOCAB_MAX_PIECE)
        return fh_fail_at(err, FH_ERR_LIMIT, offset, "vocabulary: a token of %zu bytes, at most %u", piece.len,
                          FH_VOCAB_MAX_PIECE);
    size_t at = v->text.len;
    fh_buf_add_str(&v->text, piece);
    FH_TRY(fh_buf_check(&v->text, err));
    *out = (fh_vocab_span){(uint32_t)at, (uint32_t)piece.len};
    return FH_OK;
}

fh_status fh_vocab_put_span(fh_vocab *v, uint64_t id, fh_vocab_span span, fh_token_type type, uint64_t offset,
                            fh_err *err) {
    fh_str piece = {(const char *)v->text.ptr + span.at, span.len};
    if (id >= FH_VOCAB_MAX_ID)
        return fh_fail_at(err, FH_ERR_LIMIT, offset, "vocabulary: id %llu of '%.*s' is out of range, at most %u",
                          (unsigned long long)id, FH_STR_ARG(piece), FH_VOCAB_MAX_ID - 1);
    uint32_t i = (uint32_t)id;
    if (i >= v->cap_id) FH_TRY(set_capacity(v, grown(v->cap_id, i + 1, FH_VOCAB_MAX_ID), false, err));
    if (v->type[i] != FH_TOKEN_NONE) {
        fh_str old = piece_at(v, i);
        return fh_fail_at(err, FH_ERR_FORMAT, offset, "vocabulary: id %u stands for both '%.*s' and '%.*s'", i,
                          FH_STR_ARG(old), FH_STR_ARG(piece));
    }
    v->span[i] = span;
    v->type[i] = (uint8_t)type;
    v->n_id = FH_MAX(v->n_id, i + 1);
    v->n_token++;
    return FH_OK;
}

fh_status fh_vocab_put(fh_vocab *v, uint64_t id, fh_str piece, fh_token_type type, uint64_t offset, fh_err *err) {
    fh_vocab_span span;
    FH_TRY(fh_vocab_put_text(v, piece, offset, &span, err));
    return fh_vocab_put_span(v, id, span, type, offset, err);
}

fh_status fh_vocab_put_score(fh_vocab *v, uint32_t id, double score, uint64_t offset, fh_err *err) {
    if (!isfinite(score)) {
        fh_str p = fh_vocab_piece(v, id);
        return fh_fail_at(err, FH_ERR_FORMAT, offset, "vocabulary: the score of '%.*s' is not finite", FH_STR_ARG(p));
    }
    if (!v->score) FH_TRY(set_capacity(v, v->cap_id, true, err));
    v->score[id] = score;
    return FH_OK;
}

static fh_status find_part(const fh_vocab *v, fh_str part, const char *what, uint32_t *id, uint64_t offset,
                           fh_err *err) {
    if (fh_vocab_find(v, part, id)) return FH_OK;
    return fh_fail_at(err, FH_ERR_FORMAT, offset, "vocabulary: merge %u: the %s '%.*s' is no token", v->n_merge, what,
                      FH_STR_ARG(part));
}

fh_status fh_vocab_put_merge(fh_vocab *v, fh_str left, fh_str right, uint64_t offset, fh_err *err) {
    char joined[512], *room = joined;
    fh_vocab_merge m;
    uint64_t limit = (uint64_t)v->n_token * MERGES_PER_TOKEN + 65536;
    FH_TRY(find_part(v, left, "left part", &m.left, offset, err));
    FH_TRY(find_part(v, right, "right part", &m.right, offset, err));
    right = fh_str_drop(right, v->continuing_prefix.len);
    fh_str whole = {room, left.len + right.len};
    if (whole.len > sizeof joined) {
        room = fh_alloc(whole.len, 1);
        if (!room) return fh_fail_memory(err, whole.len);
        whole.ptr = room;
    }
    if (left.len) memcpy(room, left.ptr, left.len);
    if (right.len) memcpy(room + left.len, right.ptr, right.len);
    fh_status s = find_part(v, whole, "result", &m.result, offset, err);
    if (room != joined) fh_free(room);
    if (s != FH_OK) return s;
    if (v->n_merge >= limit)
        return fh_fail_at(err, FH_ERR_LIMIT, offset, "vocabulary: more than %llu merges for %u tokens",
                          (unsigned long long)limit, v->n_token);
    if (v->n_merge == v->cap_merge) {
        void *p = v->merge;
        uint32_t cap = grown(v->cap_merge, v->n_merge + 1, (uint32_t)limit);
        FH_TRY(grow(&p, cap, sizeof *v->merge, err));
        v->merge = p;
        v->cap_merge = cap;
    }
    v->merge[v->n_merge++] = m;
    return FH_OK;
}

static fh_status list_added(fh_vocab *v, uint32_t id, uint32_t flags, uint64_t offset, fh_err *err) {
    if (v->n_added == FH_VOCAB_MAX_ADDED)
        return fh_fail_at(err, FH_ERR_LIMIT, offset, "vocabulary: more than %u added tokens", FH_VOCAB_MAX_ADDED);
    if (v->n_added == v->cap_added) {
        void *p = v->added;
        uint32_t cap = grown(v->cap_added, v->n_added + 1, FH_VOCAB_MAX_ADDED);
        FH_TRY(grow(&p, cap, sizeof *v->added, err));
        v->added = p;
        v->cap_added = cap;
    }
    v->added[v->n_added++] = (fh_vocab_added){id, flags};
    return FH_OK;
}

/* A token that only the list of added tokens has: it is stored, and found from now on. */
static fh_status add_piece(fh_vocab *v, uint64_t id, fh_str text, fh_token_type type, uint64_t offset, fh_err *err) {
    FH_TRY(fh_vocab_put(v, id, text, type, offset, err));
    if (v->n_slot / 3 * 2 <= v->n_token) return build_table(v, v->n_token, false, err);
    return insert(v, (uint32_t)id, false, err);
}

fh_status fh_vocab_put_added(fh_vocab *v, uint64_t id, fh_str text, uint32_t flags, uint64_t offset, fh_err *err) {
    fh_token_type type = flags & FH_ADDED_SPECIAL ? FH_TOKEN_CONTROL : FH_TOKEN_USER_DEFINED;
    uint32_t known, use = (uint32_t)id;
    if (text.len == 0) {
        v->n_added_ignored++;
        return FH_OK;
    }
    if (!v->raw_bytes && fh_vocab_find(v, text, &known)) {
        bool again = v->type[known] == FH_TOKEN_CONTROL || v->type[known] == FH_TOKEN_USER_DEFINED;
        if (again || known != id) v->n_added_ignored++;
        if (again) return FH_OK;
        v->type[known] = (uint8_t)type;
        use = known;
    } else {
        FH_TRY(add_piece(v, id, text, type, offset, err));
    }
    return list_added(v, use, flags, offset, err);
}

fh_status fh_vocab_put_added_by_type(fh_vocab *v, fh_err *err) {
    for (uint32_t id = 0; id < v->n_id; id++) {
        fh_token_type t = (fh_token_type)v->type[id];
        bool special = t == FH_TOKEN_CONTROL || t == FH_TOKEN_UNKNOWN;
        if ((!special && t != FH_TOKEN_USER_DEFINED) || v->span[id].len == 0) continue;
        FH_TRY(list_added(v, id, special ? FH_ADDED_SPECIAL : 0, FH_NO_OFFSET, err));
    }
    return FH_OK;
}

fh_status fh_vocab_copy(fh_vocab *v, fh_str s, fh_str *out, fh_err *err) {
    return fh_arena_copy(&v->arena, s, out) ? FH_OK : fh_arena_fail(&v->arena, err);
}

fh_status fh_vocab_put_charsmap(fh_vocab *v, fh_bytes blob, uint64_t offset, fh_err *err) {
    fh_bytes trie, texts;
    if (blob.len == 0) return FH_OK;
    if (!fh_charsmap_split(blob, &trie, &texts))
        return fh_fail_at(err, FH_ERR_FORMAT, offset, "precompiled_charsmap: %zu bytes that are no trie and its texts",
                          blob.len);
    fh_str copy;
    FH_TRY(fh_vocab_copy(v, fh_str_of_bytes(blob), &copy, err));
    v->charsmap = fh_bytes_of(copy);
    return FH_OK;
}

fh_status fh_vocab_put_special(fh_vocab *v, fh_vocab_special which, uint64_t id, const char *what, uint64_t offset,
                               fh_err *err) {
    if (id >= v->n_id || v->type[id] == FH_TOKEN_NONE)
        return fh_fail_at(err, FH_ERR_FORMAT, offset, "'%s' is %llu, but no token has this id", what,
                          (unsigned long long)id);
    v->special[which] = (uint32_t)id;
    return FH_OK;
}

/* ---- the end ---- */

static fh_status fill_bytes(fh_vocab *v, fh_err *err) {
    for (uint32_t id = 0; id < v->n_id; id++) {
        uint8_t b;
        fh_str p = fh_vocab_piece(v, id);
        if (v->type[id] != FH_TOKEN_BYTE) continue;
        if (!fh_vocab_parse_byte(p, &b))
            return fh_fail(err, FH_ERR_FORMAT,
                           "vocabulary: token %u is of the type byte, but '%.*s' is not '<0x00>' to "
                           "'<0xFF>'",
                           id, FH_STR_ARG(p));
        if (v->byte_id[b] != FH_VOCAB_NO_ID)
            return fh_fail(err, FH_ERR_FORMAT, "vocabulary: byte 0x%02X has two tokens, %u and %u", (unsigned)b,
                           v->byte_id[b], id);
        v->byte_id[b] = id;
    }
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        fh_str piece = {name, 1};
        name[0] = (char)b;
        if (v->byte_id[b] != FH_VOCAB_NO_ID || !(v->raw_bytes || v->byte_fallback)) continue;
        if (!v->raw_bytes) piece.len = (size_t)snprintf(name, sizeof name, "<0x%02X>", b);
        uint32_t id;
        if (fh_vocab_find(v, piece, &id)) v->byte_id[b] = id;
    }
    return FH_OK;
}

fh_status fh_vocab_finish(fh_vocab *v, fh_err *err) {
    FH_TRY(fh_buf_check(&v->text, err));
    return fill_bytes(v, err);
}
