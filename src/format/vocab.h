/* format/vocab.h - a vocabulary as every tokenizer file gives it: tokenizer.json, SentencePiece,
 * tiktoken, tekken and the tokenizer.ggml.* keys of a GGUF all end up here.
 * SPDX-License-Identifier: Apache-2.0
 * Owns everything it points to; immutable once a reader has handed it out, so threads may share it.
 * Invariants: (1) every id below n_id is a token or a hole (FH_TOKEN_NONE, empty piece); (2) n_id
 * <= FH_VOCAB_MAX_ID; (3) the ids in merges, added tokens, special[] and byte_id[] are tokens, or
 * FH_VOCAB_NO_ID; (4) scores are finite. Says nothing about how text is cut: that is the business
 * of src/text. */
#ifndef FH_FORMAT_VOCAB_H
#define FH_FORMAT_VOCAB_H

#include "base/buf.h"

/* One more than the largest id. Published vocabularies end at 902 thousand; with this bound no
 * file, however small or sparse its ids, costs more than 16 MiB beyond what it is long. */
#define FH_VOCAB_MAX_ID (1u << 20)
#define FH_VOCAB_MAX_PIECE 65535u     /* bytes of one piece */
#define FH_VOCAB_MAX_ADDED (1u << 17) /* published vocabularies have up to 33 thousand */
#define FH_VOCAB_NO_ID UINT32_MAX

typedef enum fh_vocab_kind {
    FH_VOCAB_BPE,        /* a list of merges; the earlier in the list, the earlier it is applied */
    FH_VOCAB_BPE_RANKS,  /* no list: two pieces merge where the joined bytes are a token, lowest id first */
    FH_VOCAB_BPE_SCORES, /* no list: as above, highest score of the result first (SentencePiece) */
    FH_VOCAB_UNIGRAM,
    FH_VOCAB_WORDPIECE,
    FH_VOCAB_WORDLEVEL
} fh_vocab_kind;

/* The numbers are those of SentencePiece and of tokenizer.ggml.token_type. */
typedef enum fh_token_type {
    FH_TOKEN_NONE, /* a hole: no token has this id */
    FH_TOKEN_NORMAL,
    FH_TOKEN_UNKNOWN,
    FH_TOKEN_CONTROL,
    FH_TOKEN_USER_DEFINED,
    FH_TOKEN_UNUSED,
    FH_TOKEN_BYTE,
    FH_TOKEN_TYPE_COUNT
} fh_token_type;

typedef enum fh_vocab_special {
    FH_SPECIAL_UNK,
    FH_SPECIAL_BOS,
    FH_SPECIAL_EOS,
    FH_SPECIAL_PAD,
    FH_SPECIAL_CLS,
    FH_SPECIAL_SEP,
    FH_SPECIAL_MASK,
    FH_SPECIAL_EOT,
    FH_SPECIAL_EOM,
    FH_SPECIAL_FIM_PREFIX,
    FH_SPECIAL_FIM_SUFFIX,
    FH_SPECIAL_FIM_MIDDLE,
    FH_SPECIAL_FIM_PAD,
    FH_SPECIAL_FIM_REPO,
    FH_SPECIAL_FIM_FILE,
    FH_SPECIAL_COUNT
} fh_vocab_special;

typedef enum fh_tri { FH_TRI_UNSET, FH_TRI_NO, FH_TRI_YES } fh_tri; /* UNSET: the file does not say */
static inline fh_tri fh_tri_of(bool b) { return b ? FH_TRI_YES : FH_TRI_NO; }

enum {
    FH_ADDED_SPECIAL = 1,     /* left out when decoding without special tokens */
    FH_ADDED_SINGLE_WORD = 2, /* matches only between word boundaries */
    FH_ADDED_LSTRIP = 4,      /* takes the spaces to its left with it */
    FH_ADDED_RSTRIP = 8,
    FH_ADDED_NORMALIZED = 16 /* is looked for in normalized text */
};

/* A token that is cut out of the text before the model sees it. */
typedef struct fh_vocab_added {
    uint32_t id;
    uint32_t flags; /* FH_ADDED_* */
} fh_vocab_added;

/* result = left + right, without the continuing prefix of the right part. A pair that stands twice
 * counts where it stands last. */
typedef struct fh_vocab_merge {
    uint32_t left, right, result;
} fh_vocab_merge;

typedef struct fh_vocab_span {
    uint32_t at, len; /* in text */
} fh_vocab_span;

