/* serve/api_openai_responses.h - what the two halves of /v1/responses share.
 * SPDX-License-Identifier: Apache-2.0
 * An answer is a list of items in the order in which the model wrote them. Answers are kept, within a ceiling, for who
 * goes on with previous_response_id; each owner sees its own only. */
#ifndef FH_SERVE_API_OPENAI_RESPONSES_H
#define FH_SERVE_API_OPENAI_RESPONSES_H

#include "serve/api_openai_part.h"

typedef enum fh_item_kind { FH_ITEM_NONE, FH_ITEM_REASONING, FH_ITEM_MESSAGE, FH_ITEM_CALL } fh_item_kind;
typedef struct fh_item {
    fh_item_kind kind;
    size_t from, to; /* of the text or the reasoning */
    uint32_t call;
} fh_item;

typedef struct fh_responses {
    fh_voice v; /* first */
    fh_json_writer w;
    uint64_t sequence;
    fh_item *item; /* [n_item] */
    size_t n_item;
    bool open; /* the last one */
    bool store, failed;
    fh_buf input; /* JSON array: the items as they came */
    fh_buf turn;  /* JSON array: messages without instructions, the answer is added to them */
    fh_str instructions, previous;
    const fh_json_node *metadata, *tools, *tool_choice, *text;
} fh_responses;

fh_consume fh_responses_say(fh_ask *a, const fh_say *s);
/* The response as an object. */
void fh_responses_put(fh_ask *a, fh_json_writer *w, const char *status);
void fh_responses_keep(fh_ask *a); /* stores it */

#endif
