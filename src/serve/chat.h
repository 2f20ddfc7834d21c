/* serve/chat.h - a request for text in nobody's dialect, and its way to a model and back.
 * SPDX-License-Identifier: Apache-2.0
 *
 * An API's handler makes an fh_ask, fills in what the client wants and runs it. The ask is then its own: it loads the
 * model, renders and tokenizes the prompt, compiles the grammar, submits, turns tokens into answer, reasoning and tool
 * calls, and tells the API's sink, on the scheduler's thread, one call at a time. Whatever fails before the answer
 * began is answered in the row's dialect without the sink; afterwards the sink is told.
 * Messages and tools are kept as JSON text in the form that templates read (roles, content as text, arguments as
 * objects). Control tokens that messages or tools spell stay text (T23), whatever the template does with them.
 * A format that was asked for holds exactly or the request is refused; nothing is ever cut from a prompt. */
#ifndef FH_SERVE_CHAT_H
#define FH_SERVE_CHAT_H

#include <pthread.h>
#include <stdatomic.h>

#include "infer/sampler.h"
#include "serve/app.h"
#include "serve/json_in.h"
#include "serve/sse.h"
#include "text/reply.h"

#define FH_ASK_TEXT_MOST ((size_t)64 << 20)
#define FH_ASK_CHOICES_MOST 128u
#define FH_ASK_STOPS_MOST 64u

typedef enum fh_ask_kind { FH_ASK_CHAT, FH_ASK_TEXT } fh_ask_kind; /* TEXT: the prompt as it stands */
typedef enum fh_ask_format {
    FH_FORMAT_FREE,
    FH_FORMAT_JSON,   /* any object */
    FH_FORMAT_SCHEMA, /* format_node */
    FH_FORMAT_GBNF,   /* format_text, as the next two */
    FH_FORMAT_REGEX,
    FH_FORMAT_CHOICE /* format_node: array of strings */
} fh_ask_format;
typedef enum fh_ask_think { FH_ASK_THINK_AS_IS, FH_ASK_THINK_NO, FH_ASK_THINK_YES, FH_ASK_THINK_LEVEL } fh_ask_think;

typedef enum fh_why { /* an answer ended */
                      FH_WHY_STOP,
                      FH_WHY_STOP_STRING,
                      FH_WHY_LENGTH,
                      FH_WHY_CALLS,
                      FH_WHY_CANCELLED
} fh_why;

typedef enum fh_say_kind {
    FH_SAY_START, /* once: numbers of the prompt are known */
    FH_SAY_TOKEN, /* one token of a choice, before what it says; its chances where they were asked for */
    FH_SAY_TEXT,
    FH_SAY_REASONING,
    FH_SAY_CALL, /* a tool call begins: name, id */
    FH_SAY_ARGUMENTS,
    FH_SAY_CALL_END,
    FH_SAY_END, /* of a choice: see its fh_said */
    FH_SAY_DONE,
    FH_SAY_FAILED /* after the answer began: err */
} fh_say_kind;

typedef struct fh_say {
    fh_say_kind kind;
    uint32_t choice, call, token;
    fh_str text, name, id;
    const fh_event *event; /* TOKEN */
    const fh_err *err;
} fh_say;

typedef struct fh_said_call {
    char *name, *id; /* owned */
    fh_buf arguments;
} fh_said_call;

/* What a choice has said so far. */
typedef struct fh_said {
    fh_buf text, reasoning;
    fh_said_call *call; /* [n_call] */
    uint32_t n_call;
    fh_ids tokens;        /* without the one that ended it */
    fh_token_chance *own; /* [tokens.len] where chances were asked for */
    fh_token_chance *top; /* [tokens.len][n_logprob], token FH_VOCAB_NO_ID: less */
    size_t cap;           /* of own */
    uint32_t n_reasoning; /* tokens, the end of it included */
    bool ended, cut;      /* cut: its reasoning was */
    fh_why why;
    fh_str stop; /* of STOP_STRING: one of the ask's */
    /* the core's own */
    struct fh_ask *ask;
    uint32_t index;
    fh_reply *reply;
    fh_buf before;
    bool gate, skip_call;
} fh_said;