typedef struct fh_vocab {
    fh_vocab_kind kind;
    bool raw_bytes;        /* pieces are bytes of the text; otherwise they are UTF-8 as the file wrote them */
    uint32_t n_id;         /* ids 0 .. n_id - 1 */
    uint32_t n_token;      /* of them, not holes */
    fh_vocab_span *span;   /* [n_id] */
    uint8_t *type;         /* [n_id], fh_token_type */
    double *score;         /* [n_id], or NULL */
    fh_vocab_merge *merge; /* [n_merge] in order of rank */
    uint32_t n_merge;
    fh_vocab_added *added; /* [n_added] in file order */
    uint32_t n_added;
    uint32_t n_added_ignored; /* in the file, but empty, a repetition, or with an id other than the model's */
    uint32_t special[FH_SPECIAL_COUNT];
    uint32_t n_special_ignored; /* GGUF: special ids that no token has */
    uint32_t byte_id[256];      /* token for one raw byte, where the vocabulary has such */

    /* Model options; what a file does not have stays false, UNSET, empty or 0. */
    bool byte_fallback, fuse_unk, ignore_merges;
    double dropout;
    uint32_t max_word_chars;              /* WordPiece: longer words become unk */
    fh_str continuing_prefix, end_suffix; /* "##", "</w>" */
    fh_str unk_surface;                   /* SentencePiece: what unk decodes to */
    fh_tri add_bos, add_eos, add_sep;     /* GGUF */
    fh_tri add_space_prefix, remove_extra_spaces, escape_spaces, space_as_suffix;
    fh_bytes charsmap; /* precompiled normalizer, checked by fh_charsmap_split; empty = none */
    fh_str pre;        /* GGUF: name of the pre-tokenizer; tekken: the pattern itself */
    fh_str normalizer; /* SentencePiece: name of the rule */

    /* Private to vocab.c. */
    fh_buf text;
    fh_arena arena;
    uint32_t cap_id, cap_merge, cap_added;
    uint32_t *slot; /* [n_slot] id + 1 in the low 24 bits, 8 bits of the hash above; 0 = free */
    uint32_t n_slot;
    uint64_t key[2];
} fh_vocab;

void fh_vocab_free(fh_vocab *v); /* NULL is fine */
/* Empty for a hole and for an id that is out of range. */
fh_str fh_vocab_piece(const fh_vocab *v, uint32_t id);
fh_token_type fh_vocab_type(const fh_vocab *v, uint32_t id); /* FH_TOKEN_NONE when out of range */
/* Constant time, also for hostile vocabularies. Where several ids share a piece, those that are
 * neither control nor unused come first, then the highest id. */
bool fh_vocab_find(const fh_vocab *v, fh_str piece, uint32_t *id);
const char *fh_vocab_kind_name(fh_vocab_kind k);
const char *fh_vocab_special_name(fh_vocab_special s); /* "bos" */
/* "<0x0A>" and nothing else: six bytes, two hex digits. */
bool fh_vocab_parse_byte(fh_str piece, uint8_t *byte);
/* The two halves of a precompiled normalizer: units of a double-array trie, and texts that end in
 * NUL. False unless the trie is a whole number of units, at least one, and the texts, if there are
 * any, end in NUL. */
bool fh_charsmap_split(fh_bytes blob, fh_bytes *trie, fh_bytes *texts);

/* ---- for the readers in this folder ----
 * new, put ..., then index, then merges and added tokens, then finish; any failure: free.
 * text_bytes bounds the sum of all pieces. */
FH_MUST_USE fh_status fh_vocab_new(fh_vocab **out, fh_vocab_kind kind, size_t text_bytes, fh_err *err);
FH_MUST_USE fh_status fh_vocab_reserve(fh_vocab *v, uint32_t n_id, bool scores, fh_err *err);
/* Stores the piece; it belongs to no id until fh_vocab_put_span. */
FH_MUST_USE fh_status fh_vocab_put_text(fh_vocab *v, fh_str piece, uint64_t offset, fh_vocab_span *out, fh_err *err);
FH_MUST_USE fh_status fh_vocab_put_span(fh_vocab *v, uint64_t id, fh_vocab_span span, fh_token_type type,
                                        uint64_t offset, fh_err *err);
FH_MUST_USE fh_status fh_vocab_put(fh_vocab *v, uint64_t id, fh_str piece, fh_token_type type, uint64_t offset,
                                   fh_err *err);
FH_MUST_USE fh_status fh_vocab_put_score(fh_vocab *v, uint32_t id, double score, uint64_t offset, fh_err *err);
/* Makes fh_vocab_find work for what is there; unique: two ids with one piece are an error. */
FH_MUST_USE fh_status fh_vocab_index(fh_vocab *v, bool unique, fh_err *err);
/* Both parts and the joined piece must be tokens. */
FH_MUST_USE fh_status fh_vocab_put_merge(fh_vocab *v, fh_str left, fh_str right, uint64_t offset, fh_err *err);
/* A token of the model's own vocabulary keeps its id, unless pieces are raw bytes; other text gets
 * the id given, which must be free. */
FH_MUST_USE fh_status fh_vocab_put_added(fh_vocab *v, uint64_t id, fh_str text, uint32_t flags, uint64_t offset,
                                         fh_err *err);
/* For files that mark such tokens by type only: control and unknown tokens become special, user-defined ones not. */
FH_MUST_USE fh_status fh_vocab_put_added_by_type(fh_vocab *v, fh_err *err);
FH_MUST_USE fh_status fh_vocab_copy(fh_vocab *v, fh_str s, fh_str *out, fh_err *err); /* into the vocabulary */
FH_MUST_USE fh_status fh_vocab_put_charsmap(fh_vocab *v, fh_bytes blob, uint64_t offset, fh_err *err);
/* Sets a special id, which must be a token. what: the key, for the message. */
FH_MUST_USE fh_status fh_vocab_put_special(fh_vocab *v, fh_vocab_special which, uint64_t id, const char *what,
                                           uint64_t offset, fh_err *err);
/* Final checks; fills byte_id. */
FH_MUST_USE fh_status fh_vocab_finish(fh_vocab *v, fh_err *err);

#endif
