/* infer/stop.h - stop strings in a text that arrives in pieces.
 * SPDX-License-Identifier: Apache-2.0
 * Text goes in as it is made and comes out as soon as it can no longer be the beginning of a stop string. The stop
 * string that is complete first wins, the longest of those that end at the same byte; it does not come out, nor does
 * anything behind it. How the text was cut into pieces changes nothing of this. What comes out never ends within a
 * UTF-8 character of valid text; bytes that are no UTF-8 pass unchanged. */
#ifndef FH_INFER_STOP_H
#define FH_INFER_STOP_H

#include "base/buf.h"

#define FH_STOP_MOST 64         /* stop strings */
#define FH_STOP_BYTES_MOST 4096 /* of one */
#define FH_STOP_NONE SIZE_MAX

typedef struct fh_stop fh_stop;
/* Copies the texts. FH_ERR_USAGE for one that is empty or no UTF-8. None at all is fine: characters are kept whole. */
FH_MUST_USE fh_status fh_stop_new(fh_stop **out, const fh_str *text, size_t n, fh_err *err);
void fh_stop_free(fh_stop *s);  /* NULL is fine */
void fh_stop_clear(fh_stop *s); /* for the next text */
/* Appends to out what can be released. After a stop string was found, nothing more is. */
FH_MUST_USE fh_status fh_stop_feed(fh_stop *s, fh_str piece, fh_buf *out, fh_err *err);
/* The text ended for another reason: appends what was held back. */
FH_MUST_USE fh_status fh_stop_finish(fh_stop *s, fh_buf *out, fh_err *err);
size_t fh_stop_found(const fh_stop *s); /* number of the stop string, or FH_STOP_NONE */
size_t fh_stop_held(const fh_stop *s);  /* bytes held back now */

#endif