typedef struct fh_ask fh_ask;
/* Returns what is wanted next; PAUSE while the client does not read. */
typedef fh_consume fh_say_fn(fh_ask *a, const fh_say *s);

struct fh_ask {
    fh_call *call;
    fh_json *body;  /* owned; texts and nodes below may lie in it */
    fh_arena arena; /* or here */
    fh_str model;
    int64_t keep_ms;
    fh_ask_kind kind;
    /* CHAT */
    fh_buf messages, tools; /* JSON arrays; empty: none */
    fh_call_choice tool_choice;
    fh_str tool_name;
    bool parallel;
    fh_ask_think think;
    fh_str level;
    uint32_t think_most; /* tokens of reasoning, where think_most_set; then its end is put in the model's mouth */
    bool think_most_set;
    const fh_json_node *kwargs; /* object, or NULL */
    bool continue_last;         /* the last message is the beginning of the answer */
    /* TEXT */
    fh_str prompt;
    fh_ids ids;                 /* instead of a prompt; CHAT: stand before it */
    fh_str prefix, suffix;      /* infilling, where infill */
    bool infill, plain_special; /* control tokens in the prompt are text */
    /* both */
    fh_ask_format format;
    const fh_json_node *format_node;
    fh_str format_text;
    fh_sampler_params sampling; /* where `set` has the field's bit */
    uint64_t set;
    const fh_json_node *lora;       /* [{id, scale}], or NULL: as the model's name says */
    const fh_json_node *samplers;   /* an order of their own, or NULL */
    const fh_json_node *logit_bias; /* {id: bias} or [[id, bias]] */
    bool ollama_defaults;
    bool has_seed, want_chance, ignore_end, no_template, stream;
    uint64_t seed;
    uint32_t n_choice, most, n_logprob;
    bool most_set; /* most of 0 means none, not all */
    fh_str stop[FH_ASK_STOPS_MOST];
    uint32_t n_stop;
    /* the API's */
    fh_say_fn *say;
    void (*free_api)(void *api);
    void *api;

    /* ---- of the run ---- */
    fh_resident *r;
    bool begun;  /* START was said */
    char id[25]; /* random, for ids of answers and calls */
    uint64_t unix_s, start_ns;
    fh_said *said; /* [n_choice] */
    fh_ids tokens; /* the prompt */
    uint32_t n_prompt, n_cached, n_new;
    uint64_t queued_ns, prompt_ns, new_ns, load_ns;
    fh_markup_start start;
    fh_ids think_end; /* what is put there */
    uint32_t n_ended;
    /* the core's own */
    fh_json *tools_doc;
    fh_grammar *grammar;
    fh_sampler_steps chain;
    uint32_t adapter, n_adapter; /* of the name, from 1, 0: none; how many its model has */
    const fh_adapter_set *adapters;
    char adapted[160]; /* in words, for the header */
    fh_ticket *ticket;
    bool no_calls;
    pthread_mutex_t lock;
    bool over, gone, again;
    uint32_t before_prompt, before_cached, before_new; /* of the runs before this one */
    atomic_uint refs;
    fh_consume next;
};

/* What answers are put together in and sent by: the first member of everything that an API keeps with an ask. */
typedef struct fh_voice {
    fh_stream stream;
    fh_buf b;
    void (*release)(void *api); /* what is behind the voice; or NULL */
} fh_voice;

