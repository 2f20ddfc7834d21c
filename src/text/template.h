/* text/template.h - chat templates: the Jinja that model files carry, run in a sandbox of our own.
 * SPDX-License-Identifier: Apache-2.0
 * A template is a program that a stranger wrote. It sees the values handed to it and nothing else: no files, no
 * clock but the moment given, no attribute that is not listed here, no way to change its inputs. Every run has
 * budgets for steps, output, depth, memory and time; each of them ends the run with an error that names the line.
 * The language is Jinja 3.1 as transformers sets it up: trim_blocks, lstrip_blocks, loop controls, generation
 * blocks, an immutable sandbox, tojson without HTML escapes. include, import and extends are refused.
 * A compiled template is immutable: threads may share it. A render owns its memory and gives it back. */
#ifndef FH_TEXT_TEMPLATE_H
#define FH_TEXT_TEMPLATE_H

#include "base/json.h"

typedef struct fh_template fh_template;

/* Compiling: the source's size bounds memory; nesting is bounded. Errors name the line. */
FH_MUST_USE fh_status fh_template_compile(fh_template **out, fh_str source, fh_err *err);
void fh_template_free(fh_template *t); /* NULL is fine */

/* Names that the template looks up in its arguments (its own variables and the built-in functions are not
 * among them), in order of first use: what a caller may pass. */
size_t fh_template_n_variable(const fh_template *t);
fh_str fh_template_variable(const fh_template *t, size_t i);
bool fh_template_uses(const fh_template *t, fh_str name);
fh_str fh_template_source(const fh_template *t);

/* 0 stands for the default. */
typedef struct fh_template_budget {
    uint64_t steps;      /* evaluated nodes, and a share for bytes touched: 10^6 */
    size_t output_bytes; /* 4 x (template + arguments) + 1 MiB */
    uint32_t depth;      /* calls of macros and recursive loops inside each other: 64 */
    uint32_t time_ms;    /* 100; UINT32_MAX = no limit */
    size_t memory_bytes; /* 64 MiB + 16 x (template + arguments) */
} fh_template_budget;

/* One argument: a JSON value, or a text where node is NULL and text.ptr is not, or else a truth value. */
typedef struct fh_template_arg {
    fh_str name;
    const fh_json_node *node;
    fh_str text;
    bool truth;
} fh_template_arg;

/* The moment that strftime_now() sees, on the wall clock of whoever asks. */
typedef struct fh_template_now {
    int year, month, day, hour, minute, second; /* month and day from 1 */
} fh_template_now;

/* "2026-03-09T07:05:02", also with a space, a fraction, or the date alone; false when it is none. */
bool fh_template_now_parse(fh_str iso, fh_template_now *out);
/* Local time of this machine, from seconds since 1970. */
void fh_template_now_local(int64_t unix_seconds, fh_template_now *out);

/* Lowest layer: the arguments as they are; later ones win. Appends to out; out is untouched on failure. */
FH_MUST_USE fh_status fh_template_render(const fh_template *t, const fh_template_arg *args, size_t n_arg,
                                         const fh_template_now *now, const fh_template_budget *budget, fh_buf *out,
                                         fh_err *err);

/* A conversation, as transformers' apply_chat_template hands it to a template. */
typedef struct fh_template_chat {
    const fh_json_node *messages;  /* array of objects */
    const fh_json_node *tools;     /* array, or NULL: the template sees none */
    const fh_json_node *documents; /* array, or NULL: the template sees none */
    const fh_json_node *kwargs;    /* object of further arguments, or NULL; wins over the tokens below */
    fh_str bos_token, eos_token;   /* ptr NULL = not defined */
    fh_str unk_token, pad_token;
    bool add_generation_prompt;
    bool continue_final_message; /* cut the prompt where the last message's text ends */
    const char *continue_field;  /* which field to continue; NULL = "content" */
    bool keep_reasoning_names;   /* do not fill reasoning_content and thinking from each other */
    const fh_template_arg *more; /* [n_more] further arguments, after kwargs */
    size_t n_more;
    const fh_template_now *now;
    const fh_template_budget *budget;
} fh_template_chat;

FH_MUST_USE fh_status fh_template_render_chat(const fh_template *t, const fh_template_chat *chat, fh_buf *out,
                                              fh_err *err);

#endif
