/* text/split.h - the patterns that cut text before a tokenizer's model sees it.
 * SPDX-License-Identifier: Apache-2.0
 * A pattern is compiled once and shared by threads. Published patterns are known by their text and run as hand-written
 * scanners over the original Unicode classes; any other one is translated from the dialect it was published in
 * (Oniguruma in tokenizer.json, fancy-regex or Python regex in tiktoken and tekken) to PCRE2 with match limits and
 * without JIT. What cannot be translated faithfully is refused, never misread. */
#ifndef FH_TEXT_SPLIT_H
#define FH_TEXT_SPLIT_H

#include "base/buf.h"

typedef struct fh_split fh_split;

/* The same text can mean different things: \p{N}{1,3}+ is possessive to fancy-regex and one long run to Oniguruma,
 * $ the end of the text or of a line. */
typedef enum fh_split_dialect {
    FH_SPLIT_ONIGURUMA, /* tokenizer.json */
    FH_SPLIT_FANCY      /* tiktoken and tekken.json: fancy-regex, Rust's regex */
} fh_split_dialect;

/* pattern: as published in a tokenizer.json. */
FH_MUST_USE fh_status fh_split_new(fh_split **out, fh_str pattern, fh_err *err);
FH_MUST_USE fh_status fh_split_new_dialect(fh_split **out, fh_str pattern, fh_split_dialect dialect, fh_err *err);
/* As fh_split_new_dialect, but never as a scanner: the slow oracle, for tests. */
FH_MUST_USE fh_status fh_split_new_slow(fh_split **out, fh_str pattern, fh_split_dialect dialect, fh_err *err);
/* A plain string as pattern. */
FH_MUST_USE fh_status fh_split_new_literal(fh_split **out, fh_str literal, fh_err *err);
void fh_split_free(fh_split *s);           /* NULL is fine */
bool fh_split_is_known(const fh_split *s); /* runs as a scanner of our own */

/* The pattern matches places only, such as (?=(\d{3})+(?!\d)): each is a cut, and fh_split_next gives the pieces
 * between the cuts. To be isolated, whatever the behaviour says: with empty matches all of them mean that. */
bool fh_split_is_cut(const fh_split *s);

/* The next match in text at or behind from: [*start, *end), never empty. *found false: no more. Bytes that are no UTF-8
 * count as U+FFFD, one each. FH_ERR_LIMIT when a translated pattern needs more steps than it may. */
FH_MUST_USE fh_status fh_split_next(const fh_split *s, fh_str text, size_t from, bool *found, size_t *start,
                                    size_t *end, fh_err *err);
/* Many at once: text from *at on as a row of matches and of what lies between them, none empty. At most max pieces, at
 * least 2 asked for; *at moves behind the last. Done when *at is text.len. */
FH_MUST_USE fh_status fh_split_cut(const fh_split *s, fh_str text, size_t *at, fh_str *piece, size_t max, size_t *n,
                                   fh_err *err);

/* What a GGUF's tokenizer.ggml.pre stands for: patterns applied one after the other, each isolating its matches within
 * the pieces of the one before. */
typedef struct fh_split_recipe {
    const char *name;
    const char *const *pattern; /* NULL-terminated */
    bool ignore_merges;         /* a piece that is a token is taken whole */
    bool add_bos;               /* what llama.cpp sets for this name when the file says nothing */
    bool legacy_default;        /* the fallback of old files: wrong for almost everyone, to be said aloud */
} fh_split_recipe;
const fh_split_recipe *fh_split_recipe_find(fh_str pre); /* NULL: unknown name */

#endif