/* Reads the body and makes an ask that wants nothing yet. NULL: has answered. */
fh_ask *fh_ask_new(fh_call *c);
/* Gives it `bytes` zero bytes that begin with a voice, as a->api, and its sink. NULL: there is no memory. */
void *fh_ask_attach(fh_ask *a, size_t bytes, fh_stream_kind kind, fh_say_fn *say, void (*release)(void *api));
/* Both, with a stream of events, and the body's members to read. NULL: has answered. */
fh_ask *fh_ask_open(fh_call *c, fh_in *in, size_t bytes, fh_say_fn *say, void (*release)(void *api));
/* Takes the ask: answers what is wrong with the request, or runs it. */
void fh_ask_go(fh_ask *a, fh_in *in);
void fh_ask_free(fh_ask *a); /* one that was not run; NULL is fine */
/* Takes it. */
void fh_ask_run(fh_ask *a);
/* Only renders: the prompt and its tokens go to fn, with the ask, on a worker thread; NULL is never told. */
typedef void fh_ask_prompt_fn(fh_ask *a, fh_str prompt, const fh_ids *ids);
void fh_ask_render(fh_ask *a, fh_ask_prompt_fn *fn);
/* Within DONE: with what the API has changed of the ask (prompt, ids), once more; what was said is gone then, counts of
 * tokens add up in before_*. */
void fh_ask_again(fh_ask *a);

/* ---- reading what all APIs have in common (chat_read.c) ---- */
/* [{id, scale}] of adapters by their number from 0 as in /lora-adapters; those it does not name are left out. */
FH_MUST_USE fh_status fh_lora_read(const fh_json_node *list, fh_str name, uint32_t n_adapter,
                                   float scale[FH_ADAPTERS_MOST], fh_err *err);
/* Numbers of the sampling chain under any of their names, and `lora`, in this object. */
void fh_ask_read_sampling(fh_ask *a, fh_in *in);
/* A string, or an array of strings. */
void fh_ask_read_stop(fh_ask *a, fh_in *in, const char *name);
void fh_ask_read_schema(fh_ask *a, fh_in *in, const char *param, const fh_json_node *schema);
void fh_ask_read_bias(fh_ask *a, fh_in *in, const char *name);
void fh_ask_read_most(fh_ask *a, fh_in *in, const char *name); /* a count, or -1 */
/* Tokens of reasoning, under any of these names: 0 is none, -1 as many as it takes. */
void fh_ask_read_budget(fh_ask *a, fh_in *in);
/* Text of a member that is a string or an array of text parts; parts that are no text (images) fail the object. */
bool fh_ask_text_of(fh_in *in, const char *param, const fh_json_node *content, fh_buf *out);
/* Does a tool of this name exist in the tools as written so far? Fails the object where not. */
void fh_ask_choose_tool(fh_ask *a, fh_in *in, const char *param, fh_str name);

/* Tools: nested {"type", "function": {...}}, or flat {"type", "name", "parameters"}; other types are left out, and
 * named in the warning header. */
void fh_ask_read_tools(fh_ask *a, fh_in *in, const fh_json_node *list);
/* A call of a message's: {"id", "type", "function": {"name", "arguments": object}}. */
void fh_ask_put_call(fh_json_writer *w, fh_str id, fh_str name, fh_str arguments);
/* ---- writing (chat_write.c) ---- */
void fh_ask_put_token(const fh_ask *a, fh_json_writer *w, uint32_t token); /* its text */
/* An array, of tokens [from, to) of a choice. */
void fh_ask_put_chances(const fh_ask *a, fh_json_writer *w, const fh_said *s, size_t from, size_t to);

/* ---- for the parts ---- */
/* chat_answer.c */
FH_MUST_USE fh_status fh_ask_make_said(fh_ask *a, fh_err *err);
fh_consume fh_ask_on_event(void *ctx, const fh_event *e);
/* chat_prompt.c: messages to prompt and tokens; may fail with messages for the client. */
FH_MUST_USE fh_status fh_ask_make_prompt(fh_ask *a, fh_buf *text, fh_err *err);
/* chat_sampling.c */
FH_MUST_USE fh_status fh_ask_make_chain(fh_ask *a, fh_err *err);
/* Says what was used: headers, where the answer has not begun. */
void fh_ask_set_headers(fh_ask *a);
/* {"weights": ...}: the same as a JSON object. */
void fh_ask_put_provenance(const fh_ask *a, fh_json_writer *w);

#endif
