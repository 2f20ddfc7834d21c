/* text/jinja_lib.h - what can be done with values: text, numbers, strings, methods, filters, tests, calls.
 * SPDX-License-Identifier: Apache-2.0
 * Private to src/text/jinja_*.c and template.c. Functions that can fail return false after fh_jinja_fail. */
#ifndef FH_TEXT_JINJA_LIB_H
#define FH_TEXT_JINJA_LIB_H

#include "text/jinja_value.h"

/* ---- text of values (jinja_text.c) ---- */
bool fh_jinja_str(fh_jrun *r, fh_jval v, fh_jval *out);  /* str(v) */
bool fh_jinja_repr(fh_jrun *r, fh_jval v, fh_jval *out); /* repr(v) */
void fh_jinja_add_int(fh_buf *to, int64_t v);
bool fh_jinja_add_str(fh_jrun *r, fh_buf *to, fh_jval v);  /* appends str(v) */
bool fh_jinja_add_repr(fh_jrun *r, fh_buf *to, fh_jval v); /* appends repr(v) */
bool fh_jinja_take(fh_jrun *r, size_t from, fh_jval *out); /* cuts r->out behind from into a string */
bool fh_jinja_tojson(fh_jrun *r, const fh_jargs *a, fh_jval v, fh_jval *out);

/* ---- numbers (jinja_number.c) ---- */
#define FH_J_FLOAT_TEXT 400
size_t fh_jinja_float_text(double v, char out[FH_J_FLOAT_TEXT]);             /* as Python's repr */
bool fh_jinja_arith(fh_jrun *r, int op, fh_jval a, fh_jval b, fh_jval *out); /* + - * / d(//) p(**) % */
bool fh_jinja_negate(fh_jrun *r, fh_jval v, bool minus, fh_jval *out);
bool fh_jinja_parse_int(fh_str s, int base, fh_jval *out); /* int(s, base); false: not a number */
bool fh_jinja_parse_float(fh_str s, double *out);          /* float(s) */
bool fh_jinja_round(fh_jrun *r, fh_jval v, int64_t digits, fh_jval *out);
bool fh_jinja_float_to_int(fh_jrun *r, double f, fh_jval *out); /* towards zero; fails for what does not fit */

/* ---- strings by code points (jinja_string.c, jinja_chars.c) ---- */
size_t fh_jinja_count(fh_jval s); /* code points */
bool fh_jinja_ascii(fh_jval s);
size_t fh_jinja_byte_at(fh_jval s, size_t cp); /* bytes before code point cp, or all */
size_t fh_jinja_cp_at(fh_jval s, size_t byte); /* code points before that byte */
uint32_t fh_jinja_decode(const char *p, size_t left, size_t *n);
size_t fh_jinja_encode(uint32_t cp, char out[4]);
fh_jval fh_jinja_cut(fh_jval s, size_t from, size_t to); /* bytes; keeps flags */
bool fh_jinja_concat(fh_jrun *r, fh_jval a, fh_jval b, fh_jval *out);
bool fh_jinja_repeat(fh_jrun *r, fh_jval s, int64_t n, fh_jval *out);
bool fh_jinja_replace(fh_jrun *r, fh_jval s, fh_str old, fh_str with, int64_t limit, fh_jval *out);
fh_jval fh_jinja_strip(fh_jval s, const fh_jval *chars, bool left, bool right);
bool fh_jinja_find(fh_str in, fh_str what, size_t from, size_t *at);
bool fh_jinja_split_lines(fh_jrun *r, fh_jval s, bool keep, fh_jlist **out);
bool fh_jinja_split_words(fh_jrun *r, fh_jval s, int64_t limit, bool right, fh_jlist **out);
bool fh_jinja_split_at(fh_jrun *r, fh_jval s, fh_str sep, int64_t limit, bool right, fh_jlist **out);
bool fh_jinja_escape(fh_jrun *r, fh_jval v, fh_jval *out); /* for HTML; already safe text stays */
bool fh_jinja_pad(fh_jrun *r, fh_jval s, int64_t width, fh_str fill, int where, fh_jval *out); /* < ^ > */

