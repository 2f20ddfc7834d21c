/* cli/show_part.h - the metadata half of `freehold show`, in cmd_show_metadata.c.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_CLI_SHOW_PART_H
#define FH_CLI_SHOW_PART_H

#include "base/json.h"
#include "format/bundle.h"

void fh_show_metadata_text(fh_buf *out, const fh_bundle *b);
void fh_show_metadata_json(fh_json_writer *w, const fh_bundle *b); /* one member: "metadata" */

#endif
