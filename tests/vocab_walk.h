/* tests/vocab_walk.h - everything that format/vocab.h promises about a vocabulary, checked on one.
 * SPDX-License-Identifier: Apache-2.0
 * Every byte handed out is read. A broken promise aborts: fuzz targets and unit tests share
 * this. */
#ifndef FH_TESTS_VOCAB_WALK_H
#define FH_TESTS_VOCAB_WALK_H

#include "base/mem.h"
#include "format/vocab.h"

static inline uint64_t walk_text(fh_str s) {
    uint64_t sum = s.len;
    for (size_t i = 0; i < s.len; i++) sum = sum * 31 + (uint8_t)s.ptr[i];
    return sum;
}

static inline bool walk_is_token(const fh_vocab *v, uint32_t id) { return fh_vocab_type(v, id) != FH_TOKEN_NONE; }

/* Plain tokens before control and unused ones, then the highest id. */
static inline bool walk_preferred(const fh_vocab *v, uint32_t found, uint32_t id) {
    bool a = v->type[found] != FH_TOKEN_CONTROL && v->type[found] != FH_TOKEN_UNUSED;
    bool b = v->type[id] != FH_TOKEN_CONTROL && v->type[id] != FH_TOKEN_UNUSED;
    return a == b ? found >= id : a;
}

static inline uint64_t walk_vocab(const fh_vocab *v) {
    uint64_t sum = 0;
    uint32_t n_token = 0, found;
    FH_REQUIRE(v->n_id <= FH_VOCAB_MAX_ID);
    for (uint32_t id = 0; id < v->n_id; id++) {
        fh_str piece = fh_vocab_piece(v, id);
        FH_REQUIRE(v->type[id] < FH_TOKEN_TYPE_COUNT && piece.len <= FH_VOCAB_MAX_PIECE);
        sum += walk_text(piece);
        if (!walk_is_token(v, id)) {
            FH_REQUIRE(piece.len == 0);
            continue;
        }
        n_token++;
        FH_REQUIRE(fh_vocab_find(v, piece, &found) && found < v->n_id);
        FH_REQUIRE(fh_str_eq(fh_vocab_piece(v, found), piece) && walk_preferred(v, found, id));
        if (v->score) FH_REQUIRE(v->score[id] - v->score[id] == 0);
    }
    FH_REQUIRE(n_token == v->n_token && !walk_is_token(v, v->n_id));
    for (uint32_t i = 0; i < v->n_merge; i++) {
        const fh_vocab_merge *m = &v->merge[i];
        FH_REQUIRE(walk_is_token(v, m->left) && walk_is_token(v, m->right) && walk_is_token(v, m->result));
        fh_str l = fh_vocab_piece(v, m->left), whole = fh_vocab_piece(v, m->result);
        fh_str r = fh_str_drop(fh_vocab_piece(v, m->right), v->continuing_prefix.len);
        FH_REQUIRE(whole.len == l.len + r.len && fh_str_eq(fh_str_first(whole, l.len), l));
        FH_REQUIRE(fh_str_eq(fh_str_drop(whole, l.len), r));
    }
    for (uint32_t i = 0; i < v->n_added; i++) {
        FH_REQUIRE(walk_is_token(v, v->added[i].id) && fh_vocab_piece(v, v->added[i].id).len > 0);
        FH_REQUIRE(v->added[i].flags < 32);
    }
    for (int i = 0; i < FH_SPECIAL_COUNT; i++)
        FH_REQUIRE(v->special[i] == FH_VOCAB_NO_ID || walk_is_token(v, v->special[i]));
    for (int i = 0; i < 256; i++) FH_REQUIRE(v->byte_id[i] == FH_VOCAB_NO_ID || walk_is_token(v, v->byte_id[i]));
    fh_bytes trie, texts;
    if (v->charsmap.len > 0) FH_REQUIRE(fh_charsmap_split(v->charsmap, &trie, &texts) && trie.len % 4 == 0);
    sum += walk_text(fh_str_of_bytes(v->charsmap)) + walk_text(v->pre) + walk_text(v->normalizer);
    sum += walk_text(v->unk_surface) + walk_text(v->continuing_prefix) + walk_text(v->end_suffix);
    return sum;
}

#endif
