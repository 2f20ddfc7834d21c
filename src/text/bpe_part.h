/* text/bpe_part.h - what bpe.c and bpe_build.c share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_BPE_PART_H
#define FH_TEXT_BPE_PART_H

#include "text/bpe.h"
#include "text/unicode.h"

/* A symbol in the middle of work: a token id, or one of these. */
#define FH_BPE_FROZEN (1u << 30) /* flag: user-defined, takes no part in merges */
#define FH_BPE_CHAR (1u << 20)   /* first number of characters that are in pieces but are no tokens */
#define FH_BPE_UNK UINT32_MAX    /* a character no piece has */
#define FH_BPE_NO_RANK UINT32_MAX
#define FH_BPE_PAGE 256u
#define FH_BPE_SYMBOLS (1u << 21) /* ids and lone characters are below */
#define FH_BPE_VALUES (1u << 22)

/* A slot of the table of pairs: left (21 bits), right (21), value (22). The value is the number of the merge, or the
 * result where there is no list of them. Eight bytes each: the table decides how fast merging is, by the cache misses
 * it costs. */
#define FH_BPE_FREE UINT64_MAX
#define FH_BPE_NONE UINT32_MAX

/* A token of up to 12 bytes: 8 of them, then 4, its length (4 bits), 1 bit "text may give it", its id (20 bits). One
 * cache line tells whether a piece is a token. */
typedef struct fh_bpe_whole {
    uint64_t lo, hi; /* hi 0: free */
} fh_bpe_whole;
#define FH_BPE_WHOLE_BYTES 12u
#define FH_BPE_WHOLE_KEY (((uint64_t)1 << 36) - 1)
#define FH_BPE_WHOLE_PLAIN ((uint64_t)1 << 36)

struct fh_bpe {
    const fh_vocab *vocab;
    fh_bpe_options opt;
    bool affixes; /* continuing prefix or end suffix: characters are looked up with them */
    uint32_t unk, max_piece;
    uint32_t byte_symbol[256];
    uint16_t *page;   /* [0x110000 / FH_BPE_PAGE] number of the page, 0 = no character of it */
    uint32_t *symbol; /* [n_page * FH_BPE_PAGE] */
    uint32_t n_page;
    uint32_t *lone; /* [n_lone] code points of symbols from FH_BPE_CHAR on */
    uint32_t n_lone, cap_lone;
    uint64_t *pair; /* [mask + 1] */
    uint64_t mask, seed;
    uint32_t n_pair;
    uint64_t *sieve;      /* a bit for every pair's hash: most of what is asked for is not there; NULL while building */
    uint32_t sieve_shift; /* 64 - log2 of its bits */
    uint32_t *rank;       /* [n_id] of a result, where scores decide; NULL: the value itself */
    uint32_t
        *first_pair;     /* [65536] value of the pair of two bytes, FH_BPE_NONE = none; NULL unless symbols are bytes */
    fh_bpe_whole *whole; /* [whole_mask + 1] short tokens by their bytes; NULL unless wanted */
    uint64_t whole_mask;
    uint8_t joined[256][32]; /* bit (class of a left end, class of a right start): some pair has them at its seam */
    uint32_t *hidden; /* [n_id] 1 + number among tokens that merges give but text may not, 0 for others; or NULL */
    uint32_t n_hidden;
};

/* Classes of characters at a seam: the outer byte, and one of its own for U+2581, where words start. */
#define FH_BPE_MARK_CLASS 0xFFu
static inline uint8_t fh_bpe_first_class(fh_str s) {
    return fh_str_starts(s, "\xE2\x96\x81") ? FH_BPE_MARK_CLASS : (uint8_t)s.ptr[0];
}
static inline uint8_t fh_bpe_last_class(fh_str s) {
    return fh_str_ends(s, "\xE2\x96\x81") ? FH_BPE_MARK_CLASS : (uint8_t)s.ptr[s.len - 1];
}

static inline uint64_t fh_bpe_key(uint32_t left, uint32_t right) { return (uint64_t)left << 21 | right; }
static inline uint64_t fh_bpe_hash(const fh_bpe *m, uint64_t key) {
    uint64_t h = (key ^ m->seed) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

/* The value, or FH_BPE_NONE where the two do not join. */
static inline uint32_t fh_bpe_find(const fh_bpe *m, uint32_t left, uint32_t right) {
    if ((left | right) >= FH_BPE_SYMBOLS) return FH_BPE_NONE;
    uint64_t key = fh_bpe_key(left, right);
    uint64_t at = fh_bpe_hash(m, key), bit = at >> m->sieve_shift;
    if (m->sieve && !(m->sieve[bit / 64] >> bit % 64 & 1)) return FH_BPE_NONE;
    for (;; at++) {
        uint64_t slot = m->pair[at & m->mask];
        if (slot == FH_BPE_FREE) return FH_BPE_NONE;
        if (slot >> 22 == key) return (uint32_t)slot & (FH_BPE_VALUES - 1);
    }
}

static inline uint32_t fh_bpe_left(uint64_t slot) { return (uint32_t)(slot >> 43); }
static inline uint32_t fh_bpe_right(uint64_t slot) { return (uint32_t)(slot >> 22) & (FH_BPE_SYMBOLS - 1); }
static inline uint32_t fh_bpe_rank(const fh_bpe *m, uint32_t value) { return m->rank ? m->rank[value] : value; }
static inline uint32_t fh_bpe_result(const fh_bpe *m, uint32_t value) {
    return m->vocab->kind == FH_VOCAB_BPE ? m->vocab->merge[value].result : value;
}

static inline uint32_t fh_bpe_symbol(const fh_bpe *m, uint32_t cp) {
    return m->symbol[(size_t)m->page[cp / FH_BPE_PAGE] * FH_BPE_PAGE + cp % FH_BPE_PAGE];
}

/* Of the key of a text of 1 to FH_BPE_WHOLE_BYTES bytes, without id. */
static inline fh_bpe_whole fh_bpe_whole_key(fh_piece_key128 k) {
    return (fh_bpe_whole){k.lo, (k.hi & 0xFFFFFFFFu) | k.hi >> 56 << 32};
}
static inline uint64_t fh_bpe_whole_place(const fh_bpe *m, fh_bpe_whole k) {
    uint64_t h = (k.lo ^ m->seed ^ k.hi * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

/* While a model is built: joins a piece as far as the pairs go that are there. n: symbols that remain; last: they, when
 * they are two. */
FH_MUST_USE fh_status fh_bpe_join(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, uint32_t last[2], size_t *n,
                                  fh_err *err);
/* May the model put this token out? */
bool fh_bpe_allows(const fh_bpe *m, uint32_t id);

#endif
