/* text/pretokenizer.h - cutting normalized text into the pieces that the model sees one by one: steps, each applied to
 * every piece of the one before.
 * SPDX-License-Identifier: Apache-2.0
 * Filled while a tokenizer is built, immutable from then on and shared by threads; owns its patterns. Pieces are handed
 * to a function one after the other; nothing is kept, so memory does not follow the text. */
#ifndef FH_TEXT_PRETOKENIZER_H
#define FH_TEXT_PRETOKENIZER_H

#include "base/json.h"
#include "text/split.h"

#define FH_PRETOKENIZER_STEPS 16u

typedef enum fh_pretok_kind {
    FH_PRETOK_SPLIT,      /* pattern, behavior, invert */
    FH_PRETOK_BYTE_LEVEL, /* prefix, pattern or none, map: turn bytes into the byte alphabet */
    FH_PRETOK_DIGITS,     /* behavior */
    FH_PRETOK_PUNCTUATION,
    FH_PRETOK_WHITESPACE, /* words and what is neither word nor space */
    FH_PRETOK_WHITESPACE_SPLIT,
    FH_PRETOK_BERT,
    FH_PRETOK_METASPACE, /* ch for spaces, scheme, split */
    FH_PRETOK_CHAR,      /* ch is removed */
    FH_PRETOK_FIXED      /* length characters */
} fh_pretok_kind;

/* What becomes of a match: kept apart, removed, ... the names of the reference. */
typedef enum fh_pretok_behavior {
    FH_PRETOK_REMOVED,
    FH_PRETOK_ISOLATED,
    FH_PRETOK_MERGED_WITH_PREVIOUS,
    FH_PRETOK_MERGED_WITH_NEXT,
    FH_PRETOK_CONTIGUOUS
} fh_pretok_behavior;

typedef enum fh_pretok_scheme { FH_PRETOK_ALWAYS, FH_PRETOK_FIRST, FH_PRETOK_NEVER } fh_pretok_scheme;

typedef struct fh_pretok_step {
    fh_pretok_kind kind;
    fh_split *pattern;
    fh_pretok_behavior behavior;
    bool invert, prefix, split, map;
    uint32_t ch, length;
    fh_pretok_scheme scheme;
} fh_pretok_step;

typedef struct fh_pretokenizer {
    fh_pretok_step *step; /* [n] */
    uint32_t n;
} fh_pretokenizer;

typedef struct fh_pretok_scratch {
    fh_buf text[FH_PRETOKENIZER_STEPS]; /* what a step rewrote */
} fh_pretok_scratch;

/* Called with each piece, never empty; the text is valid until it returns. */
typedef fh_status fh_pretok_sink(void *ctx, fh_str piece, fh_err *err);

/* From the tree of tokenizer.json's "pre_tokenizer" (NULL: none). */
FH_MUST_USE fh_status fh_pretokenizer_build(fh_pretokenizer *out, const fh_json_node *root, fh_arena *arena,
                                            fh_err *err);
FH_MUST_USE fh_status fh_pretokenizer_add(fh_pretokenizer *p, const fh_pretok_step *step,
                                          fh_err *err); /* takes the pattern, also on failure */
void fh_pretokenizer_release(fh_pretokenizer *p);

void fh_pretok_scratch_init(fh_pretok_scratch *s);
void fh_pretok_scratch_release(fh_pretok_scratch *s);
/* head: text starts where the whole input starts. */
FH_MUST_USE fh_status fh_pretokenizer_run(const fh_pretokenizer *p, fh_pretok_scratch *s, fh_str text, bool head,
                                          fh_pretok_sink *sink, void *ctx, fh_err *err);

#endif
