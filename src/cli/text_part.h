/* cli/text_part.h - what the commands around text share: reading standard input, line by line or whole.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_CLI_TEXT_PART_H
#define FH_CLI_TEXT_PART_H

#include "cli/cli.h"
#include "text/tokenizer.h"

#define FH_CLI_TEXT_MOST ((size_t)256 << 20) /* bytes of one text or line */

/* All of standard input, up to the buffer's limit. */
FH_MUST_USE fh_status fh_cli_read_all(fh_buf *out, fh_err *err);
/* Calls work with every line of standard input, without its line end, and prints what it appends to out. The error of a
 * line names the line. Results come out as they are made, so a program at the other end may wait for each. */
typedef fh_status fh_cli_line_work(void *ctx, fh_str line, fh_buf *out, fh_err *err);
FH_MUST_USE fh_status fh_cli_each_line(fh_cli *cli, fh_cli_line_work *work, void *ctx, fh_err *err);
/* What a user should know about a tokenizer, on standard error. */
void fh_cli_say_notes(const fh_cli *cli, const fh_tokenizer *t);

#endif
