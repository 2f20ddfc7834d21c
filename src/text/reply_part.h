/* text/reply_part.h - the inside of a reply's parser, for reply*.c only.
 * SPDX-License-Identifier: Apache-2.0
 * in holds what is not decided yet; pos is where reading goes on. While held, everything from mark on is still answer
 * if the call does not come about. A step either moves, or sets more: it cannot go on without further text. */
#ifndef FH_TEXT_REPLY_PART_H
#define FH_TEXT_REPLY_PART_H

#include "text/markup_part.h"
#include "text/reply.h"

typedef enum fh_reply_mode { FH_AT_TEXT, FH_AT_THINK, FH_AT_HEADER, FH_AT_SECTION, FH_AT_CALL } fh_reply_mode;

typedef enum fh_tag_act {
    FH_TAG_THINK,
    FH_TAG_THINK_END,
    FH_TAG_SECTION,
    FH_TAG_CALL,
    FH_TAG_DROP,
    FH_TAG_END,
    FH_TAG_HEADER,
    FH_TAG_BODY_END,
    FH_TAG_LATE /* closes what is not open: dropped once a section broke, else answer */
} fh_tag_act;

#define FH_REPLY_TAGS 28
typedef struct fh_reply_tags {
    struct {
        fh_str text;
        fh_tag_act act;
    } tag[FH_REPLY_TAGS];
    size_t n;
    bool first[256];
} fh_reply_tags;

/* Where a JSON value ends, byte by byte. */
typedef struct fh_json_scan {
    uint64_t object; /* bit per open container */
    uint8_t depth;
    bool string, escape, begun;
} fh_json_scan;

typedef enum fh_scan_end { FH_SCAN_ON, FH_SCAN_DONE, FH_SCAN_BEFORE, FH_SCAN_BAD } fh_scan_end;

/* A call as a JSON object: which member is being read. */
typedef enum fh_member { FH_MEMBER_OTHER, FH_MEMBER_NAME, FH_MEMBER_ID, FH_MEMBER_ARGS, FH_MEMBER_NEST } fh_member;
enum { FH_CALL_OPEN, FH_CALL_KEY, FH_CALL_KEY_TEXT, FH_CALL_COLON, FH_CALL_VALUE, FH_CALL_REST, FH_CALL_TEXT };

typedef struct fh_reply_call {
    size_t part;         /* of the call's pattern */
    size_t param;        /* of the param's pattern */
    size_t taken, aside; /* bytes of model text in the arguments, and in other members */
    bool committed, has_args, any_param, text_kind, in_value;
    uint8_t state, nest;
    fh_member member;
    fh_json_scan scan;
    uint8_t quoted_state, quoted_depth;
    uint64_t quoted_object;
    unsigned kinds;
    uint32_t problems;
    const fh_json_node *schema; /* of the parameters; NULL when there is none */
    const fh_json_node *value_schema;
    char name[FH_MARKUP_NAME_MAX], id[FH_MARKUP_NAME_MAX], key[FH_MARKUP_NAME_MAX];
    size_t name_len, id_len, key_len;
} fh_reply_call;

struct fh_reply {
    const fh_markup *m;
    fh_reply_options opt;
    fh_reply_fn *fn;
    void *user;
    fh_pattern call, param;
    fh_reply_tags text_tags, think_tags;
    fh_buf in, args, token, close;
    size_t pos, mark, mark_end, scan, sent, space_run;
    fh_reply_mode mode, after; /* after: where to go when a call is over */
    fh_reply_call c;
    uint32_t n_call, problems;
    fh_status status;
    bool held, over, spoke, fresh, after_call, bare, bare_off, broken, thought, more;
};

/* What is left to read. */
static inline fh_str fh_reply_rest(const fh_reply *r) {
    return (fh_str){(const char *)r->in.ptr + r->pos, r->in.len - r->pos};
}
/* Bytes at the end of s that begin a character and do not end it. */
size_t fh_reply_half(fh_str s);
/* How many of the next n bytes still fit under a ceiling of which `taken` are used: whole characters, so up to three
 * bytes more than it says. Counted in what the model wrote: where the text was cut makes no difference. */
static inline size_t fh_reply_allow(const fh_reply *r, size_t n, size_t taken, size_t max) {
    size_t fits = max - FH_MIN(taken, max);
    if (n <= fits) return n;
    while (fits < n && taken + fits < max + 3 && (r->in.ptr[r->pos + fits] & 0xC0) == 0x80) fits++;
    return fits;
}
static inline bool fh_reply_full(const fh_reply *r) { return r->c.taken >= r->opt.max_args; }
FH_MUST_USE fh_status fh_reply_emit(fh_reply *r, fh_reply_kind kind, fh_str text, fh_err *err);
/* NO: differs; PART: the text ends before it can be told. Moves past it on YES. */
typedef enum fh_match { FH_MATCH_NO, FH_MATCH_PART, FH_MATCH_YES } fh_match;
fh_match fh_reply_match(fh_reply *r, fh_str literal);
fh_match fh_reply_look(const fh_reply *r, size_t at, fh_str literal);
void fh_reply_skip_space(fh_reply *r);
bool fh_reply_ends_turn(const fh_reply *r); /* what is held is ends of turn and nothing else; once the text is over */

/* ---- calls: reply_call.c ---- */
void fh_reply_call_init(fh_reply *r, size_t part, fh_reply_mode after);
FH_MUST_USE fh_status fh_reply_call_commit(fh_reply *r, fh_err *err);
FH_MUST_USE fh_status fh_reply_call_step(fh_reply *r, fh_err *err);
FH_MUST_USE fh_status fh_reply_call_cut(fh_reply *r, fh_err *err); /* the text is over */
FH_MUST_USE fh_status fh_reply_call_fail(fh_reply *r, uint32_t problem, fh_err *err);
/* What was held back is answer after all. */
FH_MUST_USE fh_status fh_reply_unhold(fh_reply *r, fh_err *err);
FH_MUST_USE fh_status fh_reply_args_add(fh_reply *r, fh_str bytes, fh_err *err); /* more of the arguments */
FH_MUST_USE fh_status fh_reply_args_flush(fh_reply *r, bool all, fh_err *err);
bool fh_reply_set_name(fh_reply *r, fh_str name);
/* Schema and kinds of the value that belongs to c.key. */
void fh_reply_find_schema(fh_reply *r);

/* ---- arguments: reply_args.c, reply_notation.c ---- */
/* Each reads on and tells: ON, more text is needed; DONE; BAD. A ceiling that is reached ends the call: r->mode. */
FH_MUST_USE fh_status fh_reply_read_json(fh_reply *r, fh_scan_end *end, fh_err *err);
FH_MUST_USE fh_status fh_reply_read_call(fh_reply *r, fh_scan_end *end, fh_err *err);
FH_MUST_USE fh_status fh_reply_read_python(fh_reply *r, fh_scan_end *end, fh_err *err);
FH_MUST_USE fh_status fh_reply_read_quoted(fh_reply *r, fh_scan_end *end, fh_err *err);
FH_MUST_USE fh_status fh_reply_read_params(fh_reply *r, fh_str behind, fh_scan_end *end, fh_err *err);
FH_MUST_USE fh_status fh_reply_cut_param(fh_reply *r, fh_err *err);

#endif
