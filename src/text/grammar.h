/* text/grammar.h - what a text may be, and what may come next in one that is being written.
 * SPDX-License-Identifier: Apache-2.0
 * Two nouns. A *grammar* is compiled once, never changes and may be shared by threads. A *matcher* stands somewhere in
 * one text under a grammar; it belongs to one thread. Every prefix that a matcher accepts can be completed: what cannot
 * end well is refused at the byte where that becomes certain, so a model that follows it never gets stuck.
 *
 * Kinds: GBNF (llama.cpp's grammar language), a regular expression for the whole text, a choice of texts, JSON mode,
 * and JSON Schema (text/schema.h). JSON is not written out as rules: an object is one node that counts and remembers
 * which properties it has seen, so they may come in any order at no cost, and no key twice.
 * JSON text: white space of at most max_space bytes in one gap, before the value and inside it, none after it. Strings
 * and keys may be spelled with any escapes; nesting is at most FH_GRAMMAR_DEPTH.
 *
 * Compiling has ceilings: 48 MiB of working memory, at most about 50 ms of work counted in steps (the same on every
 * machine), 10^5 rules, depth 256. Whatever does not fit or is not supported is an error, never a looser grammar. */
#ifndef FH_TEXT_GRAMMAR_H
#define FH_TEXT_GRAMMAR_H

#include "base/buf.h"

#define FH_GRAMMAR_DEPTH 256
#define FH_GRAMMAR_SPACE 64 /* default of max_space: a newline and 63 columns */

typedef enum fh_grammar_kind {
    FH_GRAMMAR_GBNF,
    FH_GRAMMAR_REGEX,
    FH_GRAMMAR_CHOICE,
    FH_GRAMMAR_JSON,
    FH_GRAMMAR_SCHEMA,
    FH_GRAMMAR_CALLS /* text/markup_grammar.h */
} fh_grammar_kind;

typedef struct fh_grammar_options {
    bool compact;       /* JSON without white space outside strings */
    uint32_t max_space; /* 0 = FH_GRAMMAR_SPACE */
} fh_grammar_options;

typedef struct fh_grammar fh_grammar;

FH_MUST_USE fh_status fh_grammar_from_gbnf(fh_grammar **out, fh_str text, fh_err *err);
FH_MUST_USE fh_status fh_grammar_from_regex(fh_grammar **out, fh_str pattern, fh_err *err); /* the whole text */
FH_MUST_USE fh_status fh_grammar_from_choice(fh_grammar **out, const fh_str *choice, size_t n, fh_err *err);
/* A JSON object with anything in it. */
FH_MUST_USE fh_status fh_grammar_from_json(fh_grammar **out, const fh_grammar_options *opt, fh_err *err);
void fh_grammar_free(fh_grammar *g); /* NULL is fine; its matchers must be gone */

typedef struct fh_grammar_facts {
    fh_grammar_kind kind;
    const char *name; /* "gbnf", "regex", "choice", "json", "schema", "calls" */
    uint64_t n_rule;  /* rules, or values, objects and arrays */
    uint64_t n_state; /* of all automata in it */
    uint64_t bytes;
} fh_grammar_facts;
fh_grammar_facts fh_grammar_get_facts(const fh_grammar *g);
/* What was compiled, line by line, for people. */
void fh_grammar_describe(const fh_grammar *g, fh_buf *out);

/* ---- matcher ---- */
typedef struct fh_matcher fh_matcher;

FH_MUST_USE fh_status fh_matcher_new(fh_matcher **out, const fh_grammar *g, fh_err *err); /* borrows g */
FH_MUST_USE fh_status fh_matcher_clone(fh_matcher **out, const fh_matcher *m, fh_err *err);
void fh_matcher_free(fh_matcher *m); /* NULL is fine */
/* Reads on. *ok says whether the text may go on like this; if not, or on failure, the matcher has not moved. Fails only
 * for lack of memory, or FH_ERR_LIMIT where a grammar is too ambiguous or a text too deep for its ceilings. */
FH_MUST_USE fh_status fh_matcher_accept(fh_matcher *m, fh_str bytes, bool *ok, fh_err *err);
bool fh_matcher_can_end(const fh_matcher *m);
/* Takes back the last n accepts; false (and nothing happens) when there were fewer since the last forget. */
bool fh_matcher_rollback(fh_matcher *m, size_t n);
void fh_matcher_forget(fh_matcher *m); /* gives up rolling back, to save memory */
void fh_matcher_reset(fh_matcher *m);  /* to the start */

#endif
