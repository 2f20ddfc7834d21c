/* serve/api_anthropic_part.h - what the files of Anthropic's API share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_API_ANTHROPIC_PART_H
#define FH_SERVE_API_ANTHROPIC_PART_H

#include "serve/chat.h"
#include "serve/json_put.h"

/* Gives the ask the voice of /v1/messages; false out of memory. */
bool fh_anthropic_attach(fh_ask *a);

#endif
