/* cli/chat.h - a conversation with a model: what `freehold run` holds, whichever way it is used.
 * SPDX-License-Identifier: Apache-2.0
 * Three parts: settings (what the user chose, by flags or /set), the opened model with its tokenizer and template,
 * and the conversation. An answer streams through a sink; nothing here prints but notes on cli->err. */
#ifndef FH_CLI_CHAT_H
#define FH_CLI_CHAT_H

#include "cli/chat_sampling.h"
#include "cli/model_options.h"
#include "infer/generate.h"
#include "library/facts.h"
#include "text/reply.h"
#include "text/template.h"
#include "text/tokenizer.h"

#define FH_CHAT_TEXT_MOST ((size_t)256 << 20)
#define FH_CHAT_MESSAGES_MOST 65536u

typedef enum fh_chat_think { FH_THINK_DEFAULT, FH_THINK_NO, FH_THINK_YES, FH_THINK_LEVEL } fh_chat_think;

typedef struct fh_chat_settings {
    fh_model_options model;
    fh_sampling sampling;
    uint64_t n;        /* tokens of an answer; UINT64_MAX: until it ends */
    char *system;      /* owned, or NULL */
    char *format;      /* "json", or the text of a schema; owned, or NULL */
    const char *level; /* of FH_THINK_LEVEL: "low", "medium", "high" */
    fh_chat_think think;
    fh_cli_list stop;
    size_t n_given_stop; /* of stop, from the command line; the others are owned */
    bool raw, ignore_eos, verbose, hide_thinking, history;
} fh_chat_settings;

void fh_chat_settings_release(fh_chat_settings *s); /* what is owned */

typedef struct fh_chat_message {
    const char *role;              /* "user": static */
    char *content, *reasoning;     /* owned; reasoning may be NULL */
    size_t n_content, n_reasoning; /* bytes */
} fh_chat_message;

/* Of the last answer. */
typedef struct fh_chat_timing {
    uint64_t load_ns, prompt_ns, answer_ns;
    uint32_t n_prompt, n_adopted, n_answer; /* adopted: prompt tokens whose state was there */
} fh_chat_timing;

typedef struct fh_chat {
    const fh_cli *cli;
    fh_chat_settings *set; /* borrowed */
    fh_opened x;
    fh_session *session;
    fh_tokenizer *tokenizer; /* NULL: the model has none, only ids work */
    fh_tokenizer_scratch *scratch;
    fh_facts facts;
    fh_generation_config gen;
    fh_template *template; /* NULL: texts are continued as they are */
    fh_markup_found markup;
    bool has_markup;
    fh_sampler_scratch *pick;
    fh_ids end_ids;             /* tokens that end an answer */
    fh_constrain_vocab *pieces; /* bytes of all tokens; NULL until something needs them */
    fh_chat_message *message;   /* [n_message] */
    size_t n_message, cap_message;
    fh_chat_timing timing;
    fh_generate_end end;
    volatile int *stop; /* set by a signal */
} fh_chat;

/* Receives an answer: TEXT and REASONING events, or a token's id where ids are wanted. */
typedef struct fh_chat_sink {
    fh_status (*text)(void *ctx, bool reasoning, fh_str text, fh_err *err);
    fh_status (*id)(void *ctx, uint32_t id, fh_err *err);
    void *ctx;
} fh_chat_sink;

/* with_text: a tokenizer is needed, and a template looked for. */
FH_MUST_USE fh_status fh_chat_open(fh_chat *c, const fh_cli *cli, fh_chat_settings *set, const char *model,
                                   bool with_text, fh_err *err);
void fh_chat_close(fh_chat *c); /* forgets the conversation, too; {0} is fine */
/* Bytes of every token, for formats and for the texts that dry does not look across. */
FH_MUST_USE fh_status fh_chat_make_pieces(fh_chat *c, fh_err *err);
/* What /set format and --format take: "json", or the text of a JSON schema. */
FH_MUST_USE fh_status fh_chat_make_grammar(fh_grammar **out, fh_str format, fh_err *err);

/* ---- the conversation (chat_message.c) ---- */
FH_MUST_USE fh_status fh_chat_add(fh_chat *c, const char *role, fh_str content, fh_str reasoning, fh_err *err);
void fh_chat_cut(fh_chat *c, size_t n); /* keeps the first n messages */
/* {"messages": [...]} and what was set, for /save; and back, in place of the conversation. */
void fh_chat_write(const fh_chat *c, fh_buf *out);
FH_MUST_USE fh_status fh_chat_read(fh_chat *c, fh_str json, fh_err *err);
/* The prompt that the conversation becomes, as text and as tokens. Special tokens are the template's own: what a
 * message spells is text. Both are appended. */
FH_MUST_USE fh_status fh_chat_render(const fh_chat *c, fh_buf *out, fh_err *err);
FH_MUST_USE fh_status fh_chat_prompt(const fh_chat *c, fh_buf *text, fh_ids *out, fh_err *err);

/* ---- answers (chat_answer.c) ---- */
/* Answers the conversation and appends what was said (also of an answer that Ctrl-C ended; c->end says how it did). */
FH_MUST_USE fh_status fh_chat_answer(fh_chat *c, const fh_chat_sink *sink, fh_err *err);
/* Goes on behind given tokens; encoder-decoders: answers them. Nothing is appended to the conversation. */
FH_MUST_USE fh_status fh_chat_continue(fh_chat *c, const uint32_t *token, size_t n, const fh_chat_sink *sink,
                                       fh_err *err);

#endif
