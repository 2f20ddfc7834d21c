/* serve/api_ollama_answer.h - the voice of /api/generate and /api/chat.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_API_OLLAMA_ANSWER_H
#define FH_SERVE_API_OLLAMA_ANSWER_H

#include "serve/chat.h"

/* False out of memory. */
bool fh_ollama_attach(fh_ask *a, bool chat);

#endif
