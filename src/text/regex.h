/* text/regex.h - regular expressions as automata: linear time, no backtracking, nothing left to chance.
 * SPDX-License-Identifier: Apache-2.0
 * The dialect is ECMA-262's with the u flag, as JSON Schema's `pattern` asks: . [classes] \d \w \s \D \W \S, \t \n \r
 * \f \v \0 \cX \xHH \uHHHH \u{H...}, groups (named ones too), |, * + ? {n} {n,} {n,m} (lazy forms mean the same), ^ and
 * $. \d and \w are ASCII, \s is Unicode, . is no line end, as ECMA says.
 * Refused with the byte where it stands: backreferences, lookaround, \b, flags, possessive forms, [] and [^], escapes
 * of letters that mean nothing, and what other dialects read differently. */
#ifndef FH_TEXT_REGEX_H
#define FH_TEXT_REGEX_H

#include "text/grammar_auto.h"

#define FH_REGEX_DEPTH 256
#define FH_REGEX_REPEAT 10000u /* the largest count in {n,m} */

/* Adds the expression to n as one piece, which may hold BEGIN and END edges. */
FH_MUST_USE fh_status fh_regex_read(fh_nfa *n, fh_str pattern, fh_frag *out, fh_err *err);
/* whole: the pattern describes all of the text; else it is to be found somewhere in it. The automaton lives in w. */
FH_MUST_USE fh_status fh_regex_compile(fh_work *w, fh_str pattern, bool whole, const fh_auto **out, fh_err *err);
/* \p{name}: adds the code points, or false if the name is not known here. */
bool fh_regex_property(fh_str name, fh_cps *out, fh_work *w);

#endif
