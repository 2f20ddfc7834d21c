/* text/markup_grammar.h - a grammar of replies: text, or calls of these tools in a model's markup.
 * SPDX-License-Identifier: Apache-2.0
 * What fh_markup_pieces lists, compiled. Arguments are JSON under each tool's schema, members in any order, where the
 * markup writes JSON; parameters that are text, keyword arguments and other notations hold what the schema allows,
 * objects' members in one order. Never looser than the schemas: what a notation cannot say is refused. */
#ifndef FH_TEXT_MARKUP_GRAMMAR_H
#define FH_TEXT_MARKUP_GRAMMAR_H

#include "text/grammar.h"
#include "text/markup.h"

/* opt: as for JSON; NULL: the defaults. The tools are not needed afterwards. */
FH_MUST_USE fh_status fh_grammar_from_calls(fh_grammar **out, const fh_markup *m, const fh_call_rule *rule,
                                            const fh_grammar_options *opt, fh_err *err);

#endif
