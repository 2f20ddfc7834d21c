/* text/markup_part.h - patterns of markups taken apart, and values made JSON: for markup_*.c and reply*.c only.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_MARKUP_PART_H
#define FH_TEXT_MARKUP_PART_H

#include "base/num.h"
#include "text/markup.h"

#define FH_MARKUP_NEST 64      /* containers inside each other in arguments */
#define FH_MARKUP_NAME_MAX 256 /* bytes of a name, id or key */

static inline bool fh_given(const char *z) { return z && z[0] != '\0'; }
static inline bool fh_is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static inline fh_str fh_trim(fh_str s) {
    while (s.len > 0 && fh_is_space(s.ptr[0])) s = fh_str_drop(s, 1);
    while (s.len > 0 && fh_is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

/* ---- patterns ---- */
typedef enum fh_hole {
    FH_HOLE_NONE, /* a literal, without white space at its ends */
    FH_HOLE_NAME,
    FH_HOLE_ID,
    FH_HOLE_ID_NAME,
    FH_HOLE_NUMBER,
    FH_HOLE_ARGS,
    FH_HOLE_CALL,
    FH_HOLE_PARAMS,
    FH_HOLE_PYTHON,
    FH_HOLE_QUOTED,
    FH_HOLE_KEY,
    FH_HOLE_TYPE,
    FH_HOLE_VALUE
} fh_hole;

typedef struct fh_pattern_part {
    fh_hole hole;
    fh_str literal;
    bool line_before, line_after; /* white space stands there in the pattern */
    uint8_t n_line;               /* newlines of it before */
} fh_pattern_part;

#define FH_PATTERN_MAX 24
typedef struct fh_pattern {
    fh_pattern_part part[FH_PATTERN_MAX];
    size_t n;
} fh_pattern;

/* False when it has too many parts or an unknown hole. Literals are views of the text. */
bool fh_pattern_read(fh_pattern *out, const char *text);

/* ---- values ---- */
enum {
    FH_KIND_STRING = 1,
    FH_KIND_NUMBER = 2,
    FH_KIND_BOOL = 4,
    FH_KIND_NULL = 8,
    FH_KIND_ARRAY = 16,
    FH_KIND_OBJECT = 32,
    FH_KIND_ANY = 63
};
/* Which kinds of values a schema lets in, as far as can be seen: type, enum, const, anyOf, oneOf, allOf, $ref. */
unsigned fh_schema_kinds(const fh_json_node *schema, const fh_json_node *root);
unsigned fh_kind_of_type(fh_str type); /* "string", "integer", ..; ANY for what is none */
/* A tool's function object and its parameters' schema; NULL when there is none. */
const fh_json_node *fh_tool_function(const fh_json_node *tool);
const fh_json_node *fh_tool_find(const fh_json_node *tools, fh_str name);
/* JSON text is of this kind; 0 when it is no JSON value. Fails for lack of memory only. */
FH_MUST_USE fh_status fh_json_text_kind(fh_str text, unsigned *kind);
void fh_json_escape(fh_buf *out, fh_str text); /* without the quotes; bytes that are no UTF-8 stay */
/* One Python literal (JSON's words count too) becomes JSON; false, and out is as before, when it is none. */
bool fh_python_to_json(fh_buf *out, fh_str text);
/* A value as text of one of these kinds; *wrong when it is none of them and stands there as a string. */
FH_MUST_USE fh_status fh_value_to_json(fh_buf *out, fh_str text, unsigned kinds, bool *wrong, fh_err *err);
/* Parameters inside parameters (FH_MARKUP_TREE), typed by the schema; mark = what begins every tag. */
FH_MUST_USE fh_status fh_tree_to_json(fh_buf *out, fh_str text, fh_str mark, const fh_json_node *schema,
                                      const fh_json_node *root, bool *wrong, fh_err *err);

#endif
