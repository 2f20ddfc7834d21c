/* cli/show_part.h - parts of `freehold show` with files of their own: metadata, quality, plan.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_CLI_SHOW_PART_H
#define FH_CLI_SHOW_PART_H

#include "base/json.h"
#include "cli/model_options.h"
#include "format/bundle.h"

void fh_show_metadata_text(fh_buf *out, const fh_bundle *b);
void fh_show_metadata_json(fh_json_writer *w, const fh_bundle *b); /* one member: "metadata" */
/* What was measured and stored in the file; nothing where there is none. JSON: one member, "measured". */
void fh_show_quality_text(fh_buf *out, const fh_bundle *b);
void fh_show_quality_json(fh_json_writer *w, const fh_bundle *b);
/* cmd_show_plan.c: loads the model itself; returns the exit code. */
int fh_show_plan(const fh_cli *cli, const char *model, const fh_model_options *o);

#endif
