/* text/markup_grammar_part.h - the inside of grammars of calls, for markup_grammar*.c only.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_MARKUP_GRAMMAR_PART_H
#define FH_TEXT_MARKUP_GRAMMAR_PART_H

#include "text/grammar_gbnf_part.h"
#include "text/markup_grammar.h"
#include "text/markup_part.h"

typedef enum fh_notation { FH_NOTATION_JSON, FH_NOTATION_PYTHON, FH_NOTATION_QUOTED, FH_NOTATIONS } fh_notation;

/* One tool's parameters, compiled; its nodes stand from node_at on in the whole grammar, and behind them one more: the
 * root, but objects only. */
typedef struct fh_call_part {
    const fh_json_node *schema; /* NULL: any object */
    fh_grammar *g;
    uint32_t node_at, arr_at, obj_at;
    uint32_t *rule[FH_NOTATIONS]; /* [n_node + 1] plus 1, 0 = none yet */
} fh_call_part;

typedef struct fh_call_maker {
    fh_work w;
    fh_rule_source s;
    fh_call_part *part;
    uint32_t n_part, cap_part, n_node, n_arr, n_obj;
    const fh_markup *m;
    const fh_call_rule *rule;
    const fh_grammar_options *opt;
    int depth;
    fh_status status;
    fh_err *err;
} fh_call_maker;

/* Sticky: the first failure stays, and what is made behind it does not matter. */
void fh_call_maker_fail(fh_call_maker *k, fh_status status, const char *why);
fh_frag fh_call_literal(fh_call_maker *k, fh_str text);
fh_frag fh_call_maybe(fh_call_maker *k, fh_frag f);
fh_frag fh_call_auto(fh_call_maker *k, const fh_auto *a);
/* Texts of s that do not hold `avoid`, and with strict no quote, backslash or control character either. */
const fh_auto *fh_call_text(fh_call_maker *k, const fh_gstr *s, fh_str avoid, bool strict);
/* markup_grammar_value.c: a value of a part's node. */
fh_frag fh_call_value(fh_call_maker *k, uint32_t part, uint32_t node, fh_notation how);
uint32_t fh_call_rule_add(fh_call_maker *k, fh_source_rule rule);

#endif
