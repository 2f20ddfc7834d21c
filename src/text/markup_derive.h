/* text/markup_derive.h - the probe's conversation, and reading a call's delimiters off its rendering.
 * SPDX-License-Identifier: Apache-2.0
 * For markup_probe.c only. Words of the probe occur nowhere else in a template. */
#ifndef FH_TEXT_MARKUP_DERIVE_H
#define FH_TEXT_MARKUP_DERIVE_H

#include "text/markup_part.h"

#define PROBE_USER "Quxuser"
#define PROBE_TEXT "Quxtext"
#define PROBE_THOUGHT "Quxthought"
#define PROBE_NAME_1 "quxalpha"
#define PROBE_NAME_2 "quxbeta"
#define PROBE_KEY_1 "kuxone"
#define PROBE_KEY_2 "kuxtwo"
#define PROBE_KEY_3 "kuxtri"
#define PROBE_VALUE_1 "Vuxone"
#define PROBE_VALUE_2 "90117"
#define PROBE_VALUE_3 "Vuxtri"
#define PROBE_ID_1 "cuxidaaaa"
#define PROBE_ID_2 "cuxidbbbb"

/* From the renderings of one call and of two (empty: the template refuses two), each from the reply's first byte to
 * its last. tail: what follows an answer's text. False when no delimiters could be made out. Fails for memory only. */
FH_MUST_USE fh_status fh_markup_derive(fh_markup *out, fh_arena *a, fh_str one, fh_str two, fh_str tail,
                                       const fh_markup *row, bool *ok, fh_err *err);
/* A copy with a final NUL; NULL when memory ends or the text holds a NUL. */
const char *fh_markup_copy(fh_arena *a, fh_str s);
bool fh_markup_part_at(fh_str text, const char *part, size_t *at);

#endif
