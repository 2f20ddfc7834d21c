/* cli/chat_loop.h - a conversation at the terminal.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_CLI_CHAT_LOOP_H
#define FH_CLI_CHAT_LOOP_H

#include "cli/chat.h"

/* Until /bye or the end of input. model: for /load of settings that need a fresh start. Returns the exit code. */
int fh_chat_loop(fh_chat *c);
/* From here on Ctrl-C sets the flag; twice without the flag being looked at ends the program. */
volatile int *fh_chat_catch_interrupt(void);
/* An answer on the terminal; false when it failed, which was said. */
bool fh_chat_say(fh_chat *c);

/* chat_command.c: a line that begins with '/'. False: leave. */
bool fh_chat_command(fh_chat *c, const char *line);
/* Where chats and the history lie: FREEHOLD_HOME, or the state folder (base/folder.h); made where it is missing. */
FH_MUST_USE fh_status fh_chat_folder(char out[FH_PATH_MAX], fh_err *err);
/* Takes a copy of the text; NULL takes it away. */
FH_MUST_USE fh_status fh_chat_set_text(char **slot, fh_str text, fh_err *err);
FH_MUST_USE fh_status fh_chat_set_think(fh_chat_settings *s, const char *value, fh_err *err);

#endif
