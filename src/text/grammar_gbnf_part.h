/* text/grammar_gbnf_part.h - rules as they were read: what grammar_gbnf.c hands to grammar_link.c.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_GRAMMAR_GBNF_PART_H
#define FH_TEXT_GRAMMAR_GBNF_PART_H

#include "text/grammar_part.h"

typedef struct fh_source_rule {
    fh_str name; /* in the text */
    fh_frag f;
    uint32_t line; /* of its definition, or of its first use while it has none */
    bool defined;
    bool outside;  /* stands for a value of the grammar's table of nodes; f is any one character */
    uint32_t node; /* then */
} fh_source_rule;

typedef struct fh_rule_source {
    fh_nfa n;
    fh_source_rule *rule;
    uint32_t n_rule, cap_rule, root;
} fh_rule_source;

/* Checks the rules (all defined, no left recursion, root can end), makes their automata and the grammar. */
FH_MUST_USE fh_status fh_grammar_from_rules(fh_grammar **out, fh_rule_source *s, fh_err *err);

#endif
