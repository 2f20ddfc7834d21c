/* serve/api_ollama_part.h - what the files of Ollama's API share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_API_OLLAMA_PART_H
#define FH_SERVE_API_OLLAMA_PART_H

#include "serve/chat.h"
#include "serve/json_put.h"

/* "model", or "name" as older clients say. */
bool fh_ollama_read_model(fh_in *in, fh_str *out);
/* "5m", "1h30m", seconds; negative: for ever. FH_KEEP_DEFAULT where it is absent. */
int64_t fh_ollama_read_keep(fh_in *in);
void fh_ollama_read_options(fh_ask *a, fh_in *in);
/* {"model", "created_at"} of an open object. */
void fh_ollama_put_head(fh_json_writer *w, const char *model);
/* Loads or unloads, and answers as a request without a prompt is answered. */
void fh_ollama_load(fh_call *c, fh_str model, int64_t keep_ms, bool chat);

#endif
