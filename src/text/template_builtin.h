/* text/template_builtin.h - chat templates of our own, for models whose files carry none.
 * SPDX-License-Identifier: Apache-2.0
 * Some families publish code instead of a template (DeepSeek V3.2 and V4, Mistral before 2025), older files of others
 * lost theirs. Whoever uses one of these says so to the user: it is a guess by family, not the publisher's file. */
#ifndef FH_TEXT_TEMPLATE_BUILTIN_H
#define FH_TEXT_TEMPLATE_BUILTIN_H

#include "text/template.h"

typedef struct fh_template_builtin {
    const char *name;    /* "chatml" */
    const char *about;   /* for whom */
    const char *prelude; /* template text before the body, or "" */
    const char *body;
} fh_template_builtin;

size_t fh_template_n_builtin(void);
const fh_template_builtin *fh_template_builtin_at(size_t i);
const fh_template_builtin *fh_template_builtin_find(fh_str name); /* NULL: no such */

/* What is known of a model. */
typedef struct fh_template_hint {
    fh_str architecture;                       /* general.architecture or model_type */
    fh_str tokenizer;                          /* "tekken.json", "llama", ... or "" */
    bool (*has_token)(void *ctx, fh_str text); /* is this one token of the vocabulary? NULL: not known */
    void *ctx;
} fh_template_hint;

/* The one for such a model, or NULL; *why says what decided, in words for the user. */
const fh_template_builtin *fh_template_builtin_pick(const fh_template_hint *hint, const char **why);

FH_MUST_USE fh_status fh_template_builtin_compile(fh_template **out, const fh_template_builtin *b, fh_err *err);

#endif