typedef enum fh_jcase { FH_J_UPPER, FH_J_LOWER, FH_J_TITLE, FH_J_CAPITALIZE, FH_J_SWAP, FH_J_FOLD } fh_jcase;
bool fh_jinja_case(fh_jrun *r, fh_jval s, fh_jcase how, fh_jval *out);
/* Properties of a code point, as Python's str methods see them. */
enum {
    FH_J_ALPHA = 1,
    FH_J_DECIMAL = 2,
    FH_J_DIGIT = 4,
    FH_J_NUMERIC = 8,
    FH_J_SPACE = 16,
    FH_J_IS_UPPER = 32,
    FH_J_IS_LOWER = 64,
    FH_J_PRINTABLE = 128,
    FH_J_IS_TITLE = 256,
    FH_J_WORD = 512
};
unsigned fh_jinja_props(uint32_t cp);
size_t fh_jinja_map_case(uint32_t cp, fh_jcase how, uint32_t out[3]); /* UPPER, LOWER, TITLE, FOLD */

/* ---- methods, filters, tests, functions ---- */
bool fh_jinja_is_class(fh_jval s, int want); /* all of it has the property FH_J_*, as isalpha() and the like */
/* items in the order of their keys; equal ones stay in theirs. */
bool fh_jinja_sorted_dict(fh_jrun *r, const fh_jdict *in, const fh_jdict **out); /* by key */
bool fh_jinja_sort(fh_jrun *r, fh_jlist *items, const fh_jlist *keys, bool reverse);
bool fh_jinja_method_named(fh_str name);           /* does anything have a method of that name? */
int fh_jinja_method_find(fh_jval of, fh_str name); /* row; -1: no such attribute; -2: forbidden by the sandbox */
bool fh_jinja_method_call(fh_jrun *r, const fh_jmethod *m, const fh_jargs *a, fh_jval *out);
int fh_jinja_filter_find(fh_str name); /* -1: none */
bool fh_jinja_filter_call(fh_jrun *r, int row, fh_jval v, const fh_jargs *a, fh_jval *out);
int fh_jinja_test_find(fh_str name);
bool fh_jinja_test_call(fh_jrun *r, int row, fh_jval v, const fh_jargs *a, bool *out);
int fh_jinja_func_find(fh_str name);
bool fh_jinja_func_call(fh_jrun *r, int row, const fh_jargs *a, fh_jval *out);
bool fh_jinja_percent(fh_jrun *r, fh_jval format, fh_jval args, fh_jval *out);     /* format % args */
bool fh_jinja_format(fh_jrun *r, fh_jval format, const fh_jargs *a, fh_jval *out); /* format.format() */
bool fh_jinja_strftime(fh_jrun *r, fh_str format, fh_jval *out);
/* Puts arguments where the names ("a b c") say. Left out: MISSING. what: for messages. */
bool fh_jinja_bind(fh_jrun *r, const fh_jargs *a, const char *what, const char *names, uint32_t n_required,
                   fh_jval *out, uint32_t n_out);
/* An integer argument; MISSING leaves *out. */
bool fh_jinja_arg_int(fh_jrun *r, fh_jval v, const char *what, int64_t *out);

/* ---- evaluation (jinja_eval.c) ---- */
bool fh_jinja_getattr(fh_jrun *r, fh_jval of, fh_jval name, fh_jval *out);        /* of.name */
bool fh_jinja_getitem(fh_jrun *r, fh_jval of, fh_jval key, fh_jval *out);         /* of[key] */
bool fh_jinja_slice(fh_jrun *r, fh_jval of, const fh_jval part[3], fh_jval *out); /* MISSING: left out */
bool fh_jinja_call(fh_jrun *r, fh_jval f, const fh_jargs *a, fh_jval *out);
bool fh_jinja_loop_attr(fh_jrun *r, fh_jval loop, fh_str name, bool *found, fh_jval *out);
bool fh_jinja_loop_call(fh_jrun *r, fh_jloop *loop, const fh_jargs *a, fh_jval *out);
bool fh_jinja_loop_cycle(fh_jrun *r, fh_jloop *loop, const fh_jargs *a, fh_jval *out);
bool fh_jinja_loop_changed(fh_jrun *r, fh_jloop *loop, const fh_jargs *a, fh_jval *out);
bool fh_jinja_macro_call(fh_jrun *r, fh_jmacro *m, const fh_jargs *a, fh_jval *out);
bool fh_jinja_macro_attr(fh_jrun *r, fh_jmacro *m, fh_str name, bool *found, fh_jval *out);
size_t fh_jinja_loop_text(fh_jrun *r, fh_jloop *loop, char *out, size_t size);
fh_str fh_jinja_macro_name(const fh_jmacro *m);

#endif
