/* cli/chat_print.h - an answer as it is written, and what it cost.
 * SPDX-License-Identifier: Apache-2.0
 * On a terminal reasoning is dim and framed; elsewhere it goes to err, so that out holds the answer alone. */
#ifndef FH_CLI_CHAT_PRINT_H
#define FH_CLI_CHAT_PRINT_H

#include "cli/chat.h"

typedef struct fh_chat_printer {
    const fh_cli *cli;
    bool terminal, hide_thinking;
    bool thinking, any; /* inside reasoning; the answer has begun */
    bool ends_line;     /* what was written last */
    uint32_t n_id;
} fh_chat_printer;

/* The sink borrows the printer. */
fh_chat_sink fh_chat_printer_text(fh_chat_printer *p, const fh_cli *cli, bool hide_thinking);
fh_chat_sink fh_chat_printer_ids(fh_chat_printer *p, const fh_cli *cli);
/* Ends the line, closes what is open; says why the answer stopped where it did not end by itself. */
void fh_chat_printer_end(fh_chat_printer *p, const fh_chat *c);
void fh_chat_print_timing(const fh_chat *c);

#endif
