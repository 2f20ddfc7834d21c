/* base/json.h - JSON of our own: strict RFC 8259, bounded, exact.
 * SPDX-License-Identifier: Apache-2.0
 * Reader: a pull reader (constant memory) and, on top of it, a small tree for configs. Text must be UTF-8;
 * keys and strings may hold U+0000; lone surrogates are refused; numbers stay as written until asked for.
 * Refused unless a flag allows it: duplicate keys (tree only), Infinity and NaN (some published configs).
 * Writer: into an fh_buf, compact or indented, failure sticky in the buffer. Errors carry the byte offset. */
#ifndef FH_BASE_JSON_H
#define FH_BASE_JSON_H

#include "base/buf.h"

#define FH_JSON_MAX_DEPTH 256

typedef enum fh_json_kind {
    FH_JSON_END, /* the text is over */
    FH_JSON_OBJECT,
    FH_JSON_OBJECT_END,
    FH_JSON_ARRAY,
    FH_JSON_ARRAY_END,
    FH_JSON_KEY,
    FH_JSON_STRING,
    FH_JSON_NUMBER,
    FH_JSON_TRUE,
    FH_JSON_FALSE,
    FH_JSON_NULL
} fh_json_kind;

/* text: key or string decoded, number as written. Valid until the next call on the reader. */
typedef struct fh_json_event {
    fh_json_kind kind;
    fh_str text;
    uint64_t offset; /* first byte of the token */
} fh_json_event;

typedef struct fh_json_reader {
    fh_str in;
    size_t pos;
    int depth;
    bool allow_nonfinite;                     /* Infinity, -Infinity, NaN as numbers */
    uint8_t state;                            /* what may come next; see json_read.c */
    uint8_t is_object[FH_JSON_MAX_DEPTH / 8]; /* bit per open container */
    fh_buf scratch;                           /* strings with escapes */
} fh_json_reader;

void fh_json_reader_init(fh_json_reader *r, fh_str text);
void fh_json_reader_release(fh_json_reader *r);
FH_MUST_USE fh_status fh_json_next(fh_json_reader *r, fh_json_event *ev, fh_err *err);
/* After an OBJECT or ARRAY event: past its end. After a KEY: past its value. Otherwise nothing. */
FH_MUST_USE fh_status fh_json_skip(fh_json_reader *r, const fh_json_event *ev, fh_err *err);
/* The next event, which must be of this kind; `what` names the field in the message. */
FH_MUST_USE fh_status fh_json_expect(fh_json_reader *r, fh_json_kind kind, fh_json_event *ev, const char *what,
                                     fh_err *err);

/* Exact conversions of a number's text: false when it is not one, is out of range or has a fraction.
 * Integers in any spelling: 2048.0 and 1e6 are. */
bool fh_json_text_u64(fh_str number, uint64_t *out);
bool fh_json_text_i64(fh_str number, int64_t *out);
bool fh_json_text_f64(fh_str number, double *out); /* correctly rounded; also Infinity and NaN */

/* ---- tree ---- */
typedef struct fh_json fh_json; /* a parsed document; owns copies of all text in it */

typedef struct fh_json_node {
    fh_str key;        /* within an object, else empty */
    fh_str text;       /* string decoded, number as written */
    uint32_t n_child;  /* object: members, array: elements */
    uint32_t span;     /* nodes in this subtree, itself included: node + span is what follows it */
    uint32_t offset;   /* first byte of the value in the text */
    fh_json_kind kind; /* OBJECT, ARRAY, STRING, NUMBER, TRUE, FALSE, NULL */
} fh_json_node;

typedef struct fh_json_options {
    size_t max_bytes; /* ceiling of the tree's memory; 0 = 8 MiB + the length of the text */
    bool allow_nonfinite;
    bool allow_duplicate_keys; /* the last one wins, as in Python */
} fh_json_options;

FH_MUST_USE fh_status fh_json_parse(fh_json **out, fh_str text, const fh_json_options *opt, fh_err *err);
void fh_json_free(fh_json *doc); /* NULL is fine */
const fh_json_node *fh_json_root(const fh_json *doc);
/* Member by name, or NULL (also when obj is NULL or no object): lookups can be chained. Looks at every
 * member, which suits configs; whoever has thousands of them to look up uses the pull reader. */
const fh_json_node *fh_json_get(const fh_json_node *obj, const char *key);
const fh_json_node *fh_json_get_str(const fh_json_node *obj, fh_str key);
/* First child, and the one after; NULL at the end. for (c = first(n); c; c = next(n, c)) */
const fh_json_node *fh_json_first(const fh_json_node *n);
const fh_json_node *fh_json_after(const fh_json_node *parent, const fh_json_node *child);
/* NULL-tolerant, kind-checked: false leaves *out. */
bool fh_json_is(const fh_json_node *n, fh_json_kind kind);
bool fh_json_to_u64(const fh_json_node *n, uint64_t *out);
bool fh_json_to_i64(const fh_json_node *n, int64_t *out);
bool fh_json_to_f64(const fh_json_node *n, double *out);
bool fh_json_to_bool(const fh_json_node *n, bool *out);
bool fh_json_to_str(const fh_json_node *n, fh_str *out);

/* ---- writer ---- */
typedef struct fh_json_writer {
    fh_buf *out;
    int depth;
    bool pretty;                        /* two spaces, one member a line */
    bool after_key;                     /* a value is due */
    uint8_t any[FH_JSON_MAX_DEPTH / 8]; /* bit per open container: something is in it */
    uint8_t is_object[FH_JSON_MAX_DEPTH / 8];
} fh_json_writer;

void fh_json_writer_init(fh_json_writer *w, fh_buf *out, bool pretty);
void fh_json_put_object(fh_json_writer *w);
void fh_json_put_array(fh_json_writer *w);
void fh_json_put_end(fh_json_writer *w); /* closes the innermost */
void fh_json_put_key(fh_json_writer *w, const char *key);
void fh_json_put_key_str(fh_json_writer *w, fh_str key);
void fh_json_put_str(fh_json_writer *w, fh_str s); /* bytes that are no UTF-8 become U+FFFD */
void fh_json_put_z(fh_json_writer *w, const char *z);
void fh_json_put_u64(fh_json_writer *w, uint64_t v);
void fh_json_put_i64(fh_json_writer *w, int64_t v);
void fh_json_put_f64(fh_json_writer *w, double v); /* shortest text that reads back the same; nonfinite = null */
void fh_json_put_bool(fh_json_writer *w, bool v);
void fh_json_put_null(fh_json_writer *w);
/* A node with all below it; numbers as they were written, so nothing is rounded. Infinity and NaN become null. */
void fh_json_put_tree(fh_json_writer *w, const fh_json_node *root);

#endif
