/* text/normalizer.h - the rewriting of text before it is cut: steps, one after the other.
 * SPDX-License-Identifier: Apache-2.0
 * A normalizer is filled while a tokenizer is built, immutable from then on and shared by threads. It borrows what its
 * steps point to (strings, patterns, charsmaps), except that it owns patterns.
 * Text is valid UTF-8. What grows beyond FH_NORMALIZER_GROWTH times the text is refused. */
#ifndef FH_TEXT_NORMALIZER_H
#define FH_TEXT_NORMALIZER_H

#include "base/json.h"
#include "text/charsmap.h"
#include "text/piece_trie.h"
#include "text/split.h"
#include "text/unicode.h"

#define FH_NORMALIZER_STEPS 64u
#define FH_NORMALIZER_GROWTH 64u

typedef enum fh_norm_kind {
    FH_NORM_FORM, /* form */
    FH_NORM_LOWERCASE,
    FH_NORM_STRIP, /* left, right */
    FH_NORM_STRIP_ACCENTS,
    FH_NORM_REPLACE,     /* pattern -> text */
    FH_NORM_PREPEND,     /* text, before what is not empty */
    FH_NORM_BERT,        /* clean, ideographs, accents, lowercase */
    FH_NORM_PRECOMPILED, /* map, by grapheme */
    FH_NORM_NMT,
    FH_NORM_BYTE_ALPHABET,
    FH_NORM_SENTENCEPIECE /* map, user_defined, prefix, squeeze, escape, suffix */
} fh_norm_kind;

typedef struct fh_norm_step {
    fh_norm_kind kind;
    fh_normal_form form;
    bool left, right;
    bool clean, ideographs, accents, lowercase;
    bool prefix, squeeze, escape,
        suffix; /* dummy space in front; no double spaces; U+2581 for spaces; it goes behind */
    fh_split *pattern;
    fh_str literal; /* of a pattern that is a plain string of one byte, else empty */
    fh_str text;
    fh_charsmap map;
    const fh_piece_trie *user_defined; /* left as they are; or NULL */
} fh_norm_step;

typedef struct fh_normalizer {
    fh_norm_step *step; /* [n] */
    uint32_t n;
} fh_normalizer;

/* One caller's buffers. Start with fh_normalizer_scratch_init. */
typedef struct fh_normalizer_scratch {
    fh_buf a, b, c;
} fh_normalizer_scratch;

/* From the tree of tokenizer.json's "normalizer" (NULL: none). Strings are copied into the arena. */
FH_MUST_USE fh_status fh_normalizer_build(fh_normalizer *out, const fh_json_node *root, fh_arena *arena, fh_err *err);
FH_MUST_USE fh_status fh_normalizer_add(fh_normalizer *n, const fh_norm_step *step, fh_err *err);
void fh_normalizer_release(fh_normalizer *n);

void fh_normalizer_scratch_init(fh_normalizer_scratch *s);
void fh_normalizer_scratch_release(fh_normalizer_scratch *s);
/* *out points into the scratch, or is text itself. *head stays true when the first character of *out comes from the
 * first of text. */
FH_MUST_USE fh_status fh_normalizer_run(const fh_normalizer *n, fh_normalizer_scratch *s, fh_str text, fh_str *out,
                                        bool *head, fh_err *err);

#endif
