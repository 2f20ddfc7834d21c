/* text/jinja_exec_part.h - what the files that run statements share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_JINJA_EXEC_PART_H
#define FH_TEXT_JINJA_EXEC_PART_H

#include "text/jinja_part.h"

typedef enum fh_jran { FH_J_RAN, FH_J_FAILED, FH_J_BROKE, FH_J_CONTINUED } fh_jran;

fh_jran fh_jinja_exec(fh_jrun *r, const fh_jnodes *body);
fh_jran fh_jinja_exec_for(fh_jrun *r, const fh_jnode *n);
void fh_jinja_enter(fh_jrun *r, const fh_jscope *s);
bool fh_jinja_assign(fh_jrun *r, const fh_jnode *target, fh_jval v);
bool fh_jinja_new_frame(fh_jrun *r, fh_jframe *outer, uint32_t n_slot, fh_jframe **out);
bool fh_jinja_deeper(fh_jrun *r); /* one call more inside another; r->depth-- when it is over */

#endif
