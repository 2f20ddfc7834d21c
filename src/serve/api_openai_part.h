/* serve/api_openai_part.h - what the files of OpenAI's API share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_API_OPENAI_PART_H
#define FH_SERVE_API_OPENAI_PART_H

#include "serve/chat.h"
#include "serve/json_put.h"

/* ---- requests (api_openai_read.c) ---- */
/* Members that chat completions and completions have in common. */
void fh_openai_read_common(fh_ask *a, fh_in *in);
/* Does a stream end with a chunk of usage (stream_options.include_usage)? */
bool fh_openai_wants_usage(const fh_ask *a);
/* Messages in the form of chat completions, appended to the ask's. */
void fh_openai_read_messages(fh_ask *a, fh_in *in, const fh_json_node *list);
void fh_openai_read_choice(fh_ask *a, fh_in *in);
/* {"type": "json_schema", ...}: nested under json_schema, or flat. */
void fh_openai_read_format(fh_ask *a, fh_in *in, const char *param, const fh_json_node *format);
void fh_openai_read_effort(fh_ask *a, fh_in *in, const char *param, const fh_json_node *effort);

/* ---- answers (api_openai_write.c) ---- */
/* id, object, created, model, system_fingerprint of an open object. */
void fh_openai_put_head(const fh_ask *a, fh_json_writer *w, const char *prefix, const char *object);
void fh_openai_put_usage(const fh_ask *a, fh_json_writer *w);
void fh_openai_put_extra(const fh_ask *a, fh_json_writer *w); /* timings, freehold */
const char *fh_openai_why(fh_why why);

#endif
