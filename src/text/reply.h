/* text/reply.h - generated text in, events out: answer, reasoning, tool calls; as it is written, at any split.
 * SPDX-License-Identifier: Apache-2.0
 * Text may be cut anywhere, also inside delimiters and characters: the events, put together, are the same. What may
 * still become a delimiter waits; what turns out to be none is answer. Nothing is lost but delimiters and the blanks
 * around them. Arguments are the model's own bytes where it wrote JSON; else they are made JSON, typed by the schema.
 * Bounded: names, ids and keys 256 bytes, nesting 64, calls and argument bytes as the options say. Linear time.
 * Model text never makes this fail: only memory and the receiver do. */
#ifndef FH_TEXT_REPLY_H
#define FH_TEXT_REPLY_H

#include "text/markup.h"

typedef enum fh_reply_kind {
    FH_REPLY_TEXT,
    FH_REPLY_REASONING,
    FH_REPLY_CALL,      /* begins: name, id (may be empty), known */
    FH_REPLY_ARGUMENTS, /* more of its arguments */
    FH_REPLY_CALL_END   /* problems */
} fh_reply_kind;

enum {
    FH_REPLY_UNKNOWN_NAME = 1, /* not among the tools that were given */
    FH_REPLY_CUT = 2,          /* the text ended inside the call */
    FH_REPLY_BROKEN = 4,       /* the call's markup stopped making sense; what came before it stands */
    FH_REPLY_NOT_JSON = 8,     /* the arguments are no JSON object */
    FH_REPLY_WRONG_TYPE = 16,  /* a value could not be made what the schema wants, and is a string */
    FH_REPLY_LIMIT = 32,       /* a ceiling was reached: the rest is answer */
    FH_REPLY_STRAY = 64        /* text between calls that belongs to none; it is in the answer */
};

/* Texts are valid during the call only; whole characters, unless the model wrote none. */
typedef struct fh_reply_event {
    fh_reply_kind kind;
    uint32_t call; /* index, from 0 */
    uint32_t problems;
    bool known;
    fh_str text; /* TEXT, REASONING, ARGUMENTS */
    fh_str name, id;
} fh_reply_event;

typedef fh_status fh_reply_fn(void *user, const fh_reply_event *ev, fh_err *err);

typedef struct fh_reply_options {
    const fh_json_node *tools; /* as in fh_call_rule; borrowed; NULL: every name is known, values are typed by looks */
    fh_markup_start start;
    bool no_calls;     /* markup of calls is answer */
    bool one_piece;    /* an answer that has begun is answer to its end, whatever it spells: it has a format */
    size_t max_args;   /* bytes of one call's arguments; 0 = 4 MiB */
    uint32_t max_call; /* 0 = 128 */
} fh_reply_options;

typedef struct fh_reply fh_reply;

/* Borrows the markup, the options' tools and the receiver's data. */
FH_MUST_USE fh_status fh_reply_new(fh_reply **out, const fh_markup *m, const fh_reply_options *opt, fh_reply_fn *fn,
                                   void *user, fh_err *err);
void fh_reply_free(fh_reply *r);               /* NULL is fine */
bool fh_reply_in_reasoning(const fh_reply *r); /* as far as the text is clear */
FH_MUST_USE fh_status fh_reply_feed(fh_reply *r, fh_str bytes, fh_err *err);
/* The text is over. Gives the number of calls and all problems; either may be NULL. */
FH_MUST_USE fh_status fh_reply_finish(fh_reply *r, uint32_t *n_call, uint32_t *problems, fh_err *err);

#endif
